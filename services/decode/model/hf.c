#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/hf.h"
#include "model/hf_config.h"
#include "model/safetensors.h"
#include "tokenizer/tokenizer.h"

enum { SHARDS_MAX = 4096, TENSOR_NAME_MAX = 128 };

struct hf {
	struct hf_config config;
	struct safetensors *shards;
	char **names;		/* [n_shards] of their files */
	size_t n_shards;
	struct buf tokenizer;	/* as tokenizer_save made it */
	struct buf chat_template;
	/* The tensor that is being read. */
	enum h1b_part part;
	int32_t layer;
	const struct safetensors_tensor *weight, *scale;
};

static const char *
suffix(enum h1b_part part)
{
	switch (part) {
	case H1B_ATTN_NORM:
		return "input_layernorm";
	case H1B_Q:
		return "self_attn.q_proj";
	case H1B_K:
		return "self_attn.k_proj";
	case H1B_V:
		return "self_attn.v_proj";
	case H1B_O:
		return "self_attn.o_proj";
	case H1B_ATTN_SUB_NORM:
		return "self_attn.attn_sub_norm";
	case H1B_FFN_NORM:
		return "post_attention_layernorm";
	case H1B_GATE:
		return "mlp.gate_proj";
	case H1B_UP:
		return "mlp.up_proj";
	case H1B_DOWN:
		return "mlp.down_proj";
	case H1B_FFN_SUB_NORM:
		return "mlp.ffn_sub_norm";
	case H1B_EMBED:
		return "model.embed_tokens";
	case H1B_NORM:
		return "model.norm";
	case H1B_HEAD:
		return "lm_head";
	default:
		return NULL;	/* texts: no tensors */
	}
}

static void
tensor_name(enum h1b_part part, int32_t layer, bool scale,
    char out[TENSOR_NAME_MAX])
{
	const char *last = scale ? "weight_scale" : "weight";

	if (layer < 0)
		snprintf(out, TENSOR_NAME_MAX, "%s.%s", suffix(part), last);
	else
		snprintf(out, TENSOR_NAME_MAX, "model.layers.%d.%s.%s", layer,
		    suffix(part), last);
}

static const struct safetensors_tensor *
find(const struct hf *h, enum h1b_part part, int32_t layer, bool scale)
{
	const struct safetensors_tensor *t = NULL;
	char name[TENSOR_NAME_MAX];

	tensor_name(part, layer, scale, name);
	for (size_t i = 0; t == NULL && i < h->n_shards; i++)
		t = safetensors_find(&h->shards[i], name);
	return t;
}

static bool
is_float(enum safetensors_dtype d)
{
	return d == SAFETENSORS_BF16 || d == SAFETENSORS_F16 ||
	    d == SAFETENSORS_F32;
}

static void
print_shape(const struct safetensors_tensor *t, char *out, size_t cap)
{
	size_t n = (size_t)snprintf(out, cap, "%s [",
	    safetensors_dtype_name(t->dtype));

	for (int i = 0; i < t->n_dims && n < cap; i++)
		n += (size_t)snprintf(out + n, cap - n, "%s%llu",
		    i > 0 ? ", " : "", (unsigned long long)t->dims[i]);
	if (n < cap)
		snprintf(out + n, cap - n, "]");
}

/* One section of the file to be written against the tensor it will come from. */
static int
check_tensor(const struct hf *h, const struct h1b_section *s, struct err *e)
{
	const struct safetensors_tensor *t = find(h, s->part, s->layer,
	    s->scale);
	uint64_t rows = s->dims[0], cols = s->dims[1];
	char name[TENSOR_NAME_MAX], found[64];
	bool packed = s->type == H1B_T2, ok;

	tensor_name(s->part, s->layer, s->scale, name);
	if (t == NULL)
		return err_set(e, ERR_BAD_FILE, "tensor '%s' is missing", name);
	print_shape(t, found, sizeof(found));
	if (s->scale) {
		if (is_float(t->dtype) && t->n == 1)
			return 0;
		return err_set(e, ERR_BAD_FILE, "tensor '%s': %s, expected one "
		    "BF16, F16 or F32", name, found);
	}
	rows = packed ? (rows + 3) / 4 : rows;
	ok = packed ? t->dtype == SAFETENSORS_U8 : is_float(t->dtype);
	if (rows == 1 && t->n_dims == 1)
		ok = ok && t->dims[0] == cols;
	else
		ok = ok && t->n_dims == 2 && t->dims[0] == rows &&
		    t->dims[1] == cols;
	if (!ok)
		return err_set(e, ERR_BAD_FILE,
		    "tensor '%s': %s, expected %s [%llu, %llu]", name, found,
		    packed ? "U8" : "BF16, F16 or F32",
		    (unsigned long long)rows, (unsigned long long)cols);
	return 0;
}

