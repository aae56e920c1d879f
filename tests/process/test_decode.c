/*
 * The decode worker from outside: a process, two sockets, an HTTP port.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"
#include "worker.h"

static const char hello[] = "Hello! How can I help you today?";
/* However slow the machine is, nothing is cut at SIGTERM. */
static const char *const patient[] = { "--drain-ms", "100000", NULL };
static struct worker w = { .base = 0x10000 };

static void
setup(void)
{
	if (w.process.pid == 0)
		worker_start(&w, patient);
}

static void
teardown(void)
{
	worker_forget(&w);
}

START_TEST(it_says_hello)
{
	const struct stream *s = worker_ask(&w, 1, "say hello", NULL);

	ck_assert_str_eq(s->text.data, hello);
	ck_assert_str_eq(s->finish, "stop");
	ck_assert_int_gt(json_integer_value(json_object_get(s->stats,
	    "n_prompt")), 3);
	ck_assert_int_eq(json_integer_value(json_object_get(s->stats,
	    "n_generated")), s->n_tokens);
}
END_TEST

START_TEST(a_deaf_subscriber_gets_everything_by_replay)
{
	const struct stream *s;

	w.deaf = true;
	s = worker_ask(&w, 2, "say hello", NULL);
	ck_assert_str_eq(s->text.data, hello);
	ck_assert_int_gt(w.n_replays, 0);
}
END_TEST

START_TEST(the_text_is_the_same_among_sixteen_others)
{
	struct err e;

	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(worker_generate(&w, 100 + i, json_pack(
		    "{s:s, s:i, s:i, s:b}", "prompt", "Once upon a time",
		    "max_tokens", 60 + i, "seed", i, "ignore_eos", 1), 0, &e), 0);
	ck_assert_str_eq(worker_ask(&w, 3, "say hello", NULL)->text.data, hello);
	for (int i = 0; i < 16; i++) {
		const struct stream *s = worker_read(&w, 100 + i);

		ck_assert_int_eq(s->n_tokens, 60 + i);
		ck_assert_str_eq(s->finish, "length");
	}
}
END_TEST

/* 20 tokens, the worker killed, the rest: the same as without. */
START_TEST(a_killed_worker_goes_on_with_the_same_tokens)
{
	json_t *body = json_pack("{s:s, s:i, s:i, s:b, s:[s]}", "prompt",
	    "The old house", "max_tokens", 80, "seed", 7, "ignore_eos", 1,
	    "stop", "no such text");
	static int32_t tokens[80];
	struct stream *s;
	struct err e;
	json_t *forced = json_array();
	char *text;

	ck_assert_int_eq(worker_generate(&w, 1, json_deep_copy(body), 0, &e), 0);
	s = worker_read(&w, 1);
	ck_assert_int_eq(s->n_tokens, 80);
	memcpy(tokens, s->tokens, sizeof(tokens));
	text = strdup(s->text.data);
	ck_assert_int_eq(worker_generate(&w, 2, json_deep_copy(body), 0, &e), 0);
	s = worker_read_some(&w, 2, 20);
	ck_assert_int_eq(process_end(&w.process, SIGKILL, PROCESS_END_MS), 128 + SIGKILL);
	worker_start(&w, patient);

	for (int i = 0; i < s->n_tokens; i++)
		json_array_append_new(forced, json_integer(s->tokens[i]));
	json_object_set_new(body, "forced", forced);
	json_object_set_new(body, "attempt", json_integer(1));
	json_object_set_new(body, "id", json_string(s->id));
	if (s->finish[0] == '\0')	/* it may have been quicker than we */
		ck_assert_int_eq(process_call(w.client, DECODE_TYPE_generate,
		    json_incref(body), NULL, &e), 0);
	s = worker_read(&w, 2);
	ck_assert_int_eq(s->n_tokens, 80);
	ck_assert_mem_eq(s->tokens, tokens, sizeof(tokens));
	ck_assert_str_eq(s->text.data, text);
	json_decref(body);
	free(text);
}
END_TEST

