/*
 * Rows of 6 and 4 bits: where each bit is, by the formula of docs/model-format.md
 * written once more; how good their factors are; and files that hold them.
 */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "model/h1b.h"
#include "model/model_source.h"
#include "model/packed.h"
#include "model/synth.h"
#include "model_file.h"
#include "random_model.h"
#include "spec_h1b.h"

static const enum dense_type types[] = { DENSE_Q6, DENSE_Q4 };
static const int widths[] = { 1, 2, 63, 64, 65, 127, 128, 129, 200, 255, 256, 257,
	384, 700, 2560 };
enum { N_WIDTHS = sizeof(widths) / sizeof(widths[0]) };

/* The code of column k of a row, from the page. */
static int
spec_code(enum dense_type type, const uint8_t *row, int k)
{
	int four;

	if (type == DENSE_Q4)
		return row[64 * (k / 128) + k % 64] >> 4 * (k / 64 % 2) & 15;
	row += 192 * (k / 256);
	four = row[64 * (k / 128 % 2) + k % 64] >> 4 * (k / 64 % 2) & 15;
	return 4 * four + (row[128 + k % 64] >> 2 * (k / 64 % 4) & 3);
}

START_TEST(codes_are_where_the_page_says)
{
	enum dense_type type = types[_i];
	int top = (1 << packed_bits(type)) - 1;
	static uint8_t row[2048];
	static float values[2560], out[2560];

	for (int w = 0; w < N_WIDTHS; w++) {
		int n = widths[w], stride = packed_stride(type, n), wrong = 0;
		float scale;

		ck_assert_int_eq(stride, type == DENSE_Q6 ?
		    192 * ((n + 255) / 256) : 64 * ((n + 127) / 128));
		/* Values that are levels already, of which two are the ends. */
		for (int i = 0; i < n; i++)
			values[i] = 0.25F * (float)(2 * ((i * 7 + i * i) %
			    (top + 1)) - top);
		values[0] = 0.25F * (float)top;
		scale = packed_make(type, values, n, row);
		packed_row(type, row, scale, n, out);
		for (int i = 0; i < n; i++) {
			wrong += spec_code(type, row, i) !=
			    packed_code(type, row, i);
			wrong += !(fabsf(out[i] - values[i]) <= 1e-5F);
			wrong += !(out[i] == scale * (float)(2 *
			    spec_code(type, row, i) - top));
		}
		ck_assert_msg(wrong == 0, "type %d, %d columns: %d wrong",
		    (int)type, n, wrong);
		ck_assert(packed_check_tail(type, row, n));
		/* Each bit past the end is noticed, and no other. */
		for (int i = 0; i < stride * 8; i++) {
			bool same = true;

			row[i / 8] ^= (uint8_t)(1 << i % 8);
			for (int k = 0; k < n && same; k++)
				same = packed_code(type, row, k) ==
				    (int)lrintf((values[k] / 0.25F +
				    (float)top) / 2);
			ck_assert_int_eq(packed_check_tail(type, row, n), !same);
			row[i / 8] ^= (uint8_t)(1 << i % 8);
		}
	}
}
END_TEST

/* Root of the mean square of what is lost. */
static double
lost(enum dense_type type, const float *values, int n)
{
	static uint8_t row[2048];
	static float out[2560];
	double sum = 0;

	packed_row(type, row, packed_make(type, values, n, row), n, out);
	for (int i = 0; i < n; i++)
		sum += pow((double)out[i] - (double)values[i], 2);
	return sqrt(sum / n);
}

/*
 * Of normal values the best uniform levels lose, in deviations: 16 levels 0.107,
 * 64 levels 0.032 (Max 1960).
 */
START_TEST(normal_values_lose_little_more_than_the_least_possible)
{
	static const double least[] = { 0.032, 0.107 };
	static float values[2560];
	double d;

	random_state = 1;
	for (int i = 0; i < 2560; i++) {
		double u = 0;

		for (int j = 0; j < 12; j++)
			u += (double)(random_bits() >> 40) / (1 << 24);
		values[i] = (float)(u - 6);
	}
	d = lost(types[_i], values, 2560);
	ck_assert_msg(d > 0.9 * least[_i] && d < 1.05 * least[_i],
	    "%g, and not about %g", d, least[_i]);
	/* One value far away takes most of it. */
	values[7] = 40;
	ck_assert_double_lt(lost(types[_i], values, 2560), 1.0);
}
END_TEST

