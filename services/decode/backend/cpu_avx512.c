/*
 * AVX-512 with VNNI: vpdpbusd multiplies 64 unsigned bytes by 64 signed ones
 * and adds them by fours.  Codes 0..2 are the unsigned side, so activations need
 * no offset, and what the offset of 1 in the codes adds is the sum of the row,
 * subtracted once (TERNARY, CPU).
 *
 * One row of activations (decode) is bound by reading weights: the two bits are
 * masked where they stand, which multiplies by 1, 4, 16 or 64, and each of the
 * four has its own sum, which is shifted back at the end.  Several rows (prefill)
 * are bound by the multiplications: codes are shifted down once for all rows, 4
 * outputs by 4 rows in registers.
 */
#include <immintrin.h>
#include <string.h>

#include "backend/cpu_kernels.h"

#define TARGET __attribute__((target( \
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")))
#define VF TARGET static inline __attribute__((always_inline))

enum { PV_BLOCK = 4, OUT_TILE = 32, AHEAD = 4096 };
#define ATTEND_QUERIES 4

int cpu_avx512_open(struct cpu_kernels *k, struct err *e);

typedef __m512 vf;

VF __mmask16 first_lanes(int n) { return (__mmask16)((1U << n) - 1); }
VF vf vf_zero(void) { return _mm512_setzero_ps(); }
VF vf vf_set1(float x) { return _mm512_set1_ps(x); }
VF vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
VF vf vf_load_n(const float *p, int n)
{
	return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
VF void vf_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
VF void vf_store_n(float *p, vf v, int n)
{
	_mm512_mask_storeu_ps(p, first_lanes(n), v);
}
VF vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
VF vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
VF vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
VF vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
VF vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
VF vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
VF vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
VF vf vf_round(vf v) { return _mm512_roundscale_ps(v, 8); }
VF vf vf_pow2(vf v) { return _mm512_scalef_ps(_mm512_set1_ps(1.0F), v); }

VF float
vf_sum(vf v)
{
	__m256 a = _mm256_add_ps(_mm512_castps512_ps256(v),
	    _mm512_extractf32x8_ps(v, 1));
	__m128 b = _mm_add_ps(_mm256_castps256_ps128(a),
	    _mm256_extractf128_ps(a, 1));

	b = _mm_add_ps(b, _mm_movehl_ps(b, b));
	return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
}

VF float vf_hmax(vf v) { return _mm512_reduce_max_ps(v); }

VF vf
vf_load_f16(const uint16_t *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

VF void
vf_store_f16(uint16_t *p, vf v)
{
	_mm256_storeu_si256((void *)p, _mm512_cvtps_ph(v, 8));
}

VF vf
vf_load_bf16(const uint16_t *p)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(
	    _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p)), 16));
}

VF vf
vf_load_i8(const int8_t *p)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(
	    _mm_loadu_si128((const void *)p)));
}

VF int32_t
sum_64(const int8_t *q)
{
	return _mm512_reduce_add_epi32(_mm512_dpbusd_epi32(
	    _mm512_setzero_si512(), _mm512_set1_epi8(1),
	    _mm512_loadu_si512(q)));
}

VF void
vf_store_i8(int8_t *q, vf v)
{
	_mm_storeu_si128((void *)q,
	    _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v)));
}

/*
 * 16 bits of the hidden state in two signed bytes, 256 * high + low, in two
 * planes of a row, so that both go through vpdpbusd with the head's int8
 * (made unsigned by adding 128).  32512 = 127 * 256 keeps high inside a byte.
 */
TARGET static void
vf_prepare(const float *f, float top, struct cpu_hidden *out, int r)
{
	size_t stride = (size_t)out->q_stride;
	int8_t *high = (int8_t *)(out->q + (size_t)r * stride);
	int8_t *low = high + stride;
	float s = 32512.0F / (top > 1e-30F ? top : 1e-30F);
	int64_t sum = 0;

	for (int i = 0; i < out->q_stride; i += CPU_LANES) {
		__m512i v = _mm512_setzero_si512(), h;

		if (i < out->f_stride)
			v = _mm512_cvtps_epi32(_mm512_mul_ps(vf_load(f + i),
			    vf_set1(s)));
		h = _mm512_srai_epi32(_mm512_add_epi32(v,
		    _mm512_set1_epi32(128)), 8);
		_mm_storeu_si128((void *)(high + i), _mm512_cvtsepi32_epi8(h));
		_mm_storeu_si128((void *)(low + i), _mm512_cvtepi32_epi8(
		    _mm512_sub_epi32(v, _mm512_slli_epi32(h, 8))));
		sum += _mm512_reduce_add_epi32(v);
	}
	out->sum[r] = sum;
	out->scale[r] = 1.0F / s;
}

