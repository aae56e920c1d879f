#ifndef COMMON_BUS_H
#define COMMON_BUS_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "frame.h"

/*
 * Requests and events between the daemons, over Unix sockets in the runtime
 * directory.  What is peculiar to NNG 1.5.2 stands in bus*.c and nowhere else:
 *
 * - one stray connect()+close() ends a listener for good: every listener looks once
 *   a second whether NNG has counted one, pings itself from a fresh socket if so, and
 *   listens again when that fails;
 * - a dialer whose listener dies in the middle of the handshake gives up for
 *   good, and a call wakes the caller's threads seven times: clients and subscribers are
 *   plain sockets of ours;
 * - a second listener on the same path breaks the first: a lock file, taken
 *   before, keeps it away;
 * - a message has no size limit unless one is set: BUS_MESSAGE_MAX, both ways;
 * - PUB drops what a subscriber does not take in time: callers number their
 *   pieces and replay;
 * - nng_close of a busy socket may never return: sockets are opened once and
 *   left to the exit of the process, so nothing here has a close;
 * - no fork() once one of these has been called.
 *
 * Sockets have mode 0660, the directory (made if missing) 0750.  A path is at
 * most 100 bytes.
 */
enum {
	BUS_MESSAGE_MAX = 4 << 20,	/* bytes; a 1 MiB prompt, escaped, fits */
	BUS_LOOK_MS = 1000,		/* a listener looks whether it is well */
	BUS_PING_MS = 10000,		/* and pings itself, if nothing is amiss */
};

struct bus_server;
struct bus_publisher;
struct bus_client;
struct bus_subscriber;

/*
 * Take dir/name.lock for the life of the process.  ERR_EXISTS if another
 * process holds it, ERR_SYSTEM if dir cannot be made or written.
 */
int bus_lock(const char *dir, const char *name, struct err *e);

/*
 * Answers one request.  Called on one of the server's threads, several at
 * once.  request is borrowed.  *reply is { 0 } and is to be filled; the bus
 * sends and frees it.  Must not block for long.
 */
typedef void bus_handler(void *arg, const struct frame *request,
    struct frame *reply);

/* Listen at dir/name.sock with n_threads contexts. */
int bus_serve(struct bus_server **s, const char *dir, const char *name,
    int n_threads, bus_handler *fn, void *arg, struct err *e);

/* Was it well, not longer than 5 s ago?  For the watchdog. */
bool bus_server_healthy(const struct bus_server *s);

/* How often a listener had to be opened again, since the start. */
unsigned bus_server_relistens(const struct bus_server *s);

/*
 * Publish at dir/name.sock.  The owner must publish something at least every
 * 500 ms (a status event), since silence is how the self-check of a PUB
 * listener and every subscriber notice a fault.
 */
int bus_publisher_open(struct bus_publisher **p, const char *dir,
    const char *name, struct err *e);
int bus_publish(struct bus_publisher *p, const struct frame *f, struct err *e);

/* As of a server. */
bool bus_publisher_healthy(const struct bus_publisher *p);
unsigned bus_publisher_relistens(const struct bus_publisher *p);

/*
 * For calls of dir/name.sock.  It is dialed when there is something to say, so the
 * other side may come later.
 */
int bus_client_open(struct bus_client **c, const char *dir, const char *name,
    struct err *e);

/*
 * Send *request and wait for the answer, timeout_ms in all.  Any thread, several at
 * once: 16 calls at a time, and others wait for their turn.
 * Returns 0 with *reply to be freed by the caller; the code and sentence of a
 * FRAME_ERROR; ERR_UNAVAILABLE if nobody listens or the connection broke (the
 * request may have been executed); ERR_TIMEOUT.
 */
int bus_call(struct bus_client *c, const struct frame *request,
    struct frame *reply, int timeout_ms, struct err *e);

/*
 * Called on the subscriber's one thread for every event; with NULL whenever
 * idle_ms passed without one.  f is borrowed.
 */
typedef void bus_event_fn(void *arg, const struct frame *f);

int bus_subscribe(struct bus_subscriber **s, const char *dir,
    const char *name, int idle_ms, bus_event_fn *fn, void *arg, struct err *e);

/* The same for a reader of text: f->obj is NULL (frame_open), and what is no JSON
 * comes too. */
int bus_subscribe_text(struct bus_subscriber **s, const char *dir,
    const char *name, int idle_ms, bus_event_fn *fn, void *arg, struct err *e);

#endif
