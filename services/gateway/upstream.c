/*
 * Requests and the events that belong to them.  An event is decoded once, on
 * the subscriber's thread, and its pieces are handed over by reference; what
 * takes time (asking again, sending again) is done by the thread that waits.
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "upstream_state.h"

static unsigned
bucket(const char *id)
{
	unsigned h = 5381;

	for (; *id != '\0'; id++)
		h = h * 33 + (unsigned char)*id;
	return h % UPSTREAM_BUCKETS;
}

struct upstream_request *
upstream_find(struct upstream *u, const char *id)
{
	struct upstream_request *q = u->table[bucket(id)];

	while (q != NULL && strcmp(q->id, id) != 0)
		q = q->next;
	return q;
}

void
upstream_wake_all(struct upstream *u)
{
	for (int i = 0; i < UPSTREAM_BUCKETS; i++)
		for (struct upstream_request *q = u->table[i]; q != NULL;
		    q = q->next)
			pthread_cond_signal(&q->cond);
}

/*
 * Boots have no order, but each lives once: what follows one has ended it, and
 * its late events, still in a buffer, must not be taken for a new life.
 */
static bool
is_dead(const struct upstream *u, const char *boot)
{
	for (unsigned i = 0; i < u->n_dead && i < UPSTREAM_DEAD_BOOTS; i++)
		if (strcmp(u->dead[i], boot) == 0)
			return true;
	return false;
}

void
upstream_adopt_boot(struct upstream *u, const char *boot)
{
	if (strcmp(u->boot, boot) == 0 || is_dead(u, boot))
		return;
	if (u->boot[0] != '\0')
		memcpy(u->dead[u->n_dead++ % UPSTREAM_DEAD_BOOTS], u->boot,
		    sizeof(u->boot));
	strncpy(u->boot, boot, sizeof(u->boot) - 1);
	u->ready = false;	/* until its status says so */
	upstream_wake_all(u);
}

enum upstream_state
upstream_state_now(const struct upstream *u, int64_t now)
{
	if (u->client == NULL || u->event_ms == 0 ||
	    now - u->event_ms > UPSTREAM_DOWN_MS)
		return UPSTREAM_DOWN;
	/* A chat names a model, so it is needed to answer one. */
	return u->ready && u->model.id[0] != '\0' ? UPSTREAM_READY :
	    UPSTREAM_LOADING;
}

void
upstream_add_piece(struct upstream_request *q, json_t *obj, int64_t time_us)
{
	struct upstream_counters *c = &q->u->counters;
	unsigned n_gaps = q->pieces.n_gaps, n_diverged = q->pieces.n_diverged;
	enum pieces_added added;
	struct decode_piece d;
	struct err e;

	if (field_decode(decode_piece_fields(), sizeof(d), obj, &d, &e) != 0) {
		c->bad_events++;
		return;
	}
	q->heard_ms = clock_ms();
	if (strcmp(d.finish, "cancel") == 0 && !q->pieces.finished) {
		/* Not by us, who forget a request that we cancel: a worker that
		 * stops, or a lease that ran out while we were stopped. */
		q->away = true;
	} else if (pieces_add(&q->pieces, &d, time_us, &added, &e) != 0) {
		c->bad_events++;
		if (q->failed.code == 0)
			q->failed = e;
	} else if (added == PIECES_OLD) {
		c->diverged += q->pieces.n_diverged - n_diverged;
		return;
	}
	c->gaps += q->pieces.n_gaps - n_gaps;
	pthread_cond_signal(&q->cond);
}

static void
on_step(struct upstream *u, json_t *obj)
{
	struct decode_step s;
	struct err e;
	size_t i;
	json_t *piece;

	if (field_decode(decode_step_fields(), sizeof(s), obj, &s, &e) != 0 ||
	    is_dead(u, s.boot)) {
		u->counters.bad_events++;
		return;
	}
	u->event_ms = clock_ms();
	upstream_adopt_boot(u, s.boot);
	json_array_foreach(s.events, i, piece) {
		const char *id = json_string_value(
		    json_object_get(piece, "id"));
		struct upstream_request *q =
		    id != NULL ? upstream_find(u, id) : NULL;

		/* MCP's, or one that we cancelled. */
		if (q == NULL)
			continue;
		if (q->boot[0] == '\0')
			memcpy(q->boot, u->boot, sizeof(q->boot));
		if (strcmp(q->boot, s.boot) == 0)
			upstream_add_piece(q, piece, s.time_us);
	}
}

