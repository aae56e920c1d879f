/*
 * Conversations that keep their KV cache, through the gateway and the real
 * worker: what the headers say, what the routes do, and that no key sees
 * another's.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stack.h"

static const char chat[] = "/v1/chat/completions";

/* 40 times this is a few hundred tokens. */
#define S4(s) s s s s
#define LINE "The cat sat on the mat and the dog ran to the door. "
#define STORY S4(LINE LINE LINE LINE)
#define FIRST "{\"role\":\"user\",\"content\":\"" STORY "\"}"
#define ASK(messages) "{\"model\":\"halo-demo\",\"temperature\":0," \
	"\"max_tokens\":8,\"messages\":[" messages "]}"

static void
start(void)
{
	const char *args[] = { "--api-key-file", NULL, "--verbose", NULL };
	static char dir[96];
	const char *worker[] = { "--session-dir", dir, NULL };

	stack_keys("key-of-ann name=ann\nkey-of-bob name=bob\n"
	    "key-of-boss admin name=boss\n");
	args[1] = stack_keys_path();
	snprintf(dir, sizeof(dir), "%s/sessions", stack_dir);
	stack_start(args, worker);
}

/* What a chat in session says in its headers, and its text [256]. */
static void
turn(const char *key, const char *headers, const char *body, char *state,
    int *n_cached, char *text)
{
	struct http_client c;
	char value[64];
	json_t *v, *m;

	stack_post(&c, key, chat, headers, body);
	/* Just after a restart: as any client would. */
	for (int i = 0; i < PROCESS_TRIES && http_status(&c) == 503; i++) {
		http_close(&c);
		usleep(200000);
		stack_post(&c, key, chat, headers, body);
	}
	ck_assert_msg(http_status(&c) == 200, "%s", c.in.data);
	state[0] = '\0';
	stack_header(&c, "X-1bit-Session-State", state, 17);
	ck_assert(stack_header(&c, "X-1bit-Cached-Tokens", value,
	    sizeof(value)));
	*n_cached = atoi(value);
	v = stack_json(&c);
	m = json_object_get(json_array_get(json_object_get(v, "choices"), 0),
	    "message");
	snprintf(text, 256, "%s", json_string_value(json_object_get(m,
	    "content")));
	json_decref(v);
	http_close(&c);
}

/* The session as GET tells it, to be released; NULL if it is not there. */
static json_t *
look(const char *key, const char *id)
{
	struct http_client c;
	char path[256];
	json_t *v = NULL;

	snprintf(path, sizeof(path), "/v1/sessions/%s", id);
	stack_get(&c, key, path);
	if (http_status(&c) == 404)
		ck_assert(http_has(&c, "\"code\":\"session_not_found\""));
	else
		ck_assert_msg(http_status(&c) == 200, "%s", c.in.data);
	if (http_status(&c) == 200)
		v = stack_json(&c);
	http_close(&c);
	return v;
}

static int
operate(const char *key, const char *id, const char *op, const char *body)
{
	struct http_client c;
	char path[256];
	int status;

	snprintf(path, sizeof(path), "/v1/sessions/%s/%s", id, op);
	stack_post(&c, key, path, "", body);
	status = http_status(&c);
	http_close(&c);
	return status;
}

static int
drop(const char *key, const char *id)
{
	struct http_client c;
	char path[256];
	int status;

	snprintf(path, sizeof(path), "/v1/sessions/%s", id);
	stack_delete(&c, key, path);
	status = http_status(&c);
	http_close(&c);
	return status;
}

static bool
is(json_t *v, const char *name)
{
	return json_is_true(json_object_get(v, name));
}

START_TEST(the_second_turn_is_warm_and_says_what_it_would_have_said)
{
	char state[17], first[256], second[256], alone[256], body[4096];
	int n_cached;
	json_t *v;

	turn("key-of-ann", "X-1bit-Session: one\r\n", ASK(FIRST), state,
	    &n_cached, first);
	ck_assert_str_eq(state, "new");
	ck_assert_int_eq(n_cached, 0);
	snprintf(body, sizeof(body), ASK(FIRST ",{\"role\":\"assistant\","
	    "\"content\":\"%s\"},{\"role\":\"user\",\"content\":\"And then?\"}"),
	    first);
	turn("key-of-ann", "X-1bit-Session: one\r\n", body, state, &n_cached,
	    second);
	ck_assert_str_eq(state, "warm");
	ck_assert_int_gt(n_cached, 200);
	/* Another key computes it all, and gets the same text. */
	turn("key-of-bob", "", body, state, &n_cached, alone);
	ck_assert_int_eq(n_cached, 0);
	ck_assert_str_eq(alone, second);
	v = look("key-of-ann", "one");
	ck_assert_ptr_nonnull(v);
	ck_assert_str_eq(json_string_value(json_object_get(v, "id")), "one");
	ck_assert_str_eq(json_string_value(json_object_get(v, "object")),
	    "session");
	ck_assert_int_eq(json_integer_value(json_object_get(v, "turns")), 2);
	ck_assert_int_gt(json_integer_value(json_object_get(v, "tokens")), 200);
	ck_assert_ptr_null(json_object_get(v, "owner"));
	json_decref(v);
}
END_TEST

