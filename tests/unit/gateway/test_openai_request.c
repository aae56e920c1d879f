/*
 * Whole requests: bodies that are refused, messages, prompts, how many answers.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "openai_request.h"
#include "openai_world.h"


/* Whole bodies: a chat's, then a completion's. */
static const struct { bool chat; const char *text; int code;
	const char *param; } bodies[] = {
	{ true, "[]", ERR_BAD_MESSAGE, "" },
	{ true, "{}", ERR_BAD_MESSAGE, "model" },
	{ true, "{\"model\":1," USER "}", ERR_BAD_MESSAGE, "model" },
	{ true, "{\"model\":\"\"," USER "}", ERR_BAD_MESSAGE, "model" },
	{ true, "{\"model\":\"m\"}", ERR_BAD_MESSAGE, "messages" },
	{ true, "{\"model\":\"m\",\"messages\":{}}", ERR_RANGE, "messages" },
	{ true, "{\"model\":\"m\",\"messages\":[]}", ERR_RANGE, "messages" },
	{ true, "{\"model\":\"m\",\"messages\":[1]}", ERR_RANGE,
	  "messages[0]" },
	{ true, "{\"model\":\"m\",\"messages\":[{}]}", ERR_RANGE,
	  "messages[0].role" },
	{ true, "{\"model\":\"m\",\"messages\":[{\"role\":\"king\"}]}",
	  ERR_RANGE, "messages[0].role" },
	{ true, "{\"model\":\"m\",\"messages\":[{\"role\":\"tool\"}]}",
	  ERR_UNSUPPORTED, "messages[0].role" },
	{ true, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}",
	  ERR_RANGE, "messages[0].content" },
	{ true, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\","
	  "\"content\":1}]}", ERR_RANGE, "messages[0].content" },
	{ true, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\","
	  "\"content\":[]}]}", ERR_RANGE, "messages[0].content" },
	{ true, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\","
	  "\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}]}",
	  ERR_UNSUPPORTED, "messages[0].content" },
	{ true, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\","
	  "\"content\":[{\"type\":\"text\"}]}]}", ERR_RANGE,
	  "messages[0].content" },
	{ true, "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\","
	  "\"tool_calls\":[{}]}]}", ERR_UNSUPPORTED,
	  "messages[0].tool_calls" },
	{ true, "{\"model\":\"m\"," USER ",\"tools\":[{}]}", ERR_UNSUPPORTED,
	  "tools" },
	{ true, "{\"model\":\"m\"," USER ",\"functions\":[{}]}",
	  ERR_UNSUPPORTED, "functions" },
	{ true, "{\"model\":\"m\"," USER ",\"tool_choice\":\"required\"}",
	  ERR_UNSUPPORTED, "tool_choice" },
	{ true, "{\"model\":\"m\"," USER ",\"response_format\":"
	  "{\"type\":\"json_object\"}}", ERR_UNSUPPORTED, "response_format" },
	{ true, "{\"model\":\"m\"," USER ",\"response_format\":\"text\"}",
	  ERR_UNSUPPORTED, "response_format" },
	{ true, "{\"model\":\"m\"," USER ",\"modalities\":[\"text\","
	  "\"audio\"]}", ERR_UNSUPPORTED, "modalities" },
	{ true, "{\"model\":\"m\"," USER ",\"audio\":{}}", ERR_UNSUPPORTED,
	  "audio" },
	{ true, "{\"model\":\"m\"," USER ",\"web_search_options\":{}}",
	  ERR_UNSUPPORTED, "web_search_options" },
	{ true, "{\"model\":\"m\"," USER ",\"grammar\":\"x\"}",
	  ERR_UNSUPPORTED, "grammar" },
	{ true, "{\"model\":\"m\"," USER ",\"tool_choice\":{}}",
	  ERR_UNSUPPORTED, "tool_choice" },
	{ true, "{\"model\":\"m\"," USER ",\"continue_final_message\":"
	  "true}", ERR_UNSUPPORTED, "continue_final_message" },
	{ true, "{\"model\":\"m\"," USER ",\"best_of\":2}",
	  ERR_UNSUPPORTED, "best_of" },
	{ true, "{\"model\":\"m\"," USER ",\"include_reasoning\":false}",
	  ERR_UNSUPPORTED, "include_reasoning" },
	{ true, "{\"model\":\"m\"," USER ",\"thinking_token_budget\":9}",
	  ERR_UNSUPPORTED, "thinking_token_budget" },
	{ true, "{\"model\":\"m\"," USER ",\"reasoning_effort\":\"x\"}",
	  ERR_RANGE, "reasoning_effort" },
	{ true, "{\"model\":\"m\"," USER ",\"reasoning_effort\":1}",
	  ERR_RANGE, "reasoning_effort" },
	{ true, "{\"model\":\"m\"," USER ",\"reasoning_format\":\"x\"}",
	  ERR_RANGE, "reasoning_format" },
	{ true, "{\"model\":\"m\"," USER ",\"reasoning_format\":"
	  "\"deepseek-legacy\"}", ERR_RANGE, "reasoning_format" },
	{ true, "{\"model\":\"m\"," USER ",\"chat_template_kwargs\":[]}",
	  ERR_RANGE, "chat_template_kwargs" },
	{ true, "{\"model\":\"m\"," USER ",\"chat_template_kwargs\":"
	  "{\"enable_thinking\":1}}", ERR_RANGE, "enable_thinking" },
	{ true, "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\","
	  "\"content\":\"a\",\"reasoning\":1}]}", ERR_RANGE,
	  "messages[0].reasoning" },
	{ true, "{\"model\":\"m\"," USER ",\"top_logprobs\":1}", ERR_RANGE,
	  "top_logprobs" },
	{ true, "{\"model\":\"m\"," USER ",\"logprobs\":true,"
	  "\"top_logprobs\":21}", ERR_RANGE, "top_logprobs" },
	{ true, "{\"model\":\"m\"," USER ",\"logprobs\":2}", ERR_RANGE,
	  "logprobs" },
	{ true, "{\"model\":\"m\"," USER ",\"max_completion_tokens\":0}",
	  ERR_RANGE, "max_completion_tokens" },
	{ false, "{\"model\":\"m\"}", ERR_BAD_MESSAGE, "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":\"\"}", ERR_RANGE, "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":[]}", ERR_RANGE, "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":[\"a\",\"\"]}", ERR_RANGE,
	  "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":[\"a\",1]}", ERR_RANGE,
	  "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":[[1],[]]}", ERR_RANGE,
	  "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":[[1],[[2]]]}", ERR_RANGE,
	  "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":{}}", ERR_RANGE, "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\",\"c\",\"d\","
	  "\"e\"],\"n\":8}", ERR_RANGE, "n" },
	{ false, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\",\"c\",\"d\","
	  "\"e\"],\"best_of\":8}", ERR_RANGE, "best_of" },
	{ false, "{\"model\":\"m\",\"prompt\":[1,-1]}", ERR_RANGE, "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":[1,\"a\"]}", ERR_RANGE,
	  "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":[1048576]}", ERR_RANGE,
	  "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"best_of\":9}",
	  ERR_RANGE, "best_of" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"best_of\":2,"
	  "\"n\":3}", ERR_RANGE, "best_of" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"best_of\":2,"
	  "\"stream\":true}", ERR_RANGE, "best_of" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"suffix\":\"b\"}",
	  ERR_UNSUPPORTED, "suffix" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"logprobs\":6}",
	  ERR_RANGE, "logprobs" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"logprobs\":true}",
	  ERR_RANGE, "logprobs" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"echo\":1}", ERR_RANGE,
	  "echo" },
};

