/*
 * Every kernel of floats of every CPU variant against its definition in
 * cpu_kernels.h, written here once more in the plainest way, on sizes with odd
 * ends and on extreme values, with the error of their sums: a few units in the
 * last place.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_variants.h"
#include "random_model.h"
#include "slow.h"

START_TEST(the_gate_is_relu_squared_or_silu)
{
	float g[300], u[300], was[300];

	if (!open_one(_i))
		return;
	for (int n = 1; n < 300; n += 13)
		for (int act = 0; act < 2; act++) {
			for (int i = 0; i < 300; i++) {
				g[i] = was[i] = i == 0 ? -200 : i == 1 ? 200 :
				    10 * random_float();
				u[i] = random_float();
			}
			k.gate(g, u, n, act == 0 ? MODEL_RELU2 : MODEL_SILU);
			for (int i = 0; i < n; i++) {
				double v = (double)was[i], want;

				want = act == 0 ? v > 0 ? v * v : 0 :
				    v / (1 + exp(-v));
				want *= (double)u[i];
				ck_assert_double_eq_tol((double)g[i], want,
				    1e-6 * fabs(want) + 1e-30);
			}
			ck_assert(g[n] == was[n]);
		}
}
END_TEST

START_TEST(each_head_is_normalised_for_itself)
{
	static const int dims[] = { 2, 34, 64, 100, 128, 256 };
	float x[3 * 256 + 1], was[3 * 256];

	if (!open_one(_i))
		return;
	for (int c = 0; c < 6; c++) {
		int dim = dims[c];
		float *weight = random_floats(dim, 1, 0.5F);

		for (int i = 0; i < 3 * dim; i++)
			x[i] = was[i] = random_float();
		x[3 * dim] = 77;
		k.norm_heads(x, weight, 3, dim, 1e-5F);
		for (int i = 0; i < 3 * dim; i++) {
			double sum = 0, v = (double)was[i];

			for (int j = 0; j < dim; j++)
				sum += pow((double)was[i / dim * dim + j], 2);
			v = v / sqrt(sum / dim + 1e-5) *
			    (double)weight[i % dim];
			ck_assert_double_eq_tol((double)x[i], v,
			    2e-6 * fabs(v));
		}
		ck_assert(x[3 * dim] == 77);
		free(weight);
	}
}
END_TEST

START_TEST(rope_turns_split_or_interleaved_pairs)
{
	static const int dims[] = { 2, 34, 64, 100, 128, 256 };
	float x[3 * 256 + 1], was[3 * 256], cs[128], sn[128];

	if (!open_one(_i))
		return;
	for (int c = 0; c < 12; c++) {
		int dim = dims[c / 2], half = dim / 2;
		bool inter = c % 2;

		for (int i = 0; i < 3 * 256; i++)
			x[i] = was[i] = random_float();
		x[3 * dim] = 77;
		for (int i = 0; i < half; i++) {
			cs[i] = cosf((float)i);
			sn[i] = sinf((float)i);
		}
		k.rope(x, cs, sn, 3, dim, inter);
		for (int i = 0; i < 3 * half; i++) {
			int h = i / half * dim, j = i % half;
			int a = h + (inter ? 2 * j : j);
			int b = h + (inter ? 2 * j + 1 : half + j);

			ck_assert_float_eq_tol(x[a],
			    was[a] * cs[j] - was[b] * sn[j], 1e-6F);
			ck_assert_float_eq_tol(x[b],
			    was[b] * cs[j] + was[a] * sn[j], 1e-6F);
		}
		ck_assert(x[3 * dim] == 77);
	}
}
END_TEST

enum { N_POS = 200, N_PAGES = 7 };

/* Softmax attention of one query over keys and values [N_POS, dim], in double. */
static void
plain_attention(const float *q, const float *keys, const float *values, int dim,
    int pos, double *out)
{
	double scores[N_POS], max = -INFINITY, sum = 0;

	for (int p = 0; p <= pos; p++) {
		scores[p] = 0;
		for (int d = 0; d < dim; d++)
			scores[p] += (double)q[d] * (double)keys[p * dim + d];
		scores[p] /= sqrt(dim);
		max = fmax(max, scores[p]);
	}
	for (int p = 0; p <= pos; p++)
		sum += scores[p] = exp(scores[p] - max);
	for (int d = 0; d < dim; d++) {
		out[d] = 0;
		for (int p = 0; p <= pos; p++)
			out[d] += scores[p] / sum * (double)values[p * dim + d];
	}
}

