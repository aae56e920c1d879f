#include <stdio.h>

#include "gateway.h"

/* With several workers each has its label; a single one needs none. */
static void
worker_label(const struct fleet *f, int i, char *label, size_t size)
{
	snprintf(label, size, fleet_size(f) > 1 ? "worker=\"%s\"" : "%.0s",
	    upstream_name(fleet_at(f, i)));
}

static void
write_fleet(struct metrics *m, struct fleet *f)
{
	struct upstream_health h;
	char label[160];

	for (int i = 0; i < fleet_size(f); i++) {
		upstream_health(fleet_at(f, i), &h);
		worker_label(f, i, label, sizeof(label));
		metrics_gauge(m, "onebit_gateway_upstream_ready",
		    "1 if the decode worker takes requests.", label,
		    h.state == UPSTREAM_READY);
	}
	for (int i = 0; i < fleet_size(f); i++) {
		upstream_health(fleet_at(f, i), &h);
		worker_label(f, i, label, sizeof(label));
		metrics_gauge(m, "onebit_gateway_upstream_load",
		    "Requests that run or wait at the decode worker.", label,
		    (double)h.load);
	}
#define WRITE(name, doc)                                                      \
	for (int i = 0; i < fleet_size(f); i++) {                             \
		worker_label(f, i, label, sizeof(label));                     \
		metrics_counter(m, "onebit_gateway_" #name "_total", doc,     \
		    label, (double)upstream_counters(fleet_at(f, i))->name);  \
	}
	UPSTREAM_COUNTERS(WRITE)
#undef WRITE
}

void
route_metrics(struct web_request *rq, void *arg)
{
	struct gateway *gw = arg;
	struct buf out = { 0 };
	struct metrics m = { .out = &out };

	metrics_process(&m, "gateway");
	metrics_gauge(&m, "onebit_gateway_active_streams",
	    "Requests being answered.", "", places_used(&gw->places));
	write_fleet(&m, gw->fleet);
	stats_write(&gw->stats, &m);
	if (out.failed)
		web_reply_error(rq, 500, "server_error", "no_memory", NULL,
		    "memory is short");
	else
		web_reply(rq, 200, "text/plain; version=0.0.4; charset=utf-8",
		    out.data, out.len);
	buf_free(&out);
}
