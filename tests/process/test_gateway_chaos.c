/*
 * The worker is killed again and again while many requests run: each text is the
 * one of an undisturbed run.  $CHAOS_STREAMS, $CHAOS_KILLS and $CHAOS_SEED make it
 * longer, or another (tools/bench/chaos.sh).
 */
#include <check.h>
#include <jansson.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fleet_peer.h"

enum { STREAMS_MAX = 400, TOKENS = 100, WHOLE_EVERY = 5 };

static struct http_client clients[STREAMS_MAX];
static char *undisturbed[STREAMS_MAX];
static int n_streams, n_kills;
static uint32_t seed;

static int
number(const char *name, int by_default)
{
	const char *s = getenv(name);

	return s != NULL ? atoi(s) : by_default;
}

static void
start(void)
{
	static const char *extra[] = { "--max-streams", "512", NULL };

	n_streams = number("CHAOS_STREAMS", 100);
	n_kills = number("CHAOS_KILLS", 20);
	seed = (uint32_t)number("CHAOS_SEED", 1);
	ck_assert_int_le(n_streams, STREAMS_MAX);
	fleet_start(1, "bin/bitnet_decode", extra);
}

/* Every fifth is answered whole. */
static void
ask_all(void)
{
	char members[160], message[64];

	for (int i = 0; i < n_streams; i++) {
		snprintf(members, sizeof(members), "'model':'halo-demo',"
		    "'stream':%s,'seed':%d,'temperature':0.9,'max_tokens':%d,"
		    "'ignore_eos':true", i % WHOLE_EVERY == 0 ? "false" :
		    "true", 1000 + i, TOKENS);
		snprintf(message, sizeof(message), "Tell me about number %d.",
		    i);
		fleet_ask(&clients[i], members, message);
	}
}

static char *
whole_text(struct http_client *c)
{
	json_t *v;
	char *text = NULL;
	const char *s;

	http_rest(c);
	ck_assert_msg(http_status(c) == 200, "%s", http_tail(c));
	v = json_loads(strstr(c->in.data, "\r\n\r\n") + 4, 0, NULL);
	if (v != NULL && json_unpack(v, "{s:[{s:{s:s}}]}", "choices",
	    "message", "content", &s) == 0)
		text = strdup(s);
	ck_assert_ptr_nonnull(text);
	json_decref(v);
	http_close(c);
	return text;
}

static char *
text_of(int i)
{
	return i % WHOLE_EVERY == 0 ? whole_text(&clients[i]) :
	    fleet_text(&clients[i]);
}

static void
stop(void)
{
	fleet_stop();
	for (int i = 0; i < n_streams; i++)
		free(undisturbed[i]);
}

/* 0 to n - 1. */
static uint32_t
draw(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(seed >> 8) * n >> 24);
}

START_TEST(twenty_kills_change_no_text)
{
	int64_t began = clock_ms(), calm_ms, wild_ms;
	int n_open = 0;
	char *text;

	ask_all();
	for (int i = 0; i < n_streams; i++)
		undisturbed[i] = text_of(i);
	calm_ms = clock_ms() - began;

	began = clock_ms();
	ask_all();
	for (int k = 0; k < n_kills; k++) {
		usleep(1000 * (30 + draw(600)));
		n_open += fleet_metric("onebit_gateway_active_streams") > 0;
		fleet_kill(0);
		fleet_start_worker(0);
	}
	for (int i = 0; i < n_streams; i++) {
		text = text_of(i);
		ck_assert_msg(strcmp(text, undisturbed[i]) == 0,
		    "request %d: '%s', undisturbed: '%s'", i, text,
		    undisturbed[i]);
		free(text);
	}
	wild_ms = clock_ms() - began;
	printf("requests=%d kills=%d of which while some ran=%d resumed=%.0f "
	    "lost=%.0f convicted=%.0f replays=%.0f undisturbed_ms=%lld "
	    "killed_ms=%lld\n", n_streams, n_kills, n_open,
	    fleet_metric("onebit_gateway_resumes_total"),
	    fleet_metric("onebit_gateway_lost_total"),
	    fleet_metric("onebit_gateway_convicted_total"),
	    fleet_metric("onebit_gateway_replays_total"), (long long)calm_ms,
	    (long long)wild_ms);
	ck_assert_double_eq(fleet_metric("onebit_gateway_lost_total"), 0);
	ck_assert_double_eq(fleet_metric("onebit_gateway_convicted_total"), 0);
	ck_assert_double_eq(fleet_metric("onebit_gateway_diverged_total"), 0);
	ck_assert_double_gt(fleet_metric("onebit_gateway_resumes_total"), 0);
	ck_assert_int_gt(n_open, n_kills / 2);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway chaos");
	TCase *t = tcase_create("gateway chaos");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 600);
	tcase_add_unchecked_fixture(t, start, stop);
	tcase_add_test(t, twenty_kills_change_no_text);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
