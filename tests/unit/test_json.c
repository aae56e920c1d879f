#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "json.h"

#define BAD(in, says) { in, sizeof(in) - 1, says }
static const struct {
	const char *in;
	size_t n;
	const char *says;
} refused[] = {
	BAD("", "JSON: "),
	BAD("{", "JSON: "),
	BAD("[1,]", "JSON: "),
	BAD("{} x", "JSON: end of file expected near 'x' at byte 4"),
	BAD("{\"a\":1,\"a\":2}", "JSON: duplicate object key near '\"a\"' at "
	    "byte 10"),
	BAD("\"a\0b\"", "JSON: a NUL at byte 2"),
	BAD("[1]\0", "JSON: a NUL at byte 3"),
	BAD("\"\\u0000\"", "JSON: \\u0000 is not allowed, at byte 8"),
	BAD("\"\377\"", "JSON: unable to decode byte 0xff"),
	BAD("99999999999999999999", "JSON: too big integer"),
	BAD("1e400", "JSON: real number overflow"),
	BAD("NaN", "JSON: invalid token"),
};

START_TEST(bad_text_is_refused_with_its_place)
{
	json_t *v = NULL;
	struct err e;

	ck_assert_int_eq(json_guarded(refused[_i].in, refused[_i].n, &v, &e),
	    ERR_BAD_MESSAGE);
	ck_assert_msg(strncmp(e.text, refused[_i].says,
	    strlen(refused[_i].says)) == 0, "%s", e.text);
	ck_assert_ptr_null(v);
}
END_TEST

/* n times open, "1", n times close. */
static int
parse_nested(int n, const char *open, const char *close, struct err *e)
{
	struct buf b = { 0 };
	json_t *v = NULL;
	int r;

	for (int i = 0; i < n; i++)
		buf_adds(&b, open);
	buf_adds(&b, "1");
	for (int i = 0; i < n; i++)
		buf_adds(&b, close);
	r = json_guarded(b.data, b.len, &v, e);
	json_decref(v);
	buf_free(&b);
	return r;
}

START_TEST(what_nests_too_deep_is_refused)
{
	struct err e;

	ck_assert_int_eq(parse_nested(JSON_DEPTH_MAX, "[", "]", &e), 0);
	ck_assert_int_eq(parse_nested(JSON_DEPTH_MAX, "{\"a\":", "}", &e), 0);
	ck_assert_int_eq(parse_nested(JSON_DEPTH_MAX + 1, "[", "]", &e),
	    ERR_BAD_MESSAGE);
	ck_assert_str_eq(e.text, "JSON: nested deeper than 64 at byte 64");
	ck_assert_int_eq(parse_nested(100000, "{\"a\":", "}", &e),
	    ERR_BAD_MESSAGE);
	ck_assert_int_eq(parse_nested(JSON_DEPTH_MAX + 1, "[\"\\\\\",", "]",
	    &e), ERR_BAD_MESSAGE);
}
END_TEST

START_TEST(brackets_in_strings_do_not_nest)
{
	char text[300] = "\"";
	json_t *v = NULL;
	struct err e;

	memset(text + 1, '[', 200);
	strcpy(text + 201, "\\\"[\"");
	ck_assert_msg(json_guarded(text, strlen(text), &v, &e) == 0, "%s",
	    e.text);
	json_decref(v);
}
END_TEST

/* An array of n times what. */
static int
parse_many(int n, const char *what, struct err *e)
{
	struct buf b = { 0 };
	json_t *v = NULL;
	int r;

	buf_adds(&b, "[");
	for (int i = 0; i < n; i++)
		buf_printf(&b, "%s%s", i > 0 ? "," : "", what);
	buf_adds(&b, "]");
	r = json_guarded(b.data, b.len, &v, e);
	ck_assert(r != 0 || json_array_size(v) == (size_t)n);
	json_decref(v);
	buf_free(&b);
	return r;
}

static const struct {
	const char *what;
	int values;
} elements[] = {
	{ "0", 1 }, { "\"s\"", 1 }, { "true", 1 }, { "[]", 1 }, { "{}", 1 },
	{ "{\"k\":1}", 2 }, { " -1.5e3 ", 1 }, { "[\"a\",null]", 3 },
};

START_TEST(values_are_counted_exactly)
{
	int n = (JSON_VALUES_MAX - 1) / elements[_i].values;
	struct err e;

	ck_assert_msg(parse_many(n, elements[_i].what, &e) == 0, "%s", e.text);
	ck_assert_int_eq(parse_many(n + 1, elements[_i].what, &e),
	    ERR_BAD_MESSAGE);
	ck_assert_ptr_nonnull(strstr(e.text, "JSON: more than 50000 values"));
}
END_TEST

START_TEST(arrays_and_objects_stay_few_even_where_values_may_be_many)
{
	struct buf b = { 0 };
	struct err e;

	for (int i = 0; i <= JSON_VALUES_MAX; i++)
		buf_adds(&b, "[],");
	ck_assert_int_eq(json_scan(b.data, b.len, 64, 1 << 20, &e),
	    ERR_BAD_MESSAGE);
	ck_assert_ptr_nonnull(strstr(e.text, "50000 arrays and objects"));
	buf_free(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("json");
	TCase *t = tcase_create("json");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, bad_text_is_refused_with_its_place, 0,
	    (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(t, what_nests_too_deep_is_refused);
	tcase_add_test(t, brackets_in_strings_do_not_nest);
	tcase_add_loop_test(t, values_are_counted_exactly, 0,
	    (int)(sizeof(elements) / sizeof(elements[0])));
	tcase_add_test(t,
	    arrays_and_objects_stay_few_even_where_values_may_be_many);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
