#ifndef TESTS_ENGINE_WORLD_H
#define TESTS_ENGINE_WORLD_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

/*
 * An engine with nothing real around it: a backend that hashes what the KV
 * pages hold (so a wrong page, row or order changes every token after it), a
 * token for each byte and two special ones, and a clock that stands still
 * unless it is moved.
 */
enum {
	WORLD_VOCAB = 258, WORLD_EOS = 256, WORLD_BOS = 257, WORLD_CTX = 512, WORLD_IDS = 40,
	WORLD_TOKENS = 600, WORLD_PAGES = 64, WORLD_HIDDEN = 3,
};

/* What was published of one request. */
struct heard {
	char id[DECODE_ID_LEN + 1];
	int64_t next;		/* seq of the piece to come */
	int32_t tokens[WORLD_TOKENS];
	int n_tokens;
	struct buf text;
	char finish[16];
	json_t *stats, *logprobs;	/* of the last piece; of all */
	char vector[64];	/* of the last piece */
	json_t *scores;		/* prompt_logprobs of the first piece, or NULL */
};

static struct {
	struct engine *en;
	struct engine_config config;	/* for a test to change before world_open */
	struct backend backend;
	struct model_config model;
	struct tokenizer *tokenizer;
	int32_t kv[WORLD_PAGES * KV_PAGE];	/* the tokens that were fed */
	int64_t now_us, forward_us;	/* the clock; what one step takes */
	/* What the model wants most, from the end of a prompt of n_prompt on;
	 * NULL: by hash. */
	const int32_t *script;
	int n_prompt;
	bool fails, deaf;	/* the backend; the subscriber */
	int n_forwards, n_rows, rows_max;	/* n_rows: of this step */
	struct heard heard[WORLD_IDS];
	int n_heard;
	void (*in_forward)(void);	/* what else happens meanwhile */
} world;

static inline void
world_logits(float *out, const struct backend_row *row)
{
	uint64_t h = 1469598103934665603u;

	for (int32_t p = 0; p <= row->pos; p++)
		h = (h ^ (uint64_t)world.kv[row->pages[p / KV_PAGE] * KV_PAGE +
		    p % KV_PAGE]) * 1099511628211u;
	for (int i = 0; i < WORLD_VOCAB; i++) {
		h = h * 6364136223846793005u + 1442695040888963407u;
		out[i] = (float)(h >> 40) / (1 << 22) - 2;
	}
	out[WORLD_EOS] = -50;
	if (world.script != NULL)
		out[world.script[row->pos + 1 - world.n_prompt]] = 100;
}

static inline int
world_forward(struct backend *b, const struct backend_row *rows, int n,
    float *logits, struct err *e)
{
	(void)b;
	world.n_forwards++;
	world.n_rows = n;
	world.rows_max = n > world.rows_max ? n : world.rows_max;
	world.now_us += world.forward_us;
	if (world.in_forward != NULL)
		world.in_forward();
	if (world.fails)
		return err_set(e, ERR_SYSTEM, "the device is gone");
	for (int i = 0; i < n; i++)
		world.kv[rows[i].pages[rows[i].pos / KV_PAGE] * KV_PAGE +
		    rows[i].pos % KV_PAGE] = rows[i].token;
	for (int i = 0; i < n; i++)
		for (int k = 0; rows[i].hidden != NULL && k < WORLD_HIDDEN; k++)
			rows[i].hidden[k] = (float)((rows[i].token * (k + 3) +
			    rows[i].pos * 7 + k) % 101) / 100;
	for (int i = 0; i < n; i++)
		if (rows[i].want_logits) {
			world_logits(logits, &rows[i]);
			logits += WORLD_VOCAB;
		}
	return 0;
}

static inline int
world_copy_page(struct backend *b, int32_t from, int32_t to, int n,
    struct err *e)
{
	(void)b;
	(void)e;
	memcpy(world.kv + to * KV_PAGE, world.kv + from * KV_PAGE,
	    (size_t)n * sizeof(*world.kv));
	return 0;
}

static inline const char *
world_id(int n)
{
	static char id[4][DECODE_ID_LEN + 1];
	static int next;
	char *s = id[next = (next + 1) % 4];

	snprintf(s, sizeof(id[0]), "%032x", (unsigned)n);
	return s;
}

