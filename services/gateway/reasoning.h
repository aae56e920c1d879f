#ifndef GATEWAY_REASONING_H
#define GATEWAY_REASONING_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

/*
 * Tells what a model thought from what it said: a text that begins with <think>
 * (after blanks, maybe) has its thoughts up to </think>.  The tags are left out,
 * and so are the blanks around the thoughts and before the answer; of blanks
 * before <think> and before </think> the last REASONING_BLANKS.  A text that
 * does not begin so is an answer, whatever tags it has later.
 *
 * What comes out depends on the text alone, not on the pieces it comes in; a
 * character is never split if the pieces do not split it.
 */
enum { REASONING_BLANKS = 64 };

struct reasoning {
	enum {
		REASONING_OFF,		/* all of it is the answer */
		REASONING_BEGINS,
		REASONING_THINKS,
		REASONING_PAUSES,	/* blanks behind </think> */
		REASONING_SAYS,
	} state;
	bool thought;			/* something that is no blank */
	char blanks[REASONING_BLANKS];	/* held back */
	size_t n_blanks;
	size_t n_tag;			/* matched so far of the tag expected */
};

/* on: does the model think?  Else all of the text is the answer. */
void reasoning_init(struct reasoning *r, bool on);

/* Append what of text [n] can be told by now. */
void reasoning_push(struct reasoning *r, const char *text, size_t n,
    struct buf *thought, struct buf *said);

/* The text has ended: append what was held back. */
void reasoning_end(struct reasoning *r, struct buf *thought,
    struct buf *said);

/* Do the tokens that come now count as thoughts? */
bool reasoning_thinks(const struct reasoning *r);

#endif
