/*
 * Several workers: two replicas of one model and one with another.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fleet_peer.h"

enum { TURNS = 5, STREAMS = 6 };

#define STORY "'model':'halo-demo','stream':true,'seed':5," \
	"'temperature':0.8,'max_tokens':200,'ignore_eos':true"
#define SHORT "'temperature':0,'max_tokens':3"

/* Until n workers are. */
static void
wait_ready(int n)
{
	for (int i = 0; i < PROCESS_TRIES && (int)fleet_metric(
	    "onebit_gateway_upstream_ready") != n; i++)
		usleep(20000);
	ck_assert_int_eq((int)fleet_metric("onebit_gateway_upstream_ready"), n);
}

/* Until they have said that what they had has ended. */
static void
wait_idle(void)
{
	for (int i = 0; i < PROCESS_TRIES &&
	    fleet_metric("onebit_gateway_upstream_load") > 0; i++)
		usleep(20000);
}

static void
start(void)
{
	strcpy(fleet_workers[2].model_id, "other");
	fleet_start(3, "bin/bitnet_decode", NULL);
	wait_ready(3);
}

static void
check_get(const char *path, int status, const char *part)
{
	char text[8000];

	ck_assert_int_eq(process_get(fleet_port, path, text, sizeof(text)),
	    status);
	ck_assert_msg(strstr(text, part) != NULL, "no %s in %s", part, text);
}

/* How many requests worker i has ended. */
static int
n_done(int i)
{
	return process_log_lines(&fleet_workers[i].process, "done id=");
}

/* Until all of them together have ended n: they say so after the answer. */
static void
wait_done(int n)
{
	for (int i = 0; i < PROCESS_TRIES && n_done(0) + n_done(1) + n_done(2) < n; i++)
		usleep(10000);
}

static void
answer_from(const char *model, const char *header)
{
	struct http_client c;
	char body[256];

	snprintf(body, sizeof(body), "{\"model\":\"%s\",\"max_tokens\":3,"
	    "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", model);
	http_post(&c, fleet_port, "/v1/chat/completions", header, body);
	http_rest(&c);
	ck_assert_msg(http_status(&c) == 200, "%s", c.in.data);
	http_close(&c);
}

START_TEST(all_models_and_workers_are_listed)
{
	char label[160];

	check_get("/v1/models", 200, "\"id\":\"halo-demo\"");
	check_get("/v1/models", 200, "\"id\":\"other\"");
	check_get("/v1/models/other", 200, "\"id\":\"other\"");
	check_get("/v1/models/none", 404, "it is 'halo-demo', 'other'");
	for (int i = 0; i < 3; i++) {
		snprintf(label, sizeof(label), "%s\",\"model\":\"%s\"",
		    strrchr(fleet_workers[i].dir, '/'),
		    i < 2 ? "halo-demo" : "other");
		check_get("/readyz?verbose", 200, label);
		snprintf(label, sizeof(label), "%s\"} 1",
		    strrchr(fleet_workers[i].dir, '/'));
		check_get("/metrics", 200, label);
	}
}
END_TEST

START_TEST(a_model_has_its_worker)
{
	int n = n_done(2);

	answer_from("other", "");
	wait_done(n_done(0) + n_done(1) + n + 1);
	ck_assert_int_eq(n_done(2), n + 1);
}
END_TEST

START_TEST(replicas_share_the_load)
{
	struct http_client c[STREAMS];
	int n0 = n_done(0), n1 = n_done(1), n2 = n_done(2);
	char *first, *text;

	wait_idle();
	for (int i = 0; i < STREAMS; i++) {
		fleet_ask(&c[i], STORY, "Once upon a time");
		http_until(&c[i], "\"role\":\"assistant\"");
	}
	first = fleet_text(&c[0]);
	for (int i = 1; i < STREAMS; i++) {
		text = fleet_text(&c[i]);
		ck_assert_str_eq(text, first);
		free(text);
	}
	free(first);
	wait_done(n0 + n1 + n2 + STREAMS);
	ck_assert_int_eq(n_done(0) - n0, STREAMS / 2);
	ck_assert_int_eq(n_done(1) - n1, STREAMS / 2);
	ck_assert_int_eq(n_done(2), n2);
}
END_TEST

START_TEST(a_session_stays_with_its_worker)
{
	char header[64];
	int before[2], after[2];

	snprintf(header, sizeof(header), "X-1bit-Session: s%d\r\n", _i);
	before[0] = n_done(0);
	before[1] = n_done(1);
	for (int i = 0; i < TURNS; i++) {
		if (i == TURNS - 1)
			fleet_restart_gateway(SIGKILL);
		fleet_wait("/readyz", 200);
		wait_ready(3);
		answer_from("halo-demo", header);
	}
	wait_done(before[0] + before[1] + n_done(2) + TURNS);
	after[0] = n_done(0) - before[0];
	after[1] = n_done(1) - before[1];
	ck_assert_int_eq(after[0] + after[1], TURNS);
	ck_assert_int_eq(after[0] * after[1], 0);
}
END_TEST