#include "backend/cpu_float.h"

/* Sums of the lanes of 4 vectors, as the 4 lanes of the result. */
INLINE __m128i
add_up4(__m512i a, __m512i b, __m512i c, __m512i d)
{
	__m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b),
	    _mm512_unpackhi_epi32(a, b));
	__m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d),
	    _mm512_unpackhi_epi32(c, d));
	__m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd),
	    _mm512_unpackhi_epi64(ab, cd));
	__m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all),
	    _mm512_extracti64x4_epi64(all, 1));

	return _mm_add_epi32(_mm256_castsi256_si128(half),
	    _mm256_extracti128_si256(half, 1));
}

/* y[0..n_o] (+)= (sums - sum of the row) * scales. */
INLINE void
finish(__m128i sums, const struct cpu_rows *x, int r, const float *scales,
    int n_o, float *y, bool add)
{
	__mmask8 k = (__mmask8)((1U << n_o) - 1);
	__m128 v = _mm_cvtepi32_ps(_mm_sub_epi32(sums,
	    _mm_set1_epi32(x->sum[r])));

	v = _mm_mul_ps(v, _mm_mul_ps(_mm_maskz_loadu_ps(k, scales),
	    _mm_set1_ps(x->scale[r])));
	if (add)
		v = _mm_add_ps(_mm_maskz_loadu_ps(k, y), v);
	_mm_mask_storeu_ps(y, k, v);
}

/* Row o + i of w, or the last one that counts. */
INLINE const uint8_t *
row_of(const struct ternary *w, int o, int i, int n_o)
{
	return w->codes + (size_t)(o + (i < n_o ? i : 0)) * (size_t)w->stride;
}

/* 4 outputs of one row of activations. */
INLINE void
tile_1(const struct ternary *w, int o, int n_o, const struct cpu_rows *x,
    int r, float *y, bool add)
{
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	const __m512i mask = _mm512_set1_epi8(3);
	__m512i acc[4][4], sum[4];

	for (int i = 0; i < 4; i++)
		for (int j = 0; j < 4; j++)
			acc[i][j] = _mm512_setzero_si512();
	for (int at = 0; at < w->stride; at += 64, q += TERNARY_BLOCK) {
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++) {
			const uint8_t *c = row_of(w, o, i, n_o) + at;
			__m512i v = _mm512_loadu_si512(c), m = mask;

			_mm_prefetch((const char *)c + AHEAD, _MM_HINT_T0);
#pragma GCC unroll 4
			for (int j = 0; j < 4; j++) {
				acc[i][j] = _mm512_dpbusd_epi32(acc[i][j],
				    _mm512_and_si512(v, m),
				    _mm512_loadu_si512(q + 64 * j));
				m = _mm512_slli_epi16(m, 2);
			}
		}
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		sum[i] = _mm512_add_epi32(
		    _mm512_add_epi32(acc[i][0], _mm512_srai_epi32(acc[i][1], 2)),
		    _mm512_add_epi32(_mm512_srai_epi32(acc[i][2], 4),
		        _mm512_srai_epi32(acc[i][3], 6)));
	finish(add_up4(sum[0], sum[1], sum[2], sum[3]), x, r, w->scales + o, n_o,
	    y + o, add);
}

/* 4 outputs of n_r rows; n_r is a constant after inlining. */
INLINE void
tile_n(const struct ternary *w, int o, int n_o, const struct cpu_rows *x,
    int r, const int n_r, float *y, int y_stride, bool add)
{
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	const __m512i mask = _mm512_set1_epi8(3);
	__m512i acc[4][4], v[4];

	for (int i = 0; i < 4; i++)
		for (int j = 0; j < n_r; j++)
			acc[i][j] = _mm512_setzero_si512();
	for (int at = 0; at < w->stride; at += 64) {
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++)
			v[i] = _mm512_loadu_si512(row_of(w, o, i, n_o) + at);
#pragma GCC unroll 4
		for (int part = 0; part < 4; part++, q += 64) {
#pragma GCC unroll 4
			for (int j = 0; j < n_r; j++) {
				__m512i a = _mm512_loadu_si512(q +
				    (size_t)j * (size_t)x->stride);
#pragma GCC unroll 4
				for (int i = 0; i < 4; i++)
					acc[i][j] = _mm512_dpbusd_epi32(
					    acc[i][j],
					    _mm512_and_si512(v[i], mask), a);
			}
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++)
				v[i] = _mm512_srli_epi16(v[i], 2);
		}
	}
#pragma GCC unroll 4
	for (int j = 0; j < n_r; j++)
		finish(add_up4(acc[0][j], acc[1][j], acc[2][j], acc[3][j]), x,
		    r + j, w->scales + o, n_o,
		    y + (size_t)(r + j) * (size_t)y_stride + o, add);
}

