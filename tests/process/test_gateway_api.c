/*
 * What docs/http-api.md promises of each route, with the real worker and the
 * demo model: answers are compared with answers, not with texts.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_peer.h"
#include "base64.h"

static const char chat[] = "/v1/chat/completions";
static const char completions[] = "/v1/completions";

#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"say hello\"}]"
#define M "\"model\":\"halo-demo\","

START_TEST(the_first_of_several_answers_is_the_only_one_of_one)
{
	json_t *one = api_ask(chat, 200, "{" M "\"seed\":5,\"max_tokens\":20," HELLO
	    "}");
	json_t *many = api_ask(chat, 200, "{" M "\"seed\":5,\"max_tokens\":20,"
	    "\"n\":4," HELLO "}");
	json_t *again = api_ask(chat, 200, "{" M "\"seed\":5,\"max_tokens\":20,"
	    "\"n\":4," HELLO "}");

	ck_assert_uint_eq(json_array_size(api_at(many, "choices")), 4);
	ck_assert_str_eq(api_text(one, "choices.0.message.content"),
	    api_text(many, "choices.0.message.content"));
	ck_assert(json_equal(api_at(many, "choices"), api_at(again, "choices")));
	ck_assert_int_eq(api_int(many, "choices.3.index"), 3);
	/* Their prompt is counted once. */
	ck_assert_int_eq(api_int(many, "usage.prompt_tokens"),
	    api_int(one, "usage.prompt_tokens"));
	ck_assert_int_gt(api_int(many, "usage.completion_tokens"),
	    api_int(one, "usage.completion_tokens"));
	json_decref(one);
	json_decref(many);
	json_decref(again);
}
END_TEST

START_TEST(prompts_have_the_answers_that_each_has_alone)
{
	json_t *both = api_ask(completions, 200, "{" M "\"seed\":5,\"n\":2,"
	    "\"max_tokens\":12,\"prompt\":[\"Once upon\",\"The cat\"]}");
	json_t *second = api_ask(completions, 200, "{" M "\"seed\":5,\"n\":2,"
	    "\"max_tokens\":12,\"prompt\":\"The cat\"}");
	json_t *first = api_ask(completions, 200, "{" M "\"seed\":5,\"n\":2,"
	    "\"max_tokens\":12,\"prompt\":\"Once upon\"}");

	ck_assert_uint_eq(json_array_size(api_at(both, "choices")), 4);
	for (int k = 0; k < 2; k++) {
		char path[32], whole[32];

		snprintf(path, sizeof(path), "choices.%d.text", k);
		ck_assert_str_eq(api_text(both, path), api_text(first, path));
		snprintf(whole, sizeof(whole), "choices.%d.text", 2 + k);
		ck_assert_str_eq(api_text(both, whole), api_text(second, path));
	}
	ck_assert_int_eq(api_int(both, "usage.prompt_tokens"),
	    api_int(first, "usage.prompt_tokens") +
	    api_int(second, "usage.prompt_tokens"));
	json_decref(both);
	json_decref(second);
	json_decref(first);
}
END_TEST

static double
mean_logprob(json_t *choice)
{
	json_t *list = api_at(choice, "logprobs.token_logprobs"), *v;
	double sum = 0;
	size_t i;

	ck_assert_uint_gt(json_array_size(list), 0);
	json_array_foreach(list, i, v)
		sum += json_number_value(v);
	return sum / (double)i;
}

START_TEST(the_best_of_several_is_the_most_probable)
{
	json_t *all = api_ask(completions, 200, "{" M "\"seed\":5,\"n\":6,"
	    "\"max_tokens\":12,\"logprobs\":0,\"prompt\":\"Once upon\"}");
	json_t *best = api_ask(completions, 200, "{" M "\"seed\":5,\"n\":2,"
	    "\"best_of\":6,\"max_tokens\":12,\"prompt\":\"Once upon\"}");
	json_t *list = api_at(all, "choices"), *v, *winner = json_array_get(list, 0);
	size_t i;

	json_array_foreach(list, i, v)
		if (mean_logprob(v) > mean_logprob(winner))
			winner = v;
	ck_assert_uint_eq(json_array_size(api_at(best, "choices")), 2);
	ck_assert_str_eq(api_text(best, "choices.0.text"),
	    api_text(winner, "text"));
	ck_assert(json_is_null(api_at(best, "choices.0.logprobs")));
	ck_assert_int_eq(api_int(best, "usage.completion_tokens"),
	    api_int(all, "usage.completion_tokens"));
	json_decref(all);
	json_decref(best);
}
END_TEST

