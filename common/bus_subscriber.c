/*
 * The dialing end of events.  A plain socket and one thread that reads it: with a
 * SUB of NNG 1.5.2 an event wakes four threads, one after the other, before ours,
 * which is most of what a gateway with few streams would spend on a token.  The few
 * bytes of the wire protocol are those of bus_check.c.
 *
 * It connects again whenever it is alone; what came meanwhile is lost, as with a SUB,
 * and the reader sees the gap.  While this thread is busy, the kernel's buffer and
 * the publisher's 128 messages hold what comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bus_nng.h"
#include "clock.h"

enum {
	HEAD = 9,			/* bytes: 1, length */
	BUFFER = 64 << 10,		/* bytes that are kept for the next events */
	HANDSHAKE_MS = 1000,
	CONNECT_MIN_MS = 50,		/* between two attempts */
	CONNECT_MAX_MS = 100,
};

struct bus_subscriber {
	char path[BUS_PATH_MAX + 1];
	int idle_ms;
	bool as_text;
	bus_event_fn *fn;
	void *arg;
	int fd;				/* -1: not connected */
	int pause_ms;			/* before the next attempt */
	int64_t heard_ms;
	unsigned char *in;		/* what came and is not yet a message */
	size_t n, cap;			/* bytes */
	struct bus_subscriber *next;	/* in the list of all */
};

/* All of them, for life: what is never closed shall be no leak. */
static _Atomic(struct bus_subscriber *) subscribers;

static void
leave(struct bus_subscriber *s)
{
	close(s->fd);
	s->fd = -1;
	s->n = 0;
	s->pause_ms = CONNECT_MIN_MS;
}

/* A ping is the publisher talking to itself, and no event. */
static void
deliver(struct bus_subscriber *s, const unsigned char *p, size_t n)
{
	struct frame f = { 0 };

	if ((s->as_text ? frame_open : frame_parse)(p, n, &f, NULL) != 0)
		return;		/* as good as lost: the reader sees the gap */
	if (f.type != FRAME_PING) {
		s->fn(s->arg, &f);
		s->heard_ms = clock_ms();
	}
	frame_free(&f);
}

/* Length of the message at p, of which there are at least HEAD bytes; or -1. */
static int64_t
message_length(const unsigned char *p)
{
	uint64_t n = bus_get_number(p + 1, HEAD - 1);

	return p[0] == 1 && n <= BUS_MESSAGE_MAX ? (int64_t)n : -1;
}

/* Deliver the messages that are complete; false if what came is none. */
static bool
take_messages(struct bus_subscriber *s)
{
	size_t at = 0;
	int64_t n = 0;

	while (s->n - at >= HEAD) {
		if ((n = message_length(s->in + at)) < 0)
			return false;
		if (s->n - at - HEAD < (size_t)n)
			break;
		deliver(s, s->in + at + HEAD, (size_t)n);
		at += HEAD + (size_t)n;
	}
	s->n -= at;
	memmove(s->in, s->in + at, s->n);
	return true;
}

/* Room for the message that has begun, or for the next ones. */
static bool
make_room(struct bus_subscriber *s)
{
	int64_t n = s->n >= HEAD ? message_length(s->in) : 0;
	size_t want = n + HEAD > BUFFER ? (size_t)n + HEAD : BUFFER;
	unsigned char *p;

	if (s->cap == want || (s->cap > want && s->n > 0))
		return true;
	if ((p = realloc(s->in, want)) == NULL)
		return s->cap > s->n;
	s->in = p;
	s->cap = want;
	return true;
}

/* wait: in recv, up to idle_ms, which is a call less than poll and then recv. */
static void
read_some(struct bus_subscriber *s, bool wait)
{
	ssize_t n;

	if (!make_room(s)) {
		leave(s);
		return;
	}
	n = recv(s->fd, s->in + s->n, s->cap - s->n, wait ? 0 : MSG_DONTWAIT);
	if (n > 0) {
		s->n += (size_t)n;
		if (!take_messages(s))
			leave(s);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		leave(s);
	}
}

/* Until the next silence has to be told, in ms; -1: never. */
static int
patience(const struct bus_subscriber *s)
{
	int64_t left = s->heard_ms + s->idle_ms - clock_ms();

	if (s->idle_ms <= 0)
		return -1;
	return left > 0 ? (int)left : 0;
}

static void
enter(struct bus_subscriber *s)
{
	struct timeval t = { .tv_sec = s->idle_ms / 1000,
		.tv_usec = s->idle_ms % 1000 * 1000 };

	if ((s->fd = bus_enter_sub(s->path, HANDSHAKE_MS)) == -1)
		return;
	if (setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) != 0 ||
	    fcntl(s->fd, F_SETFL, 0) != 0)
		leave(s);
}

/* Wait for bytes, until the next silence has to be told. */
static void
await(struct bus_subscriber *s, int wait)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };

	/* Something was heard just now: recv's own time is as long. */
	if (wait < 0 || wait >= s->idle_ms - 1)
		read_some(s, true);
	else if (poll(&p, 1, wait) == 1)
		read_some(s, false);
}

static void *
subscribe(void *arg)
{
	struct bus_subscriber *s = arg;
	int wait;

	for (;;) {
		wait = patience(s);
		if (s->fd == -1)
			enter(s);
		if (s->fd == -1) {
			if (wait < 0 || wait > s->pause_ms)
				wait = s->pause_ms;
			usleep((useconds_t)wait * 1000);
			s->pause_ms = s->pause_ms * 2 < CONNECT_MAX_MS ?
			    s->pause_ms * 2 : CONNECT_MAX_MS;
		} else {
			await(s, wait);
		}
		if (s->idle_ms > 0 && patience(s) == 0) {
			s->fn(s->arg, NULL);
			s->heard_ms = clock_ms();
		}
	}
	return NULL;
}

static int
begin(struct bus_subscriber **out, const char *dir, const char *name, int idle_ms,
    bool as_text, bus_event_fn *fn, void *arg, struct err *e)
{
	struct bus_subscriber *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a socket");
	if ((r = bus_path(s->path, dir, name, "sock", e)) != 0) {
		free(s);
		return r;
	}
	s->idle_ms = idle_ms;
	s->as_text = as_text;
	s->fn = fn;
	s->arg = arg;
	s->fd = -1;
	s->pause_ms = CONNECT_MIN_MS;
	s->heard_ms = clock_ms();
	if ((r = bus_thread(subscribe, s, e)) != 0) {
		free(s);
		return r;
	}
	s->next = atomic_load(&subscribers);
	while (!atomic_compare_exchange_weak(&subscribers, &s->next, s))
		;
	*out = s;
	return 0;
}

int
bus_subscribe(struct bus_subscriber **s, const char *dir, const char *name,
    int idle_ms, bus_event_fn *fn, void *arg, struct err *e)
{
	return begin(s, dir, name, idle_ms, false, fn, arg, e);
}

int
bus_subscribe_text(struct bus_subscriber **s, const char *dir, const char *name,
    int idle_ms, bus_event_fn *fn, void *arg, struct err *e)
{
	return begin(s, dir, name, idle_ms, true, fn, arg, e);
}
