#ifndef DECODE_PACE_H
#define DECODE_PACE_H

#include <stdint.h>

#include "scheduler.h"

/*
 * How fast requests are served, as measured lately under the load there was, and
 * so when one that is refused now would be taken.  One thread at a time.
 */
enum { PACE_PROMISES = 1024 };

struct pace_mean {
	double x;		/* a guess until it is measured */
	int n;			/* measurements, the first few */
};

struct pace {
	struct pace_mean prompt_us;	/* per token of all prompts together */
	struct pace_mean token_us;	/* per token of one that decodes */
	struct pace_mean answer;	/* tokens of an answer */
	int n_promises;
	int64_t due_us[PACE_PROMISES];	/* when those come who were refused */
};

/* Two steps of an idle backend at its start, microseconds; zeros: not known. */
struct pace_start {
	double row_us;		/* of one row */
	int32_t n_rows;		/* more than one, if there may be more in a step */
	double rows_us;		/* of so many */
};

/*
 * Until requests are measured, as s says of a step in which n_slots of them
 * decode; if it says nothing, slow rather than fast.
 */
void pace_init(struct pace *p, const struct pace_start *s, int n_slots);

/* The step of p, with what was sampled in it, took us microseconds. */
void pace_step(struct pace *pc, const struct plan *p, int64_t us);

/* A request came to its end after n_generated tokens. */
void pace_answer(struct pace *pc, int32_t n_generated);

/*
 * Microseconds until n of those in the queue will have been admitted, if every
 * request goes on as lately.
 */
double pace_wait_us(const struct pace *pc, const struct scheduler *s, int n);

/*
 * Somebody is refused at now_us, and n of the queue must be admitted before there
 * is room: milliseconds until it should come again.  Those who were told so
 * before and are not due yet come before it: so not all are told the moment at
 * which there is room for one.
 */
int64_t pace_promise(struct pace *pc, const struct scheduler *s,
    int64_t now_us, int n);

#endif
