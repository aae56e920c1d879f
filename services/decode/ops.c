#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "conf.h"
#include "metrics.h"
#include "ops.h"

enum { OPS_THREADS = 16 };

static void
on_health(struct web_request *rq, void *arg)
{
	static const char ok[] = "{\"status\":\"ok\"}";
	static const char loading[] = "{\"error\":{\"code\":503,"
	    "\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}";
	static const char failed[] = "{\"error\":{\"code\":503,"
	    "\"message\":\"Self-check failed\",\"type\":\"unavailable_error\"}}";
	const struct service *sv = arg;
	const char *why;

	if (service_is_ready(arg, &why))
		web_reply(rq, 200, "application/json; charset=utf-8", ok,
		    sizeof(ok) - 1);
	else if (atomic_load(&sv->loaded) &&
	    sv->selfcheck.state == SELFCHECK_FAILED)
		web_reply(rq, 503, "application/json; charset=utf-8", failed,
		    sizeof(failed) - 1);
	else
		web_reply(rq, 503, "application/json; charset=utf-8", loading,
		    sizeof(loading) - 1);
}

static void
on_livez(struct web_request *rq, void *arg)
{
	(void)arg;
	web_reply(rq, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

static void
on_readyz(struct web_request *rq, void *arg)
{
	struct service *sv = arg;
	char verbose[8];
	const char *why;
	bool ready = service_is_ready(sv, &why);
	struct buf b = { 0 };

	buf_adds(&b, ready ? "ok\n" : "not ready\n");
	if (web_query_get(rq, "verbose", verbose, sizeof(verbose))) {
		buf_printf(&b, "decode: %s\n", ready ? "ready" : why);
		if (atomic_load(&sv->loaded))
			buf_printf(&b, "self-check: %s: %s\n",
			    selfcheck_name(sv->selfcheck.state),
			    sv->selfcheck.text);
		buf_printf(&b, "boot: %s\nuptime_ms: %lld\n", sv->boot,
		    (long long)(clock_ms() - sv->started_ms));
	}
	web_reply(rq, ready ? 200 : 503, "text/plain; charset=utf-8", b.data,
	    b.len);
	buf_free(&b);
}

/* The forward passes by kind of work: one metric after the other, since samples
 * of a name stand together. */
static void
write_kernels(struct metrics *m, const struct service *sv)
{
	static const struct {
		const char *name, *doc;
		double unit;
		size_t at;
	} all[] = {
		{ "onebit_decode_kernel_calls_total", "steps of this kind", 1,
		    offsetof(struct backend_op, calls) },
		{ "onebit_decode_kernel_seconds_total", "wall time in which "
		    "nothing else was done", 1e-9,
		    offsetof(struct backend_op, ns) },
		{ "onebit_decode_kernel_read_bytes_total", "read of weights and KV "
		    "cache", 1, offsetof(struct backend_op, bytes) },
	};
	struct backend_op ops[BACKEND_OPS_MAX];
	int n = sv->backend.ops == NULL ? 0 : sv->backend.ops(&sv->backend, ops);

	for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++)
		for (int i = 0; i < n; i++) {
			char labels[64];
			int64_t v;

			memcpy(&v, (const char *)&ops[i] + all[k].at, sizeof(v));
			snprintf(labels, sizeof(labels), "kernel=\"%s\"",
			    ops[i].name);
			metrics_counter(m, all[k].name, all[k].doc, labels,
			    (double)v * all[k].unit);
		}
}

static void
write_store(struct metrics *m, struct session_store *store)
{
	struct session_store_stats st;

	if (store == NULL)
		return;
	session_store_stats(store, &st);
#define COUNTER(metric, doc, labels, value) \
	metrics_counter(m, "onebit_decode_session_" metric, doc, labels, \
	    (double)(value));
	COUNTER("snapshots_total", "files of sessions", "what=\"written\"",
	    st.written)
	COUNTER("snapshots_total", "files of sessions", "what=\"restored\"",
	    st.restored)
	COUNTER("snapshots_total", "files of sessions", "what=\"refused\"",
	    st.refused)
	COUNTER("snapshots_total", "files of sessions", "what=\"failed\"",
	    st.failed)
	COUNTER("snapshots_total", "files of sessions", "what=\"deleted\"",
	    st.deleted)
	COUNTER("snapshot_written_bytes_total", "of files that were written", "",
	    st.bytes_written)
	COUNTER("snapshot_restored_bytes_total", "of files that were read", "",
	    st.bytes_restored)
#undef COUNTER
	metrics_gauge(m, "onebit_decode_session_snapshot_bytes",
	    "of all files, when one was last written", "", (double)st.bytes);
}

static void
write_engine(struct metrics *m, const struct service *sv)
{
	struct engine_stats st;

	engine_stats(sv->engine, &st);
#define COUNTER(name, metric, labels, doc) \
	metrics_counter(m, "onebit_decode_" metric, doc, labels, \
	    (double)st.name);
#define GAUGE(name, metric, labels, doc) \
	metrics_gauge(m, "onebit_decode_" metric, doc, labels, (double)st.name);
	ENGINE_COUNTERS(COUNTER)
	ENGINE_GAUGES(GAUGE)
#undef COUNTER
#undef GAUGE
	metrics_histogram(m, "onebit_decode_step_duration_seconds",
	    "forward pass and sampling of one step", "",
	    engine_step_times(sv->engine));
	metrics_histogram(m, "onebit_decode_queue_duration_seconds",
	    "from acceptance to a slot", "", engine_queue_times(sv->engine));
	metrics_counter(m, "onebit_decode_relistens_total",
	    "how often a socket had to be opened again", "",
	    bus_server_relistens(sv->requests) +
	    bus_publisher_relistens(sv->events));
	write_store(m, sv->store);
	write_kernels(m, sv);
	metrics_gauge(m, "onebit_decode_kv_bytes", "memory of the KV cache", "",
	    (double)sv->backend.kv_bytes);
	metrics_gauge(m, "onebit_decode_weights_locked",
	    "1 if the weights cannot be paged out", "", sv->model.locked);
	metrics_gauge(m, "onebit_decode_selfcheck", "logits against the file's "
	    "probe: 1 passed, 0 failed, -1 the file has none", "",
	    sv->selfcheck.state == SELFCHECK_PASSED ? 1 :
	    sv->selfcheck.state == SELFCHECK_FAILED ? 0 : -1);
}

static void
on_metrics(struct web_request *rq, void *arg)
{
	struct service *sv = arg;
	struct buf b = { 0 };
	struct metrics m = { .out = &b };
	const char *why;

	metrics_gauge(&m, "onebit_decode_ready", "1 if it takes requests", "",
	    service_is_ready(sv, &why));
	if (atomic_load(&sv->loaded))
		write_engine(&m, sv);
	metrics_process(&m, "decode");
	web_reply(rq, b.failed ? 500 : 200,
	    "text/plain; version=0.0.4; charset=utf-8", b.data, b.len);
	buf_free(&b);
}

/* Whoever asks may stand in another directory: the path is made absolute. */
static void
on_endpoints(struct web_request *rq, void *arg)
{
	const struct service *sv = arg;
	char *dir = realpath(sv->runtime_dir, NULL);
	struct err e;

	if (dir == NULL) {
		err_set(&e, ERR_SYSTEM, "runtime directory %.80s: %s",
		    sv->runtime_dir, strerror(errno));
		web_reply_err(rq, &e);
		return;
	}
	web_reply_json(rq, 200, json_pack("{s:s, s:o, s:o, s:s}",
	    "runtime_dir", dir,
	    "requests", json_sprintf("ipc://%s/decode.sock", dir),
	    "events", json_sprintf("ipc://%s/decode-events.sock", dir),
	    "boot", sv->boot));
	free(dir);
}

static const struct web_route routes[] = {
	{ "GET", "/health", on_health, 0, WEB_PUBLIC },
	{ "GET", "/livez", on_livez, 0, WEB_PUBLIC },
	{ "GET", "/readyz", on_readyz, 0, WEB_PUBLIC },
	{ "GET", "/metrics", on_metrics, 0, WEB_PUBLIC },
	{ "GET", "/v1/endpoints", on_endpoints, 0, WEB_PUBLIC },
	{ 0 },
};

int
ops_start(struct service *sv, struct web **w, struct err *e)
{
	static char bind[32];
	static struct web_config c = {
		.bind = bind, .n_threads = OPS_THREADS, .routes = routes,
		.request_id_prefix = "ops_",
	};

	snprintf(bind, sizeof(bind), "127.0.0.1:%d", (int)sv->options.port);
	c.arg = sv;
	return web_start(w, &c, e);
}
