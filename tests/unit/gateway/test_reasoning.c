/*
 * What a model thought and what it said, for every cut of a text into pieces.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "reasoning.h"

static struct buf thought, said;

static const char *
text_of(const struct buf *b)
{
	return b->len > 0 ? b->data : "";
}

/* Push text in pieces: bit i of cuts says whether one ends after byte i. */
static void
split(const char *text, bool on, uint64_t cuts)
{
	size_t n = strlen(text), from = 0;
	struct reasoning r;

	buf_clear(&thought);
	buf_clear(&said);
	reasoning_init(&r, on);
	for (size_t i = 0; i < n; i++)
		if (i == n - 1 || cuts >> i % 64 & 1) {
			reasoning_push(&r, text + from, i + 1 - from, &thought,
			    &said);
			from = i + 1;
		}
	reasoning_end(&r, &thought, &said);
}

#define SIXTEEN "                "

static const struct { const char *text, *thought, *said; } rows[] = {
	{ "", "", "" },
	{ "hello", "", "hello" },
	{ "<think>\nhm\n</think>\n\nhello\n", "hm", "hello\n" },
	{ "<think>hm</think>hello", "hm", "hello" },
	{ "\n <think>a\n\nb </think> c", "a\n\nb", "c" },
	{ "<think>\n\n</think>\n\nhello", "", "hello" },
	{ "<think></think>", "", "" },
	{ "<think>never ends \n", "never ends \n", "" },
	{ "<think>a</thin", "a</thin", "" },
	{ "<think>a <b> </ c </thinks> </think>d", "a <b> </ c </thinks>",
	  "d" },
	{ "<think>a<</think>b", "a<", "b" },
	{ "<think>a</</think>b", "a</", "b" },
	{ "<think>a</think>b</think>c<think>d", "a", "b</think>c<think>d" },
	{ "<thin", "", "<thin" },
	{ "<<think>a", "", "<<think>a" },
	{ " <th", "", " <th" },
	{ "  ", "", "  " },
	{ "a<think>b</think>", "", "a<think>b</think>" },
	{ "<think>\xc3\xa9\xe2\x82\xac</think>\xf0\x9f\x98\x80",
	  "\xc3\xa9\xe2\x82\xac", "\xf0\x9f\x98\x80" },
	/* One blank more than is held back. */
	{ "<think>a" SIXTEEN SIXTEEN SIXTEEN SIXTEEN " </think>b", "a ", "b" },
	{ SIXTEEN SIXTEEN SIXTEEN SIXTEEN " <think>b", "b", " " },
};
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

START_TEST(thoughts_are_told_apart_however_the_text_is_cut)
{
	uint64_t random = 1;

	for (int i = 0; i < 4000; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		split(rows[_i].text, true, i == 0 ? 0 : i == 1 ? UINT64_MAX :
		    i < 66 ? 1ULL << (i - 2) : random >> (i % 3) & random);
		ck_assert_str_eq(text_of(&thought), rows[_i].thought);
		ck_assert_str_eq(text_of(&said), rows[_i].said);
	}
}
END_TEST

START_TEST(who_does_not_think_says_everything)
{
	split(rows[_i].text, false, 0x5555);
	ck_assert_str_eq(text_of(&thought), "");
	ck_assert_str_eq(text_of(&said), rows[_i].text);
}
END_TEST

/* Texts over an alphabet that is all trouble. */
START_TEST(any_text_is_split_in_one_way)
{
	static const char *const parts[] = { "<think>", "</think>", "<", "</",
		"think>", "\n", " ", "a", "\xc3\xa9", ">" };
	uint64_t random = 7;
	char text[256];
	char *one, *two;

	for (int i = 0; i < 20000; i++) {
		text[0] = '\0';
		for (int k = 0; k < 1 + i % 12; k++) {
			random = random * 6364136223846793005u + 1;
			strcat(text, parts[(random >> 33) % 10]);
		}
		split(text, true, 0);
		one = strdup(text_of(&thought));
		two = strdup(text_of(&said));
		split(text, true, random);
		ck_assert_str_eq(text_of(&thought), one);
		ck_assert_str_eq(text_of(&said), two);
		split(text, true, UINT64_MAX);
		ck_assert_str_eq(text_of(&thought), one);
		ck_assert_str_eq(text_of(&said), two);
		ck_assert_uint_le(strlen(one) + strlen(two), strlen(text));
		free(one);
		free(two);
	}
}
END_TEST

START_TEST(it_says_when_it_thinks)
{
	struct reasoning r;

	reasoning_init(&r, true);
	ck_assert(!reasoning_thinks(&r));
	reasoning_push(&r, "<think>", 7, &thought, &said);
	ck_assert(reasoning_thinks(&r));
	reasoning_push(&r, "</think>", 8, &thought, &said);
	ck_assert(!reasoning_thinks(&r));
}
END_TEST

static void
tear_down(void)
{
	buf_free(&thought);
	buf_free(&said);
}

int
main(void)
{
	Suite *s = suite_create("reasoning");
	TCase *t = tcase_create("reasoning");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, NULL, tear_down);
	tcase_add_loop_test(t, thoughts_are_told_apart_however_the_text_is_cut,
	    0, N_ROWS);
	tcase_add_loop_test(t, who_does_not_think_says_everything, 0, N_ROWS);
	tcase_add_test(t, any_text_is_split_in_one_way);
	tcase_add_test(t, it_says_when_it_thinks);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
