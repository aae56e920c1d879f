#include <stdlib.h>
#include <string.h>

#include "backend/cpu_team.h"
#include "options.h"
#include "ppl_walk.h"
#include "speculate.h"
#include "tokenizer/template.h"

FIELD_TABLE(decode_options, DECODE_OPTIONS)

enum {
	STEP_ROWS = 128,
	KV_BYTES = 512 << 20,	/* unless --kv-tokens says otherwise */
	KV_CONTEXTS = 4,	/* and at least these, if there are the slots */
};

static const char backends[] = "auto, gpu, cpu, ref";

/* Words that an option may have. */
static const struct {
	const char *option;
	size_t offset;
	const char *words;	/* separated by ", " */
} choices[] = {
#define CHOICE(member, option, words) \
	{ option, offsetof(struct decode_options, member), words }
	CHOICE(backend, "--backend", backends),
	CHOICE(gpu_step, "--gpu-step", "auto, launches, whole"),
	CHOICE(isa, "--isa", "auto, avx512, avxvnni, avx2, neon, scalar"),
	CHOICE(kv, "--kv", "f16, i8"),
	CHOICE(pages, "--pages", "auto, huge, normal"),
	CHOICE(attn, "--attn", "auto, split-kv-fd"),
	CHOICE(rope_mode, "--rope-mode", "auto, hf-split-half, interleaved"),
	CHOICE(log_format, "--log-format", "text, json"),
#undef CHOICE
};

static bool
is_among(const char *word, const char *words)
{
	size_t n = strlen(word);

	while (*words != '\0') {
		size_t len = strcspn(words, ",");

		if (len == n && strncmp(words, word, n) == 0)
			return true;
		words += len;
		words += strspn(words, ", ");
	}
	return false;
}

int
options_check(const struct decode_options *o, struct err *e)
{
	const struct template *tp;
	enum ppl_protocol protocol;
	struct bench_options b;
	struct err why;
	int32_t stride;
	int n_threads;
	int mode, r;

	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		const char *word;

		memcpy(&word, (const char *)o + choices[i].offset, sizeof(word));
		if (!is_among(word, choices[i].words))
			return err_set(e, ERR_RANGE,
			    "%s: '%.32s' is not one of %s", choices[i].option,
			    word, choices[i].words);
	}
	if (json_array_size(o->bench) > 0 && o->ppl[0] != '\0')
		return err_set(e, ERR_RANGE,
		    "--bench and --ppl: one at a time, please");
	if (o->kl_against[0] != '\0' && o->ppl[0] == '\0')
		return err_set(e, ERR_RANGE, "--kl-against needs --ppl: the text "
		    "to compare over");
	if (o->kl_backend[0] != '\0' && !is_among(o->kl_backend, backends))
		return err_set(e, ERR_RANGE, "--kl-backend: '%.32s' is not one of "
		    "%s", o->kl_backend, backends);
	if (o->kl_backend[0] != '\0' && o->kl_against[0] == '\0')
		return err_set(e, ERR_RANGE, "--kl-backend needs --kl-against: the "
		    "model that it runs");
	if (ppl_protocol_parse(o->ppl_protocol, &protocol, &stride,
	    &why) != 0)
		return err_set(e, why.code, "--ppl-protocol: %s", why.text);
	if (strcmp(o->chat_template, "auto") != 0 &&
	    template_choose(o->chat_template, &tp, &why) != 0)
		return err_set(e, why.code, "--chat-template: %s", why.text);
	if ((r = options_speculate(o, &mode, e)) != 0)
		return r;
	if (options_threads(o, &n_threads, e) != 0)
		return e->code;
	return options_depths(o, &b, e);
}

int
options_threads(const struct decode_options *o, int *n, struct err *e)
{
	char *end;
	long v = strtol(o->threads, &end, 10);
	bool is_number = o->threads[0] >= '0' && o->threads[0] <= '9' &&
	    *end == '\0';

	if (strcmp(o->threads, "auto") != 0 &&
	    (!is_number || v < 1 || v > CPU_TEAM_MAX))
		return err_set(e, ERR_RANGE, "--threads: '%.32s' is not auto, or "
		    "a number from 1 to %d", o->threads, CPU_TEAM_MAX);
	*n = is_number ? (int)v : 0;
	return 0;
}

