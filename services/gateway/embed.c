/*
 * Each input is a request at the worker that ends with a vector.  A few are on
 * their way at a time: enough that prompts share steps, not so many that they
 * fill the queue of others.  The answer is written by hand: numbers as a tree
 * of JSON would take ten times their memory.
 */
#include "embed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "clock.h"
#include "log.h"
#include "openai.h"

enum { AT_ONCE = 8, WAIT_MS = 500, VALUES_MAX = 4 << 20 };

struct embed {
	struct gateway *gw;
	struct web_request *rq;
	const struct openai_embedding *q;
	struct caller *caller;
	struct upstream_model model;
	size_t n, next;			/* inputs; the first not asked for */
	char **vectors;			/* [n] base64 of f32; owned */
	struct upstream_request *up[AT_ONCE];	/* NULL: free */
	size_t input[AT_ONCE];		/* whose it is */
	int n_open;
	int64_t n_tokens;
	bool cannot;			/* this worker has no such vectors */
};

static int
check_size(const struct embed *m, struct err *e)
{
	if (m->q->dimensions != 0 && m->q->dimensions != m->model.n_embd)
		return err_set_param(e, ERR_UNSUPPORTED, "dimensions",
		    "'dimensions' is %lld, and the vectors of this model have "
		    "%lld", (long long)m->q->dimensions,
		    (long long)m->model.n_embd);
	if (m->model.n_embd > 0 && (int64_t)m->n > VALUES_MAX / m->model.n_embd)
		return err_set_param(e, ERR_RANGE, "input",
		    "'input' has %zu texts, and of this model's vectors at "
		    "most %lld go into one answer", m->n,
		    (long long)(VALUES_MAX / m->model.n_embd));
	return 0;
}

static int
submit(struct embed *m, int at, struct err *e)
{
	json_t *generate = json_copy(m->q->generate);
	int r;

	json_object_update(generate, json_array_get(m->q->inputs, m->next));
	caller_generate(m->caller, false, generate);
	r = fleet_submit(m->gw->fleet, m->q->model, "", generate, &m->up[at],
	    e);
	json_decref(generate);
	m->cannot = r == ERR_UNSUPPORTED;
	if (r != 0 && strncmp(e->param, "prompt", 6) == 0)
		strcpy(e->param, "input");	/* as the client calls it */
	if (r == 0) {
		m->input[at] = m->next++;
		m->n_open++;
	}
	return r;
}

/* A worker that takes nothing now may take it later. */
static bool
is_passing(int code)
{
	return code == ERR_BUSY || code == ERR_LOADING || code == ERR_UNAVAILABLE ||
	    code == ERR_DRAINING;
}

/* As many as may be; a worker that takes none is an error only if it has none of ours,
 * which go on after its end. */
static int
submit_more(struct embed *m, struct err *e)
{
	for (int i = 0; i < AT_ONCE && m->next < m->n; i++) {
		int r = m->up[i] == NULL ? submit(m, i, e) : 0;

		if (is_passing(r) && m->n_open > 0)
			return 0;
		if (r != 0)
			return r;
	}
	return 0;
}

/* The one piece that such a request has. */
static int
take(struct embed *m, int at, struct piece *p, struct err *e)
{
	struct openai_usage u;

	if (strcmp(p->finish, "deadline") == 0)
		return err_set(e, ERR_TIMEOUT,
		    "the vectors were not there in time");
	if (p->vector == NULL)
		return err_set(e, ERR_SYSTEM,
		    "the worker ended the request: %s", p->finish);
	openai_usage_read(p->stats, &u);
	m->n_tokens += u.n_prompt;
	m->gw->stats.n_prompt += (uint64_t)u.n_prompt;
	m->vectors[m->input[at]] = p->vector;
	p->vector = NULL;
	upstream_taken(m->up[at], p->seq + 1);
	upstream_close(m->up[at]);
	m->up[at] = NULL;
	m->n_open--;
	return 0;
}

/* 0; 1: the client is gone; or an error. */
static int
wait_some(struct embed *m, struct err *e)
{
	struct upstream_request *up[AT_ONCE];
	struct piece *lists[AT_ONCE] = { 0 };
	int at[AT_ONCE], n = 0, r;

	for (int i = 0; i < AT_ONCE; i++)
		if (m->up[i] != NULL) {
			at[n] = i;
			up[n++] = m->up[i];
		}
	if ((r = upstream_wait_any(up, n, WAIT_MS, lists, e)) != 0)
		return r;
	for (int i = 0; i < n; i++) {
		if (r == 0 && lists[i] != NULL)
			r = take(m, at[i], lists[i], e);
		piece_list_free(lists[i]);
	}
	if (r == 0 && web_client_gone(m->rq))
		return 1;
	return r != 0 || m->n_open == 0 ? r : gateway_cut(m->gw, e);
}

