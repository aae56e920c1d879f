/*
 * What the bus threads ask of the engine.  A job that the step in progress
 * reads is never freed or finished here: that is marked and done when the step
 * is over.
 */
#include <stdlib.h>
#include <string.h>

#include "engine_session.h"
#include "engine_state.h"

enum { SESSION_BYTES = 64 << 20 };	/* of what all sessions said */

int64_t
engine_now(const struct engine *en)
{
	return en->c.clock_us(en->c.arg);
}

void
engine_wake(struct engine *en)
{
	en->woken = true;
	pthread_cond_signal(&en->wake);
}

static int
init_scheduler(struct scheduler *s, const struct engine_config *c,
    struct err *e)
{
	const struct scheduler_config sc = {
		.n_slots = c->n_slots, .n_pages = c->n_pages,
		.n_ctx = c->job.n_ctx, .step_rows = c->step_rows,
		.prefill_rows = c->prefill_rows, .sharing = c->prefix_cache,
		.ahead = c->speculate != 0 ? SPECULATE_DRAFTS : 0,
	};

	return scheduler_init(s, &sc, e);
}

int
engine_create(const struct engine_config *c, struct engine **out,
    struct err *e)
{
	struct engine *en = calloc(1, sizeof(*en));
	size_t n = (size_t)c->n_slots, n_logits = n;
	pthread_condattr_t attr;
	int r;

