#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include <pthread.h>
#include <stdbool.h>

/*
 * The main thread of a service after its start: it waits for a signal and, in
 * between, calls tick.  Work happens on the threads of the bus, the web layer
 * and the engine, which inherit a mask that blocks the signals, so loop_init
 * comes before any of them is started.
 *
 * What is not the loop need not look at signals: until loop_ready SIGINT and SIGTERM
 * end the process as ever, though a large model may take minutes to be read, and
 * after loop_run a second SIGINT does, since a person does not want to wait longer.
 */
typedef void loop_tick_fn(void *arg);

struct loop {
	int fd;			/* a signalfd */
	int tick_ms;
	loop_tick_fn *tick;
	loop_tick_fn *reload;	/* on SIGHUP; or NULL */
	void *arg;
	/* loop.c's own: who looks while the loop does not run, and for what */
	pthread_t guard;
	int end_fd;
	bool guarded, first;
	bool missed;		/* a SIGHUP came before the loop */
};

/* Block SIGINT, SIGTERM, SIGHUP, ignore SIGPIPE, and set what is loop.c's own.  0,
 * or ERR_SYSTEM.  *l must live as long as the process. */
int loop_init(struct loop *l);

/* From here on signals wait for loop_run: before the service says that it is ready. */
void loop_ready(struct loop *l);

/* Returns 0 on SIGINT or SIGTERM, ERR_SYSTEM if poll fails.  Once. */
int loop_run(struct loop *l);

#endif
