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

/* Beyond the range of f16 it is cut, so that no infinity enters the cache. */
INLINE vf
fit_f16(vf v)
{
	return vf_min(vf_max(v, vf_set1(-65504.0F)), vf_set1(65504.0F));
}

TARGET static void
store(const struct cpu_cache *c, int32_t page, int slot, const float *k,
    const float *v)
{
	uint16_t *to = c->base + (size_t)page * c->page_stride;
	uint16_t *values = to + (c->head_dim * KV_PAGE + slot * c->v_stride);
	uint16_t one[CPU_LANES];

	for (int i = 0; i < c->head_dim; i += CPU_LANES) {
		int n = c->head_dim - i < CPU_LANES ? c->head_dim - i : CPU_LANES;

		vf_store_f16(one, fit_f16(vf_load_n(k + i, n)));
		for (int j = 0; j < n; j++)
			to[(i + j) * KV_PAGE + slot] = one[j];
		vf_store_f16(values + i, fit_f16(vf_load_n(v + i, n)));
	}
}

/* scores[i][at..at+31] = q . k of one page; n_q is a constant after inlining. */
INLINE void
page_scores(const struct cpu_cache *c, const uint16_t *keys,
    const struct cpu_query *q, const int n_q, float (*scores)[CPU_TILE],
    int at)
{
	vf acc[CPU_QUERIES_MAX][2], k0, k1, x;
	vf scale = vf_set1(1.0F / sqrtf((float)c->head_dim));

	for (int i = 0; i < n_q; i++)
		acc[i][0] = acc[i][1] = vf_zero();
	for (int d = 0; d < c->head_dim; d++, keys += KV_PAGE) {
		k0 = vf_load_f16(keys);
		k1 = vf_load_f16(keys + CPU_LANES);
#pragma GCC unroll 4
		for (int i = 0; i < n_q; i++) {
			x = vf_set1(q[i].q[d]);
			acc[i][0] = vf_fma(x, k0, acc[i][0]);
			acc[i][1] = vf_fma(x, k1, acc[i][1]);
		}
	}
	for (int i = 0; i < n_q; i++) {
		float *to = scores[i] + at;

		vf_store(to, vf_mul(acc[i][0], scale));
		vf_store(to + CPU_LANES, vf_mul(acc[i][1], scale));
	}
}

/*
 * Scores become weights exp(score - max of the tile), 0 from n on; *max and
 * *sum are the tile's.
 */
INLINE void
tile_softmax(float *s, int n, float *max, float *sum)
{
	enum { N = CPU_TILE / CPU_LANES };
	vf v[N], m;

	for (int i = n; i < CPU_TILE; i++)
		s[i] = -INFINITY;
	for (int i = 0; i < N; i++)
		v[i] = vf_load(s + i * CPU_LANES);
	m = vf_max(vf_max(v[0], v[1]), vf_max(v[2], v[3]));
	*max = vf_hmax(m);
	for (int i = 0; i < N; i++)
		vf_store(s + i * CPU_LANES,
		    vf_exp(vf_sub(v[i], vf_set1(*max))));
	for (int i = n; i < CPU_TILE; i++)
		s[i] = 0;
	for (int i = 0; i < N; i++)
		v[i] = vf_load(s + i * CPU_LANES);
	*sum = vf_sum(vf_add(vf_add(v[0], v[1]), vf_add(v[2], v[3])));
}

/*
 * Vectors at..at+PV_BLOCK of the tile's weighted values, merged into acc:
 * acc = acc * keep + values * take.
 */
