/*
 * What docs/http-api.md promises of each route, with the real worker and the
 * demo model: answers are compared with answers, not with texts.
 */
#include <check.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base64.h"
#include "http_client.h"
#include "process.h"

static const char chat[] = "/v1/chat/completions";
static const char completions[] = "/v1/completions";

#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"say hello\"}]"
#define M "\"model\":\"halo-demo\","

static struct process gateway, worker;
static char dir[64];
static int port;

static void
start(void)
{
	char bind[32], number[16], text[1024];
	const char *g[] = { BUILD "/bin/1bit-halo-server", "--bind", bind,
		"--runtime-dir", dir, NULL };
	const char *w[] = { BUILD "/bin/bitnet_decode", "--model",
		"models/halo-demo.h1b", "--port", number, "--runtime-dir", dir,
		"--threads", "1", NULL };

	process_make_dir(dir);
	port = process_free_port();
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", port);
	snprintf(number, sizeof(number), "%d", process_free_port());
	process_start(&gateway, dir, "gateway", g);
	process_ready(&gateway);
	process_start(&worker, dir, "decode", w);
	process_ready(&worker);
	for (int i = 0; i < 500 && process_get(port, "/readyz", text,
	    sizeof(text)) != 200; i++)
		usleep(20000);
	ck_assert_int_eq(process_get(port, "/readyz", text, sizeof(text)), 200);
}

static void
stop(void)
{
	ck_assert_int_eq(process_end(&gateway, SIGTERM, 20000), 0);
	ck_assert_int_eq(process_end(&worker, SIGTERM, 20000), 0);
	process_remove_dir(dir);
}

static json_t *
body_of(struct http_client *c)
{
	const char *body;
	json_t *v;

	http_rest(c);
	body = strstr(c->in.data, "\r\n\r\n");
	ck_assert_ptr_nonnull(body);
	v = json_loads(body + 4, 0, NULL);
	ck_assert_msg(v != NULL, "no JSON: %s", c->in.data);
	return v;
}

/* Ask, expecting status; the answer, to be released. */
static json_t *
ask(const char *path, int status, const char *body)
{
	struct http_client c;
	json_t *v;

	http_post(&c, port, path, "", body);
	v = body_of(&c);
	ck_assert_msg(http_status(&c) == status, "%s: %s", body, c.in.data);
	http_close(&c);
	return v;
}

static json_t *
get(const char *path, int status)
{
	struct http_client c;
	json_t *v;

	http_get(&c, port, path, "");
	v = body_of(&c);
	ck_assert_int_eq(http_status(&c), status);
	http_close(&c);
	return v;
}

/* The member that path ("choices.0.text") leads to; borrowed. */
static json_t *
at(json_t *v, const char *path)
{
	char part[64];

	while (*path != '\0') {
		size_t n = strcspn(path, ".");

		snprintf(part, sizeof(part), "%.*s", (int)n, path);
		v = json_is_array(v) ? json_array_get(v,
		    (size_t)strtoul(part, NULL, 10)) : json_object_get(v, part);
		path += n + (path[n] == '.');
	}
	return v;
}

static const char *
text_at(json_t *v, const char *path)
{
	const char *s = json_string_value(at(v, path));

	ck_assert_msg(s != NULL, "no text at %s: %s", path,
	    json_dumps(v, 0));
	return s;
}

static int64_t
int_at(json_t *v, const char *path)
{
	ck_assert_msg(json_is_integer(at(v, path)), "no number at %s", path);
	return json_integer_value(at(v, path));
}

