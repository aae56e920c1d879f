/*
 * The head of AVX-512 with VNNI: int8 weights, made unsigned by adding 128,
 * times 16 bits of the hidden state in two planes of bytes.
 */
#include <string.h>

#include "backend/cpu_avx512.h"
#include "backend/cpu_float_head.h"

/* Bytes, along the stream of 4 rows after another: as in cpu_ternary.h. */
enum { AHEAD = 10240 };

/*
 * 16 bits of the hidden state in two signed bytes, 256 * high + low, in two
 * planes of a row, so that both go through vpdpbusd with the head's int8
 * (made unsigned by adding 128).  32512 = 127 * 256 keeps high inside a byte.
 */
TARGET void
cpu_avx512_prepare(const float *f, float top, struct cpu_hidden *out, int r)
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

/* An int8 head: 4 outputs of n_r rows. */
INLINE void
head_i8_tile(const struct dense *w, int o, int n_o, const struct cpu_hidden *x,
    int r, const int n_r, float *y, size_t y_stride)
{
	const __m512i flip = _mm512_set1_epi8(-128);
	__m512i high[4][2], low[4][2];
	int n = w->n_in;
	const char *next = (const char *)w->data + (size_t)o * (size_t)n + AHEAD;

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

			_mm_prefetch(next, _MM_HINT_T0);
			next += 64;
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

TARGET void
cpu_avx512_head(const struct dense *w, int from, int to, const struct cpu_hidden *x,
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
