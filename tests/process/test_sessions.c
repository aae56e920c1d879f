/*
 * Conversations that a worker remembers: in its memory, over its death, and on a
 * disk that is full or has been tampered with.
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "unit.h"
#include "worker.h"

#define KEY_A "aa01"
#define KEY_B "bb02"

enum { SAVED_MS = 20000, SLEEP_US = 20000 };

static struct worker w = { .base = 0x10000 };
static char dir[64];
static int n_requests;

/* A chat, and the key of its session. */
struct chat {
	const char *key;	/* NULL: none */
	json_t *messages;
	struct stream *last;
};

static const char story[] = "Once upon a time there was a little fox who lived "
    "at the edge of a dark forest. Every morning the fox walked down to the "
    "river to drink, and every morning an old turtle was there already. ";

static void
setup(void)
{
	process_make_dir(dir);
}

static void
teardown(void)
{
	worker_forget(&w);
	process_abandon(&w.process);
	memset(&w.process, 0, sizeof(w.process));
	process_remove_dir(dir);
}

/* With the directory of sessions, and more. */
static void
start(const char *a, const char *b, const char *c, const char *d)
{
	const char *extra[] = { "--session-dir", dir, "--context", "1024",
		"--drain-ms", "60000", a, b, c, d, NULL };

	worker_start(&w, extra);
}

static void
say(struct chat *c, const char *role, const char *content)
{
	if (c->messages == NULL)
		c->messages = json_array();
	json_array_append_new(c->messages, json_pack("{s:s, s:s}", "role", role,
	    "content", content));
}

static json_t *
body_of(const struct chat *c, int max_tokens)
{
	json_t *body = json_pack("{s:O, s:f, s:i, s:b}", "messages",
	    c->messages, "temperature", 0.0, "max_tokens", max_tokens,
	    "ignore_eos", 1);

	if (c->key != NULL)
		json_object_set_new(body, "session", json_string(c->key));
	return body;
}

/* What accepted said of the last request. */
static int64_t
number(const struct chat *c, const char *member)
{
	return json_integer_value(json_object_get(c->last->accepted, member));
}

static const char *
state(const struct chat *c)
{
	return json_string_value(json_object_get(c->last->accepted,
	    "session_state"));
}

/* One more turn: what was said to it. */
static const char *
turn(struct chat *c, const char *content, int max_tokens)
{
	int n = ++n_requests;
	struct err e;

	say(c, "user", content);
	ck_assert_msg(worker_generate(&w, n, body_of(c, max_tokens), 0,
	    &e) == 0, "%s", e.text);
	c->last = worker_read(&w, n);
	say(c, "assistant", c->last->text.data);
	return c->last->text.data;
}

/* The same turn of the same chat, as somebody without a session is answered. */
static char *
reference(const struct chat *c, const char *content, int max_tokens)
{
	struct chat other = { .messages = json_deep_copy(c->messages) };
	char *text;

	if (other.messages == NULL)
		other.messages = json_array();
	text = strdup(turn(&other, content, max_tokens));
	json_decref(other.messages);
	return text;
}

static json_t *get(const char *key, const char *op);

/* The same turn in a fork of its session. */
static char *
forked(const struct chat *c, const char *content, int max_tokens)
{
	struct chat other = { .key = "f0", .messages = json_deep_copy(
		c->messages) };
	struct err e;
	char *text;

	ck_assert_int_eq(process_call(w.client, DECODE_TYPE_session, json_pack(
	    "{s:s, s:s, s:s}", "key", c->key, "op", "fork", "to", other.key),
	    NULL, &e), 0);
	text = strdup(turn(&other, content, max_tokens));
	json_decref(get(other.key, "drop"));
	json_decref(other.messages);
	return text;
}

static int
operate(const char *key, const char *op, json_t **is, struct err *e)
{
	return process_call(w.client, DECODE_TYPE_session, json_pack(
	    "{s:s, s:s}", "key", key, "op", op), is, e);
}

static json_t *
get(const char *key, const char *op)
{
	struct err e;
	json_t *is;

	ck_assert_msg(operate(key, op, &is, &e) == 0, "%s %s: %s", op, key,
	    e.text);
	return is;
}

static int64_t
member_of(const char *key, const char *name)
{
	json_t *is = get(key, "get");
	const json_t *v = json_object_get(is, name);
	int64_t n = json_is_boolean(v) ? json_is_true(v) :
	    json_integer_value(v);

	json_decref(is);
	return n;
}

static void
wait_saved(const char *key)
{
	for (int i = 0; i < SAVED_MS * 1000 / SLEEP_US; i++) {
		if (member_of(key, "saved"))
			return;
		usleep(SLEEP_US);
	}
	ck_abort_msg("the session is not saved");
}

