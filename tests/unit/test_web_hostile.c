#include "web.h"
#include "web_client.h"
#include "web_requests.h"

/*
 * The requests of web_requests.h, and ten thousand damaged ones.  The server
 * must answer or close, and never let a byte of a request into the head of its
 * answer.
 */
static struct web *web;
static int port;

static void
get_info(struct web_request *rq, void *arg)
{
	(void)arg;
	web_reply(rq, 200, "text/plain", "info", 4);
}

static void
post_echo(struct web_request *rq, void *arg)
{
	const char *data;
	size_t n;

	(void)arg;
	if (web_body(rq, &data, &n) == 0)
		web_reply(rq, 200, "text/plain", data, n);
}

static void
post_json(struct web_request *rq, void *arg)
{
	json_t *v;

	(void)arg;
	if (web_body_json(rq, &v) == 0)
		web_reply_json(rq, 200, v);
}

static bool
authorize(void *arg, struct web_request *rq, const char *bearer)
{
	(void)arg;
	(void)rq;
	return bearer != NULL && strcmp(bearer, "secret") == 0;
}

static const struct web_route routes[] = {
	{ "GET", "/info", get_info, 0, WEB_PUBLIC | WEB_PREFLIGHT },
	{ "GET", "/key", get_info, 0, 0 },
	{ "POST", "/echo", post_echo, 4096, WEB_PUBLIC },
	{ "POST", "/json", post_json, 65536, WEB_PUBLIC },
	{ "GET", "/item/*", get_info, 0, WEB_PUBLIC },
	{ 0 }
};

static const struct web_config config = { .bind = "127.0.0.1:0",
	.n_threads = 16, .routes = routes, .authorize = authorize,
	.origins = "https://ui.example", .request_id_prefix = "req_" };

/* Names of headers that this server sends. */
static const char *const known[] = { "Date", "Connection", "x-request-id",
	"X-Content-Type-Options", "Content-Type", "Content-Length", "Vary",
	"Access-Control-Allow-Origin", "Access-Control-Expose-Headers",
	"WWW-Authenticate", "Allow" };

static void
check_head(const struct response *r)
{
	const char *line = strstr(r->text, "\r\n"), *end;
	size_t i, n;

	ck_assert(strncmp(r->text, "HTTP/1.1 ", 9) == 0);
	ck_assert_ptr_nonnull(line);
	end = strstr(r->text, "\r\n\r\n");
	ck_assert_ptr_nonnull(end);
	for (line += 2; line < end; line = strstr(line, "\r\n") + 2) {
		n = strcspn(line, ":");
		for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (strlen(known[i]) == n &&
			    strncmp(line, known[i], n) == 0)
				break;
		ck_assert_msg(i < sizeof(known) / sizeof(known[0]),
		    "an unknown header: %.*s", (int)strcspn(line, "\r"), line);
	}
}

static void
check_error(const struct response *r)
{
	static const char *const keys[] = { "message", "type", "param",
		"code" };
	json_t *v = json_loads(r->body, 0, NULL);
	json_t *error = json_object_get(v, "error");

	for (size_t i = 0; i < 4; i++)
		ck_assert_msg(json_object_get(error, keys[i]) != NULL,
		    "no %s in %s", keys[i], r->body);
	json_decref(v);
}

START_TEST(a_hostile_request_gets_what_it_deserves)
{
	static struct response r;

	client_ask(port, requests[_i].bytes, requests[_i].n, &r);
	if (strncmp(r.text, "HTTP/1.1 100", 12) == 0) {
		memmove(r.text, strstr(r.text, "\r\n\r\n") + 4, 4096);
		r.status = atoi(r.text + 9);
	}
	ck_assert_msg(r.status == requests[_i].status, "%d, not %d, for %s",
	    r.status, requests[_i].status, requests[_i].bytes);
	if (r.status == 0) {
		ck_assert_uint_eq(r.n, 0);
		return;
	}
	check_head(&r);
	ck_assert(!r.reset);
	if (r.status >= 400 && strncmp(requests[_i].bytes, "HEAD", 4) != 0)
		check_error(&r);
}
END_TEST

/* GET /info with n_headers and, in one of them, n_bytes. */
static int
ask_with_headers(int n_headers, size_t n_bytes)
{
	static char text[80000];
	static struct response r;
	size_t n = (size_t)sprintf(text, "GET /info HTTP/1.1\r\nHost: localhost"
	    "\r\nPad: ");

	memset(text + n, 'x', n_bytes);
	n += n_bytes;
	for (int i = 2; i < n_headers; i++)
		n += (size_t)sprintf(text + n, "\r\nX%d: y", i);
	n += (size_t)sprintf(text + n, "\r\n\r\n");
	client_ask(port, text, n, &r);
	check_head(&r);
	if (r.status >= 400)
		check_error(&r);
	return r.status;
}

START_TEST(headers_are_bounded_in_number_and_size)
{
	ck_assert_int_eq(ask_with_headers(2, 1), 200);
	ck_assert_int_eq(ask_with_headers(63, 1), 200);
	ck_assert_int_eq(ask_with_headers(64, 1), 431);
	ck_assert_int_eq(ask_with_headers(65, 1), 431);
	ck_assert_int_eq(ask_with_headers(1000, 1), 431);
	ck_assert_int_eq(ask_with_headers(2, 32000), 200);
	ck_assert_int_eq(ask_with_headers(2, 32768), 400);
	ck_assert_int_eq(ask_with_headers(2, 70000), 400);
}
END_TEST

