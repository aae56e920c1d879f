#ifndef DECODE_FILE_H
#define DECODE_FILE_H

#include <stddef.h>

#include "buf.h"
#include "err.h"

/*
 * Files of which all is wanted.  ERR_NOT_FOUND or ERR_SYSTEM if one cannot be
 * opened or read; the sentence names it.  Any thread.
 */

/*
 * Map path to be read: *bytes [*n], the caller's, for munmap.  ERR_BAD_FILE if
 * it is empty or no regular file; a FIFO is not waited for.
 */
int file_map(const char *path, void **bytes, size_t *n, struct err *e);

/*
 * Append what path holds to out, which may be a pipe.  ERR_RANGE if that is more
 * than max bytes.
 */
int file_read(const char *path, size_t max, struct buf *out, struct err *e);

#endif
