/*
 * What the worker publishes.  An event is decoded once, on the subscriber's
 * thread, which copies its pieces into the requests they belong to and wakes
 * those who wait; it does nothing that could block.
 */
#include <string.h>

#include "clock.h"
#include "upstream_state.h"

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
	u->n_before = upstream_count(u, u->boot);
	memcpy(u->before, u->boot, sizeof(u->before));
	strncpy(u->boot, boot, sizeof(u->boot) - 1);
	u->ready = false;	/* until its status says so */
	pthread_cond_signal(&u->keep);	/* to ask about the one before */
	upstream_wake_all(u);
}

/* Has the client taken all that is in order, without its thread? */
static bool
sink(struct upstream_request *q)
{
	if (q->sink == NULL || !q->waiting || q->pieces.finished ||
	    q->pieces.first == NULL || !q->sink(q->sink_arg, q->pieces.first))
		return false;
	piece_list_free(pieces_take(&q->pieces));
	q->sunk_ms = q->heard_ms;
	q->taken = q->pieces.next;
	if (q->taken - q->acked >= UPSTREAM_ACK_TOKENS)
		pthread_cond_signal(&q->u->keep);
	return !pieces_gap(&q->pieces);
}

void
upstream_add_piece(struct upstream_request *q, json_t *obj, int64_t time_us)
{
	struct upstream_counters *c = &q->u->counters;
	unsigned n_gaps = q->pieces.n_gaps, n_diverged = q->pieces.n_diverged;
	enum pieces_added added = PIECES_OLD;
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
	if (added == PIECES_NEW)
		q->n_forgotten = 0;
	suspect_passed(&q->suspect, q->pieces.next);
	c->gaps += q->pieces.n_gaps - n_gaps;
	if (!sink(q))
		upstream_wake(q);
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

/* Where a request stands; whoever waits for its first token may tell. */
static void
note_progress(struct upstream_request *q, const struct decode_status *s,
    const char *id)
{
	const json_t *prefill = json_object_get(s->prefill, id);
	struct upstream_progress p = {
		.place = (int)json_integer_value(
		    json_object_get(s->waiting, id)),
		.n_prompt = json_integer_value(json_array_get(prefill, 0)),
		.n_cached = json_integer_value(json_array_get(prefill, 1)),
		.n_done = json_integer_value(json_array_get(prefill, 2)),
		.ms = json_number_value(json_array_get(prefill, 3)),
	};
	bool news = p.place != q->progress.place ||
	    p.n_done != q->progress.n_done;

	q->progress = p;
	if (news && q->pieces.next == 0) {
		q->news = true;
		upstream_wake(q);
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
			upstream_wake(q);
		note_progress(q, &s, id);
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
