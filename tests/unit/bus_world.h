#ifndef TESTS_BUS_WORLD_H
#define TESTS_BUS_WORLD_H

/* What the tests of the bus share: a service, its clients, its listeners. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus.h"
#include "clock.h"

enum {
	ECHO = 16, REFUSE, SILENT, HUGE_REPLY, SLOW,	/* requests */
	ECHOED, EVENT,
	WAIT_MS = 20000,	/* for what should take at most 3 s */
	CALL_MS = 10000,
};

static char dir[64];	/* the runtime directory */

static inline void
handle(void *arg, const struct frame *in, struct frame *out)
{
	struct err e;

	(void)arg;
	switch (in->type) {
	case ECHO:
		out->type = ECHOED;
		out->obj = json_incref(in->obj);
		out->bulk = in->bulk;
		out->n_bulk = in->n_bulk;
		break;
	case REFUSE:
		err_set_param(&e, ERR_BUSY, "id", "no room");
		e.retry_after_ms = 250;
		frame_set_error(out, &e);
		break;
	case HUGE_REPLY:
		out->type = ECHOED;
		out->obj = json_object();
		out->bytes = calloc(1, BUS_MESSAGE_MAX);
		out->bulk = out->bytes;
		out->n_bulk = BUS_MESSAGE_MAX;
		break;
	case SLOW:
		usleep(400000);
		out->type = ECHOED;
		out->obj = json_object();
		break;
	default:
		break;
	}
}

/* One call with {"n": n} and what it gave. */
static inline int
call(struct bus_client *c, uint32_t type, int n, int timeout_ms,
    struct frame *reply, struct err *e)
{
	struct frame request = { .type = type, .obj = json_pack("{s:i}", "n", n) };
	int r = bus_call(c, &request, reply, timeout_ms, e);

	frame_free(&request);
	return r;
}

static inline struct bus_server *
serve(const char *name)
{
	struct bus_server *s = NULL;
	struct err e = { 0 };

	ck_assert_msg(bus_serve(&s, dir, name, 2, handle, NULL, &e) == 0, "%s",
	    e.text);
	return s;
}

static inline struct bus_client *
client(const char *name)
{
	struct bus_client *c = NULL;
	struct err e = { 0 };

	ck_assert_msg(bus_client_open(&c, dir, name, &e) == 0, "%s", e.text);
	return c;
}

static inline void
assert_echo(struct bus_client *c)
{
	struct frame reply = { 0 };
	struct err e = { 0 };
	int r = call(c, ECHO, 7, CALL_MS, &reply, &e);

	ck_assert_msg(r == 0, "%s", e.text);
	ck_assert_uint_eq(reply.type, ECHOED);
	ck_assert_int_eq(json_integer_value(json_object_get(reply.obj, "n")), 7);
	frame_free(&reply);
}

struct heard {
	atomic_int events, silences, last, pings;
};

static inline void
on_event(void *arg, const struct frame *f)
{
	struct heard *h = arg;

	if (f == NULL) {
		h->silences++;
		return;
	}
	if (f->type == FRAME_PING)
		h->pings++;
	h->last = (int)json_integer_value(json_object_get(f->obj, "n"));
	h->events++;
}

/* Publish every 20 ms until h has heard one more event, or end. */
static inline void
publish_until_heard(struct bus_publisher *p, struct heard *h)
{
	struct frame f = { .type = EVENT, .obj = json_pack("{s:i}", "n", 5) };
	int64_t end = clock_ms() + WAIT_MS;
	int before = h->events;
	struct err e;

	while (h->events == before && clock_ms() < end) {
		ck_assert_int_eq(bus_publish(p, &f, &e), 0);
		usleep(20000);
	}
	frame_free(&f);
	ck_assert_int_gt(h->events, before);
	ck_assert_int_eq(h->last, 5);
}

/* Make dir, below a directory that is returned, to be removed in the end. */
static inline const char *
make_dir(void)
{
	static char base[] = "/tmp/test_bus." "XX" "XX" "XX";

	if (mkdtemp(base) == NULL)
		return NULL;
	snprintf(dir, sizeof(dir), "%s/run", base);
	return base;
}

/* Run the cases, in this process: NNG does not survive a fork. */
static inline int
run_cases(TCase *t, const char *base)
{
	Suite *s = suite_create("bus");
	SRunner *r = srunner_create(s);
	char command[64];
	int failed;

	signal(SIGPIPE, SIG_IGN);
	srunner_set_fork_status(r, CK_NOFORK);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	snprintf(command, sizeof(command), "rm -rf %s", base);
	return system(command) == 0 && failed == 0 ? EXIT_SUCCESS :
	    EXIT_FAILURE;
}

#endif
