#ifndef GATEWAY_QUEUE_H
#define GATEWAY_QUEUE_H

#include <pthread.h>

#include "fleet.h"
#include "promises.h"

/*
 * Requests that the workers had no room for.  A worker says when it will have,
 * but does not know who comes back; here that is known (promises.h).  Who comes
 * as told and is a little early waits here and asks again, and nobody new asks
 * in between.  The same while no worker is ready.  Any thread.
 */
enum {
	QUEUE_WAITING_MAX = 64,		/* each holds a thread */
	QUEUE_WAIT_MS = 5000,
	QUEUE_ASK_MS = 20,		/* between two questions, at least */
};

struct queue {
	pthread_mutex_t lock;
	struct promises told, away;	/* to come when there is room; when a
					 * worker is ready, which keeps nobody else
					 * from asking */
	int n_waiting, n_waiting_worker;	/* for room; for one to be ready */
	int64_t retry_ms;	/* as the worker said last */
	int64_t full_ms;	/* when it did */
};

void queue_init(struct queue *q);

/* Is a worker ready?  Who was told to come when one would be waits for it here.
 * Else the error of the best of them. */
int queue_await(struct queue *q, struct fleet *f, uint64_t ticket,
    struct err *e);

/*
 * As fleet_submit.  ticket: of the client's request.  more: others of its answers
 * have been accepted, and would be for nothing without this one, so it waits here, too.
 */
int queue_submit(struct queue *q, struct fleet *f, const char *model,
    const char *session, uint64_t ticket, bool more, json_t *generate,
    struct upstream_request **up, struct err *e);

#endif
