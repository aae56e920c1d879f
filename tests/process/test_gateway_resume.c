/*
 * The gateway with a worker that loses events, forgets requests, dies and comes
 * back: a client must not notice more than a pause.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fake_decode.h"
#include "gateway_peer.h"

static void
start_both(void)
{
	gateway_start();
	fake_open(gateway_dir);
	gateway_restart_worker(true);
	gateway_wait_status("/readyz", 200);
}

START_TEST(a_piece_that_comes_twice_is_written_once)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	fake_again(id, 0);
	fake_piece(id, 1, 1, " two", "stop", false);
	fake_again(id, 0);
	gateway_check_stream(&c, "one two");
}
END_TEST

START_TEST(a_lost_event_is_replayed)
{
	struct http_client c;
	char id[33];
	int n = fake_replays();

	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	fake_piece(id, 1, 1, " two", "", true);
	fake_piece(id, 2, 1, " three", "", false);
	fake_piece(id, 3, 1, " four", "stop", false);
	gateway_check_stream(&c, "one two three four");
	ck_assert_int_gt(fake_replays(), n);
}
END_TEST

START_TEST(a_lost_last_event_is_noticed)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	fake_piece(id, 1, 1, " two", "stop", true);
	gateway_check_stream(&c, "one two");
}
END_TEST

START_TEST(without_any_event_it_asks)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_publishes(false);
	fake_piece(id, 0, 1, "one", "", true);
	http_until(&c, "one");
	fake_piece(id, 1, 1, " two", "", true);
	http_until(&c, "two");
	fake_piece(id, 2, 1, " three", "stop", true);
	gateway_check_stream(&c, "one two three");
	fake_publishes(true);
	gateway_wait_status("/readyz", 200);
}
END_TEST

/* What a resumed request must look like. */
static void
check_resumed(json_t *g, const char *id, int attempt, int n_forced)
{
	json_t *forced = json_object_get(g, "forced");

	ck_assert_str_eq(json_string_value(json_object_get(g, "id")), id);
	ck_assert_int_eq(json_integer_value(json_object_get(g, "attempt")),
	    attempt);
	ck_assert_int_eq(json_integer_value(json_object_get(g, "seed")), 9);
	ck_assert_uint_eq(json_array_size(forced), (size_t)n_forced);
	for (int i = 0; i < n_forced; i++)
		ck_assert_int_eq(json_integer_value(json_array_get(forced,
		    (size_t)i)), 1000 + i);
	json_decref(g);
}

START_TEST(a_stream_goes_on_in_another_life_of_the_worker)
{
	struct http_client c;
	char id[33];
	json_t *g;

	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_piece(id, 0, 2, "one two", "", false);
	http_until(&c, "one two");
	gateway_restart_worker(false);
	http_until(&c, ": ping");
	gateway_restart_worker(true);
	g = fake_generate();	/* nothing is known: it may have been to blame */
	ck_assert_int_eq(json_integer_value(json_object_get(g, "solo_seq")), 2);
	check_resumed(g, id, 1, 2);
	fake_piece(id, 2, 1, " three", "", false);
	http_until(&c, "three");
	gateway_restart_worker(true);
	check_resumed(fake_generate(), id, 2, 3);
	fake_piece(id, 3, 1, " four", "stop", false);
	gateway_check_stream(&c, "one two three four");
}
END_TEST

/* Its status has not come yet when it says that it is another. */
START_TEST(another_life_that_is_met_by_asking_is_told_who_is_a_suspect)
{
	struct http_client c;
	char id[33];
	json_t *g;
	int n;

	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "one");
	fake_publishes(false);
	gateway_restart_worker(true);
	n = fake_replays();
	for (int i = 0; i < PROCESS_TRIES && fake_replays() == n; i++)
		usleep(10000);
	fake_publishes(true);
	g = fake_generate();
	ck_assert_int_eq(json_integer_value(json_object_get(g, "solo_seq")), 1);
	check_resumed(g, id, 1, 1);
	fake_piece(id, 1, 1, " two", "stop", false);
	gateway_check_stream(&c, "one two");
}
END_TEST

