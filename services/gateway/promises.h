#ifndef GATEWAY_PROMISES_H
#define GATEWAY_PROMISES_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Requests that were refused and told when to come back, each by its ticket,
 * which is the same when it is sent again.  Whoever comes as told goes first.
 * When one did not come in PROMISES_GRACE_MS, nothing is held back for the
 * others for a while.  Not thread-safe; the time is an argument.
 */
enum {
	PROMISES_MAX = 256,		/* more are told, and not remembered */
	PROMISES_GRACE_MS = 2500,	/* Retry-After is in whole seconds */
	PROMISES_DISTRUST_MS = 10000,
	PROMISES_SOON_MS = 100,
};

struct promises {
	struct promise {
		uint64_t ticket;
		int64_t due_ms;
	} kept[PROMISES_MAX];
	int n;			/* that are not over */
	int64_t distrust_ms;	/* until then */
};

void promises_add(struct promises *p, uint64_t ticket, int64_t due_ms);

/* Was this ticket told to come by now?  Once for each time it was told. */
bool promises_came(struct promises *p, uint64_t ticket, int64_t now_ms);

/* The same, and it stays told. */
bool promises_expects(const struct promises *p, uint64_t ticket,
    int64_t now_ms);

/* How many are to be expected at once, for whom something is held back. */
int promises_due(struct promises *p, int64_t now_ms);

#endif
