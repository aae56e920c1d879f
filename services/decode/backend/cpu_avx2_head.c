/* The head of AVX2: codes widened to 16 bits, times 16 bits of the hidden state. */
#include "backend/cpu_avx2_codes.h"

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

INLINE hv_acc
hv_dot(hv_acc acc, hv v, const struct cpu_hidden *x, int r, int at)
{
	const __m256i *q = hidden_at(x, r, at);

	acc = _mm256_add_epi32(acc, _mm256_madd_epi16(v.a,
	    _mm256_loadu_si256(q)));
	return _mm256_add_epi32(acc, _mm256_madd_epi16(v.b,
	    _mm256_loadu_si256(q + 1)));
}

#include "backend/cpu_head.h"

void
cpu_avx2_head(const struct dense *w, int from, int to, const struct cpu_hidden *x,
    int n_rows, float *y, size_t y_stride)
{
	head_products(w, from, to, x, n_rows, y, y_stride);
}
