/*
 * What becomes of a request: accepted once, queued, run, acknowledged, replayed,
 * cancelled, forgotten.  With a clock of the test's own.
 */
#include "engine_state.h"
#include "engine_world.h"

static int
replay(int n, int64_t from, json_t **events, struct err *e)
{
	return engine_replay(world.en, world_id(n), from, events, e);
}

static int
find(int n, int64_t attempt, bool *known)
{
	const struct decode_generate g = { .id = world_id(n),
		.attempt = attempt };
	struct decode_accepted a;
	struct err e;

	return engine_find(world.en, &g, known, &a, &e);
}

START_TEST(a_request_that_is_sent_twice_runs_once)
{
	struct decode_accepted a, b;
	struct err e;

	world_open();
	ck_assert_int_eq(world_try(1, "abc", "'max_tokens':5", NULL, &a, &e), 0);
	world_step();
	ck_assert_int_eq(world_try(1, "abc", "'max_tokens':5", NULL, &b, &e), 0);
	ck_assert_int_eq(b.n_prompt, a.n_prompt);
	ck_assert_int_eq(b.max_tokens, 5);
	ck_assert_str_eq(b.boot, "0123456789abcdef");
	world_run();
	ck_assert_int_eq(world_heard(1)->n_tokens, 5);
	ck_assert_int_eq(world_stats().accepted, 1);
	ck_assert_int_eq(world_stats().repeated, 1);
}
END_TEST

START_TEST(a_later_attempt_takes_the_place_of_an_earlier_one)
{
	struct decode_accepted a;
	bool known = false;
	struct err e;

	world_open();
	world_add(1, "abc", "'max_tokens':50,'attempt':1");
	world_step();
	ck_assert_int_eq(world_try(1, "abc", "'attempt':0", NULL, &a, &e),
	    ERR_EXISTS);
	ck_assert_str_eq(e.param, "attempt");
	ck_assert_int_eq(find(1, 1, &known), 0);
	ck_assert(known);
	world_heard(1)->next = 0;
	world_heard(1)->n_tokens = 0;
	world_add(1, "abc", "'max_tokens':3,'attempt':2");
	ck_assert_int_eq(world_stats().held, 1);
	world_run();
	ck_assert_int_eq(world_heard(1)->n_tokens, 3);
}
END_TEST

START_TEST(a_text_that_memory_is_too_short_for_has_no_gap)
{
	world_open();
	world_add(1, "abc", "'max_tokens':20");
	world_step();
	world_step();
	world.en->jobs[0]->events.text.failed = true;
	world_run();
	ck_assert_str_eq(world_heard(1)->finish, "error");
	ck_assert_int_lt(world_heard(1)->n_tokens, 20);
}
END_TEST

static size_t largest_part;
static int n_parts;

static void
hear_part(void *arg, int64_t step, json_t *events)
{
	if (json_array_size(events) > largest_part)
		largest_part = json_array_size(events);
	n_parts++;
	world_on_step(arg, step, events);
}

START_TEST(a_step_of_many_requests_is_published_in_parts)
{
	world.config.n_slots = world.config.queue_max = WORLD_IDS;
	world.config.n_pages = WORLD_PAGES;
	world.config.on_step = hear_part;
	largest_part = 0;
	n_parts = 0;
	world_open();
	for (int i = 0; i < WORLD_IDS; i++)
		world_add(i, "ab", "'max_tokens':1");
	for (int i = 0; i < 8 && world_heard(WORLD_IDS - 1)->n_tokens == 0; i++)
		world_step();
	ck_assert_uint_eq(largest_part, DECODE_STEP_PIECES);
	ck_assert_int_ge(n_parts, 2);
	for (int i = 0; i < WORLD_IDS; i++)
		ck_assert_int_eq(world_heard(i)->n_tokens, 1);
}
END_TEST

START_TEST(what_was_not_heard_is_replayed)
{
	json_t *events;
	struct err e;

	world_open();
	world.deaf = true;
	world_add(1, "abc", "'max_tokens':20");
	world_run();
	for (int64_t from = 0; from <= 20; from++) {
		ck_assert_int_eq(replay(1, from, &events, &e), 0);
		ck_assert_uint_eq(json_array_size(events), 20 - (size_t)from);
		if (from == 0)
			world_take(events);
		json_decref(events);
	}
	ck_assert_int_eq(world_heard(1)->n_tokens, 20);
	ck_assert_str_eq(world_heard(1)->finish, "length");
	ck_assert_int_eq(world_stats().replays, 21);
}
END_TEST