/* Is name one of the tensors that list wants? */
static bool
is_wanted(const char *name, const struct h1b_section *list, uint32_t n)
{
	char want[TENSOR_NAME_MAX];

	for (uint32_t i = 0; i < n; i++) {
		if (list[i].type == H1B_BYTES)
			continue;
		tensor_name(list[i].part, list[i].layer, list[i].scale, want);
		if (strcmp(want, name) == 0)
			return true;
	}
	return false;
}

/* The first tensor that nothing here asks for, by name. */
static int
name_leftover(const struct hf *h, const struct h1b_section *list, uint32_t n,
    struct err *e)
{
	for (size_t s = 0; s < h->n_shards; s++)
		for (size_t i = 0; i < h->shards[s].n; i++) {
			const char *name = h->shards[s].tensors[i].name;

			if (!is_wanted(name, list, n))
				return err_set(e, ERR_UNSUPPORTED, "tensor "
				    "'%.100s' is not part of this architecture",
				    name);
		}
	return err_set(e, ERR_BAD_FILE, "a tensor is in more than one file");
}

static int
check_tensors(const struct hf *h, struct err *e)
{
	const struct model_config *c = &h->config.config;
	struct h1b_section *list;
	size_t n_found = 0, n_wanted = 0;
	uint32_t n;
	int rc;

	/* As bf16, so that the only scales are those of the ternary tensors. */
	if ((rc = h1b_layout(c, &(struct h1b_form){ .embed_type = DENSE_BF16,
	    .head_type = c->tied ? 0 : DENSE_BF16 }, &list, &n, e)) != 0)
		return rc;
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		if (list[i].type != H1B_BYTES) {
			rc = check_tensor(h, &list[i], e);
			n_wanted++;
		}
	for (size_t i = 0; i < h->n_shards; i++)
		n_found += h->shards[i].n;
	if (rc == 0 && n_found != n_wanted)
		rc = name_leftover(h, list, n, e);
	free(list);
	return rc;
}

static int
add_shard(struct hf *h, const char *dir, const char *name, struct err *e)
{
	struct buf path = { 0 };
	int rc;

	/* A name of an index stays in its directory. */
	if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
		return err_set(e, ERR_BAD_FILE,
		    "the index names a file '%.80s'", name);
	for (size_t i = 0; i < h->n_shards; i++)
		if (strcmp(h->names[i], name) == 0)
			return 0;
	if (h->n_shards == SHARDS_MAX)
		return err_set(e, ERR_RANGE, "the index names more than %d "
		    "files", SHARDS_MAX);
	buf_printf(&path, "%s/%s", dir, name);
	if (path.failed || (h->names[h->n_shards] = strdup(name)) == NULL)
		rc = err_set(e, ERR_NO_MEMORY, "no memory for a path");
	else if ((rc = safetensors_open(path.data, &h->shards[h->n_shards],
	    e)) != 0) {
		free(h->names[h->n_shards]);
		h->names[h->n_shards] = NULL;
	} else
		h->n_shards++;
	buf_free(&path);
	return rc;
}

static const struct safetensors *
shard_named(const struct hf *h, const char *name)
{
	for (size_t i = 0; i < h->n_shards; i++)
		if (strcmp(h->names[i], name) == 0)
			return &h->shards[i];
	return NULL;
}

static int
open_index(struct hf *h, const char *dir, const json_t *index, struct err *e)
{
	json_t *map = json_object_get(index, "weight_map"), *v;
	const char *name;
	int rc;

	if (!json_is_object(map) || json_object_size(map) == 0)
		return err_set(e, ERR_BAD_FILE,
		    "model.safetensors.index.json: no weight_map");
	json_object_foreach(map, name, v) {
		const char *file = json_string_value(v);

		if (file == NULL)
			return err_set(e, ERR_BAD_FILE, "the index: '%.80s' is "
			    "not in a file", name);
		if ((rc = add_shard(h, dir, file, e)) != 0)
			return rc;
		if (safetensors_find(shard_named(h, file), name) == NULL)
			return err_set(e, ERR_BAD_FILE, "the index: '%.80s' is "
			    "not in '%.60s'", name, file);
	}
	return 0;
}

