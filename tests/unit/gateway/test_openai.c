/*
 * The objects and events that clients parse, byte by byte where it matters.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "openai.h"

static struct openai_answer a;
static struct openai_choice choice;
static const struct openai_usage usage = {
	.n_prompt = 11, .n_cached = 1, .n_generated = 4,
	.prefill_ms = 20, .decode_ms = 8,
};

static void
begin(bool chat)
{
	openai_answer_init(&a, chat, "m", "0123456789abcdef0123");
	a.created = 1;
	strcpy(a.id, "x");
	choice = (struct openai_choice){ 0 };
}

static struct openai_part
part_of(const char *said, const char *thought)
{
	return (struct openai_part){ .said = said, .n_said = strlen(said),
		.thought = thought, .n_thought = strlen(thought) };
}

static json_t *
text_chunk(const char *said, const json_t *logprobs)
{
	struct openai_part text = part_of(said, "");

	return openai_chunk_text(&a, &choice, &text, logprobs);
}

static json_t *
whole(const char *said, const char *finish)
{
	struct openai_part text = part_of(said, "");

	return openai_whole(&a, json_pack("[o]", openai_whole_choice(&a,
	    &choice, &text, NULL, finish)), &usage);
}

/* v as one event, compared with what is wanted after the shared members. */
static void
check_event(json_t *v, const char *object, const char *rest)
{
	struct buf out = { 0 }, want = { 0 };

	openai_event(&out, v);
	buf_printf(&want, "data: {\"id\":\"x\",\"object\":\"%s\",\"created\":1,"
	    "\"model\":\"m\",\"system_fingerprint\":\"fp_0123456789ab\","
	    "\"choices\":%s}\n\n", object, rest);
	ck_assert(!out.failed);
	ck_assert_str_eq(out.data, want.data);
	buf_free(&out);
	buf_free(&want);
}

#define TIMINGS "\"timings\":{\"cache_n\":1,\"prompt_n\":10,\"prompt_ms\":20.0," \
	"\"prompt_per_token_ms\":2.0,\"prompt_per_second\":500.0," \
	"\"predicted_n\":4,\"predicted_ms\":8.0,\"predicted_per_token_ms\":2.0," \
	"\"predicted_per_second\":500.0}"
#define USAGE "\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":4," \
	"\"total_tokens\":15,\"prompt_tokens_details\":{\"cached_tokens\":1}," \
	"\"completion_tokens_details\":{\"reasoning_tokens\":0}}"

START_TEST(a_chat_stream_has_the_chunks_of_openai)
{
	const char *o = "chat.completion.chunk";

	begin(true);
	check_event(openai_chunk_first(&a, 0), o, "[{\"index\":0,\"delta\":{"
	    "\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
	    "\"finish_reason\":null}]");
	check_event(text_chunk("\xc3\xa9\"\n", NULL), o,
	    "[{\"index\":0,\"delta\":{\"content\":\"\xc3\xa9\\\"\\n\"},"
	    "\"logprobs\":null,\"finish_reason\":null}]");
	check_event(openai_chunk_last(&a, 0, "stop", &usage), o, "[{\"index\":0,"
	    "\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
	    TIMINGS);
}
END_TEST

START_TEST(usage_comes_last_and_is_null_before)
{
	const char *o = "chat.completion.chunk";

	begin(true);
	a.include_usage = true;
	check_event(text_chunk("a", NULL), o,
	    "[{\"index\":0,\"delta\":{\"content\":\"a\"},\"logprobs\":null,"
	    "\"finish_reason\":null}],\"usage\":null");
	check_event(openai_chunk_last(&a, 0, "length", &usage), o,
	    "[{\"index\":0,\"delta\":{},\"logprobs\":null,"
	    "\"finish_reason\":\"length\"}],\"usage\":null");
	check_event(openai_chunk_usage(&a, &usage), o,
	    "[]," USAGE "," TIMINGS);
}
END_TEST