START_TEST(a_replay_that_cannot_be_is_an_error_and_not_a_shorter_text)
{
	json_t *events;
	struct err e;

	world_open();
	world_add(1, "abc", "'max_tokens':20");
	for (int i = 0; i < 10; i++)
		world_step();
	engine_ack(world.en, world_id(1), 4);
	ck_assert_int_eq(replay(1, 3, &events, &e), ERR_NOT_FOUND);
	ck_assert_str_eq(e.text, "piece 3 is no longer kept, the first is 4");
	ck_assert_int_eq(replay(1, 11, &events, &e), ERR_RANGE);
	ck_assert_str_eq(e.text, "piece 11 is not made yet, the next is 10");
	ck_assert_int_eq(replay(1, 4, &events, &e), 0);
	world_take(events);
	json_decref(events);
	ck_assert_int_eq(replay(2, 0, &events, &e), ERR_NOT_FOUND);
	ck_assert_str_eq(e.param, "id");
	ck_assert_int_eq(world_stats().replays_missed, 3);
}
END_TEST

START_TEST(a_lease_that_ends_frees_slot_pages_and_pieces)
{
	json_t *events;
	struct err e;

	world_open();
	world_add(1, "abc", "'lease_ms':500");
	world_step();
	world_pass(400);
	ck_assert(engine_ack(world.en, world_id(1), 0));
	world_pass(400);	/* renewed: it lives */
	ck_assert(world_step());
	world_pass(501);
	world_step();
	ck_assert_int_eq(world_stats().held, 0);
	ck_assert_int_eq(world_stats().running, 0);
	ck_assert_int_eq(world_stats().kv_pages_free, world.config.n_pages);
	ck_assert_int_eq(world_stats().lease_expired, 1);
	ck_assert_int_eq(replay(1, 0, &events, &e), ERR_NOT_FOUND);
	ck_assert(!engine_ack(world.en, world_id(1), 0));
}
END_TEST

START_TEST(the_lease_of_one_that_waits_or_has_ended_ends_too)
{
	world.config.n_slots = 1;
	world_open();
	world_add(1, "abc", "'max_tokens':1");
	world_step();			/* ended, not acknowledged */
	world_add(2, "abc", "'lease_ms':60000");
	world_add(3, "abc", "");	/* waits */
	world_pass(2001);
	world_step();
	ck_assert_int_eq(world_stats().held, 1);
	ck_assert_int_eq(world_stats().queued, 0);
	ck_assert_int_eq(world_stats().lease_expired, 2);
}
END_TEST

START_TEST(what_is_acknowledged_to_its_end_is_forgotten)
{
	world_open();
	world_add(1, "abc", "'max_tokens':3");
	while (world_step())
		;
	engine_ack(world.en, world_id(1), 2);
	ck_assert_int_eq(world_stats().held, 1);
	engine_ack(world.en, world_id(1), 3);
	ck_assert_int_eq(world_stats().held, 0);
	ck_assert_int_eq(world_stats().lease_expired, 0);
}
END_TEST

START_TEST(a_client_that_takes_nothing_pauses_its_own_request_alone)
{
	world_open();
	world_add(1, "abc", "'lease_ms':60000");
	world_add(2, "abd", "'lease_ms':60000,'max_tokens':400");
	for (int i = 0; i < 600 && world_step(); i++)
		engine_ack(world.en, world_id(2), world_heard(2)->next);
	ck_assert_int_eq(world_heard(1)->n_tokens, DECODE_UNACKED_MAX);
	ck_assert_int_eq(world_heard(2)->n_tokens, 400);
	ck_assert_int_eq(world_stats().paused, 1);
	ck_assert(!world_step());
	engine_ack(world.en, world_id(1), 10);
	for (int i = 0; i < 10; i++)
		ck_assert(world_step());
	ck_assert(!world_step());
	engine_cancel(world.en, world_id(1));	/* room for a finish alone */
	ck_assert(world_step());
	ck_assert_str_eq(world_heard(1)->finish, "cancel");
}
END_TEST

static void
cancel_1(void)
{
	engine_cancel(world.en, world_id(1));
}

