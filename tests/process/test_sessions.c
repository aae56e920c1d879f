/*
 * Conversations that a worker remembers.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"
#include "chat.h"

START_TEST(a_second_turn_computes_what_is_new_alone)
{
	struct chat c = { .key = CHAT_A };
	int64_t old;
	char *want;

	chat_start(NULL, NULL, NULL, NULL);
	chat_turn(&c, CHAT_STORY, 40);
	ck_assert_str_eq(chat_state(&c), "new");
	old = chat_number(&c, "n_prompt") + 40;
	want = chat_reference(&c, "And then?", 12);
	ck_assert_str_eq(chat_turn(&c, "And then?", 12), want);
	ck_assert_str_eq(chat_state(&c), "warm");
	ck_assert_int_ge(chat_number(&c, "n_cached"), old - 1);
	ck_assert_int_eq(chat_member_of(CHAT_A, "turns"), 2);
	free(want);
	json_decref(c.messages);
}
END_TEST

START_TEST(a_fork_goes_its_own_way)
{
	struct chat c = { .key = CHAT_A }, fork = { .key = CHAT_B };
	struct err e;
	json_t *is;

	chat_start(NULL, NULL, NULL, NULL);
	chat_turn(&c, CHAT_STORY, 40);
	ck_assert_int_eq(process_call(chat_worker.client, DECODE_TYPE_session, json_pack(
	    "{s:s, s:s, s:s, s:s}", "key", CHAT_A, "op", "fork", "to", CHAT_B,
	    "to_name", "other"), &is, &e), 0);
	ck_assert_str_eq(json_string_value(json_object_get(is, "name")),
	    "other");
	json_decref(is);
	fork.messages = json_deep_copy(c.messages);
	chat_turn(&fork, "Tell me of the fox.", 12);
	ck_assert_str_eq(chat_state(&fork), "warm");
	chat_turn(&c, "Tell me of the turtle.", 12);
	ck_assert_str_eq(chat_state(&c), "warm");
	ck_assert_int_eq(chat_member_of(CHAT_A, "turns"), 2);
	json_decref(chat_get(CHAT_A, "drop"));
	ck_assert_int_eq(chat_operate(CHAT_A, "get", NULL, &e), ERR_SESSION);
	chat_turn(&fork, "And then?", 12);
	ck_assert_str_eq(chat_state(&fork), "warm");
	json_decref(c.messages);
	json_decref(fork.messages);
}
END_TEST

START_TEST(pins_keep_pages_and_leave_room)
{
	struct chat c = { .key = CHAT_A }, other = { .key = CHAT_B };
	struct chat many = { 0 };
	struct err e;
	char text[300];

	chat_start("--kv-tokens", "1300", NULL, NULL);
	chat_turn(&c, CHAT_STORY, 40);
	json_decref(chat_get(CHAT_A, "pin"));
	chat_turn(&other, &CHAT_STORY[20], 40);
	for (int i = 0; i < 8; i++) {
		snprintf(text, sizeof(text), "%d. %s%s", i, CHAT_STORY,
		    "Tell me a long story about it.");
		json_decref(many.messages);
		many = (struct chat){ 0 };
		chat_turn(&many, text, 150);
	}
	ck_assert_int_gt(chat_member_of(CHAT_A, "n_resident"), 60);
	ck_assert_int_eq(chat_member_of(CHAT_B, "n_resident"), 0);
	chat_turn(&other, "And then?", 150);
	ck_assert_str_eq(chat_state(&other), "evicted");
	chat_turn(&other, "And then?", 150);
	ck_assert_int_eq(chat_operate(CHAT_B, "pin", NULL, &e), ERR_KV_FULL);
	ck_assert_int_gt(e.retry_after_ms, 1000);
	json_decref(chat_get(CHAT_A, "unpin"));
	json_decref(c.messages);
	json_decref(other.messages);
	json_decref(many.messages);
}
END_TEST

START_TEST(one_request_of_a_session_runs_at_a_time)
{
	struct chat c = { .key = CHAT_A };
	struct stream *first, *second;
	json_t *body;
	struct err e;

	chat_start(NULL, NULL, NULL, NULL);
	chat_say(&c, "user", CHAT_STORY);
	ck_assert_int_eq(worker_generate(&chat_worker, ++chat_requests, chat_body_of(&c, 700), 0,
	    &e), 0);
	worker_read_some(&chat_worker, chat_requests, 2);
	body = chat_body_of(&c, 5);
	json_object_set_new(body, "session_busy", json_string("fail"));
	ck_assert_int_eq(worker_generate(&chat_worker, 1000 + chat_requests, body, 0, &e),
	    ERR_SESSION_BUSY);
	ck_assert_int_eq(worker_generate(&chat_worker, chat_requests + 1, chat_body_of(&c, 5), 0,
	    &e), 0);
	/* The first first: an event of it that is lost is asked for only while it is
	 * read, and the second waits for its end. */
	first = worker_read(&chat_worker, chat_requests);
	second = worker_read(&chat_worker, chat_requests + 1);
	ck_assert_str_eq(first->finish, "length");
	ck_assert_str_eq(second->finish, "length");
	ck_assert_int_eq(chat_member_of(CHAT_A, "turns"), 2);
	chat_requests++;
	json_decref(c.messages);
}
END_TEST

