/*
 * More than there is room for: who is refused and until when, who goes first.
 */
#include "engine_world.h"

enum { CLIENTS = 40 };

static struct client {
	int64_t due_us;		/* when it asks */
	int n_tries;
	bool taken;
	char members[64], prompt[64];
} clients[CLIENTS];

static void
make_clients(void)
{
	uint32_t r = 5;

	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &clients[i];

		r = r * 1664525 + 1013904223;
		*c = (struct client){ .due_us = world.now_us };
		snprintf(c->members, sizeof(c->members), "'max_tokens':%u,"
		    "'lease_ms':600000", 5 + (r >> 16) % 60);
		snprintf(c->prompt, sizeof(c->prompt), "%d%.*s", 10 + i,
		    (int)((r >> 10) % 50), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		    "xxxxxxxxxxxxxxxxxxxx");
	}
}

static void
ask(int i)
{
	struct client *c = &clients[i];
	struct decode_accepted a;
	struct err e;
	int r = world_try(i, c->prompt, c->members, NULL, &a, &e);

	c->n_tries++;
	c->taken = r == 0;
	if (r == 0)
		return;
	ck_assert_int_eq(r, ERR_BUSY);
	ck_assert_int_gt(e.retry_after_ms, 0);
	c->due_us = world.now_us + e.retry_after_ms * 1000;
}

START_TEST(who_comes_when_it_was_told_is_served)
{
	int64_t idle_us = 0, start = world.now_us;
	int n_left = CLIENTS, n_again = 0;

	world.forward_us = 50000;
	world_open();
	world_add(39, "warm", "'max_tokens':40,'lease_ms':600000");
	world_run();
	world_heard(39)->next = world_heard(39)->n_tokens = 0;
	world_heard(39)->finish[0] = '\0';
	make_clients();
	while (n_left > 0) {
		n_left = 0;
		for (int i = 0; i < CLIENTS; i++) {
			if (!clients[i].taken &&
			    clients[i].due_us <= world.now_us)
				ask(i);
			n_left += !clients[i].taken;
		}
		if (!world_step()) {
			world_pass(10);
			idle_us += 10000;
		}
		for (int k = 0; k < world.n_heard; k++)
			engine_ack(world.en, world.heard[k].id,
			    world.heard[k].next);
	}
	for (int i = 0; i < CLIENTS; i++)
		n_again += clients[i].n_tries > 2;
	ck_assert_int_eq(clients[4 + 8].n_tries, 2);
	ck_assert_int_le(n_again, CLIENTS / 20);
	/* Nor was anybody told to stay away for no reason. */
	ck_assert_int_lt(idle_us, (world.now_us - start) / 10);
	world_run();
}
END_TEST

/* Each is told a later time than the one before, until that has come. */
START_TEST(not_all_are_told_the_same_moment)
{
	int64_t last = 0, first;
	struct decode_accepted a;
	struct err e;

	world.config.n_slots = 1;
	world.forward_us = 50000;
	world_open();
	for (int i = 0; i < 1 + 8; i++) {
		world_add(i, "abc", "'max_tokens':20,'lease_ms':600000");
		world_step();
	}
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(world_try(20, "abc", "", NULL, &a, &e),
		    ERR_BUSY);
		ck_assert_int_gt(e.retry_after_ms, last + (i > 0 ? 1000 : 0));
		last = e.retry_after_ms;
		first = i == 0 ? last : first;
	}
	world_pass(last + 1);
	ck_assert_int_eq(world_try(20, "abc", "", NULL, &a, &e), ERR_BUSY);
	ck_assert_int_le(e.retry_after_ms, first);
}
END_TEST

START_TEST(the_queue_is_bounded_by_tokens_too)
{
	struct decode_accepted a;
	char prompt[401];
	struct err e;

	memset(prompt, 'x', sizeof(prompt));
	prompt[400] = '\0';
	world.config.n_slots = 1;
	world.config.queue_tokens = 300;
	world_open();
	world_add(1, "abc", "'max_tokens':20");
	world_step();
	world_add(2, prompt, "'max_tokens':3");	/* one may always wait */
	ck_assert_int_eq(world_try(3, "abc", "", NULL, &a, &e), ERR_BUSY);
	ck_assert_str_eq(e.text, "1 requests run and 1 wait with 400 tokens");
	ck_assert_int_eq(world_stats().queued_tokens, 400);
	world_run();
	ck_assert_int_eq(world_stats().queued_tokens, 0);
	world_add(3, "abc", "'max_tokens':3");
	world_run();
	ck_assert_int_eq(world_heard(3)->n_tokens, 3);
}
END_TEST

