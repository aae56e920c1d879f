/*
 * The listening ends, REP and PUB.  Each looks after its listener on a thread of
 * its own; a REP has, besides, n threads with a context each: receive, call the
 * handler, send, and only then receive again.
 *
 * A ping of one's own listener wakes two dozen threads, and what ends a listener NNG
 * counts: so the thread looks at the counts every second, and pings if one has grown,
 * if the path leads elsewhere, if all threads are busy, and now and then anyway.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/transport/ipc/ipc.h>

#include "bus_nng.h"
#include "clock.h"

enum {
	CHECK_TIMEOUT_MS = 1000,
	SEND_TIMEOUT_MS = 1000,	/* a client that reads nothing holds a thread */
	PUB_SENDBUF = 128,	/* messages, for each subscriber */
};

struct bus_server {
	struct bus_listener at;
	bus_handler *fn;
	void *arg;
};

struct bus_publisher {
	struct bus_listener at;
};

/* What the path leads to now.  Some file systems give the number of a file that was
 * removed to the next one, hence the time. */
static struct bus_inode
inode_at(const char *path)
{
	struct bus_inode at = { 0 };
	struct stat st;

	if (lstat(path, &st) == 0)
		at = (struct bus_inode){ st.st_ino, st.st_ctim };
	return at;
}

static bool
is_at(const struct bus_inode *at, const char *path)
{
	struct bus_inode now = inode_at(path);

	return at->number != 0 && at->number == now.number &&
	    at->changed.tv_sec == now.changed.tv_sec &&
	    at->changed.tv_nsec == now.changed.tv_nsec;
}

/* Owner and group may connect; the directory keeps out everybody else. */
static int
start_listening(struct bus_listener *l)
{
	char url[BUS_PATH_MAX + 8];
	int r;

	l->n_faults = 0;
	snprintf(url, sizeof(url), "ipc://%s", l->path);
	if ((r = nng_listener_create(&l->listener, l->socket, url)) != 0)
		return r;
	if ((r = nng_listener_set_int(l->listener, NNG_OPT_IPC_PERMISSIONS,
	    0660)) != 0 || (r = nng_listener_start(l->listener, 0)) != 0)
		nng_listener_close(l->listener);
	l->inode = inode_at(l->path);
	return r;
}

/* Connections that ended or came to nothing, each of which may have ended the listener;
 * -1: not known. */
static int64_t
count_faults(const struct bus_listener *l)
{
	nng_stat *all, *s;
	int64_t n = 0;

	if (nng_stats_get(&all) != 0)
		return -1;
	s = nng_stat_find_listener(all, l->listener);
	n = s != NULL ? 0 : -1;
	for (s = s != NULL ? nng_stat_child(s) : NULL; s != NULL; s = nng_stat_next(s))
		if (nng_stat_type(s) == NNG_STAT_COUNTER &&
		    strcmp(nng_stat_name(s), "accept") != 0)
			n += (int64_t)nng_stat_value(s);
	nng_stats_free(all);
	return n;
}

/* Is there a reason to ping? */
static bool
is_suspect(struct bus_listener *l)
{
	int64_t before = l->n_faults;

	l->n_faults = count_faults(l);
	return !l->was_well || l->n_faults < 0 || l->n_faults != before ||
	    !is_at(&l->inode, l->path) || atomic_load(&l->n_free) <= 0 ||
	    clock_ms() - l->pinged_ms >= BUS_PING_MS;
}

static void
ping(struct bus_listener *l)
{
	enum bus_check found;

	l->inode = inode_at(l->path);	/* the ping sees whether it is ours */
	found = l->check(l);
	if (found == BUS_BROKEN) {
		nng_listener_close(l->listener);
		start_listening(l);	/* if it fails, the check says so */
		atomic_fetch_add(&l->relistens, 1);
		found = l->check(l);
	}
	l->n_faults++;			/* the ping's own connection */
	l->was_well = found == BUS_WELL;
	l->pinged_ms = clock_ms();
}

