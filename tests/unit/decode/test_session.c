/*
 * Sessions of an engine: states, leases, pins, who has to go.
 */
#include "session_world.h"

START_TEST(a_session_is_new_and_then_warm)
{
	struct decode_accepted a;
	struct err e;

	ck_assert_str_eq(session_turn(1, "a1", 7, 100), "new");
	ck_assert_int_eq(session_member("a1", "n_tokens"), 105);
	ck_assert_int_eq(session_member("a1", "n_resident"), 104);
	ck_assert_int_eq(session_try(2, "a1", 7, 100, "'max_tokens':5", &a, &e),
	    0);
	ck_assert_str_eq(a.session_state, "warm");
	ck_assert_int_eq(a.n_cached, 99);
	world_run();
	ck_assert_int_eq(session_member("a1", "turns"), 2);
	/* The same page's first tokens are not its own. */
	ck_assert_str_eq(session_turn(3, "a2", 7, 100), "new");
	ck_assert_int_eq(world_stats().session_new, 2);
	ck_assert_int_eq(world_stats().session_warm, 1);
}
END_TEST

START_TEST(a_history_of_which_nothing_is_left_is_cold)
{
	session_turn(1, "a1", 7, 100);
	ck_assert_str_eq(session_turn(2, "a1", 8, 100), "cold");
	ck_assert_str_eq(session_turn(3, "a1", 8, 100), "warm");
}
END_TEST

START_TEST(pages_that_were_needed_for_others_are_evicted)
{
	session_turn(1, "a1", 7, 100);
	for (int i = 0; i < 12; i++)
		session_turn(10 + i, "b2", 20 + i, 300);
	ck_assert_int_eq(session_member("a1", "n_resident"), 0);
	ck_assert_str_eq(session_turn(2, "a1", 7, 100), "evicted");
}
END_TEST

START_TEST(pinned_pages_stay)
{
	struct err e;
	json_t *is;

	session_turn(1, "a1", 7, 100);
	session_do("a1", "pin");
	for (int i = 0; i < 12; i++)
		session_turn(10 + i, "b2", 20 + i, 300);
	ck_assert_int_eq(session_member("a1", "n_resident"), 104);
	/* A turn makes what is pinned longer. */
	session_turn(2, "a1", 7, 160);
	for (int i = 0; i < 12; i++)
		session_turn(30 + i, "b2", 40 + i, 300);
	ck_assert_int_eq(session_member("a1", "n_resident"), 164);
	session_turn(3, "c3", 90, 480);
	ck_assert_int_eq(session_op("c3", "pin", &is, &e), ERR_KV_FULL);
	ck_assert_int_gt(e.retry_after_ms, 50000);
	ck_assert_int_le(e.retry_after_ms, 60001);
	session_do("a1", "unpin");
	session_do("c3", "pin");
	ck_assert_int_eq(world_stats().sessions_pinned, 1);
}
END_TEST

START_TEST(a_lease_ends_and_with_it_the_pin)
{
	struct err e;
	json_t *is;

	session_turn(1, "a1", 7, 100);
	session_do("a1", "pin");
	world_pass(59000);
	ck_assert_int_eq(session_member("a1", "lease_ms"), 1000);
	world_step();
	ck_assert_int_eq(world_stats().kv_pages_pinned, 4);
	world_pass(2500);
	world_step();
	ck_assert_int_eq(session_op("a1", "get", &is, &e), ERR_SESSION);
	ck_assert_int_eq(world_stats().kv_pages_pinned, 0);
	ck_assert_int_eq(world_stats().session_expired, 1);
}
END_TEST

START_TEST(a_request_says_its_own_lease)
{
	struct decode_accepted a;
	struct err e;

	ck_assert_int_eq(session_try(1, "a1", 7, 50, "'max_tokens':5,"
	    "'session_ttl_ms':5000", &a, &e), 0);
	world_pass(4000);
	world_run();
	world_pass(4000);
	world_step();
	ck_assert_int_eq(session_member("a1", "lease_ms"), 1000);
}
END_TEST

START_TEST(the_idlest_session_makes_room_but_no_pinned_one)
{
	char key[4];
	struct err e;
	json_t *is;

	for (int i = 0; i < 8; i++) {
		snprintf(key, sizeof(key), "%02x", i);
		session_turn(1 + i, key, i, 10);
		world_pass(10);
	}
	session_do("00", "pin");
	session_turn(20, "aa", 9, 10);
	ck_assert_int_eq(session_op("01", "get", &is, &e), ERR_SESSION);
	ck_assert_int_eq(session_member("00", "pinned"), 1);
	ck_assert_int_eq(world_stats().sessions, 8);
}
END_TEST