START_TEST(the_first_of_several_answers_is_the_only_one_of_one)
{
	json_t *one = ask(chat, 200, "{" M "\"seed\":5,\"max_tokens\":20," HELLO
	    "}");
	json_t *many = ask(chat, 200, "{" M "\"seed\":5,\"max_tokens\":20,"
	    "\"n\":4," HELLO "}");
	json_t *again = ask(chat, 200, "{" M "\"seed\":5,\"max_tokens\":20,"
	    "\"n\":4," HELLO "}");

	ck_assert_uint_eq(json_array_size(at(many, "choices")), 4);
	ck_assert_str_eq(text_at(one, "choices.0.message.content"),
	    text_at(many, "choices.0.message.content"));
	ck_assert(json_equal(at(many, "choices"), at(again, "choices")));
	ck_assert_int_eq(int_at(many, "choices.3.index"), 3);
	/* Their prompt is counted once. */
	ck_assert_int_eq(int_at(many, "usage.prompt_tokens"),
	    int_at(one, "usage.prompt_tokens"));
	ck_assert_int_gt(int_at(many, "usage.completion_tokens"),
	    int_at(one, "usage.completion_tokens"));
	json_decref(one);
	json_decref(many);
	json_decref(again);
}
END_TEST

START_TEST(prompts_have_the_answers_that_each_has_alone)
{
	json_t *both = ask(completions, 200, "{" M "\"seed\":5,\"n\":2,"
	    "\"max_tokens\":12,\"prompt\":[\"Once upon\",\"The cat\"]}");
	json_t *second = ask(completions, 200, "{" M "\"seed\":5,\"n\":2,"
	    "\"max_tokens\":12,\"prompt\":\"The cat\"}");
	json_t *first = ask(completions, 200, "{" M "\"seed\":5,\"n\":2,"
	    "\"max_tokens\":12,\"prompt\":\"Once upon\"}");

	ck_assert_uint_eq(json_array_size(at(both, "choices")), 4);
	for (int k = 0; k < 2; k++) {
		char path[32], whole[32];

		snprintf(path, sizeof(path), "choices.%d.text", k);
		ck_assert_str_eq(text_at(both, path), text_at(first, path));
		snprintf(whole, sizeof(whole), "choices.%d.text", 2 + k);
		ck_assert_str_eq(text_at(both, whole), text_at(second, path));
	}
	ck_assert_int_eq(int_at(both, "usage.prompt_tokens"),
	    int_at(first, "usage.prompt_tokens") +
	    int_at(second, "usage.prompt_tokens"));
	json_decref(both);
	json_decref(second);
	json_decref(first);
}
END_TEST

static double
mean_logprob(json_t *choice)
{
	json_t *list = at(choice, "logprobs.token_logprobs"), *v;
	double sum = 0;
	size_t i;

	ck_assert_uint_gt(json_array_size(list), 0);
	json_array_foreach(list, i, v)
		sum += json_number_value(v);
	return sum / (double)i;
}

START_TEST(the_best_of_several_is_the_most_probable)
{
	json_t *all = ask(completions, 200, "{" M "\"seed\":5,\"n\":6,"
	    "\"max_tokens\":12,\"logprobs\":0,\"prompt\":\"Once upon\"}");
	json_t *best = ask(completions, 200, "{" M "\"seed\":5,\"n\":2,"
	    "\"best_of\":6,\"max_tokens\":12,\"prompt\":\"Once upon\"}");
	json_t *list = at(all, "choices"), *v, *winner = json_array_get(list, 0);
	size_t i;

	json_array_foreach(list, i, v)
		if (mean_logprob(v) > mean_logprob(winner))
			winner = v;
	ck_assert_uint_eq(json_array_size(at(best, "choices")), 2);
	ck_assert_str_eq(text_at(best, "choices.0.text"),
	    text_at(winner, "text"));
	ck_assert(json_is_null(at(best, "choices.0.logprobs")));
	ck_assert_int_eq(int_at(best, "usage.completion_tokens"),
	    int_at(all, "usage.completion_tokens"));
	json_decref(all);
	json_decref(best);
}
END_TEST