START_TEST(a_completion_stream_has_text)
{
	const char *o = "text_completion";

	begin(false);
	check_event(text_chunk("a", NULL), o, "[{\"index\":0,"
	    "\"text\":\"a\",\"logprobs\":null,\"finish_reason\":null}]");
	check_event(openai_chunk_last(&a, 0, "stop", &usage), o, "[{\"index\":0,"
	    "\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"stop\"}],"
	    TIMINGS);
}
END_TEST

START_TEST(a_whole_answer_has_a_message_or_a_text)
{
	begin(true);
	check_event(whole("hi", "stop"),
	    "chat.completion", "[{\"index\":0,\"message\":{\"role\":"
	    "\"assistant\",\"content\":\"hi\",\"refusal\":null},"
	    "\"logprobs\":null,\"finish_reason\":\"stop\"}]," USAGE ","
	    TIMINGS);
	begin(false);
	check_event(whole("hi", "length"),
	    "text_completion", "[{\"text\":\"hi\",\"index\":0,"
	    "\"logprobs\":null,\"finish_reason\":\"length\"}]," USAGE ","
	    TIMINGS);
}
END_TEST

/* "é" whole, its first byte alone, NUL, and nothing. */
static json_t *
some_logprobs(void)
{
	return json_pack("[{s:i, s:f, s:s, s:[{s:i, s:f, s:s}]},"
	    "{s:i, s:f, s:s, s:[]}, {s:i, s:f, s:s, s:[]}]",
	    "id", 1, "logprob", -0.5, "text_b64", "w6k=", "top",
	    "id", 2, "logprob", -1.5, "text_b64", "IGE=",
	    "id", 3, "logprob", -2.5, "text_b64", "ww==", "top",
	    "id", 4, "logprob", 0.0, "text_b64", "", "top");
}

START_TEST(tokens_that_are_no_text_are_shown_by_their_bytes)
{
	json_t *l = some_logprobs();

	begin(true);
	a.logprobs = true;
	check_event(text_chunk("\xc3\xa9", l),
	    "chat.completion.chunk",
	    "[{\"index\":0,\"delta\":{\"content\":\"\xc3\xa9\"},"
	    "\"logprobs\":{\"content\":["
	    "{\"token\":\"\xc3\xa9\",\"logprob\":-0.5,\"bytes\":[195,169],"
	    "\"top_logprobs\":[{\"token\":\" a\",\"logprob\":-1.5,"
	    "\"bytes\":[32,97]}]},"
	    "{\"token\":\"\xef\xbf\xbd\",\"logprob\":-2.5,\"bytes\":[195],"
	    "\"top_logprobs\":[]},"
	    "{\"token\":\"\",\"logprob\":0.0,\"bytes\":[],"
	    "\"top_logprobs\":[]}],\"refusal\":null},"
	    "\"finish_reason\":null}]");
	json_decref(l);
}
END_TEST

START_TEST(offsets_of_a_completion_go_on_from_chunk_to_chunk)
{
	json_t *l = some_logprobs(), *v, *offsets;

	begin(false);
	a.logprobs = true;
	json_decref(text_chunk("", l));
	v = text_chunk("", l);
	offsets = json_object_get(json_object_get(json_array_get(
	    json_object_get(v, "choices"), 0), "logprobs"), "text_offset");
	ck_assert_int_eq(json_integer_value(json_array_get(offsets, 0)), 2);
	ck_assert_int_eq(json_integer_value(json_array_get(offsets, 1)), 3);
	json_decref(v);
	json_decref(l);
}
END_TEST

/* Tokens of these bytes, and where each begins; "-": one that is in no text. */
static const struct { const char *bytes[6]; int64_t offsets[6]; } counted[] = {
	{ { "a", "\xc3\xa9", "bc", "d" }, { 0, 1, 2, 4 } },
	{ { "a", "\xf0", "\x9f", "\x98", "\x80", "b" }, { 0, 1, 1, 1, 1, 2 } },
	{ { "\xf0\x9f", "\x98\x80\xc3", "\xa9" "b", "c" }, { 0, 0, 1, 3 } },
	/* Broken off: each such beginning is one U+FFFD. */
	{ { "\xf0\x9f", "a", "\x80", "\xe0", "\x80", "b" }, { 0, 1, 2, 3, 4, 5 } },
	{ { "\xed", "\xa0", "\xf4\x90", "\xff", "b" }, { 0, 1, 2, 4, 5 } },
	{ { "a", "-", "-", "b" }, { 0, 1, 1, 1 } },
	{ { "\xc3", "", "\xa9", "-" }, { 0, 0, 0, 1 } },
};

