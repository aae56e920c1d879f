#include <math.h>
#include <string.h>

#include "buf.h"
#include "model/h1b.h"
#include "model/packed.h"
#include "model/synth.h"
#include "tokenizer/tokenizer.h"

/*
 * Every number is a hash of the seed, the tensor, the row and the column, so it
 * does not matter in which order they are asked for.
 */
struct synth {
	const struct synth_arch *a;
	uint64_t seed;
};

static const char chat_template[] =
    "{% for message in messages %}{% if loop.index0 == 0 %}{{ bos_token }}"
    "{% endif %}{{ message['role'] | capitalize + ': ' + message['content'] | "
    "trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ 'Assistant: ' }}{% endif %}";

/* splitmix64 (Steele, Lea and Flood 2014), as a hash of its argument. */
static uint64_t
mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static uint64_t
row_key(const struct synth *s, enum h1b_part part, int32_t layer, int32_t row)
{
	return mix(mix(s->seed ^ (uint64_t)part << 32) +
	    ((uint64_t)(uint32_t)layer << 32 | (uint32_t)row));
}

/* In [-1, 1), exact in f32. */
static float
unit(uint64_t r)
{
	return (float)(int32_t)(r >> 40) * 0x1p-23f - 1;
}

/* Columns of a ternary matrix that share a factor. */
static int32_t
get_group(void *arg, enum h1b_part part, int32_t layer)
{
	const struct synth_arch *a = ((const struct synth *)arg)->a;
	int32_t n = h1b_columns(&a->config, part);

	(void)layer;
	if (a->segments > 1 && (part == H1B_O || part == H1B_DOWN))
		return n / a->segments;
	return a->group > 0 ? a->group : n;
}

static float
factor(uint64_t key, int32_t n, int32_t group)
{
	return sqrtf(1.5f / (float)n) *
	    (1 + 0.5f * unit(mix(~key - (uint64_t)group)));
}

/* An embedding of a model whose embedding is ternary, too. */
static int
get_row_i8(void *arg, enum h1b_part part, int32_t row, int8_t *q,
    float *scales, struct err *e)
{
	const struct synth *s = arg;
	uint64_t key = row_key(s, part, -1, row);
	int32_t n = s->a->config.hidden;

	(void)e;
	for (int32_t i = 0; i < n; i++)
		q[i] = (int8_t)((mix(key + (uint64_t)i) >> 32) % 3) - 1;
	for (int32_t g = 0; g * s->a->head_group < n; g++)
		scales[g] = 0.5f + 0.25f * unit(mix(~key - (uint64_t)g));
	return 0;
}

static int
get_row(void *arg, enum h1b_part part, int32_t layer, int32_t row, float *out,
    struct err *e)
{
	const struct synth *s = arg;
	uint64_t key = row_key(s, part, layer, row);
	int32_t n = h1b_columns(&s->a->config, part);
	bool dense = part == H1B_EMBED || part == H1B_HEAD;

	(void)e;
	for (int32_t i = 0; i < n; i++) {
		float u = unit(mix(key + (uint64_t)i));

		out[i] = dense ? u : 1 + 0.5f * u;
	}
	return 0;
}

static int
get_codes(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    uint8_t *codes, float *scales, struct err *e)
{
	const struct synth *s = arg;
	uint64_t key = row_key(s, part, layer, row);
	int32_t n = h1b_columns(&s->a->config, part);
	int32_t group = get_group(arg, part, layer);

	(void)e;
	for (int32_t i = 0; i < n; i += 8) {
		uint64_t r = mix(key + (uint64_t)i);

		for (int32_t k = i; k < i + 8 && k < n; k++, r >>= 8)
			codes[k] = (uint8_t)((r & 0xff) * 3 >> 8);
	}
	for (int32_t g = 0; g * group < n; g++)
		scales[g] = factor(key, n, g);
	return 0;
}

