/*
 * Errors keep their status as long as nothing was sent: the headers of a stream
 * go out only after the worker has accepted.  From then on an error is an event
 * of its own, and the stream ends without [DONE].
 */
#include "answer.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "openai.h"

enum { WAIT_MS = 500 };		/* then a ping; a client that left is noticed */

struct run {
	struct gateway *gw;
	struct web_request *rq;
	const struct openai_request *q;
	struct upstream_request *up;
	struct openai_answer a;
	struct openai_usage usage;
	char *echo;		/* text before the answer, or NULL; owned */
	int64_t start_ns, first_ns;	/* 0: no token yet */
	const char *finish;	/* NULL until it ended well; static */
	struct buf out;
};

static double
seconds_since(int64_t ns)
{
	return (double)(clock_ns() - ns) / 1e9;
}

/* A finish that is no end of a text. */
static int
ended_badly(const struct piece *p, struct err *e)
{
	if (strcmp(p->finish, "deadline") == 0)
		return err_set(e, ERR_TIMEOUT,
		    "the answer was not complete in time");
	return err_set(e, ERR_SYSTEM, "the worker ended the request: %s",
	    p->finish);
}

/* The last of the list told us how it ended. */
static int
take_finish(struct run *run, const struct piece *p, struct err *e)
{
	if ((run->finish = openai_finish(p->finish)) == NULL)
		return ended_badly(p, e);
	openai_usage_read(p->stats, &run->usage);
	run->gw->stats.n_prompt += (uint64_t)run->usage.n_prompt;
	run->gw->stats.n_generated += (uint64_t)run->usage.n_generated;
	return 0;
}

static void
note_first(struct run *run, const struct piece *p)
{
	if (run->first_ns != 0 || p->n_tokens == 0)
		return;
	run->first_ns = clock_ns();
	metrics_observe(&run->gw->stats.first_token,
	    seconds_since(run->start_ns));
}

