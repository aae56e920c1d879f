#ifndef MCP_FETCH_H
#define MCP_FETCH_H

#include "buf.h"
#include "err.h"

/*
 * GET url, whole, with bounds: timeout_ms in all, FETCH_MAX bytes, no redirect,
 * no proxy, http and https only.  key: bearer token or NULL.  Returns 0 with
 * *status and the body added to *body; any thread, after fetch_init.
 */
enum { FETCH_MAX = 1 << 20 };

int fetch_init(struct err *e);
int fetch(const char *url, const char *key, int timeout_ms, int *status,
    struct buf *body, struct err *e);

#endif