static int
open_weights(struct hf *h, const char *dir, struct err *e)
{
	json_t *index;
	int rc;

	h->shards = calloc(SHARDS_MAX, sizeof(*h->shards));
	h->names = calloc(SHARDS_MAX, sizeof(*h->names));
	if (h->shards == NULL || h->names == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a checkpoint");
	rc = hf_read_json(dir, "model.safetensors.index.json", HF_INDEX_MAX,
	    &index, e);
	if (rc == ERR_NOT_FOUND)
		rc = add_shard(h, dir, "model.safetensors", e);
	else if (rc == 0) {
		rc = open_index(h, dir, index, e);
		json_decref(index);
	}
	return rc != 0 ? rc : check_tensors(h, e);
}

static int
open_config(struct hf *h, const char *dir, struct err *e)
{
	json_t *config, *generation = NULL;
	int rc;

	if ((rc = hf_read_json(dir, "config.json", HF_CONFIG_MAX, &config,
	    e)) != 0)
		return rc;
	rc = hf_read_json(dir, "generation_config.json", HF_CONFIG_MAX,
	    &generation, e);
	if (rc == 0 || rc == ERR_NOT_FOUND)
		rc = hf_config_parse(config, generation, &h->config, e);
	json_decref(config);
	json_decref(generation);
	return rc;
}

static int
open_template(struct hf *h, const char *dir, struct err *e)
{
	json_t *config;
	int rc;

	rc = hf_read_file(dir, "chat_template.jinja", H1B_TEXT_MAX,
	    &h->chat_template, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = hf_read_json(dir, "tokenizer_config.json", HF_CONFIG_MAX, &config,
	    e);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc != 0)
		return rc;
	rc = hf_config_template(config, &h->chat_template, e);
	json_decref(config);
	return rc;
}

static int
open_tokenizer(struct hf *h, const char *dir, struct err *e)
{
	struct tokenizer *t = NULL;
	struct buf text = { 0 };
	int rc;

	rc = hf_read_file(dir, "tokenizer.json", HF_TOKENIZER_MAX, &text, e);
	if (rc == 0)
		rc = tokenizer_from_json(text.data != NULL ? text.data : "",
		    text.len, &t, e);
	if (rc == 0 && tokenizer_n_vocab(t) > h->config.config.vocab)
		rc = err_set(e, ERR_BAD_FILE, "tokenizer.json has %d tokens, the "
		    "model only %d", tokenizer_n_vocab(t),
		    h->config.config.vocab);
	if (rc == 0)
		rc = tokenizer_save(t, &h->tokenizer, e);
	tokenizer_destroy(t);
	buf_free(&text);
	return rc;
}

int
hf_open(const char *dir, struct hf **h, struct err *e)
{
	struct hf *o = calloc(1, sizeof(*o));
	int rc;

	if (o == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a checkpoint");
	o->layer = -2;
	if ((rc = open_config(o, dir, e)) != 0 ||
	    (rc = open_weights(o, dir, e)) != 0 ||
	    (rc = open_tokenizer(o, dir, e)) != 0 ||
	    (rc = open_template(o, dir, e)) != 0) {
		hf_close(o);
		return rc;
	}
	*h = o;
	return 0;
}

void
hf_close(struct hf *h)
{
	if (h == NULL)
		return;
	for (size_t i = 0; i < h->n_shards; i++) {
		safetensors_close(&h->shards[i]);
		free(h->names[i]);
	}
	free(h->shards);
	free(h->names);
	buf_free(&h->tokenizer);
	buf_free(&h->chat_template);
	free(h);
}

static void
turn_to(struct hf *h, enum h1b_part part, int32_t layer)
{
	if (h->part == part && h->layer == layer)
		return;
	h->part = part;
	h->layer = layer;
	h->weight = find(h, part, layer, false);
	h->scale = find(h, part, layer, true);
}

static int
get_row(void *arg, enum h1b_part part, int32_t layer, int32_t row, float *out,
    struct err *e)
{
	struct hf *h = arg;
	uint64_t n;

	(void)e;
	turn_to(h, part, layer);
	n = h->weight->dims[h->weight->n_dims - 1];
	safetensors_f32(h->weight, (uint64_t)row * n, n, out);
	return 0;
}

static int
get_codes(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    uint8_t *codes, float *scale, struct err *e)
{
	struct hf *h = arg;
	uint64_t n_rows, n;
	const uint8_t *p;
	int shift;

	turn_to(h, part, layer);
	n_rows = h->weight->dims[0];
	n = h->weight->dims[1];
	p = h->weight->data + (uint64_t)row % n_rows * n;
	shift = (int)((uint64_t)row / n_rows) * 2;
	for (uint64_t k = 0; k < n; k++)
		if ((codes[k] = p[k] >> shift & 3) == 3)
			return err_set(e, ERR_BAD_FILE, "tensor '%s': code 3 at "
			    "row %d, column %llu", h->weight->name, row,
			    (unsigned long long)k);
	safetensors_f32(h->scale, 0, 1, scale);
	if (!(*scale > 0 && isfinite(*scale)))
		return err_set(e, ERR_BAD_FILE, "tensor '%s' is %g, not positive",
		    h->scale->name, (double)*scale);
	if (h->config.divide)
		*scale = 1 / *scale;
	return 0;
}

void
hf_source(struct hf *h, struct h1b_source *s)
{
	*s = (struct h1b_source){
		.config = h->config.config,
		.architecture = h->config.architecture,
		.chat_template = h->chat_template.data != NULL ?
		    h->chat_template.data : "",
		.n_chat_template = h->chat_template.len,
		.tokenizer = h->tokenizer.data,
		.n_tokenizer = h->tokenizer.len,
		.row = get_row, .codes = get_codes, .arg = h,
	};
}
