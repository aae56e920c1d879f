/*
 * Layout B3 is layout T2 in fewer bytes: the same weights, the very same bits of
 * every product and logit, on every instruction set, however rows and outputs are
 * cut; and what stands for no five digits is refused.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_variants.h"
#include "model/base3.h"
#include "model/h1b.h"
#include "random_model.h"
#include "slow.h"

enum { SHAPES = 10, ROWS = 70, OUTS = 70, TOKENS = 80 };

static const int row_counts[] = { 1, 2, 3, 4, 5, 6, 7, 8, 16, 17, ROWS };
enum { N_ROW_COUNTS = sizeof(row_counts) / sizeof(row_counts[0]) };

/* The digits of a byte by division, or false: it stands for none. */
static bool
digits_of(int byte, int *digits)
{
	for (int v = 0; v < 243; v++)
		if ((256 * v + 242) / 243 == byte) {
			for (int d = 4; d >= 0; d--, v /= 3)
				digits[d] = v % 3;
			return true;
		}
	return false;
}

START_TEST(a_byte_holds_the_codes_that_the_documentation_says)
{
	/* One span: column 64 i + j of block b is byte 64 b + j, digit 1 + i;
	 * those of block 4 are digit 0 of byte 64 i + j. */
	uint8_t codes[BASE3_SPAN], row[256];
	int digits[5];

	for (int i = 0; i < BASE3_SPAN; i++)
		codes[i] = (uint8_t)random_below(3);
	ck_assert_int_eq(base3_stride(BASE3_SPAN), 256);
	codes[0] = codes[1024] = 2;
	codes[64] = codes[192] = 1;
	codes[128] = 0;
	base3_pack(codes, BASE3_SPAN, row);
	ck_assert_int_eq(row[0], 0xef);
	for (int at = 0; at < 256; at++) {
		ck_assert(digits_of(row[at], digits));
		ck_assert_int_eq(digits[0], codes[1024 + at]);
		for (int i = 0; i < 4; i++)
			ck_assert_int_eq(digits[1 + i], codes[at / 64 * 256 +
			    64 * i + at % 64]);
	}
}
END_TEST

START_TEST(a_row_of_any_length_holds_its_codes_and_ones)
{
	static uint8_t codes[4096], row[1024], t2[1024], want[1024];

	for (int n = 1; n < 4000; n += n < 70 ? 1 : 61) {
		for (int i = 0; i < n; i++)
			codes[i] = (uint8_t)random_below(3);
		base3_pack(codes, n, row);
		ck_assert(base3_check(row, (size_t)base3_stride(n)));
		ck_assert(base3_check_tail(row, n));
		for (int i = 0; i < n; i++)
			ck_assert_int_eq(base3_code(row, i), codes[i]);
		h1b_t2_pack(codes, n, want);
		base3_to_t2(row, h1b_t2_stride(n) / 64, t2);
		ck_assert_mem_eq(t2, want, (size_t)h1b_t2_stride(n));
		ck_assert_int_le(base3_stride(n), h1b_t2_stride(n));
		/* One digit of the padding is not 1. */
		if (n % TERNARY_BLOCK != 0) {
			int full = (n + 255) / 256 * 256;

			memset(codes + n, 1, (size_t)(full - n));
			codes[n + random_below(full - n)] = 2;
			base3_pack(codes, full, row);
			ck_assert(!base3_check_tail(row, n));
		}
	}
	/* Digit 0 of a span that is not whole. */
	memset(codes, 1, 512);
	base3_pack(codes, 512, row);
	ck_assert(base3_check_tail(row, 512));
	row[70] = (uint8_t)(row[70] + 86);	/* 81 / 243 of 256, and some */
	ck_assert_int_eq(base3_code(row, 256 + 6), 1);
	ck_assert(!base3_check_tail(row, 512));
}
END_TEST

