/*
 * Every member of a chat and a completion request: what reaches the worker,
 * what is ignored, what is refused and with which name.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "openai_request.h"

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define N_ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

static json_t *body;		/* of the last request */

static int
parse(bool chat, const char *text, struct openai_request *q, struct err *e)
{
	json_decref(body);
	body = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(body);
	*e = (struct err){ 0 };
	return chat ? openai_parse_chat(body, q, e) :
	    openai_parse_completion(body, q, e);
}

/* With a model and a user's message, or a prompt, before these members. */
static int
parse_members(bool chat, const char *members, struct openai_request *q,
    struct err *e)
{
	char text[4096];

	snprintf(text, sizeof(text), "{\"model\":\"m\",%s%s%s}",
	    chat ? USER : "\"prompt\":\"hi\"", members[0] != '\0' ? "," : "",
	    members);
	return parse(chat, text, q, e);
}

/* What the worker gets: JSON of one member of decode_generate. */
static const struct { const char *members, *name, *value; } honoured[] = {
	{ "\"temperature\":0", "temperature", "0.0" },
	{ "\"temperature\":2", "temperature", "2.0" },
	{ "\"top_p\":0.5", "top_p", "0.5" },
	{ "\"min_p\":1", "min_p", "1.0" },
	{ "\"presence_penalty\":-2", "presence_penalty", "-2.0" },
	{ "\"frequency_penalty\":2", "frequency_penalty", "2.0" },
	{ "\"repeat_penalty\":1.5", "repeat_penalty", "1.5" },
	{ "\"repetition_penalty\":1.5", "repeat_penalty", "1.5" },
	{ "\"repeat_last_n\":0", "repeat_last_n", "0" },
	{ "\"top_k\":40", "top_k", "40" },
	{ "\"top_k\":-1", "top_k", "0" },
	{ "\"seed\":7", "seed", "7" },
	{ "\"seed\":-1", "seed", "9007199254740991" },
	{ "\"stop\":\"x\"", "stop", "[\"x\"]" },
	{ "\"stop\":[\"a\",\"b\",\"c\",\"d\"]", "stop",
	  "[\"a\",\"b\",\"c\",\"d\"]" },
	{ "\"stop\":[]", "stop", "[]" },
	{ "\"logit_bias\":{\"5\":-100}", "logit_bias", "{\"5\":-100}" },
	{ "\"max_tokens\":9", "max_tokens", "9" },
	{ "\"max_tokens\":9999999", "max_tokens", "0" },
	{ "\"ignore_eos\":true", "ignore_eos", "true" },
	/* null is as good as absent */
	{ "\"temperature\":null,\"stop\":null,\"n\":null", "temperature", NULL },
	{ "\"logit_bias\":null,\"stream_options\":null", "logit_bias", NULL },
};

START_TEST(a_member_reaches_the_worker)
{
	bool chat = _i % 2 == 0;
	const char *want = honoured[_i / 2].value;
	struct openai_request q;
	struct err e;
	char *got;

	ck_assert_msg(parse_members(chat, honoured[_i / 2].members, &q,
	    &e) == 0, "%s: %s", honoured[_i / 2].members, e.text);
	got = json_dumps(json_object_get(q.generate, honoured[_i / 2].name),
	    JSON_COMPACT | JSON_ENCODE_ANY);
	if (want == NULL)
		ck_assert_ptr_null(got);
	else
		ck_assert_str_eq(got, want);
	free(got);
	openai_request_free(&q);
}
END_TEST

static const struct { const char *members, *name, *value; } chat_only[] = {
	{ "\"max_completion_tokens\":5,\"max_tokens\":9", "max_tokens", "5" },
	{ "\"max_completion_tokens\":null,\"max_tokens\":9", "max_tokens", "9" },
	{ "", "max_tokens", "0" },
	{ "\"logprobs\":true", "logprobs", "0" },
	{ "\"logprobs\":true,\"top_logprobs\":20", "logprobs", "20" },
	{ "\"logprobs\":false", "logprobs", NULL },
	/* without effect */
	{ "\"n\":1,\"user\":\"u\",\"store\":true,\"metadata\":{\"a\":\"b\"},"
	  "\"service_tier\":\"auto\",\"reasoning_effort\":\"low\","
	  "\"parallel_tool_calls\":true,\"tools\":[],\"tool_choice\":\"none\","
	  "\"modalities\":[\"text\"],\"response_format\":{\"type\":\"text\"},"
	  "\"prompt_cache_key\":\"k\",\"nobody_knows\":[1]",
	  "nobody_knows", NULL },
};