static json_t *
token_of(const char *bytes)
{
	struct buf b = { 0 };
	json_t *v;

	base64_encode(bytes, strlen(bytes), &b);
	v = json_pack("{s:i, s:f, s:s, s:[]}", "id", 1, "logprob", -1.0,
	    "text_b64", b.len > 0 ? b.data : "", "top");
	if (strcmp(bytes, "-") == 0)
		json_object_set_new(v, "special", json_true());
	buf_free(&b);
	return v;
}

START_TEST(an_offset_is_that_of_the_character_a_token_begins_in)
{
	for (size_t i = 0; i < 6 && counted[_i].bytes[i] != NULL; i++) {
		json_t *l = json_pack("[o]", token_of(counted[_i].bytes[i])), *v;

		if (i == 0) {
			begin(false);
			a.logprobs = true;
		}
		v = openai_logprobs_completion(l, &choice);
		ck_assert_int_eq(json_integer_value(json_array_get(
		    json_object_get(v, "text_offset"), 0)),
		    counted[_i].offsets[i]);
		json_decref(v);
		json_decref(l);
	}
}
END_TEST

START_TEST(of_tokens_that_look_alike_the_most_probable_is_shown)
{
	json_t *l = json_pack("[{s:i, s:f, s:s, s:[{s:i, s:f, s:s}, "
	    "{s:i, s:f, s:s}]}]", "id", 1, "logprob", -9.0, "text_b64", "YQ==",
	    "top", "id", 2, "logprob", -0.5, "text_b64", "ww==",
	    "id", 3, "logprob", -4.0, "text_b64", "8A==");
	json_t *v, *tops;

	begin(false);
	v = openai_logprobs_completion(l, &choice);
	tops = json_array_get(json_object_get(v, "top_logprobs"), 0);
	ck_assert_uint_eq(json_object_size(tops), 1);
	ck_assert_double_eq_tol(json_real_value(json_object_get(tops,
	    "\xef\xbf\xbd")), -0.5, 1e-9);
	json_decref(v);
	json_decref(l);
}
END_TEST

START_TEST(thoughts_have_both_names)
{
	struct openai_part both = part_of("b", "a"), one = part_of("", "a");

	begin(true);
	choice.index = 2;
	check_event(openai_chunk_text(&a, &choice, &one, NULL),
	    "chat.completion.chunk", "[{\"index\":2,\"delta\":{"
	    "\"reasoning\":\"a\",\"reasoning_content\":\"a\"},"
	    "\"logprobs\":null,\"finish_reason\":null}]");
	check_event(openai_whole(&a, json_pack("[o]", openai_whole_choice(&a,
	    &choice, &both, NULL, "stop")), &usage), "chat.completion",
	    "[{\"index\":2,\"message\":{\"role\":\"assistant\","
	    "\"content\":\"b\",\"refusal\":null,\"reasoning\":\"a\","
	    "\"reasoning_content\":\"a\"},\"logprobs\":null,"
	    "\"finish_reason\":\"stop\"}]," USAGE "," TIMINGS);
}
END_TEST

START_TEST(progress_is_a_chunk_without_text)
{
	const struct openai_progress p = { .n_prompt = 9, .n_cached = 2,
		.n_done = 5, .ms = 1.5 };

	begin(true);
	check_event(openai_chunk_progress(&a, 0, &p), "chat.completion.chunk",
	    "[{\"index\":0,\"delta\":{},\"logprobs\":null,"
	    "\"finish_reason\":null}],\"prompt_progress\":{\"total\":9,"
	    "\"cache\":2,\"processed\":5,\"time_ms\":1.5}");
}
END_TEST

