#ifndef COMMON_BUS_NNG_H
#define COMMON_BUS_NNG_H

#include <nng/nng.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "bus.h"

/*
 * What the files bus*.c share and nobody else includes.
 */
enum {
	BUS_PATH_MAX = 100,		/* bytes; the kernel has room for 107 */
	BUS_STACK = 256 << 10,		/* bytes, of each thread of the bus */
	BUS_HEALTHY_MS = 5000,		/* since it was last known to be well */
	BUS_NUMBER = 4,			/* bytes of a request's number, before its frame */
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
/* The same as a sentence. */
const char *bus_why(int r);

/* Start a detached thread that takes no signals.  ERR_SYSTEM. */
int bus_thread(void *(*fn)(void *), void *arg, struct err *e);

/* The sentence for a message of %zu bytes. */
#define BUS_TOO_LARGE "the message has %zu bytes, more than the %d that the bus takes"

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

/* What is at a path; number 0: nothing. */
struct bus_inode {
	ino_t number;
	struct timespec changed;
};

/*
 * A listening socket that looks after itself on a thread of its own.
 */
struct bus_listener {
	nng_socket socket;
	nng_listener listener;
	char path[BUS_PATH_MAX + 1];
	enum bus_check (*check)(struct bus_listener *l);
	atomic_int n_free;		/* threads that wait for a request */
	atomic_int_fast64_t well_ms;	/* when it was last known to be well */
	atomic_uint relistens;
	/* Its thread's: */
	bool was_well;			/* at the last ping */
	int64_t pinged_ms;
	int64_t n_faults;		/* that NNG should have counted by now */
	struct bus_inode inode;		/* at path, at the last ping */
	void *arg;			/* for check */
};

/*
 * Listen with l->socket (opened and set up by the caller, except for what all
 * sockets need) at path [BUS_PATH_MAX + 1] and start the thread.
 */
int bus_listen(struct bus_listener *l, const char *path, struct err *e);
bool bus_listener_healthy(const struct bus_listener *l);

/*
 * A plain socket to the server at path, which has said its half of the handshake, or -1;
 * and whether the server has said its own.  Of one who has not the socket is better kept:
 * to close it then ends his listener.
 */
enum bus_greeting { BUS_GREETED, BUS_REFUSED, BUS_NOT_YET };
int bus_knock_rep(const char *path);
enum bus_greeting bus_greeted_by_rep(int fd, int timeout_ms);

/* A plain socket, connected to the publisher at path and past the handshake; or -1.
 * What it then gets are messages: a byte 1, their length as 8 bytes, the frame. */
int bus_enter_sub(const char *path, int timeout_ms);

/* A number of n bytes, as the wire has it. */
uint64_t bus_get_number(const void *bytes, int n);
void bus_put_number(void *bytes, int n, uint64_t v);

#endif