START_TEST(no_key_sees_lists_or_drops_anothers)
{
	char state[17], text[256];
	int n_cached;

	turn("key-of-ann", "session-id: mine\r\n", ASK(FIRST), state, &n_cached,
	    text);
	ck_assert_ptr_null(look("key-of-bob", "mine"));
	ck_assert_int_eq(drop("key-of-bob", "mine"), 404);
	ck_assert_int_eq(operate("key-of-bob", "mine", "pin", ""), 404);
	ck_assert_int_eq(operate("key-of-bob", "mine", "fork",
	    "{\"to\":\"stolen\"}"), 404);
	/* The same name is another session, and nothing of it is warm. */
	turn("key-of-bob", "session-id: mine\r\n", ASK(FIRST), state, &n_cached,
	    text);
	ck_assert_str_eq(state, "new");
	ck_assert_int_eq(drop("key-of-bob", "mine"), 200);
	ck_assert_int_eq(drop("key-of-bob", "mine"), 404);
	json_decref(look("key-of-ann", "mine"));
	ck_assert_int_eq(drop("key-of-ann", "mine"), 200);
}
END_TEST

/* The names that key is told of, with commas. */
static json_t *
list(const char *key, const char *query, char *names)
{
	struct http_client c;
	char path[256];
	json_t *v, *s;
	size_t i;

	snprintf(path, sizeof(path), "/v1/sessions%s", query);
	stack_get(&c, key, path);
	ck_assert_msg(http_status(&c) == 200, "%s", c.in.data);
	v = stack_json(&c);
	http_close(&c);
	names[0] = '\0';
	json_array_foreach(json_object_get(v, "data"), i, s) {
		strcat(names, json_string_value(json_object_get(s, "id")));
		strcat(names, ",");
	}
	return v;
}

START_TEST(a_list_has_ones_own_and_an_administrators_all)
{
	char state[17], text[256], names[512], path[256];
	struct http_client c;
	const char *key;
	int n_cached;
	json_t *v, *s;
	size_t i;

	turn("key-of-bob", "X-1bit-Session: bobs\r\n", ASK(FIRST), state,
	    &n_cached, text);
	json_decref(list("key-of-bob", "", names));
	ck_assert_str_eq(names, "bobs,");
	json_decref(list("key-of-ann", "", names));
	ck_assert_str_eq(names, "one,");
	/* One's own, for it too, if it does not ask for all; others may not. */
	json_decref(list("key-of-boss", "", names));
	ck_assert_str_eq(names, "");
	stack_get(&c, "key-of-ann", "/v1/sessions?all=1");
	ck_assert_int_eq(http_status(&c), 403);
	ck_assert(http_has(&c, "\"type\":\"permission_error\""));
	ck_assert(http_has(&c, "\"code\":\"admin_key_required\""));
	http_close(&c);
	v = list("key-of-boss", "?all=1", names);
	ck_assert_uint_eq(json_array_size(json_object_get(v, "data")), 2);
	/* Page by page, by the keys. */
	key = json_string_value(json_object_get(json_array_get(
	    json_object_get(v, "data"), 0), "key"));
	snprintf(path, sizeof(path), "?all=1&limit=1&after=%s", key);
	s = list("key-of-boss", path, names);
	ck_assert_uint_eq(json_array_size(json_object_get(s, "data")), 1);
	ck_assert(!is(s, "has_more"));
	json_decref(s);
	s = list("key-of-boss", "?all=1&limit=1", names);
	ck_assert(is(s, "has_more"));
	json_decref(s);
	/* By its key an administrator drops anybody's. */
	json_array_foreach(json_object_get(v, "data"), i, s) {
		key = json_string_value(json_object_get(s, "key"));
		ck_assert_ptr_nonnull(json_object_get(s, "owner"));
		if (strcmp(json_string_value(json_object_get(s, "id")),
		    "bobs") != 0)
			continue;
		ck_assert_int_eq(drop("key-of-ann", key), 404);
		ck_assert_int_eq(drop("key-of-boss", key), 200);
	}
	json_decref(v);
	ck_assert_ptr_null(look("key-of-bob", "bobs"));
}
END_TEST