START_TEST(usage_of_several_answers_counts_a_prompt_once)
{
	struct openai_usage all = { 0 };
	const struct openai_usage slow = { .n_prompt = 11, .n_cached = 8,
		.n_generated = 2, .n_reasoning = 1, .n_drafted = 3,
		.n_accepted = 2, .prefill_ms = 5, .decode_ms = 80 };
	json_t *v;

	openai_usage_add(&all, &usage, true);
	openai_usage_add(&all, &slow, false);
	ck_assert_int_eq(all.n_prompt, 11);
	ck_assert_int_eq(all.n_cached, 1);
	ck_assert_int_eq(all.n_generated, 6);
	ck_assert_int_eq(all.n_reasoning, 1);
	ck_assert(all.prefill_ms > 19 && all.decode_ms > 79);
	v = json_object();
	openai_add_timings(v, &all);
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(v,
	    "timings"), "draft_n_accepted")), 2);
	json_decref(v);
}
END_TEST

START_TEST(the_logprobs_of_a_prompt_begin_with_none)
{
	json_t *l = json_pack("[{s:i, s:s, s:[], s:b}, {s:i, s:f, s:s, s:[{s:i, "
	    "s:f, s:s}]}]", "id", 1, "text_b64", "PHM+", "top", "special", 1,
	    "id", 2, "logprob", -0.5, "text_b64", "YQ==", "top",
	    "id", 3, "logprob", -1.0, "text_b64", "Yg==");
	struct openai_part part = part_of("a", "");

	begin(false);
	a.logprobs = true;
	check_event(openai_chunk_text(&a, &choice, &part, l),
	    "text_completion", "[{\"index\":0,\"text\":\"a\",\"logprobs\":{"
	    "\"tokens\":[\"<s>\",\"a\"],\"token_logprobs\":[null,-0.5],"
	    "\"top_logprobs\":[null,{\"b\":-1.0}],\"text_offset\":[0,0]},"
	    "\"finish_reason\":null}]");
	ck_assert_int_eq(choice.text_offset, 1);
	json_decref(l);
}
END_TEST

START_TEST(stats_without_numbers_are_zeros)
{
	struct openai_usage u;
	json_t *stats = json_pack("{s:i, s:s}", "n_prompt", 3, "n_cached", "x");

	openai_usage_read(stats, &u);
	ck_assert_int_eq(u.n_prompt, 3);
	ck_assert_int_eq(u.n_cached, 0);
	ck_assert_int_eq(u.n_generated, 0);
	begin(true);
	json_decref(stats);
	stats = openai_chunk_usage(&a, &u);	/* no division by zero */
	ck_assert_ptr_nonnull(stats);
	json_decref(stats);
}
END_TEST

START_TEST(only_an_end_of_text_is_a_finish_reason)
{
	ck_assert_str_eq(openai_finish("stop"), "stop");
	ck_assert_str_eq(openai_finish("length"), "length");
	ck_assert_ptr_null(openai_finish("cancel"));
	ck_assert_ptr_null(openai_finish("deadline"));
	ck_assert_ptr_null(openai_finish("error"));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("openai");
	TCase *t = tcase_create("openai");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, a_chat_stream_has_the_chunks_of_openai);
	tcase_add_test(t, usage_comes_last_and_is_null_before);
	tcase_add_test(t, a_completion_stream_has_text);
	tcase_add_test(t, a_whole_answer_has_a_message_or_a_text);
	tcase_add_test(t, tokens_that_are_no_text_are_shown_by_their_bytes);
	tcase_add_test(t, offsets_of_a_completion_go_on_from_chunk_to_chunk);
	tcase_add_loop_test(t,
	    an_offset_is_that_of_the_character_a_token_begins_in, 0,
	    (int)(sizeof(counted) / sizeof(counted[0])));
	tcase_add_test(t,
	    of_tokens_that_look_alike_the_most_probable_is_shown);
	tcase_add_test(t, thoughts_have_both_names);
	tcase_add_test(t, progress_is_a_chunk_without_text);
	tcase_add_test(t, usage_of_several_answers_counts_a_prompt_once);
	tcase_add_test(t, the_logprobs_of_a_prompt_begin_with_none);
	tcase_add_test(t, stats_without_numbers_are_zeros);
	tcase_add_test(t, only_an_end_of_text_is_a_finish_reason);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
