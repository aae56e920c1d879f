/*
 * What the gateway adds to a stream: N clients, the gateway that is to be measured,
 * and a worker without a model behind it (streams_worker.c).  A program of its own
 * starts both in a directory of their own, so that nothing else is in the figures.
 */
#include "streams.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

extern char **environ;

static const char usage[] =
    "usage: streams [--streams N] [--tokens N] [--rate PER_S] [--json] GATEWAY [OPTION...]\n"
    "       streams --bare [--streams N] [--tokens N] [--rate PER_S] [--json]\n"
    "       streams --serve GATEWAY [OPTION...]\n"
    "N streams of the gateway (the path of 1bit-halo-server, and options for it), each\n"
    "of --tokens tokens, --rate a second.  --bare: of a loop that does nothing but send,\n"
    "the least that any gateway costs.  --serve: only run it, till the end of stdin.\n";

struct stack {
	char dir[64];
	pid_t gateway, worker;
	int port;
};

static int
free_port(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd == -1 || bind(fd, (struct sockaddr *)&at, n) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &n) != 0)
		return 0;
	close(fd);
	return ntohs(at.sin_port);
}

static pid_t
start(const char *path, char *const args[])
{
	pid_t pid = 0;

	if (posix_spawn(&pid, path, NULL, NULL, args, environ) != 0) {
		fprintf(stderr, "streams: cannot start %s\n", path);
		return 0;
	}
	return pid;
}