static void *
watch(void *arg)
{
	struct bus_listener *l = arg;

	for (;;) {
		usleep(BUS_LOOK_MS * 1000);
		if (is_suspect(l))
			ping(l);
		if (l->was_well)
			atomic_store(&l->well_ms, clock_ms());
	}
	return NULL;
}

int
bus_listen(struct bus_listener *l, const char *path, struct err *e)
{
	int r;

	memcpy(l->path, path, sizeof(l->path));
	if ((r = nng_socket_set_size(l->socket, NNG_OPT_RECVMAXSZ,
	    BUS_MESSAGE_MAX + BUS_NUMBER)) != 0 || (r = start_listening(l)) != 0)
		return err_set(e, r == NNG_EADDRINUSE ? ERR_EXISTS :
		    bus_code(r), "%s: %s", l->path, bus_why(r));
	l->was_well = true;
	l->pinged_ms = clock_ms();
	atomic_store(&l->well_ms, l->pinged_ms);
	return bus_thread(watch, l, e);
}

bool
bus_listener_healthy(const struct bus_listener *l)
{
	return clock_ms() - atomic_load(&l->well_ms) <= BUS_HEALTHY_MS;
}

/* The answer to request, as a message; NULL only if memory is short. */
static nng_msg *
answer(struct bus_server *s, nng_msg *request)
{
	struct frame in = { 0 }, out = { 0 };
	nng_msg *m = NULL;
	struct err e;

	if (frame_parse(nng_msg_body(request), nng_msg_len(request), &in,
	    &e) != 0) {
		frame_set_error(&out, &e);
	} else if (in.type == FRAME_PING) {
		out.type = FRAME_PING;
		out.obj = json_object();
	} else {
		s->fn(s->arg, &in, &out);
	}
	if (out.obj == NULL) {
		err_set(&e, ERR_SYSTEM, "the service gave no answer");
		frame_set_error(&out, &e);
	}
	if (bus_message(&out, &m, &e) != 0) {
		frame_free(&out);
		frame_set_error(&out, &e);
		if (bus_message(&out, &m, &e) != 0)
			m = NULL;
	}
	frame_free(&out);
	frame_free(&in);
	return m;
}

/* Receive and answer one request. */
static int
serve_one(struct bus_server *s, nng_ctx ctx, nng_aio *aio)
{
	nng_msg *request, *reply;
	int r;

	nng_aio_set_timeout(aio, NNG_DURATION_INFINITE);
	nng_ctx_recv(ctx, aio);
	atomic_fetch_add(&s->at.n_free, 1);
	nng_aio_wait(aio);
	atomic_fetch_sub(&s->at.n_free, 1);
	if ((r = nng_aio_result(aio)) != 0)
		return r;
	request = nng_aio_get_msg(aio);
	reply = answer(s, request);
	nng_msg_free(request);
	if (reply == NULL)	/* the client's deadline tells it */
		return 0;
	nng_aio_set_msg(aio, reply);
	nng_aio_set_timeout(aio, SEND_TIMEOUT_MS);
	nng_ctx_send(ctx, aio);
	nng_aio_wait(aio);
	if (nng_aio_result(aio) != 0)	/* the client went away */
		nng_msg_free(nng_aio_get_msg(aio));
	return 0;
}

static void *
serve(void *arg)
{
	struct bus_server *s = arg;
	nng_aio *aio;
	nng_ctx ctx;
	int r;

	while (nng_aio_alloc(&aio, NULL, NULL) != 0)
		usleep(100000);
	while (nng_ctx_open(&ctx, s->at.socket) != 0)
		usleep(100000);
	while ((r = serve_one(s, ctx, aio)) != NNG_ECLOSED)
		if (r != 0)
			usleep(10000);	/* memory is short: do not spin */
	return NULL;
}