	if (en == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the engine");
	en->c = *c;
	pace_init(&en->pace, &c->start, c->n_slots);
	pthread_mutex_init(&en->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&en->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (c->speculate != 0)
		n_logits += SPECULATE_DRAFTS;
	en->plan.rows = calloc((size_t)c->step_rows, sizeof(*en->plan.rows));
	en->plan.shares = calloc(n, sizeof(*en->plan.shares));
	en->n_logits = (int)n_logits;
	en->logits = c->backend->logits;
	if (c->backend->logits_rows < (int)n_logits + SCHEDULER_SCORED_MAX)
		en->logits = en->own_logits = calloc((n_logits +
		    SCHEDULER_SCORED_MAX) * (size_t)c->job.model->vocab,
		    sizeof(*en->own_logits));
	en->top = calloc(n_logits * BACKEND_TOP_MAX, sizeof(*en->top));
	en->hidden = calloc((size_t)c->step_rows *
	    (size_t)c->job.model->hidden, sizeof(*en->hidden));
	en->chosen = calloc(n_logits, sizeof(*en->chosen));
	en->logprobs = calloc(n_logits * LOGPROBS_ROW, sizeof(*en->logprobs));
	if (en->plan.rows == NULL || en->plan.shares == NULL ||
	    en->logits == NULL || en->top == NULL || en->chosen == NULL ||
	    en->logprobs == NULL)
		r = err_set(e, ERR_NO_MEMORY, "no memory for %d slots",
		    c->n_slots);
	else if ((r = sampler_create(c->job.model->vocab, &en->sampler,
	    e)) == 0)
		r = init_scheduler(&en->scheduler, c, e);
	if (r == 0)
		r = speculate_init(&en->speculate, c->speculate, c->n_slots,
		    c->job.n_ctx, e);
	if (r == 0)
		r = sessions_init(&en->sessions, c->sessions_max, SESSION_BYTES,
		    c->session_ttl_us, e);
	if (r != 0) {
		engine_destroy(en);
		return r;
	}
	*out = en;
	return 0;
}

void
engine_destroy(struct engine *en)
{
	if (en == NULL)
		return;
	while (en->n_jobs > 0)
		job_destroy(en->jobs[--en->n_jobs]);
	sessions_finish(&en->sessions);
	scheduler_finish(&en->scheduler);
	speculate_finish(&en->speculate);
	sampler_destroy(en->sampler);
	free(en->plan.rows);
	free(en->plan.shares);
	free(en->own_logits);
	free(en->top);
	free(en->hidden);
	free(en->chosen);
	free(en->logprobs);
	pthread_cond_destroy(&en->wake);
	pthread_mutex_destroy(&en->lock);
	free(en);
}

static struct job *
find(const struct engine *en, const char *id)
{
	for (int i = 0; i < en->n_jobs; i++)
		if (strcmp(en->jobs[i]->id, id) == 0)
			return en->jobs[i];
	return NULL;
}

void
engine_forget(struct engine *en, struct job *j)
{
	for (int i = 0; i < en->n_jobs; i++)
		if (en->jobs[i] == j) {
			en->jobs[i] = en->jobs[--en->n_jobs];
			break;
		}
	if (j->in_step) {
		engine_session_leave(en, j);
		j->dropped = true;	/* its pages are still written to */
		return;
	}
	if (j->state != JOB_DONE)
		scheduler_remove(&en->scheduler, j);
	engine_session_turn(en, j);
	job_destroy(j);
}

void
engine_retire(struct engine *en, struct job *j)
{
	if (j->state != JOB_DONE)
		scheduler_remove(&en->scheduler, j);
	engine_session_turn(en, j);
	j->done_us = engine_now(en);
	if (j->finish == JOB_FINISH_stop || j->finish == JOB_FINISH_length)
		pace_answer(&en->pace, job_n_generated(j));
	switch (j->finish) {
	case JOB_RUNS:
	case JOB_N_FINISHES:
		break;
#define F(name)                                       \
	case JOB_FINISH_##name:                       \
		en->stats.name++;                     \
		break;
	JOB_FINISHES(F)
#undef F
	}
}

static void
answer(const struct engine *en, const struct job *j, struct decode_accepted *a)
{
	*a = (struct decode_accepted){
		.id = j->id, .boot = en->c.boot, .n_prompt = j->n_prompt,
		.n_ctx = en->c.job.n_ctx, .max_tokens = j->limit,
		.n_cached = j->n_known, .session_state = j->session_state,
	};
	if (j->respelt) {
		a->prompt_ids = json_array();
		for (int32_t i = 0; i < j->n_prompt; i++)
			json_array_append_new(a->prompt_ids,
			    json_integer(j->tokens[i]));
	}
	for (int i = 0; i < en->n_jobs && j->state == JOB_QUEUED; i++)
		a->queue += en->jobs[i]->state == JOB_QUEUED &&
		    en->jobs[i]->order < j->order;
}

/* Does a request of n_tokens more fit?  One always may wait, however long. */
static bool
has_room(const struct engine *en, int32_t n_tokens)
{
	const struct scheduler *s = &en->scheduler;

	return en->n_jobs < DECODE_REQUESTS_MAX &&
	    (s->n_queued < en->c.queue_max ||
	    s->n_queued + s->n_running < s->c.n_slots) &&
	    (s->n_queued == 0 ||
	    s->queued_tokens + n_tokens <= en->c.queue_tokens);
}

/* When a request that has no room now should come again: when as many of the
 * queue are admitted as stand in its way. */
static int64_t
retry_after_ms(struct engine *en, int32_t n_tokens)
{
	const struct scheduler *s = &en->scheduler;
	int64_t tokens = s->queued_tokens + n_tokens;
	const struct job *j = s->head;
	int n = 0;

	for (; j != NULL && (s->n_queued - n >= en->c.queue_max ||
	    tokens > en->c.queue_tokens); j = j->next) {
		tokens -= j->n_tokens;
		n++;
	}
	return pace_promise(&en->pace, s, engine_now(en), n > 0 ? n : 1);
}

/* engine_find with the lock held; *old is an earlier attempt, or NULL. */
static int
look(struct engine *en, const struct decode_generate *g, int32_t n_tokens,
    struct job **same, struct job **old, struct err *e)
{
	const struct scheduler *s = &en->scheduler;
	struct job *j = find(en, g->id);
	int r;

	*same = j != NULL && j->attempt == g->attempt ? j : NULL;
	*old = j != NULL && j->attempt < g->attempt ? j : NULL;
	if (*same != NULL)
		return 0;
	if (j != NULL && *old == NULL)
		return err_set_param(e, ERR_EXISTS, "attempt",
		    "a later attempt of this request is known");
	if (en->draining) {
		en->stats.refused_draining++;
		return err_set(e, ERR_DRAINING, "the worker is about to stop");
	}
	if (has_room(en, n_tokens))
		return 0;
	en->stats.busy++;
	r = err_set(e, ERR_BUSY, "%d requests run and %d wait with %lld "
	    "tokens", s->n_running, s->n_queued, (long long)s->queued_tokens);
	if (e != NULL)
		e->retry_after_ms = retry_after_ms(en, n_tokens);
	return r;
}

/* Known already: a client that asks again is alive. */
static void
repeat(struct engine *en, struct job *j, struct decode_accepted *a)
{
	en->stats.repeated++;
	j->renewed_us = engine_now(en);
	answer(en, j, a);
}

int
engine_find(struct engine *en, const struct decode_generate *g, bool *known,
    struct decode_accepted *a, struct err *e)
{
	struct job *same, *old;
	int r;

	pthread_mutex_lock(&en->lock);
	r = look(en, g, 0, &same, &old, e);
	if (r == 0 && same != NULL) {
		repeat(en, same, a);
		a->id = g->id;	/* the job may go when the lock does */
	}
	if (r == 0)
		*known = same != NULL;
	pthread_mutex_unlock(&en->lock);
	return r;
}

/* Take j, whose checks are done, or find it; it is destroyed if it is not
 * taken. */
static int
add(struct engine *en, const struct decode_generate *g, struct job *j,
    bool refused, struct decode_accepted *a, struct err *e)
{
	struct job *same, *old;
	int r;

	pthread_mutex_lock(&en->lock);
	if ((r = look(en, g, j->n_tokens, &same, &old, e)) == 0 &&
	    j->pool.kind != POOL_NONE && !en->c.backend->has_hidden)
		r = err_set_param(e, ERR_UNSUPPORTED, "pooling",
		    "the backend '%s' does not tell hidden states",
		    en->c.backend->name);
	if (r == 0 && same != NULL) {
		repeat(en, same, a);
	} else if (r == 0) {
		if (old != NULL)
			engine_forget(en, old);
		engine_session_attach(en, j, g, refused);
		j->order = ++en->n_orders;
		en->jobs[en->n_jobs++] = j;
		en->stats.accepted++;
		if (j->finish == JOB_RUNS) {
			scheduler_enqueue(&en->scheduler, j);
		} else {
			j->state = JOB_DONE;
			engine_retire(en, j);
		}
		answer(en, j, a);
		j = NULL;
		engine_wake(en);
	}
	if (r == 0)
		a->id = g->id;
	pthread_mutex_unlock(&en->lock);
	job_destroy(j);
	return r;
}

int
engine_add(struct engine *en, const struct decode_generate *g,
    const int32_t *prompt, size_t n_prompt, struct decode_accepted *a,
    struct err *e)
{
	struct job *j;
	int r = job_create(&en->c.job, g, prompt, n_prompt, engine_now(en), &j,
	    e);

	return r != 0 ? r : add(en, g, j, false, a, e);
}

int
engine_add_prompt(struct engine *en, const struct decode_generate *g,
    struct engine_prompt *p, struct decode_accepted *a, struct err *e)
{
	struct job *j;
	int r = job_create(&en->c.job, g, p->says->ids.v, p->says->ids.n,
	    engine_now(en), &j, e);

	if (r != 0)
		return r;
	j->n_kept = (int32_t)p->n_kept;
	j->respelt = p->respelt;
	if (g->session[0] != '\0') {
		j->prompt = p->says;
		p->says = NULL;
	}
	return add(en, g, j, p->refused, a, e);
}

void
engine_cancel(struct engine *en, const char *id)
{
	struct job *j;

	pthread_mutex_lock(&en->lock);
	j = find(en, id);
	if (j != NULL && j->state != JOB_DONE) {
		if (j->in_step) {
			j->pending = JOB_FINISH_cancel;
		} else {
			job_end(j, JOB_FINISH_cancel);
			engine_retire(en, j);
		}
		engine_wake(en);
	}
	pthread_mutex_unlock(&en->lock);
}

bool
engine_ack(struct engine *en, const char *id, int64_t next_seq)
{
	struct job *j;

	pthread_mutex_lock(&en->lock);
	if ((j = find(en, id)) != NULL) {
		if (events_full(&j->events))
			engine_wake(en);
		j->renewed_us = engine_now(en);
		events_ack(&j->events, next_seq);
		if (j->state == JOB_DONE && j->events.n == 0)
			engine_forget(en, j);
	}
	pthread_mutex_unlock(&en->lock);
	return j != NULL;
}

static int
replay(struct engine *en, const char *id, int64_t from_seq, json_t *array,
    struct err *e)
{
	const struct job *j = find(en, id);
	struct events_outcome out;
	int64_t next;

	if (j == NULL)
		return err_set_param(e, ERR_NOT_FOUND, "id",
		    "request %s is not kept", id);
	if (from_seq < j->events.first)
		return err_set_param(e, ERR_NOT_FOUND, "from_seq",
		    "piece %lld is no longer kept, the first is %lld",
		    (long long)from_seq, (long long)j->events.first);
	if (from_seq > events_next(&j->events))
		return err_set_param(e, ERR_RANGE, "from_seq",
		    "piece %lld is not made yet, the next is %lld",
		    (long long)from_seq, (long long)events_next(&j->events));
	out = job_outcome(j);
	return events_encode(&j->events, j->id, from_seq, DECODE_REPLAY_MAX,
	    &out, en->c.job.tokenizer, array, &next, e);
}

int
engine_replay(struct engine *en, const char *id, int64_t from_seq,
    json_t **events, struct err *e)
{
	json_t *array = json_array();
	int r;

	pthread_mutex_lock(&en->lock);
	r = replay(en, id, from_seq, array, e);
	if (r == 0)
		en->stats.replays++;
	else
		en->stats.replays_missed++;
	pthread_mutex_unlock(&en->lock);
	if (r == 0)
		*events = array;
	else
		json_decref(array);
	return r;
}

void
engine_drain(struct engine *en)
{
	pthread_mutex_lock(&en->lock);
	en->draining = true;
	engine_wake(en);
	pthread_mutex_unlock(&en->lock);
}
