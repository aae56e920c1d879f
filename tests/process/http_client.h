#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

#include "buf.h"

/*
 * A client that sees bytes: one request on one connection, read as it comes.
 * Fails the running test when it cannot connect or waits longer than
 * PROCESS_PATIENCE_MS.
 */
struct http_client {
	int fd;
	struct buf in;		/* all that came so far, framing included */
};

/* POST body to path of 127.0.0.1:port; headers: more lines, each with \r\n. */
void http_post(struct http_client *c, int port, const char *path,
    const char *headers, const char *body);
void http_get(struct http_client *c, int port, const char *path,
    const char *headers);

/* The same with any method; body may be "". */
void http_send(struct http_client *c, int port, const char *method,
    const char *path, const char *headers, const char *body);

/* Read until text was seen; or to the end; or what comes next, false at the end. */
void http_until(struct http_client *c, const char *text);
void http_rest(struct http_client *c);
bool http_more(struct http_client *c);

/* The end of what came, for the message of a failure: Check takes none of more than
 * 4 KB, and ends the program instead. */
const char *http_tail(const struct http_client *c);

int http_status(const struct http_client *c);	/* of the answer so far */
bool http_has(const struct http_client *c, const char *text);

/* The texts of all chunks of a stream, one after the other; *out is freed by
 * the caller. */
void http_stream_text(const struct http_client *c, struct buf *out);

/* Closes it, also in the middle of an answer. */
void http_close(struct http_client *c);

#endif
