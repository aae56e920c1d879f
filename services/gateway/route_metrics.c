#include "gateway.h"

static void
write_upstream(struct metrics *m, struct upstream *u)
{
	struct upstream_counters *c = upstream_counters(u);
	struct upstream_health h;

	upstream_health(u, &h);
	metrics_gauge(m, "onebit_gateway_upstream_ready",
	    "1 if the decode worker takes requests.", "",
	    h.state == UPSTREAM_READY);
	metrics_counter(m, "onebit_gateway_gaps_total",
	    "Times that an event did not follow the one before.", "",
	    (double)c->gaps);
	metrics_counter(m, "onebit_gateway_replays_total",
	    "Times that a worker was asked for pieces again.", "",
	    (double)c->replays);
	metrics_counter(m, "onebit_gateway_resumes_total",
	    "Requests that went on in another life of a worker.", "",
	    (double)c->resumes);
	metrics_counter(m, "onebit_gateway_cancelled_total",
	    "Requests that ended because their client left.", "",
	    (double)c->cancelled);
	metrics_counter(m, "onebit_gateway_lost_total",
	    "Requests given up because their worker did not come back.", "",
	    (double)c->lost);
	metrics_counter(m, "onebit_gateway_diverged_total",
	    "Pieces that came twice and not the same; 0 unless a worker is "
	    "wrong.", "", (double)c->diverged);
	metrics_counter(m, "onebit_gateway_bad_events_total",
	    "Events that were not what was declared, or of a worker that is "
	    "gone.", "", (double)c->bad_events);
}

void
route_metrics(struct web_request *rq, void *arg)
{
	struct gateway *gw = arg;
	struct buf out = { 0 };
	struct metrics m = { .out = &out };

	metrics_process(&m, "gateway");
	metrics_gauge(&m, "onebit_gateway_active_streams",
	    "Requests being answered.", "", gw->n_answering);
	write_upstream(&m, gw->upstream);
	stats_write(&gw->stats, &m);
	if (out.failed)
		web_reply_error(rq, 500, "server_error", "no_memory", NULL,
		    "memory is short");
	else
		web_reply(rq, 200, "text/plain; version=0.0.4; charset=utf-8",
		    out.data, out.len);
	buf_free(&out);
}
