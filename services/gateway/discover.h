#ifndef GATEWAY_DISCOVER_H
#define GATEWAY_DISCOVER_H

#include <stddef.h>

#include "err.h"

struct sockaddr_in;

/*
 * GET url/v1/endpoints and put the runtime directory that it names into dir
 * [size].  Blocks for two seconds at most.  ERR_UNAVAILABLE if nobody answers,
 * ERR_BAD_MESSAGE if the answer is not the worker's.
 */
int discover(const char *url, char *dir, size_t size, struct err *e);

/* "http://127.0.0.1:8080", also localhost, without a port 8080: ERR_RANGE if it
 * is anything else. */
int discover_address(const char *url, struct sockaddr_in *at, struct err *e);

/* The answer's bytes [n], headers included. */
int discover_parse(const char *answer, size_t n, char *dir, size_t size,
    struct err *e);

#endif
