/*
 * Several answers to one request, and models that think, with a worker that does
 * what each test tells it: what is mixed up here would be seen.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_decode.h"
#include "gateway_peer.h"

#define CHAT(members) "{\"model\":\"fake\",\"seed\":9," members \
	"\"messages\":[{\"role\":\"user\",\"content\":\"CANARY\"}]}"

static void
start(void)
{
	gateway_start();
	fake_open(gateway_dir);
	fake_thinks();
	gateway_restart_worker(true);
	gateway_wait_status("/readyz", 200);
}

/* The next request that the worker accepted: its id [33] and its seed. */
static int64_t
accepted(char *id)
{
	json_t *g = fake_generate();
	int64_t seed = json_integer_value(json_object_get(g, "seed"));

	snprintf(id, 33, "%s", json_string_value(json_object_get(g, "id")));
	json_decref(g);
	return seed;
}

/* What all chunks of answer index have in delta.name, joined. */
static void
joined(const struct http_client *c, int index, const char *name,
    struct buf *out)
{
	const char *line = c->in.data, *end;

	*out = (struct buf){ 0 };
	buf_adds(out, "");
	for (; line != NULL && (end = strchr(line, '\n')) != NULL;
	    line = end + 1) {
		json_t *v, *choice;
		const char *text;

		if (strncmp(line, "data: {", 7) != 0)
			continue;
		v = json_loadb(line + 6, (size_t)(end - line - 6), 0, NULL);
		ck_assert_ptr_nonnull(v);
		choice = json_array_get(json_object_get(v, "choices"), 0);
		text = json_string_value(json_object_get(json_object_get(choice,
		    "delta"), name));
		if (text != NULL && json_integer_value(json_object_get(choice,
		    "index")) == index)
			buf_adds(out, text);
		json_decref(v);
	}
}

static void
check_joined(const struct http_client *c, int index, const char *name,
    const char *want)
{
	struct buf got;

	joined(c, index, name, &got);
	ck_assert_str_eq(got.data, want);
	buf_free(&got);
}

START_TEST(answers_of_a_stream_come_as_they_are_made)
{
	struct http_client c;
	char id[2][33];
	int64_t seeds[2];

	http_post(&c, gateway_port, gateway_chat, "",
	    CHAT("\"n\":2,\"stream\":true,\"stream_options\":"
	    "{\"include_usage\":true},"));
	for (int i = 0; i < 2; i++)
		seeds[i] = accepted(id[i]);
	ck_assert_int_eq(seeds[0], 9);
	ck_assert_int_ne(seeds[1], 9);
	ck_assert_str_ne(id[0], id[1]);
	fake_piece(id[1], 0, 1, "b0", "", false);
	http_until(&c, "b0");	/* the first is not waited for */
	fake_piece(id[0], 0, 1, "a0", "", false);
	http_until(&c, "a0");
	fake_piece(id[0], 1, 1, " a1", "length", false);
	http_until(&c, "\"finish_reason\":\"length\"");
	ck_assert(!http_has(&c, "[DONE]"));
	fake_piece(id[1], 1, 2, " b1", "stop", false);
	http_rest(&c);
	check_joined(&c, 0, "content", "a0 a1");
	check_joined(&c, 1, "content", "b0 b1");
	ck_assert(http_has(&c, "\"choices\":[],\"usage\":{\"prompt_tokens\":5,"
	    "\"completion_tokens\":5,\"total_tokens\":10,"));
	ck_assert(http_has(&c, "data: [DONE]"));
	http_close(&c);
	ck_assert_int_ge(fake_acked(id[0], 2), 2);
	ck_assert_int_ge(fake_acked(id[1], 3), 3);
}
END_TEST

static long
prompt_tokens(void)
{
	static const char name[] = "\nonebit_gateway_prompt_tokens_total ";
	struct http_client c;
	const char *at;
	long n;

	http_get(&c, gateway_port, "/metrics", "");
	http_rest(&c);
	at = strstr(c.in.data, name);
	ck_assert_ptr_nonnull(at);
	n = strtol(at + strlen(name), NULL, 10);
	http_close(&c);
	return n;
}

