/*
 * The gateway and a worker that does what each test tells it.  One of each for
 * all tests, in this order: first the worker is absent.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_decode.h"
#include "gateway_peer.h"

START_TEST(without_a_worker_it_lives_and_says_so)
{
	struct http_client c;
	char text[2048];

	ck_assert_int_eq(process_get(gateway_port, "/livez", text, sizeof(text)), 200);
	ck_assert_int_eq(process_get(gateway_port, "/readyz?verbose", text,
	    sizeof(text)), 503);
	ck_assert_ptr_nonnull(strstr(text, "\"unit\":\"decode\""));
	ck_assert_int_eq(process_get(gateway_port, "/health", text, sizeof(text)), 503);
	ck_assert_int_eq(process_get(gateway_port, "/v1/models", text, sizeof(text)),
	    503);
	http_post(&c, gateway_port, gateway_chat, "", gateway_streamed);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 503);
	ck_assert(http_has(&c, "\r\nRetry-After: 1\r\n"));
	ck_assert(http_has(&c, "\"type\":\"unavailable_error\",\"param\":null,"
	    "\"code\":\"worker_down\""));
	http_close(&c);
}
END_TEST

START_TEST(while_the_model_loads_the_bytes_are_llama_servers)
{
	struct http_client c;
	char text[2048];

	fake_open(gateway_dir);
	for (int i = 0; i < PROCESS_TRIES; i++) {
		process_get(gateway_port, "/health", text, sizeof(text));
		if (strstr(text, "Loading") != NULL)
			break;
		usleep(20000);
	}
	ck_assert_str_eq(strstr(text, "\r\n\r\n") != NULL ?
	    strstr(text, "\r\n\r\n") + 4 : text,
	    "{\"error\":{\"code\":503,\"message\":\"Loading model\","
	    "\"type\":\"unavailable_error\"}}");
	http_post(&c, gateway_port, gateway_chat, "", gateway_plain);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 503);
	ck_assert(http_has(&c, "\"code\":\"loading_model\""));
	http_close(&c);
	gateway_restart_worker(true);
	gateway_wait_status("/readyz", 200);
	process_get(gateway_port, "/health", text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "\r\n\r\n{\"status\":\"ok\"}"));
}
END_TEST

START_TEST(a_model_that_failed_its_self_check_is_shown_and_not_served)
{
	struct http_client c;
	char text[2048];

	gateway_restart_worker(false);
	fake_fails_selfcheck();
	for (int i = 0; i < PROCESS_TRIES; i++) {
		process_get(gateway_port, "/readyz", text, sizeof(text));
		if (strstr(text, "failed") != NULL)
			break;
		usleep(20000);
	}
	ck_assert_ptr_nonnull(strstr(text, "{\"status\":\"not ready\","
	    "\"reason\":\"the model failed its self-check\"}"));
	ck_assert_int_eq(process_get(gateway_port, "/v1/models", text,
	    sizeof(text)), 200);
	ck_assert_ptr_nonnull(strstr(text, "\"selfcheck\":\"failed\""));
	http_post(&c, gateway_port, gateway_chat, "", gateway_plain);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 503);
	http_close(&c);
	gateway_restart_worker(true);
	gateway_wait_status("/readyz", 200);
}
END_TEST

START_TEST(a_stream_is_what_the_worker_said_and_is_acknowledged)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "\"content\":\"one\"");
	fake_piece(id, 1, 2, " two", "", false);
	fake_piece(id, 3, 1, " \xe2\x82\xac", "stop", false);
	gateway_check_stream(&c, "one two \xe2\x82\xac");
	ck_assert_int_eq(fake_acked(id, 4), 4);
}
END_TEST

START_TEST(a_whole_answer_counts_its_tokens)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, gateway_plain, id));
	fake_piece(id, 0, 1, "one", "", false);
	fake_piece(id, 1, 1, " two", "length", false);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 200);
	ck_assert(http_has(&c, "\"content\":\"one two\""));
	ck_assert(http_has(&c, "\"finish_reason\":\"length\""));
	ck_assert(http_has(&c, "\"prompt_tokens\":5,\"completion_tokens\":2,"
	    "\"total_tokens\":7"));
	http_close(&c);
}
END_TEST

START_TEST(a_deadline_is_an_error_after_the_headers)
{
	struct http_client c;
	struct buf got;
	char id[33];

	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	fake_piece(id, 1, 0, "", "deadline", _i == 1);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 200);
	ck_assert(http_has(&c, "data: {\"error\":{\"message\":"));
	ck_assert(http_has(&c, "\"code\":\"timeout\""));
	ck_assert(!http_has(&c, "[DONE]"));
	ck_assert(http_has(&c, "\r\n0\r\n\r\n"));
	http_stream_text(&c, &got);
	ck_assert_str_eq(got.data, "one");
	buf_free(&got);
	http_close(&c);
	ck_assert_int_eq(fake_acked(id, 2), 2);
}
END_TEST

START_TEST(a_client_that_leaves_is_cancelled)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, _i == 0 ? gateway_streamed : gateway_plain, id));
	if (_i == 0) {
		fake_piece(id, 0, 1, "one", "", false);
		http_until(&c, "one");
	}
	http_close(&c);
	ck_assert(fake_cancelled(id));
}
END_TEST

static const struct {
	enum err_code code;
	int64_t retry_after_ms;
	int status;
	const char *says, *header;
} errors[] = {
	{ ERR_CONTEXT, 0, 400, "\"code\":\"context_length_exceeded\"", NULL },
	{ ERR_CONTEXT, 0, 400, "\"n_prompt_tokens\":101,\"n_ctx\":100", NULL },
	{ ERR_BUSY, 2500, 429, "\"code\":\"queue_full\"",
	  "\r\nretry-after-ms: 2500\r\n" },
	{ ERR_DRAINING, 0, 503, "\"code\":\"draining\"", NULL },
	{ ERR_SYSTEM, 0, 500, "\"code\":\"internal\"", NULL },
	{ ERR_RANGE, 0, 400, "\"code\":\"unsupported_value\"", NULL },
};

START_TEST(an_error_of_the_worker_keeps_its_status)
{
	struct http_client c;

	fake_refuse(errors[_i].code, "because", errors[_i].retry_after_ms);
	http_post(&c, gateway_port, gateway_chat, "", gateway_streamed);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), errors[_i].status);
	ck_assert_msg(http_has(&c, errors[_i].says), "%s", c.in.data);
	ck_assert(http_has(&c, "\"message\":\"because\""));
	if (errors[_i].header != NULL)
		ck_assert_msg(http_has(&c, errors[_i].header), "%s",
		    c.in.data);
	http_close(&c);
}
END_TEST

/* As a worker of another version may: no client can help it. */
START_TEST(what_the_worker_does_not_understand_is_no_fault_of_the_client)
{
	struct http_client c;

	fake_refuse(ERR_BAD_MESSAGE, "'x' is not known here", 0);
	http_post(&c, gateway_port, gateway_chat, "", gateway_plain);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 500);
	ck_assert(http_has(&c, "\"code\":\"internal\""));
	ck_assert(http_has(&c, "each other: 'x' is not known here"));
	http_close(&c);
}
END_TEST

