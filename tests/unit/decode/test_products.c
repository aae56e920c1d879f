/*
 * The products of every CPU variant, and what makes their input, against their
 * definition in cpu_kernels.h, written here once more in the plainest way, on
 * sizes with odd ends and on extreme values.  Sums of integers are compared
 * exactly, and so is what is made of them in a fixed order.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_variants.h"
#include "random_model.h"

static struct cpu_rows
new_rows(int n_rows, int n)
{
	int stride = (n + TERNARY_BLOCK - 1) / TERNARY_BLOCK * TERNARY_BLOCK;

	return (struct cpu_rows){ .stride = stride,
		.q = random_take((size_t)(n_rows * stride)),
		.scale = random_take((size_t)n_rows * sizeof(float)),
		.sum = random_take((size_t)n_rows * sizeof(int32_t)),
		.parts = random_take((size_t)(n_rows * stride / 64) *
		    sizeof(int32_t)) };
}

static void
free_rows(struct cpu_rows *x)
{
	free(x->q);
	free(x->scale);
	free(x->sum);
	free(x->parts);
}

/* Noise, or for round 0 and 1 what would overflow 16 bits first. */
static void
fill_rows(struct cpu_rows *x, int n_rows, int n, int round)
{
	for (int r = 0; r < n_rows; r++) {
		x->scale[r] = 0.01F + 0.001F * (float)r;
		x->sum[r] = 0;
		for (int i = 0; i < n; i++) {
			int v = round == 0 ? -128 : round == 1 ? 127 :
			    random_below(256) - 128;

			x->q[r * x->stride + i] = (int8_t)v;
			x->sum[r] += v;
			x->parts[r * (x->stride / 64) + i / 64] += v;
		}
	}
}

static void
free_ternary(struct ternary *w)
{
	free((void *)(uintptr_t)w->codes);
	free((void *)(uintptr_t)w->scales);
}

/* Row o of w times row r of x: integers, and a product for each group. */
static float
plain_product(const struct ternary *w, int o, const struct cpu_rows *x, int r)
{
	const int8_t *q = x->q + r * x->stride;
	int n_groups = (w->n_in + w->group - 1) / w->group;
	float total = 0;

	for (int at = 0, g = 0; at < w->n_in; at += w->group, g++) {
		int32_t sum = 0;

		for (int j = at; j < at + w->group && j < w->n_in; j++)
			sum += ternary_weight(w, o, j) * q[j];
		if (n_groups == 1)
			return (float)sum * (w->scales[o] * x->scale[r]);
		total += (float)sum * w->scales[o * n_groups + g];
	}
	return total * x->scale[r];
}

static void
check_ternary(int n, int group, int round, bool add)
{
	static float y[N_ROWS * N_OUT], products[N_ROWS * N_OUT];
	struct cpu_rows x = new_rows(N_ROWS, n);
	struct ternary w;

	random_ternary(&w, N_OUT, n, group);
	if (round < 2)		/* all +1; padding too, where x is 0 */
		memset((void *)(uintptr_t)w.codes, 0xaa,
		    (size_t)(N_OUT * w.stride));
	fill_rows(&x, N_ROWS, n, round);
	for (int i = 0; i < N_ROWS * N_OUT; i++)
		products[i] = plain_product(&w, i % N_OUT, &x, i / N_OUT);
	/* 9 rows: blocks of four and a rest of 1, 2 and 3; any first output. */
	for (int n_rows = 1; n_rows <= N_ROWS; n_rows++)
		for (int from = 0; from < N_OUT; from += 5) {
			for (int i = 0; i < N_ROWS * N_OUT; i++)
				y[i] = 0.5F;
			k.ternary(&w, from, N_OUT, &x, n_rows, y, N_OUT, add);
			for (int i = 0; i < N_ROWS * N_OUT; i++) {
				int r = i / N_OUT, o = i % N_OUT;
				float want = products[i];

				want = add ? 0.5F + want : want;
				if (o < from || r >= n_rows)
					want = 0.5F;	/* not to be touched */
				ck_assert_msg(y[i] == want, "%s, %d inputs, "
				    "groups of %d, %d rows: %g is not %g", k.isa,
				    n, group, n_rows, (double)y[i],
				    (double)want);
			}
		}
	free_ternary(&w);
	free_rows(&x);
}