START_TEST(a_client_with_many_requests_does_not_keep_others_waiting)
{
	world.config.n_slots = 2;
	world_open();
	for (int i = 0; i < 8; i++)
		world_add(i, "abc", "'max_tokens':10,'client':1");
	world_step();
	world_add(8, "bcd", "'max_tokens':10,'client':2");
	world_add(9, "cde", "'max_tokens':10");	/* nobody's but its own */
	for (int i = 0; i < 20; i++)
		world_step();
	ck_assert_str_eq(world_heard(8)->finish, "length");
	ck_assert_str_eq(world_heard(2)->finish, "length");
	ck_assert_str_eq(world_heard(3)->finish, "");
	for (int i = 0; i < 10; i++)
		world_step();
	ck_assert_str_eq(world_heard(9)->finish, "length");
	ck_assert_int_eq(world_stats().queued, 2);
	world_run();
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(world_heard(i)->n_tokens, 10);
}
END_TEST

START_TEST(a_short_prompt_is_not_stuck_behind_a_long_one)
{
	char prompt[401];
	int i;

	memset(prompt, 'x', sizeof(prompt));
	prompt[400] = '\0';
	world.config.step_rows = 16;
	world_open();
	world_add(1, prompt, "'max_tokens':1");
	world_add(2, "0123456789", "'max_tokens':1");
	for (i = 0; world_heard(2)->n_tokens == 0; i++)
		world_step();
	ck_assert_int_le(i, 3);
	ck_assert_int_eq(world_heard(1)->n_tokens, 0);
	/* And the long one has the rest. */
	for (; world_heard(1)->n_tokens == 0; i++)
		world_step();
	ck_assert_int_eq(i, (410 + 15) / 16);
}
END_TEST

static int n_prompt_rows;

static void
count_rows(void)
{
	n_prompt_rows += world.n_rows;
}

START_TEST(prompts_take_less_of_a_step_while_others_decode)
{
	char prompt[401];

	memset(prompt, 'x', sizeof(prompt));
	prompt[400] = '\0';
	world.config.prefill_rows = 8;
	world_open();
	world_add(1, "abc", "'max_tokens':10");
	world_step();
	world.in_forward = count_rows;
	world_add(2, prompt, "'max_tokens':10");
	for (int i = 0; i < 9; i++)
		world_step();
	ck_assert_str_eq(world_heard(1)->finish, "length");
	ck_assert_int_eq(n_prompt_rows, 9 * (1 + 8));
	n_prompt_rows = 0;
	world_step();
	ck_assert_int_eq(n_prompt_rows, 64);
}
END_TEST

static int64_t n_calls;
static uint64_t beats_in_forward[2];

static int
count_calls(const struct backend *b, struct backend_op ops[BACKEND_OPS_MAX])
{
	(void)b;
	ops[0] = (struct backend_op){ .name = "qkv", .calls = n_calls };
	ops[1] = (struct backend_op){ .name = "head", .calls = 1 };
	return 2;
}

static void
work_long(void)
{
	beats_in_forward[0] = engine_beats(world.en);
	n_calls++;
	beats_in_forward[1] = engine_beats(world.en);
}

START_TEST(a_step_that_takes_long_shows_life)
{
	world_open();
	world.backend.ops = count_calls;
	world.in_forward = work_long;
	world_add(1, "abc", "'max_tokens':1");
	world_step();
	ck_assert_uint_gt(beats_in_forward[0], 0);
	ck_assert_uint_gt(beats_in_forward[1], beats_in_forward[0]);
	world_run();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("engine_load");
	TCase *t = tcase_create("load");

	tcase_add_test(t, who_comes_when_it_was_told_is_served);
	tcase_add_test(t, not_all_are_told_the_same_moment);
	tcase_add_test(t, the_queue_is_bounded_by_tokens_too);
	tcase_add_test(t,
	    a_client_with_many_requests_does_not_keep_others_waiting);
	tcase_add_test(t, a_short_prompt_is_not_stuck_behind_a_long_one);
	tcase_add_test(t, a_step_that_takes_long_shows_life);
	tcase_add_test(t, prompts_take_less_of_a_step_while_others_decode);
	return world_main(s, t);
}