static void
check_attention(int dim, int pos, bool i8)
{
	static const int32_t pages[N_PAGES] = { 3, 0, 6, 1, 5, 2, 4 };
	int v_stride = (dim + CPU_LANES - 1) / CPU_LANES * CPU_LANES;
	struct cpu_cache c = { .head_dim = dim, .v_stride = v_stride, .i8 = i8 };
	size_t bytes = (cpu_page_bytes(&c) + 64) * N_PAGES;
	float *keys = random_floats(N_POS * dim, 0, 1);
	float *values = random_floats(N_POS * dim, 0, 1);
	float *q = random_floats(CPU_QUERIES_MAX * dim, 0, 2);
	float *acc = random_take((size_t)(CPU_QUERIES_MAX * v_stride) * 4);
	struct cpu_query queries[CPU_QUERIES_MAX];
	double want[256], off = i8 ? 0.3 : 0.02;
	float out[256];

	/* What is not stored is NaN: it must not be looked at. */
	c.page_stride = cpu_page_bytes(&c) + 64;
	c.base = random_take(bytes);
	memset(c.base, 0xff, bytes);
	for (int p = 0; p <= pos; p++)
		k.store(&c, pages[p / KV_PAGE], p % KV_PAGE, keys + p * dim,
		    values + p * dim);
	for (int n = 1; n <= k.n_queries; n++) {
		memset(acc, 0, (size_t)(CPU_QUERIES_MAX * v_stride) * 4);
		for (int i = 0; i < n; i++)
			queries[i] = (struct cpu_query){ .q = q + i * dim,
				.acc = acc + i * v_stride, .max = -INFINITY,
				.pos = pos - n + 1 + i < 0 ? 0 :
				    pos - n + 1 + i };
		k.attend(&c, pages, queries, n, 0, pos / CPU_TILE + 1);
		for (int i = 0; i < n; i++) {
			plain_attention(queries[i].q, keys, values, dim,
			    queries[i].pos, want);
			k.merge(&queries[i], 1, dim, out);
			/* Keys and values have 11 bits: 2^-11 of |v| <= 8; or 8
			 * bits, 8 / 254 of v and as much of every element of k. */
			for (int d = 0; d < dim; d++)
				ck_assert_msg(fabs((double)out[d] - want[d]) <
				    off, "%s, dim %d, pos %d, query %d of %d, "
				    "i8 %d: %g is not %g", k.isa, dim, pos, i, n,
				    i8, (double)out[d], want[d]);
		}
	}
	free(c.base);
	free(keys);
	free(values);
	free(q);
	free(acc);
}

START_TEST(attention_is_softmax_of_what_is_stored)
{
	static const int dims[] = { 2, 40, 64, 100, 128, 256 };
	static const int positions[] = { 0, 1, 31, 32, 63, 64, 65, 130, 199 };

	if (!open_one(_i))
		return;
	for (int d = 0; d < 6; d++)
		for (int p = 0; p < 18; p += SLOW ? 5 : 1)
			check_attention(dims[d], positions[p / 2], p % 2);
}
END_TEST