START_TEST(other_lives_of_the_worker_are_not_found)
{
	struct err e;

	ck_assert_int_eq(process_call(w.client, DECODE_TYPE_ack, json_pack(
	    "{s:s, s:{}}", "boot", "0123456789abcdef", "acks"), NULL, &e),
	    ERR_NOT_FOUND);
	ck_assert_str_eq(e.param, "boot");
	ck_assert_int_eq(process_call(w.client, DECODE_TYPE_replay, json_pack(
	    "{s:s, s:s, s:i}", "boot", w.boot, "id",
	    "00000000000000000000000000000bad", "from_seq", 0), NULL, &e),
	    ERR_NOT_FOUND);
}
END_TEST

#define ID "\"id\":\"ffffffffffffffffffffffffffffffff\""

/* Messages of generate that are refused: body, code, member, sentence. */
static const struct {
	const char *body;
	int code;
	const char *param, *sentence;
} refusals[] = {
	{ "{}", ERR_BAD_MESSAGE, "id", "'id' is missing" },
	{ "{" ID ",\"promt\":\"x\"}", ERR_BAD_MESSAGE, "promt",
	    "'promt' is not known here" },
	{ "{" ID "}", ERR_RANGE, "prompt", "exactly one of messages, prompt "
	    "and prompt_ids must not be empty" },
	{ "{" ID ",\"prompt\":\"x\",\"prompt_ids\":[1]}", ERR_RANGE, "prompt",
	    "exactly one of messages, prompt and prompt_ids must not be empty" },
	{ "{" ID ",\"prompt_ids\":[1,-1]}", ERR_RANGE, "prompt_ids",
	    "prompt_ids[1] is not a token id from 0 to 8191" },
	{ "{" ID ",\"prompt_ids\":[8192]}", ERR_RANGE, "prompt_ids",
	    "prompt_ids[0] is not a token id from 0 to 8191" },
	{ "{" ID ",\"prompt_ids\":[1.5]}", ERR_RANGE, "prompt_ids",
	    "prompt_ids[0] is not a token id from 0 to 8191" },
	{ "{" ID ",\"prompt_ids\":{\"a\":1}}", ERR_BAD_MESSAGE, "prompt_ids",
	    "'prompt_ids' is not an array" },
	{ "{" ID ",\"prompt\":\"x\",\"forced\":[9999]}", ERR_RANGE, "forced",
	    "forced[0] is not a token id from 0 to 8191" },
	{ "{" ID ",\"prompt\":\"x\",\"stop\":[\"\"]}", ERR_RANGE, "stop",
	    "stop[0] is not a string of 1 to 256 bytes" },
	{ "{" ID ",\"prompt\":\"x\",\"logit_bias\":{\"x\":1}}", ERR_RANGE,
	    "logit_bias",
	    "logit_bias: 'x' is not a token id from 0 to 8191" },
	{ "{" ID ",\"prompt\":\"x\",\"logit_bias\":{\"8192\":1}}", ERR_RANGE,
	    "logit_bias",
	    "logit_bias: '8192' is not a token id from 0 to 8191" },
	{ "{" ID ",\"prompt\":\"x\",\"logit_bias\":{\"7\":101}}", ERR_RANGE,
	    "logit_bias", "logit_bias: the value of 7 is not a number from "
	    "-100 to 100" },
	{ "{" ID ",\"prompt\":\"x\",\"temperature\":3}", ERR_RANGE,
	    "temperature", "'temperature' is 3, not in 0..2" },
	{ "{" ID ",\"messages\":[{\"role\":\"user\"}]}", ERR_BAD_MESSAGE,
	    "messages", "messages[0] lacks its content" },
	{ "{" ID ",\"messages\":[{\"role\":\"user\",\"content\":\"x\","
	    "\"nam\":1}]}", ERR_BAD_MESSAGE, "messages",
	    "messages[0].nam is not known here" },
	{ "{" ID ",\"messages\":[7]}", ERR_BAD_MESSAGE, "messages",
	    "messages[0] is not an object" },
	{ "{" ID ",\"prompt\":\"x\",\"fingerprint\":\"00\"}", ERR_LOADING,
	    "fingerprint", "the worker serves another model now" },
};

START_TEST(a_bad_message_is_refused_with_its_member)
{
	json_t *body = json_loads(refusals[_i].body, 0, NULL);
	struct err e;

	ck_assert_int_eq(process_call(w.client, DECODE_TYPE_generate, body,
	    NULL, &e), refusals[_i].code);
	ck_assert_str_eq(e.text, refusals[_i].sentence);
	ck_assert_str_eq(e.param, refusals[_i].param);
}
END_TEST

