/*
 * Who asks, through a real connection: a handler notes what caller_begin makes
 * of the request.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../web_client.h"
#include "caller.h"
#include "gateway.h"

static struct gateway gw;
static struct caller seen;
static struct err why;
static int code, port;
static struct web *web;
static struct response r;

static void
note(struct web_request *rq, void *arg)
{
	json_t *body = NULL;

	if (web_body_json(rq, &body) != 0)
		return;
	code = caller_begin(arg, rq, body, &seen, &why);
	json_decref(body);
	if (code != 0)
		web_reply_err(rq, &why);
	else
		web_reply(rq, 200, "text/plain", "ok", 2);
}

static const struct web_route routes[] = {
	{ "POST", "/note", note, 65536, 0 }, { 0 },
};

static void
setup(void)
{
	static struct web_config config = { .bind = "127.0.0.1:0",
		.n_threads = 4, .routes = routes, .arg = &gw,
		.authorize = gateway_authorize, .request_id_prefix = "req_" };
	struct err e;
	char path[64];
	FILE *fp;

	snprintf(path, sizeof(path), BUILD "/caller-%d", (int)getpid());
	fp = fopen(path, "w");
	ck_assert_ptr_nonnull(fp);
	fputs("key-of-ann name=ann\nkey-of-bob rpm=5 tpm=700\n"
	    "key-of-boss admin\n", fp);
	fclose(fp);
	gw = (struct gateway){ .options = { .bind = "127.0.0.1:1",
		.key_rpm = 60, .session_rpm = 9 } };
	auth_init(&gw.auth);
	ck_assert_int_eq(auth_load(&gw.auth, path, &e), 0);
	unlink(path);
	ck_assert_int_eq(rates_create(&gw.rates, &e), 0);
	places_init(&gw.places, 4);
	ck_assert_int_eq(web_start(&web, &config, &e), 0);
	port = web_port(web);
}

static void
teardown(void)
{
	web_stop(web, 1000);
	rates_destroy(gw.rates);
	auth_free(&gw.auth);
}

/* The caller of a request with these header lines and this body. */
static const struct caller *
ask(const char *key, const char *headers, const char *body)
{
	char text[2048];

	snprintf(text, sizeof(text), "POST /note HTTP/1.1\r\nHost: localhost\r\n"
	    "Authorization: Bearer %s\r\n%sContent-Length: %zu\r\n\r\n%s", key,
	    headers, strlen(body), body);
	code = -99;
	client_asks(port, text, &r);
	return &seen;
}

static const struct { const char *headers, *body, *name; } sessions[] = {
	{ "", "{}", "" },
	{ "X-1bit-Session: a-B_9.:\r\n", "{}", "a-B_9.:" },
	{ "X-1bit-halo-Session: halo\r\n", "{}", "halo" },
	{ "X-Session-ID: web\r\n", "{}", "web" },
	{ "X-Conversation-Id: talk\r\n", "{}", "talk" },
	{ "X-OpenWebUI-Chat-Id: chat\r\n", "{}", "chat" },
	{ "session-id: plain\r\n", "{}", "plain" },
	{ "", "{\"session_id\":\"body\"}", "body" },
	{ "", "{\"prompt_cache_key\":\"cache\"}", "cache" },
	{ "", "{\"prompt_cache_key\":\"cache\",\"session_id\":\"body\"}", "body" },
	{ "", "{\"session_id\":null,\"prompt_cache_key\":\"cache\"}", "cache" },
	{ "X-Session-ID: web\r\nX-1bit-Session: ours\r\n",
	  "{\"session_id\":\"body\"}", "ours" },
	{ "X-Session-ID:\r\nsession-id: plain\r\n", "{}", "plain" },
	/* printf %s 'a b' | sha256sum */
	{ "X-Session-ID: a b\r\n", "{}",
	  "hash:c8687a08aa5d6ed2044328fa6a697ab8" },
	{ "", "{\"session_id\":\"a b\"}",
	  "hash:c8687a08aa5d6ed2044328fa6a697ab8" },
};

START_TEST(a_session_has_many_names)
{
	const struct caller *c = ask("key-of-ann", sessions[_i].headers,
	    sessions[_i].body);

	ck_assert_int_eq(code, 0);
	ck_assert_str_eq(c->session_name, sessions[_i].name);
	ck_assert_uint_eq(strlen(c->session), sessions[_i].name[0] == '\0' ? 0 :
	    CALLER_HEX_LEN);
}
END_TEST

#define LONG "0123456789012345678901234567890123456789012345678901234567890123"

