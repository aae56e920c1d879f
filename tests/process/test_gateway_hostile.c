/*
 * What is sent to a gateway by those who mean it harm, or by accident.  After each
 * phase it answers, has no more descriptors than before and not much more memory.
 * First without a worker, so that what is in order gets 503; then with one, for the
 * clients that do not read.  HOSTILE_LONG=1: ten times as much (tests/hostile.sh).
 */
#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "fake_decode.h"
#include "gateway_peer.h"
#include "hostile.h"

enum {
	N_MUTATIONS = 10000, N_SLOW = 500, N_DRIPS = 50, N_FLOODS = 100,
	N_CALLS = 16,			/* sockets of the bus, kept for the next calls */
	N_READERS = 24,			/* more than that */
	ROOM = 4096,			/* of what is damaged */
};

static struct hostiles cases;
static int times = 1;			/* 10: the long form */
static int start_fds;
static int64_t phase_rss_kb, phase_bytes;
static int phase_statuses[600];		/* how often each was the answer; 0: none */

static void
phase_begins(void)
{
	char text[512];

	/* What a first request needs is not this phase's. */
	process_get(gateway_port, "/livez", text, sizeof(text));
	phase_rss_kb = hostile_rss_kb(gateway.pid);
	phase_bytes = 0;
	memset(phase_statuses, 0, sizeof(phase_statuses));
	if (start_fds == 0)
		start_fds = hostile_fds(gateway.pid);
}

/* A request, and that it was answered; its status. */
static int
ask(const void *bytes, size_t n)
{
	int status = hostile_ask(gateway_port, bytes, n);

	phase_bytes += (int64_t)n;
	phase_statuses[status >= 0 && status < 600 ? status : 0]++;
	return status;
}

/* The long form is run to be looked at. */
static void
report(const char *what, int64_t grown)
{
	if (times == 1)
		return;
	printf("%s: %lld bytes sent, memory grew %lld bytes (%.2f a byte sent);", what,
	    (long long)phase_bytes, (long long)grown, (double)grown / (double)phase_bytes);
	for (int i = 0; i < 600; i++)
		if (phase_statuses[i] > 0)
			printf(" %d: %d", i, phase_statuses[i]);
	printf("\n");
}

static void
phase_ends(const char *what)
{
	int64_t until = clock_ms() + PROCESS_PATIENCE_MS, grown;
	char text[512];

	ck_assert_int_eq(process_get(gateway_port, "/livez", text, sizeof(text)), 200);
	while (hostile_fds(gateway.pid) > start_fds && clock_ms() < until)
		usleep(20000);
	ck_assert_int_le(hostile_fds(gateway.pid), start_fds);
	grown = (hostile_rss_kb(gateway.pid) - phase_rss_kb) * 1024;
	report(what, grown);
	/* A sanitizer keeps what is freed for a while, to catch who uses it. */
	ck_assert_msg(SLOW || grown < 100 * phase_bytes, "%lld bytes of memory for %lld sent",
	    (long long)grown, (long long)phase_bytes);
}

START_TEST(each_request_gets_the_status_it_deserves)
{
	size_t n_wrong = 0;

	ck_assert_uint_ge(cases.n, 450);
	phase_begins();
	for (size_t i = 0; i < cases.n; i++) {
		const struct hostile *h = &cases.all[i];
		int status = ask(h->bytes.data, h->bytes.len);

		if (status == h->status)
			continue;
		n_wrong++;
		printf("%s:%d: %d, not %d, for %.300s\n", h->file, h->line, status,
		    h->status, h->bytes.len > 0 ? h->bytes.data : "");
	}
	ck_assert_uint_eq(n_wrong, 0);
	phase_ends("made to be misread");
}
END_TEST

START_TEST(damaged_requests_leave_it_well)
{
	char text[ROOM], answer[512];
	uint64_t seed = 20260101;
	int answers = 0, n_sent = 0;

	phase_begins();
	for (size_t i = 0; n_sent < N_MUTATIONS * times; i++) {
		const struct buf *b = &cases.all[i % cases.n].bytes;
		size_t n = b->len;

		if (n == 0 || n > ROOM / 2)
			continue;
		memcpy(text, b->data, n);
		n = hostile_damage(text, n, ROOM, &seed);
		answers += ask(text, n) != 0;
		if (++n_sent % 1000 == 0)
			ck_assert_int_eq(process_get(gateway_port, "/livez", answer,
			    sizeof(answer)), 200);
	}
	ck_assert_int_gt(answers, N_MUTATIONS * times * 9 / 10);
	phase_ends("damaged");
}
END_TEST

/* Connections that say text and then nothing. */
static void
open_all(int *fds, int n, const char *text)
{
	for (int i = 0; i < n; i++) {
		fds[i] = hostile_connect(gateway_port, 0);
		ck_assert_int_eq(send(fds[i], text, strlen(text), MSG_NOSIGNAL),
		    (ssize_t)strlen(text));
		phase_bytes += (int64_t)strlen(text);
	}
}

/* Read until the server closes it; the status, 0 if it said none. */
static int
await_end(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[2048];
	size_t n = 0;
	ssize_t k = 1;
	int status = 0;

	while (k > 0 && n < sizeof(text) - 1) {
		ck_assert_msg(poll(&p, 1, PROCESS_PATIENCE_MS) == 1, "it is not closed");
		if ((k = recv(fd, text + n, sizeof(text) - 1 - n, 0)) > 0)
			n += (size_t)k;
	}
	close(fd);
	text[n] = '\0';
	sscanf(text, "HTTP/1.1 %d", &status);
	return status;
}