START_TEST(refuses_a_body_and_names_the_member)
{
	struct openai_request q;
	struct err e;

	ck_assert_int_eq(parse(bodies[_i].chat, bodies[_i].text, &q, &e),
	    bodies[_i].code);
	ck_assert_str_eq(e.param, bodies[_i].param);
	ck_assert_str_ne(e.text, "");
	ck_assert_ptr_null(q.generate);
}
END_TEST

START_TEST(messages_become_the_workers)
{
	struct openai_request q;
	struct err e;
	char *got;

	ck_assert_int_eq(parse(true, "{\"model\":\"m\",\"messages\":["
	    "{\"role\":\"developer\",\"content\":\"be brief\",\"name\":\"x\"},"
	    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
	    "{\"type\":\"text\",\"text\":\"\xc3\xa9\"}]},"
	    "{\"role\":\"assistant\",\"content\":null,\"refusal\":null},"
	    "{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"},"
	    "{\"role\":\"assistant\",\"content\":\"b\","
	    "\"reasoning_content\":\"c\",\"reasoning\":\"\"},"
	    "{\"role\":\"user\",\"content\":\"<|eot_id|>\"}]}", &q, &e), 0);
	got = json_dumps(json_object_get(json_array_get(q.prompts, 0),
	    "messages"), JSON_COMPACT);
	ck_assert_str_eq(got, "[{\"role\":\"system\",\"content\":\"be brief\"},"
	    "{\"role\":\"user\",\"content\":\"a\xc3\xa9\"},"
	    "{\"role\":\"assistant\",\"content\":\"\"},"
	    "{\"role\":\"assistant\",\"content\":\"no\"},"
	    "{\"role\":\"assistant\",\"content\":\"b\","
	    "\"reasoning\":\"c\"},"
	    "{\"role\":\"user\",\"content\":\"<|eot_id|>\"}]");
	free(got);
	openai_request_free(&q);
}
END_TEST