START_TEST(values_beyond_f16_are_cut_and_not_infinite)
{
	uint16_t page[KV_PAGE * (16 + 16)] = { 0 };
	struct cpu_cache c = { .base = (char *)page, .page_stride = 1,
		.head_dim = 16, .v_stride = 16 };
	float key[16] = { 1e9F, -1e9F, 65504, 1e-8F, 6e-8F, 1, -0.0F, 2049, 2051,
		0.1F };
	/* largest, -largest, largest, 0, smallest, 1, -0, ties to even twice */
	static const uint16_t want[] = { 0x7bff, 0xfbff, 0x7bff, 0, 1, 0x3c00,
		0x8000, 0x6800, 0x6802, 0x2e66 };

	if (!open_one(_i))
		return;
	k.store(&c, 0, 3, key, key);
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(page[i * KV_PAGE + 3], want[i]);
		ck_assert_int_eq(page[16 * KV_PAGE + 3 * 16 + i], want[i]);
	}
}
END_TEST

static void
check_head(enum dense_type type, int n, int group)
{
	int f = (n + 15) / 16 * 16, q = (f + 255) / 256 * 256;
	struct cpu_hidden x = { .f_stride = f, .q_stride = q,
		.f = random_take((size_t)(3 * f) * 4),
		.q = random_take((size_t)(3 * q) * 2),
		.scale = random_take(3 * 4), .sum = random_take(3 * 8) };
	float *in = random_floats(3 * n, 0, 5), *ones = random_floats(n, 1, 0);
	float *row = random_take((size_t)n * 4), y[3 * N_OUT];
	struct dense w;

	random_dense(&w, type, N_OUT, n, group);
	for (int r = 0; r < 3; r++)
		k.norm(in + r * n, ones, n, 1e-5F, &x, r);
	for (int i = 0; i < 3 * N_OUT; i++)
		y[i] = 77;
	k.head(&w, 2, N_OUT, &x, 3, y, N_OUT);
	for (int i = 0; i < 3 * N_OUT; i++) {
		double want = 0, size = 0, top = 0;

		if (i % N_OUT < 2) {
			ck_assert(y[i] == 77);
			continue;
		}
		for (int j = 0; j < n; j++)
			top = fmax(top, fabs((double)x.f[i / N_OUT * f + j]));
		dense_row(&w, i % N_OUT, row);
		for (int j = 0; j < n; j++) {
			double p = (double)row[j] *
			    (double)x.f[i / N_OUT * f + j];

			want += p;
			size += fabs(p) * 1e-5 +
			    fabs((double)row[j]) * top / 32512 / 2;
		}
		/* Sums of floats, or half a step of a hidden state of 16 bits. */
		ck_assert_msg(fabs((double)y[i] - want) < 1e-6 + size,
		    "%s, type %d, %d, groups of %d: %g is not %g", k.isa,
		    (int)type, n, group, (double)y[i], want);
	}
	free(x.f);
	free(x.q);
	free(x.scale);
	free(x.sum);
	free(in);
	free(ones);
	free(row);
	free((void *)(uintptr_t)w.data);
	free((void *)(uintptr_t)w.scales);
}

START_TEST(the_head_multiplies_what_was_normalised)
{
	static const enum dense_type types[] = { DENSE_BF16, DENSE_I8, DENSE_F32,
		DENSE_F16, DENSE_Q6, DENSE_Q4 };

	if (!open_one(_i))
		return;
	for (int s = 0; s < N_SIZES; s++)
		for (int type = 0; type < 6; type++)
			check_head(types[type], sizes[s], 0);
	for (int s = 0; s < N_SIZES; s++)
		for (int group = 16; group <= 1024; group *= 2)
			check_head(DENSE_I8, sizes[s], group);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("kernels");
	TCase *t = tcase_create("kernels");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, each_head_is_normalised_for_itself, 0, N_ISAS);
	tcase_add_loop_test(t, the_gate_is_relu_squared_or_silu, 0, N_ISAS);
	tcase_add_loop_test(t, rope_turns_split_or_interleaved_pairs, 0, N_ISAS);
	tcase_add_loop_test(t, attention_is_softmax_of_what_is_stored, 0, N_ISAS);
	tcase_add_loop_test(t, values_beyond_f16_are_cut_and_not_infinite, 0,
	    N_ISAS);
	tcase_add_loop_test(t, the_head_multiplies_what_was_normalised, 0, N_ISAS);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
