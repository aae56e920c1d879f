/*
 * What others may do to the bus: stray connections, garbage, a second instance,
 * sudden death.  The processes that this takes are forked by main, before
 * anything of NNG is called, and wait for an order.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "bus_world.h"

/* A process of main's: what it is told through fd, it does. */
struct peer {
	pid_t pid;
	int fd;
};
static struct peer locker, victim, heir, sleeper;

/* A connection of somebody who is no NNG; or -1. */
static int
raw_connect(const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s.sock", dir, name);
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	close(fd);
	return -1;
}

static const struct {
	const char *what, *bytes;
	size_t n;
} strangers[] = {
	{ "nothing", "", 0 },
	{ "half a header", "\0SP", 3 },
	{ "a header alone", "\0SP\0\0\060\0\0", 8 },
	{ "HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27 },
	{ "zeros", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16 },
};
enum { N_STRANGERS = sizeof(strangers) / sizeof(strangers[0]), KNOCKS = 20 };

/* One stranger comes and goes; at times no door is there. */
static void
be_strange(const char *name, int i)
{
	int fd = raw_connect(name);

	if (fd == -1)
		return;
	if (write(fd, strangers[i].bytes, strangers[i].n) == -1)
		ck_assert_int_eq(errno, EPIPE);
	close(fd);
}

/* A new client gets through within WAIT_MS. */
static void
assert_reached(const char *name)
{
	struct bus_client *c = client(name);
	int64_t end = clock_ms() + WAIT_MS;
	struct frame reply = { 0 };
	struct err e = { 0 };
	int r;

	do
		r = call(c, ECHO, 1, 1000, &reply, &e);
	while (r != 0 && clock_ms() < end);
	ck_assert_msg(r == 0, "%s", e.text);
	frame_free(&reply);
}

START_TEST(a_stranger_does_not_end_a_server)
{
	static struct bus_server *s;
	static struct bus_client *old;
	int64_t end = clock_ms() + WAIT_MS;
	unsigned before;

	if (s == NULL) {
		s = serve("strange");
		old = client("strange");
		assert_echo(old);
	}
	before = bus_server_relistens(s);
	/* Not every single one does harm. */
	while (bus_server_relistens(s) == before && clock_ms() < end) {
		be_strange("strange", _i);
		usleep(300000);
	}
	ck_assert_msg(bus_server_relistens(s) > before, "%s did no harm",
	    strangers[_i].what);
	assert_reached("strange");
	assert_echo(old);
	ck_assert(bus_server_healthy(s));
}
END_TEST

START_TEST(a_socket_that_was_removed_comes_back)
{
	struct bus_server *s = serve("removed");
	int64_t end = clock_ms() + WAIT_MS;
	char path[128];

	snprintf(path, sizeof(path), "%s/removed.sock", dir);
	ck_assert_int_eq(unlink(path), 0);
	while (bus_server_relistens(s) == 0 && clock_ms() < end)
		usleep(20000);
	assert_reached("removed");
}
END_TEST

START_TEST(who_announces_too_much_is_cut_off)
{
	/* hello of a REQ; then a message of 2^32 bytes */
	static const char bytes[] = "\0SP\0\0\060\0\0" "\1\0\0\0\1\0\0\0\0";
	struct pollfd p = { .events = POLLIN };
	char in[16];
	ssize_t n;

	serve("greedy");
	p.fd = raw_connect("greedy");
	ck_assert_int_eq(write(p.fd, bytes, sizeof(bytes) - 1),
	    (int)sizeof(bytes) - 1);
	do {
		ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
		n = read(p.fd, in, sizeof(in));
	} while (n > 0);
	close(p.fd);
	assert_reached("greedy");
}
END_TEST

START_TEST(a_stranger_does_not_end_a_publisher)
{
	static struct heard old, fresh[N_STRANGERS];
	static struct bus_publisher *p;
	struct bus_subscriber *s = NULL;
	struct err e = { 0 };

	if (p == NULL) {
		ck_assert_int_eq(bus_publisher_open(&p, dir, "pub", &e), 0);
		ck_assert_int_eq(bus_subscribe(&s, dir, "pub", 0, on_event,
		    &old, &e), 0);
		publish_until_heard(p, &old);
	}
	be_strange("pub", _i);
	ck_assert_int_eq(bus_subscribe(&s, dir, "pub", 0, on_event, &fresh[_i],
	    &e), 0);
	publish_until_heard(p, &fresh[_i]);
	publish_until_heard(p, &old);
}
END_TEST

/* Give p an order; the rest is read by the caller. */
static void
order(struct peer *p, char what)
{
	ck_assert_int_eq(write(p->fd, &what, 1), 1);
}

START_TEST(a_second_process_does_not_get_the_lock)
{
	struct err e = { 0 };
	char expected[200];

	/* main has taken "held" before it forked locker. */
	order(&locker, 'L');
	ck_assert_int_eq(read(locker.fd, &e, sizeof(e)), (int)sizeof(e));
	ck_assert_int_eq(e.code, ERR_EXISTS);
	snprintf(expected, sizeof(expected), "another held is running (process "
	    "%ld holds %s/held.lock)", (long)getpid(), dir);
	ck_assert_str_eq(e.text, expected);
}
END_TEST

struct caller {
	pthread_t thread;
	struct bus_client *c;
	int code;
};

static void *
call_victim(void *arg)
{
	struct caller *me = arg;
	struct frame reply = { 0 };
	struct err e = { 0 };

	me->code = call(me->c, SILENT, 0, 600000, &reply, &e);
	return NULL;
}

/* The server of who_had_a_server_goes_on_with_the_next_one. */
START_TEST(a_killed_server_ends_the_calls_it_had)
{
	struct caller callers[8];
	struct bus_client *c = client("victim");
	struct frame reply = { 0 };
	struct err e;
	char byte = 0;

	while (call(c, FRAME_PING, 0, CALL_MS, &reply, &e) == ERR_UNAVAILABLE)
		;
	frame_free(&reply);
	for (int i = 0; i < 8; i++) {
		callers[i] = (struct caller){ .c = c };
		pthread_create(&callers[i].thread, NULL, call_victim, &callers[i]);
	}
	for (int i = 0; i < 4; i++)	/* one in each of its threads */
		ck_assert_int_eq(read(heir.fd, &byte, 1), 1);
	kill(heir.pid, SIGKILL);
	for (int i = 0; i < 8; i++) {
		pthread_join(callers[i].thread, NULL);
		ck_assert_int_eq(callers[i].code, ERR_UNAVAILABLE);
	}
}
END_TEST

START_TEST(who_had_a_server_goes_on_with_the_next_one)
{
	struct bus_client *c = client("victim");
	struct frame reply = { 0 };
	struct err e = { 0 };
	char byte = 0;

	order(&victim, 'S');
	ck_assert_int_eq(read(victim.fd, &byte, 1), 1);
	while (call(c, FRAME_PING, 0, CALL_MS, &reply, &e) == ERR_UNAVAILABLE)
		;
	frame_free(&reply);
	kill(victim.pid, SIGKILL);
	waitpid(victim.pid, NULL, 0);
	order(&heir, 'S');
	ck_assert_int_eq(read(heir.fd, &byte, 1), 1);
	ck_assert_msg(call(c, FRAME_PING, 0, CALL_MS, &reply, &e) == 0, "%s", e.text);
	frame_free(&reply);
}
END_TEST

/* To go away in the middle of the handshake would end the listener. */
START_TEST(who_calls_a_stopped_server_does_it_no_harm)
{
	struct bus_client *c = client("sleeper");
	struct frame reply = { 0 };
	struct err e = { 0 };
	unsigned relistens = 1;
	char byte = 0;

	order(&sleeper, 's');
	ck_assert_int_eq(read(sleeper.fd, &byte, 1), 1);
	kill(sleeper.pid, SIGSTOP);
	ck_assert_int_eq(waitpid(sleeper.pid, NULL, WUNTRACED), sleeper.pid);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(call(c, FRAME_PING, 0, 100, &reply, &e), ERR_UNAVAILABLE);
	kill(sleeper.pid, SIGCONT);
	ck_assert_msg(call(c, FRAME_PING, 0, CALL_MS, &reply, &e) == 0, "%s", e.text);
	frame_free(&reply);
	usleep(2 * BUS_LOOK_MS * 1000);
	order(&sleeper, 'r');
	ck_assert_int_eq(read(sleeper.fd, &relistens, sizeof(relistens)), sizeof(relistens));
	ck_assert_uint_eq(relistens, 0);
}
END_TEST

/*
 * A door that shuts in the face of whoever knocks, until nobody does any more (by
 * then the dialer of NNG has given up, for good) or one knocks on that never gives
 * up.  Then a real one opens.
 */
static void
shut_the_door(const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct pollfd p = { .events = POLLIN };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s.sock", dir, name);
	p.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(p.fd, (const struct sockaddr *)&addr,
	    sizeof(addr)), 0);
	ck_assert_int_eq(listen(p.fd, 8), 0);
	for (int i = 0; i < KNOCKS && poll(&p, 1, 1500) == 1; i++)
		close(accept(p.fd, NULL, NULL));
	close(p.fd);
	unlink(addr.sun_path);
}