INLINE void
tile_values(const struct cpu_cache *c, const uint16_t *const *values, int n,
    int at, const int n_v, struct cpu_query *q, const int n_q,
    float (*weights)[CPU_TILE], const float *keep, const float *take)
{
	vf acc[CPU_QUERIES_MAX][PV_BLOCK], v[PV_BLOCK], p;

	for (int i = 0; i < n_q; i++)
		for (int j = 0; j < n_v; j++)
			acc[i][j] = vf_zero();
	for (int s = 0; s < n; s++) {
		const uint16_t *row = values[s / KV_PAGE] +
		    s % KV_PAGE * c->v_stride + at;

		for (int j = 0; j < n_v; j++)
			v[j] = vf_load_f16(row + j * CPU_LANES);
#pragma GCC unroll 4
		for (int i = 0; i < n_q; i++) {
			p = vf_set1(weights[i][s]);
#pragma GCC unroll 4
			for (int j = 0; j < n_v; j++)
				acc[i][j] = vf_fma(p, v[j], acc[i][j]);
		}
	}
	for (int i = 0; i < n_q; i++)
		for (int j = 0; j < n_v; j++) {
			float *to = q[i].acc + at + j * CPU_LANES;

			vf_store(to, vf_fma(vf_load(to), vf_set1(keep[i]),
			    vf_mul(acc[i][j], vf_set1(take[i]))));
		}
}

/* One tile; the queries have one or more of its positions before them. */
INLINE void
attend_tile(const struct cpu_cache *c, const int32_t *pages,
    struct cpu_query *q, const int n_q, int tile)
{
	float s[CPU_QUERIES_MAX][CPU_TILE], keep[CPU_QUERIES_MAX];
	float take[CPU_QUERIES_MAX], max, sum, both, lanes[CPU_LANES];
	const uint16_t *values[CPU_TILE / KV_PAGE] = { 0 };
	int first = tile * CPU_TILE, n = 0, at = 0;

	for (int i = 0; i < n_q; i++)
		n = q[i].pos + 1 - first > n ? q[i].pos + 1 - first : n;
	n = n > CPU_TILE ? CPU_TILE : n;
	for (int p = 0; p * KV_PAGE < n; p++) {
		const uint16_t *page = c->base +
		    (size_t)pages[first / KV_PAGE + p] * c->page_stride;

		page_scores(c, page, q, n_q, s, p * KV_PAGE);
		values[p] = page + c->head_dim * KV_PAGE;
	}
	for (int i = 0; i < n_q; i++) {
		int own = q[i].pos + 1 - first;

		tile_softmax(s[i], own > n ? n : own, &max, &sum);
		both = q[i].max > max ? q[i].max : max;
		vf_store(lanes, vf_exp(vf_set1(q[i].max - both)));
		keep[i] = q[i].sum > 0 ? lanes[0] : 0;
		vf_store(lanes, vf_exp(vf_set1(max - both)));
		take[i] = lanes[0];
		q[i].max = both;
		q[i].sum = q[i].sum * keep[i] + sum * take[i];
	}
	for (; at + PV_BLOCK * CPU_LANES <= c->v_stride;
	    at += PV_BLOCK * CPU_LANES)
		tile_values(c, values, n, at, PV_BLOCK, q, n_q, s, keep, take);
	for (; at < c->v_stride; at += CPU_LANES)
		tile_values(c, values, n, at, 1, q, n_q, s, keep, take);
}

/* One function for each number of queries, which is a constant in it. */
#define ATTEND(n_q)                                                          \
	TARGET static __attribute__((noinline)) void                         \
	attend_##n_q(const struct cpu_cache *c, const int32_t *pages,        \
	    struct cpu_query *q, int tile)                                   \
	{                                                                    \
		attend_tile(c, pages, q, n_q, tile);                         \
	}
ATTEND(1)
ATTEND(2)
#if ATTEND_QUERIES == 4
ATTEND(3)
ATTEND(4)
#endif

TARGET static void
attend(const struct cpu_cache *c, const int32_t *pages, struct cpu_query *q,
    int n_q, int from, int to)
{
	static void (*const tile_of[])(const struct cpu_cache *,
	    const int32_t *, struct cpu_query *, int) = {
		attend_1, attend_2,
#if ATTEND_QUERIES == 4
		attend_3, attend_4,
#endif
	};

	for (int tile = from; tile < to; tile++) {
		int skip = 0;

		/* Queries stand in rising order of pos. */
		while (skip < n_q && q[skip].pos < tile * CPU_TILE)
			skip++;
		if (skip < n_q)
			tile_of[n_q - skip - 1](c, pages, q + skip, tile);
	}
}

#endif
