/* A subscriber and a publisher that is a plain socket, so that a test can say what
 * no publisher would. */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "bus.h"
#include "clock.h"

enum { EVENT = 21, WAIT_MS = 10000 };

static const unsigned char hello_pub[] = { 0, 'S', 'P', 0, 0, 0x20, 0, 0 };
static const unsigned char hello_rep[] = { 0, 'S', 'P', 0, 0, 0x31, 0, 0 };
static const unsigned char hello_sub[] = { 0, 'S', 'P', 0, 0, 0x21, 0, 0 };

static char dir[64];
static int listener;
static atomic_int n_heard, sum_heard, n_silences;

static void
on_event(void *arg, const struct frame *f)
{
	(void)arg;
	if (f == NULL) {
		n_silences++;
		return;
	}
	sum_heard += (int)json_integer_value(json_object_get(f->obj, "n"));
	n_heard++;
}

/* The subscriber comes, and hears hello. */
static int
meet(const unsigned char *hello)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	unsigned char got[8];
	int fd;

	ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
	fd = accept(listener, NULL, NULL);
	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(recv(fd, got, 8, MSG_WAITALL), 8);
	ck_assert_mem_eq(got, hello_sub, 8);
	ck_assert_int_eq(send(fd, hello, 8, MSG_NOSIGNAL), 8);
	return fd;
}

/* It has left. */
static void
assert_left(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;

	ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
	ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

/* {"n": n} as a message, and room for padding of so many bytes. */
static void
add_message(struct buf *b, int n, size_t padding)
{
	char *text = calloc(1, padding + 1);
	struct frame f = { .type = EVENT };
	struct buf body = { 0 };
	unsigned char head[9] = { 1 };
	struct err e;

	memset(text, 'x', padding);
	f.obj = json_pack("{s:i, s:s}", "n", n, "padding", text);
	ck_assert_int_eq(frame_write(&f, &body, &e), 0);
	for (int i = 0; i < 8; i++)
		head[1 + i] = (unsigned char)(body.len >> (56 - 8 * i));
	buf_add(b, head, sizeof(head));
	buf_add(b, body.data, body.len);
	buf_free(&body);
	frame_free(&f);
	free(text);
}

static void
await(int n)
{
	int64_t end = clock_ms() + WAIT_MS;

	while (n_heard < n && clock_ms() < end)
		usleep(1000);
	ck_assert_int_eq(n_heard, n);
}

START_TEST(messages_may_come_in_any_pieces)
{
	int fd = meet(hello_pub);
	struct buf b = { 0 };

	n_heard = sum_heard = 0;
	add_message(&b, 1, 0);
	add_message(&b, 2, 0);
	for (size_t i = 0; i < b.len; i++) {	/* a byte at a time */
		ck_assert_int_eq(send(fd, b.data + i, 1, MSG_NOSIGNAL), 1);
		usleep(200);
	}
	await(2);
	buf_clear(&b);
	for (int i = 0; i < 50; i++)		/* many at once */
		add_message(&b, 10, 100);
	add_message(&b, 100, 1 << 20);		/* and a large one */
	add_message(&b, 1000, 0);
	for (size_t i = 0; i < b.len;) {
		ssize_t k = send(fd, b.data + i, b.len - i, MSG_NOSIGNAL);

		ck_assert_int_gt(k, 0);
		i += (size_t)k;
	}
	await(54);
	ck_assert_int_eq(sum_heard, 3 + 500 + 1100);
	buf_free(&b);
	close(fd);
}
END_TEST

static const struct {
	const char *bytes;
	size_t n;
} wrong[] = {
	{ "\2\0\0\0\0\0\0\0\2{}", 11 },			/* no message */
	{ "\1\377\377\377\377\377\377\377\377", 9 },	/* without end */
	{ "\1\0\0\0\0\0\100\0\1", 9 },			/* more than 4 MiB */
};

START_TEST(who_says_something_else_is_left_and_met_again)
{
	int fd = meet(hello_pub);
	struct buf b = { 0 };

	n_heard = sum_heard = 0;
	ck_assert_int_eq(send(fd, wrong[_i].bytes, wrong[_i].n, MSG_NOSIGNAL),
	    (ssize_t)wrong[_i].n);
	assert_left(fd);
	fd = meet(hello_rep);			/* nor to somebody else */
	assert_left(fd);
	fd = meet(hello_pub);
	/* A frame that is none is as good as lost. */
	buf_add(&b, "\1\0\0\0\0\0\0\0\2xx", 11);
	add_message(&b, 7, 0);
	ck_assert_int_eq(send(fd, b.data, b.len, MSG_NOSIGNAL), (ssize_t)b.len);
	await(1);
	ck_assert_int_eq(sum_heard, 7);
	buf_free(&b);
	close(fd);
}
END_TEST

START_TEST(half_a_message_is_forgotten_with_its_connection)
{
	int fd = meet(hello_pub);
	struct buf b = { 0 };

	n_heard = n_silences = 0;
	add_message(&b, 1, 0);
	ck_assert_int_eq(send(fd, b.data, b.len / 2, MSG_NOSIGNAL), (ssize_t)(b.len / 2));
	usleep(20000);
	close(fd);
	fd = meet(hello_pub);
	ck_assert_int_eq(send(fd, b.data, b.len, MSG_NOSIGNAL), (ssize_t)b.len);
	await(1);
	/* And what is silent is noticed. */
	for (int i = 0; i < 1000 && n_silences < 3; i++)
		usleep(10000);
	ck_assert_int_ge(n_silences, 3);
	buf_free(&b);
	close(fd);
}
END_TEST

static void
begin(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct bus_subscriber *s;
	struct err e;

	strcpy(dir, "/tmp/bus_subscriber.XX" "XX" "XX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/raw.sock", dir);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(listener, 8), 0);
	ck_assert_int_eq(bus_subscribe(&s, dir, "raw", 50, on_event, NULL, &e), 0);
}

static void
end(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/raw.sock", dir);
	unlink(path);
	rmdir(dir);
}

int
main(void)
{
	Suite *s = suite_create("bus subscriber");
	TCase *t = tcase_create("bus subscriber");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_unchecked_fixture(t, begin, end);
	tcase_add_test(t, messages_may_come_in_any_pieces);
	tcase_add_loop_test(t, who_says_something_else_is_left_and_met_again, 0,
	    (int)(sizeof(wrong) / sizeof(wrong[0])));
	tcase_add_test(t, half_a_message_is_forgotten_with_its_connection);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
