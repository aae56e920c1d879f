/*
 * What a request is called, from the client through the gateway to the worker; and
 * what a browser is told about whom it may ask.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fake_decode.h"
#include "gateway_peer.h"

static const char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

static void
begin(void)
{
	gateway_start();
	fake_open(gateway_dir);
	gateway_restart_worker(true);
	gateway_wait_status("/readyz", 200);
}

/* A whole answer to a chat with these headers; the generate, to be released. */
static json_t *
ask(struct http_client *c, const char *headers)
{
	json_t *g;

	http_post(c, gateway_port, gateway_chat, headers, gateway_plain);
	g = fake_generate();
	fake_piece(json_string_value(json_object_get(g, "id")), 0, 1, "one", "stop",
	    false);
	http_rest(c);
	ck_assert_int_eq(http_status(c), 200);
	return g;
}

static const char *
said(const json_t *g, const char *name)
{
	const char *s = json_string_value(json_object_get(g, name));

	return s != NULL ? s : "";
}

START_TEST(an_id_that_comes_goes_all_the_way)
{
	char headers[256];
	struct http_client c;
	json_t *g;

	snprintf(headers, sizeof(headers),
	    "X-Request-Id: my-id.7_X\r\ntraceparent: %s\r\n", trace);
	g = ask(&c, headers);
	ck_assert(http_has(&c, "\r\nx-request-id: my-id.7_X\r\n"));
	ck_assert_str_eq(said(g, "request"), "my-id.7_X");
	ck_assert_str_eq(said(g, "trace"), trace);
	ck_assert(process_logged(&gateway, "request=my-id.7_X"));
	ck_assert(process_logged(&gateway, trace));
	json_decref(g);
	http_close(&c);
}
END_TEST

START_TEST(one_is_made_if_none_comes)
{
	struct http_client c;
	json_t *g = ask(&c, "");
	char line[128];

	ck_assert_msg(strncmp(said(g, "request"), "req_", 4) == 0, "%s",
	    said(g, "request"));
	ck_assert_str_eq(said(g, "trace"), "");
	snprintf(line, sizeof(line), "\r\nx-request-id: %s\r\n", said(g, "request"));
	ck_assert(http_has(&c, line));
	ck_assert(http_has(&c, "\r\nopenai-processing-ms: "));
	json_decref(g);
	http_close(&c);
}
END_TEST

static const char *const bad[] = {
	"X-Request-Id: a b\r\n", "X-Request-Id: \r\n", "X-Request-Id: a;b=c\r\n",
	"X-Request-Id: \xc3\xa9\r\n", "X-Request-Id: \"a\"\r\n",
	"X-Request-Id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
	"traceparent: x\r\n",
	"traceparent: 01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
	"traceparent: ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
	"traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01\r\n",
	"traceparent: 00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01\r\n",
	"traceparent: 00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01\r\n",
	"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x\r\n",
	"traceparent: 00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01\r\n",
};

START_TEST(what_is_no_id_goes_nowhere)
{
	struct http_client c;
	json_t *g = ask(&c, bad[_i]);

	ck_assert(http_has(&c, "\r\nx-request-id: req_"));
	ck_assert_msg(strncmp(said(g, "request"), "req_", 4) == 0, "%s",
	    said(g, "request"));
	ck_assert_str_eq(said(g, "trace"), "");
	json_decref(g);
	http_close(&c);
}
END_TEST

/* Is name in the list of that header? */
static bool
lists(const struct http_client *c, const char *header, const char *name)
{
	const char *line = strcasestr(c->in.data, header), *at;
	size_t n = strlen(name);

	if (line == NULL)
		return false;
	for (at = line; at < line + strcspn(line, "\r"); at++)
		if ((at[-1] == ' ' || at[-1] == ',') && strncasecmp(at, name, n) == 0 &&
		    (at[n] == ',' || at[n] == '\r'))
			return true;
	return false;
}