static inline struct heard *
world_find(const char *id)
{
	struct heard *h;

	for (h = world.heard; h < world.heard + world.n_heard; h++)
		if (strcmp(h->id, id) == 0)
			return h;
	ck_assert_int_lt(world.n_heard++, WORLD_IDS);
	*h = (struct heard){ .logprobs = json_array() };
	strcpy(h->id, id);
	return h;
}

static inline struct heard *
world_heard(int n)
{
	return world_find(world_id(n));
}

/* Take pieces, published or replayed.  They must be well formed; what is held
 * already must be the same again. */
static inline void
world_take(json_t *events)
{
	struct decode_piece p;
	struct err e;
	json_t *v, *token;
	size_t i, k;

	json_array_foreach(events, i, v) {
		struct heard *h;

		ck_assert_int_eq(field_decode(decode_piece_fields(), sizeof(p),
		    v, &p, &e), 0);
		h = world_find(p.id);
		token = json_array_get(p.tokens, 0);
		if (p.seq < h->next) {
			if (token != NULL && h->n_tokens == h->next)
				ck_assert_int_eq(json_integer_value(token),
				    h->tokens[p.seq]);
			continue;
		}
		ck_assert_int_eq(p.seq, h->next);
		ck_assert_str_eq(h->finish, "");
		h->next++;
		if (json_array_size(p.prompt_logprobs) > 0)
			h->scores = json_incref(p.prompt_logprobs);
		json_array_foreach(p.tokens, k, token)
			h->tokens[h->n_tokens++] =
			    (int32_t)json_integer_value(token);
		buf_adds(&h->text, p.text);
		json_array_extend(h->logprobs, p.logprobs);
		snprintf(h->finish, sizeof(h->finish), "%s", p.finish);
		if (p.finish[0] == '\0')
			continue;
		snprintf(h->vector, sizeof(h->vector), "%s", p.vector);
		json_decref(h->stats);
		h->stats = json_incref(p.stats);
	}
}

static inline void
world_on_step(void *arg, int64_t step, json_t *events)
{
	(void)arg;
	ck_assert_int_gt(step, 0);
	ck_assert_uint_gt(json_array_size(events), 0);
	if (!world.deaf)
		world_take(events);
}

static inline int64_t
world_clock(void *arg)
{
	(void)arg;
	return world.now_us;
}

/* As GPT-2 spells bytes: printable Latin-1 is itself, the others, in their
 * order, are U+0100 and following. */
static inline void
world_tokenizer(void)
{
	json_t *vocab = json_object(), *root;
	int other = 256;
	struct err e;
	char *text;

	for (int c = 0; c < 256; c++) {
		bool printable = (c >= 33 && c <= 126) ||
		    (c >= 161 && c <= 172) || c >= 174;
		int cp = printable ? c : other++;
		char utf8[3] = { (char)cp, 0, 0 };

		if (cp >= 128) {
			utf8[0] = (char)(0xC0 | cp >> 6);
			utf8[1] = (char)(0x80 | (cp & 63));
		}
		json_object_set_new(vocab, utf8, json_integer(c));
	}
	root = json_pack("{s:[{s:i, s:s, s:b}, {s:i, s:s, s:b}], s:{s:s, s:b, "
	    "s:b}, s:{s:s, s:o, s:[]}}", "added_tokens", "id", WORLD_EOS,
	    "content", "<eos>", "special", 1, "id", WORLD_BOS, "content",
	    "<bos>", "special", 1, "pre_tokenizer", "type", "ByteLevel",
	    "add_prefix_space", 0, "use_regex", 1, "model", "type", "BPE",
	    "vocab", vocab, "merges");
	ck_assert_ptr_nonnull(root);
	text = json_dumps(root, 0);
	ck_assert_msg(tokenizer_from_json(text, strlen(text), &world.tokenizer,
	    &e) == 0, "%s", e.text);
	free(text);
	json_decref(root);
}

