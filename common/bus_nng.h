#ifndef COMMON_BUS_NNG_H
#define COMMON_BUS_NNG_H

#include <nng/nng.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus.h"

/*
 * What the files bus*.c share and nobody else includes.
 */
enum {
	BUS_PATH_MAX = 100,		/* bytes; the kernel has room for 107 */
	BUS_STACK = 256 << 10,		/* bytes, of each thread of the bus */
	BUS_HEALTHY_MS = 5000,		/* since the last check that passed */
};

/*
 * dir/name.suffix into out [BUS_PATH_MAX + 1].  ERR_RANGE if it is longer.
 */
int bus_path(char *out, const char *dir, const char *name, const char *suffix,
    struct err *e);

/* Make dir if it is missing.  ERR_SYSTEM if it cannot be made or written. */
int bus_make_dir(const char *dir, struct err *e);

/* The code of an error for r of NNG: memory and descriptors may be short for a
 * while, so these are ERR_NO_MEMORY. */
int bus_code(int r);

/* Start a detached thread that takes no signals.  ERR_SYSTEM. */
int bus_thread(void *(*fn)(void *), void *arg, struct err *e);

/* f as a message to be sent.  ERR_RANGE if it is larger than the bus takes. */
int bus_message(const struct frame *f, nng_msg **m, struct err *e);

/* Connect to path as a REQ: is a ping answered, each step in timeout_ms? */
bool bus_check_rep(const char *path, int timeout_ms);

/*
 * Connect to path as a SUB: does any event come in timeout_ms?  While none does
 * nudge(arg) is called, which may publish one.
 */
bool bus_check_pub(const char *path, int timeout_ms, void (*nudge)(void *arg),
    void *arg);

/* What a check of a listener found. */
enum bus_check {
	BUS_WELL,
	BUS_BROKEN,	/* nobody new is served: it has to listen again */
	BUS_BUSY,	/* all threads are; a matter for the watchdog */
};

/*
 * A listening socket that looks after itself on a thread of its own.
 */
struct bus_listener {
	nng_socket socket;
	nng_listener listener;
	char path[BUS_PATH_MAX + 1];
	enum bus_check (*check)(struct bus_listener *l);
	atomic_int_fast64_t well_ms;	/* when a check last passed */
	atomic_uint relistens;
	void *arg;			/* for check */
};

/*
 * Listen with l->socket (opened and set up by the caller, except for what all
 * sockets need) at path [BUS_PATH_MAX + 1] and start the thread.
 */
int bus_listen(struct bus_listener *l, const char *path, struct err *e);
bool bus_listener_healthy(const struct bus_listener *l);

/*
 * A dialing socket that looks after its dialer on a thread of its own.
 */
struct bus_dialer {
	nng_socket socket;
	nng_dialer dialer;
	char path[BUS_PATH_MAX + 1];
	bool (*check)(const char *path, int timeout_ms);	/* who listens? */
	atomic_int n_pipes;		/* connections now */
	atomic_uint redials;
};

/*
 * Dial d->path with d->socket (opened by the caller), in the background: it
 * also succeeds while nobody listens there.
 */
int bus_dial(struct bus_dialer *d, struct err *e);

/* Does somebody at path shake hands with a REQ? */
bool bus_check_req(const char *path, int timeout_ms);

/* A plain socket, connected to the publisher at path and past the handshake; or -1.
 * What it then gets are messages: a byte 1, their length as 8 bytes, the frame. */
int bus_enter_sub(const char *path, int timeout_ms);

#endif
