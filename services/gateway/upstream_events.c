/*
 * What the worker publishes.  An event is read once, on the subscriber's thread,
 * piece by piece: each is written to the client at once, if that takes no waiting,
 * and else copied into the request it belongs to, whose thread is woken.  Nothing
 * here could block.
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

/* The client has taken what came, without its thread. */
static void
sunk(struct upstream_request *q)
{
	q->sunk_ms = q->heard_ms;
	q->taken = q->pieces.next;
	if (q->taken - q->acked >= UPSTREAM_ACK_TOKENS)
		pthread_cond_signal(&q->u->keep);
}

/* Has it taken all that is in order? */
static bool
sink(struct upstream_request *q)
{
	if (q->sink == NULL || !q->waiting || q->pieces.finished ||
	    q->pieces.first == NULL || !q->sink(q->sink_arg, q->pieces.first))
		return false;
	piece_list_free(pieces_take(&q->pieces));
	sunk(q);
	return !pieces_gap(&q->pieces);
}

/* After a piece was added (r, *e), or was not. */
static void
note_piece(struct upstream_request *q, enum pieces_added added, int r,
    const struct err *e)
{
	if (r != 0) {
		q->u->counters.bad_events++;
		if (q->failed.code == 0)
			q->failed = *e;
	}
	if (added == PIECES_NEW)
		q->n_forgotten = 0;
	suspect_passed(&q->suspect, q->pieces.next);
}

void
upstream_add_piece(struct upstream_request *q, json_t *obj, int64_t time_us)
{
	struct upstream_counters *c = &q->u->counters;
	unsigned n_gaps = q->pieces.n_gaps, n_diverged = q->pieces.n_diverged;
	enum pieces_added added = PIECES_OLD;
	struct decode_piece d;
	struct err e;
	int r = 0;

	if (field_decode(decode_piece_fields(), sizeof(d), obj, &d, &e) != 0) {
		c->bad_events++;
		return;
	}
	q->heard_ms = clock_ms();
	if (strcmp(d.finish, "cancel") == 0 && !q->pieces.finished) {
		/* Not by us, who forget a request that we cancel: a worker that
		 * stops, or a lease that ran out while we were stopped. */
		q->away = true;
	} else if ((r = pieces_add(&q->pieces, &d, time_us, &added, &e)) == 0 &&
	    added == PIECES_OLD) {
		c->diverged += q->pieces.n_diverged - n_diverged;
		return;
	}
	note_piece(q, added, r, &e);
	c->gaps += q->pieces.n_gaps - n_gaps;
	if (!sink(q))
		upstream_wake(q);
}

/*
 * The same of a plain one, which is nearly all of them.  If it is the next and the
 * client takes it at once, nothing is copied but into what is kept.
 */
static void
add_plain(struct upstream_request *q, struct step_piece *p, int64_t time_us)
{
	struct upstream_counters *c = &q->u->counters;
	unsigned n_gaps = q->pieces.n_gaps, n_diverged = q->pieces.n_diverged;
	enum pieces_added added = PIECES_NEW;
	const struct piece piece = {
		.seq = p->seq, .n_tokens = p->n_tokens, .ids = p->tokens,
		.time_us = time_us, .text = p->text, .n_text = p->n_text,
	};
	bool taken;
	struct err e;
	int r;

	q->heard_ms = clock_ms();
	taken = q->sink != NULL && q->waiting && pieces_at(&q->pieces, p->seq) &&
	    q->sink(q->sink_arg, &piece);
	r = taken ? pieces_pass(&q->pieces, &piece, &e) :
	    pieces_add_plain(&q->pieces, &piece, &added, &e);
	if (r == 0 && added == PIECES_OLD) {
		c->diverged += q->pieces.n_diverged - n_diverged;
		return;
	}
	note_piece(q, added, r, &e);
	c->gaps += q->pieces.n_gaps - n_gaps;
	if (taken)
		sunk(q);
	if (r != 0 || pieces_gap(&q->pieces) || (!taken && !sink(q)))
		upstream_wake(q);
}

/* Whose piece of the life boot is it?  NULL: MCP's, one that we cancelled, or one
 * that was sent again since. */
static struct upstream_request *
whose(struct upstream *u, const char *id, const char *boot)
{
	struct upstream_request *q = id != NULL ? upstream_find(u, id) : NULL;

	if (q == NULL)
		return NULL;
	if (q->boot[0] == '\0')
		memcpy(q->boot, u->boot, sizeof(q->boot));
	return strcmp(q->boot, boot) == 0 ? q : NULL;
}

/* A piece that is not plain, and need not be one. */
static void
on_piece_text(struct upstream *u, const struct step_text *t,
    const struct step_piece *p)
{
	struct frame f = { .json = p->json, .n_json = p->n_json };
	struct upstream_request *q;

	if (frame_load(&f, NULL) != 0) {
		u->counters.bad_events++;
		return;
	}
	if ((q = whose(u, json_string_value(json_object_get(f.obj, "id")),
	    t->boot)) != NULL)
		upstream_add_piece(q, f.obj, t->time_us);
	frame_free(&f);
}

/* An event whose head, at least, is in the plain form. */
static void
on_step_text(struct upstream *u, struct step_text *t)
{
	enum step_text_next next;
	struct upstream_request *q;
	struct step_piece p;

	if (is_dead(u, t->boot)) {
		u->counters.bad_events++;
		return;
	}
	u->event_ms = clock_ms();
	upstream_adopt_boot(u, t->boot);
	while ((next = step_text_next(t, &p)) == STEP_TEXT_PIECE)
		if (!p.plain)
			on_piece_text(u, t, &p);
		else if ((q = whose(u, p.id, t->boot)) != NULL)
			add_plain(q, &p, t->time_us);
	if (next == STEP_TEXT_BAD)	/* whose the rest was, see the gap */
		u->counters.bad_events++;
}

static void
on_step(struct upstream *u, json_t *obj)
{
	struct upstream_request *q;
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
	json_array_foreach(s.events, i, piece)
		if ((q = whose(u, json_string_value(json_object_get(piece,
		    "id")), s.boot)) != NULL)
			upstream_add_piece(q, piece, s.time_us);
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

/* An event that takes objects to be understood. */
static void
on_objects(struct upstream *u, const struct frame *text)
{
	struct frame f = *text;

	if (frame_load(&f, NULL) != 0)
		return;		/* as good as lost: there will be a gap */
	pthread_mutex_lock(&u->lock);
	if (f.type == DECODE_TYPE_step)
		on_step(u, f.obj);
	else if (f.type == DECODE_TYPE_status)
		on_status(u, f.obj);
	pthread_mutex_unlock(&u->lock);
	frame_free(&f);
}

void
upstream_events(void *arg, const struct frame *f)
{
	struct upstream *u = arg;

	if (f != NULL && (f->type != DECODE_TYPE_step ||
	    !step_text_begin(&u->text, f->json, f->n_json))) {
		on_objects(u, f);
		return;
	}
	pthread_mutex_lock(&u->lock);
	if (f == NULL)
		upstream_wake_all(u);	/* silence: see resume_next */
	else
		on_step_text(u, &u->text);
	pthread_mutex_unlock(&u->lock);
}