START_TEST(a_session_is_pinned_and_forked)
{
	char state[17], text[256], body[4096];
	int n_cached;
	json_t *v;

	ck_assert_int_eq(operate("key-of-ann", "one", "pin", ""), 200);
	v = look("key-of-ann", "one");
	ck_assert(is(v, "pinned"));
	json_decref(v);
	ck_assert_int_eq(operate("key-of-ann", "one", "unpin", "{}"), 200);
	v = look("key-of-ann", "one");
	ck_assert(!is(v, "pinned"));
	json_decref(v);
	ck_assert_int_eq(operate("key-of-ann", "one", "fork",
	    "{\"to\":\"two\"}"), 200);
	ck_assert_int_eq(operate("key-of-ann", "one", "fork",
	    "{\"to\":\"two\"}"), 409);
	ck_assert_int_eq(operate("key-of-ann", "one", "fork",
	    "{\"to\":\"a b\"}"), 400);
	ck_assert_int_eq(operate("key-of-ann", "one", "fork", "{}"), 400);
	ck_assert_int_eq(operate("key-of-ann", "none", "fork",
	    "{\"to\":\"three\"}"), 404);
	snprintf(body, sizeof(body), "%s", ASK(FIRST));
	turn("key-of-ann", "X-Conversation-Id: two\r\n", body, state, &n_cached,
	    text);
	ck_assert_str_eq(state, "warm");
	ck_assert_int_gt(n_cached, 200);
	ck_assert_int_eq(drop("key-of-ann", "two"), 200);
}
END_TEST

START_TEST(a_saved_one_is_there_after_a_restart_of_the_worker)
{
	char state[17], text[256];
	int n_cached;
	json_t *v;

	ck_assert_int_eq(operate("key-of-ann", "one", "save", ""), 200);
	v = look("key-of-ann", "one");
	ck_assert(is(v, "saved"));
	json_decref(v);
	ck_assert_int_eq(process_end(&stack_worker, SIGKILL, PROCESS_END_MS),
	    128 + SIGKILL);
	stack_start_worker();
	/* 503 as long as the gateway does not know it, 404 before it has read
	 * what is on the disk. */
	for (int i = 0; i < PROCESS_TRIES; i++) {
		struct http_client c;
		int status;

		stack_get(&c, "key-of-ann", "/v1/sessions/one");
		status = http_status(&c);
		http_close(&c);
		if (status == 200 && process_get(stack_port, "/readyz", text,
		    sizeof(text)) == 200)
			break;
		usleep(20000);
	}
	turn("key-of-ann", "X-1bit-Session: one\r\n", ASK(FIRST), state,
	    &n_cached, text);
	ck_assert_str_eq(state, "restored");
	ck_assert_int_gt(n_cached, 200);
	ck_assert_int_eq(operate("key-of-ann", "one", "restore", ""), 200);
}
END_TEST

/* Members of the slot that runs, as key is told; NULL if none does. */
static json_t *
busy_slot(const char *key)
{
	struct http_client c;
	json_t *v, *s, *found = NULL;
	size_t i;

	stack_get(&c, key, "/slots");
	ck_assert_int_eq(http_status(&c), 200);
	v = stack_json(&c);
	http_close(&c);
	json_array_foreach(v, i, s)
		if (is(s, "is_processing"))
			found = json_incref(s);
	json_decref(v);
	return found;
}

/* A stream of ann's that has begun. */
static void
begin_story(struct http_client *c, const char *headers, const char *members)
{
	char lines[256], body[512];

	snprintf(lines, sizeof(lines), "Authorization: Bearer key-of-ann\r\n%s",
	    headers);
	snprintf(body, sizeof(body), "{\"model\":\"halo-demo\",\"stream\":true,"
	    "\"max_tokens\":900,\"ignore_eos\":true,%s\"messages\":"
	    "[{\"role\":\"user\",\"content\":\"A story.\"}]}", members);
	http_post(c, stack_port, chat, lines, body);
	http_until(c, "\r\n\r\n");
	/* A test before this one may have restarted the worker. */
	for (int i = 0; i < PROCESS_TRIES && http_status(c) == 503; i++) {
		http_close(c);
		usleep(200000);
		http_post(c, stack_port, chat, lines, body);
		http_until(c, "\r\n\r\n");
	}
	http_until(c, "\"content\":\"");
}

/* The same while ann's request of session "told" runs, which may be over before we
 * ask. */