static void
on_status(struct upstream *u, json_t *obj)
{
	struct decode_status s;
	struct err e;
	const char *id;
	json_t *next;

	if (field_decode(decode_status_fields(), sizeof(s), obj, &s, &e) != 0 ||
	    is_dead(u, s.boot)) {
		u->counters.bad_events++;
		return;
	}
	u->event_ms = clock_ms();
	upstream_adopt_boot(u, s.boot);
	if (s.ready && !u->ready) {
		upstream_wake_all(u);
		pthread_cond_signal(&u->keep);	/* to ask for the model */
	}
	u->ready = s.ready;
	u->running = s.running;
	u->queued = s.queued;
	u->n_slots = s.n_slots;
	json_object_foreach(s.held, id, next) {
		struct upstream_request *q = upstream_find(u, id);

		if (q == NULL || strcmp(q->boot, s.boot) != 0)
			continue;
		/* What the last status had must have come; what this one
		 * has may still be on its way. */
		pieces_know(&q->pieces, q->told);
		q->told = json_integer_value(next);
		if (pieces_gap(&q->pieces))
			pthread_cond_signal(&q->cond);
	}
}

void
upstream_events(void *arg, const struct frame *f)
{
	struct upstream *u = arg;

	pthread_mutex_lock(&u->lock);
	if (f == NULL)
		upstream_wake_all(u);	/* silence: see resume_next */
	else if (f->type == DECODE_TYPE_step)
		on_step(u, f->obj);
	else if (f->type == DECODE_TYPE_status)
		on_status(u, f->obj);
	pthread_mutex_unlock(&u->lock);
}

static int
request_new(struct upstream *u, json_t *generate, struct upstream_request **q,
    struct err *e)
{
	struct upstream_request *new = calloc(1, sizeof(*new));
	pthread_condattr_t attr;
	int r;

	if (new == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a request");
	if ((r = pieces_init(&new->pieces, e)) != 0) {
		free(new);
		return r;
	}
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&new->cond, &attr);
	pthread_condattr_destroy(&attr);
	random_hex(new->id, DECODE_ID_LEN / 2);
	new->u = u;
	new->generate = json_incref(generate);
	new->heard_ms = clock_ms();
	new->deadline_ms = new->heard_ms + u->config->request_ms;
	*q = new;
	return 0;
}

static void
request_free(struct upstream_request *q)
{
	pthread_cond_destroy(&q->cond);
	pieces_free(&q->pieces);
	json_decref(q->generate);
	free(q);
}

static void
table_add(struct upstream_request *q)
{
	unsigned i = bucket(q->id);

	q->order = q->u->n_requests++;
	q->next = q->u->table[i];
	q->u->table[i] = q;
}

static void
table_remove(struct upstream_request *q)
{
	struct upstream_request **at = &q->u->table[bucket(q->id)];

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
}

static void
cancel(struct upstream_request *q)
{
	json_t *reply = NULL;
	struct err e;

	/* If this is lost, the lease ends it. */
	if (upstream_call(q->u, DECODE_TYPE_cancel,
	    json_pack("{s:s}", "id", q->id), DECODE_TYPE_cancelled, &reply,
	    UPSTREAM_CALL_MS, &e) == 0)
		json_decref(reply);
	q->u->counters.cancelled++;
}

/* Streams that were interrupted come before new ones. */
static bool
any_resumes(const struct upstream *u, int64_t now)
{
	for (int i = 0; i < UPSTREAM_BUCKETS; i++)
		for (const struct upstream_request *q = u->table[i]; q != NULL;
		    q = q->next)
			if (q->away && q->waiting && q->retry_ms <= now)
				return true;
	return false;
}

