#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch.h"

#define META "\"_meta\": {\"io.modelcontextprotocol/protocolVersion\":" \
	" \"2026-07-28\", \"io.modelcontextprotocol/clientCapabilities\": {}}"
#define CALL(id, method, params) "{\"jsonrpc\": \"2.0\", \"id\": " id \
	", \"method\": \"" method "\", \"params\": " params "}"

static int n_units;

static int
fake_health(void *self, struct stack_unit *units)
{
	(void)self;
	units[0] = (struct stack_unit){ .unit = "decode", .ready = true,
		.version = "0.1.0", .uptime_ms = 1500 };
	units[1] = (struct stack_unit){ .unit = "gateway", .uptime_ms = -1,
		.reason = "nobody answers" };
	return n_units;
}

static int
fake_models(void *self, struct stack_model *m, int *n, struct err *e)
{
	if (self != NULL)
		return err_set(e, ERR_UNAVAILABLE, "decode does not answer");
	m[0] = (struct stack_model){ .id = "halo-demo", .format = "ternary",
		.backend = "cpu", .n_ctx = 4096, .n_params = 11000000 };
	*n = 1;
	return 0;
}

static struct dispatch d;

static void
setup(void)
{
	memset(&d, 0, sizeof(d));
	d.stack = (struct stack){ .health = fake_health, .models = fake_models };
	n_units = 2;
}

static const struct peer fresh, opened = { .session = PEER_OPEN };

/* The answer to text from p, or NULL for none; *a keeps the rest. */
static json_t *
ask(const struct peer *p, const char *text, struct answer *a)
{
	dispatch(&d, p, text, strlen(text), a);
	return a->body;
}

static json_t *
result_of(const struct peer *p, const char *text, json_t **answer)
{
	struct answer a;
	json_t *result;

	*answer = ask(p, text, &a);
	result = json_object_get(*answer, "result");
	ck_assert_msg(result != NULL, "%s", json_dumps(*answer, 0));
	ck_assert_int_eq(a.http_status, 200);
	return result;
}

static const struct {
	const char *text;
	int code, http_status;
	const char *id;		/* as JSON */
} refused[] = {
	{ "", -32700, 400, "null" },
	{ "{", -32700, 400, "null" },
	{ "{\"a\": 1, \"a\": 2}", -32700, 400, "null" },
	{ "{\"id\": 18446744073709551616}", -32700, 400, "null" },
	{ "[" CALL("1", "ping", "{}") "]", -32600, 400, "null" },
	{ "[]", -32600, 400, "null" },
	{ "7", -32600, 400, "null" },
	{ "{}", -32600, 400, "null" },
	{ "{\"jsonrpc\": \"1.0\", \"id\": 1, \"method\": \"ping\"}", -32600, 400,
	    "1" },
	{ "{\"id\": 1, \"method\": \"ping\"}", -32600, 400, "1" },
	{ CALL("null", "ping", "{}"), -32600, 400, "null" },
	{ CALL("1.5", "ping", "{}"), -32600, 400, "null" },
	{ CALL("{}", "ping", "{}"), -32600, 400, "null" },
	{ CALL("true", "ping", "{}"), -32600, 400, "null" },
	{ CALL("1", "", "{}"), -32600, 400, "1" },
	{ "{\"jsonrpc\": \"2.0\", \"id\": \"x\", \"method\": 7}", -32600, 400,
	    "\"x\"" },
	{ "{\"jsonrpc\": \"2.0\", \"id\": 1}", -32600, 400, "1" },
	{ "{\"jsonrpc\": \"2.0\", \"id\": 1, \"result\": {}, \"error\": {}}",
	    -32600, 400, "1" },
	{ CALL("1", "ping", "[]"), -32602, 400, "1" },
	{ CALL("1", "ping", "null"), -32602, 400, "1" },
	{ CALL("1", "nothing/here", "{}"), -32601, 200, "1" },
	{ CALL("1", "initialize", "{\"protocolVersion\": \"2025-11-25\"}"),
	    -32600, 400, "1" },
	{ CALL("1", "tools/list", "{\"cursor\": \"x\"}"), -32602, 200, "1" },
	{ CALL("1", "tools/call", "{}"), -32602, 200, "1" },
	{ CALL("1", "tools/call", "{\"name\": \"rm\"}"), -32602, 200, "1" },
	{ CALL("1", "tools/call", "{\"name\": \"health\", \"arguments\": []}"),
	    -32602, 200, "1" },
	{ CALL("1", "server/discover", "{}"), -32602, 400, "1" },
	{ CALL("1", "ping", "{" META "}"), -32601, 404, "1" },
	{ CALL("1", "initialize", "{" META "}"), -32601, 404, "1" },
	{ CALL("1", "tools/list", "{\"_meta\": {"
	    "\"io.modelcontextprotocol/protocolVersion\": \"2026-07-28\"}}"),
	    -32602, 400, "1" },
	{ CALL("1", "tools/list", "{\"_meta\": {"
	    "\"io.modelcontextprotocol/protocolVersion\": 7,"
	    "\"io.modelcontextprotocol/clientCapabilities\": {}}}"),
	    -32602, 400, "1" },
	{ CALL("1", "tools/list", "{\"_meta\": {"
	    "\"io.modelcontextprotocol/protocolVersion\": \"1900-01-01\","
	    "\"io.modelcontextprotocol/clientCapabilities\": {}}}"),
	    -32022, 400, "1" },
};

