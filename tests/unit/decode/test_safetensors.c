#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "model/safetensors.h"

/* A safetensors file in memory: length, header, zeros. */
static struct buf
file_of(const char *header, size_t n_data)
{
	uint64_t n = strlen(header);
	struct buf b = { 0 };

	buf_add(&b, &n, 8);
	buf_adds(&b, header);
	for (size_t i = 0; i < n_data; i++)
		buf_add(&b, "", 1);
	return b;
}

#define T(name, dtype, shape, begin, end) "\"" name "\":{\"dtype\":\"" dtype \
	"\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static const struct {
	const char *header;
	size_t n_data;
	const char *text;	/* NULL: good */
} files[] = {
	{ "{" T("a", "F32", "[2]", "0", "8") "}", 8, NULL },
	{ "{" T("a", "F32", "[]", "0", "4") "}   ", 4, NULL },
	{ "{\"__metadata__\":{\"format\":\"pt\"}," T("a", "U8", "[1]", "0", "1")
	    "," T("b", "BF16", "[1,2]", "1", "5") "}", 5, NULL },
	{ "{}", 0, NULL },
	{ "", 4, "a header of 0 bytes" },
	{ "{}", 4, "4 bytes belong to no tensor" },
	{ "[]", 0, "not a JSON object" },
	{ "{\"a\":1}", 0, "not an object of dtype, shape and data_offsets" },
	{ "{\"a\":{}}", 0, "not an object of dtype, shape" },
	{ "{\"__metadata__\":1}", 0, "__metadata__ is not an object" },
	{ "{\"__metadata__\":{\"x\":1}}", 0, "__metadata__: 'x' is not a string" },
	{ "{\"__metadata__\":{\"x\":[[[[1]]]]}}", 0, "header: " },
	{ "{" T("a", "F32", "[2]", "0", "8") "," T("a", "F32", "[2]", "0", "8")
	    "}", 8, "header: " },
	{ "{" T("a", "F32", "[2]", "0", "8") ",", 8, "header: " },
	{ "{" T("a", "F4", "[2]", "0", "8") "}", 8, "dtype 'F4' is not known" },
	{ "{" T("a", "F32", "[1,1,1,1,1]", "0", "4") "}", 4, "at most 4" },
	{ "{" T("a", "F32", "7", "0", "4") "}", 4, "shape is not an array" },
	{ "{" T("a", "F32", "[0]", "0", "0") "}", 0, "dimension 0 is not" },
	{ "{" T("a", "F32", "[-1]", "0", "4") "}", 4, "dimension 0 is not" },
	{ "{" T("a", "F32", "[1.0]", "0", "4") "}", 4, "dimension 0 is not" },
	{ "{" T("a", "F32", "[1,\"1\"]", "0", "4") "}", 4, "dimension 1 is not" },
	{ "{" T("a", "F32", "[4294967296,4294967297]", "0", "4") "}", 4,
	    "more than 64 bits hold" },
	{ "{" T("a", "F32", "[4611686018427387905]", "0", "4") "}", 4,
	    "not what its shape and dtype F32 take" },
	{ "{" T("a", "F32", "[9223372036854775808]", "0", "4") "}", 4, "header" },
	{ "{" T("a", "F32", "[2]", "0", "4") "}", 4, "4 bytes, not what its shape" },
	{ "{" T("a", "F32", "[2]", "8", "0") "}", 8, "bytes 8..0, but there are 8" },
	{ "{" T("a", "F32", "[2]", "0", "9") "}", 8, "bytes 0..9, but there are 8" },
	{ "{" T("a", "U8", "[1]", "9223372036854775806", "9223372036854775807")
	    "}", 1, "but there are 1" },
	{ "{" T("a", "F32", "[1]", "-4", "0") "}", 4, "not two integers" },
	{ "{" T("a", "F32", "[1]", "0,2", "4") "}", 4, "not two integers" },
	{ "{" T("a", "F32", "[1]", "0.0", "4") "}", 4, "not two integers" },
	{ "{" T("a", "F32", "[1]", "4", "8") "}", 8,
	    "begins at 4, expected 0: there is a hole" },
	{ "{" T("a", "F32", "[1]", "0", "4") "," T("b", "F32", "[1]", "2", "6")
	    "}", 6, "begins at 2, expected 4: it overlaps" },
	{ "{" T("a", "F32", "[1]", "0", "4") "," T("b", "F32", "[1]", "0", "4")
	    "}", 4, "begins at 0, expected 4: it overlaps" },
	{ "{" T("a", "F32", "[1]", "0", "4") "}", 6, "2 bytes belong to no" },
};

START_TEST(safetensors_are_read_or_refused_in_a_sentence)
{
	struct buf b = file_of(files[_i].header, files[_i].n_data);
	struct safetensors st;
	struct err e = { 0 };
	int rc = safetensors_parse(b.data, b.len, "x", &st, &e);

	if (files[_i].text == NULL) {
		ck_assert_msg(rc == 0, "%s", e.text);
		safetensors_close(&st);
	} else {
		ck_assert_msg(rc == ERR_BAD_FILE, "%d %s", rc, e.text);
		ck_assert_msg(strstr(e.text, files[_i].text) != NULL,
		    "'%s' lacks '%s'", e.text, files[_i].text);
	}
	buf_free(&b);
}
END_TEST

START_TEST(a_header_longer_than_the_file_is_refused)
{
	static const uint64_t lengths[] = { 3, 100u << 20, UINT64_MAX,
	    UINT64_MAX - 7, (uint64_t)1 << 63 };
	struct safetensors st;
	struct err e;
	char bytes[10] = "--------{}";

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		memcpy(bytes, &lengths[i], 8);
		ck_assert_int_eq(safetensors_parse(bytes, 10, "x", &st, &e),
		    ERR_BAD_FILE);
		ck_assert_ptr_nonnull(strstr(e.text, "expected 2..2"));
	}
	for (size_t n = 0; n < 8; n++)
		ck_assert_int_eq(safetensors_parse(bytes, n, "x", &st, &e),
		    ERR_BAD_FILE);
}
END_TEST

START_TEST(floats_of_sixteen_bits_are_exact)
{
	static const struct {
		uint16_t half;
		float value;
	} halves[] = { { 0x3c00, 1 }, { 0xc000, -2 }, { 0x0001, 0x1p-24f },
	    { 0x83ff, -1023 * 0x1p-24f }, { 0x0400, 0x1p-14f },
	    { 0x7bff, 65504 }, { 0x3555, 0x1.554p-2f }, { 0, 0 } };
	struct safetensors_tensor t = { .n = 1, .dtype = SAFETENSORS_F16 };
	float v;

	for (size_t i = 0; i < sizeof(halves) / sizeof(halves[0]); i++) {
		t.data = (const uint8_t *)&halves[i].half;
		safetensors_f32(&t, 0, 1, &v);
		ck_assert_float_eq(v, halves[i].value);
	}
	t.dtype = SAFETENSORS_BF16;
	t.data = (const uint8_t *)"\x80\x3f";
	safetensors_f32(&t, 0, 1, &v);
	ck_assert_float_eq(v, 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("safetensors");
	TCase *t = tcase_create("safetensors");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, safetensors_are_read_or_refused_in_a_sentence, 0,
	    (int)(sizeof(files) / sizeof(files[0])));
	tcase_add_test(t, a_header_longer_than_the_file_is_refused);
	tcase_add_test(t, floats_of_sixteen_bits_are_exact);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
