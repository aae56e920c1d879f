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
#include "openai_world.h"


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
	{ "\"repeat_last_n\":9", "repeat_last_n", "9" },
	{ "\"repeat_last_n\":-1", "repeat_last_n", "0" },
	{ "\"repeat_last_n\":0,\"repeat_penalty\":2", "repeat_penalty",
	  "1.0" },
	{ "\"repeat_last_n\":0,\"presence_penalty\":2", "presence_penalty",
	  "0.0" },
	{ "\"repeat_last_n\":0,\"frequency_penalty\":2", "frequency_penalty",
	  "0.0" },
	{ "\"top_k\":40", "top_k", "40" },
	{ "\"top_k\":-1", "top_k", "0" },
	{ "\"seed\":7", "seed", "7" },
	{ "\"seed\":-2", "seed", "9007199254740990" },
	{ "\"stop\":\"x\"", "stop", "[\"x\"]" },
	{ "\"stop\":[\"a\",\"b\",\"c\",\"d\"]", "stop",
	  "[\"a\",\"b\",\"c\",\"d\"]" },
	{ "\"stop\":[]", "stop", "[]" },
	{ "\"logit_bias\":{\"5\":-100}", "logit_bias", "{\"5\":-100}" },
	{ "\"logit_bias\":{\"5\":1.5}", "logit_bias", "{\"5\":1.5}" },
	{ "\"logit_bias\":[[5,2],[6,false]]", "logit_bias",
	  "{\"5\":2,\"6\":-100.0}" },
	{ "\"logit_bias\":{\"1\":false}", "logit_bias", "{\"1\":-100.0}" },
	{ "\"min_keep\":3", "min_keep", "3" },
	{ "\"cache_prompt\":false", "cache_prompt", "false" },
	{ "\"cache_prompt\":true", "cache_prompt", NULL },
	{ "\"n_predict\":7", "max_tokens", "7" },
	{ "\"n_predict\":-1", "max_tokens", "0" },
	{ "\"n_predict\":7,\"max_tokens\":9", "max_tokens", "9" },
	{ "\"n_probs\":3", "logprobs", "3" },
	{ "\"n_probs\":0", "logprobs", NULL },
	/* as if they were not there */
	{ "\"mirostat\":0,\"typical_p\":1.0,\"dynatemp_range\":0.0,"
	  "\"dry_multiplier\":0,\"xtc_probability\":0,\"top_n_sigma\":-1,"
	  "\"samplers\":[],\"lora\":[],\"grammar\":\"\",\"min_tokens\":0,"
	  "\"stop_token_ids\":[],\"use_beam_search\":false,"
	  "\"skip_special_tokens\":true,\"id_slot\":3,\"priority\":1,"
	  "\"t_max_predict_ms\":-1", "grammar", NULL },
	{ "\"max_tokens\":9", "max_tokens", "9" },
	{ "\"max_completion_tokens\":5,\"max_tokens\":9", "max_tokens", "5" },
	{ "\"max_completion_tokens\":null,\"max_tokens\":9", "max_tokens", "9" },
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
	json_t *g;
	char *got;

	ck_assert_msg(parse_members(chat, honoured[_i / 2].members, &q,
	    &e) == 0, "%s: %s", honoured[_i / 2].members, e.text);
	g = generate(&q, 0, 0);
	got = json_dumps(json_object_get(g, honoured[_i / 2].name),
	    JSON_COMPACT | JSON_ENCODE_ANY);
	json_decref(g);
	if (want == NULL)
		ck_assert_ptr_null(got);
	else
		ck_assert_str_eq(got, want);
	free(got);
	openai_request_free(&q);
}
END_TEST

