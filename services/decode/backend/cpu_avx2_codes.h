#ifndef DECODE_CPU_AVX2_CODES_H
#define DECODE_CPU_AVX2_CODES_H

/*
 * For cpu_head.h, but for hv_dot: codes widened to 16 bits, as the hidden state has.
 * What AVX2 and AVX-VNNI have in common.
 */
#include <string.h>

#include "backend/cpu_avx2.h"
#include "backend/cpu_float_head.h"

/* A pair of products is below 2^23: 32 bits hold those of 1024 columns. */
enum { HV_COLUMNS = 32, HV_RUN = 1024, HV_I8_OFFSET = 0 };

typedef struct { __m256i a, b; } hv;	/* columns 0..15, 16..31 */
typedef __m256i hv_acc;
/* For shifts: whether the count is signed depends on the compiler. */
typedef uint16_t code_halves __attribute__((vector_size(32)));

INLINE hv_acc
hv_zero(void)
{
	return _mm256_setzero_si256();
}

INLINE hv
hv_i8(const uint8_t *p, int left)
{
	uint8_t last[32] = { 0 };

	if (left < 32)
		p = memcpy(last, p, left > 0 ? (size_t)left : 0);
	return (hv){ _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p)),
	    _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(p + 16))) };
}

INLINE hv
widen_codes(__m256i v)
{
	return (hv){ _mm256_cvtepu8_epi16(_mm256_castsi256_si128(v)),
	    _mm256_cvtepu8_epi16(_mm256_extracti128_si256(v, 1)) };
}

INLINE hv
hv_q4(const uint8_t *p, const int at)
{
	__m256i v = _mm256_loadu_si256((const void *)(p + at % 64));

	return widen_codes(_mm256_and_si256(at < 64 ? v :
	    (__m256i)((code_halves)v >> 4), _mm256_set1_epi8(15)));
}

INLINE hv
hv_q6(const uint8_t *p, const int at)
{
	__m256i four = _mm256_loadu_si256((const void *)(p + at / 128 * 64 +
	    at % 64));
	__m256i two = _mm256_loadu_si256((const void *)(p + 128 + at % 64));

	four = at % 128 < 64 ? (__m256i)((code_halves)four << 2) :
	    (__m256i)((code_halves)four >> 2);
	two = at < 64 ? two : (__m256i)((code_halves)two >> at / 64 * 2);
	return widen_codes(_mm256_or_si256(
	    _mm256_and_si256(four, _mm256_set1_epi8(0x3c)),
	    _mm256_and_si256(two, _mm256_set1_epi8(3))));
}

INLINE void
hv_sums(const hv_acc *acc, const int n, int64_t *sum)
{
	for (int i = 0; i < n; i++) {
		int32_t lanes[8];

		memcpy(lanes, &acc[i], sizeof(lanes));
		for (int j = 0; j < 8; j++)
			sum[i] += lanes[j];
	}
}

INLINE const __m256i *
hidden_at(const struct cpu_hidden *x, int r, int at)
{
	return (const __m256i *)(const void *)(x->q +
	    (size_t)r * (size_t)x->q_stride + at);
}

#endif