/* A world of 4 slots, 8 waiting, 2 contexts of pages, 64 rows a step. */
static inline void
world_reset(void)
{
	memset(&world, 0, sizeof(world));
	world_tokenizer();
	world.now_us = 1000000;
	world.backend.forward = world_forward;
	world.backend.copy_page = world_copy_page;
	world.backend.has_hidden = true;
	world.model = (struct model_config){ .vocab = WORLD_VOCAB,
		.hidden = WORLD_HIDDEN,
		.n_ctx = WORLD_CTX, .bos = WORLD_BOS, .eos = { WORLD_EOS }, .n_eos = 1 };
	world.config = (struct engine_config){
		.job = { &world.model, world.tokenizer, WORLD_CTX },
		.backend = &world.backend, .boot = "0123456789abcdef",
		.n_slots = 4, .queue_max = 8, .n_pages = 2 * WORLD_CTX / KV_PAGE,
		.step_rows = 64, .prefill_rows = 64, .queue_tokens = 100000,
		.prefix_cache = true, .clock_us = world_clock,
		.on_step = world_on_step,
	};
}

/* Start the engine, anew if there is one: a restart of the worker. */
static inline void
world_open(void)
{
	struct err e;

	engine_destroy(world.en);
	memset(world.kv, -1, sizeof(world.kv));
	ck_assert_int_eq(engine_create(&world.config, &world.en, &e), 0);
}

static inline void
world_close(void)
{
	engine_destroy(world.en);
	tokenizer_destroy(world.tokenizer);
	for (int i = 0; i < world.n_heard; i++) {
		buf_free(&world.heard[i].text);
		json_decref(world.heard[i].stats);
		json_decref(world.heard[i].logprobs);
		json_decref(world.heard[i].scores);
	}
}

/*
 * generate id n with the bytes of prompt and members, which is JSON with '
 * for ": "'max_tokens':5".  forced: its ids or NULL, stolen.
 */
static inline int
world_try(int n, const char *prompt, const char *members, json_t *forced,
    struct decode_accepted *a, struct err *e)
{
	struct decode_generate g;
	int32_t ids[WORLD_CTX + 1];
	size_t len = strlen(prompt);
	char text[512];
	json_t *obj;
	int r;

	snprintf(text, sizeof(text), "{'id':'%s'%s%s}", world_id(n),
	    *members != '\0' ? "," : "", members);
	for (char *c = text; *c != '\0'; c++)
		*c = *c == '\'' ? '"' : *c;
	ck_assert_ptr_nonnull(obj = json_loads(text, 0, NULL));
	if (forced != NULL)
		json_object_set_new(obj, "forced", forced);
	ck_assert_int_eq(field_decode(decode_generate_fields(), sizeof(g), obj,
	    &g, e), 0);
	ck_assert_uint_le(len, WORLD_CTX + 1);
	for (size_t i = 0; i < len; i++)
		ids[i] = (unsigned char)prompt[i];
	r = engine_add(world.en, &g, ids, len, a, e);
	json_decref(obj);
	return r;
}

static inline void
world_add(int n, const char *prompt, const char *members)
{
	struct decode_accepted a;
	struct err e;

	ck_assert_msg(world_try(n, prompt, members, NULL, &a, &e) == 0, "%s",
	    e.text);
}

static inline bool
world_step(void)
{
	struct err e;
	bool worked;

	ck_assert_int_eq(engine_step(world.en, &worked, &e), 0);
	return worked;
}

/* Until there is nothing to do; the subscriber acknowledges as it hears. */
static inline void
world_run(void)
{
	for (int i = 0; world_step(); i++) {
		ck_assert_int_lt(i, 5000);
		for (int k = 0; k < world.n_heard && !world.deaf; k++)
			engine_ack(world.en, world.heard[k].id,
			    world.heard[k].next);
	}
}

static inline void
world_pass(int64_t ms)
{
	world.now_us += ms * 1000;
}

static inline const char *
world_text(int n)
{
	struct heard *h = world_heard(n);

	return h->text.len > 0 ? h->text.data : "";
}

static inline struct engine_stats
world_stats(void)
{
	struct engine_stats st;

	engine_stats(world.en, &st);
	return st;
}

/* main of a suite of tests, each in a world of its own. */
static inline int
world_main(Suite *suite, TCase *t)
{
	SRunner *r = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(t, world_reset, world_close);
	suite_add_tcase(suite, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
