#include "queue.h"

#include <string.h>
#include <unistd.h>

#include "clock.h"

void
queue_init(struct queue *q)
{
	memset(q, 0, sizeof(*q));
	pthread_mutex_init(&q->lock, NULL);
}

int
queue_await(struct queue *q, struct fleet *f, uint64_t ticket, struct err *e)
{
	int64_t now = clock_ms(), until = now + QUEUE_WAIT_MS;
	bool came, ready = fleet_pick(f, NULL, "", e) != NULL;

	if (ready)
		return 0;
	pthread_mutex_lock(&q->lock);
	came = promises_came(&q->away, ticket, now) &&
	    q->n_waiting_worker < QUEUE_WAITING_MAX;
	q->n_waiting_worker += came;
	pthread_mutex_unlock(&q->lock);
	while (came && !ready && clock_ms() < until) {
		usleep(1000 * QUEUE_ASK_MS);
		ready = fleet_pick(f, NULL, "", e) != NULL;
	}
	pthread_mutex_lock(&q->lock);
	q->n_waiting_worker -= came;
	if (!ready)
		promises_add(&q->away, ticket, clock_ms() + e->retry_after_ms);
	pthread_mutex_unlock(&q->lock);
	return ready ? 0 : (int)e->code;
}

enum turn { ASK, ASK_AND_WAIT, REFUSED };

/* May this request ask a worker now? */
static enum turn
begin(struct queue *q, uint64_t ticket, struct err *e)
{
	int64_t now = clock_ms();
	enum turn turn = ASK;

	pthread_mutex_lock(&q->lock);
	if (promises_came(&q->told, ticket, now)) {
		if (q->n_waiting < QUEUE_WAITING_MAX) {
			turn = ASK_AND_WAIT;
			q->n_waiting++;
		}
	} else if (q->n_waiting > 0 || (now - q->full_ms < q->retry_ms &&
	    promises_due(&q->told, now) > 0)) {
		turn = REFUSED;
		err_set(e, ERR_BUSY, "the queue is full, and others were told "
		    "to come now");
		/* Behind those, who get what becomes free next. */
		e->retry_after_ms = q->retry_ms + PROMISES_SOON_MS;
	}
	pthread_mutex_unlock(&q->lock);
	return turn;
}

/* There was no room for one more of its answers: from now on nobody new asks. */
static enum turn
stay(struct queue *q)
{
	enum turn turn = ASK;

	pthread_mutex_lock(&q->lock);
	if (q->n_waiting < QUEUE_WAITING_MAX) {
		turn = ASK_AND_WAIT;
		q->n_waiting++;
	}
	pthread_mutex_unlock(&q->lock);
	return turn;
}

static void
end(struct queue *q, uint64_t ticket, bool waited, int r,
    const struct err *e)
{
	int64_t now = clock_ms();

	pthread_mutex_lock(&q->lock);
	if (waited)
		q->n_waiting--;
	if (r == ERR_BUSY || r == ERR_LOADING)
		promises_add(&q->told, ticket, now + e->retry_after_ms);
	pthread_mutex_unlock(&q->lock);
}

/* What the worker said, for those who come next. */
static void
note_full(struct queue *q, int64_t retry_ms)
{
	pthread_mutex_lock(&q->lock);
	q->retry_ms = retry_ms;
	q->full_ms = clock_ms();
	pthread_mutex_unlock(&q->lock);
}

int
queue_submit(struct queue *q, struct fleet *f, const char *model,
    const char *session, uint64_t ticket, bool more, json_t *generate,
    struct upstream_request **up, struct err *e)
{
	int64_t until = clock_ms() + QUEUE_WAIT_MS, pause;
	enum turn turn = more ? ASK : begin(q, ticket, e);
	int r = ERR_BUSY;

	while (turn != REFUSED) {
		r = fleet_submit(f, model, session, generate, up, e);
		if (r != ERR_BUSY && r != ERR_LOADING)
			break;
		note_full(q, e->retry_after_ms);
		if (more && turn == ASK)
			turn = stay(q);
		if (turn == ASK || clock_ms() >= until)
			break;
		pause = e->retry_after_ms / 4;
		usleep(1000 * (useconds_t)(pause < QUEUE_ASK_MS ?
		    QUEUE_ASK_MS : pause < 500 ? pause : 500));
	}
	end(q, ticket, turn == ASK_AND_WAIT, r, e);
	return r;
}
