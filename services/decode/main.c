/*
 * bitnet_decode -- the decode worker.  Interface: proto/decode.h.
 *
 * Exit status: 0 after SIGTERM or what was asked; 1 if the port or the runtime
 * directory is taken, memory is short, a result cannot be written or the
 * backend died; 2 for unusable arguments or files.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "conf.h"
#include "load.h"
#include "log.h"
#include "loop.h"
#include "measure.h"
#include "notify.h"
#include "ops.h"
#include "request.h"
#include "store_start.h"
#include "warmup.h"

enum {
	REQUEST_THREADS = 2 + SESSION_STORE_OPS,	/* those wait for disks */
	LEASE_MS = 50,		/* a lease that ran out is noticed by then */
	IDLE_MS = 500,		/* a sign of life for the watchdog, nothing else */
	UNACKED_MS = 1000,	/* after everything ended: a silence of two status
				 * periods, a replay, an ack */
};

static int
check_options(const void *values, struct err *e)
{
	return options_check(values, e);
}

static const struct conf_program program = {
	.name = "bitnet_decode", .check = check_options,
	.summary = "Runs a ternary language model for 1bit-halo-server.",
	.env_prefix = "HALO_DECODE_",
	.details =
	    "Files: decode.sock and decode-events.sock in the runtime "
	    "directory.\n"
	    "Exit status: 0 after SIGTERM; 1 if the port or the runtime "
	    "directory is in\n"
	    "use, memory is short or a result cannot be written; 2 for unusable\n"
	    "arguments or files.\n"
	    "Examples:\n"
	    "  bitnet_decode --model models/halo-demo.h1b --port 8080\n"
	    "  bitnet_decode --model models/halo-demo.h1b --bench 64 --json\n"
	    "  bitnet_decode --model models/halo-demo.h1b --ppl text.txt "
	    "--context 512\n",
};

struct compute {
	struct service *sv;
	pthread_t thread;
	atomic_bool stop, failed;
};

/* Status 2 is for what a start in a moment would not help. */
static void
die(const struct err *e)
{
	log_error("%s", e->text);
	exit(e->code == ERR_EXISTS || e->code == ERR_NO_MEMORY ||
	    e->code == ERR_STORAGE || e->code == ERR_UNAVAILABLE ? 1 : 2);
}

/* In its forward a backend fails when its device does. */
static void
die_of_device(struct err *e)
{
	if (e->code == ERR_SYSTEM)
		e->code = ERR_UNAVAILABLE;
	die(e);
}

static void
log_finished(const json_t *events)
{
	const json_t *v, *stats;
	size_t i;

	json_array_foreach(events, i, v) {
		const char *id = "", *finish = "";
		json_int_t n_prompt = 0, n_cached = 0, n_generated = 0;

		json_unpack((json_t *)v, "{s:s, s:s, s:o}", "id", &id,
		    "finish", &finish, "stats", &stats);
		if (finish[0] == '\0')
			continue;
		json_unpack((json_t *)stats, "{s:I, s:I, s:I}", "n_prompt",
		    &n_prompt, "n_cached", &n_cached, "n_generated",
		    &n_generated);
		log_info("done id=%s finish=%s prompt=%lld cached=%lld "
		    "generated=%lld", id, finish, (long long)n_prompt,
		    (long long)n_cached, (long long)n_generated);
	}
}

static void
publish(struct service *sv, uint32_t type, const struct field *fields,
    const void *m)
{
	struct frame f = { .type = type, .obj = field_encode(fields, m) };
	struct err e;

	if (bus_publish(sv->events, &f, &e) != 0)
		log_warn("an event is lost, ignoring, it can be replayed: %s",
		    e.text);
	frame_free(&f);
}

static void
on_step(void *arg, int64_t step, json_t *events)
{
	struct service *sv = arg;
	struct decode_step s = {
		.boot = sv->boot, .step = step, .time_us = clock_ns() / 1000,
		.events = events,
	};

	publish(sv, DECODE_TYPE_step, decode_step_fields(), &s);
	log_finished(events);
}

static void
before_step(void *arg, int64_t step, const struct plan *p)
{
	struct service *sv = arg;

	step_record_write(&sv->record, step, p);
}

static void
publish_status(struct service *sv)
{
	struct decode_status s;
	const char *why;

	engine_status(sv->engine, &s);
	s.ready = s.ready && service_is_ready(sv, &why);
	publish(sv, DECODE_TYPE_status, decode_status_fields(), &s);
	json_decref(s.held);
	json_decref(s.waiting);
	json_decref(s.prefill);
}

