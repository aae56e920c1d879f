/*
 * 1bit-halo-mcp -- the stack's tools for MCP clients, over stdio or HTTP.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "conf.h"
#include "dispatch.h"
#include "fetch.h"
#include "http.h"
#include "lines.h"
#include "log.h"
#include "loop.h"
#include "notify.h"
#include "options.h"
#include "web.h"

enum {
	EXIT_UNUSABLE = 2,	/* arguments or files: a restart would not help */
	DRAIN_MS = 5000,	/* longer than any tool takes */
	TICK_MS = 1000,		/* without a watchdog */
};

static int
check_options(const void *values, struct err *e)
{
	const struct mcp_options *o = values;

	if (strcmp(o->log_format, "text") != 0 &&
	    strcmp(o->log_format, "json") != 0)
		return err_set(e, ERR_RANGE,
		    "log_format '%s' is neither text nor json", o->log_format);
	return o->bind[0] != '\0' ? web_check_bind(o->bind, e) : 0;
}

static const struct conf_program program = {
	.name = "1bit-halo-mcp", .check = check_options,
	.summary = "Serve the tools of the 1bit stack to MCP clients.",
	.env_prefix = "HALO_MCP_",
	.details =
	    "Without --bind it speaks MCP on stdin and stdout and ends with stdin.\n"
	    "\n"
	    "  1bit-halo-mcp --server http://127.0.0.1:8180   for a desktop client\n"
	    "  1bit-halo-mcp --runtime-dir /run/1bit-halo     the same, over the sockets\n"
	    "  1bit-halo-mcp --bind 127.0.0.1:8181            POST /mcp\n"
	    "\n"
	    "Exit status: 0 at the end of stdin or after SIGTERM, 1 after a failure,\n"
	    "2 for unusable arguments or files.\n",
};

static struct dispatch core;

static void
give_up(int status, const struct err *e)
{
	log_error("%s", e->text);
	exit(e->code == ERR_NO_MEMORY ? EXIT_FAILURE : status);
}

/* The first line of path, on the heap for the process's life. */
static char *
read_key(const char *path, struct err *e)
{
	FILE *fp = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;

	if (fp == NULL || getline(&line, &cap, fp) < 0) {
		err_set(e, ERR_BAD_FILE, "--api-key-file %s: %s", path,
		    fp == NULL ? "cannot be opened" : "is empty");
		free(line);
		line = NULL;
	} else {
		line[strcspn(line, "\r\n")] = '\0';
	}
	if (fp != NULL)
		fclose(fp);
	return line;
}

static void
open_stack(const struct mcp_options *o)
{
	int timeout_ms = (int)o->timeout_ms;
	const char *key = NULL;
	struct err e;

	if (fetch_init(&e) != 0)
		give_up(EXIT_FAILURE, &e);
	if (o->api_key_file[0] != '\0' &&
	    (key = read_key(o->api_key_file, &e)) == NULL)
		give_up(EXIT_UNUSABLE, &e);
	if (o->server[0] != '\0') {
		if (stack_http_open(&core.stack, o->server, key, timeout_ms,
		    &e) != 0)
			give_up(EXIT_UNUSABLE, &e);
	} else if (stack_bus_open(&core.stack, conf_runtime_dir(o->runtime_dir),
	    timeout_ms, &e) != 0) {
		give_up(EXIT_UNUSABLE, &e);
	}
}

static void
on_tick(void *arg)
{
	if (http_answers(arg))
		notify_alive();
	else
		log_warn("this program's own /livez does not answer");
}

/* l: signals are blocked since before the first thread. */
static int
serve_http(const struct mcp_options *o, struct loop *l)
{
	static struct http h;
	struct err e;
	int r, cut;

	if (http_start(&h, &core, o->bind, (int)o->threads, o->hosts,
	    o->origins, &e) != 0)
		give_up(e.code == ERR_RANGE ? EXIT_UNUSABLE : EXIT_FAILURE, &e);
	l->tick_ms = notify_interval_ms() > 0 ? notify_interval_ms() : TICK_MS;
	l->tick = notify_interval_ms() > 0 ? on_tick : NULL;
	l->arg = &h;
	if (!web_is_loopback(o->bind))
		log_warn("NO KEY IS ASKED FOR and %s can be reached from other "
		    "machines: anybody there may call the tools", o->bind);
	loop_ready(l);
	log_info("ready bind=%s", o->bind);
	notify_ready("serving MCP");
	r = loop_run(l);
	notify_stopping();
	log_info("stopping");
	if ((cut = http_stop(&h, DRAIN_MS)) > 0)
		log_warn("%d requests were cut", cut);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* As a unit whose file has no bind: nobody could ask, and to end well would make
 * systemd start it again and again. */
static bool
is_null(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
	    st.st_rdev == makedev(1, 3);
}

static int
serve_stdio(void)
{
	struct err e;

	if (is_null(STDIN_FILENO)) {
		log_error("there is no --bind, and stdin is /dev/null");
		return EXIT_UNUSABLE;
	}
	signal(SIGPIPE, SIG_IGN);	/* the client may be gone: an error */
	if (lines_serve(&core, STDIN_FILENO, STDOUT_FILENO, &e) != 0)
		give_up(EXIT_FAILURE, &e);
	return EXIT_SUCCESS;
}

int
main(int argc, char *argv[])
{
	struct mcp_options o;
	static struct loop l;
	enum log_format format;
	int status;

	log_init("mcp", LOG_FORMAT_TEXT, 0);
	conf_main(&program, mcp_options_fields(), sizeof(o), argc, argv, &o);
	format = strcmp(o.log_format, "json") == 0 ? LOG_FORMAT_JSON :
	    LOG_FORMAT_TEXT;
	log_init("mcp", format, o.verbose);
	if (o.bind[0] != '\0' && loop_init(&l) != 0) {
		log_error("signals cannot be taken");
		return EXIT_FAILURE;
	}
	open_stack(&o);
	status = o.bind[0] != '\0' ? serve_http(&o, &l) : serve_stdio();
	/* NNG's own clean-up at exit may wait for a socket that is busy. */
	fflush(NULL);
	_exit(status);
}
