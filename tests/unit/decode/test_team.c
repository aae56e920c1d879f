/* The thread team of the CPU backend. */
#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu_team.h"

enum { N_STEPS = 200 };

/* What a job writes; plan and pieces alone decide what is there. */
static struct {
	atomic_int done[N_STEPS][CPU_TEAM_PIECES];
	atomic_int total, early;
	int planned;		/* steps; no atomic: plan has nobody beside it */
	int before;		/* pieces of them, written by plan, read by pieces */
	int size;
} seen;

/* Every number of pieces there may be, and steps without any. */
static int
pieces_of(int step)
{
	return step % 7 == 3 ? 0 : step % 5 == 0 ? CPU_TEAM_PIECES :
	    step * 37 % CPU_TEAM_PIECES;
}

static int
plan(void *arg, int step)
{
	ck_assert_ptr_eq(arg, &seen);
	ck_assert_int_eq(step, seen.planned++);
	if (step > 0)
		seen.before += pieces_of(step - 1);
	ck_assert_int_eq(atomic_load(&seen.total), seen.before);
	return step == N_STEPS ? -1 : pieces_of(step);
}

static void
piece(void *arg, int number, int step, int i)
{
	ck_assert_ptr_eq(arg, &seen);
	if (number < 0 || number >= seen.size || i < 0 || i >= pieces_of(step) ||
	    atomic_load(&seen.total) < seen.before)
		atomic_store(&seen.early, 1);
	atomic_fetch_add(&seen.done[step][i], 1);
	atomic_fetch_add(&seen.total, 1);
}

static const struct cpu_team_job job = { plan, piece };

static void
check_job(struct cpu_team *t)
{
	memset(&seen, 0, sizeof(seen));
	seen.size = cpu_team_size(t);
	cpu_team_run(t, &job, &seen);
	ck_assert_int_eq(seen.planned, N_STEPS + 1);
	ck_assert_int_eq(atomic_load(&seen.early), 0);
	for (int step = 0; step < N_STEPS; step++)
		for (int i = 0; i < CPU_TEAM_PIECES; i++)
			ck_assert_int_eq(atomic_load(&seen.done[step][i]),
			    i < pieces_of(step));
}

START_TEST(every_piece_is_done_once_and_after_the_step_before)
{
	static const int sizes_of[] = { 1, 2, 3, 8, 256, 0 };
	struct cpu_team *t;
	struct err e;

	for (int i = 0; i < 6; i++) {
		ck_assert_int_eq(cpu_team_create(sizes_of[i], &t, &e), 0);
		ck_assert_int_gt(cpu_team_size(t), 0);
		for (int run = 0; run < 5; run++)
			check_job(t);
		cpu_team_destroy(t);
	}
	cpu_team_destroy(NULL);
}
END_TEST

/* The first piece waits until all others of the step are done. */
static int
plan_one(void *arg, int step)
{
	(void)arg;
	return step == 0 ? 64 : -1;
}

static void
wait_for_others(void *arg, int number, int step, int i)
{
	atomic_int *others = arg;

	(void)number;
	(void)step;
	if (i > 0)
		atomic_fetch_add(others, 1);
	while (i == 0 && atomic_load(others) < 63)
		;
}

START_TEST(a_member_that_stands_still_holds_one_piece_and_no_more)
{
	static const struct cpu_team_job slow = { plan_one, wait_for_others };
	struct cpu_team *t;
	struct err e;

	ck_assert_int_eq(cpu_team_create(2, &t, &e), 0);
	for (int run = 0; run < 20; run++) {
		atomic_int others = 0;

		cpu_team_run(t, &slow, &others);
		ck_assert_int_eq(atomic_load(&others), 63);
	}
	cpu_team_destroy(t);
}
END_TEST

START_TEST(ranges_cover_everything_once)
{
	for (int n = 0; n < 200; n += 3)
		for (int unit = 1; unit <= 16; unit *= 4) {
			int at = 0, from, to;

			for (int i = 0; i < 5; i++) {
				cpu_team_range(n, unit, i, 5, &from, &to);
				ck_assert_int_eq(from, at);
				ck_assert_int_ge(to, from);
				ck_assert(to == n || to % unit == 0);
				at = to;
			}
			ck_assert_int_eq(at, n);
		}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("team");
	TCase *t = tcase_create("team");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t,
	    every_piece_is_done_once_and_after_the_step_before);
	tcase_add_test(t,
	    a_member_that_stands_still_holds_one_piece_and_no_more);
	tcase_add_test(t, ranges_cover_everything_once);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
