#include <assert.h>
#include <pthread.h>
#include <signal.h>

#include "web.h"
#include "web_client.h"

/*
 * What an answer looks like, and when the server starts at all.  What happens
 * over time is in test_web_time.c.
 */
static struct web *web;
static int port;
static struct response r;
static char done_line[256];
static pthread_mutex_t done_lock = PTHREAD_MUTEX_INITIALIZER;

#define HOST "Host: localhost\r\n"

static void
get_info(struct web_request *rq, void *arg)
{
	char name[16] = "nobody";

	assert(strcmp(arg, "arg") == 0);
	web_query_get(rq, "name", name, sizeof(name));
	web_set_header(rq, "x-1bit-session", "an older value");
	web_set_header(rq, "x-1bit", "another");
	web_set_header(rq, "X-1bit-Session", name);
	web_set_who(rq, "ann=");
	web_set_header(rq, "x-bad", "a\r\nX-Evil: 1");
	web_reply(rq, 200, "text/plain", "info", 4);
}

static void
get_item(struct web_request *rq, void *arg)
{
	(void)arg;
	web_reply_json(rq, 200, json_pack("{s:s, s:s, s:s, s:s}", "path",
	    web_path(rq), "tail", web_path_tail(rq), "query", web_query(rq),
	    "method", web_method(rq)));
}

/* Which error the query names. */
static void
get_error(struct web_request *rq, void *arg)
{
	struct err e = { 0 };
	char name[16];

	(void)arg;
	if (!web_query_get(rq, "e", name, sizeof(name)))
		return;
	if (strcmp(name, "context") == 0) {
		err_set_param(&e, ERR_CONTEXT, "messages", "too long");
		e.n_prompt_tokens = 9000;
		e.n_ctx = 4096;
	} else if (strcmp(name, "busy") == 0) {
		err_set(&e, ERR_BUSY, "busy");
		strcpy(e.text, "caf\xc3");	/* cut inside a letter */
		e.retry_after_ms = 2500;
	} else if (strcmp(name, "loading") == 0)
		err_set(&e, ERR_LOADING, "loading");
	else if (strcmp(name, "late") == 0) {
		err_set(&e, ERR_BUSY, "late");
		e.retry_after_ms = 600000;
	} else if (strcmp(name, "taken") == 0)
		err_set(&e, ERR_EXISTS, "taken");
	else if (strcmp(name, "in use") == 0) {
		err_set(&e, ERR_EXISTS, "in use");
		e.retry_after_ms = 1500;
	} else if (strcmp(name, "crashed") == 0)
		err_set(&e, ERR_CRASHED, "crashed");
	else
		return;			/* no answer at all */
	web_reply_err(rq, &e);
}

static void
get_stream(struct web_request *rq, void *arg)
{
	bool ok;

	(void)arg;
	web_stream_begin(rq, 200, "text/event-stream");
	ok = web_stream_write(rq, "data: 1\n\n", 9) &&
	    web_stream_write(rq, "", 0) &&
	    web_stream_write(rq, "data: [DONE]\n\n", 14);
	web_stream_end(rq, ok && web_query(rq)[0] == '\0');
}

static const struct web_route routes[] = {
	{ "GET", "/info", get_info, 0, WEB_PUBLIC | WEB_PREFLIGHT },
	{ "POST", "/info", get_info, 16, WEB_PREFLIGHT },
	{ "GET", "/item/*", get_item, 0, 0 },
	{ "GET", "/error", get_error, 0, 0 },
	{ "GET", "/stream", get_stream, 0, 0 },
	{ 0 }
};

static void
note_done(void *arg, const struct web_done *d)
{
	(void)arg;
	assert(d->seconds >= 0 && d->bytes_out > 0);
	pthread_mutex_lock(&done_lock);
	snprintf(done_line, sizeof(done_line), "%s%s %s %s %d", d->who,
	    d->request_id, d->method, d->path, d->status);
	pthread_mutex_unlock(&done_lock);
}

static const struct web_config config = { .bind = "127.0.0.1:0", .n_threads = 8,
	.routes = routes, .arg = "arg", .request_id_prefix = "req_", .on_done = note_done };