START_TEST(sessions_are_listed_for_whom_they_belong_to)
{
	static const char *const keys[] = { "03", "01", "02", "04" };
	json_t *list;
	struct err e;

	chat_start(NULL, NULL, NULL, NULL);
	for (int i = 0; i < 4; i++) {
		struct chat c = { .key = keys[i] };
		json_t *body;

		chat_say(&c, "user", "say hello");
		body = chat_body_of(&c, 2);
		json_object_set_new(body, "session_owner",
		    json_string(i < 3 ? "a" : "b"));
		ck_assert_int_eq(worker_generate(&chat_worker, ++chat_requests, body, 0, &e),
		    0);
		worker_read(&chat_worker, chat_requests);
		json_decref(c.messages);
	}
	ck_assert_int_eq(process_call(chat_worker.client, DECODE_TYPE_sessions, json_pack(
	    "{s:s, s:i, s:s}", "owner", "a", "limit", 2, "after", ""), &list,
	    &e), 0);
	ck_assert_uint_eq(json_array_size(json_object_get(list, "sessions")), 2);
	ck_assert(json_is_true(json_object_get(list, "more")));
	ck_assert(json_is_true(json_object_get(list, "snapshots")));
	json_decref(list);
	ck_assert_int_eq(process_call(chat_worker.client, DECODE_TYPE_sessions, json_pack(
	    "{s:s, s:s}", "owner", "a", "after", "02"), &list, &e), 0);
	ck_assert_uint_eq(json_array_size(json_object_get(list, "sessions")), 1);
	ck_assert(json_is_false(json_object_get(list, "more")));
	json_decref(list);
	ck_assert_int_eq(process_call(chat_worker.client, DECODE_TYPE_session, json_pack(
	    "{s:s, s:s}", "key", "04", "owner", "a"), NULL, &e), ERR_SESSION);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sessions");
	TCase *tc = tcase_create("process");

	tcase_set_timeout(tc, 0);
	tcase_add_checked_fixture(tc, chat_setup, chat_teardown);
	tcase_add_test(tc, a_second_turn_computes_what_is_new_alone);
	tcase_add_test(tc, a_fork_goes_its_own_way);
	tcase_add_test(tc, pins_keep_pages_and_leave_room);
	tcase_add_test(tc, one_request_of_a_session_runs_at_a_time);
	tcase_add_test(tc, sessions_are_listed_for_whom_they_belong_to);
	suite_add_tcase(s, tc);
	return chat_main(s);
}