START_TEST(the_longest_name_is_a_name)
{
	ck_assert_str_eq(ask("key-of-ann", "X-1bit-Session: " LONG LONG "\r\n",
	    "{}")->session_name, LONG LONG);
	/* Of another client's header a longer one is hashed. */
	ck_assert_int_eq(strncmp(ask("key-of-ann", "session-id: " LONG LONG
	    "x\r\n", "{}")->session_name, "hash:", 5), 0);
}
END_TEST

static const struct { const char *headers, *body, *param; } refused[] = {
	{ "X-1bit-Session: a b\r\n", "{}", "X-1bit-Session" },
	{ "X-1bit-Session:\r\n", "{}", "X-1bit-Session" },
	{ "X-1bit-Session: " LONG LONG "x\r\n", "{}", "X-1bit-Session" },
	{ "X-1bit-halo-Session: a/b\r\n", "{}", "X-1bit-Session" },
	{ "", "{\"session_id\":7}", "session_id" },
	{ "", "{\"prompt_cache_key\":[]}", "prompt_cache_key" },
	{ "X-1bit-Session-TTL: 0\r\n", "{}", "X-1bit-Session-TTL" },
	{ "X-1bit-Session-TTL: -5\r\n", "{}", "X-1bit-Session-TTL" },
	{ "X-1bit-Session-TTL: 1e3\r\n", "{}", "X-1bit-Session-TTL" },
	{ "X-1bit-Session-TTL: 2592001\r\n", "{}", "X-1bit-Session-TTL" },
	{ "X-1bit-Session-TTL: 99999999999999999999\r\n", "{}",
	  "X-1bit-Session-TTL" },
	{ "X-1bit-Session-Busy: maybe\r\n", "{}", "X-1bit-Session-Busy" },
};

START_TEST(what_is_wrong_is_named)
{
	ask("key-of-ann", refused[_i].headers, refused[_i].body);
	ck_assert_int_eq(r.status, 400);
	ck_assert_int_eq(code, ERR_RANGE);
	ck_assert_str_eq(why.param, refused[_i].param);
}
END_TEST

START_TEST(terms_of_a_session_go_to_the_worker)
{
	const struct caller *c = ask("key-of-ann", "X-1bit-Session: s\r\n"
	    "X-1bit-Session-TTL: 2592000\r\nX-1bit-Session-Busy: fail\r\n", "{}");
	json_t *first = json_object(), *second = json_object();

	ck_assert_int_eq(code, 0);
	caller_generate(c, true, first);
	caller_generate(c, false, second);
	ck_assert_str_eq(json_string_value(json_object_get(first, "session")),
	    c->session);
	ck_assert_str_eq(json_string_value(json_object_get(first,
	    "session_name")), "s");
	ck_assert_int_eq(json_integer_value(json_object_get(first,
	    "session_ttl_ms")), 2592000000);
	ck_assert_str_eq(json_string_value(json_object_get(first,
	    "session_busy")), "fail");
	/* Of several at once only one is the session's. */
	ck_assert_ptr_null(json_object_get(second, "session"));
	ck_assert_int_gt(json_integer_value(json_object_get(second, "client")),
	    0);
	json_decref(first);
	json_decref(second);
}
END_TEST

START_TEST(two_keys_have_nothing_in_common)
{
	struct caller ann = *ask("key-of-ann", "X-1bit-Session: s\r\n", "{}");
	struct caller again = *ask("key-of-ann", "session-id: s\r\n", "{}");
	struct caller bob = *ask("key-of-bob", "X-1bit-Session: s\r\n", "{}");
	char digest[2 * SHA256_SIZE + 1];

	ck_assert_str_eq(ann.session, again.session);
	ck_assert_str_eq(ann.owner, again.owner);
	ck_assert_int_eq(ann.salt, again.salt);
	ck_assert_str_ne(ann.session, bob.session);
	ck_assert_str_ne(ann.owner, bob.owner);
	ck_assert_int_ne(ann.client, bob.client);
	ck_assert_int_ne(ann.salt, bob.salt);
	ck_assert_int_gt(ann.salt, 0);
	ck_assert_int_ne(ann.salt, ann.client);
	/* And the key's digest goes nowhere. */
	for (int i = 0; i < SHA256_SIZE; i++)
		snprintf(digest + 2 * i, 3, "%02x", ann.key.digest[i]);
	ck_assert_str_ne(ann.owner, digest);
	ck_assert_str_ne(ann.session, digest);
}
END_TEST