static const char *const asked[] = { "authorization", "content-type", "x-api-key",
	"x-request-id", "x-1bit-session", "x-1bit-halo-session", "x-1bit-session-busy",
	"x-1bit-session-ttl", "x-session-id", "x-conversation-id",
	"x-openwebui-chat-id", "session-id", "traceparent", "x-stainless-arch",
	"x-stainless-async", "x-stainless-custom-poll-interval",
	"x-stainless-helper-method", "x-stainless-lang", "x-stainless-os",
	"x-stainless-package-version", "x-stainless-poll-helper",
	"x-stainless-retry-count", "x-stainless-runtime",
	"x-stainless-runtime-version", "x-stainless-timeout" };

START_TEST(a_preflight_names_every_header_of_the_clients)
{
	static const char *const paths[] = { "/v1/chat/completions", "/v1/completions",
		"/v1/models", "/v1/models/x", "/v1/embeddings", "/v1/sessions" };
	struct http_client c;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		http_send(&c, gateway_port, "OPTIONS", paths[i],
		    "Origin: http://localhost:3000\r\n"
		    "Access-Control-Request-Method: POST\r\n", "");
		http_rest(&c);
		ck_assert_msg(http_status(&c) == 204, "%s: %s", paths[i], c.in.data);
		ck_assert(http_has(&c,
		    "\r\nAccess-Control-Allow-Origin: http://localhost:3000\r\n"));
		ck_assert(http_has(&c, "\r\nVary: Origin\r\n"));
		for (size_t k = 0; k < sizeof(asked) / sizeof(asked[0]); k++)
			ck_assert_msg(lists(&c, "Access-Control-Allow-Headers:",
			    asked[k]), "%s: %s is not allowed", paths[i], asked[k]);
		http_close(&c);
	}
}
END_TEST

START_TEST(an_answer_shows_its_headers_to_pages_that_may_ask)
{
	static const char *const shown[] = { "x-request-id", "retry-after",
		"retry-after-ms", "x-should-retry", "x-1bit-session",
		"x-1bit-session-state", "x-1bit-cached-tokens",
		"x-ratelimit-remaining-requests", "openai-processing-ms" };
	struct http_client c;
	json_t *g = ask(&c, "Origin: http://localhost:3000\r\n");

	ck_assert(http_has(&c,
	    "\r\nAccess-Control-Allow-Origin: http://localhost:3000\r\n"));
	for (size_t k = 0; k < sizeof(shown) / sizeof(shown[0]); k++)
		ck_assert_msg(lists(&c, "Access-Control-Expose-Headers:", shown[k]),
		    "%s is not shown", shown[k]);
	json_decref(g);
	http_close(&c);
	http_get(&c, gateway_port, "/v1/models", "");
	http_rest(&c);
	ck_assert(!http_has(&c, "Access-Control"));	/* nobody asked */
	http_close(&c);
	http_get(&c, gateway_port, "/v1/models", "Origin: https://evil.example\r\n");
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 403);
	ck_assert(http_has(&c, "\"code\":\"origin_not_allowed\""));
	ck_assert(!http_has(&c, "Access-Control"));
	http_close(&c);
	http_get(&c, gateway_port, "/health", "Origin: http://localhost:3000\r\n");
	http_rest(&c);
	ck_assert(!http_has(&c, "Access-Control"));	/* no page's business */
	http_close(&c);
}
END_TEST

START_TEST(no_prompt_is_in_the_log)
{
	gateway_stop();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway ids");
	TCase *t = tcase_create("gateway ids");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, begin, NULL);
	tcase_add_test(t, an_id_that_comes_goes_all_the_way);
	tcase_add_test(t, one_is_made_if_none_comes);
	tcase_add_loop_test(t, what_is_no_id_goes_nowhere, 0,
	    (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(t, a_preflight_names_every_header_of_the_clients);
	tcase_add_test(t, an_answer_shows_its_headers_to_pages_that_may_ask);
	tcase_add_test(t, no_prompt_is_in_the_log);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