START_TEST(a_member_of_a_chat_reaches_the_worker)
{
	const char *want = chat_only[_i].value;
	struct openai_request q;
	struct err e;
	char *got;

	ck_assert_msg(parse_members(true, chat_only[_i].members, &q, &e) == 0,
	    "%s", e.text);
	got = json_dumps(json_object_get(q.generate, chat_only[_i].name),
	    JSON_ENCODE_ANY);
	if (want == NULL)
		ck_assert_ptr_null(got);
	else
		ck_assert_str_eq(got, want);
	free(got);
	openai_request_free(&q);
}
END_TEST

/* Refused in a chat and in a completion. */
static const struct { const char *members; int code; const char *param; }
refused[] = {
	{ "\"temperature\":-0.1", ERR_RANGE, "temperature" },
	{ "\"temperature\":2.1", ERR_RANGE, "temperature" },
	{ "\"temperature\":\"1\"", ERR_RANGE, "temperature" },
	{ "\"temperature\":true", ERR_RANGE, "temperature" },
	{ "\"top_p\":1.01", ERR_RANGE, "top_p" },
	{ "\"top_p\":-1", ERR_RANGE, "top_p" },
	{ "\"min_p\":2", ERR_RANGE, "min_p" },
	{ "\"presence_penalty\":2.5", ERR_RANGE, "presence_penalty" },
	{ "\"frequency_penalty\":-2.5", ERR_RANGE, "frequency_penalty" },
	{ "\"repeat_penalty\":0", ERR_RANGE, "repeat_penalty" },
	{ "\"repeat_last_n\":-1", ERR_RANGE, "repeat_last_n" },
	{ "\"top_k\":-2", ERR_RANGE, "top_k" },
	{ "\"top_k\":1.5", ERR_RANGE, "top_k" },
	{ "\"n\":2", ERR_UNSUPPORTED, "n" },
	{ "\"n\":0", ERR_UNSUPPORTED, "n" },
	{ "\"n\":\"1\"", ERR_UNSUPPORTED, "n" },
	{ "\"seed\":1.5", ERR_RANGE, "seed" },
	{ "\"seed\":\"x\"", ERR_RANGE, "seed" },
	{ "\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]", ERR_RANGE, "stop" },
	{ "\"stop\":\"\"", ERR_RANGE, "stop" },
	{ "\"stop\":[1]", ERR_RANGE, "stop" },
	{ "\"stop\":{}", ERR_RANGE, "stop" },
	{ "\"logit_bias\":[]", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":{\"x\":1}", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":{\"-1\":1}", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":{\"99999999\":1}", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":{\"1\":101}", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":{\"1\":false}", ERR_RANGE, "logit_bias" },
	{ "\"max_tokens\":0", ERR_RANGE, "max_tokens" },
	{ "\"max_tokens\":-1", ERR_RANGE, "max_tokens" },
	{ "\"max_tokens\":1.0", ERR_RANGE, "max_tokens" },
	{ "\"stream\":1", ERR_RANGE, "stream" },
	{ "\"stream_options\":{}", ERR_RANGE, "stream_options" },
	{ "\"stream\":true,\"stream_options\":[]", ERR_RANGE,
	  "stream_options" },
	{ "\"stream\":true,\"stream_options\":{\"include_usage\":1}",
	  ERR_RANGE, "include_usage" },
	{ "\"ignore_eos\":\"yes\"", ERR_RANGE, "ignore_eos" },
};

