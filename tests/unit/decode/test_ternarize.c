#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/ternarize.h"

static struct ternarize *t;
static float row[8640];

static void
setup(void)
{
	t = malloc(sizeof(*t));
	ck_assert_ptr_nonnull(t);
}

static void
teardown(void)
{
	free(t);
}

/* row [n]: -s, 0, +s with the factor of a column's piece of `width`. */
static void
fill(int32_t n, int32_t width)
{
	for (int32_t i = 0; i < n; i++)
		row[i] = (float)(i * 7 % 3 - 1) * (float)(3 + i / width) / 64;
}

/* How rows of n_in columns are cut, and what is found. */
static const struct {
	int32_t n_in, width, found;
} cuts[] = {
	{ 512, 512, 512 },	/* a factor a row */
	{ 512, 256, 256 }, { 512, 128, 128 }, { 512, 64, 64 },
	{ 3072, 512, 512 },	/* six shards, TriLM 3.9B */
	{ 9216, 1536, 1536 }, { 7680, 2560, 2560 }, { 1792, 896, 896 },
	{ 5120, 2560, 2560 },
	{ 3072, 1024, 1024 }, { 3072, 128, 128 },
	{ 1, 1, 1 }, { 63, 63, 63 }, { 64, 64, 64 }, { 65, 65, 65 },
	{ 66, 64, 64 }, { 100, 64, 64 },
	{ 8640, 8640, 8640 },	/* 1bitLLM 3B: no multiple of 256 */
	{ 8640, 960, 960 }, { 8640, 128, 128 }, { 8640, 256, 256 },
	{ 6912, 6912, 6912 }, { 23040, 3840, 3840 }, { 23040, 128, 128 },
	{ 3072, 192, 192 },
};

START_TEST(the_widest_groups_that_explain_a_row_are_found)
{
	static float wide[23040];
	struct err e;

	ternarize_init(t, cuts[_i].n_in);
	for (int32_t i = 0; i < cuts[_i].n_in; i++)
		wide[i] = (float)(i * 7 % 3 - 1) * (float)(3 + i /
		    cuts[_i].width) / 64;
	ck_assert_msg(ternarize_look(t, "x", 0, wide, &e) == 0, "%s", e.text);
	ck_assert_int_eq(ternarize_group(t), cuts[_i].found);
}
END_TEST

START_TEST(a_matrix_is_cut_so_that_all_its_rows_are_explained)
{
	struct err e;

	ternarize_init(t, 1536);
	fill(1536, 1536);
	ck_assert_int_eq(ternarize_look(t, "x", 0, row, &e), 0);
	ck_assert_int_eq(ternarize_group(t), 1536);
	fill(1536, 768);
	ck_assert_int_eq(ternarize_look(t, "x", 1, row, &e), 0);
	ck_assert_int_eq(ternarize_group(t), 768);
	fill(1536, 512);
	ck_assert_int_eq(ternarize_look(t, "x", 2, row, &e), 0);
	/* 768 and 512 have only 256 in common. */
	ck_assert_int_eq(ternarize_group(t), 256);
	memset(row, 0, sizeof(row));
	ck_assert_int_eq(ternarize_look(t, "x", 3, row, &e), 0);
	ck_assert_int_eq(ternarize_group(t), 256);
}
END_TEST

START_TEST(a_row_is_split_into_signs_and_factors)
{
	static const float w[130] = { [0] = 0.5f, [2] = -0.5f, [63] = 0.5f,
		[64] = -2, [66] = 2, [127] = -0.0f, [129] = 0 };
	uint8_t codes[130];
	float scales[3];

	ternarize_split(w, 130, 64, codes, scales);
	for (int i = 0; i < 130; i++)
		ck_assert_int_eq(codes[i], 1 + (w[i] > 0) - (w[i] < 0));
	ck_assert_float_eq(scales[0], 0.5f);
	ck_assert_float_eq(scales[1], 2);
	ck_assert_float_eq(scales[2], 0);
}
END_TEST

