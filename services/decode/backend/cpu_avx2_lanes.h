#ifndef DECODE_CPU_AVX2_LANES_H
#define DECODE_CPU_AVX2_LANES_H

/*
 * Eight lanes for cpu_ternary.h, but for vi_dot, vi_open and vi_close: what AVX2
 * and AVX-VNNI have in common.
 */
#include "backend/cpu_avx2.h"

enum { VI_LANES = 8, TILE_ROWS = 2, TURN_ROWS = 4 };
#define MASKED 0

typedef __m256i vi;
typedef __m256 vs;
/* For shifts: whether the count is signed depends on the compiler. */
typedef uint16_t halves __attribute__((vector_size(32)));
typedef int32_t i4 __attribute__((vector_size(16)));

VF vi vi_zero(void) { return _mm256_setzero_si256(); }
VF vi vi_set1(int32_t x) { return _mm256_set1_epi32(x); }
VF vi vi_load(const void *p) { return _mm256_loadu_si256(p); }
VF vi vi_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
VF void vi_store(void *p, vi v) { _mm256_storeu_si256(p, v); }
VF vi vi_or(vi a, vi b) { return _mm256_or_si256(a, b); }
VF vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
VF vi vi_bytes(int x) { return _mm256_set1_epi8((char)x); }
VF vi vi_add8(vi a, vi b) { return _mm256_add_epi8(a, b); }
VF vi vi_average(vi a, vi b) { return _mm256_avg_epu8(a, b); }
VF vi vi_down(vi v, const int n) { return (vi)((halves)v >> n); }
VF vs vs_zero(void) { return _mm256_setzero_ps(); }
VF vs vs_set1(float x) { return _mm256_set1_ps(x); }
VF vs vs_of(vi v) { return _mm256_cvtepi32_ps(v); }
VF vs vs_add(vs a, vs b) { return _mm256_add_ps(a, b); }
VF vs vs_mul(vs a, vs b) { return _mm256_mul_ps(a, b); }
VF vs vs_load(const float *p) { return _mm256_loadu_ps(p); }
VF vs vs_load_n(const float *p, int n)
{
	return _mm256_maskload_ps(p, first_lanes(n));
}
VF void vs_store_n(float *p, vs v, int n)
{
	_mm256_maskstore_ps(p, first_lanes(n), v);
}

VF vi
vi_codes(vi v, const int part)
{
	return _mm256_and_si256((vi)((halves)v >> 2 * part),
	    _mm256_set1_epi8(3));
}

VF vi
vi_word(const int8_t *p)
{
	int32_t word;

	memcpy(&word, p, sizeof(word));
	return _mm256_set1_epi32(word);
}

VF i4
vi_sums(const vi *v)
{
	vi all = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]),
	    _mm256_hadd_epi32(v[2], v[3]));

	return (i4)_mm_add_epi32(_mm256_castsi256_si128(all),
	    _mm256_extracti128_si256(all, 1));
}

/* Pairs of rows, of pairs, and of halves. */
VF void
vi_turn(const uint8_t *const *rows, uint8_t *to, size_t step)
{
	vi a[8], b[8];

#pragma GCC unroll 4
	for (int i = 0; i < 8; i += 2) {
		vi x = vi_load(rows[i]), y = vi_load(rows[i + 1]);

		a[i] = _mm256_unpacklo_epi32(x, y);
		a[i + 1] = _mm256_unpackhi_epi32(x, y);
	}
	/* b[4 i + k]: word 4 l + k of rows 4 i.., in each half l. */
#pragma GCC unroll 2
	for (int i = 0; i < 8; i += 4) {
		b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
		b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
		b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
		b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
	}
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++) {
		_mm256_store_si256((void *)(to + (size_t)k * step),
		    _mm256_permute2x128_si256(b[k], b[4 + k], 0x20));
		_mm256_store_si256((void *)(to + (size_t)(4 + k) * step),
		    _mm256_permute2x128_si256(b[k], b[4 + k], 0x31));
	}
}

#endif