START_TEST(an_echo_of_text_and_of_ids_is_the_prompt)
{
	json_t *text = api_ask(completions, 200, "{" M "\"temperature\":0,"
	    "\"max_tokens\":4,\"echo\":true,\"prompt\":[\"Once upon\",\"A\"]}");
	json_t *ids = api_ask("/tokenize", 200, "{\"content\":\"Once upon\"}");
	char *list = json_dumps(api_at(ids, "tokens"), JSON_COMPACT), body[256];
	json_t *same;

	snprintf(body, sizeof(body), "{" M "\"temperature\":0,\"echo\":true,"
	    "\"max_tokens\":4,\"prompt\":%s}", list);
	same = api_ask(completions, 200, body);
	ck_assert_int_eq(strncmp(api_text(text, "choices.0.text"), "Once upon",
	    9), 0);
	ck_assert_int_eq(strncmp(api_text(text, "choices.1.text"), "A", 1), 0);
	ck_assert_int_eq(strncmp(api_text(same, "choices.0.text"), "Once upon",
	    9), 0);
	free(list);
	json_decref(text);
	json_decref(ids);
	json_decref(same);
}
END_TEST

START_TEST(an_echo_has_the_logprobs_that_its_tokens_had_when_they_were_made)
{
	json_t *made = api_ask(completions, 200, "{" M "\"temperature\":0,"
	    "\"max_tokens\":8,\"logprobs\":2,\"prompt\":\"Once upon a\"}");
	json_t *v, *list = api_at(made, "choices.0.logprobs.token_logprobs"), *lp;
	char body[512], *text = json_dumps(api_at(made, "choices.0.text"),
	    JSON_ENCODE_ANY);
	size_t n, i;

	snprintf(body, sizeof(body), "{" M "\"temperature\":0,\"max_tokens\":1,"
	    "\"echo\":true,\"logprobs\":2,\"prompt\":\"Once upon a%.*s}",
	    (int)strlen(text + 1), text + 1);
	v = api_ask(completions, 200, body);
	lp = api_at(v, "choices.0.logprobs.token_logprobs");
	n = json_array_size(lp) - 1 - json_array_size(list);
	ck_assert(json_is_null(json_array_get(lp, 0)));
	ck_assert_str_eq(api_text(v, "choices.0.logprobs.tokens.0"),
	    "<|begin_of_text|>");
	ck_assert_int_eq(api_int(v, "choices.0.logprobs.text_offset.1"), 0);
	for (i = 0; i < json_array_size(list); i++)
		ck_assert(json_equal(json_array_get(lp, n + i),
		    json_array_get(list, i)));
	ck_assert_uint_eq(json_array_size(lp), (size_t)api_int(v,
	    "usage.total_tokens"));
	free(text);
	json_decref(v);
	json_decref(made);
}
END_TEST

/* What is in no text takes no room in it, and a character one place however many
 * tokens it is. */
