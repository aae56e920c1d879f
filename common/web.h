#ifndef COMMON_WEB_H
#define COMMON_WEB_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

/*
 * HTTP/1.1 for the daemons, over CivetWeb 1.15.  What is peculiar to that
 * library stands in web*.c and nowhere else (its prefix-matching router, CORS
 * defaults, error pages that reflect the request, form parser, file server,
 * TLS, keep-alive and mg_stop are not used, or only with care).
 *
 * Every request is checked before a handler sees it: framing (one Host, one
 * Content-Length or chunked, no smuggling), at most 63 headers, exact
 * byte-wise route, method (405 with Allow), Host (421: DNS rebinding), Origin,
 * size of the body (413).  Error bodies are OpenAI's four-key object.  One
 * request per connection.
 *
 * Thread rule: a handler runs on the connection's own thread (stack 100 KiB:
 * no large locals), many at once.  A web_request belongs to that thread.
 */
struct web;
struct web_request;

typedef void web_handler(struct web_request *rq, void *arg);

enum web_flags {
	WEB_PUBLIC = 1,		/* no key is asked for */
	WEB_PREFLIGHT = 2,	/* CORS: browsers may call it */
	WEB_NO_HEAD = 4,	/* a GET that changes something: no HEAD of it */
};

struct web_route {
	const char *method;	/* "GET" (also answers HEAD), "POST", "DELETE" */
	const char *path;	/* exact; one segment may be "*", which matches any */
	web_handler *fn;
	size_t body_max;	/* bytes; 0: no body */
	unsigned flags;
};

/* A request that was answered, for on_done.  All borrowed. */
struct web_done {
	const char *request_id, *method;
	const char *path;	/* "-" if it cannot be shown */
	const char *who;	/* what web_set_who said, or "" */
	int status;
	double seconds;
	uint64_t bytes_out;
};

struct web_config {
	const char *bind;	/* "127.0.0.1:8180", "0.0.0.0:8180"; IPv4 only;
				 * port 0: one that is free, see web_port */
	int n_threads;		/* connections served at once */
	const struct web_route *routes;	/* ends with { 0 }; static */
	void *arg;		/* for the handlers */
	/*
	 * Asked for every route that is not WEB_PUBLIC.  NULL: everyone may.
	 * bearer: what follows "Bearer ", or X-Api-Key, or NULL.  It may set
	 * headers for the answer and say who asks (web_set_who).
	 */
	bool (*authorize)(void *arg, struct web_request *rq,
	    const char *bearer);
	/*
	 * Host names that may be asked for besides the bound address, localhost,
	 * any IP literal, this machine's own name and what containers call it:
	 * NULL, or names separated by commas, or "*".
	 */
	const char *hosts;
	/*
	 * Origin values that are allowed, likewise.  Those of loopback are, and
	 * one that equals the Host: our own pages.
	 */
	const char *origins;
	const char *request_id_prefix;	/* "req_" */
	bool processing_ms;	/* answers have OpenAI's header of that name */
	/*
	 * 0: 10 s.  For the whole body (of which a fifth may pass before less
	 * than 1 KiB/s is too slow), and for a client to take what was written.
	 */
	int body_timeout_ms, write_timeout_ms;
	/* One line per finished request, without its content; or NULL. */
	void (*on_done)(void *arg, const struct web_done *d);
};

/* Is bind written as in struct web_config?  0, or ERR_RANGE and what is wrong. */
int web_check_bind(const char *bind, struct err *e);

/* Can only this machine reach "127.0.0.1:80", "localhost:80", ...? */
bool web_is_loopback(const char *bind);

/*
 * Raise the limit of open files to what n_threads connections need.  0, or the
 * limit if it is lower and cannot be raised: then CivetWeb waits for a file to be
 * closed in a loop that takes a whole processor.
 */
long web_raise_files(int n_threads);

/*
 * Start listening.  ERR_EXISTS with a clear sentence if the port is taken,
 * ERR_UNAVAILABLE if no interface has the address (yet), ERR_NO_MEMORY if there
 * are not so many threads, ERR_RANGE if bind is malformed.  c and what it points
 * to must outlive *w.
 */
