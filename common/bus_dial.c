/*
 * How a dialer of NNG 1.5.2 is kept alive.  A listener that goes away in the
 * middle of a handshake (a worker killed just then) makes the write of ours fail
 * with EPIPE, which NNG takes for our own closing: the dialer gives up, for
 * good, and says nothing.  So a thread looks whether a socket has been alone for
 * longer than NNG takes to try again, and if somebody does listen there, dials
 * anew.  Nobody there is no reason: a dialer that waits is well.
 */
#include <stdio.h>
#include <unistd.h>

#include "bus_nng.h"
#include "clock.h"

enum {
	RECONNECT_MIN_MS = 50,
	RECONNECT_MAX_MS = 100,		/* a client waits for a worker that restarts */
	LOOK_MS = 250,
	ALONE_MS = 2000,	/* it would have come by then */
	KNOCK_MS = 500,
};

static void
on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct bus_dialer *d = arg;

	(void)pipe;
	atomic_fetch_add(&d->n_pipes, event == NNG_PIPE_EV_ADD_POST ? 1 : -1);
}

static int
dial(struct bus_dialer *d)
{
	char url[BUS_PATH_MAX + 8];

	snprintf(url, sizeof(url), "ipc://%s", d->path);
	return nng_dial(d->socket, url, &d->dialer, NNG_FLAG_NONBLOCK);
}

static void *
watch(void *arg)
{
	struct bus_dialer *d = arg;
	int64_t met_ms = clock_ms();

	for (;;) {
		usleep(LOOK_MS * 1000);
		if (atomic_load(&d->n_pipes) > 0)
			met_ms = clock_ms();
		if (clock_ms() - met_ms < ALONE_MS ||
		    !d->check(d->path, KNOCK_MS) ||
		    atomic_load(&d->n_pipes) > 0)
			continue;
		nng_dialer_close(d->dialer);
		while (dial(d) != 0)	/* memory is short */
			usleep(LOOK_MS * 1000);
		atomic_fetch_add(&d->redials, 1);
		met_ms = clock_ms();
	}
	return NULL;
}

int
bus_dial(struct bus_dialer *d, struct err *e)
{
	int r;

	if ((r = nng_socket_set_size(d->socket, NNG_OPT_RECVMAXSZ,
	    BUS_MESSAGE_MAX)) != 0 ||
	    (r = nng_socket_set_ms(d->socket, NNG_OPT_RECONNMINT,
	    RECONNECT_MIN_MS)) != 0 ||
	    (r = nng_socket_set_ms(d->socket, NNG_OPT_RECONNMAXT,
	    RECONNECT_MAX_MS)) != 0 ||
	    (r = nng_pipe_notify(d->socket, NNG_PIPE_EV_ADD_POST, on_pipe,
	    d)) != 0 ||
	    (r = nng_pipe_notify(d->socket, NNG_PIPE_EV_REM_POST, on_pipe,
	    d)) != 0 || (r = dial(d)) != 0)
		return err_set(e, bus_code(r), "%s: %s", d->path, nng_strerror(r));
	return bus_thread(watch, d, e);
}
