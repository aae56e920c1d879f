/*
 * 1bit-halo-server -- the gateway: OpenAI's HTTP in front, a decode worker
 * behind.  See DESIGN.md.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "clock.h"
#include "conf.h"
#include "gateway.h"
#include "log.h"
#include "loop.h"
#include "notify.h"
#include "unit_answer.h"

/* For idle and slow connections, and probes.  A thread that waits has 14 KB, so the
 * default of 640 in all stays below 20 MB. */
enum { SPARE_THREADS = 128, CUT_MS = 3000 };	/* CUT_MS: to say so to those cut */

static int
check_options(const void *values, struct err *e)
{
	return gateway_options_check(values, e);
}

static const struct conf_program program = {
	.name = "1bit-halo-server", .check = check_options,
	.summary = "The gateway: OpenAI-compatible HTTP for a local model.",
	.env_prefix = "HALO_SERVER_",
	.details =
	    "The file of --api-key-file has a key per line: 8 to 256 visible "
	    "ASCII characters,\nor sha256: and the 64 hex digits of its digest; "
	    "then, after blanks, any of\n\n"
	    "  admin      may see and end the sessions of others, and prompts\n"
	    "  name=ann   for the log (A-Z a-z 0-9 . _ -)\n"
	    "  rpm=60     requests a minute, 0: no limit; else that of --key-rpm\n"
	    "  tpm=9000   tokens a minute, likewise\n\n"
	    "Lines that begin with # are skipped.  SIGHUP reads it again; a file "
	    "that cannot\nbe used leaves the keys as they were.\n\n"
	    "Exit status: 0 after SIGTERM or SIGINT, 2 if an option or a file "
	    "cannot be\nused, 1 if something else is in the way (a taken port, "
	    "another gateway).\n",
};

/* What is wrong with the options or files is 2; what may pass is 1. */
static void
fail(const struct err *e)
{
	log_error("%s", e->text);
	exit(e->code == ERR_EXISTS || e->code == ERR_NO_MEMORY ||
	    e->code == ERR_UNAVAILABLE ? 1 : 2);
}

static void
configure(int argc, char *argv[], struct gateway *gw)
{
	struct gateway_options *o = &gw->options;
	struct err e;

	log_init("gateway", LOG_FORMAT_TEXT, 0);
	conf_main(&program, gateway_options_fields(), sizeof(*o), argc, argv,
	    o);
	log_init("gateway", strcmp(o->log_format, "json") == 0 ?
	    LOG_FORMAT_JSON : LOG_FORMAT_TEXT, o->verbose);
	auth_init(&gw->auth);
	if (o->api_key_file[0] != '\0' &&
	    auth_load(&gw->auth, o->api_key_file, &e) != 0)
		fail(&e);
	places_init(&gw->places, (int)o->max_streams);
	queue_init(&gw->queue);
	if (rates_create(&gw->rates, &e) != 0)
		fail(&e);
	if (auth_count(&gw->auth) == 0 && !web_is_loopback(o->bind))
		log_warn("NO API KEY IS ASKED FOR and %s can be reached from "
		    "other machines: anybody there may use this service; see "
		    "--api-key-file", o->bind);
}

static void
start(struct gateway *gw, const struct fleet_config *fleet)
{
	static struct web_config config;
	const struct gateway_options *o = &gw->options;
	struct err e;
	long files;

	if (bus_lock(fleet->dir, "gateway", &e) != 0 ||
	    fleet_create(&gw->fleet, fleet, &e) != 0)
		fail(&e);
	config = (struct web_config){
		.bind = o->bind, .routes = gateway_routes, .arg = gw,
		.n_threads = (int)o->max_streams + SPARE_THREADS,
		.authorize = gateway_authorize,
		.hosts = o->hosts[0] != '\0' ? o->hosts : NULL,
		.origins = o->origins[0] != '\0' ? o->origins : NULL,
		.request_id_prefix = "req_", .processing_ms = true,
		.on_done = gateway_on_done,
	};
	if ((files = web_raise_files(config.n_threads)) != 0)
		log_warn("only %ld files may be open (LimitNOFILE=, ulimit -n): too "
		    "few for %d streams and their probes, see --max-streams", files,
		    (int)o->max_streams);
	if (web_start(&gw->web, &config, &e) != 0)
		fail(&e);
}

