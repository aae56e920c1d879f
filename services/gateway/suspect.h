#ifndef GATEWAY_SUSPECT_H
#define GATEWAY_SUSPECT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Who ended the worker?  Every request in the step in which it died is a suspect
 * and must run alone, in steps with nobody else, until it is past the token of
 * that step.  That acquits it, whatever happened before; to die there alone
 * convicts it.  So one that is innocent survives any number of crashes, and one
 * that is not costs two.
 *
 * A worker that ended by a fault of its own (a signal like SIGSEGV or SIGABRT, of
 * which the watchdog's is one) says so.  One that was killed (SIGKILL: somebody
 * outside, or the kernel for want of memory) does not, and an innocent that was
 * alone at that moment looks the same as a guilty one: that counts as a charge,
 * and convicts only the third time at one place.
 *
 * No clock, no bus, no lock: the caller has those.
 */
struct suspect {
	int64_t solo_end;	/* it must be alone until it has this many tokens;
				 * 0: no suspect */
	int64_t at;		/* the token at which it was last charged */
	int n_charged;		/* there, in a row */
	int n_killed;		/* of these, alone and without a fault */
};

enum { SUSPECT_CHARGES_MAX = 8, SUSPECT_KILLS_MAX = 3 };

/* How one life of the worker ended, as far as one request is concerned. */
struct suspect_crash {
	bool clean;		/* it was stopped */
	bool in_step;		/* the request was in its last step */
	bool alone;		/* and nobody else */
	bool fault;		/* it ended by a fault of its own */
	int64_t seq;		/* of the token of that step */
};

enum suspect_verdict {
	SUSPECT_FREE,		/* not charged: to be sent again */
	SUSPECT_CHARGED,	/* to be sent again, alone until solo_end */
	SUSPECT_CONVICTED,	/* never again */
	SUSPECT_TOO_OFTEN,	/* SUSPECT_CHARGES_MAX times at one place, and again */
};

/* next: tokens of it that are here. */
enum suspect_verdict suspect_judge(struct suspect *s,
    const struct suspect_crash *c, int64_t next);

/* It has next tokens: acquitted, if that is past solo_end. */
void suspect_passed(struct suspect *s, int64_t next);

/*
 * A worker that crashes often: BREAKER_CRASHES in BREAKER_MS.  Then new requests
 * wait until it has stayed up for BREAKER_UP_MS.
 */
enum {
	BREAKER_CRASHES = 5,
	BREAKER_MS = 60000,
	BREAKER_UP_MS = 10000,
};

struct breaker {
	int64_t at_ms[BREAKER_CRASHES];	/* a ring of the last ones */
	unsigned n;
};

void breaker_crash(struct breaker *b, int64_t now_ms);
bool breaker_open(const struct breaker *b, int64_t now_ms);

#endif