/* Where all threads are in their handlers, listening again is of no use. */
static enum bus_check
check_server(struct bus_listener *l)
{
	if (bus_check_rep(l->path, CHECK_TIMEOUT_MS))
		return BUS_WELL;
	return atomic_load(&l->n_free) > 0 ? BUS_BROKEN : BUS_BUSY;
}

int
bus_serve(struct bus_server **out, const char *dir, const char *name,
    int n_threads, bus_handler *fn, void *arg, struct err *e)
{
	char path[BUS_PATH_MAX + 1] = { 0 };
	struct bus_server *s;
	int r;

	if ((r = bus_path(path, dir, name, "sock", e)) != 0 ||
	    (r = bus_make_dir(dir, e)) != 0)
		return r;
	if ((s = calloc(1, sizeof(*s))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a socket");
	s->fn = fn;
	s->arg = arg;
	s->at.check = check_server;
	if ((r = nng_rep0_open(&s->at.socket)) != 0) {
		free(s);
		return err_set(e, bus_code(r), "%s: %s", name, bus_why(r));
	}
	if ((r = bus_listen(&s->at, path, e)) != 0)
		return r;	/* the program ends; s may be in use */
	for (int i = 0; i < n_threads; i++)
		if ((r = bus_thread(serve, s, e)) != 0)
			return r;
	*out = s;
	return 0;
}

bool
bus_server_healthy(const struct bus_server *s)
{
	return bus_listener_healthy(&s->at);
}

unsigned
bus_server_relistens(const struct bus_server *s)
{
	return atomic_load(&s->at.relistens);
}

static void
nudge(void *arg)
{
	struct frame f = { .type = FRAME_PING, .obj = json_object() };

	bus_publish(arg, &f, NULL);
	frame_free(&f);
}

static enum bus_check
check_publisher(struct bus_listener *l)
{
	return bus_check_pub(l->path, CHECK_TIMEOUT_MS, nudge, l->arg) ?
	    BUS_WELL : BUS_BROKEN;
}

int
bus_publisher_open(struct bus_publisher **out, const char *dir,
    const char *name, struct err *e)
{
	char path[BUS_PATH_MAX + 1] = { 0 };
	struct bus_publisher *p;
	int r;

	if ((r = bus_path(path, dir, name, "sock", e)) != 0 ||
	    (r = bus_make_dir(dir, e)) != 0)
		return r;
	if ((p = calloc(1, sizeof(*p))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a socket");
	p->at.check = check_publisher;
	p->at.arg = p;
	atomic_init(&p->at.n_free, 1);	/* it has none that could be busy */
	if ((r = nng_pub0_open(&p->at.socket)) != 0) {
		free(p);
		return err_set(e, bus_code(r), "%s: %s", name, bus_why(r));
	}
	if ((r = nng_socket_set_int(p->at.socket, NNG_OPT_SENDBUF,
	    PUB_SENDBUF)) != 0)
		return err_set(e, bus_code(r), "%s: %s", name, bus_why(r));
	if ((r = bus_listen(&p->at, path, e)) != 0)
		return r;
	*out = p;
	return 0;
}

int
bus_publish(struct bus_publisher *p, const struct frame *f, struct err *e)
{
	nng_msg *m;
	int r = bus_message(f, &m, e);

	if (r != 0)
		return r;
	/* PUB never waits; what a subscriber does not take is dropped for it. */
	if ((r = nng_sendmsg(p->at.socket, m, NNG_FLAG_NONBLOCK)) != 0) {
		nng_msg_free(m);
		return err_set(e, ERR_SYSTEM, "%s: %s", p->at.path,
		    nng_strerror(r));
	}
	return 0;
}

bool
bus_publisher_healthy(const struct bus_publisher *p)
{
	return bus_listener_healthy(&p->at);
}

unsigned
bus_publisher_relistens(const struct bus_publisher *p)
{
	return atomic_load(&p->at.relistens);
}