static json_t *
anns_slot(const char *key)
{
	json_t *found = NULL;

	for (int i = 0; i < 20 && found == NULL; i++) {
		struct http_client c;

		begin_story(&c, "X-1bit-Session: told\r\n", "\"stop\":\"SECRET\",");
		found = busy_slot(key);
		http_close(&c);
	}
	ck_assert_ptr_nonnull(found);
	return found;
}

START_TEST(what_runs_is_told_to_its_key_and_to_an_administrator)
{
	json_t *ann = anns_slot("key-of-ann"), *bob = anns_slot("key-of-bob"),
	    *boss = anns_slot("key-of-boss");

	const json_t *session = json_object_get(ann, "session");

	ck_assert_str_eq(json_string_value(json_object_get(session, "id")), "told");
	ck_assert_uint_eq(json_string_length(json_object_get(session, "key")), 64);
	ck_assert(json_is_false(json_object_get(session, "pinned")));
	ck_assert_int_gt(json_integer_value(json_object_get(session, "expires_at")),
	    (json_int_t)time(NULL));
	ck_assert(json_equal(json_object_get(json_object_get(boss, "session"), "key"),
	    json_object_get(session, "key")));
	ck_assert_ptr_null(json_object_get(bob, "session"));
	ck_assert_ptr_nonnull(json_object_get(ann, "params"));
	ck_assert_ptr_nonnull(json_object_get(boss, "params"));
	ck_assert_ptr_null(json_object_get(bob, "params"));
	ck_assert_ptr_null(json_object_get(bob, "n_prompt_tokens"));
	json_decref(ann);
	json_decref(bob);
	json_decref(boss);
}
END_TEST

START_TEST(two_requests_of_a_session_wait_or_are_refused)
{
	struct http_client c, d;
	char value[64];

	/* It may be over before the second comes. */
	for (int i = 0; i < 20; i++) {
		begin_story(&c, "X-1bit-Session: busy\r\n", "");
		stack_post(&d, "key-of-ann", chat, "X-1bit-Session: busy\r\n"
		    "X-1bit-Session-Busy: fail\r\n", ASK(FIRST));
		if (http_status(&d) == 409)
			break;
		http_close(&c);
		http_close(&d);
	}
	ck_assert_int_eq(http_status(&d), 409);
	ck_assert(http_has(&d, "\"type\":\"conflict_error\""));
	ck_assert(http_has(&d, "\"code\":\"session_busy\""));
	ck_assert(stack_header(&d, "x-should-retry", value, sizeof(value)));
	ck_assert_str_eq(value, "false");
	http_close(&d);
	stack_post(&d, "key-of-ann", chat, "X-1bit-Session: busy\r\n",
	    ASK(FIRST));
	ck_assert_int_eq(http_status(&d), 200);
	http_close(&d);
	http_rest(&c);
	ck_assert(http_has(&c, "data: [DONE]"));
	http_close(&c);
}
END_TEST

START_TEST(requests_with_one_cache_key_do_not_wait_for_each_other)
{
	bool without = false;
	char value[64];

	for (int i = 0; i < 20 && !without; i++) {
		struct http_client c, d;

		begin_story(&c, "", "\"prompt_cache_key\":\"app\",");
		ck_assert(stack_header(&c, "X-1bit-Session", value,
		    sizeof(value)));
		ck_assert_str_eq(value, "app");
		stack_post(&d, "key-of-ann", chat, "", "{\"model\":"
		    "\"halo-demo\",\"max_tokens\":4,\"prompt_cache_key\":"
		    "\"app\",\"messages\":[{\"role\":\"user\",\"content\":"
		    "\"hi\"}]}");
		ck_assert_int_eq(http_status(&d), 200);
		without = !stack_header(&d, "X-1bit-Session", value,
		    sizeof(value));
		http_close(&c);
		http_close(&d);
	}
	ck_assert(without);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway sessions");
	TCase *t = tcase_create("gateway sessions");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_unchecked_fixture(t, start, stack_stop);
	tcase_add_test(t, the_second_turn_is_warm_and_says_what_it_would_have_said);
	tcase_add_test(t, no_key_sees_lists_or_drops_anothers);
	tcase_add_test(t, a_list_has_ones_own_and_an_administrators_all);
	tcase_add_test(t, a_session_is_pinned_and_forked);
	tcase_add_test(t, a_saved_one_is_there_after_a_restart_of_the_worker);
	tcase_add_test(t, what_runs_is_told_to_its_key_and_to_an_administrator);
	tcase_add_test(t, two_requests_of_a_session_wait_or_are_refused);
	tcase_add_test(t, requests_with_one_cache_key_do_not_wait_for_each_other);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	stack_abandon();
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
