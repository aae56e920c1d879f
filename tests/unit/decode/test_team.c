/* The thread team of the CPU backend. */
#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "backend/cpu_team.h"

enum { N_BARRIERS = 200 };
static atomic_int arrived[N_BARRIERS], wrong;

static void
team_job(struct cpu_team *t, int number, void *arg)
{
	(void)number;
	ck_assert_ptr_eq(arg, &wrong);
	for (int i = 0; i < N_BARRIERS; i++) {
		atomic_fetch_add(&arrived[i], 1);
		cpu_team_barrier(t);
		if (atomic_load(&arrived[i]) % cpu_team_size(t) != 0)
			atomic_store(&wrong, 1);
		cpu_team_barrier(t);
	}
}

START_TEST(a_team_meets_at_every_barrier)
{
	static const int sizes_of[] = { 1, 2, 3, 8, 0 };
	struct cpu_team *t;
	struct err e;

	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(cpu_team_create(sizes_of[i], &t, &e), 0);
		ck_assert_int_gt(cpu_team_size(t), 0);
		for (int j = 0; j < N_BARRIERS; j++)
			atomic_store(&arrived[j], 0);
		for (int run = 0; run < 3; run++)
			cpu_team_run(t, team_job, &wrong);
		ck_assert_int_eq(atomic_load(&wrong), 0);
		ck_assert_int_eq(atomic_load(&arrived[N_BARRIERS - 1]),
		    3 * cpu_team_size(t));
		cpu_team_destroy(t);
	}
	cpu_team_destroy(NULL);
}
END_TEST

START_TEST(shares_cover_everything_once)
{
	struct cpu_team *t;
	struct err e;

	ck_assert_int_eq(cpu_team_create(5, &t, &e), 0);
	for (int n = 0; n < 200; n += 3)
		for (int step = 1; step <= 16; step *= 4) {
			int at = 0, from, to;

			for (int i = 0; i < 5; i++) {
				cpu_team_share(t, i, n, step, &from, &to);
				ck_assert_int_eq(from, at);
				ck_assert_int_ge(to, from);
				ck_assert(to == n || to % step == 0);
				at = to;
			}
			ck_assert_int_eq(at, n);
		}
	cpu_team_destroy(t);
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
	tcase_add_test(t, a_team_meets_at_every_barrier);
	tcase_add_test(t, shares_cover_everything_once);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