static const struct {
	int32_t n_in, at;
	float value;
	int code;
	const char *text;
} refused[] = {
	{ 512, 5, 0.75f, ERR_UNSUPPORTED, "m.weight row 17 columns 0..63 holds "
	    "2 magnitudes: not ternary" },
	{ 512, 511, -0.75f, ERR_UNSUPPORTED, "columns 448..511 holds 2 magn" },
	{ 100, 99, 1e-40f, ERR_UNSUPPORTED, "columns 64..99 holds 2 magn" },
	{ 512, 130, NAN, ERR_BAD_FILE, "row 17, column 130: " },
	{ 512, 0, INFINITY, ERR_BAD_FILE, "row 17, column 0: inf" },
	{ 512, 64, -INFINITY, ERR_BAD_FILE, "row 17, column 64: -inf" },
};

START_TEST(what_is_not_ternary_is_refused_where_it_is)
{
	struct err e;

	fill(512, 512);
	row[refused[_i].at] = refused[_i].value;
	ternarize_init(t, refused[_i].n_in);
	ck_assert_int_eq(ternarize_look(t, "m.weight", 17, row, &e),
	    refused[_i].code);
	ck_assert_msg(strstr(e.text, refused[_i].text) != NULL, "%s", e.text);
}
END_TEST

START_TEST(a_matrix_of_ordinary_floats_is_refused_by_what_is_accepted)
{
	struct err e;

	for (int i = 0; i < 512; i++)
		row[i] = sinf((float)i);
	ternarize_init(t, 512);
	ck_assert_int_eq(ternarize_look(t, "m.weight", 0, row, &e),
	    ERR_UNSUPPORTED);
	ck_assert_str_eq(e.text, "m.weight row 0 columns 0..63 holds 63 "
	    "magnitudes: not ternary; floats are accepted if each is -s, 0 or "
	    "+s, or as the master of a BitNet (quantization_mode online)");
}
END_TEST

/* Mean 1: halves go to the even side, and what is past 1 is 1. */
START_TEST(a_master_is_rounded_half_to_even)
{
	static const float w[] = { 0.5f, -0.5f, 0.50001f, -0.50001f, 1.5f,
		-1.5f, 2.5f, -3, 0.49999f, 0, -0.0f, 0.25f, 1e-40f };
	static const uint8_t want[] = { 1, 1, 2, 0, 2, 0, 2, 0, 1, 1, 1, 1, 1 };
	uint8_t codes[sizeof(want)];

	ternarize_round(w, (int32_t)sizeof(want), 1, codes);
	ck_assert_mem_eq(codes, want, sizeof(want));
	/* s = 1 / mean is rounded to a float before the product. */
	ck_assert_float_eq(ternarize_mean(3, 2), 1.5f);
	ck_assert_float_eq(ternarize_mean(1e-9, 2), 1e-5f);
	ck_assert_float_eq(ternarize_mean(0, 7), 1e-5f);
	ck_assert_double_eq(ternarize_sum(w, 6), 5.0 + 2 * (double)0.50001f -
	    1.0);
}
END_TEST

START_TEST(a_value_that_is_not_finite_shows_in_the_sum)
{
	static const float bad[] = { 1, NAN }, worse[] = { 1, -INFINITY };

	ck_assert(!isfinite(ternarize_sum(bad, 2)));
	ck_assert(!isfinite(ternarize_sum(worse, 2)));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ternarize");
	TCase *c = tcase_create("ternarize");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, the_widest_groups_that_explain_a_row_are_found, 0,
	    (int)(sizeof(cuts) / sizeof(cuts[0])));
	tcase_add_test(c, a_matrix_is_cut_so_that_all_its_rows_are_explained);
	tcase_add_test(c, a_row_is_split_into_signs_and_factors);
	tcase_add_loop_test(c, what_is_not_ternary_is_refused_where_it_is, 0,
	    (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(c,
	    a_matrix_of_ordinary_floats_is_refused_by_what_is_accepted);
	tcase_add_test(c, a_master_is_rounded_half_to_even);
	tcase_add_test(c, a_value_that_is_not_finite_shows_in_the_sum);
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
