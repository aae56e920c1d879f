/*
 * The float kernels of every CPU variant, written once over a vector of 16
 * lanes, `vf`.  A variant defines, before it includes this: TARGET (its function
 * attribute), INLINE, vf and the functions vf_* below (cpu_<isa>.h), PV_BLOCK
 * (vectors of a value that it keeps in registers), and vf_prepare, which makes
 * the head's input.
 *
 *	vf_zero set1 load load_n store store_n add sub mul div min max fma round
 *	vf_sum hmax		across lanes, halves first
 *	vf_pow2			2^v of an integral v in -126..127
 *	vf_load_f16 store_f16 load_bf16 load_i8 store_i8
 *	sum_64			of 64 int8
 *
 * So the order of every sum is the same in all of them; what differs is that
 * scalar has no fused multiply-add.
 */
#ifndef DECODE_CPU_FLOAT_H
#define DECODE_CPU_FLOAT_H

#include <math.h>
#include <string.h>

#include "backend/cpu_kernels.h"

/*
 * e^x to 2 ulp: 2^n * 2^f with f in -0.5..0.5; the polynomial is Taylor's, good
 * to 1e-8 there.  Clamped where the result would be no normal number.
 */
INLINE vf
vf_exp(vf x)
{
	static const float c[] = { 1.5403530e-4F, 1.3333558e-3F, 9.6181291e-3F,
	    5.5504109e-2F, 2.4022651e-1F, 6.9314718e-1F, 1.0F };
	vf n, f, p;

	x = vf_min(vf_max(x, vf_set1(-87.0F)), vf_set1(88.0F));
	n = vf_round(vf_mul(x, vf_set1(1.44269504F)));
	/* f = x log2(e) - n, with ln 2 in two parts so that nothing is lost. */
	f = vf_sub(x, vf_mul(n, vf_set1(0.693359375F)));
	f = vf_sub(f, vf_mul(n, vf_set1(-2.12194440e-4F)));
	f = vf_mul(f, vf_set1(1.44269504F));
	p = vf_set1(c[0]);
	for (int i = 1; i < 7; i++)
		p = vf_fma(p, f, vf_set1(c[i]));
	return vf_mul(p, vf_pow2(n));
}

/* 1 / rms of x [n]. */
INLINE float
inverse_rms(const float *x, int n, float eps)
{
	vf sum = vf_zero(), v;
	int i = 0;

	for (; i + CPU_LANES <= n; i += CPU_LANES) {
		v = vf_load(x + i);
		sum = vf_fma(v, v, sum);
	}
	if (i < n) {
		v = vf_load_n(x + i, n - i);
		sum = vf_fma(v, v, sum);
	}
	return 1.0F / sqrtf(vf_sum(sum) / (float)n + eps);
}

/* y = x * inv * weight, weight NULL: y = x; returns the largest |y|. */
INLINE float
scale_row(const float *x, const float *weight, int n, float inv, float *y)
{
	vf top = vf_zero(), v;

	for (int i = 0; i < n; i += CPU_LANES) {
		int k = n - i < CPU_LANES ? n - i : CPU_LANES;

		v = k == CPU_LANES ? vf_load(x + i) : vf_load_n(x + i, k);
		if (weight != NULL)
			v = vf_mul(vf_mul(v, vf_set1(inv)), k == CPU_LANES ?
			    vf_load(weight + i) : vf_load_n(weight + i, k));
		vf_store(y + i, v);	/* y has whole vectors */
		top = vf_max(top, vf_max(v, vf_sub(vf_zero(), v)));
	}
	return vf_hmax(top);
}

/* TERNARY: q = clamp(round_half_even(x * 127 / max(|x|, 1e-5)), -128, 127). */
TARGET static void
quantise(const float *x, const float *weight, int n, float eps, float *tmp,
    struct cpu_rows *out, int r)
{
	int8_t *q = out->q + (size_t)r * (size_t)out->stride;
	float inv = weight == NULL ? 1.0F : inverse_rms(x, n, eps), top, s;
	float lanes[CPU_LANES];
	vf sum = vf_zero(), v;
	int i = 0;
	int32_t total = 0;

