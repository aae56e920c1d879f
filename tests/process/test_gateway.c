/*
 * The gateway with a worker that loses events, forgets requests, refuses them,
 * stops and comes back, as each test tells it.  One gateway and one worker for
 * all tests, in this order: first the worker is absent.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_decode.h"
#include "http_client.h"
#include "process.h"

static const char chat[] = "/v1/chat/completions";
static const char streamed[] = "{\"model\":\"fake\",\"stream\":true,\"seed\":9,"
    "\"messages\":[{\"role\":\"user\",\"content\":\"CANARY\"}]}";
static const char plain[] = "{\"model\":\"fake\",\"seed\":9,"
    "\"messages\":[{\"role\":\"user\",\"content\":\"CANARY\"}]}";

static struct process gateway;
static char dir[64];
static int port;
static unsigned life = 1;	/* of the worker */

static void
start_gateway(void)
{
	char bind[32];
	const char *args[] = { BUILD "/bin/1bit-halo-server", "--bind", bind,
		"--runtime-dir", dir, "--resume-timeout-s", "4", "--verbose",
		NULL };

	process_make_dir(dir);
	port = process_free_port();
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", port);
	process_start(&gateway, dir, "gateway", args);
	process_ready(&gateway);
}

static void
restart_worker(bool ready)
{
	char boot[17];

	snprintf(boot, sizeof(boot), "%016x", ++life);
	fake_restart(boot, ready);
}

/* Until GET path answers status, at most 10 s. */
static void
wait_status(const char *path, int status)
{
	char text[2048];
	int got = 0;

	for (int i = 0; i < 500 && got != status; i++) {
		if ((got = process_get(port, path, text, sizeof(text))) !=
		    status)
			usleep(20000);
	}
	ck_assert_int_eq(got, status);
}

/* Send it, and have the worker accept it; id [33]. */
static json_t *
begin(struct http_client *c, const char *body, char *id)
{
	json_t *g;

	http_post(c, port, chat, "", body);
	g = fake_generate();
	snprintf(id, 33, "%s",
	    json_string_value(json_object_get(g, "id")));
	return g;
}

/* The stream ends well and says text. */
static void
check_stream(struct http_client *c, const char *text)
{
	struct buf got;

	http_rest(c);
	http_stream_text(c, &got);
	ck_assert_str_eq(got.data, text);
	ck_assert_msg(http_has(c, "data: [DONE]\n\n"), "no [DONE]: %s",
	    c->in.data);
	ck_assert(http_has(c, "\r\n0\r\n\r\n"));
	buf_free(&got);
	http_close(c);
}

START_TEST(without_a_worker_it_lives_and_says_so)
{
	struct http_client c;
	char text[2048];

	ck_assert_int_eq(process_get(port, "/livez", text, sizeof(text)), 200);
	ck_assert_int_eq(process_get(port, "/readyz?verbose", text,
	    sizeof(text)), 503);
	ck_assert_ptr_nonnull(strstr(text, "\"unit\":\"decode\""));
	ck_assert_int_eq(process_get(port, "/health", text, sizeof(text)), 503);
	ck_assert_int_eq(process_get(port, "/v1/models", text, sizeof(text)),
	    503);
	http_post(&c, port, chat, "", streamed);
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

	fake_open(dir);
	for (int i = 0; i < 500; i++) {
		process_get(port, "/health", text, sizeof(text));
		if (strstr(text, "Loading") != NULL)
			break;
		usleep(20000);
	}
	ck_assert_str_eq(strstr(text, "\r\n\r\n") != NULL ?
	    strstr(text, "\r\n\r\n") + 4 : text,
	    "{\"error\":{\"code\":503,\"message\":\"Loading model\","
	    "\"type\":\"unavailable_error\"}}");
	http_post(&c, port, chat, "", plain);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 503);
	ck_assert(http_has(&c, "\"code\":\"loading_model\""));
	http_close(&c);
	restart_worker(true);
	wait_status("/readyz", 200);
	process_get(port, "/health", text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "\r\n\r\n{\"status\":\"ok\"}"));
}
END_TEST