static void
path_of(const char *key, char path[200])
{
	snprintf(path, 200, "%s/%s.kv", dir, key);
}

START_TEST(a_second_turn_computes_what_is_new_alone)
{
	struct chat c = { .key = KEY_A };
	int64_t old;
	char *want;

	start(NULL, NULL, NULL, NULL);
	turn(&c, story, 40);
	ck_assert_str_eq(state(&c), "new");
	old = number(&c, "n_prompt") + 40;
	want = reference(&c, "And then?", 12);
	ck_assert_str_eq(turn(&c, "And then?", 12), want);
	ck_assert_str_eq(state(&c), "warm");
	ck_assert_int_ge(number(&c, "n_cached"), old - 1);
	ck_assert_int_eq(member_of(KEY_A, "turns"), 2);
	free(want);
	json_decref(c.messages);
}
END_TEST

START_TEST(a_pinned_session_survives_a_kill)
{
	struct chat c = { .key = KEY_A };
	char *want;

	start(NULL, NULL, NULL, NULL);
	turn(&c, story, 40);
	json_decref(get(KEY_A, "pin"));
	turn(&c, "Who was the turtle?", 20);
	wait_saved(KEY_A);
	want = forked(&c, "And then?", 12);
	worker_forget(&w);
	process_end(&w.process, SIGKILL, 10000);
	start(NULL, NULL, NULL, NULL);
	ck_assert_int_eq(member_of(KEY_A, "n_resident"), 0);
	ck_assert_int_eq(member_of(KEY_A, "pinned"), 1);
	ck_assert_str_eq(turn(&c, "And then?", 12), want);
	ck_assert_str_eq(state(&c), "restored");
	ck_assert_int_ge(number(&c, "n_cached"), number(&c, "n_prompt") - 20);
	ck_assert_int_eq(member_of(KEY_A, "turns"), 3);
	free(want);
	json_decref(c.messages);
}
END_TEST

START_TEST(at_its_end_the_worker_saves_what_it_remembers)
{
	struct chat c = { .key = KEY_A };
	char *want;

	start("--kv", _i == 0 ? "f16" : "i8", "--backend", "cpu");
	turn(&c, story, 40);
	want = forked(&c, "And then?", 12);
	worker_forget(&w);
	ck_assert_int_eq(process_end(&w.process, SIGTERM, 60000), 0);
	start("--kv", _i == 0 ? "f16" : "i8", "--backend", "cpu");
	ck_assert_str_eq(turn(&c, "And then?", 12), want);
	ck_assert_str_eq(state(&c), "restored");
	free(want);
	json_decref(c.messages);
}
END_TEST

/* What turns a good snapshot into one that must not be used. */
static void
spoil(int how)
{
	char path[200];
	off_t size;
	char c = 0;
	int fd;

	path_of(KEY_A, path);
	ck_assert_int_ge(fd = open(path, O_RDWR), 0);
	size = lseek(fd, 0, SEEK_END);
	if (how == 0) {
		ck_assert_int_eq(ftruncate(fd, size - 1000), 0);
	} else {
		off_t at = how == 1 ? 20 : how == 2 ? 300 : size - 5000;

		ck_assert_int_eq(pread(fd, &c, 1, at), 1);
		c = (char)(c ^ 1);
		ck_assert_int_eq(pwrite(fd, &c, 1, at), 1);
	}
	close(fd);
}

START_TEST(a_snapshot_that_is_damaged_is_as_if_there_were_none)
{
	struct chat c = { .key = KEY_A };
	char *want, path[200];

	start(NULL, NULL, NULL, NULL);
	turn(&c, story, 40);
	want = reference(&c, "And then?", 12);
	worker_forget(&w);
	ck_assert_int_eq(process_end(&w.process, SIGTERM, 60000), 0);
	spoil(_i);
	start(NULL, NULL, NULL, NULL);
	ck_assert_str_eq(turn(&c, "And then?", 12), want);
	ck_assert_str_eq(state(&c), "cold");
	ck_assert_int_eq(number(&c, "n_cached"), 0);
	ck_assert(process_logged(&w.process, "starts cold"));
	path_of(KEY_A, path);
	ck_assert_int_ne(access(path, F_OK), 0);
	free(want);
	json_decref(c.messages);
}
END_TEST