	top = scale_row(x, weight, n, inv, tmp);
	s = 127.0F / (top > 1e-5F ? top : 1e-5F);
	for (; i < n; i += CPU_LANES) {
		v = vf_mul(vf_load(tmp + i), vf_set1(s));
		v = vf_min(vf_max(v, vf_set1(-128.0F)), vf_set1(127.0F));
		v = vf_round(v);
		vf_store_i8(q + i, v);
		sum = vf_add(sum, v);
	}
	for (; i < out->stride; i += CPU_LANES)
		vf_store_i8(q + i, vf_zero());
	/* A lane has at most 2^14 values, an integer below 2^24: exact. */
	vf_store(lanes, sum);
	for (i = 0; i < CPU_LANES; i++)
		total += (int32_t)lanes[i];
	out->sum[r] = total;
	out->scale[r] = 1.0F / s;
	for (i = 0; out->parts != NULL && i < out->stride / 64; i++)
		out->parts[r * (out->stride / 64) + i] = sum_64(q + 64 * i);
}

TARGET static void
norm(const float *x, const float *weight, int n, float eps,
    struct cpu_hidden *out, int r)
{
	float *f = out->f + (size_t)r * (size_t)out->f_stride;
	float top = scale_row(x, weight, n, inverse_rms(x, n, eps), f);

	for (int i = (n + CPU_LANES - 1) / CPU_LANES * CPU_LANES;
	    i < out->f_stride; i++)
		f[i] = 0;
	vf_prepare(f, top, out, r);
}

INLINE vf
activate(vf g, vf u, enum model_act act)
{
	vf a;

	if (act == MODEL_RELU2) {
		a = vf_max(g, vf_zero());
		return vf_mul(vf_mul(a, a), u);
	}
	a = vf_add(vf_set1(1.0F), vf_exp(vf_sub(vf_zero(), g)));
	return vf_mul(vf_div(g, a), u);
}

TARGET static void
gate(float *g, const float *u, int n, enum model_act act)
{
	int i = 0;

	for (; i + CPU_LANES <= n; i += CPU_LANES)
		vf_store(g + i, activate(vf_load(g + i), vf_load(u + i), act));
	if (i < n)
		vf_store_n(g + i, activate(vf_load_n(g + i, n - i),
		    vf_load_n(u + i, n - i), act), n - i);
}

TARGET static void
norm_heads(float *x, const float *weight, int n_heads, int head_dim, float eps)
{
	for (int h = 0; h < n_heads; h++, x += head_dim) {
		vf inv = vf_set1(inverse_rms(x, head_dim, eps));

		for (int i = 0; i < head_dim; i += CPU_LANES) {
			int k = head_dim - i < CPU_LANES ? head_dim - i :
			    CPU_LANES;

			vf_store_n(x + i, vf_mul(vf_mul(vf_load_n(x + i, k), inv),
			    vf_load_n(weight + i, k)), k);
		}
	}
}

/* Rotate k pairs (a[i], b[i]), k <= 16. */
INLINE void
rotate(float *a, float *b, const float *cs, const float *sn, int k)
{
	vf x = vf_load_n(a, k), y = vf_load_n(b, k);
	vf c = vf_load_n(cs, k), s = vf_load_n(sn, k);

	vf_store_n(a, vf_sub(vf_mul(x, c), vf_mul(y, s)), k);
	vf_store_n(b, vf_add(vf_mul(y, c), vf_mul(x, s)), k);
}

TARGET static void
rope(float *x, const float *cs, const float *sn, int n_heads, int head_dim,
    bool interleaved)
{
	int half = head_dim / 2;

	for (int h = 0; h < n_heads; h++, x += head_dim) {
		for (int i = 0; !interleaved && i < half; i += CPU_LANES) {
			int k = half - i < CPU_LANES ? half - i : CPU_LANES;

			rotate(x + i, x + half + i, cs + i, sn + i, k);
		}
		for (int i = 0; interleaved && i < half; i++) {
			float a = x[2 * i], b = x[2 * i + 1];

			x[2 * i] = a * cs[i] - b * sn[i];
			x[2 * i + 1] = b * cs[i] + a * sn[i];
		}
	}
}

#include "backend/cpu_attend.h"

#endif
