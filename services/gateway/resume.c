/*
 * How a request goes on when something was lost.  A lost event, or silence: ask
 * the worker for the pieces from the first missing one.  A lost worker: once
 * another life of it is ready, send the request again with the tokens held so
 * far as its forced beginning; they are not generated again, so what the client
 * saw cannot change, and what it did not see is sampled from the same seed and
 * position.  Never to the life that had it and may still run it, unless that
 * one says it does not know it.  How the life before ended decides whether it
 * runs alone for a while, or not again (suspect.h).
 */
#include <string.h>

#include "clock.h"
#include "log.h"
#include "upstream_state.h"

/* The oldest request resumes first. */
static bool
is_first(const struct upstream_request *q, int64_t now)
{
	for (int i = 0; i < UPSTREAM_BUCKETS; i++)
		for (const struct upstream_request *o = q->u->table[i];
		    o != NULL; o = o->next)
			if (o->away && o->waiting && o->order < q->order &&
			    o->retry_ms <= now && upstream_has_weights(q->u, o))
				return false;
	return true;
}

static enum resume_step
give_up(struct upstream_request *q, const char *why, struct err *e)
{
	err_set(e, ERR_LOST, "%s", why);
	e->retry_after_ms = UPSTREAM_LOST_MS;
	q->u->counters.lost++;
	return RESUME_GIVE_UP;
}

/*
 * To a replica: at once, since no lease is longer.  But a suspect may have ended its
 * worker a second time, which only that one's next life can tell, and would go on to end
 * the replica: it waits for that for half of the time that there is.
 */
static bool
may_move(const struct upstream_request *q, int64_t now)
{
	const struct upstream_config *c = q->u->config;
	int64_t ms = UPSTREAM_MOVE_MS;

	if (q->suspect.solo_end > 0 && !q->judged && c->resume_ms / 2 > ms)
		ms = c->resume_ms / 2;
	return c->replica != NULL && q->lost_ms != 0 && now - q->lost_ms > ms;
}

/* No worker has it, or its own is not heard any more. */
static enum resume_step
next_away(struct upstream_request *q, int64_t now, struct err *e)
{
	struct upstream *u = q->u;
	bool ready = upstream_state_now(u, now) == UPSTREAM_READY;

	/* The tokens of one model are nothing that another may go on with. */
	if (ready && !upstream_has_weights(u, q) && u->config->replica == NULL)
		return give_up(q, "the worker came back with another model", e);
	if (ready && !upstream_judged(q))
		return RESUME_NONE;
	if (q->failed.code != 0) {
		*e = q->failed;
		return RESUME_GIVE_UP;
	}
	if (!ready || !upstream_has_weights(u, q))
		return may_move(q, now) ? RESUME_MOVE : RESUME_NONE;
	if (q->n_forgotten >= UPSTREAM_FORGOTTEN_MAX)
		return give_up(q, "the worker forgot this request too often",
		    e);
	return is_first(q, now) ? RESUME_SUBMIT : RESUME_NONE;
}

enum resume_step
resume_next(struct upstream_request *q, int64_t now, struct err *e)
{
	struct upstream *u = q->u;

	if (q->failed.code != 0) {
		*e = q->failed;
		return RESUME_GIVE_UP;
	}
	if (q->pieces.finished)
		return RESUME_NONE;
	/* The worker keeps the deadline; this is for one that does not. */
	if (now > q->deadline_ms + UPSTREAM_DOWN_MS) {
		err_set(e, ERR_TIMEOUT, "the request took longer than %lld s",
		    (long long)u->config->request_ms / 1000);
		return RESUME_GIVE_UP;
	}
	if (u->boot[0] != '\0' && strcmp(u->boot, q->boot) != 0)
		q->away = true;
	if (q->away && q->lost_ms == 0)
		q->lost_ms = now;
	if (q->lost_ms != 0 && now - q->lost_ms > u->config->resume_ms)
		return give_up(q, "the worker went away and did not come "
		    "back in time", e);
	if (now < q->retry_ms)
		return RESUME_NONE;
	if (q->away || (q->lost_ms != 0 &&
	    upstream_state_now(u, now) == UPSTREAM_DOWN &&
	    u->config->replica != NULL && now - q->lost_ms > UPSTREAM_MOVE_MS))
		return next_away(q, now, e);
	if (pieces_gap(&q->pieces) || now - u->event_ms > UPSTREAM_SILENT_MS ||
	    now - q->heard_ms > UPSTREAM_DOWN_MS)
		return RESUME_REPLAY;
	return RESUME_NONE;
}

