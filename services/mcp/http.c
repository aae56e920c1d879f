#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clock.h"
#include "fetch.h"
#include "http.h"
#include "log.h"

enum { SELF_CHECK_MS = 1000 };

/* Does the Accept header admit type/subtype?  Wildcards count, a weight of
 * zero is not looked at. */
static bool
accepts(const char *accept, const char *type, const char *subtype)
{
	size_t n = strlen(type);

	for (const char *p = accept; p != NULL; p = strchr(p, ',')) {
		p += strspn(p, ", \t");
		if (strncmp(p, "*/*", 3) == 0)
			return true;
		if (strncasecmp(p, type, n) != 0 || p[n] != '/')
			continue;
		if (p[n + 1] == '*' ||
		    (strncasecmp(p + n + 1, subtype, strlen(subtype)) == 0 &&
		    strchr("; \t,", p[n + 1 + strlen(subtype)]) != NULL))
			return true;
	}
	return accept == NULL;
}

static bool
is_json(const char *content_type)
{
	static const char json[] = "application/json";
	size_t n = sizeof(json) - 1;

	return content_type != NULL &&
	    strncasecmp(content_type, json, n) == 0 &&
	    strchr("; \t", content_type[n]) != NULL;
}

/* Also the end of every answer: nothing on the way may buffer or keep it. */
static void
reply(struct web_request *rq, int status, json_t *body)
{
	web_set_header(rq, "Cache-Control", "no-store");
	if (body == NULL)
		web_reply(rq, status, NULL, "", 0);
	else
		web_reply_json(rq, status, body);
}

static void
refuse(struct web_request *rq, int status, enum rpc_code code, const char *why)
{
	reply(rq, status, dispatch_refusal(code, why));
}

static void
on_post(struct web_request *rq, void *arg)
{
	const char *accept = web_header(rq, "Accept"), *text, *id;
	struct http *h = arg;
	char opened[SESSION_ID_LEN + 1];
	struct peer p = {
		.http = true,
		.version = web_header(rq, "MCP-Protocol-Version"),
		.method = web_header(rq, "Mcp-Method"),
		.name = web_header(rq, "Mcp-Name"),
	};
	struct answer a;
	size_t n;

	if (!accepts(accept, "application", "json") ||
	    !accepts(accept, "text", "event-stream")) {
		refuse(rq, 406, RPC_TRANSPORT, "Accept must name both"
		    " application/json and text/event-stream");
		return;
	}
	if (!is_json(web_header(rq, "Content-Type"))) {
		refuse(rq, 415, RPC_TRANSPORT,
		    "Content-Type must be application/json");
		return;
	}
	if (web_body(rq, &text, &n) != 0)
		return;
	if ((id = web_header(rq, "Mcp-Session-Id")) != NULL)
		p.session = sessions_use(&h->sessions, id) ? PEER_OPEN :
		    PEER_UNKNOWN;
	dispatch(h->dispatch, &p, text, n, &a);
	if (a.opened) {
		sessions_begin(&h->sessions, opened);
		web_set_header(rq, "Mcp-Session-Id", opened);
	}
	reply(rq, a.http_status, a.body);
}

static void
on_delete(struct web_request *rq, void *arg)
{
	const char *id = web_header(rq, "Mcp-Session-Id");
	const char *version = web_header(rq, "MCP-Protocol-Version");
	struct http *h = arg;

	if (version != NULL && strcmp(version, "2026-07-28") == 0) {
		web_set_header(rq, "Allow", "POST");
		refuse(rq, 405, RPC_TRANSPORT,
		    "there are no sessions in 2026-07-28");
	} else if (id == NULL) {
		refuse(rq, 400, RPC_TRANSPORT,
		    "the Mcp-Session-Id header is missing");
	} else if (!sessions_end(&h->sessions, id)) {
		refuse(rq, 404, RPC_SESSION, "there is no such session");
	} else {
		reply(rq, 204, NULL);
	}
}

static void
on_health(struct web_request *rq, void *arg)
{
	(void)arg;
	web_reply_json(rq, 200, json_pack("{s:s}", "status", "ok"));
}

/* This unit is ready when it answers: that another is down is what it is asked
 * about.  ?verbose shows what the health tool shows. */
