/*
 * Ternary products of AVX2: vpmaddubsw multiplies 32 codes 0..2 (unsigned) by 32 activations
 * (signed) and adds them by pairs.  A pair is at most 2 * 2 * 128 = 512, so up
 * to 63 of them are added in 16 bits before they are widened: blocks are taken
 * in groups of GROUP, 8 pairs each.  What the offset of 1 in the codes adds is
 * the sum of the row, subtracted once.
 */
#include "backend/cpu_avx2.h"

enum { OUT_TILE = 32, GROUP = 7, AHEAD = 4096 };

/* Blocks from at to end (bytes) of 2 outputs and n_r rows, in 16 bits. */
INLINE void
add_group(const uint8_t *const *codes, const int8_t *q, size_t stride,
    const int n_r, int at, int end, __m256i (*acc)[4])
{
	const __m256i mask = _mm256_set1_epi8(3);

	for (; at < end; at += 32) {
		const int8_t *x = q + at / 64 * TERNARY_BLOCK + at % 64;
		__m256i v[2], c;

		v[0] = _mm256_loadu_si256((const void *)(codes[0] + at));
		v[1] = _mm256_loadu_si256((const void *)(codes[1] + at));
#pragma GCC unroll 4
		for (int part = 0; part < 4; part++, x += 64) {
#pragma GCC unroll 2
			for (int i = 0; i < 2; i++) {
				c = _mm256_and_si256(v[i], mask);
				v[i] = _mm256_srli_epi16(v[i], 2);
#pragma GCC unroll 4
				for (int j = 0; j < n_r; j++)
					acc[i][j] = _mm256_add_epi16(acc[i][j],
					    _mm256_maddubs_epi16(c,
					        _mm256_loadu_si256((const void *)
					            (x + (size_t)j * stride))));
			}
		}
	}
}

/* 2 outputs of n_r rows; n_r is a constant after inlining. */
INLINE void
tile_n(const struct ternary *w, int o, int n_o, const struct cpu_rows *x,
    int r, const int n_r, float *y, int y_stride, bool add)
{
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	const __m256i ones = _mm256_set1_epi16(1);
	const uint8_t *codes[2];
	__m256i sum[2][4], acc[2][4];

	codes[0] = w->codes + (size_t)o * (size_t)w->stride;
	codes[1] = n_o > 1 ? codes[0] + w->stride : codes[0];
	for (int i = 0; i < 2; i++)
		for (int j = 0; j < n_r; j++)
			sum[i][j] = _mm256_setzero_si256();
	for (int at = 0; at < w->stride; at += GROUP * 64) {
		int end = at + GROUP * 64 < w->stride ? at + GROUP * 64 :
		    w->stride;

#pragma GCC unroll 2
		for (int i = 0; i < 2; i++) {
			_mm_prefetch((const char *)codes[i] + at + AHEAD,
			    _MM_HINT_T0);
#pragma GCC unroll 4
			for (int j = 0; j < n_r; j++)
				acc[i][j] = _mm256_setzero_si256();
		}
		add_group(codes, q, (size_t)x->stride, n_r, at, end, acc);
#pragma GCC unroll 2
		for (int i = 0; i < 2; i++)
#pragma GCC unroll 4
			for (int j = 0; j < n_r; j++)
				sum[i][j] = _mm256_add_epi32(sum[i][j],
				    _mm256_madd_epi16(acc[i][j], ones));
	}
	for (int i = 0; i < n_o; i++)
		for (int j = 0; j < n_r; j++) {
			float *to = y + (size_t)(r + j) * (size_t)y_stride + o + i;
			float v = (float)(add_up(sum[i][j]) - x->sum[r + j]) *
			    (w->scales[o + i] * x->scale[r + j]);

			*to = add ? *to + v : v;
		}
}

/*
 * The same with a factor for each group of columns.  A part, 64 columns, is two
 * bits of 64 bytes; its pairs fit 16 bits.
 */