START_TEST(a_salt_of_the_request_is_its_own_and_the_keys)
{
	int64_t none = ask("key-of-ann", "", "{\"cache_salt\":null}")->salt;
	int64_t a = ask("key-of-ann", "", "{\"cache_salt\":\"a\"}")->salt;
	int64_t b = ask("key-of-ann", "", "{\"cache_salt\":\"b\"}")->salt;

	ck_assert_int_eq(ask("key-of-ann", "", "{}")->salt, none);
	ck_assert(a > 0 && a != none && a != b);
	ck_assert_int_eq(ask("key-of-ann", "", "{\"cache_salt\":\"a\"}")->salt, a);
	ck_assert_int_ne(ask("key-of-bob", "", "{\"cache_salt\":\"a\"}")->salt, a);
	ask("key-of-ann", "", "{\"cache_salt\":1}");
	ck_assert_int_eq(code, ERR_RANGE);
	ck_assert_str_eq(why.param, "cache_salt");
	ask("key-of-ann", "", "{\"cache_salt\":\"\"}");
	ck_assert_int_eq(code, ERR_RANGE);
}
END_TEST

START_TEST(prefixes_are_shared_if_the_operator_says_so)
{
	gw.options.share_prefixes = true;
	ck_assert_int_eq(ask("key-of-ann", "", "{}")->salt, 0);
	ck_assert_int_gt(seen.client, 0);
	gw.options.share_prefixes = false;
}
END_TEST

START_TEST(without_keys_the_machines_own_user_is_the_administrator)
{
	auth_free(&gw.auth);
	auth_init(&gw.auth);
	ck_assert(ask("whatever", "", "{}")->admin);
	ck_assert_int_eq(seen.salt, 0);
	ck_assert_int_eq(seen.client, 0);
	ck_assert_uint_eq(strlen(seen.owner), CALLER_HEX_LEN);
	gw.options.bind = "0.0.0.0:1";
	ck_assert(!ask("whatever", "", "{}")->admin);
}
END_TEST

START_TEST(an_administrator_is_one_by_the_file)
{
	ck_assert(ask("key-of-boss", "", "{}")->admin);
	ck_assert(!ask("key-of-ann", "", "{}")->admin);
	ask("key-of-eve", "", "{}");
	ck_assert_int_eq(r.status, 401);
	ck_assert_int_eq(code, -99);
}
END_TEST

START_TEST(rates_are_the_keys_own_or_the_default)
{
	char value[1024];

	ask("key-of-bob", "X-1bit-Session: s\r\n", "{}");
	ck_assert_int_eq(seen.n_wants, 2);
	ck_assert_int_eq(seen.wants[0].rpm, 5);
	ck_assert_int_eq(seen.wants[0].tpm, 700);
	ck_assert_int_eq(seen.wants[1].rpm, 9);
	ck_assert_int_eq(seen.wants[1].tpm, 0);
	ck_assert(response_header(&r, "x-ratelimit-remaining-requests", value));
	ck_assert_str_eq(value, "5");
	ck_assert(response_header(&r, "x-ratelimit-limit-tokens", value));
	ck_assert_str_eq(value, "700");
	ck_assert(response_header(&r, "x-ratelimit-reset-tokens", value));
	ck_assert_str_eq(value, "0.000s");
	ask("key-of-ann", "", "{}");
	ck_assert_int_eq(seen.n_wants, 1);
	ck_assert_int_eq(seen.wants[0].rpm, 60);
	ck_assert(!response_header(&r, "x-ratelimit-limit-tokens", value));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("caller");
	TCase *t = tcase_create("caller");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 30);
	tcase_add_unchecked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, a_session_has_many_names, 0,
	    (int)(sizeof(sessions) / sizeof(sessions[0])));
	tcase_add_test(t, the_longest_name_is_a_name);
	tcase_add_loop_test(t, what_is_wrong_is_named, 0,
	    (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(t, terms_of_a_session_go_to_the_worker);
	tcase_add_test(t, a_salt_of_the_request_is_its_own_and_the_keys);
	tcase_add_test(t, two_keys_have_nothing_in_common);
	tcase_add_test(t, prefixes_are_shared_if_the_operator_says_so);
	tcase_add_test(t, an_administrator_is_one_by_the_file);
	tcase_add_test(t, rates_are_the_keys_own_or_the_default);
	tcase_add_test(t, without_keys_the_machines_own_user_is_the_administrator);
	suite_add_tcase(s, t);
	srunner_set_fork_status(sr, CK_NOFORK);	/* one server for all */
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