START_TEST(bytes_that_stand_for_no_digits_are_found_anywhere)
{
	int digits[5], n_bad = 0;
	uint8_t bytes[40];

	for (int b = 0; b < 256; b++)
		for (size_t at = 0; at < sizeof(bytes); at++) {
			memset(bytes, 0x80, sizeof(bytes));
			bytes[at] = (uint8_t)b;
			ck_assert_int_eq(base3_check(bytes, sizeof(bytes)),
			    digits_of(b, digits));
			ck_assert(base3_check(bytes, at));
			n_bad += at == 0 && !digits_of(b, digits);
		}
	ck_assert_int_eq(n_bad, 13);
}
END_TEST

static struct cpu_rows
random_rows(int n)
{
	int stride = (n + TERNARY_BLOCK - 1) / TERNARY_BLOCK * TERNARY_BLOCK;
	struct cpu_rows x = { .stride = stride,
		.q = random_take((size_t)(ROWS * stride)),
		.scale = random_take(ROWS * sizeof(float)),
		.sum = random_take(ROWS * sizeof(int32_t)),
		.parts = random_take((size_t)(ROWS * stride / 64) *
		    sizeof(int32_t)) };

	for (int r = 0; r < ROWS; r++) {
		x.scale[r] = 0.5F + random_float();
		for (int i = 0; i < n; i++) {
			int v = r == 0 ? -128 : random_below(256) - 128;

			x.q[r * stride + i] = (int8_t)v;
			x.sum[r] += v;
			x.parts[r * (stride / 64) + i / 64] += v;
		}
	}
	return x;
}

typedef void (*product)(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add);

static void
check_shape(const char *what, product f, int n_out, int n_in, int group)
{
	static float want[ROWS * OUTS], y[ROWS * OUTS];
	struct cpu_rows x = random_rows(n_in);
	struct ternary t2, b3;

	random_ternary(&t2, n_out, n_in, group);
	b3 = random_as_base3(&t2);
	for (int i = 0; i < n_in; i += 7)
		ck_assert_int_eq(ternary_weight(&b3, n_out - 1, i),
		    ternary_weight(&t2, n_out - 1, i));
	for (int i = 0; i < N_ROW_COUNTS; i++) {
		int from = i % 2 == 0 ? 0 : random_below(n_out);
		int to = i % 2 == 0 ? n_out : from + 1 +
		    random_below(n_out - from);

		for (int j = 0; j < ROWS * OUTS; j++)
			want[j] = y[j] = 0.25F;
		k.ternary(&t2, from, to, &x, row_counts[i], want, OUTS, i % 3 == 0);
		f(&b3, from, to, &x, row_counts[i], y, OUTS, i % 3 == 0);
		ck_assert_msg(memcmp(y, want, sizeof(y)) == 0, "%s, %d x %d, "
		    "groups of %d, %d..%d of %d rows", what, n_out, n_in, group,
		    from, to, row_counts[i]);
	}
	free((void *)(uintptr_t)t2.codes);
	free((void *)(uintptr_t)t2.scales);
	free((void *)(uintptr_t)b3.codes);
	free(x.q);
	free(x.scale);
	free(x.sum);
	free(x.parts);
}

static void
check_shapes(const char *what, product f)
{
	for (int i = 0; i < SHAPES; i++)
		check_shape(what, f, 1 + random_below(OUTS), 1 + random_below(
		    i % 4 == 0 ? 300 : 4000), 0);
	for (int i = 0; i < SHAPES; i++)
		check_shape(what, f, 1 + random_below(OUTS),
		    1 + random_below(3000), 64 * (1 + random_below(12)));
	/* Longer than what is turned at once, and than four rows of a scratch. */
	check_shape(what, f, 5, 8192 + 1280, 0);
	check_shape(what, f, 35, 33000, 576);
	check_shape(what, f, 5, 100000, 0);
	check_shape(what, f, 3, MODEL_FFN_MAX, 0);
}

START_TEST(products_have_the_bits_of_the_same_weights_in_two_bits)
{
	if (open_one(_i))
		check_shapes(k.isa, k.ternary);
}
END_TEST

#ifdef __x86_64__
void cpu_avx512_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add);

