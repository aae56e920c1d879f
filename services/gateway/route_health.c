/*
 * Probes.  /health copies llama-server's bytes, which scripts match; /livez
 * says that the process answers, /readyz whether a chat would be answered now.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "conf.h"
#include "gateway.h"

static void
reply_text(struct web_request *rq, int status, const char *text)
{
	web_reply(rq, status, "application/json; charset=utf-8", text,
	    strlen(text));
}

void
route_health(struct web_request *rq, void *arg)
{
	struct gateway *gw = arg;
	struct upstream_health h;

	fleet_health(gw->fleet, &h);
	if (h.state == UPSTREAM_READY) {
		reply_text(rq, 200, "{\"status\":\"ok\"}");
		return;
	}
	web_set_header(rq, "Retry-After", "1");
	reply_text(rq, 503, h.state == UPSTREAM_LOADING ?
	    "{\"error\":{\"code\":503,\"message\":\"Loading model\","
	    "\"type\":\"unavailable_error\"}}" :
	    "{\"error\":{\"code\":503,\"message\":\"Worker down\","
	    "\"type\":\"unavailable_error\"}}");
}

void
route_livez(struct web_request *rq, void *arg)
{
	(void)arg;
	reply_text(rq, 200, "{\"status\":\"ok\"}");
}

/* One unit; since_ms: clock_ms() of its last change. */
static json_t *
unit_json(const char *unit, bool ready, const char *reason, int64_t since_ms)
{
	int64_t ago_s = (clock_ms() - since_ms) / 1000;
	time_t since = time(NULL) - (time_t)ago_s;
	struct tm tm;
	char stamp[32];

	gmtime_r(&since, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_pack("{s:s, s:b, s:s, s:s, s:I}", "unit", unit,
	    "ready", ready, "reason", reason, "since", stamp,
	    "since_s", (json_int_t)ago_s);
}

/* Each worker and the gateway. */
static json_t *
units_json(struct gateway *gw, bool draining)
{
	json_t *units = json_array(), *unit;
	struct upstream_health h;
	struct upstream_model m;

	for (int i = 0; i < fleet_size(gw->fleet); i++) {
		struct upstream *u = fleet_at(gw->fleet, i);

		upstream_health(u, &h);
		unit = unit_json("decode", h.state == UPSTREAM_READY, h.reason,
		    h.since_ms);
		json_object_set_new(unit, "worker",
		    json_string(upstream_name(u)));
		json_object_set_new(unit, "model", json_string(
		    upstream_model(u, &m, NULL) == 0 ? m.id : ""));
		json_array_append_new(units, unit);
	}
	json_array_append_new(units, unit_json("gateway", !draining,
	    draining ? "draining" : "", gw->start_ms));
	return units;
}

void
route_readyz(struct web_request *rq, void *arg)
{
	struct gateway *gw = arg;
	bool draining = gw->draining, ready;
	struct upstream_health h;
	char value[16], unit[16] = "";
	json_t *v;

	fleet_health(gw->fleet, &h);
	ready = h.state == UPSTREAM_READY && !draining;
	if (web_query_get(rq, "unit", unit, sizeof(unit)) &&
	    strcmp(unit, "decode") != 0 && strcmp(unit, "gateway") != 0) {
		web_reply_error(rq, 404, "not_found_error", "not_found",
		    "unit", "there is no unit of that name");
		return;
	}
	if (strcmp(unit, "decode") == 0)
		ready = h.state == UPSTREAM_READY;
	else if (strcmp(unit, "gateway") == 0)
		ready = !draining;
	v = json_pack("{s:s}", "status", ready ? "ready" : "not ready");
	if (!ready)
		json_object_set_new(v, "reason",
		    json_string(draining ? "draining" : h.reason));
	if (web_query_get(rq, "verbose", value, sizeof(value)))
		json_object_set_new(v, "units", units_json(gw, draining));
	if (!ready)
		web_set_header(rq, "Retry-After", "1");
	web_reply_json(rq, ready ? 200 : 503, v);
}

void
route_root(struct web_request *rq, void *arg)
{
	(void)arg;
	web_reply_json(rq, 200, json_pack("{s:s, s:s, s:s, s:[s, s, s, s, s]}",
	    "name", "1bit-halo-server", "version", ONEBIT_VERSION, "about",
	    "an OpenAI-compatible gateway to a local ternary language model",
	    "routes", "POST /v1/chat/completions", "POST /v1/completions",
	    "GET /v1/models", "GET /readyz?verbose", "GET /metrics"));
}
