#ifndef MCP_HTTP_H
#define MCP_HTTP_H

#include "dispatch.h"
#include "session.h"
#include "web.h"

/*
 * MCP as Streamable HTTP: POST /mcp, and DELETE /mcp to end a session of the
 * 2025 era.  Answers are plain JSON: nothing here has anything to say between a
 * question and its answer, so GET /mcp (an event stream) is 405.  Beside it the
 * probes of every unit: /health, /livez, /readyz, /metrics.
 */
struct http {
	struct dispatch *dispatch;
	struct sessions sessions;
	struct web *web;
	struct web_config config;
	char self_url[96];	/* of /livez, for the watchdog */
	int64_t start_ms;
};

/* hosts, origins: as in web.h; borrowed while h lives. */
int http_start(struct http *h, struct dispatch *d, const char *bind,
    int n_threads, const char *hosts, const char *origins, struct err *e);

/* Does /livez answer?  Through the network, as a client would ask. */
bool http_answers(const struct http *h);

/* Finish what is in flight, at most timeout_ms; returns how many were cut. */
int http_stop(struct http *h, int timeout_ms);

#endif
