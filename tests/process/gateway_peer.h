#ifndef TESTS_GATEWAY_PEER_H
#define TESTS_GATEWAY_PEER_H

#include <jansson.h>

#include "http_client.h"
#include "process.h"

/*
 * A gateway for all tests of a program, in a directory of its own, and what
 * they do with it and with fake_decode.h.
 */
extern const char gateway_chat[];	/* its path */
/* Two requests, with seed 9; the prompt says CANARY, which nobody may log. */
extern const char gateway_streamed[], gateway_plain[];

extern struct process gateway;
extern char gateway_dir[64];
extern int gateway_port;

void gateway_start(void);
/* Two arguments more for it, or NULL: set before. */
extern const char *gateway_options[3];

/* The worker gets another life. */
void gateway_restart_worker(bool ready);

/* Until GET path answers status. */
void gateway_wait_status(const char *path, int status);

/* Ask for a chat, and have the worker accept it; id [33]; the generate. */
json_t *gateway_begin(struct http_client *c, const char *body, char *id);

/* The stream ends well and says text; closes it. */
void gateway_check_stream(struct http_client *c, const char *text);

/* SIGTERM; it ends with 0, and no prompt is in its log. */
void gateway_stop(void);

#endif