/* The factors of group g of 4 outputs, the first n_o of which count. */
INLINE __m128
scales_of(const struct ternary *w, int o, int n_o, int n_groups, int g)
{
	const float *s = w->scales + (size_t)o * (size_t)n_groups + g;

	return _mm_setr_ps(s[0], s[n_o > 1 ? n_groups : 0],
	    s[n_o > 2 ? 2 * n_groups : 0], s[n_o > 3 ? 3 * n_groups : 0]);
}

/*
 * The same with a factor for each group of columns: what its codes add up to is
 * taken out of the registers at its end.  A part is 64 columns.
 */
INLINE void
tile_groups(const struct ternary *w, int o, int n_o, const struct cpu_rows *x,
    int r, const int n_r, float *y, int y_stride, bool add)
{
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	const int32_t *parts = x->parts + r * (x->stride / 64);
	const int n_groups = (w->n_in + w->group - 1) / w->group;
	const int n_parts = (w->n_in + 63) / 64;
	const __mmask8 k = (__mmask8)((1U << n_o) - 1);
	const __m512i mask = _mm512_set1_epi8(3);
	__m512i acc[4][4], v[4];
	__m128 total[4], f;
	int32_t sum[4] = { 0 };

	for (int i = 0; i < 4; i++) {
		v[i] = mask;	/* for the compiler: part 0 loads it */
		for (int j = 0; j < n_r; j++)
			acc[i][j] = _mm512_setzero_si512();
	}
	for (int j = 0; j < n_r; j++)
		total[j] = _mm_setzero_ps();
	for (int part = 0, g = 0, left = w->group / 64; part < n_parts; part++,
	    q += 64) {
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++) {
			const uint8_t *c = row_of(w, o, i, n_o) + part / 4 * 64;

			if (part % 4 == 0) {
				v[i] = _mm512_loadu_si512(c);
				_mm_prefetch((const char *)c + AHEAD, _MM_HINT_T0);
			} else {
				v[i] = _mm512_srli_epi16(v[i], 2);
			}
		}
#pragma GCC unroll 4
		for (int j = 0; j < n_r; j++) {
			__m512i a = _mm512_loadu_si512(q +
			    (size_t)j * (size_t)x->stride);

			sum[j] += parts[j * (x->stride / 64) + part];
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++)
				acc[i][j] = _mm512_dpbusd_epi32(acc[i][j],
				    _mm512_and_si512(v[i], mask), a);
		}
		if (--left > 0 && part + 1 < n_parts)
			continue;
		f = scales_of(w, o, n_o, n_groups, g++);
		left = w->group / 64;
#pragma GCC unroll 4
		for (int j = 0; j < n_r; j++) {
			__m128i s = _mm_sub_epi32(add_up4(acc[0][j], acc[1][j],
			    acc[2][j], acc[3][j]), _mm_set1_epi32(sum[j]));

			total[j] = _mm_add_ps(total[j],
			    _mm_mul_ps(_mm_cvtepi32_ps(s), f));
			sum[j] = 0;
			for (int i = 0; i < 4; i++)
				acc[i][j] = _mm512_setzero_si512();
		}
	}
	for (int j = 0; j < n_r; j++, y += y_stride) {
		__m128 t = _mm_mul_ps(total[j], _mm_set1_ps(x->scale[r + j]));

		if (add)
			t = _mm_add_ps(_mm_maskz_loadu_ps(k, y + o), t);
		_mm_mask_storeu_ps(y + o, k, t);
	}
}

/* The same as ternary, in the same order. */
TARGET static __attribute__((noinline)) void
ternary_groups(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add)
{
	for (int tile = from; tile < to; tile += OUT_TILE) {
		int end = tile + OUT_TILE < to ? tile + OUT_TILE : to, n_r;

		for (int r = 0; r < n_rows; r += n_r) {
			float *to_row = y + (size_t)r * (size_t)y_stride;

			n_r = n_rows - r < 4 ? n_rows - r < 2 ? 1 : 2 : 4;
			for (int o = tile; o < end; o += 4) {
				int n_o = end - o < 4 ? end - o : 4;

				if (n_r == 4)
					tile_groups(w, o, n_o, x, r, 4, to_row,
					    y_stride, add);
				else if (n_r == 2)
					tile_groups(w, o, n_o, x, r, 2, to_row,
					    y_stride, add);
				else
					tile_groups(w, o, n_o, x, r, 1, to_row,
					    y_stride, add);
			}
		}
	}
}

