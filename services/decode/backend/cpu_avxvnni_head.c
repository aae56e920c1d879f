/* The head of AVX-VNNI: vpdpwssd, pairs of products of 16 bits added at once. */
#include "backend/cpu_avx2_codes.h"

#undef TARGET
#define TARGET __attribute__((target("avx2,fma,f16c,avxvnni")))

void cpu_avxvnni_head(const struct dense *w, int from, int to,
    const struct cpu_hidden *x, int n_rows, float *y, size_t y_stride);

INLINE hv_acc
hv_dot(hv_acc acc, hv v, const struct cpu_hidden *x, int r, int at)
{
	const __m256i *q = hidden_at(x, r, at);

	/* Only an addition waits for the sum before. */
	return _mm256_add_epi32(acc, _mm256_dpwssd_avx_epi32(
	    _mm256_madd_epi16(v.a, _mm256_loadu_si256(q)), v.b,
	    _mm256_loadu_si256(q + 1)));
}

#include "backend/cpu_head.h"

void
cpu_avxvnni_head(const struct dense *w, int from, int to,
    const struct cpu_hidden *x, int n_rows, float *y, size_t y_stride)
{
	head_products(w, from, to, x, n_rows, y, y_stride);
}
