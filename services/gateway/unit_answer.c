#include "unit_answer.h"

#include "clock.h"
#include "conf.h"
#include "gateway.h"
#include "unit.h"

static json_t *
health(struct gateway *gw)
{
	struct upstream_health h;
	struct unit_health_is is = {
		.unit = "gateway", .boot = gw->boot, .ready = true,
		.reason = "", .version = ONEBIT_VERSION,
		.uptime_ms = clock_ms() - gw->start_ms,
	};

	fleet_health(gw->fleet, &h);
	if (gw->draining) {
		is.ready = false;
		is.reason = "draining";
	} else if (h.state != UPSTREAM_READY) {
		is.ready = false;
		is.reason = h.reason;
	}
	return field_encode(unit_health_is_fields(), &is);
}

static json_t *
stats(struct gateway *gw)
{
	struct upstream_counts c;
	struct unit_stats_are are = { .unit = "gateway" };
	json_t *obj;

	fleet_counters(gw->fleet, &c);
	are.values = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
	    "active_requests", (json_int_t)places_used(&gw->places),
	    "requests_total", (json_int_t)stats_requests(&gw->stats),
	    "prompt_tokens_total", (json_int_t)gw->stats.n_prompt,
	    "generated_tokens_total", (json_int_t)gw->stats.n_generated,
	    "gaps_total", (json_int_t)c.gaps,
	    "replays_total", (json_int_t)c.replays,
	    "resumes_total", (json_int_t)c.resumes,
	    "cancelled_total", (json_int_t)c.cancelled,
	    "lost_total", (json_int_t)c.lost);
	obj = field_encode(unit_stats_are_fields(), &are);
	json_decref(are.values);
	return obj;
}

void
unit_answer(void *arg, const struct frame *request, struct frame *reply)
{
	struct err e;

	if (request->type == UNIT_TYPE_health) {
		reply->type = UNIT_TYPE_health_is;
		reply->obj = health(arg);
	} else if (request->type == UNIT_TYPE_stats) {
		reply->type = UNIT_TYPE_stats_are;
		reply->obj = stats(arg);
	} else {
		err_set(&e, ERR_BAD_MESSAGE, "type %u is not a request of the "
		    "gateway", request->type);
		frame_set_error(reply, &e);
		return;
	}
	if (reply->obj == NULL) {
		err_set(&e, ERR_NO_MEMORY, "no memory for a reply");
		frame_set_error(reply, &e);
	}
}