START_TEST(offsets_are_those_of_the_text)
{
	json_t *ends = api_ask(completions, 200, "{" M "\"prompt\":\"a\",\"logprobs\":0,"
	    "\"max_tokens\":3,\"ignore_eos\":true,\"logit_bias\":{\"8191\":100}}");
	json_t *smile = api_ask(completions, 200, "{" M "\"max_tokens\":1,\"echo\":true,"
	    "\"logprobs\":0,\"prompt\":\"a\xf0\x9f\x98\x80 b\"}");
	json_t *offsets = api_at(ends, "choices.0.logprobs.text_offset");
	json_t *want = json_pack("[i, i, i]", 0, 0, 0);
	size_t n;

	ck_assert_str_eq(api_text(ends, "choices.0.text"), "");
	ck_assert(json_equal(offsets, want));
	n = json_array_size(api_at(smile, "choices.0.logprobs.text_offset"));
	/* The begin token, "a", four bytes, " b", and what was made. */
	ck_assert_uint_eq(n, 8);
	ck_assert_int_eq(api_int(smile, "choices.0.logprobs.text_offset.5"), 1);
	ck_assert_int_eq(api_int(smile, "choices.0.logprobs.text_offset.6"), 2);
	ck_assert_int_eq(api_int(smile, "choices.0.logprobs.text_offset.7"), 4);
	json_decref(ends);
	json_decref(smile);
	json_decref(want);
}
END_TEST

START_TEST(text_to_tokens_and_back)
{
	json_t *v = api_ask("/v1/tokenize", 200, "{\"content\":\"H\xc3\xa9 <|eot_id|>"
	    "\",\"with_pieces\":true}");
	json_t *plain = api_ask("/tokenize", 200, "{\"content\":\"H\xc3\xa9 "
	    "<|eot_id|>\",\"parse_special\":false}");
	json_t *bos = api_ask("/tokenize", 200, "{\"content\":\"a\","
	    "\"add_special\":true}");
	size_t n = json_array_size(api_at(v, "tokens"));
	char *list = json_dumps(api_at(plain, "tokens"), JSON_COMPACT), body[512];
	json_t *back;

	ck_assert_str_eq(api_text(json_array_get(api_at(v, "tokens"), n - 1),
	    "piece"), "<|eot_id|>");
	ck_assert_uint_gt(json_array_size(api_at(plain, "tokens")), n);
	ck_assert_uint_eq(json_array_size(api_at(bos, "tokens")), 2);
	snprintf(body, sizeof(body), "{\"tokens\":%s}", list);
	back = api_ask("/v1/detokenize", 200, body);
	ck_assert_str_eq(api_text(back, "content"), "H\xc3\xa9 <|eot_id|>");
	free(list);
	json_decref(v);
	json_decref(plain);
	json_decref(bos);
	json_decref(back);
}
END_TEST

START_TEST(a_chat_is_shown_as_its_model_gets_it)
{
	json_t *v = api_ask("/apply-template", 200, "{\"messages\":[{\"role\":"
	    "\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\","
	    "\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"ho\","
	    "\"reasoning\":\"hm\"},{\"role\":\"user\",\"content\":\"?\"}]}");

	ck_assert_str_eq(api_text(v, "prompt"), "<|begin_of_text|>System: "
	    "Be brief.<|eot_id|>User: hi<|eot_id|>Assistant: ho<|eot_id|>"
	    "User: ?<|eot_id|>Assistant: ");
	json_decref(v);
}
END_TEST

START_TEST(props_and_slots_are_llama_servers)
{
	json_t *v = api_get("/props", 200), *slots = api_get("/slots", 200);

	ck_assert_int_eq(api_int(v, "default_generation_settings.n_ctx"), 1024);
	ck_assert_int_eq(api_int(v, "total_slots"), 32);
	ck_assert_str_eq(api_text(v, "model_alias"), "halo-demo");
	ck_assert_str_eq(api_text(v, "model_path"), "halo-demo.h1b");
	ck_assert_str_eq(api_text(v, "bos_token"), "<|begin_of_text|>");
	ck_assert_str_eq(api_text(v, "eos_token"), "<|eot_id|>");
	ck_assert_ptr_nonnull(strstr(api_text(v, "chat_template"), "{% for "));
	ck_assert(json_is_false(api_at(v, "modalities.vision")));
	ck_assert_uint_eq(json_array_size(slots), 32);
	ck_assert_int_eq(api_int(slots, "31.id"), 31);
	ck_assert(json_is_false(api_at(slots, "0.is_processing")));
	ck_assert_int_eq(api_int(slots, "0.next_token.0.n_decoded"), 0);
	json_decref(v);
	json_decref(slots);
	json_decref(api_get("/props?model=gpt", 404));
	json_decref(api_get("/slots?fail_on_no_slot=1", 200));
}
END_TEST

