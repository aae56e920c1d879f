/* Steps read from their text: what is plain is understood as the objects would be,
 * what is not is left alone. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "step_text.h"

#define ID_A "0123456789abcdef0123456789abcdef"
#define ID_B "ffffffffffffffffffffffffffffffff"
#define HEAD "{\"boot\":\"00000000000000aa\",\"step\":7,\"time_us\":1234,\"events\":["
#define PIECE(members) "{\"id\":\"" ID_A "\"," members "}"

static struct step_text t;

static void
tear_down(void)
{
	step_text_finish(&t);
}

static bool
begin(const char *json)
{
	return step_text_begin(&t, json, strlen(json));
}

START_TEST(a_step_is_read_piece_by_piece)
{
	struct step_piece p;

	ck_assert(begin(HEAD "{\"id\":\"" ID_A "\",\"seq\":0,\"tokens\":[5],\"text\":\"a\"},"
	    "{\"id\":\"" ID_B "\",\"seq\":12,\"tokens\":[0,2147483647],\"text\":\"\","
	    "\"logprobs\":[],\"finish\":\"\",\"stats\":{}}]}"));
	ck_assert_str_eq(t.boot, "00000000000000aa");
	ck_assert_int_eq(t.step, 7);
	ck_assert_int_eq(t.time_us, 1234);
	ck_assert_int_eq(step_text_next(&t, &p), STEP_TEXT_PIECE);
	ck_assert(p.plain);
	ck_assert_str_eq(p.id, ID_A);
	ck_assert_int_eq(p.seq, 0);
	ck_assert_int_eq(p.n_tokens, 1);
	ck_assert_int_eq(p.tokens[0], 5);
	ck_assert_uint_eq(p.n_text, 1);
	ck_assert_int_eq(p.text[0], 'a');
	ck_assert_int_eq(step_text_next(&t, &p), STEP_TEXT_PIECE);
	ck_assert(p.plain);
	ck_assert_str_eq(p.id, ID_B);
	ck_assert_int_eq(p.seq, 12);
	ck_assert_int_eq(p.n_tokens, 2);
	ck_assert_int_eq(p.tokens[1], INT32_MAX);
	ck_assert_uint_eq(p.n_text, 0);
	ck_assert_int_eq(step_text_next(&t, &p), STEP_TEXT_END);
}
END_TEST

/* Texts as they stand in JSON, and as they are meant. */
static const struct {
	const char *json, *text;
} texts[] = {
	{ "", "" }, { " hello", " hello" }, { "}],{[", "}],{[" },
	{ "\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t" }, { "a\\\\", "a\\" },
	{ "\x7f", "\x7f" }, { "\xc3\xa4\xe2\x82\xac", "\xc3\xa4\xe2\x82\xac" },
	{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
};

START_TEST(a_text_is_what_it_says)
{
	char json[512];
	struct step_piece p;

	snprintf(json, sizeof(json), HEAD PIECE("\"seq\":1,\"tokens\":[1],\"text\":\"%s\"") "]}",
	    texts[_i].json);
	ck_assert(begin(json));
	ck_assert_int_eq(step_text_next(&t, &p), STEP_TEXT_PIECE);
	ck_assert(p.plain);
	ck_assert_uint_eq(p.n_text, strlen(texts[_i].text));
	ck_assert_mem_eq(p.text, texts[_i].text, p.n_text);
	ck_assert_int_eq(step_text_next(&t, &p), STEP_TEXT_END);
}
END_TEST

/* Each between two plain pieces, which are read all the same. */
static const char *const not_plain[] = {
	PIECE("\"seq\":1,\"tokens\":[1],\"text\":\"\",\"finish\":\"stop\",\"stats\":{}"),
	PIECE("\"seq\":1,\"tokens\":[1],\"text\":\"\",\"stats\":{\"n_prompt\":5}"),
	PIECE("\"seq\":1,\"tokens\":[1],\"text\":\"\",\"logprobs\":[{\"text\":\"]}\\\"\"}]"),
	PIECE("\"seq\":1,\"tokens\":[],\"text\":\"\",\"finish\":\"cancel\""),
	PIECE("\"seq\":1,\"tokens\":[1],\"text\":\"\",\"vector\":\"AAAA\""),
	PIECE("\"seq\":1,\"tokens\":[1],\"text\":\"\\u0001\""),
	PIECE("\"seq\":1,\"tokens\":[1],\"text\":\"\\u0000\""),
	PIECE("\"seq\":1,\"tokens\":[1],\"text\":\"\xc3\""),
	PIECE("\"seq\":1,\"tokens\":[1],\"text\":\"\n\""),
	PIECE("\"seq\":1,\"tokens\":[1],\"text\":null"),
	PIECE("\"seq\":1,\"tokens\":[1]"),
	PIECE("\"seq\":-1,\"tokens\":[1],\"text\":\"\""),
	PIECE("\"seq\":01,\"tokens\":[1],\"text\":\"\""),
	PIECE("\"seq\":1.0,\"tokens\":[1],\"text\":\"\""),
	PIECE("\"seq\":1048577,\"tokens\":[1],\"text\":\"\""),
	PIECE("\"seq\":99999999999999999999,\"tokens\":[1],\"text\":\"\""),
	PIECE("\"seq\":1,\"tokens\":[2147483648],\"text\":\"\""),
	PIECE("\"seq\":1,\"tokens\":[1,],\"text\":\"\""),
	PIECE("\"seq\":1,\"tokens\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17],\"text\":\"\""),
	PIECE("\"tokens\":[1],\"seq\":1,\"text\":\"\""),
	PIECE("\"seq\":1, \"tokens\":[1],\"text\":\"\""),
	"{\"id\":\"0123\",\"seq\":1,\"tokens\":[1],\"text\":\"\"}",
	"{}",
};

START_TEST(what_is_not_plain_is_passed_by)
{
	static const char plain[] = PIECE("\"seq\":0,\"tokens\":[1],\"text\":\"x\"");
	char json[2048];
	struct step_piece p;

	snprintf(json, sizeof(json), HEAD "%s,%s,%s]}", plain, not_plain[_i], plain);
	ck_assert(begin(json));
	ck_assert_int_eq(step_text_next(&t, &p), STEP_TEXT_PIECE);
	ck_assert(p.plain);
	ck_assert_int_eq(step_text_next(&t, &p), STEP_TEXT_PIECE);
	ck_assert(!p.plain);
	ck_assert_uint_eq(p.n_json, strlen(not_plain[_i]));
	ck_assert_mem_eq(p.json, not_plain[_i], p.n_json);
	ck_assert_int_eq(step_text_next(&t, &p), STEP_TEXT_PIECE);
	ck_assert(p.plain);
	ck_assert_uint_eq(p.n_text, 1);
	ck_assert_int_eq(step_text_next(&t, &p), STEP_TEXT_END);
}
END_TEST

static const char *const no_heads[] = {
	"", "{}", "[]", "{\"boot\":\"00000000000000aa\"}",
	"{\"boot\":\"00000000000000a\",\"step\":7,\"time_us\":1234,\"events\":[",
	"{\"boot\":\"0000000000000\\\"aa\",\"step\":7,\"time_us\":1234,\"events\":[",
	"{\"boot\":\"00000000000000aa\",\"step\":0,\"time_us\":1234,\"events\":[",
	"{\"boot\":\"00000000000000aa\",\"step\":7,\"time_us\":-1,\"events\":[",
	"{\"boot\":\"00000000000000aa\",\"step\":7,\"time_us\":9007199254740992,\"events\":[",
	"{\"step\":7,\"boot\":\"00000000000000aa\",\"time_us\":1,\"events\":[",
	(" " HEAD),
};

START_TEST(a_head_of_another_form_is_refused)
{
	ck_assert(!begin(no_heads[_i]));
}
END_TEST

static const char *const ends[] = {
	"", "]", "]}x", "]},", ",]}", "x", "[]]}", "{\"id\":\"" ID_A "\"", "{\"a\":[}", "}]}",
};

START_TEST(an_event_that_is_cut_is_bad)
{
	char json[512];
	struct step_piece p;

	snprintf(json, sizeof(json), HEAD "%s", ends[_i]);
	ck_assert(begin(json));
	ck_assert_int_eq(step_text_next(&t, &p), STEP_TEXT_BAD);
}
END_TEST

START_TEST(no_byte_past_the_end_is_read)
{
	static const char whole[] = HEAD PIECE("\"seq\":0,\"tokens\":[1],\"text\":\"a\\nb\"") ","
	    PIECE("\"seq\":0,\"tokens\":[1],\"text\":\"\",\"stats\":{\"a\":1}") "]}";
	struct step_piece p;

	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		char *part = malloc(n + 1);	/* for the sanitizer */
		enum step_text_next next = STEP_TEXT_BAD;

		memcpy(part, whole, n);
		if (step_text_begin(&t, part, n))
			while ((next = step_text_next(&t, &p)) == STEP_TEXT_PIECE)
				;
		ck_assert_int_eq(next, STEP_TEXT_BAD);
		free(part);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("step_text");
	TCase *tc = tcase_create("step_text");
	SRunner *sr;
	int failed;

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))
	tcase_add_checked_fixture(tc, NULL, tear_down);
	tcase_add_test(tc, a_step_is_read_piece_by_piece);
	tcase_add_loop_test(tc, a_text_is_what_it_says, 0, COUNT(texts));
	tcase_add_loop_test(tc, what_is_not_plain_is_passed_by, 0, COUNT(not_plain));
	tcase_add_loop_test(tc, a_head_of_another_form_is_refused, 0, COUNT(no_heads));
	tcase_add_loop_test(tc, an_event_that_is_cut_is_bad, 0, COUNT(ends));
	tcase_add_test(tc, no_byte_past_the_end_is_read);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
