#ifndef TESTS_API_PEER_H
#define TESTS_API_PEER_H

#include <jansson.h>
#include <stdint.h>

#include "http_client.h"

/*
 * A gateway and a worker with the demo model for all tests of a program, and
 * what they ask.  Fails the running test when something is not as expected.
 */
extern int api_port;	/* of the gateway */

void api_start(void);
void api_stop(void);

/* POST body to path, or GET it, expecting status: the answer, to be released. */
json_t *api_ask(const char *path, int status, const char *body);
json_t *api_get(const char *path, int status);

/* The member that path ("choices.0.text") leads to, borrowed, or NULL; the same
 * if it must be a string or an integer. */
json_t *api_at(json_t *v, const char *path);
const char *api_text(json_t *v, const char *path);
int64_t api_int(json_t *v, const char *path);

#endif
