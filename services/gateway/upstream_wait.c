/*
 * Waiting for pieces of one request, or of several that make one answer.  They
 * may be at different workers, each with its own lock, so the thread that waits
 * does so at a lock of its own, which those who have something for it take last.
 *
 * What a request needs when something was lost takes time, so it is done only
 * when no other has pieces to be written.
 */
#include <string.h>

#include "clock.h"
#include "upstream_state.h"

/* From now on w is woken for q; NULL: its own again. */
static void
wait_at(struct upstream_request *q, struct upstream_waiter *w, int timeout_ms)
{
	pthread_mutex_lock(&q->u->lock);
	q->patience_ms = timeout_ms;
	q->dozes = false;
	q->waiter = w != NULL ? w : &q->own;
	q->waiting = w != NULL;
	pthread_mutex_unlock(&q->u->lock);
}

/* What one look at all of them found. */
struct look {
	bool any;		/* pieces or news */
	int todo;		/* the first that has something to be done, or -1 */
	enum resume_step step;	/* what */
	bool retries;		/* one of them has to look again soon */
	bool dozes;		/* one of them is woken if its sink takes no more */
	int64_t sunk_ms;	/* when a sink last took pieces */
};

/* Returns 0, or the error of a request that cannot go on. */
static int
look_at(struct upstream_request *q, int i, int64_t now, struct piece **list,
    struct look *l, struct err *e)
{
	enum resume_step step = RESUME_NONE;

	pthread_mutex_lock(&q->u->lock);
	if ((*list = pieces_take(&q->pieces)) != NULL)
		q->waiting = false;	/* no sink gets what comes after these */
	else
		step = resume_next(q, now, e);
	/* A stream that is well looks again only at the end. */
	l->retries = l->retries || q->lost_ms != 0 || q->retry_ms > now;
	l->any = l->any || *list != NULL || q->news;
	q->news = false;
	if (q->sunk_ms > l->sunk_ms)
		l->sunk_ms = q->sunk_ms;
	q->dozes = q->waiting && q->sunk_ms > 0 && now - q->sunk_ms < q->patience_ms;
	l->dozes = l->dozes || q->dozes;
	pthread_mutex_unlock(&q->u->lock);
	if (step == RESUME_GIVE_UP)
		return (int)e->code;
	if (step != RESUME_NONE && l->todo < 0) {
		l->todo = i;
		l->step = step;
	}
	return 0;
}

static int
look_at_all(struct upstream_request *const *q, int n, int64_t now,
    struct piece **lists, struct look *l, struct err *e)
{
	int r = 0;

	*l = (struct look){ .todo = -1 };
	for (int i = 0; i < n; i++)
		lists[i] = NULL;
	for (int i = 0; r == 0 && i < n; i++)
		r = look_at(q[i], i, now, &lists[i], l, e);
	for (int i = 0; r != 0 && i < n; i++) {
		piece_list_free(lists[i]);
		lists[i] = NULL;
	}
	return r;
}

static void
sleep_until(struct upstream_waiter *w, int64_t at_ms)
{
	struct timespec t = {
		.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000,
	};
	int r = 0;

	pthread_mutex_lock(&w->lock);
	while (!w->woken && r == 0)
		r = pthread_cond_timedwait(&w->cond, &w->lock, &t);
	pthread_mutex_unlock(&w->lock);
}

/* Was it nudged? */
static bool
begin_look(struct upstream_waiter *w)
{
	bool nudged;

	pthread_mutex_lock(&w->lock);
	nudged = w->nudged;
	w->woken = w->nudged = false;
	pthread_mutex_unlock(&w->lock);
	return nudged;
}

void
upstream_nudge(struct upstream_request *q)
{
	struct upstream_waiter *w = &q->own;

	pthread_mutex_lock(&w->lock);
	w->woken = w->nudged = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

/* This takes time. */
static void
help(struct upstream_request *q, enum resume_step step)
{
	if (step == RESUME_REPLAY)
		resume_replay(q);
	else if (step == RESUME_SUBMIT)
		resume_submit(q);
	else if (step == RESUME_MOVE)
		resume_move(q);
}

int
upstream_wait_any(struct upstream_request *const *q, int n, int timeout_ms,
    struct piece **lists, struct err *e)
{
	int64_t now = clock_ms(), until = now + timeout_ms, soon;
	struct upstream_waiter *w = &q[0]->own;
	struct look l;
	bool nudged, asked = false;
	int r;

	for (int i = 0; i < n; i++)
		wait_at(q[i], w, timeout_ms);
	for (;; now = clock_ms()) {
		nudged = begin_look(w);
		if ((r = look_at_all(q, n, now, lists, &l, e)) != 0 || l.any ||
		    nudged)
			break;
		/* A worker that hangs could be asked for ever, for one after the
		 * other. */
		if (l.todo >= 0 && (!asked || now < until)) {
			help(q[l.todo], l.step);
			asked = true;
		} else if (now >= until && now - l.sunk_ms >= timeout_ms) {
			break;
		} else if (now >= until) {
			until = l.sunk_ms + timeout_ms;
		} else {
			soon = l.dozes ? now + UPSTREAM_DOZE_MS : until;
			if (l.retries && now + UPSTREAM_RETRY_MS < soon)
				soon = now + UPSTREAM_RETRY_MS;
			sleep_until(w, soon);
		}
	}
	for (int i = 0; i < n; i++)
		wait_at(q[i], NULL, 0);
	return r;
}

int
upstream_wait(struct upstream_request *q, int timeout_ms, struct piece **list,
    struct err *e)
{
	return upstream_wait_any(&q, 1, timeout_ms, list, e);
}

void
upstream_progress(struct upstream_request *q, struct upstream_progress *p)
{
	pthread_mutex_lock(&q->u->lock);
	*p = q->progress;
	pthread_mutex_unlock(&q->u->lock);
}
