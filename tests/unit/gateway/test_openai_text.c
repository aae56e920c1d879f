#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "openai_text.h"

/* Both ways of writing the event of a text. */
static void
compare(const struct openai_answer *a, const char *text)
{
	const struct openai_part said = { .said = text, .n_said = strlen(text) };
	struct openai_choice c = { .index = 3 };
	struct buf slow = { 0 }, fast = { 0 };
	struct openai_text t;
	struct err e;

	ck_assert_int_eq(openai_text_init(&t, a, &c, &e), 0);
	openai_event(&slow, openai_chunk_text(a, &c, &said, NULL));
	openai_text_event(&t, text, strlen(text), &fast);
	ck_assert_str_eq(fast.data, slow.data);
	ck_assert_uint_eq(fast.len, slow.len);
	buf_free(&slow);
	buf_free(&fast);
	openai_text_free(&t);
}

START_TEST(an_event_has_the_same_bytes_either_way)
{
	struct openai_answer a;
	char all[256];

	for (int i = 1; i < 128; i++)
		all[i - 1] = (char)i;
	all[127] = '\0';
	for (int k = 0; k < 4; k++) {
		openai_answer_init(&a, k & 1, "a model's \"name\"", "0123456789ab");
		a.include_usage = k >> 1;
		compare(&a, " word");
		compare(&a, "\"");
		compare(&a, "a\\b/c\n");
		compare(&a, "\x01\x02");
		compare(&a, "\\u0001");
		compare(&a, "\xe2\x82\xac \xf0\x9f\x8d\x93");
		compare(&a, all);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("openai_text");
	TCase *t = tcase_create("openai_text");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, an_event_has_the_same_bytes_either_way);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
