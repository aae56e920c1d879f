/*
 * How a listener checks itself: as a stranger would reach it, from a fresh
 * connection, since a broken one goes on to serve those that it has.
 *
 * The stranger speaks the few bytes of the wire protocol itself (nanomsg RFCs
 * sp-ipc-mapping, sp-request-reply): a connection is opened and closed every
 * second for the life of the process, and closing that many sockets of NNG
 * 1.5.2 is a risk of its own.  It also sees whether the path still leads to
 * this process.
 *
 * A broken listener goes through the handshake with whoever comes and then
 * leaves him alone, so only an answer says that it is well.  To close before
 * the handshake is over would break the very listener that is checked; after a
 * timeout that no longer matters, since then the caller listens again.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus_nng.h"
#include "clock.h"

enum {
	SP_PUB = 0x20, SP_SUB = 0x21, SP_REQ = 0x30, SP_REP = 0x31,
	SP_HELLO = 8,			/* bytes: 0 S P 0, protocol, 0 0 */
	NUDGE_MS = 200,			/* between two nudges */
};

/* Read n bytes into p until deadline_ms. */
static bool
read_all(int fd, unsigned char *p, size_t n, int64_t deadline_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int64_t left;
	ssize_t got;

	while (n > 0) {
		left = deadline_ms - clock_ms();
		if (left < 0 || poll(&pfd, 1, (int)left) <= 0)
			return false;
		got = recv(fd, p, n, 0);
		if (got == -1 && errno == EAGAIN)
			continue;
		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

/* A few bytes always fit an empty socket buffer. */
static bool
write_all(int fd, const unsigned char *p, size_t n)
{
	return send(fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static bool
is_this_process(int fd)
{
	struct ucred cred = { 0 };
	socklen_t n = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 &&
	    cred.pid == getpid();
}

/* A connection that has said its half of the handshake, or -1.  ours: only with this
 * process. */
static int
knock(const char *path, int own, bool ours)
{
	const unsigned char hello[SP_HELLO] = { 0, 'S', 'P', 0, 0,
	    (unsigned char)own, 0, 0 };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -1;
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 &&
	    (!ours || is_this_process(fd)) && write_all(fd, hello, sizeof(hello)))
		return fd;
	close(fd);
	return -1;
}

/* The other half. */
static enum bus_greeting
greeted(int fd, int other, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned char got[SP_HELLO];

	if (poll(&p, 1, timeout_ms) <= 0)
		return BUS_NOT_YET;
	/* So few bytes come at once. */
	return recv(fd, got, sizeof(got), MSG_DONTWAIT) == SP_HELLO &&
	    memcmp(got, "\0SP\0", 4) == 0 && got[5] == other ? BUS_GREETED : BUS_REFUSED;
}

/* A connection past the handshake, or -1. */
static int
enter(const char *path, int own, int other, bool ours, int timeout_ms)
{
	int fd = knock(path, own, ours);

	if (fd == -1 || greeted(fd, other, timeout_ms) == BUS_GREETED)
		return fd;
	close(fd);
	return -1;
}

bool
bus_check_rep(const char *path, int timeout_ms)
{
	/* message, its length, request id, frame: FRAME_PING, 2, {} */
	static const unsigned char ping[] = {
		1, 0, 0, 0, 0, 0, 0, 0, 14, 0x80, 0, 0, 1,
		0, 0, FRAME_PING >> 8, FRAME_PING & 255, 0, 0, 0, 2, '{', '}',
	};
	int fd = enter(path, SP_REQ, SP_REP, true, timeout_ms);
	unsigned char got[sizeof(ping)];
	bool well;

	if (fd == -1)
		return false;
	well = write_all(fd, ping, sizeof(ping)) &&
	    read_all(fd, got, sizeof(got), clock_ms() + timeout_ms) &&
	    memcmp(got, ping, sizeof(ping)) == 0;
	close(fd);
	return well;
}

bool
bus_check_pub(const char *path, int timeout_ms, void (*nudge)(void *arg),
    void *arg)
{
	int fd = enter(path, SP_SUB, SP_PUB, true, timeout_ms);
	int64_t deadline = clock_ms() + timeout_ms;
	unsigned char byte;
	bool well;

	if (fd == -1)
		return false;
	/* The owner publishes every 500 ms; the rest is for one that is late. */
	well = read_all(fd, &byte, 1, clock_ms() + timeout_ms * 6 / 10);
	while (!well && clock_ms() < deadline) {
		nudge(arg);
		well = read_all(fd, &byte, 1, clock_ms() + NUDGE_MS);
	}
	close(fd);
	return well;
}

int
bus_knock_rep(const char *path)
{
	return knock(path, SP_REQ, false);
}

enum bus_greeting
bus_greeted_by_rep(int fd, int timeout_ms)
{
	return greeted(fd, SP_REP, timeout_ms);
}

int
bus_enter_sub(const char *path, int timeout_ms)
{
	return enter(path, SP_SUB, SP_PUB, false, timeout_ms);
}

uint64_t
bus_get_number(const void *bytes, int n)
{
	const unsigned char *p = bytes;
	uint64_t v = 0;

	for (int i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

void
bus_put_number(void *bytes, int n, uint64_t v)
{
	unsigned char *p = bytes;

	for (; n > 0; v >>= 8)
		p[--n] = (unsigned char)v;
}
