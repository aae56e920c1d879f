/*
 * NEON against scalar, without Check, so that it can be linked statically and run
 * by an emulator.  Sums of integers have the same bits; floats may differ by the
 * fused multiply-add, which scalar lacks.  Exits 0 when all is the same, 77 if the
 * processor has no NEON with dot products.
 */
#include <stdio.h>

#include "../unit/decode/random_model.h"
#include "backend/cpu_kernels.h"

enum { SHAPES = 24, ROWS = 17, N = 700, STRIDE = 768, HEADS = 3, OUTS = 13 };

static struct cpu_kernels neon, scalar;
static int bad;

static void
near(const char *what, const float *a, const float *b, int n, double tolerance)
{
	for (int i = 0; i < n; i++)
		if (!(fabs((double)a[i] - (double)b[i]) <=
		    tolerance * (1 + fabs((double)b[i])))) {
			printf("%s: [%d] is %.9g, not %.9g\n", what, i,
			    (double)a[i], (double)b[i]);
			bad++;
			return;
		}
}

static void
same(const char *what, const void *a, const void *b, size_t n)
{
	if (memcmp(a, b, n) != 0) {
		printf("%s: other bits\n", what);
		bad++;
	}
}

static void
rows_take(struct cpu_rows *x, int n)
{
	x->stride = (n + TERNARY_BLOCK - 1) / TERNARY_BLOCK * TERNARY_BLOCK;
	x->q = random_take((size_t)(ROWS * x->stride));
	x->scale = random_take(ROWS * sizeof(float));
	x->sum = random_take(ROWS * sizeof(int32_t));
	x->parts = random_take((size_t)(ROWS * x->stride / 64) * 4);
}

static void
ternary_shape(int n_in, int group)
{
	struct ternary w, base3;
	struct cpu_rows x;
	int n_out = 1 + random_below(40);
	size_t n = (size_t)(ROWS * n_out) * sizeof(float);
	float *a = random_take(n), *b = random_take(n);

	random_ternary(&w, n_out, n_in, group);
	base3 = random_as_base3(&w);
	rows_take(&x, n_in);
	for (int r = 0; r < ROWS; r++) {
		x.scale[r] = 0.5F + random_float();
		for (int i = 0; i < n_in; i++) {
			int v = random_below(256) - 128;

			x.q[r * x.stride + i] = (int8_t)v;
			x.sum[r] += v;
			x.parts[r * (x.stride / 64) + i / 64] += v;
		}
	}
	for (int rows = 1; rows <= ROWS; rows++) {
		int from = random_below(n_out);
		int to = from + 1 + random_below(n_out - from);

		for (int i = 0; i < ROWS * n_out; i++)
			a[i] = b[i] = 0.25F;
		neon.ternary(&w, from, to, &x, rows, a, n_out, rows % 2 == 0);
		scalar.ternary(&w, from, to, &x, rows, b, n_out, rows % 2 == 0);
		same(group > 0 ? "ternary in groups" : "ternary", a, b, n);
		for (int i = 0; i < ROWS * n_out; i++)
			a[i] = 0.25F;
		neon.ternary(&base3, from, to, &x, rows, a, n_out,
		    rows % 2 == 0);
		same("layout B3", a, b, n);
		for (int i = 0; i < ROWS * n_out; i++)
			a[i] = 0.25F;
		scalar.ternary(&base3, from, to, &x, rows, a, n_out,
		    rows % 2 == 0);
		same("layout B3, scalar", a, b, n);
	}
}

static void
head_shape(enum dense_type type, int n, int group)
{
	int f = (n + 15) / 16 * 16, q = (n + 255) / 256 * 256;
	bool integers = group == 0 && (type == DENSE_I8 || packed_bits(type) > 0);
	struct cpu_hidden h[2];
	struct dense w;
	float *x = random_floats(ROWS * n, 0, 1), *weight = random_floats(n, 1, 0.1F);
	float y[2][ROWS * OUTS];

	random_dense(&w, type, OUTS, n, group);
	for (int i = 0; i < 2; i++) {
		h[i] = (struct cpu_hidden){ random_floats(ROWS * f, 0, 1),
			random_take((size_t)(ROWS * q) * 2),
			random_take(ROWS * sizeof(float)),
			random_take(ROWS * sizeof(int64_t)), f, q };
		for (int r = 0; r < ROWS; r++)
			(i == 0 ? scalar : neon).norm(x + r * n, weight, n,
			    1e-5F, &h[i], r);
	}
	near("norm", h[1].f, h[0].f, ROWS * f, 1e-6);
	/* The same numbers for both, each in its own form. */
	memcpy(h[1].f, h[0].f, (size_t)(ROWS * f) * sizeof(float));
	for (int i = 0; i < ROWS * n && integers; i++) {
		int r = i / n, at = i % n, v = h[0].q[r * q + at];
		int8_t *planes = (int8_t *)(h[1].q + r * q);

		planes[at] = (int8_t)((v + 128) >> 8);
		planes[q + at] = (int8_t)(v - 256 * planes[at]);
		h[1].sum[r] = h[0].sum[r];
		h[1].scale[r] = h[0].scale[r];
	}
	for (int rows = 1; rows <= ROWS; rows++) {
		for (int i = 0; i < ROWS * OUTS; i++)
			y[0][i] = y[1][i] = 0.25F;
		scalar.head(&w, 1, 12, &h[0], rows, y[0], OUTS);
		neon.head(&w, 1, 12, &h[1], rows, y[1], OUTS);
		if (integers)
			same("head of integers", y[1], y[0], sizeof(y[0]));
		else
			near("head", y[1], y[0], ROWS * OUTS, 1e-3);
	}
}

