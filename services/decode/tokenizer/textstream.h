#ifndef DECODE_TEXTSTREAM_H
#define DECODE_TEXTSTREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

/*
 * From the bytes of tokens to text that may be shown: whole UTF-8 characters
 * only, nothing that may still turn out to begin a stop string, and nothing
 * from a stop string on.  Bytes that can never be UTF-8 become U+FFFD, as
 * Python's errors="replace" does it.  A pure function of the bytes pushed, so
 * replaying tokens after a restart gives the same text.  One thread.
 */
struct textstream {
	struct buf held;	/* not yet final */
	const char *const *stops;	/* [n_stops], borrowed */
	size_t n_stops;
	bool stopped;		/* a stop string was found: no more text comes */
};

/* stops [n_stops] must outlive ts; each is UTF-8 and not empty. */
void textstream_init(struct textstream *ts, const char *const *stops,
    size_t n_stops);
void textstream_finish(struct textstream *ts);

/* Add bytes [n]; append to out what became final. */
void textstream_push(struct textstream *ts, const char *bytes, size_t n,
    struct buf *out);

/* The end: append what is still held (an incomplete character as U+FFFD). */
void textstream_flush(struct textstream *ts, struct buf *out);

#endif
