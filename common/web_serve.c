#include <string.h>

#include "clock.h"
#include "web_priv.h"

/*
 * begin_request takes every request that CivetWeb could parse, http_error the
 * others, and nothing of CivetWeb's own runs afterwards: no router, files,
 * CORS or error pages.
 */
enum { PATH_SHOWN_MAX = 128 };

#define INVALID "invalid_request_error"

static const struct web_refusal bad_layout = { 400, INVALID, "bad_request",
	"the request is not well-formed HTTP/1.1" };
static const struct web_refusal is_draining = { 503, "unavailable_error",
	"draining", "the service is about to stop" };
static const struct web_refusal unknown_url = { 404, "not_found_error",
	"unknown_url", "there is nothing at this path" };
static const struct web_refusal bad_method = { 405, INVALID,
	"method_not_allowed", "this path has other methods, see Allow" };
static const struct web_refusal no_key = { 401, "authentication_error",
	"invalid_api_key", "the key is missing or wrong: send "
	"Authorization: Bearer KEY" };
static const struct web_refusal too_large = { 413, INVALID, "body_too_large",
	"the body is larger than this route takes" };

static const char preflight_headers[] =
    "authorization, content-type, accept, x-api-key, x-request-id, "
    "x-1bit-session, x-1bit-halo-session, x-1bit-session-busy, "
    "x-1bit-session-ttl, "
    "x-session-id, x-conversation-id, x-openwebui-chat-id, session-id, "
    "x-stainless-arch, x-stainless-async, "
    "x-stainless-custom-poll-interval, x-stainless-helper-method, "
    "x-stainless-lang, x-stainless-os, x-stainless-package-version, "
    "x-stainless-poll-helper, x-stainless-retry-count, "
    "x-stainless-runtime, x-stainless-runtime-version, "
    "x-stainless-timeout, openai-organization, openai-project, openai-beta, "
    "idempotency-key, mcp-protocol-version, mcp-session-id, mcp-method, "
    "mcp-name, last-event-id, traceparent, tracestate";

/*
 * CivetWeb ends the words of a request with NULs where they stand, so what it
 * overlooked can be seen from where they stand: several blanks between words,
 * a blank before the colon, a line that ends in LF alone, a line after which
 * it stopped reading (folded, or with a name it did not like).
 */
static bool
is_well_laid_out(const struct mg_request_info *info)
{
	const char *method = info->request_method, *uri = info->request_uri;
	const char *query = info->query_string, *version = info->http_version;
	const char *end = query == NULL ? uri : query;
	const struct mg_header *h = info->http_headers;
	int i, n = info->num_headers;

	if (uri != method + strlen(method) + 1 ||
	    version != end + strlen(end) + 1 + strlen("HTTP/"))
		return false;
	end = version + strlen(version);
	for (i = 0; i < n; i++) {
		if (h[i].name != end + 2)	/* CR and LF */
			return false;
		end = h[i].name + strlen(h[i].name) + 1;
		if (end < h[i].value && *end == '\0')
			return false;
		end = h[i].value + strlen(h[i].value);
	}
	/* The empty line: its LF, the last byte of the head, is a NUL now. */
	return end[1] == '\0' && (n == 0 || (end[2] == '\r' && end[3] == '\0'));
}

static void
answer_options(struct web_request *rq, const char *allow)
{
	if (web_header(rq, "Access-Control-Request-Method") != NULL &&
	    rq->cors) {
		web_set_header(rq, "Access-Control-Allow-Methods", allow);
		web_set_header(rq, "Access-Control-Allow-Headers",
		    preflight_headers);
		web_set_header(rq, "Access-Control-Max-Age", "600");
		if (web_header(rq,
		    "Access-Control-Request-Private-Network") != NULL)
			web_set_header(rq,
			    "Access-Control-Allow-Private-Network", "true");
	} else
		web_set_header(rq, "Allow", allow);
	web_reply(rq, 204, NULL, NULL, 0);
}

/* May this client call rq->route?  Answers if not. */
static bool
is_authorized(struct web_request *rq)
{
	const struct web_config *c = rq->web->c;

	rq->bearer = web_check_bearer(web_header(rq, "Authorization"));
	if (rq->bearer == NULL)
		rq->bearer = web_header(rq, "X-Api-Key");
	if ((rq->route->flags & WEB_PUBLIC) || c->authorize == NULL ||
	    c->authorize(c->arg, rq, rq->bearer))
		return true;
	web_set_header(rq, "WWW-Authenticate", "Bearer");
	web_refuse(rq, &no_key);
	return false;
}

