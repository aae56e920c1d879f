#include <pthread.h>
#include <stdatomic.h>

#include "web.h"
#include "web_client.h"

/*
 * What the server does over time: bodies that drip, clients that leave or do
 * not read, the end.  Deadlines are short, but nothing is timed: a
 * test waits for the event, and only a hung one for long.
 */
static struct web *web;
static int port;
static atomic_bool entered, release, gave_up;
static struct response r;

#define HOST "Host: localhost\r\n"

static bool
await(const atomic_bool *flag)
{
	for (int i = 0; i < CLIENT_PATIENCE_MS && !*flag; i++)
		usleep(1000);
	return *flag;
}

static void
post_echo(struct web_request *rq, void *arg)
{
	const char *data;
	size_t n;

	(void)arg;
	if (web_body(rq, &data, &n) == 0)
		web_reply(rq, 200, "application/octet-stream", data, n);
}

/* Write until the client no longer takes it. */
static void
get_flood(struct web_request *rq, void *arg)
{
	static const char piece[50000];

	(void)arg;
	web_stream_begin(rq, 200, "application/octet-stream");
	while (web_stream_write(rq, piece, sizeof(piece)))
		entered = true;
	gave_up = true;
	web_stream_end(rq, false);
}

/* Wait for the client to leave, or for the test. */
static void
get_hold(struct web_request *rq, void *arg)
{
	(void)arg;
	entered = true;
	while (!release && !web_client_gone(rq))
		usleep(1000);
	gave_up = !release;
	web_reply(rq, 200, "text/plain", "held", 4);
}

static const struct web_route routes[] = {
	{ "POST", "/echo", post_echo, 8 << 20, 0 },
	{ "GET", "/info", get_hold, 0, 0 },
	{ "GET", "/flood", get_flood, 0, 0 },
	{ "GET", "/hold", get_hold, 0, 0 },
	{ 0 }
};

static const struct web_config config = { .bind = "127.0.0.1:0",
	.n_threads = 8, .routes = routes, .request_id_prefix = "req_",
	.body_timeout_ms = 600, .write_timeout_ms = 300 };

static void
start(void)
{
	struct err e;

	ck_assert_msg(web_start(&web, &config, &e) == 0, "%s", e.text);
	port = web_port(web);
}

static void
end(void)
{
	web_stop(web, 1000);
}

static bool
is_idle(void)
{
	for (int i = 0; i < CLIENT_PATIENCE_MS && web_active(web) > 0; i++)
		usleep(1000);
	return web_active(web) == 0;
}

static void
begin_test(void)
{
	ck_assert(is_idle());
	entered = release = gave_up = false;
}

static void
end_test(void)
{
	release = true;
}

/* Say head, then drop again and again until there is an answer. */
static void
drip(const char *head, const char *drop)
{
	int fd = client_connect(port);
	struct pollfd p = { .fd = fd, .events = POLLIN };

	client_send(fd, head, strlen(head));
	for (int i = 0; i < CLIENT_PATIENCE_MS / 20 && poll(&p, 1, 20) == 0; i++)
		client_send(fd, drop, strlen(drop));
	client_finish(fd, &r);
}

static const struct {
	const char *head, *drop;
} drips[] = {
	{ "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999\r\n\r\n", "x" },
	{ "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nabc", "" },
	{ "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
	    "0" },
	{ "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
	    "" },
	{ "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
	    "1\r\nx\r\n" },
	{ "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
	    "8000000000000000\r\n", "x" },
	{ "GET /info HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
	    "" },
};

START_TEST(a_body_that_drips_is_given_up)
{
	drip(drips[_i].head, drips[_i].drop);
	ck_assert_int_eq(r.status, 408);
	ck_assert_ptr_nonnull(strstr(r.body, "\"timeout_error\""));
	ck_assert(is_idle());
}
END_TEST

START_TEST(a_large_body_comes_whole)
{
	enum { N = 7 << 20 };
	static char sent[N], got[N + 4096];
	const char *head = "POST /echo HTTP/1.1\r\n" HOST
	    "Expect: 100-continue\r\nContent-Length: 7340032\r\n\r\n";
	struct pollfd p = { .events = POLLIN };
	size_t n = 0;
	ssize_t k;

	for (size_t i = 0; i < N; i++)
		sent[i] = (char)(i * 2654435761u >> 13);
	p.fd = client_connect(port);
	client_send(p.fd, head, strlen(head));
	ck_assert_int_eq(poll(&p, 1, CLIENT_PATIENCE_MS), 1);
	ck_assert_int_eq(recv(p.fd, got, 25, MSG_WAITALL), 25);
	ck_assert(memcmp(got, "HTTP/1.1 100 Continue\r\n\r\n", 25) == 0);
	client_send(p.fd, sent, N);
	while (n < sizeof(got) &&
	    (k = recv(p.fd, got + n, sizeof(got) - n, 0)) > 0)
		n += (size_t)k;
	close(p.fd);
	ck_assert_uint_gt(n, N);
	ck_assert(memcmp(got, "HTTP/1.1 200 OK\r\n", 17) == 0);
	ck_assert(memcmp(got + n - N, sent, N) == 0);
}
END_TEST

