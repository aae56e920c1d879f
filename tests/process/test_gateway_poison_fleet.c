/*
 * A request that ends every worker it runs at, and two workers that take longer to come
 * back than a stream waits before it moves.
 */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fleet_peer.h"

enum { LONGER_MS = 5000 };	/* than UPSTREAM_MOVE_MS and what comes before */

static void
start(void)
{
	setenv("POISON_AT", "3", 1);
	/* A token that is lost with its worker seems to be behind the fault, so that one
	 * worker more would end. */
	setenv("POISON_AFTER_MS", "1000", 1);
	fleet_start(2, "tests/fault/poison_decode", NULL);
	for (int i = 0; i < PROCESS_TRIES &&
	    (int)fleet_metric("onebit_gateway_upstream_ready") != 2; i++)
		usleep(20000);
}

/* The one that has ended; it is not started again yet. */
static int
wait_end(void)
{
	siginfo_t info = { 0 };

	ck_assert_int_eq(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
	return info.si_pid == fleet_workers[0].process.pid ? 0 : 1;
}

START_TEST(it_ends_two_workers_and_no_third)
{
	struct http_client c;
	int first, second;

	fleet_ask(&c, "'model':'halo-demo','stream':true,'seed':1,"
	    "'max_tokens':66,'ignore_eos':true", "Crash, please.");
	first = wait_end();
	for (int i = 0; i < PROCESS_TRIES &&
	    fleet_metric("onebit_gateway_moved_total") < 1; i++)
		usleep(10000);
	ck_assert_int_eq(fleet_revive(first), 128 + SIGABRT);
	second = wait_end();
	ck_assert_int_eq(second, 1 - first);
	usleep(1000 * LONGER_MS);
	ck_assert_int_eq(fleet_revive(second), 128 + SIGABRT);
	http_rest(&c);
	ck_assert(http_has(&c, "\"code\":\"worker_crashed\""));
	http_close(&c);
	ck_assert_double_eq(fleet_metric("onebit_gateway_convicted_total"), 1);
	ck_assert_double_eq(fleet_metric("onebit_gateway_crashes_total"), 2);
	ck_assert_double_eq(fleet_metric("onebit_gateway_moved_total"), 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway poison fleet");
	TCase *t = tcase_create("gateway poison fleet");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_unchecked_fixture(t, start, fleet_stop);
	tcase_add_test(t, it_ends_two_workers_and_no_third);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