START_TEST(a_role_that_the_template_lacks_is_refused)
{
	struct err e;

	ck_assert_int_eq(worker_generate(&w, 1, json_pack("{s:[{s:s, s:s}]}",
	    "messages", "role", "wizard", "content", "x"), 0, &e), ERR_RANGE);
	ck_assert_str_eq(e.param, "messages");
}
END_TEST

START_TEST(a_prompt_longer_than_the_context_says_both_sizes)
{
	json_t *ids = json_array();
	struct err e;

	for (int i = 0; i < 1024; i++)
		json_array_append_new(ids, json_integer(5));
	ck_assert_int_eq(worker_generate(&w, 1, json_pack("{s:o}",
	    "prompt_ids", ids), 0, &e), ERR_CONTEXT);
	ck_assert_str_eq(e.param, "prompt");
	ck_assert_int_eq(e.n_prompt_tokens, 1024);
	ck_assert_int_eq(e.n_ctx, 1024);
}
END_TEST

START_TEST(an_answer_that_a_smaller_context_cannot_hold_is_refused_as_that)
{
	json_t *ids = json_array();
	struct err e;

	for (int i = 0; i < 1000; i++)
		json_array_append_new(ids, json_integer(5));
	ck_assert_int_eq(worker_generate(&w, 1, json_pack("{s:[i], s:o}",
	    "prompt_ids", 5, "forced", ids), 0, &e), 0);
	ids = json_array();
	for (int i = 0; i < 1024; i++)
		json_array_append_new(ids, json_integer(5));
	ck_assert_int_eq(worker_generate(&w, 2, json_pack("{s:[i], s:o}",
	    "prompt_ids", 5, "forced", ids), 0, &e), ERR_CONTEXT);
	ck_assert_str_eq(e.text, "prompt and answer so far have 1025 tokens and "
	    "the context 1024, of which one is for the answer");
}
END_TEST

START_TEST(an_unknown_message_type_is_refused)
{
	struct err e;

	ck_assert_int_eq(process_call(w.client, 999, json_object(), NULL, &e),
	    ERR_BAD_MESSAGE);
	ck_assert_str_eq(e.text, "message type 999 is not a request");
}
END_TEST

START_TEST(text_becomes_ids_and_text_again)
{
	json_t *ids, *text;

	ck_assert_int_eq(process_call(w.client, DECODE_TYPE_tokenize,
	    json_pack("{s:s, s:b}", "text", "Good m\xC3\xB6rning \xF0\x9F\x98\x80",
	    "add_special", 1), &ids, NULL), 0);
	ck_assert_int_eq(json_integer_value(json_array_get(json_object_get(ids,
	    "ids"), 0)), 8187);
	ck_assert_int_eq(process_call(w.client, DECODE_TYPE_detokenize, ids,
	    &text, NULL), 0);
	ck_assert_str_eq(json_string_value(json_object_get(text, "text")),
	    "Good m\xC3\xB6rning \xF0\x9F\x98\x80");
	json_decref(text);
}
END_TEST

START_TEST(it_says_what_it_is)
{
	json_t *info, *stats;

	ck_assert_int_eq(process_call(w.client, DECODE_TYPE_model_info,
	    json_object(), &info, NULL), 0);
	ck_assert_str_eq(json_string_value(json_object_get(info, "id")),
	    "halo-demo");
	ck_assert_int_eq(json_integer_value(json_object_get(info, "n_ctx")),
	    1024);
	ck_assert_int_eq(process_call(w.client, UNIT_TYPE_stats,
	    json_object(), &stats, NULL), 0);
	ck_assert(json_is_integer(json_object_get(json_object_get(stats,
	    "values"), "accepted")));
	ck_assert(json_is_array(json_object_get(stats, "kernels")));
	json_decref(info);
	json_decref(stats);
}
END_TEST