START_TEST(whole_answers_stand_in_the_order_of_their_numbers)
{
	struct http_client c;
	char id[3][33];
	long before = prompt_tokens();

	http_post(&c, gateway_port, gateway_chat, "", CHAT("\"n\":3,"));
	for (int i = 0; i < 3; i++)
		accepted(id[i]);
	for (int i = 2; i >= 0; i--) {
		char text[8];

		snprintf(text, sizeof(text), "t%d", i);
		fake_piece(id[i], 0, 1, text, "stop", false);
	}
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 200);
	ck_assert(http_has(&c, "\"index\":0,\"message\":{\"role\":"
	    "\"assistant\",\"content\":\"t0\""));
	ck_assert(http_has(&c, "\"index\":2,\"message\":{\"role\":"
	    "\"assistant\",\"content\":\"t2\""));
	ck_assert(strstr(c.in.data, "t0") < strstr(c.in.data, "t1") &&
	    strstr(c.in.data, "t1") < strstr(c.in.data, "t2"));
	http_close(&c);
	ck_assert_int_eq(prompt_tokens(), before + 5);	/* they have one prompt */
}
END_TEST

START_TEST(one_that_is_refused_takes_the_others_with_it)
{
	struct http_client c;
	char id[33];

	fake_refuse(ERR_BUSY, "full", 2000);
	http_post(&c, gateway_port, gateway_chat, "", CHAT("\"n\":2,"));
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 429);
	ck_assert(http_has(&c, "\r\nRetry-After: 2\r\n"));
	http_close(&c);
	http_post(&c, gateway_port, gateway_chat, "", CHAT("\"n\":5,"));
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 400);
	ck_assert(http_has(&c, "5 answers at once are more than the worker's "
	    "4 slots"));
	ck_assert(http_has(&c, "\"param\":\"n\""));
	http_close(&c);
	/* A client that leaves lets go of all. */
	http_post(&c, gateway_port, gateway_chat, "",
	    CHAT("\"n\":2,\"stream\":true,"));
	accepted(id);
	http_until(&c, "\"role\"");
	http_close(&c);
	ck_assert(fake_cancelled(id));
	accepted(id);
	ck_assert(fake_cancelled(id));
}
END_TEST

START_TEST(a_worker_without_hidden_states_has_no_embeddings)
{
	static const char body[] = "{\"model\":\"fake\",\"input\":\"a\"}";
	struct http_client c;
	char id[33];

	fake_refuse(ERR_UNSUPPORTED, "no hidden states here", 0);
	http_post(&c, gateway_port, "/v1/embeddings", "", body);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 501);
	ck_assert(http_has(&c, "\r\nx-should-retry: false\r\n"));
	ck_assert(http_has(&c, "\"type\":\"not_supported_error\",\"param\":"
	    "null,\"code\":\"feature_disabled\""));
	http_close(&c);
	/* An answer without a vector is an error of ours. */
	http_post(&c, gateway_port, "/v1/embeddings", "", body);
	accepted(id);
	fake_piece(id, 0, 0, "", "stop", false);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 500);
	http_close(&c);
}
END_TEST

START_TEST(all_answers_survive_their_worker)
{
	struct http_client c;
	char id[2][33];

	http_post(&c, gateway_port, gateway_chat, "",
	    CHAT("\"n\":2,\"stream\":true,"));
	for (int i = 0; i < 2; i++) {
		accepted(id[i]);
		fake_piece(id[i], 0, 1, i == 0 ? "a0" : "b0", "", false);
	}
	http_until(&c, "a0");
	http_until(&c, "b0");
	gateway_restart_worker(true);
	for (int i = 0; i < 2; i++) {
		json_t *g = fake_generate();
		const char *again = json_string_value(
		    json_object_get(g, "id"));
		bool first = strcmp(again, id[0]) == 0;

		ck_assert_str_eq(again, id[first ? 0 : 1]);
		ck_assert_int_eq(json_integer_value(json_array_get(
		    json_object_get(g, "forced"), 0)), 1000);
		fake_piece(again, 1, 1, first ? " a1" : " b1", "stop", false);
		json_decref(g);
	}
	http_rest(&c);
	check_joined(&c, 0, "content", "a0 a1");
	check_joined(&c, 1, "content", "b0 b1");
	ck_assert(http_has(&c, "data: [DONE]"));
	http_close(&c);
}
END_TEST

static void
think(const char *id)
{
	fake_piece(id, 0, 1, "<thi", "", false);
	fake_piece(id, 1, 1, "nk>\n", "", false);
	fake_piece(id, 2, 1, "let me", "", false);
	fake_piece(id, 3, 1, " see\n</", "", false);
	fake_piece(id, 4, 1, "think>\n\nHel", "", false);
	fake_piece(id, 5, 1, "lo", "stop", false);
}

