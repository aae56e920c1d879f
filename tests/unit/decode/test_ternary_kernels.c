/*
 * The ternary products on random shapes: whatever the instruction set, the rows
 * that are multiplied together and the range of outputs, a product has the very
 * same bits as scalar's, one row and one output at a time.  test_products.c holds
 * scalar to the definition.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_variants.h"
#include "random_model.h"
#include "slow.h"

enum { SHAPES = SLOW ? 20 : 60, ROWS = 41, OUTS = 83, SMALL = 17 };

/* One product of each case. */
struct shape {
	int n_in, n_out, group;
	struct ternary w;
	struct cpu_rows x;
	float *want;		/* [ROWS, n_out], scalar's */
	float *y;		/* the same, of the variant */
};

static void
random_rows(struct cpu_rows *x, int n)
{
	x->stride = (n + TERNARY_BLOCK - 1) / TERNARY_BLOCK * TERNARY_BLOCK;
	x->q = random_take((size_t)(ROWS * x->stride));
	x->scale = random_take(ROWS * sizeof(float));
	x->sum = random_take(ROWS * sizeof(int32_t));
	x->parts = random_take((size_t)(ROWS * x->stride / 64) *
	    sizeof(int32_t));
	for (int r = 0; r < ROWS; r++) {
		x->scale[r] = 0.5F + random_float();
		for (int i = 0; i < n; i++) {
			int v = random_below(256) - 128;

			x->q[r * x->stride + i] = (int8_t)v;
			x->sum[r] += v;
			x->parts[r * (x->stride / 64) + i / 64] += v;
		}
	}
}

static void
begin(struct shape *s, int n_in, int group)
{
	struct cpu_kernels scalar;
	struct err e;

	*s = (struct shape){ .n_in = n_in, .n_out = 1 + random_below(OUTS),
		.group = group };
	random_ternary(&s->w, s->n_out, n_in, group);
	random_rows(&s->x, n_in);
	s->want = random_take((size_t)(ROWS * s->n_out) * sizeof(float));
	s->y = random_take((size_t)(ROWS * s->n_out) * sizeof(float));
	ck_assert_int_eq(cpu_kernels_open("scalar", &scalar, &e), 0);
	for (int r = 0; r < ROWS; r++)
		for (int o = 0; o < s->n_out; o++) {
			struct cpu_rows one = s->x;

			one.q += r * one.stride;
			one.scale += r;
			one.sum += r;
			one.parts += r * (one.stride / 64);
			scalar.ternary(&s->w, o, o + 1, &one, 1, s->want +
			    r * s->n_out, s->n_out, false);
		}
}

static void
end(struct shape *s)
{
	free((void *)(uintptr_t)s->w.codes);
	free((void *)(uintptr_t)s->w.scales);
	free(s->x.q);
	free(s->x.scale);
	free(s->x.sum);
	free(s->x.parts);
	free(s->want);
	free(s->y);
}

/* Outputs from..to of n_rows rows are right, and nothing else is written. */
static void
check_range(struct shape *s, int from, int to, int n_rows, bool add)
{
	for (int i = 0; i < ROWS * s->n_out; i++)
		s->y[i] = 0.25F;
	k.ternary(&s->w, from, to, &s->x, n_rows, s->y, s->n_out, add);
	for (int r = 0; r < ROWS; r++)
		for (int o = 0; o < s->n_out; o++) {
			float want = 0.25F, y = s->y[r * s->n_out + o];

			if (r < n_rows && o >= from && o < to)
				want = s->want[r * s->n_out + o];
			if (r < n_rows && o >= from && o < to && add)
				want = 0.25F + want;
			ck_assert_msg(memcmp(&y, &want, sizeof(y)) == 0,
			    "%s, %d x %d, groups of %d, %d..%d of %d rows: "
			    "[%d, %d] is %g, not %g", k.isa, s->n_out, s->n_in,
			    s->group, from, to, n_rows, r, o, (double)y,
			    (double)want);
		}
}

static void
check_shape(int n_in, int group)
{
	struct shape s;

	begin(&s, n_in, group);
	for (int n_rows = 1; n_rows <= SMALL; n_rows++)
		check_range(&s, 0, s.n_out, n_rows, n_rows % 2 == 0);
	check_range(&s, 0, s.n_out, ROWS, true);
	for (int i = 0; i < 4; i++) {
		int from = random_below(s.n_out);

		check_range(&s, from, from + 1 + random_below(s.n_out - from),
		    1 + random_below(ROWS), false);
	}
	end(&s);
}

START_TEST(products_have_the_same_bits_however_they_are_cut)
{
	if (!open_one(_i))
		return;
	for (int i = 0; i < SHAPES; i++)
		check_shape(1 + random_below(i % 4 == 0 ? 300 : 3000), 0);
}
END_TEST

START_TEST(products_in_groups_have_the_same_bits_however_they_are_cut)
{
	if (!open_one(_i))
		return;
	for (int i = 0; i < SHAPES; i++)
		check_shape(1 + random_below(2000), 64 * (1 + random_below(12)));
}
END_TEST

/* Longer than what is turned at once: 8192 columns or more. */
START_TEST(long_rows_are_turned_in_pieces)
{
	if (!open_one(_i))
		return;
	check_shape(8192, 0);
	check_shape(8193, 0);
	check_shape(33000, 0);
	check_shape(33000, 576);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ternary_kernels");
	TCase *t = tcase_create("ternary_kernels");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, products_have_the_same_bits_however_they_are_cut,
	    0, N_ISAS);
	tcase_add_loop_test(t,
	    products_in_groups_have_the_same_bits_however_they_are_cut, 0,
	    N_ISAS);
	tcase_add_loop_test(t, long_rows_are_turned_in_pieces, 0, N_ISAS);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