static void
float_kernels(int n)
{
	float *x = random_floats(HEADS * n, 0, 1), *u = random_floats(n, 1, 0.5F);
	float *a = random_take((size_t)(HEADS * n) * 4), *tmp = random_take(N * 8);
	float *b = random_take((size_t)(HEADS * n) * 4);
	size_t size = (size_t)(HEADS * n) * 4;
	struct cpu_rows p, q;

#define BOTH(what, tolerance, call) do { \
		memcpy(a, x, size); \
		memcpy(b, x, size); \
		{ float *v = a; neon.call; } \
		{ float *v = b; scalar.call; } \
		near(what, a, b, HEADS * n, tolerance); \
	} while (0)
	BOTH("relu2", 1e-6, gate(v, u, n, MODEL_RELU2));
	BOTH("silu", 1e-5, gate(v, u, n, MODEL_SILU));
	BOTH("norm of heads", 1e-5, norm_heads(v, u, HEADS, n, 1e-5F));
	BOTH("rope", 0, rope(v, u, u + n / 2, HEADS, n / 2 * 2, false));
	BOTH("rope in pairs", 0, rope(v, u, u + n / 2, HEADS, n / 2 * 2, true));
#undef BOTH
	rows_take(&p, n);
	rows_take(&q, n);
	neon.quantise(x, NULL, n, 0, tmp, &p, 0);
	scalar.quantise(x, NULL, n, 0, tmp, &q, 0);
	same("quantise", p.q, q.q, (size_t)p.stride);
	same("its sum", p.sum, q.sum, sizeof(*p.sum));
	same("its parts", p.parts, q.parts, (size_t)(p.stride / 64) * 4);
}

static void
attention(int head_dim, bool i8)
{
	static const int32_t pages[] = { 3, 1, 0, 2, 0, 0 };
	struct cpu_cache c[2];
	float out[2][2][256] = { { { 0 } } };
	float *k = random_floats(head_dim, 0, 1), *q = random_floats(2 * head_dim, 0, 1);
	size_t size;

	for (int i = 0; i < 2; i++) {
		c[i] = (struct cpu_cache){ .head_dim = head_dim, .i8 = i8,
			.v_stride = (head_dim + 15) / 16 * 16 };
		c[i].page_stride = cpu_page_bytes(&c[i]);
		c[i].base = random_take(4 * c[i].page_stride);
	}
	size = 4 * c[0].page_stride;
	for (int p = 0; p < 100; p++) {
		for (int d = 0; d < head_dim; d++)
			k[d] = random_float();
		for (int i = 0; i < 2; i++)
			(i == 0 ? scalar : neon).store(&c[i], pages[p / KV_PAGE],
			    p % KV_PAGE, k, k);
	}
	same("cache", c[0].base, c[1].base, size);
	for (int i = 0; i < 2; i++) {
		const struct cpu_kernels *one = i == 0 ? &scalar : &neon;
		struct cpu_query both[2];

		for (int j = 0; j < 2; j++)
			both[j] = (struct cpu_query){ q + j * head_dim,
				random_take(1024), -INFINITY, 0, 98 + j };
		one->attend(&c[i], pages, both, 2, 0, 2);
		for (int j = 0; j < 2; j++)
			one->merge(&both[j], 1, head_dim, out[i][j]);
	}
	near("attention", out[1][0], out[0][0], 512, 1e-4);
}

int
main(void)
{
	struct err e;

	if (cpu_kernels_open("neon", &neon, &e) != 0)
		return 77;
	if (cpu_kernels_open("scalar", &scalar, &e) != 0)
		return 1;
	for (int i = 0; i < SHAPES; i++) {
		ternary_shape(1 + random_below(3000), 0);
		ternary_shape(1 + random_below(3000), 64 * (1 + random_below(9)));
		float_kernels(2 + random_below(N - 2));
		head_shape(DENSE_I8, 1 + random_below(N), 0);
		head_shape(DENSE_Q6, 1 + random_below(N), 0);
		head_shape(DENSE_Q4, 1 + random_below(N), 0);
	}
	ternary_shape(8200, 0);
	ternary_shape(33000, 576);
	head_shape(DENSE_I8, 320, 32);
	head_shape(DENSE_F32, 333, 0);
	head_shape(DENSE_F16, 333, 0);
	head_shape(DENSE_BF16, 333, 0);
	for (int i = 0; i < 2; i++) {
		attention(128, i == 1);
		attention(100, i == 1);
	}
	if (bad == 0)
		printf("ok   %s\n", neon.title);
	return bad > 0;
}