START_TEST(refuses_a_member_and_names_it)
{
	struct openai_request q;
	struct err e;

	ck_assert_int_eq(parse_members(_i % 2 == 0, refused[_i / 2].members,
	    &q, &e), refused[_i / 2].code);
	ck_assert_str_eq(e.param, refused[_i / 2].param);
	ck_assert_str_ne(e.text, "");
	ck_assert_ptr_null(q.generate);
}
END_TEST

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
	{ false, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}",
	  ERR_UNSUPPORTED, "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":[[1],[2]]}", ERR_UNSUPPORTED,
	  "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":[1,-1]}", ERR_RANGE, "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":[1,\"a\"]}", ERR_RANGE,
	  "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":[1048576]}", ERR_RANGE,
	  "prompt" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"best_of\":2}",
	  ERR_UNSUPPORTED, "best_of" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"suffix\":\"b\"}",
	  ERR_UNSUPPORTED, "suffix" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"logprobs\":6}",
	  ERR_RANGE, "logprobs" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"logprobs\":true}",
	  ERR_RANGE, "logprobs" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"echo\":1}", ERR_RANGE,
	  "echo" },
	{ false, "{\"model\":\"m\",\"prompt\":\"a\",\"echo\":true,"
	  "\"logprobs\":0}", ERR_UNSUPPORTED, "echo" },
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
	    "{\"role\":\"assistant\",\"content\":null},"
	    "{\"role\":\"user\",\"content\":\"<|eot_id|>\"}]}", &q, &e), 0);
	got = json_dumps(json_object_get(q.generate, "messages"), JSON_COMPACT);
	ck_assert_str_eq(got, "[{\"role\":\"system\",\"content\":\"be brief\"},"
	    "{\"role\":\"user\",\"content\":\"a\xc3\xa9\"},"
	    "{\"role\":\"assistant\",\"content\":\"\"},"
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

	ck_assert_int_eq(parse_members(_i == 0, "\"temperature\":0.5,"
	    "\"seed\":3,\"stop\":\"x\",\"logit_bias\":{\"3\":1},\"top_k\":3",
	    &q, &e), 0);
	json_object_set_new(q.generate, "id",
	    json_string("0123456789abcdef0123456789abcdef"));
	ck_assert_msg(field_decode(decode_generate_fields(), sizeof(g),
	    q.generate, &g, &e) == 0, "%s", e.text);
	ck_assert_int_eq(g.seed, 3);
	ck_assert_int_eq(g.max_tokens, _i == 0 ? 0 : 16);
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
	ck_assert_int_eq(parse_members(true, "", &b, &e), 0);
	ck_assert(!json_equal(json_object_get(a.generate, "seed"),
	    json_object_get(b.generate, "seed")));
	openai_request_free(&a);
	openai_request_free(&b);
	json_decref(first);
}
END_TEST

START_TEST(a_prompt_is_text_or_ids_or_one_of_either)
{
	static const struct { const char *prompt, *member, *value; } rows[] = {
		{ "\"a\"", "prompt", "\"a\"" },
		{ "[\"a\"]", "prompt", "\"a\"" },
		{ "[1,2]", "prompt_ids", "[1, 2]" },
		{ "[[1,2]]", "prompt_ids", "[1, 2]" },
	};
	struct openai_request q;
	char text[128], *got;
	struct err e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "{\"model\":\"m\",\"prompt\":%s}",
		    rows[i].prompt);
		ck_assert_int_eq(parse(false, text, &q, &e), 0);
		got = json_dumps(json_object_get(q.generate, rows[i].member),
		    JSON_ENCODE_ANY);
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
	tcase_add_loop_test(t, a_member_reaches_the_worker, 0,
	    2 * N_ROWS(honoured));
	tcase_add_loop_test(t, a_member_of_a_chat_reaches_the_worker, 0,
	    N_ROWS(chat_only));
	tcase_add_loop_test(t, refuses_a_member_and_names_it, 0,
	    2 * N_ROWS(refused));
	tcase_add_loop_test(t, refuses_a_body_and_names_the_member, 0,
	    N_ROWS(bodies));
	tcase_add_test(t, messages_become_the_workers);
	tcase_add_loop_test(t, what_is_made_is_a_generate, 0, 2);
	tcase_add_test(t, a_request_without_a_seed_gets_one_of_its_own);
	tcase_add_test(t, a_prompt_is_text_or_ids_or_one_of_either);
	tcase_add_test(t, a_stream_may_ask_for_usage);
	tcase_add_test(t, more_text_than_a_prompt_may_have_is_refused);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
