#ifndef TESTS_STACK_H
#define TESTS_STACK_H

#include "http_client.h"
#include "process.h"

/*
 * A gateway and the real worker with the demo model, in one directory; a key
 * file, if a test wants one.  One of each for all tests of a program.
 */
#define STACK_MODEL "halo-demo"

extern struct process stack_gateway, stack_worker;
extern char stack_dir[64];
extern int stack_port;

/* Write the key file that --api-key-file of the gateway is to name. */
void stack_keys(const char *text);
const char *stack_keys_path(void);

/* Start both, with extra arguments (each ends with NULL), and wait until a chat
 * would be answered. */
void stack_start(const char *const gateway_args[],
    const char *const worker_args[]);
void stack_start_worker(void);	/* again, after its end */
void stack_stop(void);
/* For main, after the tests: kill what is still there. */
void stack_abandon(void);

/* A POST or GET with a key (NULL: none), read to its end; closed by
 * http_close. */
void stack_post(struct http_client *c, const char *key, const char *path,
    const char *headers, const char *body);
void stack_get(struct http_client *c, const char *key, const char *path);
void stack_delete(struct http_client *c, const char *key, const char *path);

/* A header's value into out [n]; false if it is not there. */
bool stack_header(const struct http_client *c, const char *name, char *out,
    size_t n);
/* The body as JSON, to be released; fails the test if it is none. */
json_t *stack_json(const struct http_client *c);

#endif