START_TEST(a_snapshot_of_another_setting_is_refused_and_kept)
{
	struct chat c = { .key = KEY_A };
	char *want, path[200];

	start("--kv", "f16", NULL, NULL);
	turn(&c, story, 40);
	worker_forget(&w);
	ck_assert_int_eq(process_end(&w.process, SIGTERM, 60000), 0);
	start("--kv", "i8", NULL, NULL);
	want = reference(&c, "And then?", 12);
	ck_assert_str_eq(turn(&c, "And then?", 12), want);
	ck_assert(process_logged(&w.process, "another form of the KV cache"));
	path_of(KEY_A, path);
	ck_assert_int_eq(access(path, F_OK), 0);
	free(want);
	json_decref(c.messages);
}
END_TEST

START_TEST(a_full_disk_is_said_and_loses_nothing)
{
	struct chat c = { .key = KEY_A };
	struct rlimit was, less;
	char path[200];
	struct err e;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
	less = was;
	less.rlim_cur = 20000;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &less), 0);
	start(NULL, NULL, NULL, NULL);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
	turn(&c, story, 20);
	ck_assert_int_eq(operate(KEY_A, "save", NULL, &e), ERR_STORAGE);
	ck_assert_ptr_nonnull(strstr(e.text, "File too large"));
	path_of(KEY_A, path);
	ck_assert_int_ne(access(path, F_OK), 0);
	turn(&c, "And then?", 12);
	ck_assert_str_eq(state(&c), "warm");
	ck_assert_int_eq(member_of(KEY_A, "saved"), 0);
	json_decref(c.messages);
}
END_TEST

START_TEST(the_directory_has_its_limit)
{
	static const char *const keys[] = { "01", "02", "03", "04" };
	char path[200];
	struct err e;

	/* A page and its session have some 3 MiB. */
	start("--session-dir-max", "8", NULL, NULL);
	for (int i = 0; i < 4; i++) {
		struct chat c = { .key = keys[i] };

		turn(&c, "say hello", 4);
		if (i == 1)
			json_decref(get(keys[i], "pin"));
		json_decref(get(keys[i], "save"));
		json_decref(c.messages);
	}
	for (int i = 0; i < 4; i++) {
		path_of(keys[i], path);
		ck_assert_int_eq(access(path, F_OK) == 0, i == 1 || i == 3);
		ck_assert_int_eq(member_of(keys[i], "saved"), i == 1 || i == 3);
	}
	json_decref(get(keys[3], "pin"));
	ck_assert_int_eq(operate(keys[0], "save", NULL, &e), ERR_STORAGE);
	json_decref(get(keys[1], "drop"));
	path_of(keys[1], path);
	ck_assert_int_ne(access(path, F_OK), 0);
	json_decref(get(keys[0], "save"));
}
END_TEST

START_TEST(a_fork_goes_its_own_way)
{
	struct chat c = { .key = KEY_A }, fork = { .key = KEY_B };
	struct err e;
	json_t *is;

	start(NULL, NULL, NULL, NULL);
	turn(&c, story, 40);
	ck_assert_int_eq(process_call(w.client, DECODE_TYPE_session, json_pack(
	    "{s:s, s:s, s:s, s:s}", "key", KEY_A, "op", "fork", "to", KEY_B,
	    "to_name", "other"), &is, &e), 0);
	ck_assert_str_eq(json_string_value(json_object_get(is, "name")),
	    "other");
	json_decref(is);
	fork.messages = json_deep_copy(c.messages);
	turn(&fork, "Tell me of the fox.", 12);
	ck_assert_str_eq(state(&fork), "warm");
	turn(&c, "Tell me of the turtle.", 12);
	ck_assert_str_eq(state(&c), "warm");
	ck_assert_int_eq(member_of(KEY_A, "turns"), 2);
	json_decref(get(KEY_A, "drop"));
	ck_assert_int_eq(operate(KEY_A, "get", NULL, &e), ERR_SESSION);
	turn(&fork, "And then?", 12);
	ck_assert_str_eq(state(&fork), "warm");
	json_decref(c.messages);
	json_decref(fork.messages);
}
END_TEST

START_TEST(pins_keep_pages_and_leave_room)
{
	struct chat c = { .key = KEY_A }, other = { .key = KEY_B };
	struct chat many = { 0 };
	struct err e;
	char text[300];

	start("--kv-tokens", "1300", NULL, NULL);
	turn(&c, story, 40);
	json_decref(get(KEY_A, "pin"));
	turn(&other, story + 20, 40);
	for (int i = 0; i < 8; i++) {
		snprintf(text, sizeof(text), "%d. %s%s", i, story,
		    "Tell me a long story about it.");
		json_decref(many.messages);
		many = (struct chat){ 0 };
		turn(&many, text, 150);
	}
	ck_assert_int_gt(member_of(KEY_A, "n_resident"), 60);
	ck_assert_int_eq(member_of(KEY_B, "n_resident"), 0);
	turn(&other, "And then?", 150);
	ck_assert_str_eq(state(&other), "evicted");
	turn(&other, "And then?", 150);
	ck_assert_int_eq(operate(KEY_B, "pin", NULL, &e), ERR_KV_FULL);
	ck_assert_int_gt(e.retry_after_ms, 1000);
	json_decref(get(KEY_A, "unpin"));
	json_decref(c.messages);
	json_decref(other.messages);
	json_decref(many.messages);
}
END_TEST