START_TEST(what_is_no_valid_request_is_refused_with_its_code)
{
	struct answer a;
	json_t *answer = ask(&opened, refused[_i].text, &a), *error;
	json_t *id = json_loads(refused[_i].id, JSON_DECODE_ANY, NULL);

	ck_assert_msg(answer != NULL, "%s", refused[_i].text);
	ck_assert_str_eq(json_string_value(json_object_get(answer, "jsonrpc")),
	    "2.0");
	error = json_object_get(answer, "error");
	ck_assert_msg(json_integer_value(json_object_get(error, "code")) ==
	    refused[_i].code, "%s: %s", refused[_i].text,
	    json_dumps(answer, 0));
	ck_assert(json_is_string(json_object_get(error, "message")));
	ck_assert_msg(a.http_status == refused[_i].http_status, "%s: %d",
	    refused[_i].text, a.http_status);
	ck_assert(json_equal(json_object_get(answer, "id"), id));
	ck_assert(!a.opened);
	json_decref(id);
	json_decref(answer);
}
END_TEST

START_TEST(what_asks_nothing_is_answered_with_nothing)
{
	static const char *const silent[] = {
		"{\"jsonrpc\": \"2.0\", \"method\": \"notifications/initialized\"}",
		"{\"jsonrpc\": \"2.0\", \"method\": \"notifications/cancelled\","
		" \"params\": {\"requestId\": 99}}",
		"{\"jsonrpc\": \"2.0\", \"method\": \"nobody/knows/this\"}",
		"{\"jsonrpc\": \"2.0\", \"id\": 4, \"result\": {}}",
		"{\"jsonrpc\": \"2.0\", \"id\": null, \"error\": {}}",
		"{\"jsonrpc\": \"2.0\", \"method\": \"n\", \"params\": {" META "}}",
	};
	struct answer a;

	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++) {
		ck_assert_msg(ask(&opened, silent[i], &a) == NULL, "%s",
		    silent[i]);
		ck_assert_int_eq(a.http_status, 202);
	}
}
END_TEST

START_TEST(a_revision_that_is_served_is_kept_and_another_is_answered_with_ours)
{
	static const char *const cases[][2] = {
		{ "2025-11-25", "2025-11-25" }, { "2025-06-18", "2025-06-18" },
		{ "2025-03-26", "2025-03-26" }, { "2024-11-05", "2024-11-05" },
		{ "1999-12-31", "2025-11-25" }, { "2026-07-28", "2025-11-25" },
	};
	struct answer a;
	char text[256];
	json_t *answer, *r;

	snprintf(text, sizeof(text), CALL("\"i\"", "initialize",
	    "{\"protocolVersion\": \"%s\", \"capabilities\": {}}"),
	    cases[_i][0]);
	answer = ask(&fresh, text, &a);
	ck_assert(a.opened);
	r = json_object_get(answer, "result");
	ck_assert_str_eq(json_string_value(json_object_get(r,
	    "protocolVersion")), cases[_i][1]);
	ck_assert(json_is_object(json_object_get(json_object_get(r,
	    "capabilities"), "tools")));
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(r,
	    "serverInfo"), "name")), "1bit-halo-mcp");
	json_decref(answer);
}
END_TEST

START_TEST(before_initialize_only_ping_is_answered)
{
	struct answer a;
	json_t *answer;

	result_of(&fresh, CALL("1", "ping", "{}"), &answer);
	json_decref(answer);
	answer = ask(&fresh, CALL("1", "tools/list", "{}"), &a);
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(
	    answer, "error"), "code")), -32600);
	json_decref(answer);
}
END_TEST

