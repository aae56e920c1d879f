#ifndef GATEWAY_RATES_H
#define GATEWAY_RATES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "sha256.h"

/*
 * How much a key, and a session, may ask for in a minute: a bucket of requests
 * and one of tokens each, that hold a minute's worth and fill evenly.
 *
 * Who is refused is told when there will be room, exactly, and that room is kept
 * for it: the buckets are charged at once, whoever asks later is told a later
 * time, and the same request (the same ticket) finds it paid for.  What nobody
 * came for in RATES_GRACE_MS is given back, and those who do not come back get
 * nothing kept for a while.
 *
 * Any thread.  The time is an argument, from any monotonic clock.  The table is
 * bounded; who has not asked for longest is forgotten first, and begins again
 * with full buckets.
 */
enum {
	RATES_OWNERS_MAX = 4096,	/* keys and sessions with a bucket */
	RATES_KEPT_MAX = 512,		/* refused requests with room kept */
	RATES_WAIT_MS = 60000,		/* nobody waits longer: nothing is kept */
	RATES_GRACE_MS = 2500,		/* Retry-After is in whole seconds */
	RATES_DISTRUST_MS = 30000,
	RATES_WAYS = 8,
	RATES_WANTS_MAX = 2,		/* key and session */
};

/* Whose buckets, and how large they are: a minute's worth; 0: no limit. */
struct rates_want {
	uint8_t id[SHA256_SIZE];
	int64_t rpm, tpm;
};

/* What is told of one bucket. */
struct rates_state {
	int64_t limit;		/* 0: there is none, the rest says nothing */
	int64_t remaining;
	int64_t reset_ms;	/* until it is full */
};

struct rates_owner {
	uint8_t id[SHA256_SIZE];
	bool used;
	int n_kept;		/* not to be forgotten */
	int64_t at_ms;		/* of the two levels */
	double requests, tokens;
	int64_t rpm, tpm;	/* as asked last */
	int64_t distrust_ms;	/* nothing is kept until then */
};

struct rates_kept {
	uint64_t ticket;
	int n;			/* 0: free */
	struct rates_want wants[RATES_WANTS_MAX];
	double tokens[RATES_WANTS_MAX];
	int64_t due_ms;
};

struct rates {
	pthread_mutex_t lock;
	struct rates_owner *owners;	/* sets of RATES_WAYS */
	struct rates_kept *kept;
	int n_kept;
};

int rates_create(struct rates **l, struct err *e);
void rates_destroy(struct rates *l);

/*
 * Take one request and n_tokens (an estimate; at most a bucketful counts) from
 * the buckets of all n wants, or nothing.  ticket: of the request, the same
 * when it is sent again.  0: taken.  Else the milliseconds until there is room
 * for it.
 */
int64_t rates_take(struct rates *l, const struct rates_want *wants, int n,
    int64_t n_tokens, uint64_t ticket, int64_t now_ms);

/* It was estimated tokens that were taken, and it has become these. */
void rates_correct(struct rates *l, const struct rates_want *wants, int n,
    int64_t estimated, int64_t n_tokens, int64_t now_ms);

/* Take back the request and the tokens of a rates_take: it was not served. */
void rates_give_back(struct rates *l, const struct rates_want *wants, int n,
    int64_t n_tokens, int64_t now_ms);

void rates_look(struct rates *l, const struct rates_want *w, int64_t now_ms,
    struct rates_state *requests, struct rates_state *tokens);

#endif