START_TEST(ternary_products_are_exact)
{
	if (!open_one(_i))
		return;
	for (int s = 0; s < N_SIZES; s++)
		for (int round = 0; round < 3; round++)
			check_ternary(sizes[s], 0, round,
			    round == 2 && s % 2 == 0);
}
END_TEST

START_TEST(products_in_groups_are_exact_sums_times_factors_in_order)
{
	/* 192 and 1728 are segments; the last groups of most are short. */
	static const int groups[] = { 64, 128, 192, 256, 1728 };

	if (!open_one(_i))
		return;
	for (int s = 0; s < N_SIZES; s++)
		for (int g = 0; g < 5; g++)
			for (int round = 0; round < 3; round++)
				check_ternary(sizes[s], groups[g], round,
				    round == 2 && s % 2 == 0);
}
END_TEST

static void
check_quantise(float *x, const float *weight, int n, int round)
{
	static float tmp[N_MAX + 16];
	struct cpu_rows out = new_rows(2, n);
	double sum = 0, top = 1e-5;
	int32_t total = 0;

	memset(out.q, 99, (size_t)(2 * out.stride));
	for (int i = 0; i < n; i++)
		sum += (double)x[i] * (double)x[i];
	k.quantise(x, weight, n, 1e-5F, tmp, &out, 1);
	for (int i = 0; i < n; i++) {
		double y = (double)x[i];

		if (weight != NULL)
			y = y / sqrt(sum / n + 1e-5) * (double)weight[i];
		ck_assert_msg(fabs((double)tmp[i] - y) <= 2e-6 * fabs(y),
		    "%s, %d: %g is not %g", k.isa, n, (double)tmp[i], y);
		top = fmax(top, fabs((double)tmp[i]));
	}
	ck_assert_double_eq_tol((double)out.scale[1], top / 127, top * 1e-8);
	for (int i = 0; i < n; i++) {
		/* Exactly: of what was normalised, in float, half to even. */
		float v = rintf(tmp[i] * (127.0F / (float)top));
		int q = out.q[out.stride + i];

		ck_assert_msg(q == (int)v, "%s, %d, round %d: %d is not %g",
		    k.isa, n, round, q, (double)v);
		total += q;
	}
	ck_assert_int_eq(out.sum[1], total);
	for (int p = 0; p < out.stride / 64; p++) {
		int part = 0;

		for (int i = 0; i < 64; i++)
			part += out.q[out.stride + 64 * p + i];
		ck_assert_int_eq(out.parts[out.stride / 64 + p], part);
		ck_assert_int_eq(out.parts[p], 0);	/* the row before */
	}
	for (int i = n; i < out.stride; i++)
		ck_assert_int_eq(out.q[out.stride + i], 0);
	ck_assert_int_eq(out.q[0], 99);		/* the row before */
	free_rows(&out);
}

START_TEST(rows_are_normalised_and_quantised_by_the_formula)
{
	if (!open_one(_i))
		return;
	for (int s = 0; s < N_SIZES; s++) {
		float *x = random_floats(sizes[s], 0, 3);
		float *weight = random_floats(sizes[s], 1, 0.5F);

		check_quantise(x, NULL, sizes[s], 0);
		check_quantise(x, weight, sizes[s], 1);
		for (int i = 0; i < sizes[s]; i++)
			x[i] = (float)(i % 255 - 127) * 0.5F;	/* halves */
		x[0] = 127;
		check_quantise(x, NULL, sizes[s], 2);
		for (int i = 0; i < sizes[s]; i++)
			x[i] *= 1e9F;		/* relu2 reaches that */
		check_quantise(x, weight, sizes[s], 3);
		memset(x, 0, (size_t)sizes[s] * sizeof(*x));
		check_quantise(x, weight, sizes[s], 4);
		free(x);
		free(weight);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("products");
	TCase *t = tcase_create("products");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, ternary_products_are_exact, 0, N_ISAS);
	tcase_add_loop_test(t,
	    products_in_groups_are_exact_sums_times_factors_in_order, 0, N_ISAS);
	tcase_add_loop_test(t, rows_are_normalised_and_quantised_by_the_formula,
	    0, N_ISAS);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