INLINE void
tile_groups(const struct ternary *w, int o, int n_o, const struct cpu_rows *x,
    int r, const int n_r, float *y, int y_stride, bool add)
{
	const __m256i mask = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	const int32_t *parts = x->parts + r * (x->stride / 64);
	const int n_groups = (w->n_in + w->group - 1) / w->group;
	const int n_parts = (w->n_in + 63) / 64;
	const float *f[2] = { w->scales + (size_t)o * (size_t)n_groups };
	const uint8_t *codes[2];
	__m256i acc[2][4];
	float total[2][4] = { { 0 } };
	int32_t sum[4] = { 0 };

	codes[0] = w->codes + (size_t)o * (size_t)w->stride;
	codes[1] = n_o > 1 ? codes[0] + w->stride : codes[0];
	f[1] = n_o > 1 ? f[0] + n_groups : f[0];
	for (int i = 0; i < 2; i++)
		for (int j = 0; j < n_r; j++)
			acc[i][j] = _mm256_setzero_si256();
	for (int part = 0, g = 0, left = w->group / 64; part < n_parts; part++,
	    q += 64) {
		const __m128i shift = _mm_cvtsi32_si128(part % 4 * 2);
		__m256i v[2][2];

		for (int i = 0; i < 4; i++)
			v[i / 2][i % 2] = _mm256_and_si256(mask,
			    _mm256_srl_epi16(_mm256_loadu_si256((const void *)
			        (codes[i / 2] + part / 4 * 64 + i % 2 * 32)),
			        shift));
#pragma GCC unroll 4
		for (int j = 0; j < n_r; j++) {
			const int8_t *p = q + (size_t)j * (size_t)x->stride;
			__m256i a = _mm256_loadu_si256((const void *)p);
			__m256i b = _mm256_loadu_si256((const void *)(p + 32));

			sum[j] += parts[j * (x->stride / 64) + part];
			for (int i = 0; i < 2; i++)
				acc[i][j] = _mm256_add_epi32(acc[i][j],
				    _mm256_madd_epi16(_mm256_add_epi16(
				        _mm256_maddubs_epi16(v[i][0], a),
				        _mm256_maddubs_epi16(v[i][1], b)), ones));
		}
		if (--left > 0 && part + 1 < n_parts)
			continue;
		left = w->group / 64;
		for (int j = 0; j < n_r; j++) {
			for (int i = 0; i < 2; i++) {
				total[i][j] += (float)(add_up(acc[i][j]) -
				    sum[j]) * f[i][g];
				acc[i][j] = _mm256_setzero_si256();
			}
			sum[j] = 0;
		}
		g++;
	}
	for (int i = 0; i < n_o; i++)
		for (int j = 0; j < n_r; j++) {
			float *to = y + (size_t)(r + j) * (size_t)y_stride + o + i;
			float v = total[i][j] * x->scale[r + j];

			*to = add ? *to + v : v;
		}
}

/* The kernel for n_r rows, which is a constant in it. */
INLINE void
tile_any(const struct ternary *w, int o, int n_o, const struct cpu_rows *x, int r,
    const int n_r, float *y, int y_stride, bool add)
{
	if (cpu_in_groups(w->group, w->n_in))
		tile_groups(w, o, n_o, x, r, n_r, y, y_stride, add);
	else
		tile_n(w, o, n_o, x, r, n_r, y, y_stride, add);
}

TARGET void
cpu_avx2_ternary(const struct ternary *w, int from, int to, const struct cpu_rows *x,
    int n_rows, float *y, int y_stride, bool add)
{
	/* Outputs in tiles whose weights stay in the first cache meanwhile. */
	for (int tile = from; tile < to; tile += OUT_TILE) {
		int end = tile + OUT_TILE < to ? tile + OUT_TILE : to, n_r;

		for (int r = 0; r < n_rows; r += n_r) {
			n_r = n_rows - r < 4 ? n_rows - r < 2 ? 1 : 2 : 4;
			for (int o = tile; o < end; o += 2) {
				int n_o = end - o < 2 ? 1 : 2;

				if (n_r == 4)
					tile_any(w, o, n_o, x, r, 4, y, y_stride, add);
				else if (n_r == 2)
					tile_any(w, o, n_o, x, r, 2, y, y_stride, add);
				else
					tile_any(w, o, n_o, x, r, 1, y, y_stride, add);
			}
		}
	}
}