static int64_t
clock_us(void *arg)
{
	(void)arg;
	return clock_ns() / 1000;
}

static void *
compute_run(void *arg)
{
	struct compute *c = arg;
	struct err e = { 0 };
	bool worked = false;

	while (!atomic_load(&c->stop)) {
		if (engine_step(c->sv->engine, &worked, &e) != 0) {
			log_error("the backend failed: %s", e.text);
			atomic_store(&c->failed, true);
			return NULL;
		}
		if (!worked)
			engine_wait(c->sv->engine, LEASE_MS, IDLE_MS);
	}
	return NULL;
}

/* The main thread between two signals, every DECODE_STATUS_MS: heartbeat and watchdog. */
static void
on_tick(void *arg)
{
	static uint64_t beats;
	static int64_t alive_ms;
	struct compute *c = arg;
	uint64_t now_beats = engine_beats(c->sv->engine);
	int64_t now = clock_ms();

	if (atomic_load(&c->failed))
		exit(1);	/* a new process may find a working device */
	publish_status(c->sv);
	/* Often: an operation of a slow step may take most of the time there is. */
	if (notify_interval_ms() > 0 && now - alive_ms >=
	    notify_interval_ms() / 4 && now_beats != beats &&
	    bus_server_healthy(c->sv->requests) &&
	    bus_publisher_healthy(c->sv->events)) {
		notify_alive();
		alive_ms = now;
		beats = now_beats;
	}
}

/* Are the logits those of the file's probe?  If not, nothing is served.  And how
 * fast it is. */
static void
check_logits(struct service *sv, const struct backend_options *b)
{
	struct selfcheck_result *r = &sv->selfcheck;
	struct err e = { 0 };

	if (selfcheck_run(&sv->model, &sv->backend, b, r, &e) != 0)
		die_of_device(&e);
	if (r->state == SELFCHECK_FAILED)
		log_error("self-check failed on '%s', not serving: %s",
		    sv->backend.name, r->text);
	else
		log_info("self-check %s: %s", selfcheck_name(r->state), r->text);
	if (warmup_run(&sv->model.config, &sv->backend, b, r, &sv->pace, &e) != 0)
		die_of_device(&e);
}

static void
start_engine(struct service *sv, const struct backend_options *b)
{
	struct engine_config c = {
		.job = { &sv->model.config, sv->tokenizer, b->n_ctx },
		.backend = &sv->backend, .boot = sv->boot,
		.n_slots = (int)sv->options.slots,
		.queue_max = (int)sv->options.queue,
		.queue_tokens = sv->options.queue_tokens,
		.prefill_rows = sv->options.prefill_rows > 0 ?
		    (int32_t)sv->options.prefill_rows : sv->backend.prompt_rows,
		.prefix_cache = sv->options.prefix_cache,
		.sessions_max = (int)sv->options.sessions,
		.session_ttl_us = sv->options.session_ttl_s * 1000000,
		.on_turn = store_turn,
		.n_pages = b->n_pages, .step_rows = b->max_rows, .start = sv->pace,
		.clock_us = clock_us, .before_step = before_step,
		.on_step = on_step, .arg = sv,
	};
	struct err e = { 0 };

	if (options_speculate(&sv->options, &c.speculate, &e) != 0 ||
	    engine_create(&c, &sv->engine, &e) != 0 ||
	    bus_publisher_open(&sv->events, sv->runtime_dir, "decode-events",
	    &e) != 0)
		die(&e);
}

/* Without a record everybody here counts as at work: worse, but no reason not to
 * serve. */
static void
open_record(struct service *sv)
{
	char path[200];
	struct err e;

	snprintf(path, sizeof(path), "%s/decode.step", sv->runtime_dir);
	if (step_record_open(&sv->record, path, &e) != 0)
		log_warn("no record of steps: %s", e.text);
}

