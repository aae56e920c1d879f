/*
 * The dialing end of requests, REQ.  A call has a context and an aio of its own,
 * so calls do not wait for each other, and what is given up is given up by
 * closing the context.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include "bus_nng.h"
#include "clock.h"

enum {
	SEND_TIMEOUT_MS = 1000,		/* to find somebody who listens */
};

struct bus_client {
	struct bus_dialer to;
	struct bus_client *next;	/* in the list of all */
};

/* All of them, for life: what is never closed shall be no leak. */
static _Atomic(struct bus_client *) clients;

int
bus_client_open(struct bus_client **out, const char *dir, const char *name,
    struct err *e)
{
	char path[BUS_PATH_MAX + 1];
	struct bus_client *c;
	int r;

	if ((r = bus_path(path, dir, name, "sock", e)) != 0)
		return r;
	if ((c = calloc(1, sizeof(*c))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a socket");
	memcpy(c->to.path, path, sizeof(path));
	c->to.check = bus_check_req;
	if ((r = nng_req0_open(&c->to.socket)) != 0) {
		free(c);
		return err_set(e, bus_code(r), "%s: %s", path, nng_strerror(r));
	}
	if ((r = nng_socket_set_ms(c->to.socket, NNG_OPT_REQ_RESENDTIME,
	    NNG_DURATION_INFINITE)) != 0)
		return err_set(e, bus_code(r), "%s: %s", path, nng_strerror(r));
	if ((r = bus_dial(&c->to, e)) != 0)
		return r;
	c->next = atomic_load(&clients);
	while (!atomic_compare_exchange_weak(&clients, &c->next, c))
		;
	*out = c;
	return 0;
}

/* Send m, which is taken in any case. */
static int
send_request(struct bus_client *c, nng_ctx ctx, nng_aio *aio, nng_msg *m,
    int timeout_ms, struct err *e)
{
	int r;

	nng_aio_set_msg(aio, m);
	nng_aio_set_timeout(aio, timeout_ms < SEND_TIMEOUT_MS ? timeout_ms :
	    SEND_TIMEOUT_MS);
	nng_ctx_send(ctx, aio);
	nng_aio_wait(aio);
	if ((r = nng_aio_result(aio)) == 0)
		return 0;
	nng_msg_free(nng_aio_get_msg(aio));
	nng_aio_set_msg(aio, NULL);
	if (r == NNG_ENOMEM)
		return err_set(e, ERR_NO_MEMORY, "no memory for a request");
	return err_set(e, ERR_UNAVAILABLE, "nobody listens at %s", c->to.path);
}

/* The bytes of m into *reply, which owns what it needs of them. */
static int
take_reply(nng_msg *m, struct frame *reply, struct err *e)
{
	struct frame f = { 0 };
	int r = frame_parse(nng_msg_body(m), nng_msg_len(m), &f, e);

	if (r == 0 && f.type == FRAME_ERROR) {
		r = frame_get_error(&f, e);
	} else if (r == 0 && f.n_bulk > 0) {
		if ((f.bytes = malloc(f.n_bulk)) == NULL) {
			r = err_set(e, ERR_NO_MEMORY, "no memory for a reply");
		} else {
			memcpy(f.bytes, f.bulk, f.n_bulk);
			f.bulk = f.bytes;
		}
	}
	if (r != 0) {
		frame_free(&f);
		return r;
	}
	if (f.n_bulk == 0)
		f.bulk = NULL;
	*reply = f;
	return 0;
}

static int
receive_reply(struct bus_client *c, nng_ctx ctx, nng_aio *aio,
    struct frame *reply, int64_t deadline_ms, struct err *e)
{
	int64_t left = deadline_ms - clock_ms();
	nng_msg *m;
	int r;

	nng_aio_set_timeout(aio, left > 0 ? (nng_duration)left : 1);
	nng_ctx_recv(ctx, aio);
	nng_aio_wait(aio);
	switch (nng_aio_result(aio)) {
	case 0:
		m = nng_aio_get_msg(aio);
		r = take_reply(m, reply, e);
		nng_msg_free(m);
		return r;
	case NNG_ETIMEDOUT:
		return err_set(e, ERR_TIMEOUT, "no answer from %s in time",
		    c->to.path);
	case NNG_ENOMEM:
		return err_set(e, ERR_NO_MEMORY, "no memory for a reply");
	default:
		return err_set(e, ERR_UNAVAILABLE, "the connection to %s broke",
		    c->to.path);
	}
}

int
bus_call(struct bus_client *c, const struct frame *request,
    struct frame *reply, int timeout_ms, struct err *e)
{
	int64_t deadline = clock_ms() + timeout_ms;
	nng_msg *m = NULL;
	nng_aio *aio;
	nng_ctx ctx;
	int r;

	if ((r = bus_message(request, &m, e)) != 0)
		return r;
	if (nng_aio_alloc(&aio, NULL, NULL) != 0) {
		nng_msg_free(m);
		return err_set(e, ERR_NO_MEMORY, "no memory for a call");
	}
	if (nng_ctx_open(&ctx, c->to.socket) != 0) {
		nng_msg_free(m);
		nng_aio_free(aio);
		return err_set(e, ERR_NO_MEMORY, "no memory for a call");
	}
	/* To receive before the send is done crashes NNG (nanomsg/nng#1702). */
	if ((r = send_request(c, ctx, aio, m, timeout_ms, e)) == 0)
		r = receive_reply(c, ctx, aio, reply, deadline, e);
	nng_ctx_close(ctx);
	nng_aio_free(aio);
	return r;
}
