/* Candidates for denser formats, and the peak of the multiplier. */
#include <immintrin.h>

#include "bench/gemv.h"

#define TARGET __attribute__((target( \
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")))

/* Sixteen sums at once, so that none waits for its own result; the best of some
 * short runs, since nothing but the processor's clock should count. */
TARGET double
gemv_peak(void)
{
	const __m512i one = _mm512_set1_epi8(1);
	__m512i acc[16];
	double from, best = 1;
	const int n = 50000;

#pragma GCC unroll 16
	for (int j = 0; j < 16; j++)
		acc[j] = one;
	for (int k = 0; k < 20; k++) {
		from = gemv_now();
		for (int i = 0; i < n; i++) {
#pragma GCC unroll 16
			for (int j = 0; j < 16; j++) {
				acc[j] = _mm512_dpbusd_epi32(acc[j], one, one);
				__asm__ volatile("" : "+v"(acc[j]));
			}
		}
		from = gemv_now() - from;
		best = from < best ? from : best;
	}
	return n * 16.0 * 64 / best * 1e-9;
}

const struct gemv_format gemv_formats[] = { { 0 } };
const int gemv_n_formats = 0;
