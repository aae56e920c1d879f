#ifndef COMMON_WEB_PRIV_H
#define COMMON_WEB_PRIV_H

#include <civetweb.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "web.h"

/*
 * Shared by web*.c and their tests, by nobody else.
 *
 *	web.c		start and stop
 *	web_serve.c	CivetWeb's two callbacks: the checks, in order
 *	web_check.c	may this request pass?  pure functions of strings
 *	web_route.c	the exact table of routes; pure too
 *	web_conn.c	the socket: deadlines, reading, writing, is the client there
 *	web_request.c	what a handler asks of a request, its body included
 *	web_reply.c	whole answers and errors
 *	web_stream.c	answers in pieces
 */
enum {
	WEB_HEAD_MAX = 32768,	/* bytes of request line and headers */
	WEB_HEADERS_MAX = 63,	/* CivetWeb drops the 65th silently */
	WEB_ID_MAX = 64,	/* of a request id, bytes */
	WEB_ORIGIN_MAX = 255,
	WEB_SEGMENT_MAX = 255,	/* what a "*" in the middle matches, bytes */
	WEB_WHO_MAX = 64,
	WEB_IDLE_MS = 4000,	/* CivetWeb gives up after WEB_TIMEOUT_MS, so */
	WEB_TIMEOUT_MS = 5000,	/* that ours is always the earlier one */
};

struct web {
	const struct web_config *c;
	struct mg_context *ctx;
	char host[16];		/* dotted, of the bound address */
	char own[HOST_NAME_MAX + 1];	/* what this machine is called, or "" */
	int port;
	int body_ms, write_ms;	/* deadlines in force */
	atomic_int active;
	atomic_bool draining;	/* no new requests */
	atomic_bool ending;	/* handlers are to return at once */
	pthread_t keeper;	/* ends transfers that pass their deadline */
	pthread_mutex_t lock;	/* for what follows, and `cut` of requests */
	pthread_cond_t wake;
	struct web_request *armed;
	int64_t wake_at_ms;	/* when the keeper looks next */
	bool keeper_ends;
};

enum web_answer { WEB_UNANSWERED, WEB_STREAMING, WEB_ANSWERED };

struct web_request {
	struct web *web;
	struct mg_connection *conn;
	const struct mg_request_info *info;
	const struct web_route *route;	/* NULL until it is found */
	const char *tail;		/* what "*" matched, or "" */
	const char *origin;		/* allowed and checked, or NULL */
	bool cors;			/* tell the browser so */
	const char *bearer;		/* or NULL */
	char id[WEB_ID_MAX + 1];
	char who[WEB_WHO_MAX + 1];	/* for on_done */
	int64_t length;			/* Content-Length, 0 if absent */
	bool chunked;			/* the request's body is */
	bool body_read;			/* nothing of it is left on the socket */
	bool head_only;			/* HEAD: headers but no body */
	bool old;			/* HTTP/1.0 knows no chunks */
	struct buf body;
	struct buf headers;		/* by web_set_header, as lines */
	struct buf rest;		/* web_stream_try began to write it */
	enum web_answer answer;
	int status;
	bool broken;			/* a write failed: the client is gone */
	uint64_t bytes_out;
	int64_t start_ns;
	/* web_conn.c */
	bool fd_sought;
	int fd;				/* CivetWeb's socket, or -1 */
	int how;			/* for shutdown(2) at the deadline */
	int64_t deadline_ms;
	bool cut;			/* the deadline passed */
	struct web_request *next, **prev;
};

/* Why a request is turned away; static. */
struct web_refusal {
	int status;
	const char *type, *code, *message;
};

/* web_check.c.  NULL: it may pass. */
struct web_framing {
	bool chunked;
	int64_t length;		/* 0 if not given */
};
const struct web_refusal *web_check_framing(const struct mg_header *h, int n,
    const char *version, struct web_framing *f);
/* host: the header's value or NULL; bound: the address we listen on; own: what
 * the machine is called, or "". */
const struct web_refusal *web_check_host(const char *host, const char *bound,
    const char *own, const char *hosts);
/* host: as above, already accepted. */
const struct web_refusal *web_check_origin(const char *origin,
    const char *host, const char *origins);
/* Visible ASCII that begins with a slash; escapes are web_match's business. */
bool web_check_path(const char *path);
/* A part of a path without its escapes, into out [size]; false if one is malformed,
 * or if it does not fit or is no text: not UTF-8, or with control characters. */
bool web_unescape(const char *s, size_t n, char *out, size_t size);
bool web_check_id(const char *id);
bool web_check_traceparent(const char *value);
/* The key in "Bearer KEY"; NULL if there is none or it is not visible ASCII. */
const char *web_check_bearer(const char *authorization);
bool web_check_value(const char *value);	/* fit for one header line */
enum web_media { WEB_MEDIA_JSON, WEB_MEDIA_MAYBE, WEB_MEDIA_OTHER };
enum web_media web_check_media(const char *content_type);
const char *web_find_header(const struct mg_header *h, int n,
    const char *name);
/* Value of name in query, decoded into out [n]; false if absent or bad. */
bool web_find_query(const char *query, const char *name, char *out, size_t n);
bool web_has_query(const char *query, const char *name);

/* web_serve.c, as CivetWeb wants them. */
int web_on_request(struct mg_connection *conn);
int web_on_error(struct mg_connection *conn, int status, const char *text);

/* web_route.c */
struct web_match {
	const struct web_route *route;	/* NULL: see allowed */
	const char *tail;		/* "" if there is no "*" */
	char segment[WEB_SEGMENT_MAX + 1];	/* tail, if it is not the path's end */
	unsigned flags;			/* of all routes with this path */
	char allow[64];			/* "GET, HEAD, POST"; "": no such path */
};
void web_match(const struct web_route *routes, const char *method,
    const char *path, struct web_match *m);

/* web_conn.c */
int web_keeper_start(struct web *w, struct err *e);
void web_keeper_stop(struct web *w);
/* At most n bytes: how many, 0 at the end, -1 if cut off or malformed. */
int web_conn_read(struct web_request *rq, void *p, size_t n,
    int64_t deadline_ms);
bool web_conn_write(struct web_request *rq, const void *data, size_t n);
/*
 * Give back what this thread has had of its stack and does not have now: there is a
 * thread for each connection that there might be, and connections go round all of
 * them, so each would keep its deepest pages for good.
 */
void web_trim_stack(void);
/* CivetWeb's socket, or -1; sought once, by the handler's thread. */
int web_conn_fd(struct web_request *rq);
/* Take what the client still sends, for a moment, so that it sees the answer:
 * closing a socket with unread bytes resets the connection. */
void web_conn_linger(struct web_request *rq);

/* web_request.c */
/* Read it all.  Answers itself on failure. */
int web_read_body(struct web_request *rq);

/* web_reply.c */
void web_refuse(struct web_request *rq, const struct web_refusal *r);
/* Status line and the headers that every answer has, without the empty line. */
void web_write_head(struct web_request *rq, int status,
    const char *content_type, struct buf *out);

#endif