static int
add_floats(const char *vector, struct buf *out)
{
	struct buf raw = { 0 };
	bool ok = base64_decode(vector, strlen(vector), &raw) &&
	    raw.len % 4 == 0;

	for (size_t i = 0; ok && i < raw.len; i += 4) {
		const unsigned char *b = (const unsigned char *)raw.data + i;
		uint32_t bits = (uint32_t)b[0] | (uint32_t)b[1] << 8 |
		    (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
		float x;

		memcpy(&x, &bits, sizeof(x));
		ok = isfinite(x);
		buf_printf(out, "%s%.9g", i == 0 ? "" : ",", (double)x);
	}
	buf_free(&raw);
	return ok ? 0 : ERR_BAD_MESSAGE;
}

static int
write_answer(struct embed *m, struct buf *out, struct err *e)
{
	json_t *model = json_string(m->model.id);
	char *name = json_dumps(model, JSON_ENCODE_ANY);
	int r = 0;

	buf_adds(out, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; r == 0 && i < m->n; i++) {
		buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,"
		    "\"embedding\":%s", i == 0 ? "" : ",", i,
		    m->q->base64 ? "\"" : "[");
		if (m->q->base64)
			buf_adds(out, m->vectors[i]);
		else
			r = add_floats(m->vectors[i], out);
		buf_adds(out, m->q->base64 ? "\"}" : "]}");
	}
	buf_printf(out, "],\"model\":%s,\"usage\":{\"prompt_tokens\":%lld,"
	    "\"total_tokens\":%lld}}", name != NULL ? name : "\"\"",
	    (long long)m->n_tokens, (long long)m->n_tokens);
	free(name);
	json_decref(model);
	if (r != 0)
		return err_set(e, ERR_SYSTEM,
		    "the worker sent a vector that is none");
	if (out->failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for the vectors");
	return 0;
}

static int
run(struct embed *m, struct buf *out, struct err *e)
{
	int r;

	if ((r = fleet_model(m->gw->fleet, m->q->model, &m->model, e)) != 0 ||
	    (r = check_size(m, e)) != 0)
		return r;
	if ((m->vectors = calloc(m->n, sizeof(*m->vectors))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the vectors");
	while (m->next < m->n || m->n_open > 0)
		if ((r = submit_more(m, e)) != 0 ||
		    (r = wait_some(m, e)) != 0)
			return r;
	return write_answer(m, out, e);
}

void
embed(struct gateway *gw, struct web_request *rq,
    const struct openai_embedding *q, struct caller *caller)
{
	struct embed m = { .gw = gw, .rq = rq, .q = q, .caller = caller,
		.n = json_array_size(q->inputs) };
	int64_t start_ns = clock_ns();
	struct buf out = { 0 };
	struct err e;
	int r;

	if (caller_admit(caller, rq, q->inputs, 1, -1, &e) != 0) {
		web_reply_err(rq, &e);
		return;
	}
	r = run(&m, &out, &e);
	if (r == 0) {
		web_reply(rq, 200, "application/json; charset=utf-8", out.data,
		    out.len);
	} else if (m.cannot) {
		web_set_header(rq, "x-should-retry", "false");
		web_reply_error(rq, 501, "not_supported_error",
		    "feature_disabled", NULL, e.text);
	} else {
		if (r > 0)
			err_set(&e, ERR_TIMEOUT, "the client went away");
		web_reply_err(rq, &e);
	}
	log_info("embeddings request=%s inputs=%zu n_prompt=%lld ms=%.1f%s%s",
	    web_request_id(rq), m.n, (long long)m.n_tokens,
	    (double)(clock_ns() - start_ns) / 1e6, r < 0 ? ": " : "",
	    r < 0 ? e.text : "");
	for (int i = 0; i < AT_ONCE; i++)
		upstream_close(m.up[i]);
	for (size_t i = 0; m.vectors != NULL && i < m.n; i++)
		free(m.vectors[i]);
	free(m.vectors);
	buf_free(&out);
	caller_leave(caller, r == 0 ? m.n_tokens : -1);
}
