/*
 * Sixteen sums at once, so that none waits for its own result, and the best of
 * some runs that are too short to be interrupted.
 */
#include <immintrin.h>
#include <time.h>

#include "bench/gemv_peak.h"

enum { SUMS = 16, TURNS = 50000, RUNS = 20 };

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

__attribute__((target("avx512f,avx512vnni"))) static void
multiply(void)
{
	const __m512i one = _mm512_set1_epi8(1);
	__m512i acc[SUMS];

#pragma GCC unroll 16
	for (int j = 0; j < SUMS; j++)
		acc[j] = one;
	for (int i = 0; i < TURNS; i++) {
#pragma GCC unroll 16
		for (int j = 0; j < SUMS; j++) {
			acc[j] = _mm512_dpbusd_epi32(acc[j], one, one);
			/* It is wanted, each time. */
			__asm__ volatile("" : "+v"(acc[j]));
		}
	}
}

double
gemv_peak(void)
{
	double best = 1;

	if (!__builtin_cpu_supports("avx512vnni"))
		return 0;
	for (int k = 0; k < RUNS; k++) {
		double t = now();

		multiply();
		t = now() - t;
		best = t < best ? t : best;
	}
	return (double)TURNS * SUMS * 64 / best * 1e-9;
}