START_TEST(a_long_path_is_unknown_and_a_longer_one_is_refused)
{
	static char text[50000];
	static struct response r;

	for (size_t n = 20000; n <= 40000; n += 20000) {
		memset(text, 'a', n);
		memcpy(text, "GET /", 5);
		strcpy(text + n, " HTTP/1.1\r\nHost: localhost\r\n\r\n");
		client_asks(port, text, &r);
		ck_assert_int_eq(r.status, n == 20000 ? 404 : 400);
		/* Longer than what a random id in a header may hold. */
		ck_assert_ptr_null(strstr(r.text, "aaaaaaaaaaaaaaaaaaaaaaaa"));
	}
}
END_TEST

START_TEST(json_a_thousand_deep_is_refused)
{
	static const char *const open[] = { "[", "{\"a\":" };
	static char body[8000], text[8200];
	static struct response r;
	size_t i;

	for (i = 0; i < 2; i++) {
		body[0] = '\0';
		for (int k = 0; k < 1000; k++)
			strcat(body, open[i]);
		strcat(body, "1");
		for (int k = 0; k < 1000; k++)
			strcat(body, i == 0 ? "]" : "}");
		snprintf(text, sizeof(text), "POST /json HTTP/1.1\r\n" H
		    "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
		client_asks(port, text, &r);
		ck_assert_int_eq(r.status, 400);
		ck_assert_ptr_nonnull(strstr(r.body, "\"invalid_json\""));
	}
}
END_TEST

/* xorshift64: the same damage every time. */
static unsigned
next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (unsigned)(*seed >> 32);
}

static size_t
damage(char *text, size_t n, uint64_t *seed)
{
	static const char spice[] = "\0\r\n \t:/%?*;,0129aAfFzZ\x7f\x80\xff";
	unsigned i, k, times = 1 + next_random(seed) % 4;

	for (; times > 0 && n > 2; times--) {
		i = next_random(seed) % (unsigned)n;
		k = 1 + next_random(seed) % 8;
		switch (next_random(seed) % 5) {
		case 0:
			text[i] = spice[next_random(seed) % sizeof(spice)];
			break;
		case 1:
			text[i] = (char)next_random(seed);
			break;
		case 2:			/* leave some out */
			if (i + k < n) {
				memmove(text + i, text + i + k, n - i - k);
				n -= k;
			}
			break;
		case 3:			/* say some twice */
			if (i + k < n && n + k < 1000) {
				memmove(text + i + k, text + i, n - i);
				n += k;
			}
			break;
		default:		/* stop early */
			n = next_random(seed) % 8 == 0 ? i + 1 : n;
		}
	}
	return n;
}

/* What is open when nobody is served any more: the same for 200 ms, since the
 * server closes a connection a little after its client has seen the end. */
static int
settled_fds(void)
{
	int fds = count_fds(), now;

	for (int same = 0, i = 0; same < 20 && i < 1000; i++) {
		usleep(10000);
		now = count_fds();
		same = now == fds && web_active(web) == 0 ? same + 1 : 0;
		fds = now;
	}
	return fds;
}

START_TEST(ten_thousand_damaged_requests_leave_it_well)
{
	enum { N_REQUESTS = sizeof(requests) / sizeof(requests[0]) };
	static struct response r;
	int fds = settled_fds(), answers = 0;
	char text[1024];
	uint64_t seed = 20240601;
	size_t n;

	for (int i = 0; i < 10000; i++) {
		n = requests[i % N_REQUESTS].n;
		memcpy(text, requests[i % N_REQUESTS].bytes, n);
		n = damage(text, n, &seed);
		client_ask(port, text, n, &r);
		answers += r.status != 0;
		ck_assert_msg(r.n == 0 || r.status != 0, "not HTTP: %s",
		    r.text);
	}
	ck_assert_int_gt(answers, 9000);
	client_asks(port, "GET /info HTTP/1.1\r\n" H "\r\n", &r);
	ck_assert_int_eq(r.status, 200);
	for (int i = 0; i < 1000 && (web_active(web) > 0 || count_fds() != fds);
	    i++)
		usleep(10000);
	ck_assert_int_eq(web_active(web), 0);
	ck_assert_int_eq(count_fds(), fds);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("web_hostile");
	TCase *t = tcase_create("web_hostile");
	SRunner *r = srunner_create(s);
	struct err e;
	int failed;

	if (web_start(&web, &config, &e) != 0) {
		fprintf(stderr, "%s\n", e.text);
		return EXIT_FAILURE;
	}
	port = web_port(web);
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, a_hostile_request_gets_what_it_deserves, 0,
	    (int)(sizeof(requests) / sizeof(requests[0])));
	tcase_add_test(t, headers_are_bounded_in_number_and_size);
	tcase_add_test(t, a_long_path_is_unknown_and_a_longer_one_is_refused);
	tcase_add_test(t, json_a_thousand_deep_is_refused);
	tcase_add_test(t, ten_thousand_damaged_requests_leave_it_well);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	web_stop(web, 1000);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
