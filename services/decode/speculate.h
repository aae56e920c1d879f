#ifndef DECODE_SPECULATE_H
#define DECODE_SPECULATE_H

#include <stdbool.h>
#include <stdint.h>

#include "ngrams.h"
#include "scheduler.h"

/*
 * Speculation without a draft model.  What a sequence may say next is guessed
 * from what it said before; the guesses are fed behind its last token in the
 * same step, and each is kept while it is what the sampler takes from the row
 * before it.  So the output is the one without speculation, and a wrong guess
 * costs the time of its row alone.
 *
 * Whether that pays is found out while it runs: how long a step of so many rows
 * takes, and how often guesses are right, by request and by how many tokens
 * matched.  The second costs nothing to know, since a guess is compared with
 * what comes next whether its row was fed or not.
 *
 * The compute thread's.
 */
enum {
	SPECULATE_AUTO = -1,
	SPECULATE_DRAFTS = 16,	/* rows of guesses in one step at most */
	SPECULATE_LEVELS = 7,	/* classes of matches, by length */
	SPECULATE_ROWS = 64,	/* steps whose time is known; larger are full */
};

/* How often guesses were right lately. */
struct speculate_rate {
	float right, all;
};

/* What is known of one sequence. */
struct speculate_seat {
	int64_t order;		/* of its job; 0: free */
	int64_t step;		/* when it was last in one */
	struct ngrams ngrams;
	int32_t source;		/* position that is followed; 0: none */
	int32_t match, n_guess;
	int32_t guess[SPECULATE_DRAFTS];
	struct speculate_rate rates[SPECULATE_LEVELS];
};

/* Time of a step without prompts, by its rows. */
struct speculate_cost {
	double us;		/* mean, lately; 0: never measured */
	int64_t step, n;	/* of the latest measurement; of all */
};

struct speculate {
	int mode;		/* SPECULATE_AUTO, 0: off, or guesses in every draft */
	int n_seats;
	struct speculate_seat *seats;	/* [n_seats] owned */
	struct speculate_rate rates[SPECULATE_LEVELS];	/* of all sequences */
	struct speculate_cost costs[SPECULATE_ROWS + 1];	/* [rows] */
	int64_t step;
};

/* mode: as above, at most SPECULATE_DRAFTS.  n_seats: sequences in one step. */
int speculate_init(struct speculate *s, int mode, int n_seats, int32_t n_ctx,
    struct err *e);
void speculate_finish(struct speculate *s);

/*
 * Give shares of p that decode drafts: their n_rows and n_drafts and p->n_rows
 * grow, the guesses stand behind the tokens of their jobs.  p has at most
 * max_rows rows afterwards, and no job more tokens, pieces or positions than
 * it has room for.  With SPECULATE_AUTO those that are expected to pay.
 */
void speculate_plan(struct speculate *s, struct plan *p, int32_t max_rows);

/* chosen [n] is what was sampled for j, in order. */
void speculate_learn(struct speculate *s, const struct job *j,
    const int32_t *chosen, int32_t n);

/* The step of p took us microseconds. */
void speculate_time(struct speculate *s, const struct plan *p, int64_t us);

#endif