static void
say_ready(const struct service *sv, const struct backend_options *b)
{
	if (sv->selfcheck.state == SELFCHECK_FAILED) {
		/* Up, so that it can be asked why; systemd need not try again. */
		notify_ready("not serving: the self-check failed");
		return;
	}
	if (sv->backend.approximates)
		log_info("this model was trained without 8-bit activations; "
		    "this backend has 8 bits, so logits are close, not the same");
	if (sv->backend.prefers_t2)
		log_warn("this model is in b3, which this processor unpacks "
		    "slowly: convert it with --body t2");
	log_info("ready model=%s backend='%s' context=%d slots=%lld queue=%lld "
	    "kv_mb=%zu scratch_mb=%zu weights_mb=%zu locked=%s token_ms=%.3g "
	    "template=%s port=%lld boot=%s", sv->model_id, sv->backend.name,
	    (int)b->n_ctx, (long long)sv->options.slots,
	    (long long)sv->options.queue,
	    sv->backend.kv_bytes >> 20, sv->backend.scratch_bytes >> 20,
	    sv->model.map_size >> 20, sv->model.locked ? "yes" : "no",
	    sv->pace.row_us / 1e3, template_name(sv->template),
	    (long long)sv->options.port, sv->boot);
	notify_ready("serving");
}

/* Let what runs come to its end, and its end be taken. */
static void
drain(struct compute *c)
{
	struct service *sv = c->sv;
	int64_t start = clock_ms(), idle = 0, now;
	struct engine_stats st;

	notify_stopping();
	atomic_store(&sv->draining, true);
	engine_drain(sv->engine);
	log_info("stopping");
	for (;;) {
		on_tick(c);
		now = clock_ms();
		engine_stats(sv->engine, &st);
		if (st.running + st.queued > 0)
			idle = 0;
		else if (idle == 0)
			idle = now;
		if (st.held == 0 || now - start >= sv->options.drain_ms ||
		    (idle > 0 && now - idle >= UNACKED_MS))
			break;
		usleep(20000);
	}
	if (st.running + st.queued > 0)
		log_warn("%lld requests were cut", (long long)(st.running +
		    st.queued));
}

int
main(int argc, char *argv[])
{
	static struct service sv;
	static struct compute compute = { .sv = &sv };
	static struct loop loop = { .tick_ms = DECODE_STATUS_MS, .tick = on_tick,
		.arg = &compute };
	struct backend_options b;
	struct web *web = NULL;
	struct err e = { 0 };
	int r;

	log_init("decode", LOG_FORMAT_TEXT, 0);
	conf_main(&program, decode_options_fields(), sizeof(sv.options), argc,
	    argv, &sv.options);
	log_init("decode", strcmp(sv.options.log_format, "json") == 0 ?
	    LOG_FORMAT_JSON : LOG_FORMAT_TEXT, sv.options.verbose);
	b = (struct backend_options){ .name = sv.options.backend,
		.isa = sv.options.isa, .pin = sv.options.pin,
		.device = (int)sv.options.device, .gpu_step = sv.options.gpu_step };
	if (options_threads(&sv.options, &b.n_threads, &e) != 0)
		die(&e);
	if (json_array_size(sv.options.bench) > 0 || sv.options.ppl[0] != '\0') {
		if (load(&sv, &b, &e) != 0 || measure(&sv, &b, &e) != 0)
			die(&e);
		return 0;
	}
	sv.runtime_dir = conf_runtime_dir(sv.options.runtime_dir);
	sv.started_ms = clock_ms();
	random_hex(sv.boot, DECODE_BOOT_LEN / 2);
	if (loop_init(&loop) != 0) {
		log_error("cannot take signals");
		return 1;
	}
	if (bus_lock(sv.runtime_dir, "decode", &e) != 0 ||
	    (sv.options.port != 0 && ops_start(&sv, &web, &e) != 0))
		die(&e);
	open_record(&sv);
	if (load(&sv, &b, &e) != 0)
		die(&e);
	check_logits(&sv, &b);
	start_engine(&sv, &b);
	store_start(&sv);
	loop_ready(&loop);
	step_record_begin(&sv.record, sv.boot);
	if (pthread_create(&compute.thread, NULL, compute_run, &compute) != 0) {
		log_error("cannot start the compute thread");
		return 1;
	}
	if (bus_serve(&sv.requests, sv.runtime_dir, "decode", REQUEST_THREADS,
	    request_answer, &sv, &e) != 0)
		die(&e);
	atomic_store(&sv.loaded, true);
	publish_status(&sv);
	say_ready(&sv, &b);
	r = loop_run(&loop);
	drain(&compute);
	atomic_store(&compute.stop, true);
	engine_drain(sv.engine);
	pthread_join(compute.thread, NULL);
	store_stop(&sv);
	step_record_clear(&sv.record);
	/* Sockets are left to exit, see bus.h; and the HTTP port, since ending
	 * it takes CivetWeb up to two seconds of our clients' pause. */
	for (int i = 0; web != NULL && web_active(web) > 0 && i < 100; i++)
		usleep(10000);
	return r == 0 ? 0 : 1;
}