/* GPT-2's printable stand-in for a byte (as JSON text), in a vocabulary. */
static void
add_byte(struct buf *out, unsigned byte, unsigned *n_hidden)
{
	unsigned cp = byte;

	if (byte < 33 || (byte > 126 && byte < 161) || byte == 173)
		cp = 256 + (*n_hidden)++;
	buf_printf(out, "%s\"\\u%04x\":%u", byte > 0 ? "," : "", cp, byte);
}

static void
add_special(struct buf *out, const char *text, int32_t id, bool *first)
{
	if (id < 256)
		return;
	buf_printf(out, "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,"
	    "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
	    "\"special\":true}", *first ? "" : ",", id, text);
	*first = false;
}

static int
make_tokenizer(const struct model_config *c, struct buf *out, struct err *e)
{
	static const char *const names[] = { "<|eot_id|>", "<|end_of_text|>" };
	struct tokenizer *t = NULL;
	struct buf json = { 0 };
	unsigned n_hidden = 0;
	bool first = true;
	int rc;

	if (c->vocab < 256)
		return 0;
	buf_adds(&json, "{\"added_tokens\":[");
	add_special(&json, "<|begin_of_text|>", c->bos, &first);
	for (int32_t i = 0; i < c->n_eos && i < 2; i++)
		if (c->eos[i] != c->bos && (i == 0 || c->eos[1] != c->eos[0]))
			add_special(&json, names[i], c->eos[i], &first);
	buf_adds(&json, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
	    "\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
	    "\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
	for (unsigned b = 0; b < 256; b++)
		add_byte(&json, b, &n_hidden);
	buf_adds(&json, "}}}");
	if (json.failed)
		rc = err_set(e, ERR_NO_MEMORY, "no memory for a tokenizer");
	else if ((rc = tokenizer_from_json(json.data, json.len, &t, e)) == 0)
		rc = tokenizer_save(t, out, e);
	tokenizer_destroy(t);
	buf_free(&json);
	return rc;
}

int
synth_write_arch(const char *path, const struct synth_arch *a, uint64_t seed,
    void (*progress)(void *arg, uint64_t done, uint64_t total), struct err *e)
{
	struct synth s = { .a = a, .seed = mix(seed) };
	struct buf tokenizer = { 0 };
	const struct model_config *c = &a->config;
	bool packed = packed_bits(a->head) > 0;
	struct h1b_source src = {
		.config = *c, .embed_type = packed ? DENSE_I8 : a->head,
		.embed_group = a->head_group,
		.head_type = c->tied && !packed ? 0 : a->head,
		.head_group = c->tied ? 0 : a->head_group,
		.head_of_embed = c->tied && packed,
		.body = a->body, .architecture = a->architecture,
		.name = "random", .origin = "random weights",
		.chat_template = chat_template,
		.n_chat_template = strlen(chat_template),
		.row = get_row, .row_i8 = get_row_i8, .group = get_group,
		.codes = get_codes, .arg = &s, .progress = progress,
	};
	int rc;

	src.config.tied = c->tied && !packed;
	if ((rc = model_config_check(c, e)) != 0)
		return rc;
	if ((rc = make_tokenizer(c, &tokenizer, e)) == 0) {
		src.tokenizer = tokenizer.data;
		src.n_tokenizer = tokenizer.len;
		rc = h1b_write(path, &src, true, e);
	}
	buf_free(&tokenizer);
	return rc;
}

int
synth_write(const char *path, const struct model_config *c,
    enum dense_type head, uint64_t seed,
    void (*progress)(void *arg, uint64_t done, uint64_t total), struct err *e)
{
	const struct synth_arch a = { .config = *c, .head = head,
	    .architecture = "bitnet-b1.58" };

	return synth_write_arch(path, &a, seed, progress, e);
}

int
model_write_random(const char *path, const struct model_config *c,
    uint64_t seed, struct err *e)
{
	return synth_write(path, c, seed % 2 != 0 ? DENSE_I8 : DENSE_BF16, seed,
	    NULL, e);
}
