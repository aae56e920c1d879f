/*
 * The head of AVX2: int8 weights widened to 16 bits, times 16 bits of the hidden
 * state.
 */
#include <string.h>

#include "backend/cpu_avx2.h"
#include "backend/cpu_float_head.h"

/* The hidden state in 16 bits; the same integers as AVX-512 takes. */
TARGET void
cpu_avx2_prepare(const float *f, float top, struct cpu_hidden *out, int r)
{
	int16_t *q = out->q + (size_t)r * (size_t)out->q_stride;
	float s = 32512.0F / (top > 1e-30F ? top : 1e-30F);
	int64_t sum = 0;

	memset(q, 0, (size_t)out->q_stride * sizeof(*q));
	for (int i = 0; i < out->f_stride; i += CPU_LANES) {
		_mm256_storeu_si256((void *)(q + i),
		    to_i16(vf_mul(vf_load(f + i), vf_set1(s))));
		for (int j = 0; j < CPU_LANES; j++)
			sum += q[i + j];
	}
	out->sum[r] = sum;
	out->scale[r] = 1.0F / s;
}

/*
 * Sum of int8 weights times 16-bit activations: a pair is below 2^23, so 32
 * bits hold the pairs of 1024 weights in each of 8 lanes.
 */
TARGET static int64_t
dot_i8(const int8_t *w, const int16_t *q, int n)
{
	int64_t total = 0;
	int i = 0;

	while (i + 16 <= n) {
		__m256i acc = _mm256_setzero_si256();
		int32_t lanes[8];
		int end = n - i < 1024 ? n : i + 1024;

		for (; i + 16 <= end; i += 16)
			acc = _mm256_add_epi32(acc, _mm256_madd_epi16(
			    _mm256_cvtepi8_epi16(_mm_loadu_si128(
			        (const void *)(w + i))),
			    _mm256_loadu_si256((const void *)(q + i))));
		memcpy(lanes, &acc, sizeof(lanes));
		for (int j = 0; j < 8; j++)
			total += lanes[j];
	}
	for (; i < n; i++)
		total += w[i] * q[i];
	return total;
}

TARGET void
cpu_avx2_head(const struct dense *w, int from, int to, const struct cpu_hidden *x,
    int n_rows, float *y, size_t y_stride)
{
	if (w->type != DENSE_I8 || cpu_in_groups(w->group, w->n_in)) {
		head_float(w, from, to, x, n_rows, y, y_stride);
		return;
	}
	for (int o = from; o < to; o++) {
		const int8_t *row = (const int8_t *)w->data +
		    (size_t)o * (size_t)w->n_in;

		for (int r = 0; r < n_rows; r++) {
			int64_t sum = dot_i8(row, x->q +
			    (size_t)r * (size_t)x->q_stride, w->n_in);

			y[(size_t)r * y_stride + (size_t)o] = (float)sum *
			    (w->scales[o] * x->scale[r]);
		}
	}
}