START_TEST(a_cancelled_request_ends_within_a_step)
{
	struct decode_status s;

	world.config.n_slots = 1;
	world_open();
	world_add(1, "abc", "");
	world_add(2, "abc", "");
	world_step();
	if (_i == 0)
		cancel_1();		/* between two steps */
	else
		world.in_forward = cancel_1;	/* or during one */
	world_step();
	ck_assert_str_eq(world_heard(1)->finish, "cancel");
	ck_assert_int_eq(world_heard(1)->n_tokens, 1);
	engine_cancel(world.en, world_id(1));	/* again, and one that waits */
	engine_status(world.en, &s);
	/* The finish came alone and has a number, so its loss is noticed. */
	ck_assert_int_eq(json_integer_value(json_object_get(s.held,
	    world_id(1))), 2);
	json_decref(s.held);
	json_decref(s.waiting);
	json_decref(s.prefill);
	engine_cancel(world.en, world_id(2));
	world.in_forward = NULL;
	world_step();
	ck_assert_str_eq(world_heard(2)->finish, "cancel");
	engine_cancel(world.en, world_id(9));	/* unknown is fine */
	ck_assert_int_eq(world_stats().cancel, 2);
	ck_assert_int_eq(world_stats().running, 0);
}
END_TEST

static void
replace_1(void)
{
	world.in_forward = NULL;
	world_heard(1)->next = 0;
	world_heard(1)->n_tokens = 0;
	world_add(1, "abc", "'attempt':1,'max_tokens':4");
}

START_TEST(a_request_replaced_during_its_step_leaves_nothing_behind)
{
	world_open();
	world_add(1, "abc", "");
	world_step();
	world.in_forward = replace_1;
	world_run();
	ck_assert_int_eq(world_heard(1)->n_tokens, 4);
	ck_assert_int_eq(world_stats().kv_pages_free, world.config.n_pages);
	ck_assert_int_eq(world_stats().held, 0);
}
END_TEST

START_TEST(a_deadline_ends_what_runs_and_what_waits)
{
	world.config.n_slots = 1;
	world_open();
	world_add(1, "abc", "'deadline_ms':300");
	world_add(2, "abc", "'deadline_ms':200");
	world_step();
	world_pass(200);
	world_step();
	ck_assert_str_eq(world_heard(2)->finish, "deadline");
	ck_assert_int_eq(world_heard(2)->n_tokens, 0);
	ck_assert_str_eq(world_heard(1)->finish, "");
	world_pass(100);
	world_step();
	ck_assert_str_eq(world_heard(1)->finish, "deadline");
	ck_assert_int_eq(world_heard(1)->n_tokens, 2);
	ck_assert_int_eq(world_stats().running, 0);
}
END_TEST

START_TEST(a_full_queue_says_when_to_come_again)
{
	struct decode_accepted a;
	bool known;
	struct err e;

	world.forward_us = 50000;
	world_open();
	/* Services of 20 steps of 50 ms, until the mean is nearly that. */
	for (int i = 0; i < 30; i++) {
		world_add(100, "abc", "'max_tokens':20,'lease_ms':60000");
		world_run();
		world_heard(100)->next = world_heard(100)->n_tokens = 0;
		world_heard(100)->finish[0] = '\0';
	}
	for (int i = 0; i < 4 + 8; i++) {
		ck_assert_int_eq(world_try(i, "abc", "'max_tokens':20",
		    NULL, &a, &e), 0);
		ck_assert_int_eq(a.queue, i < 4 ? i : i - 4);
		if (i == 3)
			world_step();
	}
	ck_assert_int_eq(world_try(12, "abc", "", NULL, &a, &e), ERR_BUSY);
	ck_assert_str_eq(e.text, "4 requests run and 8 wait with 24 tokens");
	/* 19 steps of 50 ms until the first is ready, and some caution. */
	ck_assert_int_ge(e.retry_after_ms, 19 * 50);
	ck_assert_int_le(e.retry_after_ms, 19 * 50 * 13 / 10);
	ck_assert_int_eq(find(12, 0, &known), ERR_BUSY);
	ck_assert_int_eq(world_try(3, "abc", "", NULL, &a, &e), 0);	/* known */
}
END_TEST

START_TEST(requests_that_need_more_pages_than_there_are_all_end)
{
	world_open();	/* pages for two full contexts */
	world_add(1, "abc", "'lease_ms':60000");
	world_add(2, "bbc", "'lease_ms':60000");
	world_add(3, "cbc", "'lease_ms':60000");
	world_add(4, "dbc", "'lease_ms':60000,'max_tokens':5");
	world_step();
	ck_assert_int_eq(world_stats().running, 4);
	world_run();
	ck_assert_int_gt(world_stats().preemptions, 0);
	for (int i = 1; i <= 3; i++)
		ck_assert_int_eq(world_heard(i)->n_tokens, WORLD_CTX - 3);
	ck_assert_int_eq(world_heard(4)->n_tokens, 5);
	ck_assert_int_eq(world_stats().kv_pages_free, world.config.n_pages);
}
END_TEST