START_TEST(more_streams_than_the_limit_are_told_to_come_back)
{
	struct http_client a, b, c;
	char first[33], second[33];

	json_decref(gateway_begin(&a, gateway_streamed, first));
	json_decref(gateway_begin(&b, gateway_plain, second));
	http_post(&c, gateway_port, gateway_chat, "", gateway_streamed);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 429);
	ck_assert(http_has(&c, "\r\nRetry-After: 1\r\n"));
	ck_assert(http_has(&c, "\"code\":\"queue_full\""));
	http_close(&c);
	fake_piece(first, 0, 1, "one", "stop", false);
	fake_piece(second, 0, 1, "one", "stop", false);
	gateway_check_stream(&a, "one");
	http_rest(&b);
	ck_assert_int_eq(http_status(&b), 200);
	http_close(&b);
}
END_TEST

START_TEST(another_model_is_not_found)
{
	struct http_client c;

	http_post(&c, gateway_port, gateway_chat, "", "{\"model\":\"gpt\",\"messages\":"
	    "[{\"role\":\"user\",\"content\":\"x\"}]}");
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 404);
	ck_assert(http_has(&c, "\"param\":\"model\","
	    "\"code\":\"model_not_found\""));
	http_close(&c);
	http_get(&c, gateway_port, "/v1/models/gpt", "");
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 404);
	http_close(&c);
	http_get(&c, gateway_port, "/v1/models/fake", "");
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 200);
	ck_assert(http_has(&c, "\"object\":\"model\""));
	http_close(&c);
}
END_TEST