START_TEST(the_ids_of_a_session_are_sent_in_place_of_its_text)
{
	struct http_client c;
	char id[33];
	json_t *g;

	fake_takes_ids(true);
	g = gateway_begin(&c, gateway_streamed, id);
	ck_assert_uint_eq(json_array_size(json_object_get(g, "messages")), 1);
	json_decref(g);
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "one");
	fake_takes_ids(false);
	fake_stops(true);	/* or it were one crash too many */
	gateway_restart_worker(true);
	g = fake_generate();
	ck_assert_ptr_null(json_object_get(g, "messages"));
	ck_assert_int_eq(json_integer_value(json_array_get(json_object_get(g,
	    "prompt_ids"), 2)), 9);
	ck_assert_ptr_null(json_object_get(g, "solo_seq"));
	check_resumed(g, id, 1, 1);
	fake_piece(id, 1, 1, " two", "stop", false);
	gateway_check_stream(&c, "one two");
	fake_stops(false);
}
END_TEST

START_TEST(a_whole_answer_goes_on_too)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, gateway_plain, id));
	fake_piece(id, 0, 1, "one", "", false);
	ck_assert_int_eq(fake_acked(id, 1), 1);
	fake_stops(true);	/* or it were one crash too many */
	gateway_restart_worker(true);
	check_resumed(fake_generate(), id, 1, 1);
	fake_stops(false);
	fake_piece(id, 1, 1, " two", "stop", false);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 200);
	ck_assert(http_has(&c, "\"content\":\"one two\""));
	http_close(&c);
}
END_TEST

/* And the gateway has met it; the life before was stopped, or it were one crash too
 * many. */
static void
restart_calmly(void)
{
	int n = process_log_lines(&gateway, "model=fake");

	fake_stops(true);
	gateway_restart_worker(true);
	for (int i = 0; i < PROCESS_TRIES &&
	    process_log_lines(&gateway, "model=fake") == n; i++)
		usleep(1000);
	fake_stops(false);
}

/* They came with the first token, and are not to come twice. */
START_TEST(logprobs_of_a_prompt_are_asked_for_once)
{
	static const char body[] = "{\"model\":\"fake\",\"seed\":9,"
	    "\"prompt\":\"CANARY\",\"echo\":true,\"logprobs\":0}";
	struct http_client c;
	char id[33];
	json_t *g;

	http_post(&c, gateway_port, "/v1/completions", "", body);
	g = fake_generate();
	snprintf(id, sizeof(id), "%s", json_string_value(json_object_get(g, "id")));
	ck_assert(json_is_true(json_object_get(g, "prompt_logprobs")));
	json_decref(g);
	fake_piece(id, 0, 1, "one", "", false);
	ck_assert_int_eq(fake_acked(id, 1), 1);
	restart_calmly();
	g = fake_generate();
	ck_assert_ptr_null(json_object_get(g, "prompt_logprobs"));
	check_resumed(g, id, 1, 1);
	fake_piece(id, 1, 1, " two", "stop", false);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 200);
	ck_assert(http_has(&c, "\"text\":\"CANARYone two\""));
	http_close(&c);
}
END_TEST

START_TEST(a_worker_that_forgot_is_told_again)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "one");
	if (_i == 0)
		fake_forget(id);
	else
		fake_piece(id, 1, 0, "", "cancel", false);
	check_resumed(fake_generate(), id, 1, 1);
	fake_piece(id, 1, 1, " two", "stop", false);
	gateway_check_stream(&c, "one two");
}
END_TEST

START_TEST(a_worker_that_stays_away_loses_the_request)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, _i == 0 ? gateway_streamed : gateway_plain, id));
	fake_piece(id, 0, 1, "one", "", false);
	ck_assert_int_eq(fake_acked(id, 1), 1);
	fake_stops(true);	/* crashes would keep the next one waiting */
	gateway_restart_worker(false);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), _i == 0 ? 200 : 503);
	ck_assert(http_has(&c, "\"code\":\"worker_lost\""));
	ck_assert(!http_has(&c, "[DONE]"));
	http_close(&c);
	gateway_restart_worker(true);
	gateway_wait_status("/readyz", 200);
	fake_stops(false);
}
END_TEST