static void
on_readyz(struct web_request *rq, void *arg)
{
	struct http *h = arg;
	json_t *body = json_pack("{s:s, s:s}", "status", "ok", "unit", "mcp");
	json_t *out = NULL;
	char value[2];
	struct err e;

	if (web_query_get(rq, "verbose", value, sizeof(value)) ||
	    strcmp(web_query(rq), "verbose") == 0) {
		if (tool_health.call(&h->dispatch->stack, NULL, &out, &e) == 0)
			json_object_set(body, "units",
			    json_object_get(out, "units"));
		json_decref(out);
	}
	web_reply_json(rq, 200, body);
}

static void
on_metrics(struct web_request *rq, void *arg)
{
	struct http *h = arg;
	const struct tool_stats *t = &h->dispatch->tools;
	struct buf out = { 0 };
	struct metrics m = { .out = &out };
	char labels[96];

	metrics_process(&m, "mcp");
	metrics_counter(&m, "onebit_mcp_messages_total",
	    "JSON-RPC messages received.", "",
	    (double)h->dispatch->messages);
	metrics_counter(&m, "onebit_mcp_errors_total",
	    "Messages answered with an error.", "",
	    (double)h->dispatch->errors);
	metrics_gauge(&m, "onebit_mcp_sessions",
	    "Sessions of the 2025 protocol that exist.", "",
	    sessions_count(&h->sessions));
	for (int i = 0; tools[i] != NULL; i++) {
		snprintf(labels, sizeof(labels), "tool=\"%s\"", tools[i]->name);
		metrics_counter(&m, "onebit_mcp_tool_calls_total",
		    "Calls of tools.", labels, (double)t->calls[i]);
	}
	for (int i = 0; tools[i] != NULL; i++) {
		snprintf(labels, sizeof(labels), "tool=\"%s\"", tools[i]->name);
		metrics_counter(&m, "onebit_mcp_tool_errors_total",
		    "Calls that ended in isError.", labels,
		    (double)t->errors[i]);
	}
	metrics_histogram(&m, "onebit_mcp_tool_seconds",
	    "Time that a call of a tool took.", "", &t->seconds);
	web_reply(rq, 200, "text/plain; version=0.0.4; charset=utf-8", out.data,
	    out.len);
	buf_free(&out);
}

static void
on_done(void *arg, const struct web_done *d)
{
	(void)arg;
	log_debug("done id=%s method=%s path=%s status=%d ms=%.1f bytes=%llu",
	    d->request_id, d->method, d->path, d->status, d->seconds * 1e3,
	    (unsigned long long)d->bytes_out);
}

static const struct web_route routes[] = {
	{ "POST", "/mcp", on_post, RPC_MESSAGE_MAX, WEB_PUBLIC | WEB_PREFLIGHT },
	{ "DELETE", "/mcp", on_delete, 0, WEB_PUBLIC | WEB_PREFLIGHT },
	{ "GET", "/health", on_health, 0, WEB_PUBLIC },
	{ "GET", "/livez", on_health, 0, WEB_PUBLIC },
	{ "GET", "/readyz", on_readyz, 0, WEB_PUBLIC },
	{ "GET", "/metrics", on_metrics, 0, WEB_PUBLIC },
	{ 0 }
};

int
http_start(struct http *h, struct dispatch *d, const char *bind, int n_threads,
    const char *hosts, const char *origins, struct err *e)
{
	const char *port = strrchr(bind, ':');
	int any = strncmp(bind, "0.0.0.0:", 8) == 0;

	h->dispatch = d;
	h->start_ms = clock_ms();
	sessions_init(&h->sessions);
	h->config = (struct web_config){
		.bind = bind, .n_threads = n_threads, .routes = routes,
		.arg = h, .hosts = hosts[0] != '\0' ? hosts : NULL,
		.origins = origins[0] != '\0' ? origins : NULL,
		.request_id_prefix = "mcp_", .on_done = on_done,
	};
	snprintf(h->self_url, sizeof(h->self_url), "http://%s/livez",
	    any ? "127.0.0.1" : bind);
	if (any && port != NULL)
		snprintf(h->self_url, sizeof(h->self_url),
		    "http://127.0.0.1%s/livez", port);
	return web_start(&h->web, &h->config, e);
}

bool
http_answers(const struct http *h)
{
	struct buf body = { 0 };
	struct err e;
	int status = 0;
	int r = fetch(h->self_url, NULL, SELF_CHECK_MS, &status, &body, &e);

	buf_free(&body);
	return r == 0 && status == 200;
}

int
http_stop(struct http *h, int timeout_ms)
{
	return web_stop(h->web, timeout_ms);
}
