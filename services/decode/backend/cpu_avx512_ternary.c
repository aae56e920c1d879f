/*
 * Ternary products of AVX-512 with VNNI: vpdpbusd multiplies 64 unsigned bytes by 64 signed ones
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
#include "backend/cpu_avx512.h"

enum { OUT_TILE = 32, AHEAD = 4096 };

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

TARGET void
cpu_avx512_ternary(const struct ternary *w, int from, int to, const struct cpu_rows *x,
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