enum model_pages
options_pages(const struct decode_options *o)
{
	return strcmp(o->pages, "huge") == 0 ? MODEL_HUGE :
	    strcmp(o->pages, "normal") == 0 ? MODEL_NORMAL : MODEL_AUTO;
}

int
options_speculate(const struct decode_options *o, int *mode, struct err *e)
{
	char *end;
	long n = strtol(o->speculate, &end, 10);

	if (strcmp(o->speculate, "auto") == 0) {
		*mode = SPECULATE_AUTO;
	} else if (strcmp(o->speculate, "off") == 0) {
		*mode = 0;
	} else if (*end == '\0' && n >= 1 && n <= SPECULATE_DRAFTS) {
		*mode = (int)n;
	} else {
		return err_set(e, ERR_RANGE, "--speculate: '%.32s' is not auto, "
		    "off or 1 to %d", o->speculate, SPECULATE_DRAFTS);
	}
	return 0;
}

int
options_depths(const struct decode_options *o, struct bench_options *b,
    struct err *e)
{
	const json_t *v;
	size_t i;

	b->n_depths = 0;
	if (json_array_size(o->bench) > BENCH_DEPTHS_MAX)
		return err_set(e, ERR_RANGE, "--bench: more than %d of them",
		    BENCH_DEPTHS_MAX);
	json_array_foreach(o->bench, i, v) {
		const char *text = json_string_value(v);
		long depth = (long)json_integer_value(v);
		char *end = "";

		if (text != NULL)
			depth = strtol(text, &end, 10);
		if (text != NULL && (*end != '\0' || end == text))
			return err_set(e, ERR_RANGE,
			    "--bench: '%.32s' is not a number", text);
		if (depth < 1 || depth > MODEL_CTX_MAX)
			return err_set(e, ERR_RANGE,
			    "--bench: %ld is not from 1 to %d tokens", depth,
			    MODEL_CTX_MAX);
		b->depths[b->n_depths++] = (int32_t)depth;
	}
	return 0;
}

static int32_t
pages_of(int64_t tokens)
{
	return (int32_t)((tokens + KV_PAGE - 1) / KV_PAGE);
}

int
options_size(const struct decode_options *o, struct model *m,
    struct backend_options *b, struct err *e)
{
	const struct model_config *c = &m->config;
	int64_t n_ctx = o->context > 0 ? o->context : c->n_ctx;
	int64_t all, tokens = o->kv_tokens, per_token;

	if (n_ctx > c->n_ctx)
		return err_set(e, ERR_RANGE, "--context: %lld is more than the "
		    "%d that the model was trained for", (long long)n_ctx,
		    (int)c->n_ctx);
	/* Pages are whole, so every slot may need one that is not full. */
	all = o->slots * pages_of(n_ctx) * KV_PAGE;
	if (tokens > 0 && tokens < n_ctx)
		return err_set(e, ERR_RANGE, "--kv-tokens: %lld is less than "
		    "the context of one request, %lld", (long long)tokens,
		    (long long)n_ctx);
	if (tokens == 0) {
		per_token = (int64_t)sizeof(float) * 2 * c->n_layers *
		    c->n_kv_heads * c->head_dim;
		tokens = KV_BYTES / per_token;
		if (tokens < KV_CONTEXTS * n_ctx)
			tokens = KV_CONTEXTS * n_ctx;
	}
	b->n_ctx = (int32_t)n_ctx;
	b->n_pages = pages_of(tokens < all ? tokens : all);
	b->kv = o->kv;
	b->max_rows = (int32_t)(o->step_rows > 0 ? o->step_rows : STEP_ROWS);
	b->more_rows = o->step_rows == 0;
	if (b->max_rows < o->slots)
		b->max_rows = (int32_t)o->slots;
	if (strcmp(o->rope_mode, "auto") != 0)
		m->config.rope_interleaved =
		    strcmp(o->rope_mode, "interleaved") == 0;
	return 0;
}