START_TEST(five_hundred_slow_heads_lock_nobody_out)
{
	static int fds[N_SLOW];
	char text[512];

	phase_begins();
	open_all(fds, N_SLOW, "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-a: ");
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(process_get(gateway_port, "/livez", text,
		    sizeof(text)), 200);
		for (int k = 0; k < N_SLOW; k += 10)	/* some drip */
			send(fds[k], "b", 1, MSG_NOSIGNAL);
		usleep(50000);
	}
	for (int i = 0; i < N_SLOW; i++)	/* and it ends them by itself */
		ck_assert_int_eq(await_end(fds[i]), 400);
	phase_ends("slow heads");
}
END_TEST

START_TEST(a_body_that_drips_is_given_up)
{
	static const char head[] = "POST /v1/chat/completions HTTP/1.1\r\n"
	    "Host: localhost\r\nContent-Length: 100000\r\n\r\n{";
	int64_t until = clock_ms() + PROCESS_PATIENCE_MS;
	int fds[N_DRIPS], n_open = N_DRIPS;

	phase_begins();
	open_all(fds, N_DRIPS, head);
	while (n_open > 0 && clock_ms() < until) {
		usleep(100000);
		for (int i = n_open - 1; i >= 0; i--) {
			struct pollfd p = { .fd = fds[i], .events = POLLIN };

			if (poll(&p, 1, 0) == 0) {
				send(fds[i], " ", 1, MSG_NOSIGNAL);
				phase_bytes++;
				continue;
			}
			ck_assert_int_eq(await_end(fds[i]), 408);
			fds[i] = fds[--n_open];
		}
	}
	ck_assert_int_eq(n_open, 0);
	phase_ends("dripping bodies");
}
END_TEST

/* Headers without end, on many connections. */
START_TEST(a_flood_of_headers_is_cut_off)
{
	static const char line[] = "X-Header: of which there is no end\r\n";
	int n_refused = 0;
	struct buf b = { 0 };

	phase_begins();
	buf_adds(&b, "GET /livez HTTP/1.1\r\nHost: localhost\r\n");
	while (b.len < 200000)
		buf_adds(&b, line);
	for (int i = 0; i < N_FLOODS * times; i++) {
		int status = ask(b.data, b.len);

		ck_assert_msg(status == 400 || status == 431 || status == 0, "%d", status);
		n_refused += status != 0;
	}
	ck_assert_int_gt(n_refused, 0);
	buf_free(&b);
	phase_ends("floods of headers");
}
END_TEST

/* A stream for somebody who does not listen, nor has much room; id [33]. */
static int
begin_deaf(char *id)
{
	int fd = hostile_connect(gateway_port, 4096);
	struct buf b = { 0 };
	json_t *g;

	buf_printf(&b, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu"
	    "\r\n\r\n%s", gateway_chat, strlen(gateway_streamed), gateway_streamed);
	ck_assert_int_eq(send(fd, b.data, b.len, MSG_NOSIGNAL), (ssize_t)b.len);
	buf_free(&b);
	g = fake_generate();
	snprintf(id, 33, "%s", json_string_value(json_object_get(g, "id")));
	json_decref(g);
	return fd;
}

/* More than any buffer on the way to it holds. */
static void
say_much(const char *id)
{
	static char text[30001];

	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < 100; i++)
		fake_piece(id, i, 1, text, "", false);
}

START_TEST(clients_that_do_not_read_are_cut_off_and_hinder_nobody)
{
	char ids[N_READERS][33], id[33];
	struct http_client good;
	int deaf[N_READERS];

	fake_open(gateway_dir);
	gateway_restart_worker(true);
	gateway_wait_status("/readyz", 200);
	start_fds = 0;			/* of the bus there are more now */
	phase_begins();
	start_fds += N_CALLS;
	for (int i = 0; i < N_READERS; i++) {
		deaf[i] = begin_deaf(ids[i]);
		say_much(ids[i]);
	}
	json_decref(gateway_begin(&good, gateway_streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&good, "\"content\":\"one\"");
	fake_piece(id, 1, 1, " two", "stop", false);
	gateway_check_stream(&good, "one two");
	for (int i = 0; i < N_READERS; i++)
		ck_assert_msg(fake_cancelled(ids[i]) || fake_cancelled(ids[i]),
		    "%d is still served", i);
	for (int i = 0; i < N_READERS; i++)
		close(deaf[i]);
	gateway_restart_worker(true);
	phase_bytes = N_READERS << 17;	/* the worker sent 3 MB for each */
	phase_ends("clients that do not read");
}
END_TEST

static void
begin(void)
{
	gateway_options[1] = "700";
	gateway_start();
	hostile_load(&cases);
}

int
main(void)
{
	Suite *s = suite_create("gateway_hostile");
	TCase *t = tcase_create("gateway_hostile");
	SRunner *r = srunner_create(s);
	int failed;

	if (getenv("HOSTILE_LONG") != NULL)
		times = 10;
	tcase_set_timeout(t, 600);
	tcase_add_unchecked_fixture(t, begin, NULL);
	tcase_add_test(t, each_request_gets_the_status_it_deserves);
	tcase_add_test(t, damaged_requests_leave_it_well);
	tcase_add_test(t, a_flood_of_headers_is_cut_off);
	tcase_add_test(t, a_body_that_drips_is_given_up);
	tcase_add_test(t, five_hundred_slow_heads_lock_nobody_out);
	tcase_add_test(t, clients_that_do_not_read_are_cut_off_and_hinder_nobody);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	hostile_free(&cases);
	process_abandon(&gateway);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