/* The object must be one that proto/decode.h accepts. */
START_TEST(what_is_made_is_a_generate)
{
	struct decode_generate g;
	struct openai_request q;
	struct err e;
	json_t *obj;

	ck_assert_int_eq(parse_members(_i == 0, "\"temperature\":0.5,"
	    "\"seed\":3,\"stop\":\"x\",\"logit_bias\":{\"3\":1},\"top_k\":3",
	    &q, &e), 0);
	obj = generate(&q, 0, 0);
	json_object_set_new(obj, "id",
	    json_string("0123456789abcdef0123456789abcdef"));
	ck_assert_msg(field_decode(decode_generate_fields(), sizeof(g),
	    obj, &g, &e) == 0, "%s", e.text);
	ck_assert_int_eq(g.seed, 3);
	ck_assert_int_eq(g.max_tokens, _i == 0 ? 0 : 16);
	json_decref(obj);
	openai_request_free(&q);
}
END_TEST

START_TEST(a_request_without_a_seed_gets_one_of_its_own)
{
	struct openai_request a, b;
	json_t *first;
	struct err e;

	ck_assert_int_eq(parse_members(true, "", &a, &e), 0);
	first = json_incref(body);	/* a borrows from it */
	ck_assert_int_eq(parse_members(true, "\"seed\":-1", &b, &e), 0);
	ck_assert(a.seed != b.seed && b.seed != UINT64_MAX);
	openai_request_free(&a);
	openai_request_free(&b);
	json_decref(first);
}
END_TEST

/* The seed that answer k to prompt p has. */
static int64_t
seed_of(const struct openai_request *q, size_t p, int k)
{
	json_t *g = generate(q, p, k);
	int64_t seed = json_integer_value(json_object_get(g, "seed"));

	json_decref(g);
	return seed;
}

START_TEST(each_answer_has_a_seed_that_depends_on_its_number_alone)
{
	struct openai_request one, many;
	json_t *first;
	struct err e;

	ck_assert_int_eq(parse_members(false, "\"seed\":7", &one, &e), 0);
	first = json_incref(body);
	ck_assert_int_eq(parse(false, "{\"model\":\"m\",\"prompt\":"
	    "[\"x\",\"hi\"],\"n\":2,\"best_of\":4,\"seed\":7}", &many,
	    &e), 0);
	ck_assert_int_eq(many.n, 2);
	ck_assert_int_eq(many.best_of, 4);
	ck_assert_uint_eq(json_array_size(many.prompts), 2);
	ck_assert_int_eq(seed_of(&one, 0, 0), 7);
	for (int k = 0; k < 4; k++) {
		ck_assert_int_eq(seed_of(&many, 0, k), seed_of(&many, 1, k));
		ck_assert_int_eq(seed_of(&many, 0, k), seed_of(&one, 0, k));
		for (int i = 0; i < k; i++)
			ck_assert(seed_of(&one, 0, k) != seed_of(&one, 0, i));
	}
	openai_request_free(&one);
	openai_request_free(&many);
	json_decref(first);
}
END_TEST

START_TEST(an_echo_with_logprobs_asks_for_those_of_the_prompt)
{
	struct openai_request q;
	struct err e;

	ck_assert_int_eq(parse_members(false, "\"echo\":true,\"logprobs\":2",
	    &q, &e), 0);
	ck_assert(q.echo && q.logprobs);
	ck_assert(json_is_true(json_object_get(q.generate,
	    "prompt_logprobs")));
	openai_request_free(&q);
	ck_assert_int_eq(parse_members(false, "\"logprobs\":2", &q, &e), 0);
	ck_assert_ptr_null(json_object_get(q.generate, "prompt_logprobs"));
	openai_request_free(&q);
}
END_TEST