/* HTTP: path, status, a part of the answer. */
static const struct {
	const char *path;
	int status;
	const char *part;
} pages[] = {
	{ "/health", 200, "\r\n\r\n{\"status\":\"ok\"}" },
	{ "/livez", 200, "\r\n\r\nok\n" },
	{ "/readyz", 200, "\r\n\r\nok\n" },
	{ "/readyz?verbose", 200, "decode: ready" },
	{ "/metrics", 200, "\nonebit_decode_requests_total{outcome=\"stop\"}" },
	{ "/metrics", 200, "\nonebit_decode_ready 1" },
	{ "/metrics", 200, "\nonebit_decode_kernel_seconds_total{kernel=\"head\"}" },
	{ "/metrics", 200, "\nonebit_decode_kernel_read_bytes_total{kernel=\"o\"}" },
	{ "/metrics", 200, "\nonebit_decode_kernel_calls_total{kernel=\"qkv\"}" },
	{ "/metrics", 200, "\nonebit_decode_step_duration_seconds_count" },
	{ "/v1/endpoints", 200, "/decode-events.sock\"" },
	{ "/v1/models", 404, "\"error\"" },
};

START_TEST(the_ops_port_answers)
{
	static char text[1 << 17];

	ck_assert_int_eq(process_get(w.port, pages[_i].path, text,
	    sizeof(text)), pages[_i].status);
	ck_assert_msg(strstr(text, pages[_i].part) != NULL, "%s", text);
}
END_TEST

START_TEST(a_cancelled_request_ends_and_says_so)
{
	struct err e;
	const struct stream *s;

	ck_assert_int_eq(worker_generate(&w, 1, json_pack("{s:s, s:b}",
	    "prompt", "Once upon a time", "ignore_eos", 1), 0, &e), 0);
	s = worker_read_some(&w, 1, 3);
	ck_assert_int_eq(process_call(w.client, DECODE_TYPE_cancel, json_pack(
	    "{s:s}", "id", s->id), NULL, &e), 0);
	ck_assert_str_eq(worker_read(&w, 1)->finish, "cancel");
}
END_TEST

/* A request in flight when SIGTERM comes is finished first. */
START_TEST(sigterm_drains_and_exits_with_0)
{
	struct err e;

	ck_assert_int_eq(worker_generate(&w, 1, json_pack("{s:s, s:i, s:b}",
	    "prompt", "Once upon a time", "max_tokens", 200, "ignore_eos", 1),
	    0, &e), 0);
	kill(w.process.pid, SIGTERM);
	ck_assert_int_eq(worker_read(&w, 1)->n_tokens, 200);
	ck_assert_int_eq(process_wait(&w.process, PROCESS_END_MS), 0);
	worker_start(&w, patient);
}
END_TEST

START_TEST(one_thread_or_two_give_the_same_text)
{
	static const char *const threads[] = { "1", "2", "3" };

	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(process_end(&w.process, SIGTERM, PROCESS_END_MS), 0);
		worker_start(&w, (const char *const[]){ "--threads", threads[i],
		    "--slots", "2", NULL });
		ck_assert_str_eq(worker_ask(&w, i, "say hello",
		    NULL)->text.data, hello);
	}
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("decode");
	TCase *t = tcase_create("worker");
	SRunner *r = srunner_create(suite);
	int failed;

	if (!worker_has_model()) {
		printf("there is no %s\n", WORKER_MODEL);
		return 77;
	}
	tcase_set_timeout(t, 0);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, it_says_hello);
	tcase_add_test(t, a_deaf_subscriber_gets_everything_by_replay);
	tcase_add_test(t, the_text_is_the_same_among_sixteen_others);
	tcase_add_loop_test(t, a_bad_message_is_refused_with_its_member, 0,
	    COUNT(refusals));
	tcase_add_test(t, a_role_that_the_template_lacks_is_refused);
	tcase_add_test(t, a_prompt_longer_than_the_context_says_both_sizes);
	tcase_add_test(t,
	    an_answer_that_a_smaller_context_cannot_hold_is_refused_as_that);
	tcase_add_test(t, an_unknown_message_type_is_refused);
	tcase_add_test(t, other_lives_of_the_worker_are_not_found);
	tcase_add_test(t, text_becomes_ids_and_text_again);
	tcase_add_test(t, it_says_what_it_is);
	tcase_add_loop_test(t, the_ops_port_answers, 0, COUNT(pages));
	tcase_add_test(t, a_cancelled_request_ends_and_says_so);
	tcase_add_test(t, a_killed_worker_goes_on_with_the_same_tokens);
	tcase_add_test(t, sigterm_drains_and_exits_with_0);
	tcase_add_test(t, one_thread_or_two_give_the_same_text);
	suite_add_tcase(suite, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* NNG */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	process_abandon(&w.process);
	process_remove_dir(w.dir);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
