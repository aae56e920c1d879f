#ifndef DECODE_CHARS_H
#define DECODE_CHARS_H

#include <stddef.h>
#include <stdint.h>

/* What chars_next found instead of a character. */
enum {
	CHARS_BAD = -1,		/* bytes that can never become one */
	CHARS_CUT = -2,		/* the beginning of one, cut short by the end */
};

/*
 * Read what begins at s [n > 0 bytes].  *cp is the code point, CHARS_BAD or
 * CHARS_CUT.  Returns its length; of something ill-formed that of its maximal
 * subpart (Unicode 15, section 3.9, table 3-7), which is what Python replaces
 * by one U+FFFD.
 */
size_t chars_next(const char *s, size_t n, int32_t *cp);

/* The length of the well-formed beginning of s [n]. */
size_t chars_valid(const char *s, size_t n);

#endif