START_TEST(who_sends_too_much_still_reads_why)
{
	static const char *const heads[] = {
		"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 9000000\r\n\r\n",
		"POST /none HTTP/1.1\r\n" HOST "Content-Length: 9000000\r\n\r\n",
		"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
		    "900000\r\n",
	};
	static const int statuses[] = { 413, 404, 413 };
	static char body[9000000];
	int fd;

	for (int i = 0; i < 3; i++) {
		fd = client_connect(port);
		client_send(fd, heads[i], strlen(heads[i]));
		/* A reset could take the answer away from the client. */
		ck_assert(client_send(fd, body, sizeof(body)));
		client_finish(fd, &r);
		ck_assert(!r.reset);
		ck_assert_int_eq(r.status, statuses[i]);
	}
}
END_TEST

static int
start_request(const char *path)
{
	int fd = client_connect(port);
	char text[200];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST "\r\n", path);
	client_send(fd, text, strlen(text));
	ck_assert(await(&entered));
	return fd;
}

START_TEST(a_client_that_does_not_read_is_given_up)
{
	int fd = start_request("/flood");

	ck_assert(await(&gave_up));
	ck_assert(is_idle());
	close(fd);
}
END_TEST

START_TEST(a_client_that_reads_by_drops_is_given_up)
{
	int fd, small = 1024;
	char drop[256];

	fd = start_request("/flood");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (int i = 0; i < CLIENT_PATIENCE_MS / 10 && !gave_up; i++) {
		recv(fd, drop, sizeof(drop), MSG_DONTWAIT);
		usleep(10000);
	}
	ck_assert(gave_up);
	close(fd);
}
END_TEST

START_TEST(a_client_that_leaves_a_stream_is_noticed)
{
	close(start_request("/flood"));
	ck_assert(await(&gave_up));
	ck_assert(is_idle());
}
END_TEST

START_TEST(a_client_that_leaves_while_it_waits_is_noticed)
{
	int fds = count_fds();

	close(start_request("/hold"));
	ck_assert(await(&gave_up));
	ck_assert(is_idle());
	for (int i = 0; i < CLIENT_PATIENCE_MS && count_fds() != fds; i++)
		usleep(1000);
	ck_assert_int_eq(count_fds(), fds);
}
END_TEST

static void *
stop(void *timeout_ms)
{
	return (void *)(intptr_t)web_stop(web, *(int *)timeout_ms);
}

START_TEST(it_stops_when_those_inside_are_done)
{
	int fd, timeout_ms = CLIENT_PATIENCE_MS;
	static struct response late;
	char value[1024];
	pthread_t t;
	void *n_cut;

	entered = release = gave_up = false;
	start();
	fd = start_request("/hold");
	ck_assert_int_eq(web_active(web), 1);
	pthread_create(&t, NULL, stop, &timeout_ms);
	while (!web_draining(web))
		usleep(1000);
	client_asks(port, "GET /info HTTP/1.1\r\n" HOST "\r\n", &late);
	ck_assert_int_eq(late.status, 503);
	ck_assert_ptr_nonnull(strstr(late.body, "\"draining\""));
	ck_assert(response_header(&late, "Retry-After", value));
	release = true;
	client_finish(fd, &r);
	ck_assert_int_eq(r.status, 200);
	ck_assert_str_eq(r.body, "held");
	pthread_join(t, &n_cut);
	ck_assert_int_eq((intptr_t)n_cut, 0);
}
END_TEST

/* Read all there is, so that the flood goes on. */
static void *
drain(void *arg)
{
	static char piece[65536];

	while (recv(*(int *)arg, piece, sizeof(piece), 0) > 0)
		;
	return NULL;
}

START_TEST(it_stops_though_one_inside_is_not_done)
{
	pthread_t t;
	int fd;

	entered = release = gave_up = false;
	start();
	fd = start_request("/flood");
	pthread_create(&t, NULL, drain, &fd);
	ck_assert_int_eq(web_stop(web, 50), 1);
	ck_assert(gave_up);
	pthread_join(t, NULL);
	close(fd);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("web_time");
	TCase *t = tcase_create("web_time");
	SRunner *runner = srunner_create(s);
	int failed;

	tcase_add_unchecked_fixture(t, start, end);
	tcase_add_checked_fixture(t, begin_test, end_test);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, a_body_that_drips_is_given_up, 0,
	    (int)(sizeof(drips) / sizeof(drips[0])));
	tcase_add_test(t, a_large_body_comes_whole);
	tcase_add_test(t, who_sends_too_much_still_reads_why);
	tcase_add_test(t, a_client_that_does_not_read_is_given_up);
	tcase_add_test(t, a_client_that_reads_by_drops_is_given_up);
	tcase_add_test(t, a_client_that_leaves_a_stream_is_noticed);
	tcase_add_test(t, a_client_that_leaves_while_it_waits_is_noticed);
	suite_add_tcase(s, t);
	t = tcase_create("stop");
	tcase_add_checked_fixture(t, NULL, end_test);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, it_stops_when_those_inside_are_done);
	tcase_add_test(t, it_stops_though_one_inside_is_not_done);
	suite_add_tcase(s, t);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