static const struct { const char *members, *name, *value; } chat_only[] = {
	{ "", "max_tokens", "0" },
	{ "\"logprobs\":true", "logprobs", "0" },
	{ "\"logprobs\":true,\"top_logprobs\":20", "logprobs", "20" },
	{ "\"logprobs\":false", "logprobs", NULL },
	{ "\"logprobs\":true,\"top_logprobs\":2,\"n_probs\":5", "logprobs",
	  "5" },
	{ "\"reasoning_effort\":\"none\"", "think", "false" },
	{ "\"reasoning_effort\":\"xhigh\"", "think", NULL },
	{ "\"chat_template_kwargs\":{\"enable_thinking\":false}", "think",
	  "false" },
	{ "\"reasoning_effort\":\"none\",\"chat_template_kwargs\":"
	  "{\"enable_thinking\":true}", "think", NULL },
	{ "\"chat_template_kwargs\":{\"x\":1}", "think", NULL },
	/* without effect */
	{ "\"n\":1,\"user\":\"u\",\"store\":true,\"metadata\":{\"a\":\"b\"},"
	  "\"service_tier\":\"auto\",\"reasoning_effort\":\"low\","
	  "\"verbosity\":\"low\",\"prediction\":{\"type\":\"content\"},"
	  "\"add_generation_prompt\":true,\"functions\":[],"
	  "\"function_call\":\"auto\","
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
	json_t *g;
	char *got;

	ck_assert_msg(parse_members(true, chat_only[_i].members, &q, &e) == 0,
	    "%s", e.text);
	g = generate(&q, 0, 0);
	got = json_dumps(json_object_get(g, chat_only[_i].name),
	    JSON_ENCODE_ANY);
	json_decref(g);
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
	{ "\"repeat_last_n\":-2", ERR_RANGE, "repeat_last_n" },
	{ "\"return_tokens_as_token_ids\":true", ERR_UNSUPPORTED,
	  "return_tokens_as_token_ids" },
	{ "\"top_k\":-2", ERR_RANGE, "top_k" },
	{ "\"top_k\":1.5", ERR_RANGE, "top_k" },
	{ "\"n\":9", ERR_RANGE, "n" },
	{ "\"n\":128", ERR_RANGE, "n" },
	{ "\"n\":0", ERR_RANGE, "n" },
	{ "\"n\":-1", ERR_RANGE, "n" },
	{ "\"n\":1.0", ERR_RANGE, "n" },
	{ "\"n\":\"1\"", ERR_RANGE, "n" },
	{ "\"min_keep\":-1", ERR_RANGE, "min_keep" },
	{ "\"n_predict\":0", ERR_RANGE, "n_predict" },
	{ "\"n_predict\":-2", ERR_RANGE, "n_predict" },
	{ "\"n_probs\":21", ERR_RANGE, "n_probs" },
	{ "\"n_probs\":true", ERR_RANGE, "n_probs" },
	{ "\"cache_prompt\":0", ERR_RANGE, "cache_prompt" },
	{ "\"timings_per_token\":1", ERR_RANGE, "timings_per_token" },
	{ "\"return_progress\":\"yes\"", ERR_RANGE, "return_progress" },
	{ "\"grammar\":\"root ::= [a]\"", ERR_UNSUPPORTED, "grammar" },
	{ "\"json_schema\":{}", ERR_UNSUPPORTED, "json_schema" },
	{ "\"guided_json\":{}", ERR_UNSUPPORTED, "guided_json" },
	{ "\"guided_json_object\":true", ERR_UNSUPPORTED,
	  "guided_json_object" },
	{ "\"regex\":\"[a-z]+\"", ERR_UNSUPPORTED, "regex" },
	{ "\"ebnf\":\"root ::= [a]\"", ERR_UNSUPPORTED, "ebnf" },
	{ "\"structured_outputs\":{}", ERR_UNSUPPORTED,
	  "structured_outputs" },
	{ "\"response_format\":{\"type\":\"json_schema\"}",
	  ERR_UNSUPPORTED, "response_format" },
	{ "\"mirostat\":2", ERR_UNSUPPORTED, "mirostat" },
	{ "\"typical_p\":0.9", ERR_UNSUPPORTED, "typical_p" },
	{ "\"dry_multiplier\":0.8", ERR_UNSUPPORTED, "dry_multiplier" },
	{ "\"xtc_probability\":0.1", ERR_UNSUPPORTED, "xtc_probability" },
	{ "\"top_n_sigma\":1", ERR_UNSUPPORTED, "top_n_sigma" },
	{ "\"dynatemp_range\":0.5", ERR_UNSUPPORTED, "dynatemp_range" },
	{ "\"samplers\":[\"top_k\"]", ERR_UNSUPPORTED, "samplers" },
	{ "\"lora\":[{\"id\":0}]", ERR_UNSUPPORTED, "lora" },
	{ "\"min_tokens\":4", ERR_UNSUPPORTED, "min_tokens" },
	{ "\"stop_token_ids\":[2]", ERR_UNSUPPORTED, "stop_token_ids" },
	{ "\"bad_words\":[\"a\"]", ERR_UNSUPPORTED, "bad_words" },
	{ "\"prompt_logprobs\":1", ERR_UNSUPPORTED, "prompt_logprobs" },
	{ "\"prompt_logprobs\":-1", ERR_UNSUPPORTED, "prompt_logprobs" },
	{ "\"use_beam_search\":true", ERR_UNSUPPORTED, "use_beam_search" },
	{ "\"skip_special_tokens\":false", ERR_UNSUPPORTED,
	  "skip_special_tokens" },
	{ "\"include_stop_str_in_output\":true", ERR_UNSUPPORTED,
	  "include_stop_str_in_output" },
	{ "\"t_max_predict_ms\":50", ERR_UNSUPPORTED, "t_max_predict_ms" },
	{ "\"seed\":1.5", ERR_RANGE, "seed" },
	{ "\"seed\":\"x\"", ERR_RANGE, "seed" },
	{ "\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]", ERR_RANGE, "stop" },
	{ "\"stop\":\"\"", ERR_RANGE, "stop" },
	{ "\"stop\":[1]", ERR_RANGE, "stop" },
	{ "\"stop\":{}", ERR_RANGE, "stop" },
	{ "\"logit_bias\":1", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":[5]", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":[[5]]", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":[[-5,1]]", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":[[\"a\",1]]", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":[[5,true]]", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":{\"x\":1}", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":{\"-1\":1}", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":{\"99999999\":1}", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":{\"1\":101}", ERR_RANGE, "logit_bias" },
	{ "\"logit_bias\":{\"1\":true}", ERR_RANGE, "logit_bias" },
	{ "\"max_tokens\":0", ERR_RANGE, "max_tokens" },
	{ "\"max_tokens\":-1", ERR_RANGE, "max_tokens" },
	{ "\"max_completion_tokens\":5,\"max_tokens\":\"9\"", ERR_RANGE,
	  "max_tokens" },
	{ "\"max_tokens\":5,\"n_predict\":-2", ERR_RANGE, "n_predict" },
	{ "\"max_tokens\":1.0", ERR_RANGE, "max_tokens" },
	{ "\"stream\":1", ERR_RANGE, "stream" },
	{ "\"stream_options\":{}", ERR_RANGE, "stream_options" },
	{ "\"stream\":false,\"stream_options\":{}", ERR_RANGE,
	  "stream_options" },
	{ "\"stream\":true,\"stream_options\":{\"include_obfuscation\":1}",
	  ERR_RANGE, "include_obfuscation" },
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

static void
tear_down(void)
{
	json_decref(body);
	body = NULL;
}

int
main(void)
{
	Suite *s = suite_create("openai_params");
	TCase *t = tcase_create("openai_params");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, NULL, tear_down);
	tcase_add_loop_test(t, a_member_reaches_the_worker, 0,
	    2 * N_ROWS(honoured));
	tcase_add_loop_test(t, a_member_of_a_chat_reaches_the_worker, 0,
	    N_ROWS(chat_only));
	tcase_add_loop_test(t, refuses_a_member_and_names_it, 0,
	    2 * N_ROWS(refused));
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
