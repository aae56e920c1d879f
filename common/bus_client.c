/*
 * The dialing end of requests.  Plain sockets, of which a call has one for itself as
 * long as it lasts: the thread that asks is the one that writes and reads, so an answer
 * wakes it and nobody else.  With a REQ of NNG 1.5.2 a call takes seven wake-ups of the
 * caller's threads.  The few bytes of the wire protocol are those of bus_check.c.
 *
 * A socket whose call was answered is kept for the next one; one whose call was given
 * up is closed, since its answer may still come.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "bus_nng.h"
#include "clock.h"

enum {
	LINKS = 16,			/* more than a server has threads */
	FIND_MS = 1000,			/* to find somebody who listens */
	AGAIN_MS = 50,			/* between two attempts */
	MARK = 9,			/* bytes: 1, length */
	HEAD = MARK + BUS_NUMBER,	/* the number counts in that length */
	FIRST = 2048,			/* bytes that are read at first */
};

struct link {
	int fd;				/* -1: none */
	bool greeted;			/* past the handshake */
};

struct bus_client {
	char path[BUS_PATH_MAX + 1];
	pthread_mutex_t lock;
	pthread_cond_t back;		/* a call is over */
	struct link idle[LINKS];	/* the one used last is the last */
	int n_idle, n_out;		/* together at most LINKS */
	uint32_t n_calls;
	struct bus_client *next;	/* in the list of all */
};

/* All of them, for life: what is never closed shall be no leak. */
static _Atomic(struct bus_client *) clients;

int
bus_client_open(struct bus_client **out, const char *dir, const char *name,
    struct err *e)
{
	char path[BUS_PATH_MAX + 1];
	pthread_condattr_t attr;
	struct bus_client *c;
	int r;

	if ((r = bus_path(path, dir, name, "sock", e)) != 0)
		return r;
	if ((c = calloc(1, sizeof(*c))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a socket");
	memcpy(c->path, path, sizeof(path));
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->back, &attr);
	pthread_condattr_destroy(&attr);
	c->next = atomic_load(&clients);
	while (!atomic_compare_exchange_weak(&clients, &c->next, c))
		;
	*out = c;
	return 0;
}

static void
drop(struct link *l)
{
	if (l->fd != -1)
		close(l->fd);
	*l = (struct link){ .fd = -1 };
}

/* A link, which may have to be opened, and the call's number; false: none is free. */
static bool
take(struct bus_client *c, int64_t deadline_ms, struct link *l, uint32_t *number)
{
	struct timespec t = {
		.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000,
	};
	bool any;
	int r = 0;

	*l = (struct link){ .fd = -1 };
	pthread_mutex_lock(&c->lock);
	while (c->n_out == LINKS && r == 0)
		r = pthread_cond_timedwait(&c->back, &c->lock, &t);
	any = c->n_out < LINKS;
	if (any) {
		if (c->n_idle > 0)
			*l = c->idle[--c->n_idle];
		c->n_out++;
		*number = c->n_calls++ | UINT32_C(1) << 31;
	}
	pthread_mutex_unlock(&c->lock);
	return any;
}

static void
give_back(struct bus_client *c, const struct link *l)
{
	pthread_mutex_lock(&c->lock);
	c->n_out--;
	if (l->fd != -1)
		c->idle[c->n_idle++] = *l;
	pthread_cond_signal(&c->back);
	pthread_mutex_unlock(&c->lock);
}

/* Nothing came since its last answer, not even the end. */
static bool
is_quiet(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == -1 && errno == EAGAIN;
}

static int
say_unavailable(const char *path, struct err *e)
{
	if (access(path, R_OK | W_OK) == -1 && errno == EACCES)
		return err_set(e, ERR_UNAVAILABLE, "%s: permission denied: this user "
		    "is not in the group of its directory", path);
	return err_set(e, ERR_UNAVAILABLE, "nobody listens at %s", path);
}

/*
 * A link past the handshake.  One that is not is kept: it is in the queue of somebody
 * who is stopped, and to close it there ends a listener of NNG.
 */
static int
open_link(struct bus_client *c, struct link *l, int64_t deadline_ms, struct err *e)
{
	int64_t now = clock_ms(), until = now + FIND_MS;

	if (until > deadline_ms)
		until = deadline_ms;
	for (;; now = clock_ms()) {
		if (l->greeted && !is_quiet(l->fd))
			drop(l);
		if (l->fd == -1)
			l->fd = bus_knock_rep(c->path);
		if (l->fd != -1 && !l->greeted)
			switch (bus_greeted_by_rep(l->fd, until > now ? (int)(until - now) : 0)) {
			case BUS_GREETED: l->greeted = true; break;
			case BUS_REFUSED: drop(l); break;
			case BUS_NOT_YET: break;
			}
		if (l->greeted)
			return 0;
		if (clock_ms() >= until)
			return say_unavailable(c->path, e);
		if (l->fd == -1)
			usleep(AGAIN_MS * 1000);
	}
}

/* Until fd is ready for events; false if that is not before deadline_ms. */
static bool
await(int fd, short events, int64_t deadline_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left = deadline_ms - clock_ms();

	return poll(&p, 1, left > 0 ? (int)left : 0) != 0;
}

static int
late(const struct bus_client *c, struct err *e)
{
	return err_set(e, ERR_TIMEOUT, "no answer from %s in time", c->path);
}

static int
broke(const struct bus_client *c, struct err *e)
{
	return err_set(e, ERR_UNAVAILABLE, "the connection to %s broke", c->path);
}

/* Of a message that is not complete nothing is executed: it may be sent again. */
static int
send_all(const struct bus_client *c, int fd, const char *p, size_t n, int64_t deadline_ms,
    struct err *e)
{
	ssize_t sent;