START_TEST(values_of_any_size_have_a_factor)
{
	static const float sizes[] = { 0, FLT_MIN / 4, FLT_MIN, 1e-30F, 1e-18F, 1,
		1e18F, 1e30F, FLT_MAX };
	enum dense_type type = types[_i];
	uint8_t row[512];
	float values[300], out[300];

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		float scale;

		for (int i = 0; i < 300; i++)
			values[i] = sizes[s] / 2 * (float)(i % 5 - 2);
		scale = packed_make(type, values, 300, row);
		ck_assert(scale >= 0 && isfinite(scale));
		packed_row(type, row, scale, 300, out);
		for (int i = 0; i < 300; i++)
			ck_assert(isfinite(out[i]) && fabsf(out[i] - values[i]) <=
			    fmaxf(sizes[s] / 4, 512 * FLT_MIN));
	}
}
END_TEST

static const struct model_config sizes = { .vocab = 40, .hidden = 200,
	.n_layers = 1, .n_heads = 2, .n_kv_heads = 1, .head_dim = 32, .ffn = 90,
	.n_ctx = 7, .rope_theta = 10000, .norm_eps = 1e-5F, .tied = true,
	.bos = -1 };

START_TEST(a_tied_model_keeps_its_embedding_beside_a_packed_head)
{
	struct model tied, m;
	/* Half a step, and what is cut at the ends. */
	const float most = _i == 0 ? 0.06F : 0.16F;
	float a[200], b[200];
	struct err e;

	ck_assert_int_eq(synth_write(model_path, &sizes, DENSE_I8, 3, NULL, &e), 0);
	ck_assert_int_eq(model_open(model_path, false, &tied, &e), 0);
	ck_assert_int_eq(synth_write(model_path, &sizes, types[_i], 3, NULL, &e),
	    0);
	ck_assert_msg(model_open(model_path, false, &m, &e) == 0, "%s", e.text);
	ck_assert(tied.config.tied && !m.config.tied);
	ck_assert_int_eq((int)m.head.type, (int)types[_i]);
	for (int o = 0; o < sizes.vocab; o++) {
		dense_row(&tied.embed, o, a);
		dense_row(&m.embed, o, b);
		ck_assert_mem_eq(a, b, sizeof(a));
		dense_row(&m.head, o, b);
		for (int i = 0; i < sizes.hidden; i++)
			ck_assert_float_eq_tol(a[i], b[i], most);
	}
	ck_assert_int_eq((int)backend_dense_bytes(&m.head), sizes.vocab *
	    (packed_stride(types[_i], sizes.hidden) + 4));
	model_close(&tied);
	model_close(&m);
}
END_TEST

START_TEST(a_packed_head_is_copied_as_it_is)
{
	struct model m, copy;
	struct h1b_source s;
	void *image;
	size_t n;
	struct err e;

	ck_assert_int_eq(synth_write(model_path, &sizes, types[_i], 5, NULL, &e),
	    0);
	ck_assert_int_eq(model_open(model_path, false, &m, &e), 0);
	model_source(&m, &s);
	s.name = s.origin = "copy";
	ck_assert_msg(h1b_image(&s, &image, &n, &e) == 0, "%s", e.text);
	ck_assert_msg(model_parse(image, n, "x", &copy, &e) == 0, "%s", e.text);
	ck_assert_str_eq(m.fingerprint, copy.fingerprint);
	ck_assert_mem_eq(m.head.data, copy.head.data, (size_t)sizes.vocab *
	    (size_t)packed_stride(types[_i], sizes.hidden));
	model_close(&copy);
	munmap(image, n);
	model_close(&m);
}
END_TEST

START_TEST(padding_that_is_used_is_refused)
{
	struct model m;
	struct spec s;
	struct err e = { 0 };

	ck_assert_int_eq(synth_write(model_path, &sizes, types[_i], 5, NULL, &e),
	    0);
	s = spec_load(model_path);
	/* 200 columns: byte 63 of the second 64 has column 255 above. */
	spec_data(&s, "head")[5 * packed_stride(types[_i], 200) + 127] |= 0x10;
	spec_seal(&s);
	ck_assert_int_eq(model_parse(s.bytes, s.n, "x", &m, &e), ERR_BAD_FILE);
	ck_assert_str_eq(e.text,
	    "x: section 'head': row 5 is not padded with zeros");
	free(s.bytes);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("packed");
	TCase *t = tcase_create("packed");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, model_file_setup, model_file_teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, codes_are_where_the_page_says, 0, 2);
	tcase_add_loop_test(t,
	    normal_values_lose_little_more_than_the_least_possible, 0, 2);
	tcase_add_loop_test(t, values_of_any_size_have_a_factor, 0, 2);
	tcase_add_loop_test(t,
	    a_tied_model_keeps_its_embedding_beside_a_packed_head, 0, 2);
	tcase_add_loop_test(t, a_packed_head_is_copied_as_it_is, 0, 2);
	tcase_add_loop_test(t, padding_that_is_used_is_refused, 0, 2);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