START_TEST(an_echo_of_text_and_of_ids_is_the_prompt)
{
	json_t *text = ask(completions, 200, "{" M "\"temperature\":0,"
	    "\"max_tokens\":4,\"echo\":true,\"prompt\":[\"Once upon\",\"A\"]}");
	json_t *ids = ask("/tokenize", 200, "{\"content\":\"Once upon\"}");
	char *list = json_dumps(at(ids, "tokens"), JSON_COMPACT), body[256];
	json_t *same;

	snprintf(body, sizeof(body), "{" M "\"temperature\":0,\"echo\":true,"
	    "\"max_tokens\":4,\"prompt\":%s}", list);
	same = ask(completions, 200, body);
	ck_assert_int_eq(strncmp(text_at(text, "choices.0.text"), "Once upon",
	    9), 0);
	ck_assert_int_eq(strncmp(text_at(text, "choices.1.text"), "A", 1), 0);
	ck_assert_int_eq(strncmp(text_at(same, "choices.0.text"), "Once upon",
	    9), 0);
	free(list);
	json_decref(text);
	json_decref(ids);
	json_decref(same);
}
END_TEST

START_TEST(text_to_tokens_and_back)
{
	json_t *v = ask("/v1/tokenize", 200, "{\"content\":\"H\xc3\xa9 <|eot_id|>"
	    "\",\"with_pieces\":true}");
	json_t *plain = ask("/tokenize", 200, "{\"content\":\"H\xc3\xa9 "
	    "<|eot_id|>\",\"parse_special\":false}");
	json_t *bos = ask("/tokenize", 200, "{\"content\":\"a\","
	    "\"add_special\":true}");
	size_t n = json_array_size(at(v, "tokens"));
	char *list = json_dumps(at(plain, "tokens"), JSON_COMPACT), body[512];
	json_t *back;

	ck_assert_str_eq(text_at(json_array_get(at(v, "tokens"), n - 1),
	    "piece"), "<|eot_id|>");
	ck_assert_uint_gt(json_array_size(at(plain, "tokens")), n);
	ck_assert_uint_eq(json_array_size(at(bos, "tokens")), 2);
	snprintf(body, sizeof(body), "{\"tokens\":%s}", list);
	back = ask("/v1/detokenize", 200, body);
	ck_assert_str_eq(text_at(back, "content"), "H\xc3\xa9 <|eot_id|>");
	free(list);
	json_decref(v);
	json_decref(plain);
	json_decref(bos);
	json_decref(back);
}
END_TEST

START_TEST(a_chat_is_shown_as_its_model_gets_it)
{
	json_t *v = ask("/apply-template", 200, "{\"messages\":[{\"role\":"
	    "\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\","
	    "\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"ho\","
	    "\"reasoning\":\"hm\"},{\"role\":\"user\",\"content\":\"?\"}]}");

	ck_assert_str_eq(text_at(v, "prompt"), "<|begin_of_text|>System: "
	    "Be brief.<|eot_id|>User: hi<|eot_id|>Assistant: ho<|eot_id|>"
	    "User: ?<|eot_id|>Assistant: ");
	json_decref(v);
}
END_TEST

START_TEST(props_and_slots_are_llama_servers)
{
	json_t *v = get("/props", 200), *slots = get("/slots", 200);

	ck_assert_int_eq(int_at(v, "default_generation_settings.n_ctx"), 1024);
	ck_assert_int_eq(int_at(v, "total_slots"), 32);
	ck_assert_str_eq(text_at(v, "model_alias"), "halo-demo");
	ck_assert_str_eq(text_at(v, "model_path"), "halo-demo.h1b");
	ck_assert_str_eq(text_at(v, "bos_token"), "<|begin_of_text|>");
	ck_assert_str_eq(text_at(v, "eos_token"), "<|eot_id|>");
	ck_assert_str_eq(text_at(v, "chat_template"), "bitnet");
	ck_assert(json_is_false(at(v, "modalities.vision")));
	ck_assert_uint_eq(json_array_size(slots), 32);
	ck_assert_int_eq(int_at(slots, "31.id"), 31);
	ck_assert(json_is_false(at(slots, "0.is_processing")));
	ck_assert_int_eq(int_at(slots, "0.next_token.0.n_decoded"), 0);
	json_decref(v);
	json_decref(slots);
	json_decref(get("/props?model=gpt", 404));
	json_decref(get("/slots?fail_on_no_slot=1", 200));
}
END_TEST