START_TEST(a_slot_at_work_says_how_far_it_is_and_no_text)
{
	struct http_client c;
	json_t *slots;
	char *text;

	http_post(&c, api_port, chat, "", "{" M "\"stream\":true,\"seed\":11,"
	    "\"max_tokens\":900,\"ignore_eos\":true,\"temperature\":0.5,"
	    "\"messages\":[{\"role\":\"user\",\"content\":\"CANARY\"}]}");
	http_until(&c, "\"content\":\" ");
	slots = api_get("/slots", 200);
	text = json_dumps(slots, 0);
	ck_assert_ptr_null(strstr(text, "CANARY"));
	free(text);
	ck_assert(json_is_true(api_at(slots, "0.is_processing")));
	ck_assert_int_gt(api_int(slots, "0.next_token.0.n_decoded"), 0);
	ck_assert_int_eq(api_int(slots, "0.params.seed"), 11);
	ck_assert(json_is_null(api_at(slots, "0.session")));
	json_decref(slots);
	http_close(&c);
}
END_TEST

static void
vector_of(json_t *v, float *out, int n)
{
	struct buf raw = { 0 };

	if (json_is_string(v)) {
		ck_assert(base64_decode(json_string_value(v),
		    json_string_length(v), &raw));
		ck_assert_uint_eq(raw.len, (size_t)n * sizeof(*out));
		memcpy(out, raw.data, raw.len);
		buf_free(&raw);
		return;
	}
	ck_assert_uint_eq(json_array_size(v), (size_t)n);
	for (int i = 0; i < n; i++)
		out[i] = (float)json_number_value(json_array_get(v, (size_t)i));
}

START_TEST(embeddings_have_length_one_and_two_forms)
{
	static float a[512], b[512];
	json_t *floats = api_ask("/v1/embeddings", 200, "{" M "\"input\":"
	    "[\"the cat sat\",\"the cat sits\"],\"dimensions\":512}");
	json_t *base64 = api_ask("/v1/embeddings", 200, "{" M "\"input\":"
	    "\"the cat sat\",\"encoding_format\":\"base64\"}");
	json_t *last = api_ask("/v1/embeddings", 200, "{" M "\"input\":"
	    "\"the cat sat\",\"pooling\":\"last\"}");
	double square = 0;

	vector_of(api_at(floats, "data.0.embedding"), a, 512);
	vector_of(api_at(base64, "data.0.embedding"), b, 512);
	ck_assert_mem_eq(a, b, sizeof(a));
	for (int i = 0; i < 512; i++)
		square += (double)a[i] * (double)a[i];
	ck_assert_double_eq_tol(square, 1, 1e-5);
	vector_of(api_at(floats, "data.1.embedding"), b, 512);
	ck_assert_mem_ne(a, b, sizeof(a));
	vector_of(api_at(last, "data.0.embedding"), b, 512);
	ck_assert_mem_ne(a, b, sizeof(a));
	ck_assert_int_eq(api_int(floats, "data.1.index"), 1);
	ck_assert_int_eq(api_int(base64, "usage.total_tokens"), 4);
	ck_assert_int_eq(api_int(floats, "usage.prompt_tokens"), 9);
	json_decref(floats);
	json_decref(base64);
	json_decref(last);
}
END_TEST

START_TEST(many_embeddings_are_those_of_each)
{
	static float one[512], many[512];
	json_t *v, *single;
	struct buf body = { 0 };

	buf_adds(&body, "{" M "\"input\":[");
	for (int i = 0; i < 50; i++)
		buf_printf(&body, "%s\"text number %d\"", i > 0 ? "," : "", i);
	buf_adds(&body, "]}");
	v = api_ask("/v1/embeddings", 200, body.data);
	single = api_ask("/v1/embeddings", 200, "{" M "\"input\":"
	    "[\"text number 37\"]}");
	vector_of(api_at(v, "data.37.embedding"), many, 512);
	vector_of(api_at(single, "data.0.embedding"), one, 512);
	ck_assert_mem_eq(one, many, sizeof(one));
	buf_free(&body);
	json_decref(v);
	json_decref(single);
}
END_TEST

