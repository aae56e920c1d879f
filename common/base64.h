#ifndef COMMON_BASE64_H
#define COMMON_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

/*
 * Base64 (RFC 4648, section 4: the usual alphabet, padded, no line breaks).
 * Any thread.
 */

/* Append bytes [n] as base64 to out. */
void base64_encode(const void *bytes, size_t n, struct buf *out);

/*
 * Append what text [n] means to out.  False if it is not base64; then out may
 * have the beginning of it.  Bits that no byte needs are not looked at.
 */
bool base64_decode(const char *text, size_t n, struct buf *out);

#endif