/* Where the processor has VBMI, nothing else runs this. */
START_TEST(products_without_vbmi_have_the_same_bits)
{
	if (open_one(0))
		check_shapes("avx512 without VBMI", cpu_avx512_ternary);
}
END_TEST
#endif

/* Logits of tokens 0.. of one sequence, n_first of them together first, then the
 * others by threes, to out. */
static void
run(const struct model *m, const char *name, const char *isa, int n_first,
    float *out)
{
	struct backend_options o = { .name = name, .isa = isa, .n_threads = 1,
		.n_pages = 4, .max_rows = TOKENS, .n_ctx = TOKENS };
	struct backend_row rows[TOKENS];
	int32_t pages[4] = { 2, 0, 3, 1 };
	struct backend b;
	struct err e;

	ck_assert_msg(backend_open(m, &o, &b, &e) == 0, "%s", e.text);
	for (int at = 0, n; at < TOKENS; at += n) {
		n = at == 0 ? n_first : TOKENS - at < 3 ? TOKENS - at : 3;
		for (int i = 0; i < n; i++)
			rows[i] = (struct backend_row){ .token = (at + i) * 7 %
			    m->config.vocab, .pos = at + i, .pages = pages,
			    .want_logits = true };
		ck_assert_int_eq(b.forward(&b, rows, n, out + (size_t)at *
		    (size_t)m->config.vocab, &e), 0);
	}
	b.close(&b);
}

/* Rows of whole spans and a rest, which no model of random_shapes has. */
static const struct random_shape wide = {
	"rows of more than a span", 30, 1350, 1, 4, 2, 64, 2700,
	MODEL_RELU2, false, true, true, .type = DENSE_I8,
};

START_TEST(models_have_the_same_logits)
{
	static float want[TOKENS * 130], got[TOKENS * 130];
	const char *isa = _i < N_ISAS ? isas[_i] : "";
	struct model m;

	if (_i < N_ISAS && !open_one(_i))
		return;
	for (int s = 0; s <= N_RANDOM_SHAPES; s += SLOW ? 3 : 1) {
		const struct random_shape *shape = s < N_RANDOM_SHAPES ?
		    &random_shapes[s] : &wide;

		random_model(shape, &m);
		for (int i = 0; i < (_i < N_ISAS ? 3 : 1); i++) {
			static const int firsts[] = { TOKENS, 1, 6 };
			int n_first = firsts[i];
			struct model b3 = m;
			size_t n = TOKENS * (size_t)m.config.vocab;

			run(&m, _i < N_ISAS ? "cpu" : "ref", isa, n_first, want);
			b3.layers = random_take((size_t)m.config.n_layers *
			    sizeof(*m.layers));
			memcpy(b3.layers, m.layers, (size_t)m.config.n_layers *
			    sizeof(*m.layers));
			for (int l = 0; l < m.config.n_layers; l++)
				for (enum h1b_part p = H1B_Q; p <= H1B_DOWN; p++) {
					struct ternary *w = h1b_ternary(
					    &b3.layers[l], p);

					if (w != NULL)
						*w = random_as_base3(w);
				}
			run(&b3, _i < N_ISAS ? "cpu" : "ref", isa, n_first, got);
			ck_assert_msg(memcmp(got, want, n * sizeof(float)) == 0,
			    "%s, %s, %d rows first", isa, shape->what,
			    n_first);
		}
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base3");
	TCase *t = tcase_create("base3");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 300);
	tcase_add_test(t, a_byte_holds_the_codes_that_the_documentation_says);
	tcase_add_test(t, a_row_of_any_length_holds_its_codes_and_ones);
	tcase_add_test(t, bytes_that_stand_for_no_digits_are_found_anywhere);
	tcase_add_loop_test(t,
	    products_have_the_bits_of_the_same_weights_in_two_bits, 0, N_ISAS);
#ifdef __x86_64__
	tcase_add_test(t, products_without_vbmi_have_the_same_bits);
#endif
	tcase_add_loop_test(t, models_have_the_same_logits, 0, N_ISAS + 1);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
