/*
 * The gateway when time is short: a worker that hangs while several answers wait for
 * it, and its own end while streams run.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fake_decode.h"
#include "gateway_peer.h"

static void
start_both(void)
{
	gateway_options[0] = "--drain-timeout-s";
	gateway_options[1] = "1";
	gateway_start();
	fake_open(gateway_dir);
	gateway_restart_worker(true);
	gateway_wait_status("/readyz", 200);
}

/* It is asked for each of them, and to wait for its answers takes long. */
START_TEST(several_answers_of_a_worker_that_hangs_are_kept_alive)
{
	static const char body[] = "{\"model\":\"fake\",\"stream\":true,\"n\":3,"
	    "\"messages\":[{\"role\":\"user\",\"content\":\"CANARY\"}]}";
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, body, id));
	json_decref(fake_generate());
	json_decref(fake_generate());
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "one");
	fake_hangs(true);
	http_until(&c, ": ping\n\n\r\n8\r\n: ping");
	fake_hangs(false);
	http_close(&c);
	ck_assert(fake_cancelled(id));
	gateway_wait_status("/readyz", 200);
}
END_TEST

START_TEST(what_still_runs_at_the_end_is_told_so)
{
	struct http_client c, whole;
	char id[33];

	json_decref(gateway_begin(&whole, gateway_plain, id));
	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "one");
	ck_assert_int_eq(kill(gateway.pid, SIGTERM), 0);
	http_rest(&c);
	ck_assert(http_has(&c, "data: {\"error\":{"));
	ck_assert(http_has(&c, "\"code\":\"draining\""));
	ck_assert(http_has(&c, "\r\n0\r\n\r\n"));
	ck_assert(!http_has(&c, "[DONE]"));
	http_rest(&whole);
	ck_assert_int_eq(http_status(&whole), 503);
	ck_assert(http_has(&whole, "\r\nRetry-After: 1\r\n"));
	ck_assert(http_has(&whole, "before this answer is complete"));
	http_close(&whole);
	http_close(&c);
	ck_assert_int_eq(process_wait(&gateway, PROCESS_END_MS), 0);
	ck_assert(process_logged(&gateway, "stopped cut=2"));
	ck_assert(!process_logged(&gateway, "CANARY"));
	process_remove_dir(gateway_dir);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway cut");
	TCase *t = tcase_create("gateway cut");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, start_both, NULL);
	tcase_add_test(t, several_answers_of_a_worker_that_hangs_are_kept_alive);
	tcase_add_test(t, what_still_runs_at_the_end_is_told_so);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
