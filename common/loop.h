#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include <stdbool.h>

/*
 * The main thread of a service after its start: it waits for a signal and, in
 * between, calls tick.  Work happens on the threads of the bus, the web layer
 * and the engine, which inherit a mask that blocks the signals, so loop_init
 * comes before any of them is started.
 */
typedef void loop_tick_fn(void *arg);

struct loop {
	int fd;			/* a signalfd */
	int tick_ms;
	loop_tick_fn *tick;
	loop_tick_fn *reload;	/* on SIGHUP; or NULL */
	void *arg;
};

/* Block SIGINT, SIGTERM, SIGHUP, ignore SIGPIPE, and set l->fd alone.  0, or
 * ERR_SYSTEM. */
int loop_init(struct loop *l);

/* Returns 0 on SIGINT or SIGTERM, ERR_SYSTEM if poll fails. */
int loop_run(struct loop *l);

#endif
