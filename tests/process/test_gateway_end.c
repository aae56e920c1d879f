/*
 * How things end: the gateway is told to stop while streams run, and clients leave
 * while the worker is at work for them.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fleet_peer.h"

#define LONG(members) "'model':'halo-demo'," members "'temperature':0.8," \
	"'max_tokens':800,'ignore_eos':true"

static void
start(void)
{
	/* Nothing is to be cut, however slow the machine is. */
	static const char *const extra[] = { "--drain-timeout-s", "100", NULL };

	fleet_start(1, "bin/bitnet_decode", extra);
}

/* Until it has nothing to do. */
static void
wait_idle(void)
{
	for (int i = 0; i < PROCESS_TRIES &&
	    fleet_metric("onebit_gateway_upstream_load") > 0; i++)
		usleep(10000);
	ck_assert_double_eq(fleet_metric("onebit_gateway_upstream_load"), 0);
}

/* Until it is n or more. */
static void
wait_metric(const char *name, double n)
{
	int64_t until = clock_ms() + PROCESS_PATIENCE_MS;

	while (fleet_metric(name) < n)
		ck_assert_msg(clock_ms() < until, "%s stays below %g", name, n);
}

/* Its log says which were, and how far the last of them came. */
static int
n_cancelled(int *generated)
{
	FILE *f = fopen(fleet_workers[0].process.log, "r");
	char line[1024];
	const char *at;
	int n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL)
		if (strstr(line, "finish=cancel") != NULL &&
		    (at = strstr(line, "generated=")) != NULL) {
			*generated = atoi(at + 10);
			n++;
		}
	fclose(f);
	return n;
}

START_TEST(when_a_client_leaves_the_work_for_it_ends)
{
	struct http_client c;
	int n = 0, before = n_cancelled(&n);

	fleet_ask(&c, _i == 0 ? LONG("'stream':true,'n':1,") :
	    _i == 1 ? LONG("'stream':true,'n':3,") : LONG("'stream':false,"),
	    "Tell me a story.");
	if (_i < 2)
		http_until(&c, "\"content\":\"");
	wait_metric("onebit_gateway_upstream_load", 1);
	http_close(&c);
	wait_idle();
	for (int i = 0; i < PROCESS_TRIES && n_cancelled(&n) == before; i++)
		usleep(10000);
	ck_assert_int_gt(n_cancelled(&n), before);
	ck_assert_int_lt(n, 800);
	ck_assert_double_ge(fleet_metric("onebit_gateway_cancelled_total"),
	    before + 1);
}
END_TEST

/* One of three answers, one whole, and one that was taken up again. */
START_TEST(sigterm_lets_all_that_runs_come_to_its_end)
{
	struct http_client many, whole, resumed, late;
	const char *at;
	char path[128], text[1024];
	int n_stops = 0;

	fleet_ask(&resumed, LONG("'stream':true,"), "Tell me a story.");
	http_until(&resumed, "\"content\":\"");
	at = strstr(resumed.in.data, "\"id\":\"") + 6;
	snprintf(path, sizeof(path), "/v1/stream?id=%.*s",
	    (int)strcspn(at, "\""), at);
	http_close(&resumed);
	http_get(&resumed, fleet_port, path, "");
	http_until(&resumed, "\"content\":\"");
	fleet_ask(&many, LONG("'stream':true,'n':3,"), "Tell me a story.");
	http_until(&many, "\"index\":2");
	fleet_ask(&whole, LONG("'stream':false,"), "Tell me a story.");
	wait_metric("onebit_gateway_active_streams", 3);
	kill(fleet_gateway.pid, SIGTERM);
	for (int i = 0; i < PROCESS_TRIES && process_get(fleet_port, "/readyz", text,
	    sizeof(text)) == 200; i++)
		usleep(10000);
	if (process_get(fleet_port, "/readyz", text, sizeof(text)) != 0) {
		fleet_ask(&late, LONG("'stream':true,"), "Too late.");
		http_rest(&late);
		ck_assert_int_eq(http_status(&late), 503);
		ck_assert(http_has(&late, "\"code\":\"draining\""));
		http_close(&late);
	}
	free(fleet_text(&resumed));
	http_rest(&many);
	ck_assert(http_has(&many, "data: [DONE]\n\n"));
	for (at = many.in.data; (at = strstr(at, "\"finish_reason\":\"length\""))
	    != NULL; at++)
		n_stops++;
	ck_assert_int_eq(n_stops, 3);
	http_close(&many);
	http_rest(&whole);
	ck_assert_int_eq(http_status(&whole), 200);
	ck_assert(http_has(&whole, "\"finish_reason\":\"length\""));
	http_close(&whole);
	ck_assert_int_eq(process_wait(&fleet_gateway, PROCESS_END_MS), 0);
	ck_assert(process_logged(&fleet_gateway, "stopped cut=0"));
	fleet_restart_gateway(0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway end");
	TCase *t = tcase_create("gateway end");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, start, fleet_stop);
	tcase_add_loop_test(t, when_a_client_leaves_the_work_for_it_ends, 0, 3);
	tcase_add_test(t, sigterm_lets_all_that_runs_come_to_its_end);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