START_TEST(a_draining_engine_finishes_and_takes_nothing_new)
{
	struct decode_accepted a;
	struct err e;

	world_open();
	world_add(1, "abc", "'max_tokens':5");
	engine_drain(world.en);
	ck_assert_int_eq(world_try(2, "abc", "", NULL, &a, &e), ERR_DRAINING);
	ck_assert_int_eq(world_try(1, "abc", "", NULL, &a, &e), 0);	/* known */
	world_run();
	ck_assert_str_eq(world_heard(1)->finish, "length");
}
END_TEST

START_TEST(status_names_everything_that_is_held)
{
	struct decode_status s;

	world.config.n_slots = 1;
	world_open();
	world_add(1, "abc", "");
	world_add(2, "abc", "");
	world_step();
	world_step();
	engine_status(world.en, &s);
	ck_assert(s.ready);
	ck_assert_int_eq(s.step, 2);
	ck_assert_int_eq(s.running, 1);
	ck_assert_int_eq(s.queued, 1);
	ck_assert_uint_eq(json_object_size(s.held), 2);
	ck_assert_int_eq(json_integer_value(json_object_get(s.held,
	    world_id(1))), 2);
	ck_assert_int_eq(json_integer_value(json_object_get(s.held,
	    world_id(2))), 0);
	json_decref(s.held);
	json_decref(s.waiting);
	json_decref(s.prefill);
}
END_TEST

START_TEST(a_dead_backend_is_reported)
{
	bool worked;
	struct err e;

	world_open();
	world_add(1, "abc", "");
	world.fails = true;
	ck_assert_int_eq(engine_step(world.en, &worked, &e), ERR_SYSTEM);
	ck_assert_str_eq(e.text, "the device is gone");
}
END_TEST

START_TEST(times_are_told_apart)
{
	json_t *stats;

	world.config.n_slots = 1;
	world.config.step_rows = 4;
	world.forward_us = 10000;
	world_open();
	world_add(1, "abc", "'max_tokens':3");
	world_add(2, "bcdefghij", "'max_tokens':3");
	world_run();
	stats = world_heard(2)->stats;
	ck_assert_int_eq(json_integer_value(json_object_get(stats, "n_prompt")),
	    9);
	ck_assert_int_eq(json_integer_value(json_object_get(stats,
	    "n_generated")), 3);
	ck_assert_double_eq_tol(json_real_value(json_object_get(stats,
	    "queue_ms")), 30, 0.01);
	ck_assert_double_eq_tol(json_real_value(json_object_get(stats,
	    "prefill_ms")), 30, 0.01);
	ck_assert_double_eq_tol(json_real_value(json_object_get(stats,
	    "decode_ms")), 20, 0.01);
	ck_assert_int_eq(world_stats().prompt_tokens, 12);
	ck_assert_int_eq(world_stats().generated_tokens, 6);
	ck_assert_int_eq(world.rows_max, 4);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("engine");
	TCase *t = tcase_create("engine");

	tcase_add_test(t, a_request_that_is_sent_twice_runs_once);
	tcase_add_test(t, a_later_attempt_takes_the_place_of_an_earlier_one);
	tcase_add_test(t, a_text_that_memory_is_too_short_for_has_no_gap);
	tcase_add_test(t, a_step_of_many_requests_is_published_in_parts);
	tcase_add_test(t, what_was_not_heard_is_replayed);
	tcase_add_test(t,
	    a_replay_that_cannot_be_is_an_error_and_not_a_shorter_text);
	tcase_add_test(t, a_lease_that_ends_frees_slot_pages_and_pieces);
	tcase_add_test(t, the_lease_of_one_that_waits_or_has_ended_ends_too);
	tcase_add_test(t, what_is_acknowledged_to_its_end_is_forgotten);
	tcase_add_test(t,
	    a_client_that_takes_nothing_pauses_its_own_request_alone);
	tcase_add_loop_test(t, a_cancelled_request_ends_within_a_step, 0, 2);
	tcase_add_test(t,
	    a_request_replaced_during_its_step_leaves_nothing_behind);
	tcase_add_test(t, a_deadline_ends_what_runs_and_what_waits);
	tcase_add_test(t, a_full_queue_says_when_to_come_again);
	tcase_add_test(t, requests_that_need_more_pages_than_there_are_all_end);
	tcase_add_test(t, a_draining_engine_finishes_and_takes_nothing_new);
	tcase_add_test(t, status_names_everything_that_is_held);
	tcase_add_test(t, a_dead_backend_is_reported);
	tcase_add_test(t, times_are_told_apart);
	return world_main(s, t);
}
