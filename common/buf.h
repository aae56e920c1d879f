#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A growing string of bytes, always followed by a NUL that len does not count.
 * { 0 } is an empty one.  When memory is short it becomes `failed` and ignores
 * what follows, so a caller checks once, at the end.  Not thread-safe.
 */
struct buf {
	char *data;		/* owned; NULL until something is added */
	size_t len, cap;	/* bytes */
	bool failed;
};

void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_adds(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void buf_clear(struct buf *b);		/* keeps the memory */
void buf_free(struct buf *b);		/* back to { 0 } */

#endif