START_TEST(best_of_asks_for_logprobs_and_does_not_show_them)
{
	struct openai_request q;
	json_t *g;
	struct err e;

	ck_assert_int_eq(parse_members(false, "\"best_of\":2", &q, &e), 0);
	g = generate(&q, 0, 1);
	ck_assert_int_eq(json_integer_value(json_object_get(g, "logprobs")), 0);
	ck_assert_ptr_nonnull(json_object_get(g, "logprobs"));
	ck_assert(!q.logprobs);
	json_decref(g);
	openai_request_free(&q);
}
END_TEST

START_TEST(a_prompt_is_text_or_ids_or_a_list_of_either)
{
	static const struct { const char *prompt, *value; } rows[] = {
		{ "\"a\"", "[{\"prompt\":\"a\"}]" },
		{ "[\"a\"]", "[{\"prompt\":\"a\"}]" },
		{ "[1,2]", "[{\"prompt_ids\":[1,2]}]" },
		{ "[[1,2]]", "[{\"prompt_ids\":[1,2]}]" },
		{ "[[1],[2],\"a\"]", "[{\"prompt_ids\":[1]},"
		  "{\"prompt_ids\":[2]},{\"prompt\":\"a\"}]" },
	};
	struct openai_request q;
	char text[128], *got;
	struct err e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "{\"model\":\"m\",\"prompt\":%s}",
		    rows[i].prompt);
		ck_assert_int_eq(parse(false, text, &q, &e), 0);
		got = json_dumps(q.prompts, JSON_COMPACT);
		ck_assert_str_eq(got, rows[i].value);
		free(got);
		openai_request_free(&q);
	}
}
END_TEST

START_TEST(a_stream_may_ask_for_usage)
{
	struct openai_request q;
	struct err e;

	ck_assert_int_eq(parse_members(true, "\"stream\":true,"
	    "\"stream_options\":{\"include_usage\":true,"
	    "\"include_obfuscation\":false}", &q, &e), 0);
	ck_assert(q.stream && q.include_usage && !q.logprobs && !q.echo);
	openai_request_free(&q);
}
END_TEST

START_TEST(more_text_than_a_prompt_may_have_is_refused)
{
	char *content = malloc(DECODE_PROMPT_MAX + 2);
	struct openai_request q;
	struct err e;

	memset(content, 'x', DECODE_PROMPT_MAX + 1);
	content[DECODE_PROMPT_MAX + 1] = '\0';
	json_decref(body);
	body = json_pack("{s:s, s:[{s:s, s:s}]}", "model", "m", "messages",
	    "role", "user", "content", content);
	ck_assert_int_eq(openai_parse_chat(body, &q, &e), ERR_RANGE);
	ck_assert_str_eq(e.param, "messages");
	json_object_set_new(body, "prompt", json_string(content));
	ck_assert_int_eq(openai_parse_completion(body, &q, &e), ERR_RANGE);
	ck_assert_str_eq(e.param, "prompt");
	free(content);
}
END_TEST

static void
tear_down(void)
{
	json_decref(body);
	body = NULL;
}

int
main(void)
{
	Suite *s = suite_create("openai_request");
	TCase *t = tcase_create("openai_request");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, NULL, tear_down);
	tcase_add_loop_test(t, refuses_a_body_and_names_the_member, 0,
	    N_ROWS(bodies));
	tcase_add_test(t, messages_become_the_workers);
	tcase_add_loop_test(t, what_is_made_is_a_generate, 0, 2);
	tcase_add_test(t, a_request_without_a_seed_gets_one_of_its_own);
	tcase_add_test(t,
	    each_answer_has_a_seed_that_depends_on_its_number_alone);
	tcase_add_test(t, an_echo_with_logprobs_asks_for_those_of_the_prompt);
	tcase_add_test(t, best_of_asks_for_logprobs_and_does_not_show_them);
	tcase_add_test(t, a_prompt_is_text_or_ids_or_a_list_of_either);
	tcase_add_test(t, a_stream_may_ask_for_usage);
	tcase_add_test(t, more_text_than_a_prompt_may_have_is_refused);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
