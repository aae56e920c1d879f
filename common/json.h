#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "err.h"

/*
 * JSON from outside.  Jansson recurses to a depth of 2048, which is more stack
 * than a CivetWeb thread has, and 1 MiB of "[{},{}," becomes 79 MiB of heap;
 * so the text is scanned first, in one pass without recursion, and refused
 * when it nests deeper or holds more values than these.
 */
enum { JSON_DEPTH_MAX = 64, JSON_VALUES_MAX = 50000 };

/*
 * Scan text [n bytes] and then parse it.  *v is a new reference.  Duplicate
 * keys, NUL, bad UTF-8, trailing bytes: ERR_BAD_MESSAGE with the position.
 */
int json_guarded(const char *text, size_t n, json_t **v, struct err *e);

/*
 * The scan alone, for other parsers' use.  Arrays and objects are at most
 * JSON_VALUES_MAX even if values_max is more.
 */
int json_scan(const char *text, size_t n, int depth_max, size_t values_max,
    struct err *e);

#endif
