/*
 * The products of a head of floats, and of an int8 one in groups, written once
 * over a vector of 16 lanes; included after cpu_<isa>.h, as cpu_float.h is.
 */
#ifndef DECODE_CPU_FLOAT_HEAD_H
#define DECODE_CPU_FLOAT_HEAD_H

#include <string.h>

#include "backend/cpu_kernels.h"

INLINE vf
load_dense(const struct dense *w, size_t at, int k)
{
	uint16_t bits[CPU_LANES] = { 0 };
	int8_t bytes[CPU_LANES] = { 0 };

	if (w->type == DENSE_I8) {
		memcpy(bytes, (const int8_t *)w->data + at, (size_t)k);
		return vf_load_i8(bytes);
	}
	if (w->type == DENSE_F32)
		return k == CPU_LANES ? vf_load((const float *)w->data + at) :
		    vf_load_n((const float *)w->data + at, k);
	if (k < CPU_LANES)
		memcpy(bits, (const uint16_t *)w->data + at,
		    (size_t)k * sizeof(*bits));
	else
		memcpy(bits, (const uint16_t *)w->data + at, sizeof(bits));
	return w->type == DENSE_F16 ? vf_load_f16(bits) : vf_load_bf16(bits);
}

/*
 * A float head, or an int8 one in groups: 4 outputs of n_r rows at once.  A
 * group is a multiple of the lanes, so that a vector has one factor.
 */
INLINE void
float_tile(const struct dense *w, int o, int n_o, const struct cpu_hidden *x,
    int r, const int n_r, float *y, size_t y_stride)
{
	vf acc[4][2], v[4], a;
	int n = w->n_in, end = 0, n_groups = 1;
	const float *scale[4] = { 0 };

	for (int i = 0; i < 4; i++)
		for (int j = 0; j < n_r; j++)
			acc[i][j] = vf_zero();
	if (w->type == DENSE_I8)
		n_groups = (n + w->group - 1) / w->group;
	for (int at = 0; at < n; at += CPU_LANES) {
		int k = n - at < CPU_LANES ? n - at : CPU_LANES;
		bool next = w->type == DENSE_I8 && at == end;

		end += next ? w->group : 0;

#pragma GCC unroll 4
		for (int i = 0; i < 4; i++) {
			int row = o + (i < n_o ? i : 0);

			v[i] = load_dense(w, (size_t)row * (size_t)n + (size_t)at, k);
			if (w->type == DENSE_I8) {
				if (next)
					scale[i] = at == 0 ? w->scales +
					    (size_t)row * (size_t)n_groups :
					    scale[i] + 1;
				v[i] = vf_mul(v[i], vf_set1(*scale[i]));
			}
		}
#pragma GCC unroll 2
		for (int j = 0; j < n_r; j++) {
			a = vf_load(x->f + (size_t)(r + j) * (size_t)x->f_stride + at);
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++)
				acc[i][j] = vf_fma(v[i], a, acc[i][j]);
		}
	}
	for (int i = 0; i < n_o; i++)
		for (int j = 0; j < n_r; j++)
			y[(size_t)(r + j) * y_stride + (size_t)(o + i)] =
			    vf_sum(acc[i][j]);
}

TARGET static void
head_float(const struct dense *w, int from, int to, const struct cpu_hidden *x,
    int n_rows, float *y, size_t y_stride)
{
	for (int o = from; o < to; o += 4) {
		int n_o = to - o < 4 ? to - o : 4, r = 0;

		for (; r + 2 <= n_rows; r += 2)
			float_tile(w, o, n_o, x, r, 2, y, y_stride);
		if (r < n_rows)
			float_tile(w, o, n_o, x, r, 1, y, y_stride);
	}
}

#endif