static int
admit(struct upstream *u, struct upstream_request *q, struct err *e)
{
	int r = upstream_ready(u, e);

	if (r != 0)
		return r;
	pthread_mutex_lock(&u->lock);
	if (any_resumes(u, clock_ms())) {
		r = err_set(e, ERR_LOADING,
		    "the worker has just been started and takes up "
		    "interrupted requests");
		e->retry_after_ms = 1000;
	} else {
		table_add(q);
	}
	pthread_mutex_unlock(&u->lock);
	return r;
}

int
upstream_submit(struct upstream *u, json_t *generate,
    struct upstream_request **out, struct err *e)
{
	struct upstream_request *q = NULL;
	struct decode_accepted a;
	json_t *obj = NULL;
	int r;

	if ((r = request_new(u, generate, &q, e)) != 0)
		return r;
	if ((r = admit(u, q, e)) != 0) {
		request_free(q);
		return r;
	}
	r = upstream_send(q, 0, NULL, &a, &obj, e);
	if (r == ERR_UNAVAILABLE)	/* the same id: it runs once */
		r = upstream_send(q, 0, NULL, &a, &obj, e);
	if (r == ERR_TIMEOUT)
		cancel(q);
	pthread_mutex_lock(&u->lock);
	if (r == 0) {
		q->n_prompt = a.n_prompt;
		strncpy(q->boot, a.boot, sizeof(q->boot) - 1);
		q->heard_ms = clock_ms();
		upstream_adopt_boot(u, a.boot);
		json_decref(obj);
	} else {
		table_remove(q);
	}
	pthread_mutex_unlock(&u->lock);
	if (r != 0)
		request_free(q);
	else
		*out = q;
	return r;
}

const char *
upstream_id(const struct upstream_request *q)
{
	return q->id;
}

int64_t
upstream_n_prompt(const struct upstream_request *q)
{
	return q->n_prompt;
}

static void
wait_until(struct upstream_request *q, int64_t at_ms)
{
	struct timespec t = {
		.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000,
	};

	pthread_cond_timedwait(&q->cond, &q->u->lock, &t);
}

int
upstream_wait(struct upstream_request *q, int timeout_ms, struct piece **list,
    struct err *e)
{
	int64_t now = clock_ms(), until = now + timeout_ms;
	enum resume_step step = RESUME_NONE;

	*list = NULL;
	pthread_mutex_lock(&q->u->lock);
	q->waiting = true;
	for (;; now = clock_ms()) {
		if ((*list = pieces_take(&q->pieces)) != NULL)
			break;
		if ((step = resume_next(q, now, e)) == RESUME_GIVE_UP ||
		    (now >= until && step == RESUME_NONE))
			break;
		if (step == RESUME_NONE) {
			int64_t soon = now + UPSTREAM_RETRY_MS;

			/* A stream that is well looks again only at the end. */
			if (q->lost_ms == 0 && q->retry_ms <= now)
				soon = until;
			wait_until(q, soon < until ? soon : until);
			continue;
		}
		pthread_mutex_unlock(&q->u->lock);
		if (step == RESUME_REPLAY)
			resume_replay(q);
		else
			resume_submit(q);
		pthread_mutex_lock(&q->u->lock);
	}
	q->waiting = false;
	pthread_mutex_unlock(&q->u->lock);
	return *list == NULL && step == RESUME_GIVE_UP ? (int)e->code : 0;
}

void
upstream_taken(struct upstream_request *q, int64_t next_seq)
{
	pthread_mutex_lock(&q->u->lock);
	q->taken = next_seq;
	if (q->taken - q->acked >= UPSTREAM_ACK_TOKENS)
		pthread_cond_signal(&q->u->keep);
	pthread_mutex_unlock(&q->u->lock);
}

void
upstream_close(struct upstream_request *q)
{
	bool finished;

	if (q == NULL)
		return;
	pthread_mutex_lock(&q->u->lock);
	finished = q->pieces.finished;
	if (finished)
		json_object_set_new(q->u->farewell, q->id,
		    json_integer(q->pieces.next));
	table_remove(q);
	pthread_mutex_unlock(&q->u->lock);
	if (!finished)
		cancel(q);
	request_free(q);
}
