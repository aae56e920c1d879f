#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

START_TEST(a_sentence_may_quote_the_one_before)
{
	struct err e = { 0 };

	errno = EINTR;
	ck_assert_int_eq(err_set(&e, ERR_SYSTEM, "%s", strerror(ENOENT)),
	    ERR_SYSTEM);
	ck_assert_int_eq(errno, EINTR);
	err_set_param(&e, ERR_RANGE, "port", "file:1: %s", e.text);
	ck_assert_str_eq(e.text, "file:1: No such file or directory");
	ck_assert_str_eq(e.param, "port");
	ck_assert_int_eq(e.code, ERR_RANGE);
}
END_TEST

START_TEST(the_hints_of_an_old_error_do_not_stay)
{
	struct err e = { .retry_after_ms = 5, .n_ctx = 7, .param = "x" };

	err_set(&e, ERR_BUSY, "full");
	ck_assert_int_eq(e.retry_after_ms, 0);
	ck_assert_int_eq(e.n_ctx, 0);
	ck_assert_str_eq(e.param, "");
}
END_TEST

START_TEST(nobody_has_to_want_the_sentence)
{
	ck_assert_int_eq(err_set(NULL, ERR_BUSY, "x"), ERR_BUSY);
	ck_assert_int_eq(err_set_param(NULL, ERR_LOST, "p", "x"), ERR_LOST);
}
END_TEST

START_TEST(a_long_sentence_is_cut_between_characters)
{
	struct err e;
	char text[400];

	memset(text, 'x', sizeof(text));
	for (size_t i = 1; i + 1 < sizeof(text); i += 2)
		memcpy(text + i, "\303\244", 2);
	text[sizeof(text) - 1] = '\0';
	err_set(&e, ERR_RANGE, "%s", text);
	/* 239 bytes: x and 119 characters of two; none is half */
	ck_assert_uint_eq(strlen(e.text), 239);
	err_set(&e, ERR_RANGE, "%s", text + 1);
	ck_assert_uint_eq(strlen(e.text), 238);
}
END_TEST

START_TEST(what_came_from_outside_is_made_fit_for_a_line)
{
	struct err e;

	err_set_param(&e, ERR_RANGE, "a\nb", "got '%s'", "x\r\ny\377");
	ck_assert_str_eq(e.text, "got 'x  y?'");
	ck_assert_str_eq(e.param, "a b");
	/* U+009B begins commands to a terminal, U+00A0 does not. */
	err_set(&e, ERR_RANGE, "\302\23331m\177\302\240\303\233");
	ck_assert_str_eq(e.text, "  31m \302\240\303\233");
}
END_TEST

static const struct {
	int code, http;
	const char *name, *type, *tag;
} rows[] = {
	{ ERR_BUSY, 429, "BUSY", "rate_limit_exceeded", "queue_full" },
	{ ERR_CONTEXT, 400, "CONTEXT", "invalid_request_error",
	    "context_length_exceeded" },
	{ ERR_RATE, 429, "RATE", "rate_limit_exceeded", "rate_limited" },
	{ ERR_ADMIN, 403, "ADMIN", "permission_error", "admin_key_required" },
	{ ERR_CRASHED, 500, "CRASHED", "server_error", "worker_crashed" },
	{ -4000, 500, "SYSTEM", "server_error", "internal" },
	{ 17, 500, "SYSTEM", "server_error", "internal" },
};

START_TEST(every_code_has_its_columns)
{
	ck_assert_str_eq(err_name(rows[_i].code), rows[_i].name);
	ck_assert_int_eq(err_http_status(rows[_i].code), rows[_i].http);
	ck_assert_str_eq(err_type(rows[_i].code), rows[_i].type);
	ck_assert_str_eq(err_tag(rows[_i].code), rows[_i].tag);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("err");
	TCase *t = tcase_create("err");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, a_sentence_may_quote_the_one_before);
	tcase_add_test(t, the_hints_of_an_old_error_do_not_stay);
	tcase_add_test(t, nobody_has_to_want_the_sentence);
	tcase_add_test(t, a_long_sentence_is_cut_between_characters);
	tcase_add_test(t, what_came_from_outside_is_made_fit_for_a_line);
	tcase_add_loop_test(t, every_code_has_its_columns, 0,
	    (int)(sizeof(rows) / sizeof(rows[0])));
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
