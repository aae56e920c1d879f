#include "streams.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"

/*
 * All clients in one epoll loop.  A stream is read by lines; a token is a line with
 * "content":"@TIME".  What the gateway used is counted from the moment at which all
 * streams have their first token until one of them ends.
 */
enum { LINE_MAX = 1024, BURST = 64, PATIENCE_MS = 30000, STALL_MS = 1000 };

struct client {
	int fd;			/* -1: not open */
	int status;
	int n_tokens;
	int64_t last_ns;	/* of the last token, or 0 */
	bool done, ended, over_gap;
	size_t n_line;
	char line[LINE_MAX];
};

struct run {
	const struct streams_plan *p;
	struct streams_seen *seen;
	struct client *clients;
	int ep, n_open, n_started, n_over;
	uint32_t *delays_us;
	size_t n_delays, max_delays;
	bool in_window, window_over;
	double cpu0;
	int64_t start_ns, tokens0, rss_ns;
};

double
streams_cpu(int pid)
{
	struct timespec t = { 0 };
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
		return 0;
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int64_t
streams_rss_kb(int pid)
{
	char path[64], line[256];
	long long kb = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if ((f = fopen(path, "r")) == NULL)
		return 0;
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "VmRSS: %lld", &kb) == 1)
			break;
	fclose(f);
	return kb;
}

static int
begin(struct run *r, struct client *c)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)r->p->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
	char body[256], text[512];
	int n;

	snprintf(body, sizeof(body), "{\"model\":\"fake\",\"stream\":true,\"max_tokens\":%d,"
	    "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}", r->p->n_tokens);
	n = snprintf(text, sizeof(text), "POST /v1/chat/completions HTTP/1.1\r\n"
	    "Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
	    "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd == -1 || connect(c->fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
	    send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n ||
	    epoll_ctl(r->ep, EPOLL_CTL_ADD, c->fd, &ev) != 0) {
		fprintf(stderr, "streams: cannot connect: %s\n", strerror(errno));
		return -1;
	}
	r->n_open++;
	r->n_started++;
	return 0;
}

static void
open_window(struct run *r, int64_t now)
{
	r->in_window = true;
	r->cpu0 = streams_cpu(r->p->gateway_pid);
	r->start_ns = now;
	r->tokens0 = r->seen->n_tokens;
}

static void
close_window(struct run *r, int64_t now)
{
	r->in_window = false;
	r->window_over = true;
	r->seen->window_cpu_s = streams_cpu(r->p->gateway_pid) - r->cpu0;
	r->seen->window_s = (double)(now - r->start_ns) / 1e9;
	r->seen->window_tokens = r->seen->n_tokens - r->tokens0;
}

static void
on_token(struct run *r, struct client *c, int64_t sent_us, int64_t now)
{
	struct streams_seen *s = r->seen;
	double gap_ms = c->last_ns == 0 ? 0 : (double)(now - c->last_ns) / 1e6;

	if (c->last_ns == 0)
		s->n_begun++;
	if (gap_ms > s->longest_gap_ms)
		s->longest_gap_ms = gap_ms;
	if (gap_ms > STALL_MS && gap_ms > 5e3 / r->p->rate)
		c->over_gap = true;
	c->last_ns = now;
	c->n_tokens++;
	s->n_tokens++;
	if (s->n_begun == s->n_streams && !r->in_window && !r->window_over)
		open_window(r, now);
	if (r->in_window && sent_us > 0 && r->n_delays < r->max_delays)
		r->delays_us[r->n_delays++] = (uint32_t)(now / 1000 - sent_us);
}

static void
on_line(struct run *r, struct client *c, int64_t now)
{
	static const char content[] = "\"content\":\"@";
	const char *at;

	c->line[c->n_line] = '\0';
	if (c->status == 0 && strncmp(c->line, "HTTP/1.1 ", 9) == 0)
		c->status = atoi(c->line + 9);
	else if ((at = strstr(c->line, content)) != NULL)
		on_token(r, c, strtoll(at + sizeof(content) - 1, NULL, 10), now);
	else if (strncmp(c->line, "data: [DONE]", 12) == 0)
		c->done = true;
	else if (c->done && strcmp(c->line, "0\r") == 0)
		c->ended = true;
	c->n_line = 0;
}

static void
finish(struct run *r, struct client *c)
{
	struct streams_seen *s = r->seen;

	if (r->in_window)
		close_window(r, clock_ns());
	epoll_ctl(r->ep, EPOLL_CTL_DEL, c->fd, NULL);
	close(c->fd);
	c->fd = -1;
	r->n_open--;
	r->n_over++;
	s->n_done += c->done && c->ended;
	s->n_refused += c->status != 200;
	s->n_cut += c->status == 200 && !(c->done && c->ended);
	s->n_short += c->done && c->n_tokens != r->p->n_tokens;
	s->n_stalled += c->over_gap;
}

static void
on_bytes(struct run *r, struct client *c)
{
	static char part[16384];
	ssize_t n = recv(c->fd, part, sizeof(part), MSG_DONTWAIT);
	int64_t now = clock_ns();

	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			finish(r, c);
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		if (part[i] == '\n')
			on_line(r, c, now);
		else if (c->n_line < LINE_MAX - 1)
			c->line[c->n_line++] = part[i];
}

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int
loop(struct run *r)
{
	int n_max = r->p->n_streams, n;
	struct epoll_event ev[BURST];

	while (r->n_over < n_max) {
		/* A few at a time: what waits in the backlog would begin late. */
		while (r->n_started < n_max && r->n_started - r->seen->n_begun < BURST)
			if (begin(r, &r->clients[r->n_started]) != 0)
				return -1;
		n = epoll_wait(r->ep, ev, BURST, PATIENCE_MS);
		if (n == 0) {
			fprintf(stderr, "streams: nothing came for %d s; %d of %d began\n",
			    PATIENCE_MS / 1000, r->seen->n_begun, n_max);
			return -1;
		}
		for (int i = 0; i < n; i++)
			on_bytes(r, ev[i].data.ptr);
		if (clock_ns() - r->rss_ns > 500000000) {
			int64_t kb = streams_rss_kb(r->p->gateway_pid);

			r->rss_ns = clock_ns();
			if (kb > r->seen->rss_max_kb)
				r->seen->rss_max_kb = kb;
		}
	}
	return 0;
}

int
streams_run(const struct streams_plan *p, struct streams_seen *seen)
{
	struct run r = { .p = p, .seen = seen };
	int result;

	*seen = (struct streams_seen){ .n_streams = p->n_streams };
	r.max_delays = (size_t)p->n_streams * (size_t)p->n_tokens;
	r.clients = calloc((size_t)p->n_streams, sizeof(*r.clients));
	r.delays_us = calloc(r.max_delays, sizeof(*r.delays_us));
	r.ep = epoll_create1(EPOLL_CLOEXEC);
	if (r.clients == NULL || r.delays_us == NULL || r.ep == -1) {
		fprintf(stderr, "streams: memory is short\n");
		return -1;
	}
	result = loop(&r);
	if (r.n_delays > 0) {
		qsort(r.delays_us, r.n_delays, sizeof(*r.delays_us), compare);
		seen->median_ms = r.delays_us[r.n_delays / 2] / 1e3;
		seen->p99_ms = r.delays_us[r.n_delays * 99 / 100] / 1e3;
	}
	close(r.ep);
	free(r.clients);
	free(r.delays_us);
	return result;
}