static void
setup(void)
{
	struct err e;

	ck_assert_msg(web_start(&web, &config, &e) == 0, "%s", e.text);
	port = web_port(web);
}

static void
teardown(void)
{
	web_stop(web, 1000);
}

START_TEST(an_answer_has_an_id_and_ours_alone)
{
	char id[1024], value[1024];

	client_asks(port, "GET /info?name=Ann HTTP/1.1\r\n" HOST "\r\n", &r);
	ck_assert_int_eq(r.status, 200);
	ck_assert_str_eq(r.body, "info");
	ck_assert(response_header(&r, "x-request-id", id));
	ck_assert_uint_eq(strlen(id), 28);
	ck_assert_int_eq(strncmp(id, "req_", 4), 0);
	ck_assert(response_header(&r, "x-1bit-session", value));
	ck_assert_str_eq(value, "Ann");
	ck_assert_ptr_null(strstr(r.text, "Evil"));
	ck_assert_ptr_null(strstr(r.text, "an older value"));
	ck_assert_ptr_nonnull(strstr(r.text, "\r\nx-1bit: another\r\n"));

	client_asks(port, "GET /info HTTP/1.1\r\n" HOST
	    "X-Request-Id: my.Id-1\r\n\r\n", &r);
	ck_assert(response_header(&r, "x-request-id", value));
	ck_assert_str_eq(value, "my.Id-1");

	client_asks(port, "GET /none HTTP/1.1\r\n" HOST
	    "X-Request-Id: <my id>\r\n\r\n", &r);
	ck_assert_int_eq(r.status, 404);
	ck_assert(response_header(&r, "x-request-id", value));
	ck_assert_int_eq(strncmp(value, "req_", 4), 0);
	ck_assert_str_ne(value, id);
}
END_TEST

static const struct { const char *path, *line; } reports[] = {
	{ "/none", "one GET /none 404" }, { "/info", "ann=one GET /info 200" },
};

START_TEST(a_finished_request_is_reported)
{
	char text[200];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST
	    "X-Request-Id: one\r\n\r\n", reports[_i].path);
	client_asks(port, text, &r);
	for (int i = 0; i < CLIENT_PATIENCE_MS && web_active(web) > 0; i++)
		usleep(1000);
	pthread_mutex_lock(&done_lock);
	ck_assert_str_eq(done_line, reports[_i].line);
	pthread_mutex_unlock(&done_lock);
}
END_TEST

START_TEST(a_star_matches_one_segment)
{
	client_asks(port, "HEAD /item/a:b?x=%20 HTTP/1.1\r\n" HOST "\r\n", &r);
	ck_assert_int_eq(r.status, 200);
	ck_assert_str_eq(r.body, "");
	client_asks(port, "GET /item/a:b?x=%20 HTTP/1.1\r\n" HOST "\r\n", &r);
	ck_assert_str_eq(r.body, "{\"path\":\"/item/a:b\",\"tail\":\"a:b\","
	    "\"query\":\"x=%20\",\"method\":\"GET\"}");
}
END_TEST

static const struct {
	const char *name;
	int status;
	const char *retry, *retry_ms, *should, *body;
} errors[] = {
	{ "context", 400, NULL, NULL, NULL, "{\"error\":{\"message\":"
	    "\"too long\",\"type\":\"invalid_request_error\",\"param\":"
	    "\"messages\",\"code\":\"context_length_exceeded\","
	    "\"n_prompt_tokens\":9000,\"n_ctx\":4096}}" },
	{ "busy", 429, "3", "2500", "true", "{\"error\":{\"message\":\"caf?\","
	    "\"type\":\"rate_limit_exceeded\",\"param\":null,"
	    "\"code\":\"queue_full\"}}" },
	{ "loading", 503, "1", "1000", "true", "{\"error\":{\"message\":"
	    "\"loading\",\"type\":\"unavailable_error\",\"param\":null,"
	    "\"code\":\"loading_model\"}}" },
	{ "late", 429, "60", "60000", "false", NULL },
	{ "crashed", 500, NULL, NULL, "false", NULL },
	{ "taken", 409, NULL, NULL, "false", NULL },
	{ "in%20use", 409, "2", "1500", "true", NULL },
	{ "silent", 500, NULL, NULL, NULL, NULL },
};