/* The checks that do not depend on the route, and the route. */
static const struct web_refusal *
check(struct web_request *rq, struct web_match *m)
{
	const struct mg_request_info *info = rq->info;
	const struct web_config *c = rq->web->c;
	const char *host = web_header(rq, "Host");
	const struct web_refusal *why;
	struct web_framing framing;

	/* Above the limit CivetWeb has dropped some: first of all. */
	why = web_check_framing(info->http_headers, info->num_headers,
	    info->http_version, &framing);
	if (why != NULL)
		return why;
	if (!is_well_laid_out(info))
		return &bad_layout;
	rq->length = framing.length;
	rq->chunked = framing.chunked;
	why = web_check_host(host, rq->web->host, rq->web->own, c->hosts);
	if (why == NULL)
		why = web_check_origin(web_header(rq, "Origin"), host,
		    c->origins);
	if (why != NULL)
		return why;
	rq->origin = web_header(rq, "Origin");
	if (!web_check_path(web_path(rq)))
		return &unknown_url;
	web_match(c->routes, web_method(rq), web_path(rq), m);
	rq->cors = rq->origin != NULL && (m->flags & WEB_PREFLIGHT);
	if (rq->web->draining)
		return &is_draining;
	if (m->allow[0] == '\0')
		return &unknown_url;
	return NULL;
}

static void
serve(struct web_request *rq)
{
	const struct web_refusal *why;
	const struct web_config *c = rq->web->c;
	struct web_match m = { 0 };

	why = check(rq, &m);
	if (why != NULL) {
		web_refuse(rq, why);
		return;
	}
	if (m.route == NULL && (m.flags & WEB_PREFLIGHT) &&
	    strcmp(web_method(rq), "OPTIONS") == 0) {
		answer_options(rq, m.allow);
		return;
	}
	if (m.route == NULL) {
		web_set_header(rq, "Allow", m.allow);
		web_refuse(rq, &bad_method);
		return;
	}
	rq->route = m.route;
	rq->tail = m.tail;
	if (!is_authorized(rq))
		return;
	if (rq->length > (int64_t)rq->route->body_max) {
		web_refuse(rq, &too_large);
		return;
	}
	if (rq->route->body_max == 0 && web_read_body(rq) != 0)
		return;		/* chunks that are not empty */
	rq->route->fn(rq, c->arg);
	if (rq->answer == WEB_UNANSWERED)
		web_reply_error(rq, 500, "server_error", "internal", NULL,
		    "the request was not answered");
	if (rq->answer == WEB_STREAMING)
		web_stream_end(rq, false);
}

static void
request_init(struct web_request *rq, struct mg_connection *conn)
{
	const char *prefix;
	size_t n;

	*rq = (struct web_request){
		.web = mg_get_user_data(mg_get_context(conn)),
		.conn = conn,
		.info = mg_get_request_info(conn),
		.tail = "",
		.fd = -1,
		.start_ns = clock_ns(),
	};
	prefix = rq->web->c->request_id_prefix;
	n = prefix == NULL ? 0 : strnlen(prefix, WEB_ID_MAX - 24);
	if (n > 0)
		memcpy(rq->id, prefix, n);
	random_hex(rq->id + n, 12);
}

static void
request_finish(struct web_request *rq)
{
	/* What is left of a body CivetWeb would read for as long as it takes. */
	mg_disable_connection_keep_alive(rq->conn);
	if (!rq->body_read && (rq->length > 0 || rq->chunked))
		web_conn_linger(rq);
	buf_free(&rq->body);
	buf_free(&rq->headers);
	buf_free(&rq->rest);
}

static void
report(const struct web_request *rq, const char *method, const char *path)
{
	const struct web_config *c = rq->web->c;

	if (c->on_done == NULL)
		return;
	if (!web_check_path(path) || strlen(path) > PATH_SHOWN_MAX)
		path = "-";
	c->on_done(c->arg, &(struct web_done){ .request_id = rq->id,
		.method = method, .path = path, .who = rq->who,
		.status = rq->status, .bytes_out = rq->bytes_out,
		.seconds = (double)(clock_ns() - rq->start_ns) / 1e9 });
}

/* CivetWeb's begin_request: every request it could parse. */
int
web_on_request(struct mg_connection *conn)
{
	struct web_request rq;
	const char *id;
	struct web *w;
	int status;

	request_init(&rq, conn);
	rq.head_only = strcmp(web_method(&rq), "HEAD") == 0;
	rq.old = strcmp(rq.info->http_version, "1.0") == 0;
	id = web_header(&rq, "X-Request-Id");
	if (id != NULL && web_check_id(id))
		memcpy(rq.id, id, strlen(id) + 1);
	w = rq.web;
	/* Counted before `draining` is read: web_stop sets it, then counts. */
	atomic_fetch_add(&w->active, 1);
	serve(&rq);
	report(&rq, web_method(&rq), web_path(&rq));
	status = rq.status;
	request_finish(&rq);
	atomic_fetch_sub(&w->active, 1);
	web_trim_stack();
	return status;
}

/*
 * CivetWeb's http_error: what it could not parse, so that nothing in info but
 * the addresses can be relied on.  Its text has raw bytes of the request.
 */
int
web_on_error(struct mg_connection *conn, int status, const char *text)
{
	struct web_request rq;

	(void)text;
	request_init(&rq, conn);
	if (status == 500)
		web_reply_error(&rq, 500, "server_error", "internal", NULL,
		    "the request could not be read");
	else if (status == 505)
		web_reply_error(&rq, 505, INVALID, "bad_request", NULL,
		    "only HTTP/1.1 is spoken here");
	else
		web_refuse(&rq, &bad_layout);
	report(&rq, "-", "-");
	web_conn_linger(&rq);
	request_finish(&rq);
	return 0;
}