static bool
is_ready(int port)
{
	static const char ask[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[64] = "";
	bool yes;

	yes = fd != -1 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	    send(fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL) > 0 &&
	    recv(fd, text, sizeof(text) - 1, 0) > 12 && atoi(text + 9) == 200;
	close(fd);
	return yes;
}

static int
stack_start(struct stack *s, double rate, int n_streams, char *gateway[], int n_gateway)
{
	char at[32], per_s[32], limit[16], *args[64] = { gateway[0], "--bind", at,
		"--runtime-dir", s->dir, "--max-streams", limit };
	char *worker[] = { "streams", "--worker", s->dir, "--rate", per_s, NULL };
	int64_t until = clock_ms() + 10000;

	for (int i = 1; i < n_gateway && i < 48; i++)
		args[6 + i] = gateway[i];
	strcpy(s->dir, "/tmp/streams.XX" "XX" "XX");
	s->port = free_port();
	snprintf(at, sizeof(at), "127.0.0.1:%d", s->port);
	snprintf(per_s, sizeof(per_s), "%g", rate);
	snprintf(limit, sizeof(limit), "%d", n_streams);
	if (mkdtemp(s->dir) == NULL || s->port == 0 ||
	    (s->worker = start("/proc/self/exe", worker)) == 0 ||
	    (s->gateway = start(gateway[0], args)) == 0)
		return -1;
	while (!is_ready(s->port)) {
		if (clock_ms() > until || waitpid(s->gateway, NULL, WNOHANG) != 0) {
			fprintf(stderr, "streams: %s is not ready\n", gateway[0]);
			return -1;
		}
		usleep(20000);
	}
	return 0;
}

static void
stack_stop(struct stack *s)
{
	char path[128];
	static const char *const files[] = { "decode.lock", "decode.sock",
		"decode-events.sock", "gateway.lock", "gateway.sock" };

	if (s->gateway > 0 && kill(s->gateway, SIGKILL) == 0)
		waitpid(s->gateway, NULL, 0);
	if (s->worker > 0 && kill(s->worker, SIGKILL) == 0)
		waitpid(s->worker, NULL, 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", s->dir, files[i]);
		unlink(path);
	}
	rmdir(s->dir);
}

static void
print(const struct streams_plan *p, const struct streams_seen *s, int64_t idle_kb, bool json)
{
	double n = s->window_tokens > 0 ? (double)s->window_tokens : 1;
	static const char *const form[] = {
		"%d streams of %d tokens, %g a second each: %d done, %d cut, %d stalled, "
		"%d short, %d refused\n"
		"longest gap %.0f ms; %.4f ms of CPU a token; latency %.3f ms median, %.3f ms p99\n"
		"RSS %.1f MB idle, %.1f MB at most; %.0f tokens/s\n",
		"{\"streams\":%d,\"tokens\":%d,\"rate\":%g,\"done\":%d,\"cut\":%d,\"stalled\":%d,"
		"\"short\":%d,\"refused\":%d,\"longest_gap_ms\":%.1f,\"cpu_ms_per_token\":%.4f,"
		"\"latency_median_ms\":%.3f,\"latency_p99_ms\":%.3f,\"rss_idle_mb\":%.1f,"
		"\"rss_mb\":%.1f,\"tokens_per_s\":%.0f}\n",
	};

	printf(form[json], p->n_streams, p->n_tokens, p->rate, s->n_done, s->n_cut, s->n_stalled,
	    s->n_short, s->n_refused, s->longest_gap_ms, s->window_cpu_s * 1e3 / n,
	    s->median_ms, s->p99_ms, (double)idle_kb / 1024, (double)s->rss_max_kb / 1024,
	    s->window_s > 0 ? n / s->window_s : 0);
}

static int
measure(struct stack *s, struct streams_plan *p, bool json)
{
	struct streams_seen seen;
	int64_t idle_kb;

	usleep(300000);
	idle_kb = streams_rss_kb(s->gateway);
	p->port = s->port;
	p->gateway_pid = s->gateway;
	if (streams_run(p, &seen) != 0)
		return EXIT_FAILURE;
	print(p, &seen, idle_kb, json);
	return seen.n_done == p->n_streams && seen.n_stalled == 0 && seen.n_short == 0 ?
	    EXIT_SUCCESS : EXIT_FAILURE;
}

static int
measure_bare(struct streams_plan *p, bool json)
{
	struct streams_bare b = { 0 };
	struct stack s = { 0 };
	int status = EXIT_FAILURE;

	if (streams_bare(p, &b) == 0) {
		s.gateway = b.relay;
		s.port = p->port;
		status = measure(&s, p, json);
	}
	if (b.relay > 0 && kill(b.relay, SIGKILL) == 0)
		waitpid(b.relay, NULL, 0);
	if (b.steps > 0 && kill(b.steps, SIGKILL) == 0)
		waitpid(b.steps, NULL, 0);
	return status;
}

/* Till stdin ends; for another program's load. */
static int
serve(const struct stack *s)
{
	char c;

	printf("%d %d %.1f\n", s->port, (int)s->gateway,
	    (double)streams_rss_kb(s->gateway) / 1024);
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return EXIT_SUCCESS;
}

int
main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "streams", required_argument, NULL, 's' },
		{ "tokens", required_argument, NULL, 't' },
		{ "rate", required_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "bare", no_argument, NULL, 'b' },
		{ "serve", no_argument, NULL, 'S' },
		{ "worker", required_argument, NULL, 'w' },
		{ 0 }
	};
	struct streams_plan p = { .n_streams = 100, .n_tokens = 200, .rate = 50 };
	struct rlimit files = { 8192, 8192 };
	const char *worker = NULL;
	bool json = false, only_serve = false, bare = false;
	struct stack s = { .port = 0 };
	int c, status = EXIT_FAILURE;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1)
		switch (c) {
		case 's': p.n_streams = atoi(optarg); break;
		case 't': p.n_tokens = atoi(optarg); break;
		case 'r': p.rate = atof(optarg); break;
		case 'j': json = true; break;
		case 'b': bare = true; break;
		case 'S': only_serve = true; break;
		case 'w': worker = optarg; break;
		default: fputs(usage, stderr); return 2;
		}
	if (worker != NULL && p.rate > 0)
		return streams_worker(worker, p.rate);
	if ((optind >= argc) != bare || p.n_streams < 1 || p.n_tokens < 2 || p.rate <= 0) {
		fputs(usage, stderr);
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &files);
	if (bare)
		return measure_bare(&p, json);
	if (stack_start(&s, p.rate, p.n_streams, argv + optind, argc - optind) == 0)
		status = only_serve ? serve(&s) : measure(&s, &p, json);
	stack_stop(&s);
	return status;
}