/* The tokens of one model mean nothing to another. */
START_TEST(another_model_does_not_go_on_with_it)
{
	struct http_client c;
	char id[33], now[33];

	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "one");
	fake_changes_model(true);
	restart_calmly();
	http_rest(&c);
	ck_assert(http_has(&c, "\"code\":\"worker_lost\""));
	ck_assert(http_has(&c, "another model"));
	ck_assert(!http_has(&c, "[DONE]"));
	http_close(&c);
	gateway_wait_status("/readyz", 200);
	json_decref(gateway_begin(&c, gateway_streamed, now));
	ck_assert_str_ne(now, id);
	fake_piece(now, 0, 1, "two", "stop", false);
	gateway_check_stream(&c, "two");
	fake_changes_model(false);
	restart_calmly();
	gateway_wait_status("/readyz", 200);
}
END_TEST

/* A worker that has come back and has no room yet: those that wait for it go first. */
START_TEST(one_that_finds_no_room_is_sent_until_there_is)
{
	struct http_client c, late;
	char id[33], body[128];

	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "one");
	fake_refuse(ERR_BUSY, "full", _i == 0 ? 50 : 60000);
	fake_refuse_times(_i == 0 ? 20 : 2);
	restart_calmly();
	/* Not the same twice, or it comes as it was told. */
	snprintf(body, sizeof(body), "{\"model\":\"fake\",\"seed\":%d,"
	    "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", _i);
	http_post(&late, gateway_port, gateway_chat, "", body);
	http_rest(&late);
	ck_assert_int_eq(http_status(&late), 503);
	ck_assert_msg(http_has(&late, "interrupted requests"), "%s", late.in.data);
	http_close(&late);
	check_resumed(fake_generate(), id, 1, 1);
	ck_assert_int_eq(fake_refusals_left(), 0);
	fake_piece(id, 1, 1, " two", "stop", false);
	gateway_check_stream(&c, "one two");
}
END_TEST

START_TEST(all_that_was_counted)
{
	struct http_client c;

	http_get(&c, gateway_port, "/metrics", "");
	http_rest(&c);
	ck_assert(!http_has(&c, "\nonebit_gateway_gaps_total 0\n"));
	ck_assert(!http_has(&c, "\nonebit_gateway_replays_total 0\n"));
	ck_assert(http_has(&c, "\nonebit_gateway_resumes_total 10\n"));
	ck_assert(http_has(&c, "\nonebit_gateway_lost_total 3\n"));
	ck_assert(http_has(&c, "\nonebit_gateway_diverged_total 0\n"));
	http_close(&c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway resume");
	TCase *t = tcase_create("gateway resume");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, start_both, gateway_stop);
	tcase_add_test(t, a_piece_that_comes_twice_is_written_once);
	tcase_add_test(t, a_lost_event_is_replayed);
	tcase_add_test(t, a_lost_last_event_is_noticed);
	tcase_add_test(t, without_any_event_it_asks);
	tcase_add_test(t, a_stream_goes_on_in_another_life_of_the_worker);
	tcase_add_test(t, another_life_that_is_met_by_asking_is_told_who_is_a_suspect);
	tcase_add_test(t, the_ids_of_a_session_are_sent_in_place_of_its_text);
	tcase_add_test(t, a_whole_answer_goes_on_too);
	tcase_add_test(t, logprobs_of_a_prompt_are_asked_for_once);
	tcase_add_loop_test(t, a_worker_that_forgot_is_told_again, 0, 2);
	tcase_add_loop_test(t, a_worker_that_stays_away_loses_the_request, 0, 2);
	tcase_add_test(t, another_model_does_not_go_on_with_it);
	tcase_add_loop_test(t, one_that_finds_no_room_is_sent_until_there_is, 0, 2);
	tcase_add_test(t, all_that_was_counted);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