/* What is refused, and with which param. */
static const struct { const char *path, *body; int status;
	const char *param; } refused[] = {
	{ "/v1/embeddings", "{" M "\"input\":\"a\",\"dimensions\":3}", 400,
	  "dimensions" },
	{ "/v1/embeddings", "{" M "\"input\":[99999]}", 400, "input" },
	{ "/v1/embeddings", "{" M "\"input\":\"\"}", 400, "input" },
	{ "/v1/embeddings", "{\"model\":\"x\",\"input\":\"a\"}", 404, "model" },
	{ "/v1/completions", "{" M "\"prompt\":[99999]}", 400, "prompt" },
	{ "/v1/completions", "{" M "\"prompt\":\"a\",\"logit_bias\":"
	  "{\"9999\":1}}", 400, "logit_bias" },
	{ "/tokenize", "{}", 400, "content" },
	{ "/tokenize", "{\"content\":1}", 400, "content" },
	{ "/tokenize", "{\"content\":\"a\",\"model\":\"x\"}", 404, "model" },
	{ "/detokenize", "{\"tokens\":[8192]}", 400, "tokens" },
	{ "/detokenize", "{\"tokens\":\"a\"}", 400, "tokens" },
	{ "/detokenize", "{\"tokens\":[\"a\"]}", 400, "tokens" },
	{ "/detokenize", "{}", 400, "tokens" },
	{ "/apply-template", "{}", 400, "messages" },
	{ "/apply-template", "{\"messages\":[],\"tools\":[{}]}", 400, "tools" },
	{ "/v1/responses", "{}", 400, NULL },
	{ "/v1/messages", "{}", 400, NULL },
	{ "/api/chat", "{}", 400, NULL },
	{ "/completion", "{}", 400, NULL },
	{ "/v1/nothing", "{}", 404, NULL },
};

START_TEST(what_is_refused_has_four_keys_and_names_the_member)
{
	json_t *v = api_ask(refused[_i].path, refused[_i].status,
	    refused[_i].body), *e = api_at(v, "error");

	ck_assert_uint_eq(json_object_size(e), 4);
	ck_assert_str_ne(api_text(e, "message"), "");
	if (refused[_i].param == NULL)
		ck_assert(json_is_null(api_at(e, "param")));
	else
		ck_assert_str_eq(api_text(e, "param"), refused[_i].param);
	ck_assert_str_eq(api_text(e, "type"), refused[_i].status == 404 ?
	    "not_found_error" : "invalid_request_error");
	json_decref(v);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway api");
	TCase *t = tcase_create("gateway api");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_unchecked_fixture(t, api_start, api_stop);
	tcase_add_test(t, the_first_of_several_answers_is_the_only_one_of_one);
	tcase_add_test(t, prompts_have_the_answers_that_each_has_alone);
	tcase_add_test(t, the_best_of_several_is_the_most_probable);
	tcase_add_test(t, an_echo_of_text_and_of_ids_is_the_prompt);
	tcase_add_test(t,
	    an_echo_has_the_logprobs_that_its_tokens_had_when_they_were_made);
	tcase_add_test(t, offsets_are_those_of_the_text);
	tcase_add_test(t, text_to_tokens_and_back);
	tcase_add_test(t, a_chat_is_shown_as_its_model_gets_it);
	tcase_add_test(t, props_and_slots_are_llama_servers);
	tcase_add_test(t, a_slot_at_work_says_how_far_it_is_and_no_text);
	tcase_add_test(t, embeddings_have_length_one_and_two_forms);
	tcase_add_test(t, many_embeddings_are_those_of_each);
	tcase_add_loop_test(t,
	    what_is_refused_has_four_keys_and_names_the_member, 0,
	    (int)(sizeof(refused) / sizeof(refused[0])));
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
