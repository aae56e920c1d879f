/*
 * What a worker that has served nobody says to those whom it refuses: what its
 * first steps measured.
 */
#include "engine_world.h"
#include "warmup.h"

enum { REFUSED = 22 };

/* 24 come at once, of whom two find room; when the others are told to come. */
static void
refuse(int64_t told_ms[REFUSED])
{
	struct decode_accepted a;
	struct err e;

	world.config.n_slots = world.config.queue_max = 1;
	world_open();
	for (int i = 0; i < 2; i++) {
		world_add(i, "abc", "'max_tokens':100,'lease_ms':600000");
		if (i == 0)
			world_step();	/* of a prompt: no token is measured */
	}
	for (int i = 0; i < REFUSED; i++) {
		ck_assert_int_eq(world_try(2 + i, "abc", "'max_tokens':100", NULL,
		    &a, &e), ERR_BUSY);
		told_ms[i] = e.retry_after_ms;
	}
}

/* Row k: microseconds of one row, of 8, and of a token of one slot. */
static const double speeds[][3] = {
	{ 200, 500, 200 },		/* the demo model */
	{ 20000, 50000, 20000 },	/* 2B4T */
	{ 600000, 1500000, 600000 },	/* something much too large */
	{ 20000, 19000, 20000 },	/* a measurement that was disturbed */
};

START_TEST(who_is_refused_first_is_told_as_the_first_steps_were)
{
	const double *s = speeds[_i];
	int64_t told[REFUSED];

	world.config.start = (struct pace_start){ s[0], 8, s[1] };
	world.forward_us = (int64_t)s[0];
	refuse(told);
	for (int i = 0; i < REFUSED; i++) {
		/* 100 tokens of each who has room, 128 of each before. */
		double ms = (100 + (i > 0) * 100 + (i > 1 ? i - 1 : 0) * 128) *
		    s[2] / 1000;

		ck_assert_int_ge(told[i], ms < 100 ? 100 : (int64_t)ms);
		ck_assert_int_le(told[i], 101 + (int64_t)(1.4 * ms));
		ck_assert_int_le(told[i], 3600000);
	}
}
END_TEST

START_TEST(who_is_refused_unmeasured_is_told_late_rather_than_early)
{
	int64_t told[REFUSED];

	refuse(told);
	ck_assert_int_gt(told[0], 5000);
	ck_assert_int_gt(told[REFUSED - 1], 120000);
}
END_TEST

/* 64 slots: a step of so many rows, each as dear as the further ones of 8. */
START_TEST(a_token_takes_as_long_as_a_step_of_all_slots)
{
	static struct pace p;

	pace_init(&p, &(struct pace_start){ 1000, 8, 1700 }, 64);
	ck_assert_double_eq_tol(p.token_us.x, 1000 + 63 * 100, 1e-6);
	ck_assert_double_eq_tol(p.prompt_us.x, 1700.0 / 8, 1e-6);
	pace_init(&p, &(struct pace_start){ 1000, 1, 1100 }, 64);
	ck_assert_double_eq(p.token_us.x, 1000);
	ck_assert_double_eq(p.prompt_us.x, 1000);
}
END_TEST

static int passes[8], n_passes;

static int
count_pass(struct backend *b, const struct backend_row *rows, int n,
    float *logits, struct err *e)
{
	(void)b;
	passes[n_passes++] = n;
	for (int i = 0; i < n; i++) {
		ck_assert_int_eq(rows[i].pos, i);
		ck_assert_int_eq(rows[i].want_logits, i == n - 1);
	}
	for (int i = 0; i < WORLD_VOCAB; i++)
		logits[i] = 0;
	return n_passes == 8 ? err_set(e, ERR_SYSTEM, "the device is gone") : 0;
}

static int
warm(int32_t max_rows, int32_t n_checked, int64_t us, struct pace_start *s)
{
	const struct backend_options o = { .max_rows = max_rows, .n_ctx = 100 };
	const struct selfcheck_result check = { .n_tokens = n_checked, .us = us };
	struct backend b = { .forward = count_pass };
	struct err e;

	return warmup_run(&world.model, &b, &o, &check, s, &e);
}

START_TEST(the_first_steps_are_few_and_of_a_large_model_fewer)
{
	struct pace_start s;

	ck_assert_int_eq(warm(128, 0, 0, &s), 0);	/* no probe */
	ck_assert_int_eq(n_passes, 3);
	ck_assert_int_eq(passes[0], 1);
	ck_assert_int_eq(passes[1], 8);
	ck_assert_int_eq(passes[2], 1);
	ck_assert_int_eq(s.n_rows, 8);
	ck_assert(s.row_us >= 0 && s.rows_us >= 0);
	n_passes = 0;
	ck_assert_int_eq(warm(4, 32, 9000, &s), 0);
	ck_assert_int_eq(n_passes, 2);
	ck_assert_int_eq(passes[0], 4);
	ck_assert_int_eq(s.n_rows, 4);
	n_passes = 0;
	ck_assert_int_eq(warm(128, 32, 320000, &s), 0);
	ck_assert_int_eq(n_passes, 1);
	ck_assert_int_eq(passes[0], 1);
	ck_assert_int_eq(s.n_rows, 32);
	ck_assert_double_eq(s.rows_us, 320000);
	ck_assert_int_eq(warm(8, 32, 320000, &s), 0);
	ck_assert_int_eq(s.n_rows, 8);
	ck_assert_double_eq(s.rows_us, 80000);
}
END_TEST

START_TEST(a_backend_that_fails_in_its_first_steps_is_said_to)
{
	struct pace_start s;

	for (int before = 5; before <= 7; before++) {
		n_passes = before;
		ck_assert_int_eq(warm(128, 0, 0, &s), ERR_SYSTEM);
		ck_assert_int_eq(n_passes, 8);
	}
	n_passes = 7;
	ck_assert_int_eq(warm(128, 32, 320000, &s), ERR_SYSTEM);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pace");
	TCase *t = tcase_create("pace");

	tcase_add_loop_test(t, who_is_refused_first_is_told_as_the_first_steps_were,
	    0, (int)(sizeof(speeds) / sizeof(speeds[0])));
	tcase_add_test(t, who_is_refused_unmeasured_is_told_late_rather_than_early);
	tcase_add_test(t, a_token_takes_as_long_as_a_step_of_all_slots);
	tcase_add_test(t, the_first_steps_are_few_and_of_a_large_model_fewer);
	tcase_add_test(t, a_backend_that_fails_in_its_first_steps_is_said_to);
	return world_main(s, t);
}