static void
check_header(const char *name, const char *want)
{
	char value[1024];
	bool found = response_header(&r, name, value);

	ck_assert_int_eq(found, want != NULL);
	if (found)
		ck_assert_str_eq(value, want);
}

START_TEST(an_error_has_four_keys_and_says_when_to_come_back)
{
	char text[200];

	snprintf(text, sizeof(text), "GET /error?e=%s HTTP/1.1\r\n" HOST
	    "\r\n", errors[_i].name);
	client_asks(port, text, &r);
	ck_assert_int_eq(r.status, errors[_i].status);
	check_header("Retry-After", errors[_i].retry);
	check_header("retry-after-ms", errors[_i].retry_ms);
	check_header("x-should-retry", errors[_i].should);
	if (errors[_i].body != NULL)
		ck_assert_str_eq(r.body, errors[_i].body);
}
END_TEST

START_TEST(a_browser_is_told_what_it_may_do)
{
	char value[1024];

	client_asks(port, "OPTIONS /info HTTP/1.1\r\n" HOST
	    "Origin: http://localhost:3000\r\n"
	    "Access-Control-Request-Method: POST\r\n\r\n", &r);
	ck_assert_int_eq(r.status, 204);
	check_header("Access-Control-Allow-Origin", "http://localhost:3000");
	check_header("Access-Control-Allow-Methods",
	    "GET, HEAD, POST, OPTIONS");
	ck_assert(response_header(&r, "Access-Control-Allow-Headers", value));
	ck_assert_ptr_nonnull(strstr(value, "x-stainless-runtime-version,"));
	ck_assert_ptr_nonnull(strstr(value, "x-1bit-session,"));

	client_asks(port, "GET /info HTTP/1.1\r\n" HOST
	    "Origin: http://localhost:3000\r\n\r\n", &r);
	check_header("Access-Control-Allow-Origin", "http://localhost:3000");
	ck_assert(response_header(&r, "Access-Control-Expose-Headers", value));
	ck_assert_ptr_nonnull(strstr(value, "x-1bit-cached-tokens"));

	client_asks(port, "GET /item/x HTTP/1.1\r\n" HOST
	    "Origin: http://localhost:3000\r\n\r\n", &r);
	ck_assert_int_eq(r.status, 200);	/* no route for browsers */
	check_header("Access-Control-Allow-Origin", NULL);
	client_asks(port, "DELETE /info HTTP/1.1\r\n" HOST "\r\n", &r);
	ck_assert_int_eq(r.status, 405);
	check_header("Allow", "GET, HEAD, POST, OPTIONS");
}
END_TEST

START_TEST(a_stream_is_chunked_and_a_cut_one_has_no_end)
{
	client_asks(port, "GET /stream HTTP/1.1\r\n" HOST "\r\n", &r);
	check_header("Transfer-Encoding", "chunked");
	check_header("Cache-Control", "no-cache");
	check_header("X-Accel-Buffering", "no");
	ck_assert_str_eq(r.body, "9\r\ndata: 1\n\n\r\ne\r\ndata: [DONE]\n\n"
	    "\r\n0\r\n\r\n");
	client_asks(port, "GET /stream?cut HTTP/1.1\r\n" HOST "\r\n", &r);
	ck_assert_str_eq(r.body, "9\r\ndata: 1\n\n\r\ne\r\ndata: [DONE]\n\n"
	    "\r\n");
	client_asks(port, "HEAD /stream HTTP/1.1\r\n" HOST "\r\n", &r);
	ck_assert_int_eq(r.status, 200);
	ck_assert_str_eq(r.body, "");
	client_asks(port, "GET /stream HTTP/1.0\r\n" HOST "\r\n", &r);
	check_header("Transfer-Encoding", NULL);
	ck_assert_str_eq(r.body, "data: 1\n\ndata: [DONE]\n\n");
}
END_TEST

