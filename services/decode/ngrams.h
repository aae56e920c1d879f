#ifndef DECODE_NGRAMS_H
#define DECODE_NGRAMS_H

#include <stdint.h>

#include "err.h"

/*
 * What followed last time: the latest place in a sequence where its last few
 * tokens stood before, found in constant time ("prompt lookup decoding",
 * Saxena 2023).  The table is of one size whatever the sequence; in a long one
 * an old n-gram gives way to a newer one.  One thread at a time.
 */
enum { NGRAMS_LONGEST = 3, NGRAMS_MATCH_MAX = 16 };

struct ngrams {
	/* By hash of an n-gram: where the token after its latest occurrence
	 * stands; 0: none.  [NGRAMS_LONGEST][mask + 1] owned */
	int32_t *after;
	uint32_t mask;
	int32_t n_seen;		/* tokens that are in it */
};

/* For sequences of about n_ctx tokens. */
int ngrams_init(struct ngrams *g, int32_t n_ctx, struct err *e);
void ngrams_finish(struct ngrams *g);

/* Begin another sequence. */
void ngrams_reset(struct ngrams *g);

/*
 * Where in tokens [n] its end stood before: the position of what came next, 1 to
 * n - 1, or 0.  *match: the tokens before it that are those at the end, at most
 * NGRAMS_MATCH_MAX.  hint: a position that may be better than the latest, 0:
 * none.  Between two resets tokens only grows.
 */
int32_t ngrams_find(struct ngrams *g, const int32_t *tokens, int32_t n,
    int32_t hint, int32_t *match);

#endif
