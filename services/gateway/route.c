/*
 * The table of routes.  Health is public; everything else asks for a key if
 * there are keys.
 */
#include <string.h>

#include "caller.h"
#include "clock.h"
#include "gateway.h"
#include "log.h"
#include "openai_request.h"

enum { RESTART_MS = 1000 };	/* until another gateway may be there */

/* Bodies of requests that need none: many clients send {} with whatever they do. */
enum { IGNORED_MAX = 4096 };

const struct web_route gateway_routes[] = {
	{ "POST", "/v1/chat/completions", route_chat, OPENAI_BODY_MAX,
	  WEB_PREFLIGHT },
	{ "POST", "/v1/completions", route_completions, OPENAI_BODY_MAX,
	  WEB_PREFLIGHT },
	{ "POST", "/v1/embeddings", route_embeddings, OPENAI_BODY_MAX,
	  WEB_PREFLIGHT },
	{ "POST", "/tokenize", route_tokenize, OPENAI_BODY_MAX, WEB_PREFLIGHT },
	{ "POST", "/v1/tokenize", route_tokenize, OPENAI_BODY_MAX,
	  WEB_PREFLIGHT },
	{ "POST", "/detokenize", route_detokenize, OPENAI_BODY_MAX,
	  WEB_PREFLIGHT },
	{ "POST", "/v1/detokenize", route_detokenize, OPENAI_BODY_MAX,
	  WEB_PREFLIGHT },
	{ "POST", "/apply-template", route_apply_template, OPENAI_BODY_MAX,
	  WEB_PREFLIGHT },
	{ "POST", "/v1/apply-template", route_apply_template, OPENAI_BODY_MAX,
	  WEB_PREFLIGHT },
	{ "GET", "/v1/stream", route_stream, 0, WEB_PREFLIGHT | WEB_NO_HEAD },
	{ "DELETE", "/v1/stream", route_stream_delete, IGNORED_MAX,
	  WEB_PREFLIGHT },
	{ "GET", "/props", route_props, 0, WEB_PREFLIGHT },
	{ "GET", "/slots", route_slots, 0, WEB_PREFLIGHT },
	{ "POST", "/v1/responses", route_later, OPENAI_BODY_MAX,
	  WEB_PREFLIGHT },
	{ "POST", "/v1/messages", route_later, OPENAI_BODY_MAX,
	  WEB_PREFLIGHT },
	{ "POST", "/v1/messages/count_tokens", route_later, OPENAI_BODY_MAX,
	  WEB_PREFLIGHT },
	{ "POST", "/completion", route_later, OPENAI_BODY_MAX, WEB_PREFLIGHT },
	{ "POST", "/infill", route_later, OPENAI_BODY_MAX, WEB_PREFLIGHT },
	{ "GET", "/api/*", route_later, 0, WEB_PREFLIGHT },
	{ "POST", "/api/*", route_later, OPENAI_BODY_MAX, WEB_PREFLIGHT },
	{ "GET", "/v1/models", route_models, 0, WEB_PREFLIGHT },
	{ "GET", "/v1/models/*", route_model, 0, WEB_PREFLIGHT },
	{ "GET", "/v1/sessions", route_sessions, 0, WEB_PREFLIGHT },
	{ "GET", "/v1/sessions/*", route_session, 0, WEB_PREFLIGHT },
	{ "DELETE", "/v1/sessions/*", route_session_delete, IGNORED_MAX,
	  WEB_PREFLIGHT },
	{ "POST", "/v1/sessions/*/pin", route_session_op, IGNORED_MAX, WEB_PREFLIGHT },
	{ "POST", "/v1/sessions/*/unpin", route_session_op, IGNORED_MAX, WEB_PREFLIGHT },
	{ "POST", "/v1/sessions/*/save", route_session_op, IGNORED_MAX, WEB_PREFLIGHT },
	{ "POST", "/v1/sessions/*/restore", route_session_op, IGNORED_MAX,
	  WEB_PREFLIGHT },
	{ "POST", "/v1/sessions/*/fork", route_session_op, 4096, WEB_PREFLIGHT },
	{ "GET", "/health", route_health, 0, WEB_PUBLIC },
	{ "GET", "/v1/health", route_health, 0, WEB_PUBLIC },
	{ "GET", "/livez", route_livez, 0, WEB_PUBLIC },
	{ "GET", "/readyz", route_readyz, 0, WEB_PUBLIC },
	{ "GET", "/metrics", route_metrics, 0, 0 },
	{ "GET", "/", route_root, 0, WEB_PUBLIC },
	{ 0 },
};

bool
gateway_authorize(void *arg, struct web_request *rq, const char *bearer)
{
	struct gateway *gw = arg;
	struct auth_key key;

	if (!auth_find(&gw->auth, bearer, &key))
		return false;
	web_set_who(rq, key.name);
	caller_show_limits(gw, rq, &key);
	return true;
}

bool
gateway_is_over(const struct gateway *gw)
{
	int64_t ends_ms = gw->ends_ms;

	return ends_ms != 0 && clock_ms() >= ends_ms;
}

int
gateway_cut(struct gateway *gw, struct err *e)
{
	if (!gateway_is_over(gw))
		return 0;
	gw->n_cut++;
	err_set(e, ERR_DRAINING, "the service stops before this answer is complete");
	e->retry_after_ms = RESTART_MS;
	return ERR_DRAINING;
}

/* The row's own strings, so that what a client writes is neither kept nor
 * logged. */
static const char *
route_of(const char *path)
{
	for (const struct web_route *r = gateway_routes; r->path != NULL; r++) {
		const char *star = strchr(r->path, '*');
		size_t n = star == NULL ? 0 : (size_t)(star - r->path);

		if (strcmp(r->path, path) == 0 || (star != NULL &&
		    strncmp(r->path, path, n) == 0 && strcmp(star + 1,
		    path + n + strcspn(path + n, "/")) == 0))
			return r->path;
	}
	return "other";
}

static const char *
method_of(const char *method)
{
	static const char *const known[] = {
		"GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT",
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i], method) == 0)
			return known[i];
	return "other";
}

void
gateway_on_done(void *arg, const struct web_done *d)
{
	struct gateway *gw = arg;
	const char *route = route_of(d->path), *method = method_of(d->method);
	const char *key = d->who[0] != '\0' ? d->who : "-";

	stats_count(&gw->stats, method, route, d->status);
	if (strcmp(method, "POST") == 0 || d->status >= 400)
		log_info("request=%s key=%s method=%s route=%s status=%d "
		    "ms=%.1f bytes=%llu", d->request_id, key, method, route,
		    d->status, d->seconds * 1e3,
		    (unsigned long long)d->bytes_out);
	else
		log_debug("request=%s key=%s method=%s route=%s status=%d "
		    "ms=%.1f bytes=%llu", d->request_id, key, method, route,
		    d->status, d->seconds * 1e3,
		    (unsigned long long)d->bytes_out);
}