int web_start(struct web **w, const struct web_config *c, struct err *e);

/*
 * New requests are answered 503 draining; wait up to timeout_ms for those in
 * flight, then end.  Returns the number that was cut: for them
 * web_stream_write fails and web_client_gone is true, and they must return.
 * *w is freed.
 */
int web_stop(struct web *w, int timeout_ms);
bool web_draining(const struct web *w);
int web_active(const struct web *w);	/* requests being handled */
int web_port(const struct web *w);	/* the one it listens on */

/* What the request says.  All borrowed, valid until the handler returns. */
const char *web_method(const struct web_request *rq);
const char *web_path(const struct web_request *rq);
/* What "*" matched, percent-decoded: UTF-8 without control characters, or "". */
const char *web_path_tail(const struct web_request *rq);
const char *web_query(const struct web_request *rq);	/* raw, or "" */
/* Value of a query parameter, percent-decoded, into out [n]; false if absent.  One
 * that is malformed or does not fit is "", which is no value of any. */
bool web_query_get(const struct web_request *rq, const char *name, char *out,
    size_t n);
const char *web_header(const struct web_request *rq, const char *name);	/* or NULL */
const char *web_request_id(const struct web_request *rq);
/* The W3C traceparent that it came with, or NULL if that is none. */
const char *web_traceparent(const struct web_request *rq);
/* The key shown, also on a route that asks for none; or NULL. */
const char *web_bearer(const struct web_request *rq);

/* A name for on_done, at most 64 bytes of it: never the key itself. */
void web_set_who(struct web_request *rq, const char *name);

/*
 * The body, read whole within web.c's deadline; *data is borrowed and NUL-
 * terminated.  On failure the error has been answered and the handler returns.
 */
int web_body(struct web_request *rq, const char **data, size_t *n);

/*
 * The body as JSON through json_guarded; *v is a new reference.  The same.
 * Content-Type must be JSON; if it is absent or a form, which is what curl -d
 * says of everything, the body decides.
 */
int web_body_json(struct web_request *rq, json_t **v);

/*
 * A header for the answer, in place of one of the same name set before; before
 * web_reply* or web_stream_begin.  A value with anything but visible ASCII and
 * blanks is left out.
 */
void web_set_header(struct web_request *rq, const char *name,
    const char *value);

/* Answer once: whole. */
void web_reply(struct web_request *rq, int status, const char *content_type,
    const void *data, size_t n);
/* v is released. */
void web_reply_json(struct web_request *rq, int status, json_t *v);
/* The four-key error object, its status; Retry-After, retry-after-ms and
 * x-should-retry, which is false where waiting up to 60 s would not help. */
void web_reply_err(struct web_request *rq, const struct err *e);
/* The same with everything given; param and code may be NULL (JSON null). */
void web_reply_error(struct web_request *rq, int status, const char *type,
    const char *code, const char *param, const char *message);

/* The four-key object as JSON: {"error":{message,type,param,code}}. */
json_t *web_error_json(const struct err *e);

/*
 * Answer in pieces: chunked transfer encoding.  web_stream_write returns false
 * when the client is gone or has not taken it within 10 s; then only
 * web_stream_end is left to call.  web_stream_end(rq, false) leaves out the
 * last chunk, so that the client sees the answer as cut.  Headers that keep a
 * proxy from collecting the pieces are there without asking.
 */
void web_stream_begin(struct web_request *rq, int status,
    const char *content_type);
bool web_stream_write(struct web_request *rq, const void *data, size_t n);
void web_stream_end(struct web_request *rq, bool complete);

/*
 * The same without ever waiting, and from any one thread, if that of the handler is
 * known to do nothing with rq meanwhile: true if the client's socket took the piece,
 * or its first half; the other half goes out with the next web_stream_write.  False:
 * nothing was written, web_stream_write is to do it.
 */
bool web_stream_try(struct web_request *rq, const void *data, size_t n);

/*
 * Has the client closed its side (a half-close counts), or is the server about
 * to end?  Without writing; one poll(2).
 */
bool web_client_gone(struct web_request *rq);

#endif