struct tick {
	struct gateway *gw;
	struct bus_server *server;
	bool watched;		/* the service manager waits for signs of life */
	enum upstream_state state;	/* as the service manager was told */
};

static void
on_tick(void *arg)
{
	struct tick *t = arg;
	struct upstream_health h;

	if (t->watched && bus_server_healthy(t->server))
		notify_alive();
	parked_expire(&t->gw->parked, clock_ms());
	fleet_health(t->gw->fleet, &h);
	if (h.state != t->state)
		notify_status(h.state == UPSTREAM_READY ? "ready" : h.reason);
	t->state = h.state;
}

/* The keys alone: everything else is read at the start. */
static void
on_reload(void *arg)
{
	struct tick *t = arg;
	const char *path = t->gw->options.api_key_file;
	struct upstream_health h;
	struct err e;

	if (path[0] == '\0') {
		log_info("SIGHUP: there is no key file to read again");
		return;
	}
	notify_reloading();
	if (auth_load(&t->gw->auth, path, &e) == 0)
		log_info("keys read again keys=%zu", auth_count(&t->gw->auth));
	else
		log_error("%s; the keys of before stay in force", e.text);
	fleet_health(t->gw->fleet, &h);
	notify_ready(h.state == UPSTREAM_READY ? "ready" : h.reason);
}

int
main(int argc, char *argv[])
{
	static struct gateway gw;
	static struct fleet_config fleet;
	static struct tick tick = { .gw = &gw };
	static struct loop loop = { .tick_ms = 1000, .tick = on_tick,
		.reload = on_reload, .arg = &tick };
	struct err e;
	int n_cut, r;

	/* Of all threads few allocate at once; many arenas would each keep
	 * what they once had. */
	mallopt(M_ARENA_MAX, 2);
	configure(argc, argv, &gw);
	fleet = (struct fleet_config){
		.dir = conf_runtime_dir(gw.options.runtime_dir),
		.upstreams = gw.options.upstream,
		.request_ms = gw.options.request_timeout_s * 1000,
		.resume_ms = gw.options.resume_timeout_s * 1000,
	};
	stats_init(&gw.stats);
	parked_init(&gw.parked, gw.options.resume_window_s * 1000,
	    (size_t)gw.options.resume_window_mb << 20);
	random_hex(gw.boot, 8);
	gw.start_ms = clock_ms();
	if (loop_init(&loop) != 0)
		return 1;
	start(&gw, &fleet);
	if (bus_serve(&tick.server, fleet.dir, "gateway", 2, unit_answer, &gw,
	    &e) != 0)
		fail(&e);
	tick.watched = notify_interval_ms() > 0;
	if (tick.watched && notify_interval_ms() < loop.tick_ms)
		loop.tick_ms = notify_interval_ms();

	loop_ready(&loop);
	log_info("serving http://%s workers=%d first=%s keys=%zu boot=%s",
	    gw.options.bind, fleet_size(gw.fleet),
	    upstream_name(fleet_at(gw.fleet, 0)), auth_count(&gw.auth),
	    gw.boot);
	notify_ready("waiting for the worker");
	r = loop_run(&loop);
	notify_stopping();
	gw.ends_ms = clock_ms() + gw.options.drain_timeout_s * 1000;
	gw.draining = true;
	log_info("draining active=%d", web_active(gw.web));
	n_cut = web_stop(gw.web, (int)gw.options.drain_timeout_s * 1000 + CUT_MS);
	log_info("stopped cut=%d", n_cut + gw.n_cut);
	return r == 0 ? 0 : 1;
}
