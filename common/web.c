#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "web_priv.h"

/*
 * CivetWeb listens, has a thread for each connection and parses; web_serve.c
 * takes it from there.  mg_stop cuts what is under way, so web_stop waits
 * before it.
 */
enum {
	BODY_MS = 10000,
	WRITE_MS = 10000,
	QUEUE = 64,		/* connections that wait for a thread */
	FILES_SPARE = 192,	/* of the bus, of a library: what else is open */
};

/* Take "host:port" apart into w->host and w->port. */
static int
parse_bind(struct web *w, const char *bind, struct err *e)
{
	const char *colon = strrchr(bind, ':');
	struct in_addr addr;
	size_t n, digits;

	if (bind[0] == '[' || (colon != NULL && strchr(bind, ':') != colon))
		return err_set_param(e, ERR_RANGE, "bind", "%.60s: the HTTP "
		    "library has no IPv6, bind an IPv4 address", bind);
	if (colon == NULL)
		return err_set_param(e, ERR_RANGE, "bind",
		    "%.60s: want ADDRESS:PORT, like 127.0.0.1:8180", bind);
	n = (size_t)(colon - bind);
	digits = strspn(colon + 1, "0123456789");
	if (digits < 1 || digits > 5 || colon[1 + digits] != '\0' ||
	    atoi(colon + 1) > 65535)
		return err_set_param(e, ERR_RANGE, "bind",
		    "%.60s: the port is not a number from 0 to 65535", bind);
	if (n == strlen("localhost") && memcmp(bind, "localhost", n) == 0)
		memcpy(w->host, "127.0.0.1", sizeof("127.0.0.1"));
	else if (n < sizeof(w->host)) {
		memcpy(w->host, bind, n);
		w->host[n] = '\0';
	}
	if (inet_pton(AF_INET, w->host, &addr) != 1)
		return err_set_param(e, ERR_RANGE, "bind",
		    "%.60s: the address is not a dotted IPv4 address", bind);
	w->port = atoi(colon + 1);
	return 0;
}

/* CivetWeb says only that it failed, so ask the kernel why, beforehand. */
static int
probe_port(const struct web *w, struct err *e)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)w->port) };
	int fd, why, on = 1;

	inet_pton(AF_INET, w->host, &addr.sin_addr);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return err_set(e, errno == EAFNOSUPPORT ? ERR_SYSTEM :
		    ERR_NO_MEMORY, "socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	why = 0;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == -1 ||
	    listen(fd, 1) == -1)
		why = errno;
	close(fd);
	if (why == 0)
		return 0;
	if (why == EADDRINUSE)
		return err_set_param(e, ERR_EXISTS, "bind",
		    "%s:%d: address already in use", w->host, w->port);
	if (why == EADDRNOTAVAIL)	/* at boot it may come with the network */
		return err_set_param(e, ERR_UNAVAILABLE, "bind",
		    "%s:%d: no interface has this address", w->host, w->port);
	return err_set_param(e, ERR_SYSTEM, "bind", "%s:%d: %s", w->host,
	    w->port, strerror(why));
}

/* Starting takes more of a thread's stack than waiting does. */
static void *
thread_starts(const struct mg_context *ctx, int type)
{
	(void)ctx;
	(void)type;
	web_trim_stack();
	return NULL;
}

/* mg_start2, with the settings that RELIABILITY 4.3 of the design measured.*/
static int
start_civetweb(struct web *w, struct err *e)
{
	char port[32], threads[16], queue[16], head[16], timeout[16], why[120] = "";
	const char *options[] = { "listening_ports", port,
		"num_threads", threads, "connection_queue", queue,
		"listen_backlog", "1024", "enable_keep_alive", "no",
		"request_timeout_ms", timeout, "max_request_size", head,
		"tcp_nodelay", "1", "decode_url", "no",
		"access_control_allow_origin", "",
		"access_control_allow_methods", "",
		"access_control_allow_headers", "",
		"enable_directory_listing", "no", "cgi_pattern", "",
		"ssi_pattern", "", NULL };
	struct mg_callbacks callbacks = { .begin_request = web_on_request,
		.http_error = web_on_error,
		.init_thread = thread_starts };
	struct mg_init_data init = { &callbacks, w, options };
	struct mg_error_data error = { NULL, why, sizeof(why) };
	struct mg_server_port bound;

	snprintf(port, sizeof(port), "%s:%d", w->host, w->port);
	snprintf(threads, sizeof(threads), "%d", w->c->n_threads);
	snprintf(queue, sizeof(queue), "%d", QUEUE);
	snprintf(head, sizeof(head), "%d", WEB_HEAD_MAX);
	snprintf(timeout, sizeof(timeout), "%d", WEB_TIMEOUT_MS);
	mg_init_library(0);
	w->ctx = mg_start2(&init, &error);
	if (w->ctx == NULL)	/* the port is good, so it is a thread or memory */
		return err_set(e, ERR_NO_MEMORY, "%s: cannot start the HTTP "
		    "server with %s threads: %s", port, threads, why);
	if (mg_get_server_ports(w->ctx, 1, &bound) == 1)
		w->port = bound.port;
	return 0;
}

int
web_check_bind(const char *bind, struct err *e)
{
	struct web w = { 0 };

	return parse_bind(&w, bind, e);
}

bool
web_is_loopback(const char *bind)
{
	return strncmp(bind, "127.", 4) == 0 ||
	    strncmp(bind, "localhost:", 10) == 0;
}

long
web_raise_files(int n_threads)
{
	rlim_t need = (rlim_t)n_threads + QUEUE + FILES_SPARE;
	struct rlimit now;

	if (getrlimit(RLIMIT_NOFILE, &now) == -1 || now.rlim_cur >= need)
		return 0;
	now.rlim_cur = now.rlim_max < need ? now.rlim_max : need;
	setrlimit(RLIMIT_NOFILE, &now);
	return now.rlim_cur < need ? (long)now.rlim_cur : 0;
}

int
web_start(struct web **out, const struct web_config *c, struct err *e)
{
	struct web *w = calloc(1, sizeof(*w));
	sigset_t all, before;
	int r;

	if (w == NULL)
		return err_set(e, ERR_NO_MEMORY, "memory is short");
	w->c = c;
	w->body_ms = c->body_timeout_ms > 0 ? c->body_timeout_ms : BODY_MS;
	w->write_ms = c->write_timeout_ms > 0 ? c->write_timeout_ms : WRITE_MS;
	if (gethostname(w->own, sizeof(w->own) - 1) == -1)
		w->own[0] = '\0';
	r = parse_bind(w, c->bind, e);
	if (r == 0)
		r = probe_port(w, e);
	if (r != 0) {
		free(w);
		return r;
	}
	/* Signals are the main thread's: the threads inherit this mask. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = web_keeper_start(w, e);
	if (r == 0 && (r = start_civetweb(w, e)) != 0)
		web_keeper_stop(w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		free(w);
		return r;
	}
	*out = w;
	return 0;
}

int
web_stop(struct web *w, int timeout_ms)
{
	int64_t until = clock_ms() + timeout_ms;
	int n_cut;

	w->draining = true;
	while (w->active > 0 && clock_ms() < until)
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	n_cut = w->active;
	w->ending = true;
	mg_stop(w->ctx);
	mg_exit_library();
	web_keeper_stop(w);
	free(w);
	return n_cut;
}

bool
web_draining(const struct web *w)
{
	return w->draining;
}

int
web_active(const struct web *w)
{
	return w->active;
}

int
web_port(const struct web *w)
{
	return w->port;
}