START_TEST(thoughts_come_apart_from_the_answer)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, CHAT("\"stream\":true,"
	    "\"stream_options\":{\"include_usage\":true},"), id));
	think(id);
	http_rest(&c);
	check_joined(&c, 0, "reasoning", "let me see");
	check_joined(&c, 0, "reasoning_content", "let me see");
	check_joined(&c, 0, "content", "Hello");
	/* those between the tags, and the two that have a part of them */
	ck_assert(http_has(&c, "\"reasoning_tokens\":4"));
	http_close(&c);
	json_decref(gateway_begin(&c, CHAT(""), id));
	think(id);
	http_rest(&c);
	ck_assert(http_has(&c, "\"content\":\"Hello\",\"refusal\":null,"
	    "\"reasoning\":\"let me see\",\"reasoning_content\":"
	    "\"let me see\""));
	http_close(&c);
}
END_TEST

START_TEST(thoughts_of_both_halves_of_a_stream_are_counted)
{
	struct http_client c;
	char id[33], path[96];
	const char *at;
	json_t *g;

	json_decref(gateway_begin(&c, CHAT("\"stream\":true,"
	    "\"stream_options\":{\"include_usage\":true},"), id));
	fake_piece(id, 0, 1, "<think>", "", false);
	fake_piece(id, 1, 1, "let me", "", false);
	http_until(&c, "let me");
	at = strstr(c.in.data, "\"id\":\"") + 6;
	snprintf(path, sizeof(path), "/v1/stream?id=%.*s&from=6",
	    (int)strcspn(at, "\""), at);
	http_close(&c);
	ck_assert(fake_cancelled(id));
	http_get(&c, gateway_port, path, "");
	g = fake_generate();
	snprintf(id, sizeof(id), "%s",
	    json_string_value(json_object_get(g, "id")));
	ck_assert_uint_eq(json_array_size(json_object_get(g, "forced")), 2);
	json_decref(g);
	fake_piece(id, 2, 1, " see", "", false);
	fake_piece(id, 3, 1, "</think>", "", false);
	fake_piece(id, 4, 1, "Hello", "stop", false);
	http_rest(&c);
	check_joined(&c, 0, "reasoning", " see");
	check_joined(&c, 0, "content", "Hello");
	ck_assert(http_has(&c, "\"reasoning_tokens\":4"));
	http_close(&c);
}
END_TEST

START_TEST(thoughts_stay_where_the_client_wants_them)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, CHAT("\"reasoning_format\":\"none\","),
	    id));
	think(id);
	http_rest(&c);
	ck_assert(http_has(&c, "\"content\":\"<think>\\nlet me see\\n</think>"
	    "\\n\\nHello\""));
	ck_assert(!http_has(&c, "\"reasoning\""));
	ck_assert(http_has(&c, "\"reasoning_tokens\":0"));
	http_close(&c);
}
END_TEST

START_TEST(who_waits_is_told_where_it_stands)
{
	struct http_client c;
	char id[33];

	json_decref(gateway_begin(&c, CHAT("\"stream\":true,"
	    "\"return_progress\":true,\"timings_per_token\":true,"), id));
	fake_stands(id, 3, -1);
	http_until(&c, ": queue 3\n\n");
	fake_stands(id, 1, -1);
	http_until(&c, ": queue 1\n\n");
	fake_stands(id, 0, 4);
	http_until(&c, "\"delta\":{},\"logprobs\":null,\"finish_reason\":null}],"
	    "\"prompt_progress\":{\"total\":5,\"cache\":1,\"processed\":4,"
	    "\"time_ms\":2.5}}");
	fake_stands(id, 0, -1);
	fake_piece(id, 0, 1, "one", "", false);
	http_until(&c, "\"content\":\"one\"");
	fake_piece(id, 1, 1, " two", "stop", false);
	http_rest(&c);
	ck_assert(http_has(&c, "\"content\":\"one\"},\"logprobs\":null,"
	    "\"finish_reason\":null}],\"timings\":{\"cache_n\":0"));
	check_joined(&c, 0, "content", "one two");
	http_close(&c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway choices");
	TCase *t = tcase_create("gateway choices");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, start, gateway_stop);
	tcase_add_test(t, answers_of_a_stream_come_as_they_are_made);
	tcase_add_test(t, whole_answers_stand_in_the_order_of_their_numbers);
	tcase_add_test(t, one_that_is_refused_takes_the_others_with_it);
	tcase_add_test(t, a_worker_without_hidden_states_has_no_embeddings);
	tcase_add_test(t, all_answers_survive_their_worker);
	tcase_add_test(t, thoughts_come_apart_from_the_answer);
	tcase_add_test(t, thoughts_of_both_halves_of_a_stream_are_counted);
	tcase_add_test(t, thoughts_stay_where_the_client_wants_them);
	tcase_add_test(t, who_waits_is_told_where_it_stands);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