static const struct {
	struct peer p;
	const char *text;
	int code, http_status;	/* 0: a result */
} over_http[] = {
	{ { PEER_NONE, true, NULL, NULL, NULL }, CALL("1", "tools/list", "{}"),
	    -32000, 400 },
	{ { PEER_NONE, true, NULL, NULL, NULL }, CALL("1", "ping", "{}"),
	    -32000, 400 },
	{ { PEER_UNKNOWN, true, NULL, NULL, NULL }, CALL("1", "ping", "{}"),
	    -32001, 404 },
	{ { PEER_OPEN, true, "2025-06-18", NULL, NULL }, CALL("1", "ping", "{}"),
	    0, 200 },
	{ { PEER_OPEN, true, NULL, NULL, NULL }, CALL("1", "ping", "{}"),
	    0, 200 },
	{ { PEER_OPEN, true, "1999-01-01", NULL, NULL }, CALL("1", "ping", "{}"),
	    -32000, 400 },
	{ { PEER_NONE, true, "2026-07-28", NULL, NULL },
	    CALL("1", "tools/list", "{}"), -32602, 400 },
	{ { PEER_NONE, true, "2026-07-28", "tools/list", NULL },
	    CALL("1", "tools/list", "{" META "}"), 0, 200 },
	{ { PEER_UNKNOWN, true, "2026-07-28", "tools/list", NULL },
	    CALL("1", "tools/list", "{" META "}"), 0, 200 },
	{ { PEER_NONE, true, NULL, "tools/list", NULL },
	    CALL("1", "tools/list", "{" META "}"), -32020, 400 },
	{ { PEER_NONE, true, "2025-11-25", "tools/list", NULL },
	    CALL("1", "tools/list", "{" META "}"), -32020, 400 },
	{ { PEER_NONE, true, "2026-07-28", NULL, NULL },
	    CALL("1", "tools/list", "{" META "}"), -32020, 400 },
	{ { PEER_NONE, true, "2026-07-28", "Tools/List", NULL },
	    CALL("1", "tools/list", "{" META "}"), -32020, 400 },
	{ { PEER_NONE, true, "2026-07-28", "tools/call", "health" },
	    CALL("1", "tools/call", "{\"name\": \"health\", " META "}"), 0, 200 },
	{ { PEER_NONE, true, " 2026-07-28\t", "tools/call ", " health " },
	    CALL("1", "tools/call", "{\"name\": \"health\", " META "}"), 0, 200 },
	{ { PEER_NONE, true, "2026-07-28", "tools/call", "health x" },
	    CALL("1", "tools/call", "{\"name\": \"health\", " META "}"),
	    -32020, 400 },
	{ { PEER_NONE, true, "2026-07-28", "tools/call", NULL },
	    CALL("1", "tools/call", "{\"name\": \"health\", " META "}"),
	    -32020, 400 },
	{ { PEER_NONE, true, "2026-07-28", "tools/call", "list_models" },
	    CALL("1", "tools/call", "{\"name\": \"health\", " META "}"),
	    -32020, 400 },
};

START_TEST(headers_and_sessions_are_checked_as_the_era_says)
{
	struct answer a;
	json_t *answer = ask(&over_http[_i].p, over_http[_i].text, &a);

	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(
	    answer, "error"), "code")), over_http[_i].code);
	ck_assert_int_eq(a.http_status, over_http[_i].http_status);
	json_decref(answer);
}
END_TEST

START_TEST(discover_names_the_revision_and_may_be_cached)
{
	json_t *answer, *r = result_of(&fresh,
	    CALL("\"d\"", "server/discover", "{" META "}"), &answer);

	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(r,
	    "supportedVersions"), 0)), "2026-07-28");
	ck_assert_str_eq(json_string_value(json_object_get(r, "resultType")),
	    "complete");
	ck_assert_int_gt(json_integer_value(json_object_get(r, "ttlMs")), 0);
	ck_assert(json_is_string(json_object_get(r, "cacheScope")));
	ck_assert(json_is_object(json_object_get(json_object_get(r, "_meta"),
	    "io.modelcontextprotocol/serverInfo")));
	json_decref(answer);
}
END_TEST

START_TEST(an_unserved_revision_is_answered_with_those_that_are)
{
	struct answer a;
	json_t *answer = ask(&fresh, CALL("1", "tools/list", "{\"_meta\": {"
	    "\"io.modelcontextprotocol/protocolVersion\": \"2030-01-01\","
	    "\"io.modelcontextprotocol/clientCapabilities\": {}}}"), &a);
	json_t *data = json_object_get(json_object_get(answer, "error"), "data");

	ck_assert_str_eq(json_string_value(json_object_get(data, "requested")),
	    "2030-01-01");
	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(data,
	    "supported"), 0)), "2026-07-28");
	json_decref(answer);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("rpc");
	TCase *t = tcase_create("rpc");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_loop_test(t,
	    what_is_no_valid_request_is_refused_with_its_code, 0,
	    (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(t, what_asks_nothing_is_answered_with_nothing);
	tcase_add_loop_test(t,
	    a_revision_that_is_served_is_kept_and_another_is_answered_with_ours,
	    0, 6);
	tcase_add_test(t, before_initialize_only_ping_is_answered);
	tcase_add_loop_test(t, headers_and_sessions_are_checked_as_the_era_says,
	    0, (int)(sizeof(over_http) / sizeof(over_http[0])));
	tcase_add_test(t, discover_names_the_revision_and_may_be_cached);
	tcase_add_test(t, an_unserved_revision_is_answered_with_those_that_are);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