START_TEST(who_was_turned_away_at_the_door_comes_again)
{
	struct bus_client *c = client("door");
	struct frame reply = { 0 };
	struct err e = { 0 };
	int64_t end;

	shut_the_door("door");
	serve("door");
	end = clock_ms() + WAIT_MS;
	while (call(c, ECHO, 1, 1000, &reply, &e) != 0)
		ck_assert_msg(clock_ms() < end, "%s", e.text);
	frame_free(&reply);
}
END_TEST

START_TEST(a_subscriber_turned_away_at_the_door_comes_again)
{
	static struct heard heard;
	struct bus_publisher *p;
	struct bus_subscriber *s;
	struct err e;

	ck_assert_int_eq(bus_subscribe(&s, dir, "gate", 0, on_event, &heard,
	    &e), 0);
	shut_the_door("gate");
	ck_assert_int_eq(bus_publisher_open(&p, dir, "gate", &e), 0);
	publish_until_heard(p, &heard);
}
END_TEST

static void
never_answer(void *arg, const struct frame *in, struct frame *out)
{
	(void)in;
	(void)out;
	if (write(*(int *)arg, "i", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* The life of a peer: 'L' tries the lock, 'S' and 's' serve and never answer, 'r' says
 * how often it had to listen again. */
static void
run_peer(int fd)
{
	struct bus_server *s = NULL;
	struct err e = { 0 };
	unsigned n;
	char what;

	while (read(fd, &what, 1) == 1) {
		if (what == 'L') {
			bus_lock(dir, "held", &e);
			if (write(fd, &e, sizeof(e)) != (ssize_t)sizeof(e))
				_exit(1);
		} else if (what == 'r') {
			n = bus_server_relistens(s);
			if (write(fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
				_exit(1);
		} else if (bus_serve(&s, dir, what == 'S' ? "victim" : "sleeper", 4,
		    never_answer, &fd, &e) != 0 || write(fd, "r", 1) != 1) {
			_exit(1);
		}
	}
	_exit(0);
}

static struct peer
start_peer(void)
{
	int fds[2];
	struct peer p;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == -1)
		abort();
	if ((p.pid = fork()) == 0) {
		close(fds[0]);
		run_peer(fds[1]);
	}
	close(fds[1]);
	p.fd = fds[0];
	return p;
}

/* NNG 1.5.2 forgets a few kilobytes of every listener that is closed. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libnng.so";
}

int
main(void)
{
	const char *base = make_dir();
	TCase *t = tcase_create("faults");
	struct err e = { 0 };
	int status;

	if (base == NULL || bus_lock(dir, "held", &e) != 0)
		return EXIT_FAILURE;
	locker = start_peer();
	victim = start_peer();
	heir = start_peer();
	sleeper = start_peer();
	tcase_add_loop_test(t, a_stranger_does_not_end_a_server, 0,
	    N_STRANGERS);
	tcase_add_test(t, a_socket_that_was_removed_comes_back);
	tcase_add_test(t, who_announces_too_much_is_cut_off);
	tcase_add_test(t, who_was_turned_away_at_the_door_comes_again);
	tcase_add_test(t, a_subscriber_turned_away_at_the_door_comes_again);
	tcase_add_loop_test(t, a_stranger_does_not_end_a_publisher, 0,
	    N_STRANGERS);
	tcase_add_test(t, a_second_process_does_not_get_the_lock);
	tcase_add_test(t, who_calls_a_stopped_server_does_it_no_harm);
	tcase_add_test(t, who_had_a_server_goes_on_with_the_next_one);
	tcase_add_test(t, a_killed_server_ends_the_calls_it_had);
	status = run_cases(t, base);
	for (int i = 0; i < 4; i++) {
		const struct peer *p[] = { &locker, &victim, &heir, &sleeper };

		kill(p[i]->pid, SIGKILL);
		waitpid(p[i]->pid, NULL, 0);
	}
	return status;
}
