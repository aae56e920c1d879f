#ifndef GATEWAY_LIMITS_H
#define GATEWAY_LIMITS_H

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
 * came for in LIMITS_GRACE_MS is given back, and those who do not come back get
 * nothing kept for a while.
 *
 * Any thread.  The time is an argument, from any monotonic clock.  The table is
 * bounded; who has not asked for longest is forgotten first, and begins again
 * with full buckets.
 */
enum {
	LIMITS_OWNERS_MAX = 4096,	/* keys and sessions with a bucket */
	LIMITS_KEPT_MAX = 512,		/* refused requests with room kept */
	LIMITS_WAIT_MS = 60000,		/* nobody waits longer: nothing is kept */
	LIMITS_GRACE_MS = 2500,		/* Retry-After is in whole seconds */
	LIMITS_DISTRUST_MS = 30000,
	LIMITS_WAYS = 8,
	LIMITS_WANTS_MAX = 2,		/* key and session */
};

/* Whose buckets, and how large they are: a minute's worth; 0: no limit. */
struct limits_want {
	uint8_t id[SHA256_SIZE];
	int64_t rpm, tpm;
};

/* What is told of one bucket. */
struct limits_state {
	int64_t limit;		/* 0: there is none, the rest says nothing */
	int64_t remaining;
	int64_t reset_ms;	/* until it is full */
};

struct limits_owner {
	uint8_t id[SHA256_SIZE];
	bool used;
	int n_kept;		/* not to be forgotten */
	int64_t at_ms;		/* of the two levels */
	double requests, tokens;
	int64_t rpm, tpm;	/* as asked last */
	int64_t distrust_ms;	/* nothing is kept until then */
};

struct limits_kept {
	uint64_t ticket;
	int n;			/* 0: free */
	struct limits_want wants[LIMITS_WANTS_MAX];
	double tokens[LIMITS_WANTS_MAX];
	int64_t due_ms;
};

struct limits {
	pthread_mutex_t lock;
	struct limits_owner *owners;	/* sets of LIMITS_WAYS */
	struct limits_kept *kept;
	int n_kept;
};

int limits_create(struct limits **l, struct err *e);
void limits_destroy(struct limits *l);

/*
 * Take one request and n_tokens (an estimate; at most a bucketful counts) from
 * the buckets of all n wants, or nothing.  ticket: of the request, the same
 * when it is sent again.  0: taken.  Else the milliseconds until there is room
 * for it.
 */
int64_t limits_take(struct limits *l, const struct limits_want *wants, int n,
    int64_t n_tokens, uint64_t ticket, int64_t now_ms);

/* It was estimated tokens that were taken, and it has become these. */
void limits_correct(struct limits *l, const struct limits_want *wants, int n,
    int64_t estimated, int64_t n_tokens, int64_t now_ms);

/* Take back the request and the tokens of a limits_take: it was not served. */
void limits_give_back(struct limits *l, const struct limits_want *wants, int n,
    int64_t n_tokens, int64_t now_ms);

void limits_look(struct limits *l, const struct limits_want *w, int64_t now_ms,
    struct limits_state *requests, struct limits_state *tokens);

#endif