/* What came, as events; 1: the client is gone. */
static int
write_pieces(struct run *run, const struct piece *list, struct err *e)
{
	const struct piece *p, *last = list;
	int64_t next = 0, now_us;
	int r = 0;

	buf_clear(&run->out);
	for (p = list; p != NULL; p = p->next) {
		last = p;
		next = p->seq + (p->n_tokens > 0 ? p->n_tokens : 1);
		if (p->n_text > 0 || (run->a.logprobs &&
		    json_array_size(p->logprobs) > 0))
			openai_event(&run->out, openai_chunk_text(&run->a,
			    p->text, p->logprobs));
	}
	if (last->finish[0] != '\0' && (r = take_finish(run, last, e)) == 0) {
		openai_event(&run->out, openai_chunk_last(&run->a,
		    run->finish, &run->usage));
		if (run->a.include_usage)
			openai_event(&run->out, openai_chunk_usage(&run->a,
			    &run->usage));
		buf_adds(&run->out, "data: [DONE]\n\n");
	}
	if (run->out.failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for the answer");
	if (run->out.len > 0 && !web_stream_write(run->rq, run->out.data,
	    run->out.len))
		return 1;
	now_us = clock_ns() / 1000;
	for (p = list; p != NULL; p = p->next) {
		note_first(run, p);
		if (p->time_us > 0 && p->n_text > 0)
			metrics_observe(&run->gw->stats.overhead,
			    (double)(now_us - p->time_us) / 1e6);
	}
	upstream_taken(run->up, next);
	return r;
}

static void
write_error(struct run *run, const struct err *e)
{
	buf_free(&run->out);
	openai_event(&run->out, web_error_json(e));
	if (!run->out.failed)
		web_stream_write(run->rq, run->out.data, run->out.len);
}

static bool
begin_stream(struct run *run)
{
	web_stream_begin(run->rq, 200, "text/event-stream");
	if (run->a.chat)
		openai_event(&run->out, openai_chunk_first(&run->a));
	else if (run->echo != NULL)
		openai_event(&run->out, openai_chunk_text(&run->a, run->echo,
		    NULL));
	return run->out.len == 0 || (!run->out.failed &&
	    web_stream_write(run->rq, run->out.data, run->out.len));
}

/* 0: complete; 1: the client is gone; else an error, not told yet. */
static int
stream(struct run *run, struct err *e)
{
	struct piece *list;
	int r;

	if (!begin_stream(run))
		return 1;
	while (run->finish == NULL) {
		if ((r = upstream_wait(run->up, WAIT_MS, &list, e)) != 0)
			return r;
		if (list == NULL && (web_client_gone(run->rq) ||
		    !web_stream_write(run->rq, ": ping\n\n", 8)))
			return 1;
		if (list != NULL) {
			r = write_pieces(run, list, e);
			piece_list_free(list);
			if (r != 0)
				return r;
		}
	}
	return 0;
}

static void
answer_stream(struct run *run)
{
	struct err e;
	int r = stream(run, &e);

	if (r < 0) {
		log_warn("answer id=%s request=%s: %s", upstream_id(run->up),
		    web_request_id(run->rq), e.text);
		write_error(run, &e);
	}
	web_stream_end(run->rq, r <= 0);
}

/* One more piece of an answer that is given whole. */
static int
collect(struct run *run, const struct piece *list, json_t *logprobs,
    struct err *e)
{
	const struct piece *p, *last = list;

	for (p = list; p != NULL; p = p->next) {
		last = p;
		buf_add(&run->out, p->text, p->n_text);
		if (run->a.logprobs)
			json_array_extend(logprobs, p->logprobs);
		note_first(run, p);
	}
	if (run->out.failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for the answer");
	upstream_taken(run->up, last->seq +
	    (last->n_tokens > 0 ? last->n_tokens : 1));
	return last->finish[0] != '\0' ? take_finish(run, last, e) : 0;
}

static int
whole(struct run *run, json_t *logprobs, struct err *e)
{
	struct piece *list;
	int r = 0;

	if (run->echo != NULL)
		buf_adds(&run->out, run->echo);
	while (r == 0 && run->finish == NULL) {
		if ((r = upstream_wait(run->up, WAIT_MS, &list, e)) != 0)
			return r;
		if (list == NULL && web_client_gone(run->rq))
			return 1;
		if (list != NULL)
			r = collect(run, list, logprobs, e);
		piece_list_free(list);
	}
	return r;
}

static void
answer_whole(struct run *run)
{
	json_t *logprobs = json_array(), *v = NULL;
	struct err e;
	int r = whole(run, logprobs, &e);

	if (r == 0) {
		v = openai_whole(&run->a, run->out.data != NULL ?
		    run->out.data : "", run->out.len, logprobs, run->finish,
		    &run->usage);
		if (v == NULL)
			r = err_set(&e, ERR_NO_MEMORY,
			    "no memory for the answer");
	}
	if (r == 0) {
		web_reply_json(run->rq, 200, v);
	} else {
		/* To a client that is gone it goes nowhere. */
		if (r > 0)
			err_set(&e, ERR_TIMEOUT, "the client went away");
		else
			log_warn("answer id=%s request=%s: %s",
			    upstream_id(run->up), web_request_id(run->rq),
			    e.text);
		web_reply_err(run->rq, &e);
	}
	json_decref(logprobs);
}

static int
find_echo(struct run *run, struct err *e)
{
	struct upstream *u;

	if (!run->q->echo)
		return 0;
	if (run->q->prompt_ids != NULL) {
		u = fleet_pick(run->gw->fleet, run->q->model, "", e);
		return u == NULL ? (int)e->code : upstream_detokenize(u,
		    run->q->prompt_ids, &run->echo, e);
	}
	if ((run->echo = strdup(run->q->prompt)) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the echo");
	return 0;
}

static int
prepare(struct run *run, struct err *e)
{
	struct fleet *f = run->gw->fleet;
	struct upstream_model m;
	int r;

	if ((r = fleet_model(f, run->q->model, &m, e)) != 0)
		return r;
	openai_answer_init(&run->a, run->q->chat, m.id, m.fingerprint);
	run->a.logprobs = run->q->logprobs;
	run->a.include_usage = run->q->include_usage;
	if ((r = find_echo(run, e)) != 0)
		return r;
	return fleet_submit(f, run->q->model, "", run->q->generate, &run->up, e);
}

static void
admitted(struct run *run)
{
	struct err e;

	if (prepare(run, &e) != 0) {
		web_reply_err(run->rq, &e);
		return;
	}
	if (run->q->stream)
		answer_stream(run);
	else
		answer_whole(run);
	metrics_observe(&run->gw->stats.duration,
	    seconds_since(run->start_ns));
	log_info("answer id=%s request=%s n_prompt=%lld n_generated=%lld "
	    "first_ms=%.1f ms=%.1f finish=%s", upstream_id(run->up),
	    web_request_id(run->rq), (long long)upstream_n_prompt(run->up),
	    (long long)run->usage.n_generated, run->first_ns == 0 ? 0.0 :
	    (double)(run->first_ns - run->start_ns) / 1e6,
	    seconds_since(run->start_ns) * 1e3,
	    run->finish != NULL ? run->finish : "none");
}

void
answer(struct gateway *gw, struct web_request *rq,
    const struct openai_request *q)
{
	struct run run = { .gw = gw, .rq = rq, .q = q };
	struct err e;

	run.start_ns = clock_ns();
	if (atomic_fetch_add(&gw->n_answering, 1) >= gw->options.max_streams) {
		err_set(&e, ERR_BUSY, "%lld requests are being answered, which "
		    "is the limit", (long long)gw->options.max_streams);
		e.retry_after_ms = 1000;
		web_reply_err(rq, &e);
	} else {
		admitted(&run);
	}
	atomic_fetch_sub(&gw->n_answering, 1);
	upstream_close(run.up);
	buf_free(&run.out);
	free(run.echo);
}