START_TEST(a_slot_at_work_says_how_far_it_is_and_no_text)
{
	struct http_client c;
	json_t *slots;
	char *text;

	http_post(&c, port, chat, "", "{" M "\"stream\":true,\"seed\":11,"
	    "\"max_tokens\":900,\"ignore_eos\":true,\"temperature\":0.5,"
	    "\"messages\":[{\"role\":\"user\",\"content\":\"CANARY\"}]}");
	http_until(&c, "\"content\":\" ");
	slots = get("/slots", 200);
	text = json_dumps(slots, 0);
	ck_assert_ptr_null(strstr(text, "CANARY"));
	free(text);
	ck_assert(json_is_true(at(slots, "0.is_processing")));
	ck_assert_int_gt(int_at(slots, "0.next_token.0.n_decoded"), 0);
	ck_assert_int_eq(int_at(slots, "0.params.seed"), 11);
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
	json_t *floats = ask("/v1/embeddings", 200, "{" M "\"input\":"
	    "[\"the cat sat\",\"the cat sits\"],\"dimensions\":512}");
	json_t *base64 = ask("/v1/embeddings", 200, "{" M "\"input\":"
	    "\"the cat sat\",\"encoding_format\":\"base64\"}");
	json_t *last = ask("/v1/embeddings", 200, "{" M "\"input\":"
	    "\"the cat sat\",\"pooling\":\"last\"}");
	double square = 0;

	vector_of(at(floats, "data.0.embedding"), a, 512);
	vector_of(at(base64, "data.0.embedding"), b, 512);
	ck_assert_mem_eq(a, b, sizeof(a));
	for (int i = 0; i < 512; i++)
		square += (double)a[i] * (double)a[i];
	ck_assert_double_eq_tol(square, 1, 1e-5);
	vector_of(at(floats, "data.1.embedding"), b, 512);
	ck_assert_mem_ne(a, b, sizeof(a));
	vector_of(at(last, "data.0.embedding"), b, 512);
	ck_assert_mem_ne(a, b, sizeof(a));
	ck_assert_int_eq(int_at(floats, "data.1.index"), 1);
	ck_assert_int_eq(int_at(base64, "usage.total_tokens"), 4);
	ck_assert_int_eq(int_at(floats, "usage.prompt_tokens"), 9);
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
	v = ask("/v1/embeddings", 200, body.data);
	single = ask("/v1/embeddings", 200, "{" M "\"input\":"
	    "[\"text number 37\"]}");
	vector_of(at(v, "data.37.embedding"), many, 512);
	vector_of(at(single, "data.0.embedding"), one, 512);
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
	json_t *v = ask(refused[_i].path, refused[_i].status,
	    refused[_i].body), *e = at(v, "error");

	ck_assert_uint_eq(json_object_size(e), 4);
	ck_assert_str_ne(text_at(e, "message"), "");
	if (refused[_i].param == NULL)
		ck_assert(json_is_null(at(e, "param")));
	else
		ck_assert_str_eq(text_at(e, "param"), refused[_i].param);
	ck_assert_str_eq(text_at(e, "type"), refused[_i].status == 404 ?
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
	tcase_add_unchecked_fixture(t, start, stop);
	tcase_add_test(t, the_first_of_several_answers_is_the_only_one_of_one);
	tcase_add_test(t, prompts_have_the_answers_that_each_has_alone);
	tcase_add_test(t, the_best_of_several_is_the_most_probable);
	tcase_add_test(t, an_echo_of_text_and_of_ids_is_the_prompt);
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