START_TEST(of_one_session_one_request_runs_at_a_time)
{
	struct decode_accepted a;
	struct err e;

	ck_assert_int_eq(session_try(1, "a1", 7, 40, "'max_tokens':50", &a, &e),
	    0);
	ck_assert_int_eq(session_try(2, "a1", 8, 40, "'max_tokens':5", &a, &e),
	    0);
	ck_assert_int_eq(session_try(3, "b2", 9, 40, "'max_tokens':5", &a, &e),
	    0);
	ck_assert_int_eq(session_try(4, "a1", 9, 40, "'session_busy':'fail'", &a,
	    &e), ERR_SESSION_BUSY);
	for (int i = 0; i < 12; i++) {
		world_step();
		ck_assert_int_eq(world_heard(2)->n_tokens, 0);
	}
	ck_assert_str_eq(world_heard(3)->finish, "length");
	engine_cancel(world.en, world_id(1));
	world_run();
	ck_assert_str_eq(world_heard(1)->finish, "cancel");
	ck_assert_str_eq(world_heard(2)->finish, "length");
	ck_assert_int_eq(session_member("a1", "turns"), 2);
	ck_assert_int_eq(session_member("a1", "busy"), 0);
}
END_TEST

START_TEST(a_session_can_be_dropped_while_it_runs)
{
	struct decode_accepted a;
	struct err e;
	json_t *is;

	ck_assert_int_eq(session_try(1, "a1", 7, 40, "'max_tokens':20", &a, &e),
	    0);
	world_step();
	session_do("a1", "drop");
	world_run();
	ck_assert_str_eq(world_heard(1)->finish, "length");
	ck_assert_int_eq(session_op("a1", "get", &is, &e), ERR_SESSION);
}
END_TEST

START_TEST(what_is_dropped_is_free_at_once_but_for_what_others_say)
{
	int64_t n;

	session_turn(1, "a1", 7, 100);
	n = world_stats().kv_pages_cached;
	session_do("a1", "fork");
	session_do("f0", "drop");
	ck_assert_int_eq(world_stats().kv_pages_cached, n);
	ck_assert_int_eq(session_member("a1", "n_resident"), 104);
	session_do("a1", "drop");
	ck_assert_int_eq(world_stats().kv_pages_cached, 0);
}
END_TEST

START_TEST(a_later_attempt_takes_the_session_over)
{
	struct decode_accepted a;
	struct err e;

	ck_assert_int_eq(session_try(1, "a1", 7, 40, "'max_tokens':50", &a, &e),
	    0);
	for (int i = 0; i < 5; i++)
		world_step();
	ck_assert_int_eq(session_try(1, "a1", 7, 40,
	    "'attempt':1,'max_tokens':10", &a, &e), 0);
	while (session_member("a1", "busy")) {
		world_step();
		engine_ack(world.en, world_id(1), 100);
	}
	ck_assert_int_eq(session_member("a1", "n_tokens"), 50);
}
END_TEST

START_TEST(bad_keys_and_operations_are_refused)
{
	struct decode_accepted a;
	struct err e;
	json_t *is;

	ck_assert_int_eq(session_try(1, "A1", 7, 40, "", &a, &e), ERR_RANGE);
	ck_assert_str_eq(e.param, "session");
	ck_assert_int_eq(session_try(1, "a1", 7, 40, "'session_busy':'x'", &a,
	    &e), ERR_RANGE);
	session_turn(2, "a1", 7, 10);
	ck_assert_int_eq(session_op("a1", "dance", &is, &e), ERR_RANGE);
	session_do("a1", "fork");
	ck_assert_int_eq(session_op("a1", "fork", &is, &e), ERR_EXISTS);
	ck_assert_int_eq(session_op("a2", "get", &is, &e), ERR_SESSION);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("session");
	TCase *t = tcase_create("session");

	tcase_add_test(t, a_session_is_new_and_then_warm);
	tcase_add_test(t, a_history_of_which_nothing_is_left_is_cold);
	tcase_add_test(t, pages_that_were_needed_for_others_are_evicted);
	tcase_add_test(t, pinned_pages_stay);
	tcase_add_test(t, a_lease_ends_and_with_it_the_pin);
	tcase_add_test(t, a_request_says_its_own_lease);
	tcase_add_test(t, the_idlest_session_makes_room_but_no_pinned_one);
	tcase_add_test(t, of_one_session_one_request_runs_at_a_time);
	tcase_add_test(t, a_session_can_be_dropped_while_it_runs);
	tcase_add_test(t, what_is_dropped_is_free_at_once_but_for_what_others_say);
	tcase_add_test(t, a_later_attempt_takes_the_session_over);
	tcase_add_test(t, bad_keys_and_operations_are_refused);
	return session_main(s, t);
}
