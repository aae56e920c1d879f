/*
 * What no gateway can do without: to be woken by a step, and to send each client its
 * token.  It parses nothing, makes nothing and looks after nobody; what 1bit-halo-server
 * costs more than this is its own.
 */
#include "streams.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";

/* As long as an event of the gateway's. */
static const char token[] = "data: {\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\","
    "\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"fake\","
    "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"@%lld\"},\"logprobs\":null,"
    "\"finish_reason\":null}]}\n\n";

static const char end[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

/* The steps: their time into fd, rate of them a second, while somebody reads. */
static void
make_steps(int fd, double rate)
{
	int64_t next_ns = clock_ns(), now_us = 0;
	struct timespec at;

	do {
		next_ns += (int64_t)(1e9 / rate);
		at.tv_sec = (time_t)(next_ns / 1000000000);
		at.tv_nsec = (long)(next_ns % 1000000000);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		now_us = clock_ns() / 1000;
	} while (send(fd, &now_us, sizeof(now_us), MSG_NOSIGNAL) == sizeof(now_us));
}

struct relay {
	int listener, n_max, n;		/* clients: at most, so far */
	int fds[STREAMS_BARE_MAX];
	int n_sent[STREAMS_BARE_MAX];	/* tokens of each */
};

/* Those who came since the last step; each has asked for something. */
static void
accept_clients(struct relay *r)
{
	char request[2048];
	int one = 1, fd;

	while (r->n < r->n_max && (fd = accept(r->listener, NULL, NULL)) != -1) {
		if (recv(fd, request, sizeof(request), 0) > 0 &&
		    send(fd, head, sizeof(head) - 1, MSG_NOSIGNAL) > 0)
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		r->fds[r->n++] = fd;
	}
}

/* now_us to all of them; false once all have n_tokens. */
static bool
send_tokens(struct relay *r, int n_tokens, int64_t now_us)
{
	char event[512], text[640];
	int n_event = snprintf(event, sizeof(event), token, (long long)now_us);
	int n = snprintf(text, sizeof(text), "%x\r\n%s\r\n", (unsigned)n_event, event);
	bool any = r->n < r->n_max;

	for (int i = 0; i < r->n; i++) {
		if (r->n_sent[i] >= n_tokens)
			continue;
		send(r->fds[i], text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
		any = true;
		if (++r->n_sent[i] < n_tokens)
			continue;
		send(r->fds[i], end, sizeof(end) - 1, MSG_NOSIGNAL);
		close(r->fds[i]);
	}
	return any;
}

static int
relay(int listener, int steps, int n_streams, int n_tokens)
{
	static struct relay r;
	int64_t now_us;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r.listener = listener;
	r.n_max = n_streams;
	do {
		if (recv(steps, &now_us, sizeof(now_us), 0) != sizeof(now_us))
			return EXIT_FAILURE;
		accept_clients(&r);
	} while (send_tokens(&r, n_tokens, now_us));
	return EXIT_SUCCESS;
}

/* A listening socket that never waits; its port into *port. */
static int
listen_somewhere(int *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1 || bind(fd, (struct sockaddr *)&at, n) != 0 ||
	    listen(fd, STREAMS_BARE_MAX) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &n) != 0)
		return -1;
	*port = ntohs(at.sin_port);
	return fd;
}

int
streams_bare(struct streams_plan *p, struct streams_bare *b)
{
	int pair[2], listener;

	if (p->n_streams > STREAMS_BARE_MAX ||
	    (listener = listen_somewhere(&p->port)) == -1 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
		fprintf(stderr, "streams: no sockets for so many\n");
		return -1;
	}
	if ((b->steps = fork()) == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[1]);
		make_steps(pair[0], p->rate);
		_exit(EXIT_SUCCESS);
	}
	close(pair[0]);
	if ((b->relay = fork()) == 0)
		_exit(relay(listener, pair[1], p->n_streams, p->n_tokens));
	close(pair[1]);
	close(listener);
	p->gateway_pid = b->relay;
	return b->steps > 0 && b->relay > 0 ? 0 : -1;
}