START_TEST(a_completion_of_ids_may_echo_them)
{
	struct http_client c;
	char id[33];
	json_t *g;

	http_post(&c, gateway_port, "/v1/completions", "", "{\"model\":\"fake\","
	    "\"prompt\":[1,2],\"echo\":true,\"stream\":true,"
	    "\"stream_options\":{\"include_usage\":true}}");
	g = fake_generate();
	snprintf(id, sizeof(id), "%s",
	    json_string_value(json_object_get(g, "id")));
	ck_assert_uint_eq(json_array_size(json_object_get(g, "prompt_ids")), 2);
	json_decref(g);
	fake_piece(id, 0, 1, " one", "stop", false);
	http_until(&c, "\"choices\":[],\"usage\":{\"prompt_tokens\":5");
	gateway_check_stream(&c, "[ids] one");
}
END_TEST

START_TEST(the_bus_tells_health_and_counts)
{
	struct bus_client *c;
	json_t *obj;
	struct err e;

	ck_assert_int_eq(bus_client_open(&c, gateway_dir, "gateway", &e), 0);
	ck_assert_int_eq(process_call(c, 1, json_object(), &obj, &e), 0);
	ck_assert_str_eq(json_string_value(json_object_get(obj, "unit")),
	    "gateway");
	ck_assert(json_is_true(json_object_get(obj, "ready")));
	json_decref(obj);
	ck_assert_int_eq(process_call(c, 3, json_object(), &obj, &e), 0);
	ck_assert_int_gt(json_integer_value(json_object_get(
	    json_object_get(obj, "values"), "generated_tokens_total")), 0);
	json_decref(obj);
	ck_assert_int_eq(process_call(c, 99, json_object(), NULL, &e),
	    ERR_BAD_MESSAGE);
}
END_TEST

START_TEST(metrics_count_what_happened)
{
	struct http_client c;

	http_get(&c, gateway_port, "/metrics", "");
	http_rest(&c);
	ck_assert(http_has(&c, "onebit_gateway_requests_total{method=\"POST\","
	    "route=\"/v1/chat/completions\",status=\"404\"} 1\n"));
	ck_assert(http_has(&c, "\nonebit_gateway_diverged_total 0\n"));
	ck_assert(http_has(&c, "\nonebit_gateway_upstream_ready 1\n"));
	ck_assert(!http_has(&c, "\nonebit_gateway_overhead_seconds_count 0\n"));
	http_close(&c);
}
END_TEST

START_TEST(sigterm_lets_a_stream_end)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, gateway_streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "one");
	ck_assert_int_eq(kill(gateway.pid, SIGTERM), 0);
	http_until(&c, ": ping");
	fake_piece(id, 1, 1, " two", "stop", false);
	gateway_check_stream(&c, "one two");
	ck_assert_int_eq(process_wait(&gateway, PROCESS_END_MS), 0);
	ck_assert(process_logged(&gateway, "stopped cut=0"));
	ck_assert_msg(!process_logged(&gateway, "CANARY"),
	    "a prompt is in the log");
	process_remove_dir(gateway_dir);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway process");
	TCase *t = tcase_create("gateway process");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, gateway_start, NULL);
	tcase_add_test(t, without_a_worker_it_lives_and_says_so);
	tcase_add_test(t, while_the_model_loads_the_bytes_are_llama_servers);
	tcase_add_test(t, a_model_that_failed_its_self_check_is_shown_and_not_served);
	tcase_add_test(t, a_stream_is_what_the_worker_said_and_is_acknowledged);
	tcase_add_test(t, a_whole_answer_counts_its_tokens);
	tcase_add_loop_test(t, a_deadline_is_an_error_after_the_headers, 0, 2);
	tcase_add_loop_test(t, a_client_that_leaves_is_cancelled, 0, 2);
	tcase_add_loop_test(t, an_error_of_the_worker_keeps_its_status, 0,
	    (int)(sizeof(errors) / sizeof(errors[0])));
	tcase_add_test(t,
	    what_the_worker_does_not_understand_is_no_fault_of_the_client);
	tcase_add_test(t, more_streams_than_the_limit_are_told_to_come_back);
	tcase_add_test(t, another_model_is_not_found);
	tcase_add_test(t, a_completion_of_ids_may_echo_them);
	tcase_add_test(t, the_bus_tells_health_and_counts);
	tcase_add_test(t, metrics_count_what_happened);
	tcase_add_test(t, sigterm_lets_a_stream_end);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
