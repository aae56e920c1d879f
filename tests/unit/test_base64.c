/*
 * Against RFC 4648, section 10, and back.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"

static const struct {
	const char *bytes, *text;
} vectors[] = {
	{ "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
	{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
	{ "foobar", "Zm9vYmFy" }, { "\xfb\xff\xfe", "+//+" },
};

START_TEST(bytes_and_text_are_those_of_the_rfc)
{
	const char *bytes = vectors[_i].bytes, *text = vectors[_i].text;
	struct buf b = { 0 };

	base64_encode(bytes, strlen(bytes), &b);
	ck_assert_str_eq(b.data, text);
	buf_clear(&b);
	ck_assert(base64_decode(text, strlen(text), &b));
	ck_assert_str_eq(b.data, bytes);
	buf_free(&b);
}
END_TEST

START_TEST(nothing_is_nothing)
{
	struct buf b = { 0 };

	base64_encode("", 0, &b);
	ck_assert(base64_decode("", 0, &b));
	ck_assert_uint_eq(b.len, 0);
}
END_TEST

START_TEST(every_byte_comes_back)
{
	unsigned char all[256];
	struct buf text = { 0 }, back = { 0 };

	for (int i = 0; i < 256; i++)
		all[i] = (unsigned char)i;
	for (size_t n = 250; n <= 256; n++) {
		buf_clear(&text);
		buf_clear(&back);
		base64_encode(all, n, &text);
		ck_assert(base64_decode(text.data, text.len, &back));
		ck_assert_uint_eq(back.len, n);
		ck_assert_mem_eq(back.data, all, n);
	}
	buf_free(&text);
	buf_free(&back);
}
END_TEST

static const char *const bad[] = {
	"Zg", "Zg=", "Zg===", "Z===", "====", "Zm9v\n", "Zm9-", "Zm 9", "=m9v",
	"Zg==Zg==",
};

START_TEST(what_is_not_base64_is_refused)
{
	struct buf b = { 0 };

	ck_assert(!base64_decode(bad[_i], strlen(bad[_i]), &b));
	buf_free(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base64");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, bytes_and_text_are_those_of_the_rfc, 0,
	    sizeof(vectors) / sizeof(vectors[0]));
	tcase_add_test(t, nothing_is_nothing);
	tcase_add_test(t, every_byte_comes_back);
	tcase_add_loop_test(t, what_is_not_base64_is_refused, 0,
	    sizeof(bad) / sizeof(bad[0]));
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
