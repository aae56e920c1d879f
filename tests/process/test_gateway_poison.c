/*
 * A request that ends the worker, among many that do not.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fleet_peer.h"

enum { STREAMS = 12, KILLS = 12 };

static char *alone[STREAMS];

static void
members(char out[160], int i)
{
	snprintf(out, 160, "'model':'halo-demo','stream':true,'seed':%d,"
	    "'temperature':0.8,'max_tokens':120,'ignore_eos':true", 100 + i);
}

static void
message(char out[64], int i)
{
	snprintf(out, 64, "Tell me story number %d.", i);
}

static void
ask(struct http_client *c, int i)
{
	char m[160], text[64];

	members(m, i);
	message(text, i);
	fleet_ask(c, m, text);
}

static void
start(void)
{
	struct http_client c;

	setenv("POISON_AT", "7", 1);
	fleet_start(1, "tests/fault/poison_decode", NULL);
	for (int i = 0; i < STREAMS; i++) {
		ask(&c, i);
		alone[i] = fleet_text(&c);
	}
}

static void
start_hanging(void)
{
	setenv("POISON_HOW", "hang", 1);
	start();
}

static void
stop(void)
{
	fleet_stop();
	for (int i = 0; i < STREAMS; i++)
		free(alone[i]);
}

static void
ask_poison(struct http_client *c, bool stream, int seed)
{
	char m[160];

	snprintf(m, sizeof(m), "'model':'halo-demo','stream':%s,'seed':%d,"
	    "'temperature':0.8,'max_tokens':66,'ignore_eos':true",
	    stream ? "true" : "false", seed);
	fleet_ask(c, m, stream ? "Crash, please." : "Crash at once.");
}

static void
check_refused(struct http_client *c, bool headers)
{
	http_rest(c);
	ck_assert_int_eq(http_status(c), headers ? 200 : 500);
	ck_assert(http_has(c, "\"type\":\"server_error\""));
	ck_assert(http_has(c, "\"code\":\"worker_crashed\""));
	ck_assert(!http_has(c, "[DONE]"));
	if (headers)
		ck_assert(http_has(c, "\r\n0\r\n\r\n"));
	else
		ck_assert(http_has(c, "\r\nx-should-retry: false\r\n"));
	http_close(c);
}

START_TEST(it_costs_two_crashes_and_nobody_elses_text)
{
	struct http_client c[STREAMS], bad;
	char *text;

	for (int i = 0; i < STREAMS; i++)
		ask(&c[i], i);
	for (int i = 0; i < STREAMS; i++)
		http_until(&c[i], "\"content\":\"");
	ask_poison(&bad, _i == 0, 1);
	for (int k = 0; k < 2; k++)
		ck_assert_int_eq(fleet_revive(0), 128 + SIGABRT);
	check_refused(&bad, _i == 0);
	for (int i = 0; i < STREAMS; i++) {
		text = fleet_text(&c[i]);
		ck_assert_str_eq(text, alone[i]);
		free(text);
	}
	ck_assert_double_eq(fleet_metric("onebit_gateway_convicted_total"),
	    _i + 1);
	ck_assert_double_eq(fleet_metric("onebit_gateway_crashes_total"),
	    2 * _i + 2);
	ck_assert_double_eq(fleet_metric("onebit_gateway_lost_total"), 0);
}
END_TEST

/* Until the worker hangs for the n-th time; false if the request that makes it hang was
 * convicted instead. */
static bool
wait_hangs(int n)
{
	for (int i = 0; i < PROCESS_TRIES; i++) {
		if (process_log_lines(&fleet_workers[0].process,
		    "poison: it hangs") >= n)
			return true;
		if (fleet_metric("onebit_gateway_convicted_total") >= 1)
			return false;
		usleep(10000);
	}
	ck_abort_msg("the worker does not hang");
}

/* As the service manager's watchdog does it, when no sign of life comes. */
START_TEST(one_that_hangs_is_ended_and_does_the_same)
{
	struct http_client c[2], bad;
	char *text;

	for (int i = 0; i < 2; i++) {
		ask(&c[i], i);
		http_until(&c[i], "\"content\":\"");
	}
	ask_poison(&bad, true, 1);
	http_until(&bad, "\"content\":\"");
	for (int k = 1; wait_hangs(k); k++) {
		ck_assert_int_le(k, 6);
		ck_assert_int_eq(process_end(&fleet_workers[0].process, SIGABRT,
		    PROCESS_END_MS), 128 + SIGABRT);
		fleet_start_worker(0);
	}
	check_refused(&bad, true);
	for (int i = 0; i < 2; i++) {
		text = fleet_text(&c[i]);
		ck_assert_str_eq(text, alone[i]);
		free(text);
	}
}
END_TEST

/* With another seed, as from a client that tries again. */
START_TEST(sent_again_it_is_refused_at_once)
{
	struct http_client c;
	int n = fleet_workers[0].n_starts;

	ask_poison(&c, _i == 0, 2);
	check_refused(&c, false);
	ask(&c, 0);
	free(fleet_text(&c));
	ck_assert_int_eq(fleet_workers[0].n_starts, n);
}
END_TEST

/* By hand, always: in the middle, or while it runs alone. */
START_TEST(an_innocent_survives_any_number_of_kills)
{
	struct http_client c;
	char needle[32], *text;

	ask(&c, 0);
	http_until(&c, "\"content\":\"");
	for (int k = 0; k < KILLS; k++) {
		size_t n = c.in.len;

		fleet_kill(0);
		fleet_start_worker(0);
		snprintf(needle, sizeof(needle), "\"content\":\"");
		while (c.in.len < n + 100 && !http_has(&c, "[DONE]"))
			http_more(&c);
	}
	text = fleet_text(&c);
	ck_assert_str_eq(text, alone[0]);
	free(text);
}
END_TEST

START_TEST(after_many_crashes_new_requests_wait)
{
	struct http_client c;
	bool waits = false;

	/* Before that it may be down, for which the time is another. */
	for (int i = 0; i < 100 && !waits; i++) {
		ask(&c, 1);
		http_rest(&c);
		ck_assert_int_eq(http_status(&c), 503);
		waits = http_has(&c, "\r\nRetry-After: 10\r\n");
		http_close(&c);
		usleep(20000);
	}
	ck_assert(waits);
	fleet_wait("/readyz", 200);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway poison");
	TCase *t = tcase_create("gateway poison");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_unchecked_fixture(t, start, stop);
	tcase_add_loop_test(t, it_costs_two_crashes_and_nobody_elses_text, 0, 2);
	tcase_add_loop_test(t, sent_again_it_is_refused_at_once, 0, 2);
	tcase_add_test(t, an_innocent_survives_any_number_of_kills);
	tcase_add_test(t, after_many_crashes_new_requests_wait);
	suite_add_tcase(s, t);
	t = tcase_create("gateway poison that hangs");
	tcase_set_timeout(t, 120);
	tcase_add_unchecked_fixture(t, start_hanging, stop);
	tcase_add_test(t, one_that_hangs_is_ended_and_does_the_same);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
