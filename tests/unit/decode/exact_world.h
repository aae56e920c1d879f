#ifndef TESTS_EXACT_WORLD_H
#define TESTS_EXACT_WORLD_H

/*
 * A real model behind a real engine, with every request's tokens, and the bits
 * of the logits that each was sampled from, compared with those that it gets
 * alone.
 */
#include "engine_state.h"
#include "engine_world.h"
#include "top_rows.h"

enum { EXACT_REQUESTS = 8, EXACT_PROMPT = 128, EXACT_NEW = 64 };

/* How a set of requests is run. */
struct exact_way {
	const char *what, *isa, *kv;	/* isa "gpu": that backend */
	int threads, step_rows, prefill_rows, n_slots, speculate;
	bool together;		/* they join at random steps; else one by one */
	int32_t n_pages;	/* 0: enough for all */
	bool prefix_cache;
	bool twice;		/* the first time warms the cache up */
	bool top;		/* rows may ask for the largest logits only */
};

struct exact_request {
	int32_t prompt[EXACT_PROMPT];
	int n_prompt;
	const char *members;
};

/* What one request got. */
struct exact_answer {
	int32_t tokens[EXACT_NEW];
	int n_tokens;
	uint64_t logits[EXACT_PROMPT + EXACT_NEW];	/* by position; 0: never */
};

static struct {
	const struct model *model;
	struct backend inner, outer;	/* the real one; what the engine sees */
	char opened[64];	/* with which options; "": it is not */
	struct exact_request requests[EXACT_REQUESTS];
	int n_requests;
	struct exact_answer alone[EXACT_REQUESTS], got[EXACT_REQUESTS];
	uint32_t bits;
	/* Of all that ran: that what is tested did happen. */
	int64_t accepted, cached, copied, preempted, evicted, topped;
} exact;

static inline uint32_t
exact_random(uint32_t below)
{
	exact.bits = exact.bits * 1664525 + 1013904223;
	return (exact.bits >> 8) % below;
}

static inline uint64_t
exact_hash(const float *logits, int32_t n)
{
	uint64_t h = 1469598103934665603u;

	for (int32_t i = 0; i < n; i++) {
		uint32_t bits;

		memcpy(&bits, &logits[i], sizeof(bits));
		h = (h ^ bits) * 1099511628211u;
	}
	return h;
}

static inline int
exact_forward(struct backend *b, const struct backend_row *rows, int n,
    float *logits, struct err *e)
{
	const struct plan *p = &world.en->plan;
	int32_t vocab = exact.model->config.vocab;
	int row = 0, r = b->top_max > exact.inner.top_max ?
	    top_rows_forward(&exact.inner, rows, n, vocab, logits, e) :
	    exact.inner.forward(&exact.inner, rows, n, logits, e);

	for (int i = 0; i < n; i++)
		exact.topped += rows[i].n_top > 0;
	world.now_us += 1000 + n;
	for (int i = 0; i < p->n_shares; i++) {
		long id = strtol(p->shares[i].job->id, NULL, 16);
		uint64_t *out = exact.got[id % EXACT_REQUESTS].logits;

		for (int k = 0; k < p->shares[i].n_rows; k++, row++) {
			if (!rows[row].want_logits)
				continue;
			out[rows[row].pos] = exact_hash(logits, vocab);
			logits += vocab;
		}
	}
	return r;
}

/* One backend is kept open from way to way. */
static inline void
exact_backend(const struct exact_way *w)
{
	struct backend_options o = { .name = strcmp(w->isa, "gpu") == 0 ? "gpu" :
		"cpu", .isa = w->isa,
		.n_threads = w->threads, .n_pages = 256, .max_rows =
		BACKEND_ROWS_MAX, .n_ctx = 256, .kv = w->kv };
	char name[64];
	struct err e;

	snprintf(name, sizeof(name), "%s %s %d", w->isa,
	    w->kv != NULL ? w->kv : "f16", w->threads);
	if (strcmp(name, exact.opened) != 0) {
		if (exact.opened[0] != '\0')
			exact.inner.close(&exact.inner);
		ck_assert_msg(backend_open(exact.model, &o, &exact.inner, &e) ==
		    0, "%s", e.text);
		strcpy(exact.opened, name);
	}
	exact.outer = exact.inner;
	exact.outer.forward = exact_forward;
	exact.outer.top_max = w->top ? BACKEND_TOP_MAX : 0;
}

