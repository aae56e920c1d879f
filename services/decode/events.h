#ifndef DECODE_EVENTS_H
#define DECODE_EVENTS_H

#include <jansson.h>
#include <stdint.h>

#include "buf.h"
#include "decode.h"
#include "sampler.h"
#include "tokenizer/tokenizer.h"

/*
 * The pieces of one request that were made and not yet acknowledged, in order.
 * A piece has one number: seq, which is the index of its token.  A finish that
 * came alone (cancel, deadline, error) takes a number of its own, one past the
 * last token: so a subscriber sees in the status event that it missed it, and
 * can acknowledge it.  One thread at a time.
 */
struct piece {
	int32_t token;		/* -1: a finish alone */
	size_t end;		/* of its text in events->text */
};

struct events {
	struct piece *v;	/* [n] kept; room for DECODE_UNACKED_MAX + 1 */
	int n;
	int64_t first;		/* seq of v[0] */
	int64_t origin;		/* seq of the first that was ever made */
	int64_t published;	/* seq of the first that was not published yet */
	struct buf text;	/* of all kept pieces, one after the other */
	int n_logprobs;		/* per piece: its own and the alternatives; 0 */
	struct sampler_logprob *logprobs;	/* [room, n_logprobs] or NULL */
};

/* first: the seq of the first piece to come. */
int events_init(struct events *ev, int64_t first, int n_logprobs,
    struct err *e);
void events_finish(struct events *ev);

/*
 * Start the piece of token (-1: none): its text is what the caller then adds to
 * ev->text, until events_end.  Returns its row of logprobs [n_logprobs], or
 * NULL.  events_full must have been false, but for token -1.
 */
struct sampler_logprob *events_begin(struct events *ev, int32_t token);
void events_end(struct events *ev);

int64_t events_next(const struct events *ev);	/* seq of the next piece */
bool events_full(const struct events *ev);	/* of pieces with a token */

/* Is token part of the text, and not only of what the model sees? */
bool events_shows(const struct tokenizer *t, int32_t token);

/* Forget what is below seq. */
void events_ack(struct events *ev, int64_t seq);

/* What the last piece says besides its token. */
struct events_outcome {
	const char *finish;	/* NULL: it is not over */
	const char *vector;	/* of pooling, or NULL */
	const struct sampler_logprob *scores;	/* [n_prompt, n_logprobs of the
						 * pieces] of the prompt, or NULL */
	int64_t n_prompt, n_cached, n_generated;
	int64_t n_drafted, n_accepted;	/* guesses fed, and right ones */
	double queue_ms, prefill_ms, decode_ms;
};

/*
 * Append the kept pieces from seq on, at most max, as id's to array; *next is
 * the seq after them.  ERR_NO_MEMORY.
 */
int events_encode(const struct events *ev, const char *id, int64_t seq, int max,
    const struct events_outcome *out, const struct tokenizer *t, json_t *array,
    int64_t *next, struct err *e);

#endif