START_TEST(a_stream_is_what_the_worker_said_and_is_acknowledged)
{
	struct http_client c;
	char id[33];

	json_decref(begin(&c, streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "\"content\":\"one\"");
	fake_piece(id, 1, 2, " two", "", false);
	fake_piece(id, 3, 1, " \xe2\x82\xac", "stop", false);
	check_stream(&c, "one two \xe2\x82\xac");
	ck_assert_int_eq(fake_acked(id, 4), 4);
}
END_TEST

START_TEST(a_whole_answer_counts_its_tokens)
{
	struct http_client c;
	char id[33];

	json_decref(begin(&c, plain, id));
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

START_TEST(a_piece_that_comes_twice_is_written_once)
{
	struct http_client c;
	char id[33];

	json_decref(begin(&c, streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	fake_again(id, 0);
	fake_piece(id, 1, 1, " two", "stop", false);
	fake_again(id, 0);
	check_stream(&c, "one two");
}
END_TEST

START_TEST(a_lost_event_is_replayed)
{
	struct http_client c;
	char id[33];
	int n = fake_replays();

	json_decref(begin(&c, streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	fake_piece(id, 1, 1, " two", "", true);
	fake_piece(id, 2, 1, " three", "", false);
	fake_piece(id, 3, 1, " four", "stop", false);
	check_stream(&c, "one two three four");
	ck_assert_int_gt(fake_replays(), n);
}
END_TEST

START_TEST(a_lost_last_event_is_noticed)
{
	struct http_client c;
	char id[33];

	json_decref(begin(&c, streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	fake_piece(id, 1, 1, " two", "stop", true);
	check_stream(&c, "one two");
}
END_TEST

START_TEST(without_any_event_it_asks)
{
	struct http_client c;
	char id[33];

	json_decref(begin(&c, streamed, id));
	fake_publishes(false);
	fake_piece(id, 0, 1, "one", "", true);
	http_until(&c, "one");
	fake_piece(id, 1, 1, " two", "", true);
	http_until(&c, "two");
	fake_piece(id, 2, 1, " three", "stop", true);
	check_stream(&c, "one two three");
	fake_publishes(true);
	wait_status("/readyz", 200);
}
END_TEST

START_TEST(a_deadline_is_an_error_after_the_headers)
{
	struct http_client c;
	struct buf got;
	char id[33];

	json_decref(begin(&c, streamed, id));
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

	json_decref(begin(&c, streamed, id));
	fake_piece(id, 0, 2, "one two", "", false);
	http_until(&c, "one two");
	restart_worker(false);
	http_until(&c, ": ping");
	restart_worker(true);
	check_resumed(fake_generate(), id, 1, 2);
	fake_piece(id, 2, 1, " three", "", false);
	http_until(&c, "three");
	restart_worker(true);
	check_resumed(fake_generate(), id, 2, 3);
	fake_piece(id, 3, 1, " four", "stop", false);
	check_stream(&c, "one two three four");
}
END_TEST

START_TEST(a_whole_answer_goes_on_too)
{
	struct http_client c;
	char id[33];

	json_decref(begin(&c, plain, id));
	fake_piece(id, 0, 1, "one", "", false);
	ck_assert_int_eq(fake_acked(id, 1), 1);
	restart_worker(true);
	check_resumed(fake_generate(), id, 1, 1);
	fake_piece(id, 1, 1, " two", "stop", false);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 200);
	ck_assert(http_has(&c, "\"content\":\"one two\""));
	http_close(&c);
}
END_TEST

START_TEST(a_worker_that_forgot_is_told_again)
{
	struct http_client c;
	char id[33];

	json_decref(begin(&c, streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "one");
	if (_i == 0)
		fake_forget(id);
	else
		fake_piece(id, 1, 0, "", "cancel", false);
	check_resumed(fake_generate(), id, 1, 1);
	fake_piece(id, 1, 1, " two", "stop", false);
	check_stream(&c, "one two");
}
END_TEST

START_TEST(a_worker_that_stays_away_loses_the_request)
{
	struct http_client c;
	char id[33];

	json_decref(begin(&c, _i == 0 ? streamed : plain, id));
	fake_piece(id, 0, 1, "one", "", false);
	ck_assert_int_eq(fake_acked(id, 1), 1);
	restart_worker(false);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), _i == 0 ? 200 : 503);
	ck_assert(http_has(&c, "\"code\":\"worker_lost\""));
	ck_assert(!http_has(&c, "[DONE]"));
	http_close(&c);
	restart_worker(true);
	wait_status("/readyz", 200);
}
END_TEST

START_TEST(a_client_that_leaves_is_cancelled)
{
	struct http_client c;
	char id[33];

	json_decref(begin(&c, _i == 0 ? streamed : plain, id));
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
	http_post(&c, port, chat, "", streamed);
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

START_TEST(another_model_is_not_found)
{
	struct http_client c;

	http_post(&c, port, chat, "", "{\"model\":\"gpt\",\"messages\":"
	    "[{\"role\":\"user\",\"content\":\"x\"}]}");
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 404);
	ck_assert(http_has(&c, "\"param\":\"model\","
	    "\"code\":\"model_not_found\""));
	http_close(&c);
	http_get(&c, port, "/v1/models/gpt", "");
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 404);
	http_close(&c);
	http_get(&c, port, "/v1/models/fake", "");
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

	http_post(&c, port, "/v1/completions", "", "{\"model\":\"fake\","
	    "\"prompt\":[1,2],\"echo\":true,\"stream\":true,"
	    "\"stream_options\":{\"include_usage\":true}}");
	g = fake_generate();
	snprintf(id, sizeof(id), "%s",
	    json_string_value(json_object_get(g, "id")));
	ck_assert_uint_eq(json_array_size(json_object_get(g, "prompt_ids")), 2);
	json_decref(g);
	fake_piece(id, 0, 1, " one", "stop", false);
	http_until(&c, "\"choices\":[],\"usage\":{\"prompt_tokens\":5");
	check_stream(&c, "[ids] one");
}
END_TEST

START_TEST(the_bus_tells_health_and_counts)
{
	struct bus_client *c;
	json_t *obj;
	struct err e;

	ck_assert_int_eq(bus_client_open(&c, dir, "gateway", &e), 0);
	ck_assert_int_eq(process_call(c, 1, json_object(), &obj, &e), 0);
	ck_assert_str_eq(json_string_value(json_object_get(obj, "unit")),
	    "gateway");
	ck_assert(json_is_true(json_object_get(obj, "ready")));
	json_decref(obj);
	ck_assert_int_eq(process_call(c, 3, json_object(), &obj, &e), 0);
	ck_assert_int_gt(json_integer_value(json_object_get(
	    json_object_get(obj, "values"), "resumes_total")), 0);
	json_decref(obj);
	ck_assert_int_eq(process_call(c, 99, json_object(), NULL, &e),
	    ERR_BAD_MESSAGE);
}
END_TEST

START_TEST(metrics_count_what_happened)
{
	struct http_client c;

	http_get(&c, port, "/metrics", "");
	http_rest(&c);
	ck_assert(http_has(&c, "onebit_gateway_requests_total{method=\"POST\","
	    "route=\"/v1/chat/completions\",status=\"404\"} 1\n"));
	ck_assert(http_has(&c, "\nonebit_gateway_diverged_total 0\n"));
	ck_assert(http_has(&c, "\nonebit_gateway_upstream_ready 1\n"));
	ck_assert(!http_has(&c, "\nonebit_gateway_resumes_total 0\n"));
	ck_assert(!http_has(&c, "\nonebit_gateway_overhead_seconds_count 0\n"));
	http_close(&c);
}
END_TEST

START_TEST(a_second_gateway_is_refused)
{
	char other[64], bind[32], text[4096];
	const char *same_dir[] = { BUILD "/bin/1bit-halo-server", "--bind",
		"127.0.0.1:1", "--runtime-dir", dir, NULL };
	const char *same_port[] = { BUILD "/bin/1bit-halo-server", "--bind",
		bind, "--runtime-dir", other, NULL };

	process_make_dir(other);
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", port);
	ck_assert_int_eq(process_run(other, same_dir, text, sizeof(text)), 1);
	ck_assert_int_eq(process_run(other, same_port, text, sizeof(text)), 1);
	process_remove_dir(other);
	wait_status("/readyz", 200);
}
END_TEST

static const struct { const char *a, *b, *says; } bad_options[] = {
	{ "--bind", "nowhere", "nowhere" },
	{ "--runtime-dir", "/dev/null/x", "/dev/null/x" },
	{ "--api-key-file", "/dev/null", "there is no key in it" },
	{ "--api-key-file", "/nonexistent", "No such file" },
	{ "--upstream", "https://127.0.0.1:8080", "is not http://" },
	{ "--max-streams", "0", "max_streams" },
	{ "--no-such-option", "1", "no-such-option" },
};

START_TEST(unusable_options_are_2)
{
	char other[64], text[4096];
	const char *args[] = { BUILD "/bin/1bit-halo-server", "--runtime-dir",
		other, bad_options[_i].a, bad_options[_i].b, NULL };

	process_make_dir(other);
	if (strcmp(bad_options[_i].a, "--runtime-dir") == 0)
		args[1] = "--bind=127.0.0.1:0", args[2] = "--verbose";
	ck_assert_int_eq(process_run(other, args, text, sizeof(text)), 2);
	ck_assert_msg(strstr(text, bad_options[_i].says) != NULL, "%s", text);
	process_remove_dir(other);
}
END_TEST

START_TEST(keys_guard_all_but_health)
{
	static const struct { const char *path, *header; int status; } rows[] = {
		{ "/v1/models", "", 401 },
		{ "/metrics", "", 401 },
		{ "/v1/models/x", "", 401 },
		{ "/v1/models", "Authorization: Bearer secret-key2\r\n", 401 },
		{ "/v1/models", "Authorization: Bearer secret-key\r\n", 503 },
		{ "/v1/models", "X-Api-Key: secret-key\r\n", 503 },
		{ "/health", "", 503 },
		{ "/livez", "", 200 },
	};
	char other[64], bind[32], keys[96];
	const char *args[] = { BUILD "/bin/1bit-halo-server", "--bind", bind,
		"--runtime-dir", other, "--api-key-file", keys, NULL };
	int other_port = process_free_port();
	struct process p;
	FILE *fp;

	process_make_dir(other);
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", other_port);
	snprintf(keys, sizeof(keys), "%s/keys", other);
	fp = fopen(keys, "w");
	fputs("secret-key\n", fp);
	fclose(fp);
	process_start(&p, other, "keys", args);
	process_ready(&p);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_client c;

		http_get(&c, other_port, rows[i].path, rows[i].header);
		http_rest(&c);
		ck_assert_msg(http_status(&c) == rows[i].status, "%s %s: %s",
		    rows[i].path, rows[i].header, c.in.data);
		http_close(&c);
	}
	ck_assert(!process_logged(&p, "secret-key"));
	ck_assert_int_eq(process_end(&p, SIGTERM, 10000), 0);
	process_remove_dir(other);
}
END_TEST

START_TEST(sigterm_lets_a_stream_end)
{
	struct http_client c;
	char id[33];

	json_decref(begin(&c, streamed, id));
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "one");
	ck_assert_int_eq(kill(gateway.pid, SIGTERM), 0);
	http_until(&c, ": ping");
	fake_piece(id, 1, 1, " two", "stop", false);
	check_stream(&c, "one two");
	ck_assert_int_eq(process_wait(&gateway, 20000), 0);
	ck_assert(process_logged(&gateway, "stopped cut=0"));
	ck_assert_msg(!process_logged(&gateway, "CANARY"),
	    "a prompt is in the log");
	process_remove_dir(dir);
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
	tcase_add_unchecked_fixture(t, start_gateway, NULL);
	tcase_add_test(t, without_a_worker_it_lives_and_says_so);
	tcase_add_test(t, while_the_model_loads_the_bytes_are_llama_servers);
	tcase_add_test(t, a_stream_is_what_the_worker_said_and_is_acknowledged);
	tcase_add_test(t, a_whole_answer_counts_its_tokens);
	tcase_add_test(t, a_piece_that_comes_twice_is_written_once);
	tcase_add_test(t, a_lost_event_is_replayed);
	tcase_add_test(t, a_lost_last_event_is_noticed);
	tcase_add_test(t, without_any_event_it_asks);
	tcase_add_loop_test(t, a_deadline_is_an_error_after_the_headers, 0, 2);
	tcase_add_test(t, a_stream_goes_on_in_another_life_of_the_worker);
	tcase_add_test(t, a_whole_answer_goes_on_too);
	tcase_add_loop_test(t, a_worker_that_forgot_is_told_again, 0, 2);
	tcase_add_loop_test(t, a_worker_that_stays_away_loses_the_request, 0, 2);
	tcase_add_loop_test(t, a_client_that_leaves_is_cancelled, 0, 2);
	tcase_add_loop_test(t, an_error_of_the_worker_keeps_its_status, 0,
	    (int)(sizeof(errors) / sizeof(errors[0])));
	tcase_add_test(t, another_model_is_not_found);
	tcase_add_test(t, a_completion_of_ids_may_echo_them);
	tcase_add_test(t, the_bus_tells_health_and_counts);
	tcase_add_test(t, metrics_count_what_happened);
	tcase_add_test(t, a_second_gateway_is_refused);
	tcase_add_loop_test(t, unusable_options_are_2, 0,
	    (int)(sizeof(bad_options) / sizeof(bad_options[0])));
	tcase_add_test(t, keys_guard_all_but_health);
	tcase_add_test(t, sigterm_lets_a_stream_end);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