TARGET static void
ternary(const struct ternary *w, int from, int to, const struct cpu_rows *x,
    int n_rows, float *y, int y_stride, bool add)
{
	if (cpu_in_groups(w->group, w->n_in)) {
		ternary_groups(w, from, to, x, n_rows, y, y_stride, add);
		return;
	}
	/* Outputs in tiles whose weights stay in the first cache meanwhile. */
	for (int tile = from; tile < to; tile += OUT_TILE) {
		int end = tile + OUT_TILE < to ? tile + OUT_TILE : to, n_r;

		for (int r = 0; r < n_rows; r += n_r) {
			n_r = n_rows - r < 4 ? n_rows - r : 4;
			for (int o = tile; o < end; o += 4) {
				int n_o = end - o < 4 ? end - o : 4;

				if (n_r == 4)
					tile_n(w, o, n_o, x, r, 4, y, y_stride, add);
				else if (n_r == 3)
					tile_n(w, o, n_o, x, r, 3, y, y_stride, add);
				else if (n_r == 2)
					tile_n(w, o, n_o, x, r, 2, y, y_stride, add);
				else
					tile_1(w, o, n_o, x, r, y + (size_t)r *
					    (size_t)y_stride, add);
			}
		}
	}
}

/* An int8 head: 4 outputs of n_r rows. */
INLINE void
head_i8_tile(const struct dense *w, int o, int n_o, const struct cpu_hidden *x,
    int r, const int n_r, float *y, size_t y_stride)
{
	const __m512i flip = _mm512_set1_epi8(-128);
	__m512i high[4][2], low[4][2];
	int n = w->n_in;

	for (int i = 0; i < 4; i++)
		for (int j = 0; j < n_r; j++)
			high[i][j] = low[i][j] = _mm512_setzero_si512();
	for (int at = 0; at < n; at += 64) {
		__mmask64 k = n - at < 64 ? (1ULL << (n - at)) - 1 : ~0ULL;

#pragma GCC unroll 4
		for (int i = 0; i < 4; i++) {
			const int8_t *row = (const int8_t *)w->data +
			    (size_t)(o + (i < n_o ? i : 0)) * (size_t)n + at;
			__m512i v = _mm512_xor_si512(flip,
			    _mm512_maskz_loadu_epi8(k, row));

			_mm_prefetch((const char *)row + AHEAD, _MM_HINT_T0);
#pragma GCC unroll 2
			for (int j = 0; j < n_r; j++) {
				const int8_t *q = (const int8_t *)(x->q +
				    (size_t)(r + j) * (size_t)x->q_stride) + at;

				high[i][j] = _mm512_dpbusd_epi32(high[i][j], v,
				    _mm512_loadu_si512(q));
				low[i][j] = _mm512_dpbusd_epi32(low[i][j], v,
				    _mm512_loadu_si512(q + x->q_stride));
			}
		}
	}
	for (int j = 0; j < n_r; j++) {
		int32_t h[4], l[4];
		__m128i s = add_up4(high[0][j], high[1][j], high[2][j], high[3][j]);

		memcpy(h, &s, sizeof(h));
		s = add_up4(low[0][j], low[1][j], low[2][j], low[3][j]);
		memcpy(l, &s, sizeof(l));
		for (int i = 0; i < n_o; i++) {
			int64_t sum = 256 * (int64_t)h[i] + l[i] -
			    128 * x->sum[r + j];

			y[(size_t)(r + j) * y_stride + (size_t)(o + i)] =
			    (float)sum * (w->scales[o + i] * x->scale[r + j]);
		}
	}
}

TARGET static void
head(const struct dense *w, int from, int to, const struct cpu_hidden *x,
    int n_rows, float *y, size_t y_stride)
{
	if (w->type != DENSE_I8 || cpu_in_groups(w->group, w->n_in)) {
		head_float(w, from, to, x, n_rows, y, y_stride);
		return;
	}
	for (int o = from; o < to; o += 4) {
		int n_o = to - o < 4 ? to - o : 4, r = 0;

		for (; r + 2 <= n_rows; r += 2)
			head_i8_tile(w, o, n_o, x, r, 2, y, y_stride);
		if (r < n_rows)
			head_i8_tile(w, o, n_o, x, r, 1, y, y_stride);
	}
}

int
cpu_avx512_open(struct cpu_kernels *k, struct err *e)
{
	if (!__builtin_cpu_supports("avx512f") ||
	    !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512dq") ||
	    !__builtin_cpu_supports("avx512vl") ||
	    !__builtin_cpu_supports("avx512vnni"))
		return err_set(e, ERR_NOT_FOUND,
		    "this CPU has no AVX-512 with VNNI");
	*k = (struct cpu_kernels){
		.isa = "avx512", .title = "avx512-vnni",
		.n_queries = ATTEND_QUERIES,
		.quantise = quantise, .ternary = ternary, .gate = gate,
		.norm_heads = norm_heads, .rope = rope, .store = store,
		.attend = attend, .norm = norm, .head = head,
	};
	return 0;
}
