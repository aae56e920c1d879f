#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "frame.h"

START_TEST(what_is_written_can_be_parsed_and_the_bulk_stays)
{
	struct frame in = { .type = 7, .obj = json_pack("{s:i}", "x", 1),
	    .bulk = "p\0m", .n_bulk = 3 }, out = { 0 };
	struct buf b = { 0 };
	struct err e;

	buf_adds(&b, "before");
	ck_assert_int_eq(frame_write(&in, &b, &e), 0);
	ck_assert_int_eq(frame_parse(b.data + 6, b.len - 6, &out, &e), 0);
	ck_assert_uint_eq(out.type, 7);
	ck_assert(json_equal(in.obj, out.obj));
	ck_assert_uint_eq(out.n_bulk, 3);
	ck_assert_mem_eq(out.bulk, "p\0m", 3);
	frame_free(&in);
	frame_free(&out);
	ck_assert_ptr_null(out.obj);
	buf_free(&b);
}
END_TEST

START_TEST(a_frame_without_an_object_is_not_written)
{
	struct frame f = { .type = 7 };
	struct buf b = { 0 };
	struct err e;

	buf_adds(&b, "before");
	ck_assert_int_eq(frame_write(&f, &b, &e), ERR_BAD_MESSAGE);
	f.obj = json_array();
	ck_assert_int_eq(frame_write(&f, &b, &e), ERR_BAD_MESSAGE);
	ck_assert_str_eq(b.data, "before");
	frame_free(&f);
	buf_free(&b);
}
END_TEST

#define BAD(in, says) { in, sizeof(in) - 1, says }
static const struct {
	const char *bytes;
	size_t n;
	const char *text;
} refused[] = {
	BAD("", "the frame is cut short"),
	BAD("\0\0\0\1\0\0\0", "the frame is cut short"),
	BAD("\0\0\0\1\0\0\0\3{}", "the frame is cut short"),
	BAD("\0\0\0\1\377\377\377\377{}", "the frame is cut short"),
	BAD("\0\0\0\1\0\0\0\1{}", "JSON: string or '}' expected near end of "
	    "file at byte 1"),
	BAD("\0\0\0\1\0\0\0\0", "JSON: '[' or '{' expected near end of file at "
	    "byte 0"),
	BAD("\0\0\0\1\0\0\0\2[]", "the JSON is no object"),
	BAD("\0\0\0\1\0\0\0\3{\0}", "JSON: a NUL at byte 1"),
	BAD("\0\0\0\1\0\0\0\15{\"a\":1,\"a\":2}", "JSON: duplicate object key "
	    "near '\"a\"' at byte 10"),
};

START_TEST(a_bad_frame_is_refused)
{
	struct frame f = { .type = 42 };
	struct err e;

	ck_assert_int_eq(frame_parse(refused[_i].bytes, refused[_i].n, &f, &e),
	    ERR_BAD_MESSAGE);
	ck_assert_str_eq(e.text, refused[_i].text);
	ck_assert_uint_eq(f.type, 42);
	ck_assert_ptr_null(f.obj);
}
END_TEST

START_TEST(an_error_arrives_as_it_was)
{
	struct err in = { .code = ERR_CONTEXT, .text = "too long",
	    .param = "prompt", .retry_after_ms = 1, .n_prompt_tokens = 2,
	    .n_ctx = 3 }, out = { 0 };
	struct frame f;

	frame_set_error(&f, &in);
	ck_assert_uint_eq(f.type, FRAME_ERROR);
	ck_assert_int_eq(frame_get_error(&f, &out), ERR_CONTEXT);
	ck_assert_mem_eq(&in, &out, sizeof(in));
	frame_free(&f);
	strcpy(in.text, "\377");
	frame_set_error(&f, &in);
	ck_assert_ptr_nonnull(f.obj);
	frame_free(&f);
}
END_TEST

static const char *const no_errors[] = {
	"{}", "{\"code\": 0, \"text\": \"x\"}", "{\"code\": 5, \"text\": \"x\"}",
	"{\"code\": -1}", "{\"code\": -4294967297, \"text\": \"x\"}",
	"{\"code\": \"-1\", \"text\": \"x\"}",
};

START_TEST(what_reports_no_error_is_a_bad_message)
{
	struct frame f = { .type = FRAME_ERROR,
	    .obj = json_loads(no_errors[_i], 0, NULL) };
	struct err e;

	ck_assert_int_eq(frame_get_error(&f, &e), ERR_BAD_MESSAGE);
	ck_assert_str_eq(e.text, "not an error frame");
	frame_free(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("frame");
	TCase *t = tcase_create("frame");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, what_is_written_can_be_parsed_and_the_bulk_stays);
	tcase_add_test(t, a_frame_without_an_object_is_not_written);
	tcase_add_loop_test(t, a_bad_frame_is_refused, 0,
	    (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(t, an_error_arrives_as_it_was);
	tcase_add_loop_test(t, what_reports_no_error_is_a_bad_message, 0,
	    (int)(sizeof(no_errors) / sizeof(no_errors[0])));
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
