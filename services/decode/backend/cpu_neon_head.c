/*
 * The head of NEON: int8 weights times 16 bits of the hidden state in two planes
 * of signed bytes, 256 * high + low, so that both go through sdot.
 * 32512 = 127 * 256 keeps high inside a byte.
 */
#include <string.h>

#include "backend/cpu_neon.h"
#include "backend/cpu_float_head.h"

/* The same integers as the other variants take. */
void
cpu_neon_prepare(const float *f, float top, struct cpu_hidden *out, int r)
{
	size_t stride = (size_t)out->q_stride;
	int8_t *high = (int8_t *)(out->q + (size_t)r * stride);
	int8_t *low = high + stride;
	float s = 32512.0F / (top > 1e-30F ? top : 1e-30F);
	int64_t sum = 0;

	memset(high, 0, 2 * stride);
	for (int i = 0; i < out->f_stride; i += 8) {
		int16x8_t v = to_i16(vmulq_n_f32(vld1q_f32(f + i), s),
		    vmulq_n_f32(vld1q_f32(f + i + 4), s)), h;

		h = vshrq_n_s16(vaddq_s16(v, vdupq_n_s16(128)), 8);
		vst1_s8(high + i, vmovn_s16(h));
		vst1_s8(low + i, vmovn_s16(vsubq_s16(v, vshlq_n_s16(h, 8))));
		sum += vaddlvq_s16(v);
	}
	out->sum[r] = sum;
	out->scale[r] = 1.0F / s;
}

/* An int8 head: 4 outputs of n_r rows. */
INLINE void
head_i8_tile(const struct dense *w, int o, int n_o, const struct cpu_hidden *x,
    int r, const int n_r, float *y, size_t y_stride)
{
	int32x4_t high[4][2], low[4][2];
	int8_t last[16] = { 0 };
	int n = w->n_in;

	for (int i = 0; i < 4; i++)
		for (int j = 0; j < n_r; j++)
			high[i][j] = low[i][j] = vdupq_n_s32(0);
	for (int at = 0; at < n; at += 16)
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++) {
			const int8_t *p = (const int8_t *)w->data +
			    (size_t)(o + (i < n_o ? i : 0)) * (size_t)n + at;
			int8x16_t v;

			if (n - at < 16)
				p = memcpy(last, p, (size_t)(n - at));
			v = vld1q_s8(p);
#pragma GCC unroll 2
			for (int j = 0; j < n_r; j++) {
				const int8_t *q = (const int8_t *)(x->q +
				    (size_t)(r + j) * (size_t)x->q_stride) + at;

				high[i][j] = vdotq_s32(high[i][j], v,
				    vld1q_s8(q));
				low[i][j] = vdotq_s32(low[i][j], v,
				    vld1q_s8(q + x->q_stride));
			}
		}
	for (int j = 0; j < n_r; j++)
		for (int i = 0; i < n_o; i++) {
			int64_t sum = 256 * vaddlvq_s32(high[i][j]) +
			    vaddlvq_s32(low[i][j]);

			y[(size_t)(r + j) * y_stride + (size_t)(o + i)] =
			    (float)sum * (w->scales[o + i] * x->scale[r + j]);
		}
}

void
cpu_neon_head(const struct dense *w, int from, int to, const struct cpu_hidden *x,
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