START_TEST(one_request_of_a_session_runs_at_a_time)
{
	struct chat c = { .key = KEY_A };
	struct stream *first, *second;
	json_t *body;
	struct err e;

	start(NULL, NULL, NULL, NULL);
	say(&c, "user", story);
	ck_assert_int_eq(worker_generate(&w, ++n_requests, body_of(&c, 300), 0,
	    &e), 0);
	worker_read_some(&w, n_requests, 2);
	body = body_of(&c, 5);
	json_object_set_new(body, "session_busy", json_string("fail"));
	ck_assert_int_eq(worker_generate(&w, 1000 + n_requests, body, 0, &e),
	    ERR_SESSION_BUSY);
	ck_assert_int_eq(worker_generate(&w, n_requests + 1, body_of(&c, 5), 0,
	    &e), 0);
	second = worker_read(&w, n_requests + 1);
	/* It had to wait, so the first has its end. */
	first = worker_read(&w, n_requests);
	ck_assert_str_eq(first->finish, "length");
	ck_assert_str_eq(second->finish, "length");
	ck_assert_int_eq(member_of(KEY_A, "turns"), 2);
	n_requests++;
	json_decref(c.messages);
}
END_TEST

START_TEST(sessions_are_listed_for_whom_they_belong_to)
{
	static const char *const keys[] = { "03", "01", "02", "04" };
	json_t *list;
	struct err e;

	start(NULL, NULL, NULL, NULL);
	for (int i = 0; i < 4; i++) {
		struct chat c = { .key = keys[i] };
		json_t *body;

		say(&c, "user", "say hello");
		body = body_of(&c, 2);
		json_object_set_new(body, "session_owner",
		    json_string(i < 3 ? "a" : "b"));
		ck_assert_int_eq(worker_generate(&w, ++n_requests, body, 0, &e),
		    0);
		worker_read(&w, n_requests);
		json_decref(c.messages);
	}
	ck_assert_int_eq(process_call(w.client, DECODE_TYPE_sessions, json_pack(
	    "{s:s, s:i, s:s}", "owner", "a", "limit", 2, "after", ""), &list,
	    &e), 0);
	ck_assert_uint_eq(json_array_size(json_object_get(list, "sessions")), 2);
	ck_assert(json_is_true(json_object_get(list, "more")));
	ck_assert(json_is_true(json_object_get(list, "snapshots")));
	json_decref(list);
	ck_assert_int_eq(process_call(w.client, DECODE_TYPE_sessions, json_pack(
	    "{s:s, s:s}", "owner", "a", "after", "02"), &list, &e), 0);
	ck_assert_uint_eq(json_array_size(json_object_get(list, "sessions")), 1);
	ck_assert(json_is_false(json_object_get(list, "more")));
	json_decref(list);
	ck_assert_int_eq(process_call(w.client, DECODE_TYPE_session, json_pack(
	    "{s:s, s:s}", "key", "04", "owner", "a"), NULL, &e), ERR_SESSION);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("sessions of a worker");
	TCase *tc = tcase_create("process");

	tcase_set_timeout(tc, 0);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_second_turn_computes_what_is_new_alone);
	tcase_add_test(tc, a_pinned_session_survives_a_kill);
	tcase_add_loop_test(tc, at_its_end_the_worker_saves_what_it_remembers, 0,
	    2);
	tcase_add_loop_test(tc,
	    a_snapshot_that_is_damaged_is_as_if_there_were_none, 0, 4);
	tcase_add_test(tc, a_snapshot_of_another_setting_is_refused_and_kept);
	tcase_add_test(tc, a_full_disk_is_said_and_loses_nothing);
	tcase_add_test(tc, the_directory_has_its_limit);
	tcase_add_test(tc, a_fork_goes_its_own_way);
	tcase_add_test(tc, pins_keep_pages_and_leave_room);
	tcase_add_test(tc, one_request_of_a_session_runs_at_a_time);
	tcase_add_test(tc, sessions_are_listed_for_whom_they_belong_to);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *r;
	int failed;

	if (!worker_has_model()) {
		printf("there is no %s\n", WORKER_MODEL);
		return 77;
	}
	r = srunner_create(suite());
	srunner_set_fork_status(r, CK_NOFORK);	/* NNG */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	process_abandon(&w.process);
	process_remove_dir(w.dir);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
