#ifndef DECODE_CPU_AVX512_LANES_H
#define DECODE_CPU_AVX512_LANES_H

/*
 * Sixteen lanes for cpu_ternary.h, but for vi_base3: what AVX-512 has with VBMI and
 * without.
 */
#include <string.h>

#include "backend/cpu_avx512.h"

enum {
	VI_LANES = 16, RUN_BLOCKS = 1 << 20,
	TILE_ROWS = 4, DIRECT_ROWS = 64, TURN_ROWS = 8,
};
#define MASKED 1

typedef __m512i vi;
typedef vf vs;
/* For shifts: whether the count is signed depends on the compiler. */
typedef uint16_t halves __attribute__((vector_size(64)));
typedef int32_t words __attribute__((vector_size(64)));

VF vi vi_zero(void) { return _mm512_setzero_si512(); }
VF vi vi_set1(int32_t x) { return _mm512_set1_epi32(x); }
VF vi vi_load(const void *p) { return _mm512_loadu_si512(p); }
VF vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
VF vi vi_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
VF vi vi_open(vi sum) { return sum; }
VF vi vi_dot(vi acc, vi c, vi x) { return _mm512_dpbusd_epi32(acc, c, x); }
VF vi vi_shift(vi v, const int n) { return (vi)((words)v >> n); }
VF vs vs_zero(void) { return vf_zero(); }
VF vs vs_set1(float x) { return vf_set1(x); }
VF vs vs_of(vi v) { return _mm512_cvtepi32_ps(v); }
VF vs vs_add(vs a, vs b) { return vf_add(a, b); }
VF vs vs_mul(vs a, vs b) { return vf_mul(a, b); }
VF vs vs_load(const float *p) { return vf_load(p); }
VF vs vs_load_n(const float *p, int n) { return vf_load_n(p, n); }
VF void vs_store_n(float *p, vs v, int n) { vf_store_n(p, v, n); }

VF vi
vi_close(vi sum, vi acc)
{
	(void)sum;
	return acc;
}

VF vi
vi_codes(vi v, const int part)
{
	return _mm512_and_si512((vi)((halves)v >> 2 * part),
	    _mm512_set1_epi8(3));
}

VF vi
vi_masked(vi v, const int part)
{
	return _mm512_and_si512(v, _mm512_set1_epi8((char)(3 << 2 * part)));
}

VF vi
vi_word(const int8_t *p)
{
	int32_t word;

	memcpy(&word, p, sizeof(word));
	return _mm512_set1_epi32(word);
}

typedef int32_t i4 __attribute__((vector_size(16)));

VF i4
vi_sums(const vi *v)
{
	return (i4)add_up4(v[0], v[1], v[2], v[3]);
}

/* Pairs of rows, of pairs, of quarters and of halves. */
VF void
vi_turn(const uint8_t *const *rows, uint8_t *to, size_t step)
{
	vi a[16], b[16];

#pragma GCC unroll 8
	for (int i = 0; i < 16; i += 2) {
		vi x = vi_load(rows[i]), y = vi_load(rows[i + 1]);

		a[i] = _mm512_unpacklo_epi32(x, y);
		a[i + 1] = _mm512_unpackhi_epi32(x, y);
	}
	/* b[4 i + k]: word 4 l + k of rows 4 i.., in each quarter l. */
#pragma GCC unroll 4
	for (int i = 0; i < 16; i += 4) {
		b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
		b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
		b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
		b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
	}
#pragma GCC unroll 4
	for (int k = 0; k < 4; k++) {
		vi even01 = _mm512_shuffle_i32x4(b[k], b[4 + k], 0x88);
		vi even23 = _mm512_shuffle_i32x4(b[8 + k], b[12 + k], 0x88);
		vi odd01 = _mm512_shuffle_i32x4(b[k], b[4 + k], 0xdd);
		vi odd23 = _mm512_shuffle_i32x4(b[8 + k], b[12 + k], 0xdd);

		_mm512_store_si512(to + (size_t)k * step,
		    _mm512_shuffle_i32x4(even01, even23, 0x88));
		_mm512_store_si512(to + (size_t)(4 + k) * step,
		    _mm512_shuffle_i32x4(odd01, odd23, 0x88));
		_mm512_store_si512(to + (size_t)(8 + k) * step,
		    _mm512_shuffle_i32x4(even01, even23, 0xdd));
		_mm512_store_si512(to + (size_t)(12 + k) * step,
		    _mm512_shuffle_i32x4(odd01, odd23, 0xdd));
	}
}

VF void vi_store(void *p, vi v) { _mm512_storeu_si512(p, v); }
VF vi vi_or(vi a, vi b) { return _mm512_or_si512(a, b); }
VF vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
VF vi vi_bytes(int x) { return _mm512_set1_epi8((char)x); }
VF vi vi_add8(vi a, vi b) { return _mm512_add_epi8(a, b); }
VF vi vi_average(vi a, vi b) { return _mm512_avg_epu8(a, b); }
VF vi vi_down(vi v, const int n) { return (vi)((halves)v >> n); }

#endif
