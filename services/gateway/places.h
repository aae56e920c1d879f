#ifndef GATEWAY_PLACES_H
#define GATEWAY_PLACES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "promises.h"

/*
 * The requests that are answered at once, at most so many.  One that finds no
 * place is told when the next is likely to be free, from how long answers took
 * lately and how long the present ones have been going; and then a place is kept
 * for it: when the same request (the same ticket) comes again as told, it gets
 * the next one that is free, before all who come for the first time.
 *
 * Any thread.
 */
enum {
	PLACES_MAX = 1024,
	PLACES_WAITING_MAX = 64,	/* came as told and hold a thread */
	PLACES_WAIT_MS = 5000,		/* how long, at most */
	PLACES_BRIEF_MS = 100,		/* how long anybody waits: a client that
					 * has its answer asks again before the
					 * place of that is free */
	PLACES_MIN_MS = 100,
	PLACES_FIRST_MS = 500,		/* an answer, before any has ended */
};

struct places {
	pthread_mutex_t lock;
	pthread_cond_t freed;
	int n_max, n_used, n_waiting;
	int n_brief;			/* wait, and come after all others */
	struct promises told;
	int64_t since_ms[PLACES_MAX];	/* of those in use, 0: free */
	uint64_t session[PLACES_MAX];	/* of those in use; 0: none */
	int64_t ends_ms[PLACES_MAX];	/* room to sort */
	double lasts_ms;		/* mean of lately; 0: none has ended */
};

void places_init(struct places *p, int n_max);

/* How many are in use. */
int places_used(struct places *p);

/*
 * Returns a place from 0, or -1 with *retry_ms.  A request that comes as told
 * waits for its place here, up to PLACES_WAIT_MS; any other, PLACES_BRIEF_MS.
 */
int places_take(struct places *p, uint64_t ticket, int64_t *retry_ms);

/* Place is for a session (a hash of its key; not 0).  False if another place is:
 * two requests of a session are not answered at once. */
bool places_claim(struct places *p, int place, uint64_t session);

/* ended: it lasted as long as answers do; false for one that failed at once. */
void places_free(struct places *p, int place, bool ended);

/* places_take and places_free for tests: without waiting.  PLACES_HOLD: it came
 * as told and may wait. */
enum { PLACES_NONE = -1, PLACES_HOLD = -2 };
int places_try(struct places *p, uint64_t ticket, int64_t now_ms,
    int64_t *retry_ms);
void places_give(struct places *p, int place, bool ended, int64_t now_ms);

#endif