static inline void
exact_add(int id)
{
	const struct exact_request *rq = &exact.requests[id % EXACT_REQUESTS];
	struct decode_generate g;
	struct decode_accepted a;
	char text[512];
	json_t *obj;
	struct err e;

	snprintf(text, sizeof(text), "{'id':'%s','lease_ms':60000,%s}",
	    world_id(id), rq->members);
	for (char *c = text; *c != '\0'; c++)
		*c = *c == '\'' ? '"' : *c;
	ck_assert_ptr_nonnull(obj = json_loads(text, 0, NULL));
	ck_assert_msg(field_decode(decode_generate_fields(), sizeof(g), obj, &g,
	    &e) == 0, "%s", e.text);
	ck_assert_msg(engine_add(world.en, &g, rq->prompt, (size_t)rq->n_prompt,
	    &a, &e) == 0, "%s", e.text);
	json_decref(obj);
}

static inline void
exact_step(void)
{
	world_step();
	for (int k = 0; k < world.n_heard; k++)
		engine_ack(world.en, world.heard[k].id, world.heard[k].next);
}

/* All requests once, ids from first on. */
static inline void
exact_round(const struct exact_way *w, int first)
{
	for (int i = 0; i < exact.n_requests; i++) {
		exact_add(first + i);
		for (uint32_t k = w->together ? exact_random(9) : 0; k > 0; k--)
			exact_step();
		if (!w->together)
			world_run();
	}
	world_run();
}

/* Forget what was heard: ids are used again. */
static inline void
exact_forget(void)
{
	for (int i = 0; i < world.n_heard; i++) {
		buf_free(&world.heard[i].text);
		json_decref(world.heard[i].stats);
		json_decref(world.heard[i].logprobs);
	}
	world.n_heard = 0;
}

/* Run them that way, into exact.got. */
static inline void
exact_run(const struct exact_way *w)
{
	struct engine_config *c = &world.config;
	struct engine_stats st;

	exact_backend(w);
	memset(exact.got, 0, sizeof(exact.got));
	c->job = (struct job_context){ &exact.model->config, world.tokenizer,
		256 };
	c->backend = &exact.outer;
	c->n_slots = w->n_slots > 0 ? w->n_slots : EXACT_REQUESTS;
	c->queue_max = EXACT_REQUESTS;
	c->n_pages = w->n_pages > 0 ? w->n_pages : 128;
	c->step_rows = w->step_rows > 0 ? w->step_rows : 128;
	c->prefill_rows = w->prefill_rows > 0 ? w->prefill_rows : 128;
	c->prefix_cache = w->prefix_cache;
	c->speculate = w->speculate;
	world_open();
	exact_round(w, 0);
	if (w->twice) {
		exact_forget();
		memset(exact.got, 0, sizeof(exact.got));
		exact_round(w, EXACT_REQUESTS);
	}
	for (int i = 0; i < exact.n_requests; i++) {
		struct heard *h = world_heard((w->twice ? EXACT_REQUESTS : 0) +
		    i);
		struct exact_answer *a = &exact.got[i];

		ck_assert_int_gt(h->n_tokens, 0);
		ck_assert_int_le(h->n_tokens, EXACT_NEW);
		a->n_tokens = h->n_tokens;
		memcpy(a->tokens, h->tokens, (size_t)a->n_tokens *
		    sizeof(*a->tokens));
	}
	exact_forget();
	st = world_stats();
	exact.accepted += st.draft_accepted;
	exact.cached += st.cached_tokens;
	exact.copied += st.page_copies;
	exact.preempted += st.preemptions;
	exact.evicted += st.evictions;
}

/* What each gets alone: exact.alone. */
static inline void
exact_baseline(const char *isa, const char *kv)
{
	const struct exact_way w = { .isa = isa, .kv = kv, .threads = 1,
		.n_slots = 1 };

	exact_run(&w);
	memcpy(exact.alone, exact.got, sizeof(exact.alone));
}

/* The same tokens from the same logits. */
static inline void
exact_check(const struct exact_way *w)
{
	exact_run(w);
	for (int i = 0; i < exact.n_requests; i++) {
		const struct exact_answer *a = &exact.alone[i];
		const struct exact_answer *b = &exact.got[i];
		int first = exact.requests[i].n_prompt - 1;

		ck_assert_msg(a->n_tokens == b->n_tokens &&
		    memcmp(a->tokens, b->tokens, (size_t)a->n_tokens *
		    sizeof(*a->tokens)) == 0, "%s: tokens of request %d",
		    w->what, i);
		for (int p = first; p < first + a->n_tokens; p++)
			ck_assert_msg(a->logits[p] == b->logits[p] ||
			    (w->top && b->logits[p] == 0),
			    "%s: logits of request %d at %d", w->what, i, p);
	}
}

static inline void
exact_close(void)
{
	engine_destroy(world.en);
	world.en = NULL;
	if (exact.opened[0] != '\0')
		exact.inner.close(&exact.inner);
	exact.opened[0] = '\0';
}

#endif
