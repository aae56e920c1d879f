#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "utf8.h"

START_TEST(what_is_added_is_there_and_ends_in_a_nul)
{
	struct buf b = { 0 };

	buf_adds(&b, "one");
	buf_add(&b, "\0two", 4);
	buf_printf(&b, " %d", 3);
	ck_assert_uint_eq(b.len, 9);
	ck_assert_mem_eq(b.data, "one\0two 3", 10);
	buf_clear(&b);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_str_eq(b.data, "");
	buf_free(&b);
	ck_assert_ptr_null(b.data);
}
END_TEST

START_TEST(it_grows_past_any_first_size)
{
	struct buf b = { 0 };

	for (int i = 0; i < 10000; i++)
		buf_printf(&b, "%04d", i);
	ck_assert_uint_eq(b.len, 40000);
	ck_assert_uint_gt(b.cap, b.len);
	ck_assert_mem_eq(b.data + 4 * 9999, "9999", 5);
	buf_free(&b);
}
END_TEST

START_TEST(what_cannot_fit_makes_it_failed_and_nothing_worse)
{
	struct buf b = { 0 };

	buf_adds(&b, "kept");
	buf_add(&b, "", SIZE_MAX - 2);
	ck_assert(b.failed);
	buf_adds(&b, "ignored");
	ck_assert_str_eq(b.data, "kept");
	buf_free(&b);
}
END_TEST

static const struct {
	const char *in, *out;
} dirty[] = {
	{ "plain", "plain" },
	{ "two\nlines\r\t\033[2Jx\177", "two lines   [2Jx " },
	{ "h\303\244tte", "h\303\244tte" },
	{ "a\377b", "a?b" },
	{ "\300\257", "??" },			/* overlong */
	{ "\340\200\257x", "???x" },
	{ "\355\240\200x", "???x" },		/* a surrogate */
	{ "\364\220\200\200x", "????x" },	/* past U+10FFFF */
	{ "cut \303", "cut " },
	{ "cut \360\237\230", "cut " },
	{ "\360\237\230\200", "\360\237\230\200" },
};

START_TEST(text_is_made_clean)
{
	char text[64];

	strcpy(text, dirty[_i].in);
	utf8_clean(text);
	ck_assert_str_eq(text, dirty[_i].out);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("buf");
	TCase *t = tcase_create("buf");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, what_is_added_is_there_and_ends_in_a_nul);
	tcase_add_test(t, it_grows_past_any_first_size);
	tcase_add_test(t, what_cannot_fit_makes_it_failed_and_nothing_worse);
	tcase_add_loop_test(t, text_is_made_clean, 0,
	    (int)(sizeof(dirty) / sizeof(dirty[0])));
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