static void
take_replayed(struct upstream_request *q, json_t *obj)
{
	int64_t before = q->pieces.next, now = clock_ms();
	struct decode_replayed a;
	struct err e;
	size_t i;
	json_t *piece;

	if (field_decode(decode_replayed_fields(), sizeof(a), obj, &a,
	    &e) != 0) {
		q->u->counters.bad_events++;
		q->retry_ms = now + UPSTREAM_RETRY_MS;
		return;
	}
	json_array_foreach(a.events, i, piece)
		upstream_add_piece(q, piece, 0);
	q->heard_ms = now;
	q->lost_ms = 0;
	/* Without events at all this is polling, twice a second. */
	q->retry_ms = q->pieces.next > before ? 0 : now +
	    (pieces_gap(&q->pieces) ? UPSTREAM_RETRY_MS : UPSTREAM_SILENT_MS);
}

void
resume_replay(struct upstream_request *q)
{
	json_t *ask, *reply = NULL;
	struct err e;
	int r;

	pthread_mutex_lock(&q->u->lock);
	ask = json_pack("{s:s, s:s, s:I}", "id", q->id, "boot", q->boot,
	    "from_seq", (json_int_t)q->pieces.next);
	pthread_mutex_unlock(&q->u->lock);
	r = upstream_call(q->u, DECODE_TYPE_replay, ask, DECODE_TYPE_replayed,
	    &reply, UPSTREAM_CALL_MS, &e);
	q->u->counters.replays++;
	pthread_mutex_lock(&q->u->lock);
	if (r == 0) {
		take_replayed(q, reply);
	} else if (r == ERR_UNAVAILABLE || r == ERR_TIMEOUT ||
	    strcmp(e.param, "boot") == 0) {
		/* Another life than that known here is met before its status: how
		 * the one before ended is asked first. */
		q->retry_ms = clock_ms() + UPSTREAM_RETRY_MS;
		if (q->lost_ms == 0)
			q->lost_ms = clock_ms();
	} else if (!q->pieces.finished) {
		/* It has forgotten the request, so it does not run it. */
		q->away = true;
	}
	pthread_mutex_unlock(&q->u->lock);
	json_decref(reply);
	log_debug("replay id=%s: %s", q->id, r == 0 ? "ok" : e.text);
}

static bool
is_passing(int code)
{
	return code == ERR_UNAVAILABLE || code == ERR_TIMEOUT ||
	    code == ERR_LOADING || code == ERR_DRAINING || code == ERR_BUSY;
}

/* What the worker tells a new request is long for one that has waited its turn; and
 * one that is busy is no more away. */
static void
ask_later(struct upstream_request *q, int code, const struct err *e)
{
	int64_t now = clock_ms(), ms = e->retry_after_ms;

	if (ms <= 0)
		ms = UPSTREAM_RETRY_MS;
	q->retry_ms = now + (ms < UPSTREAM_DOWN_MS ? ms : UPSTREAM_DOWN_MS);
	if (code == ERR_BUSY)
		q->lost_ms = now;
}

void
resume_submit(struct upstream_request *q)
{
	struct decode_accepted a;
	json_t *forced, *obj = NULL;
	size_t n_forced;
	int64_t attempt;
	struct err e;
	int r;

	pthread_mutex_lock(&q->u->lock);
	forced = pieces_tokens(&q->pieces);
	n_forced = json_array_size(forced);
	pieces_restart(&q->pieces);
	q->told = 0;
	/* Not one that is asked again because it was busy, or did not answer. */
	if (q->accepted && strcmp(q->boot, q->u->boot) == 0)
		q->n_forgotten++;
	memcpy(q->boot, q->u->boot, sizeof(q->boot));
	q->accepted = q->judged = false;
	attempt = q->attempt + 1;
	pthread_mutex_unlock(&q->u->lock);

	r = upstream_send(q, attempt, forced, &a, &obj, &e);

	pthread_mutex_lock(&q->u->lock);
	if (r == 0) {
		strncpy(q->boot, a.boot, sizeof(q->boot) - 1);
		upstream_adopt_boot(q->u, a.boot);
		q->attempt = attempt;
		q->accepted = true;
		upstream_keep_ids(q, &a);
		q->acked = 0;
		q->away = false;
		q->lost_ms = q->retry_ms = 0;
		q->heard_ms = clock_ms();
		q->u->counters.resumes++;
	} else if (is_passing(r)) {
		ask_later(q, r, &e);
	} else {
		q->failed = e;
	}
	upstream_wake_all(q->u);	/* it is another's turn */
	pthread_mutex_unlock(&q->u->lock);
	json_decref(obj);
	if (r == 0)
		log_info("resumed id=%s attempt=%lld tokens=%zu", q->id,
		    (long long)attempt, n_forced);
	else
		log_info("not resumed id=%s attempt=%lld: %s", q->id,
		    (long long)attempt, e.text);
}