/* Also if it had no choice then: what was said since is there. */
START_TEST(a_session_that_had_to_move_stays_where_it_went)
{
	static const char header[] = "X-1bit-Session: moved\r\n";
	int before = n_done(0), all = n_done(0) + n_done(1) + n_done(2);
	int home, other, n;

	answer_from("halo-demo", header);
	wait_done(all + 1);
	home = n_done(0) > before ? 0 : 1;
	other = 1 - home;
	n = n_done(other);
	fleet_kill(home);
	wait_ready(2);
	answer_from("halo-demo", header);
	fleet_start_worker(home);
	wait_ready(3);
	answer_from("halo-demo", header);
	for (int i = 0; i < PROCESS_TRIES && n_done(other) < n + 2; i++)
		usleep(10000);
	ck_assert_int_eq(n_done(other), n + 2);
}
END_TEST

/* While its worker is away nobody can say that there is none, or that it is gone. */
START_TEST(a_session_of_a_worker_that_is_away_is_not_unknown)
{
	static const char header[] = "X-1bit-Session: away\r\n";
	static const char path[] = "/v1/sessions/away";
	int before = n_done(0), all = n_done(0) + n_done(1) + n_done(2), home;
	struct http_client c;

	answer_from("halo-demo", header);
	wait_done(all + 1);
	home = n_done(0) > before ? 0 : 1;
	check_get(path, 200, "\"id\":\"away\"");
	fleet_kill(home);
	wait_ready(2);
	for (int i = 0; i < 2; i++) {
		http_send(&c, fleet_port, i == 0 ? "GET" : "DELETE", path, "", "");
		http_rest(&c);
		ck_assert_int_eq(http_status(&c), 503);
		ck_assert(http_has(&c, "\r\nRetry-After: "));
		http_close(&c);
	}
	fleet_start_worker(home);
	wait_ready(3);
	check_get(path, 404, "session_not_found");
}
END_TEST

/* Its worker hung for a while, and both know it now. */
START_TEST(a_session_that_two_workers_know_is_listed_once)
{
	static const char header[] = "X-1bit-Session: twice\r\n";
	int before = n_done(0), all = n_done(0) + n_done(1) + n_done(2), home, n = 0;
	struct http_client c;

	answer_from("halo-demo", header);
	wait_done(all + 1);
	home = n_done(0) > before ? 0 : 1;
	kill(fleet_workers[home].process.pid, SIGSTOP);
	wait_ready(2);
	answer_from("halo-demo", header);
	kill(fleet_workers[home].process.pid, SIGCONT);
	wait_ready(3);
	http_get(&c, fleet_port, "/v1/sessions", "");
	http_rest(&c);
	for (const char *s = c.in.data; (s = strstr(s, "\"id\":\"twice\"")) != NULL; s++)
		n++;
	ck_assert_int_eq(n, 1);
	ck_assert(http_has(&c, "\"complete\":true"));
	http_close(&c);
}
END_TEST

START_TEST(without_its_worker_a_stream_goes_on_at_a_replica)
{
	struct http_client c[2];
	char *text, *moved;

	fleet_ask(&c[0], STORY, "Once upon a time");
	text = fleet_text(&c[0]);
	wait_idle();
	for (int i = 0; i < 2; i++) {
		fleet_ask(&c[i], STORY, "Once upon a time");
		http_until(&c[i], "\"content\":\"");
	}
	fleet_kill(0);
	for (int i = 0; i < 2; i++) {
		moved = fleet_text(&c[i]);
		ck_assert_str_eq(moved, text);
		free(moved);
	}
	free(text);
	ck_assert_double_eq(fleet_metric("onebit_gateway_moved_total"), 1);
	answer_from("halo-demo", "");
	check_get("/readyz?verbose", 200, "\"ready\":false");
	fleet_start_worker(0);
	wait_ready(3);
}
END_TEST

START_TEST(a_model_without_its_worker_is_said_to_come_back)
{
	struct http_client c;

	fleet_kill(2);
	wait_ready(2);
	fleet_ask(&c, "'model':'other'", "hi");
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 503);
	ck_assert(http_has(&c, "\r\nRetry-After: 1\r\n"));
	ck_assert(http_has(&c, "\"code\":\"worker_down\""));
	http_close(&c);
	answer_from("halo-demo", "");
	check_get("/health", 200, "ok");
	fleet_start_worker(2);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway fleet");
	TCase *t = tcase_create("gateway fleet");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, start, fleet_stop);
	tcase_add_test(t, all_models_and_workers_are_listed);
	tcase_add_test(t, a_model_has_its_worker);
	tcase_add_test(t, replicas_share_the_load);
	tcase_add_loop_test(t, a_session_stays_with_its_worker, 0, 3);
	tcase_add_test(t, a_session_that_had_to_move_stays_where_it_went);
	tcase_add_test(t, a_session_of_a_worker_that_is_away_is_not_unknown);
	tcase_add_test(t, a_session_that_two_workers_know_is_listed_once);
	tcase_add_test(t, without_its_worker_a_stream_goes_on_at_a_replica);
	tcase_add_test(t, a_model_without_its_worker_is_said_to_come_back);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