static const struct {
	const char *bind;
	int code;
	const char *text;
} binds[] = {
	{ "[::1]:0", ERR_RANGE, "[::1]:0: the HTTP library has no IPv6, bind an"
	    " IPv4 address" },
	{ "::1:0", ERR_RANGE, "::1:0: the HTTP library has no IPv6, bind an "
	    "IPv4 address" },
	{ "127.0.0.1", ERR_RANGE, "127.0.0.1: want ADDRESS:PORT, like "
	    "127.0.0.1:8180" },
	{ "8180", ERR_RANGE, "8180: want ADDRESS:PORT, like 127.0.0.1:8180" },
	{ ":8180", ERR_RANGE, ":8180: the address is not a dotted IPv4 "
	    "address" },
	{ "host.example:80", ERR_RANGE, "host.example:80: the address is not a"
	    " dotted IPv4 address" },
	{ "1.2.3.4.5:80", ERR_RANGE, "1.2.3.4.5:80: the address is not a "
	    "dotted IPv4 address" },
	{ "127.0.0.1:", ERR_RANGE, "127.0.0.1:: the port is not a number from "
	    "0 to 65535" },
	{ "127.0.0.1:80s", ERR_RANGE, "127.0.0.1:80s: the port is not a number"
	    " from 0 to 65535" },
	{ "127.0.0.1:65536", ERR_RANGE, "127.0.0.1:65536: the port is not a "
	    "number from 0 to 65535" },
	{ "192.0.2.1:0", ERR_UNAVAILABLE, "192.0.2.1:0: no interface has this "
	    "address" },
};

START_TEST(an_address_that_cannot_be_served_is_refused)
{
	struct web_config c = config;
	struct web *none = NULL;
	struct err e;

	c.bind = binds[_i].bind;
	ck_assert_int_eq(web_start(&none, &c, &e), binds[_i].code);
	ck_assert_str_eq(e.text, binds[_i].text);
	ck_assert_ptr_null(none);
}
END_TEST

START_TEST(a_taken_port_is_named)
{
	struct web_config c = config;
	struct web *none = NULL;
	char bind[32], want[80];
	struct err e;

	snprintf(bind, sizeof(bind), "127.0.0.1:%d", port);
	snprintf(want, sizeof(want), "%s: address already in use", bind);
	c.bind = bind;
	ck_assert_int_eq(web_start(&none, &c, &e), ERR_EXISTS);
	ck_assert_str_eq(e.text, want);
	ck_assert_ptr_null(none);
}
END_TEST

/* Is SIGTERM blocked in this thread, says the kernel? */
static bool
blocks_sigterm(const char *tid)
{
	unsigned long long mask = 0;
	char path[300], line[200];
	FILE *fp;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", tid);
	fp = fopen(path, "r");
	ck_assert_ptr_nonnull(fp);
	while (fgets(line, sizeof(line), fp) != NULL)
		if (strncmp(line, "SigBlk:", 7) == 0)
			mask = strtoull(line + 7, NULL, 16);
	fclose(fp);
	return (mask >> (SIGTERM - 1)) & 1;
}

START_TEST(its_threads_leave_signals_alone)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *d;
	int n = 0;

	while ((d = readdir(dir)) != NULL)
		if (d->d_name[0] != '.' && atoi(d->d_name) != getpid()) {
			ck_assert(blocks_sigterm(d->d_name));
			n++;
		}
	closedir(dir);
	/* 8 and CivetWeb's master, and the one that keeps deadlines. */
	ck_assert_int_ge(n, 10);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("web");
	TCase *t = tcase_create("web");
	SRunner *runner = srunner_create(s);
	int failed;

	tcase_add_unchecked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, an_answer_has_an_id_and_ours_alone);
	tcase_add_loop_test(t, a_finished_request_is_reported, 0, 2);
	tcase_add_test(t, a_star_matches_one_segment);
	tcase_add_loop_test(t, an_error_has_four_keys_and_says_when_to_come_back,
	    0, (int)(sizeof(errors) / sizeof(errors[0])));
	tcase_add_test(t, a_browser_is_told_what_it_may_do);
	tcase_add_test(t, a_stream_is_chunked_and_a_cut_one_has_no_end);
	tcase_add_loop_test(t, an_address_that_cannot_be_served_is_refused, 0,
	    (int)(sizeof(binds) / sizeof(binds[0])));
	tcase_add_test(t, a_taken_port_is_named);
	tcase_add_test(t, its_threads_leave_signals_alone);
	suite_add_tcase(s, t);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