	while (n > 0) {
		sent = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent >= 0) {
			p += sent;
			n -= (size_t)sent;
		} else if (errno == EAGAIN) {
			if (!await(fd, POLLOUT, deadline_ms))
				return late(c, e);
		} else if (errno != EINTR) {
			return broke(c, e);
		}
	}
	return 0;
}

/* From *got bytes at p on, until there are want, and at most n. */
static int
receive(const struct bus_client *c, int fd, char *p, size_t *got, size_t want, size_t n,
    int64_t deadline_ms, struct err *e)
{
	ssize_t more;

	while (*got < want) {
		if (!await(fd, POLLIN, deadline_ms))
			return late(c, e);
		more = recv(fd, p + *got, n - *got, MSG_DONTWAIT);
		if (more == 0 || (more == -1 && errno != EAGAIN && errno != EINTR))
			return broke(c, e);
		*got += more > 0 ? (size_t)more : 0;
	}
	return 0;
}

/* The frame that answers call number, in *bytes [*n], to be freed. */
static int
receive_reply(const struct bus_client *c, int fd, uint32_t number, int64_t deadline_ms,
    char **bytes, size_t *n, struct err *e)
{
	char first[FIRST], *frame;
	size_t got = 0, rest;
	uint64_t length;
	int r;

	if ((r = receive(c, fd, first, &got, HEAD, sizeof(first), deadline_ms, e)) != 0)
		return r;
	length = bus_get_number(first + 1, MARK - 1);
	if (first[0] != 1 || length < BUS_NUMBER || length > BUS_MESSAGE_MAX + BUS_NUMBER ||
	    got - MARK > length || bus_get_number(first + MARK, BUS_NUMBER) != number)
		return broke(c, e);
	rest = (size_t)length - BUS_NUMBER;
	if ((frame = malloc(rest + 1)) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a reply");
	got -= HEAD;
	memcpy(frame, first + HEAD, got);
	if ((r = receive(c, fd, frame, &got, rest, rest, deadline_ms, e)) != 0) {
		free(frame);
		return r;
	}
	*bytes = frame;
	*n = rest;
	return 0;
}

/* The frame bytes [n], which are taken, into *reply. */
static int
take_reply(char *bytes, size_t n, struct frame *reply, struct err *e)
{
	struct frame f = { 0 };
	int r = frame_parse(bytes, n, &f, e);

	if (r == 0 && f.type == FRAME_ERROR)
		r = frame_get_error(&f, e);
	if (r == 0 && f.n_bulk > 0) {
		f.bytes = bytes;
	} else {
		f.bulk = NULL;
		free(bytes);
	}
	if (r != 0)
		frame_free(&f);
	else
		*reply = f;
	return r;
}

/* request as it is sent, into b; its number is still to be put in. */
static int
write_request(const struct frame *request, struct buf *b, struct err *e)
{
	const char head[HEAD] = { 1 };
	size_t n;
	int r;

	buf_add(b, head, sizeof(head));
	if ((r = frame_write(request, b, e)) != 0)
		return r;
	n = b->len - HEAD;
	/* The other end would drop the connection without a word. */
	if (n > BUS_MESSAGE_MAX)
		return err_set(e, ERR_RANGE, BUS_TOO_LARGE, n, BUS_MESSAGE_MAX);
	bus_put_number(b->data + 1, MARK - 1, n + BUS_NUMBER);
	return 0;
}

/* b over l; a link that broke while nobody used it is none of the caller's business. */
static int
send_request(struct bus_client *c, struct link *l, const struct buf *b, int64_t deadline_ms,
    struct err *e)
{
	int r = ERR_UNAVAILABLE;

	for (int i = 0; i < 2 && r == ERR_UNAVAILABLE; i++) {
		if ((r = open_link(c, l, deadline_ms, e)) != 0)
			return r;
		if ((r = send_all(c, l->fd, b->data, b->len, deadline_ms, e)) != 0)
			drop(l);
	}
	return r;
}

int
bus_call(struct bus_client *c, const struct frame *request, struct frame *reply,
    int timeout_ms, struct err *e)
{
	int64_t deadline_ms = clock_ms() + timeout_ms;
	struct buf b = { 0 };
	char *bytes = NULL;
	uint32_t number = 0;
	struct link l;
	size_t n = 0;
	int r;

	if ((r = write_request(request, &b, e)) == 0 && !take(c, deadline_ms, &l, &number))
		r = late(c, e);
	if (r != 0) {
		buf_free(&b);
		return r;
	}
	bus_put_number(b.data + MARK, BUS_NUMBER, number);
	if ((r = send_request(c, &l, &b, deadline_ms, e)) == 0 &&
	    (r = receive_reply(c, l.fd, number, deadline_ms, &bytes, &n, e)) != 0)
		drop(&l);
	give_back(c, &l);
	buf_free(&b);
	return r == 0 ? take_reply(bytes, n, reply, e) : r;
}
