#ifndef DECODE_CPU_AVX2_H
#define DECODE_CPU_AVX2_H

/*
 * What the files of the AVX2 variant share: the vector of 16 lanes that
 * cpu_float.h and cpu_float_head.h are written over, and a sum across lanes.
 * The vector is two registers, so every sum has the order that AVX-512 gives
 * it.
 */
#include <immintrin.h>
#include <string.h>

#include "backend/cpu_kernels.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define VF TARGET static inline __attribute__((always_inline))
#define INLINE TARGET static inline __attribute__((always_inline))

int cpu_avx2_open(struct cpu_kernels *k, struct err *e);

/* The products: struct cpu_kernels' ternary and head, and norm's last step. */
void cpu_avx2_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add);
void cpu_avx2_head(const struct dense *w, int from, int to,
    const struct cpu_hidden *x, int n_rows, float *y, size_t y_stride);
void cpu_avx2_prepare(const float *f, float top, struct cpu_hidden *out, int r);

typedef struct { __m256 a, b; } vf;

/* Lanes i < n of 8. */
VF __m256i
first_lanes(int n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n),
	    _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

#define EACH(F) (vf){ F(a), F(b) }
VF vf vf_zero(void) { return (vf){ _mm256_setzero_ps(), _mm256_setzero_ps() }; }
VF vf vf_set1(float x) { return (vf){ _mm256_set1_ps(x), _mm256_set1_ps(x) }; }
VF vf
vf_load(const float *p)
{
	return (vf){ _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) };
}
VF vf
vf_load_n(const float *p, int n)
{
	return (vf){ _mm256_maskload_ps(p, first_lanes(n)),
	    n > 8 ? _mm256_maskload_ps(p + 8, first_lanes(n - 8)) :
	    _mm256_setzero_ps() };
}
VF void
vf_store(float *p, vf v)
{
	_mm256_storeu_ps(p, v.a);
	_mm256_storeu_ps(p + 8, v.b);
}
VF void
vf_store_n(float *p, vf v, int n)
{
	_mm256_maskstore_ps(p, first_lanes(n), v.a);
	if (n > 8)
		_mm256_maskstore_ps(p + 8, first_lanes(n - 8), v.b);
}
#define ADD(h) _mm256_add_ps(x.h, y.h)
#define SUB(h) _mm256_sub_ps(x.h, y.h)
#define MUL(h) _mm256_mul_ps(x.h, y.h)
#define DIV(h) _mm256_div_ps(x.h, y.h)
#define MIN(h) _mm256_min_ps(x.h, y.h)
#define MAX(h) _mm256_max_ps(x.h, y.h)
#define FMA(h) _mm256_fmadd_ps(x.h, y.h, z.h)
#define ROUND(h) _mm256_round_ps(x.h, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
/* 2^n: n is the exponent of a float. */
#define POW2(h) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32( \
    _mm256_cvtps_epi32(x.h), _mm256_set1_epi32(127)), 23))
VF vf vf_add(vf x, vf y) { return EACH(ADD); }
VF vf vf_sub(vf x, vf y) { return EACH(SUB); }
VF vf vf_mul(vf x, vf y) { return EACH(MUL); }
VF vf vf_div(vf x, vf y) { return EACH(DIV); }
VF vf vf_min(vf x, vf y) { return EACH(MIN); }
VF vf vf_max(vf x, vf y) { return EACH(MAX); }
VF vf vf_fma(vf x, vf y, vf z) { return EACH(FMA); }
VF vf vf_round(vf x) { return EACH(ROUND); }
VF vf vf_pow2(vf x) { return EACH(POW2); }

VF float
vf_sum(vf v)
{
	__m256 a = _mm256_add_ps(v.a, v.b);
	__m128 b = _mm_add_ps(_mm256_castps256_ps128(a),
	    _mm256_extractf128_ps(a, 1));

	b = _mm_add_ps(b, _mm_movehl_ps(b, b));
	return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
}

VF float
vf_hmax(vf v)
{
	__m256 a = _mm256_max_ps(v.a, v.b);
	__m128 b = _mm_max_ps(_mm256_castps256_ps128(a),
	    _mm256_extractf128_ps(a, 1));

	b = _mm_max_ps(b, _mm_movehl_ps(b, b));
	return _mm_cvtss_f32(_mm_max_ss(b, _mm_shuffle_ps(b, b, 1)));
}

VF vf
vf_load_f16(const uint16_t *p)
{
	return (vf){ _mm256_cvtph_ps(_mm_loadu_si128((const void *)p)),
	    _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 8))) };
}

VF void
vf_store_f16(uint16_t *p, vf v)
{
	_mm_storeu_si128((void *)p, _mm256_cvtps_ph(v.a, 0));
	_mm_storeu_si128((void *)(p + 8), _mm256_cvtps_ph(v.b, 0));
}

VF __m256
widen_bf16(const uint16_t *p)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(
	    _mm_loadu_si128((const void *)p)), 16));
}

VF vf
vf_load_bf16(const uint16_t *p)
{
	return (vf){ widen_bf16(p), widen_bf16(p + 8) };
}

/* The 16 lanes, rounded, as 16-bit integers in order. */
VF __m256i
to_i16(vf v)
{
	return _mm256_permute4x64_epi64(_mm256_packs_epi32(
	    _mm256_cvtps_epi32(v.a), _mm256_cvtps_epi32(v.b)), 0xd8);
}

VF __m256
widen_i8(const int8_t *p)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(
	    _mm_loadl_epi64((const void *)p)));
}

VF vf
vf_load_i8(const int8_t *p)
{
	return (vf){ widen_i8(p), widen_i8(p + 8) };
}

VF void
vf_store_i8(int8_t *q, vf v)
{
	__m256i w = to_i16(v);

	_mm_storeu_si128((void *)q, _mm_packs_epi16(_mm256_castsi256_si128(w),
	    _mm256_extracti128_si256(w, 1)));
}

VF int32_t
sum_64(const int8_t *q)
{
	/* Made unsigned: 128 is added to each. */
	const __m256i flip = _mm256_set1_epi8(-128), zero = _mm256_setzero_si256();
	__m256i a = _mm256_xor_si256(flip, _mm256_loadu_si256((const void *)q));
	__m256i b = _mm256_xor_si256(flip,
	    _mm256_loadu_si256((const void *)(q + 32)));
	int64_t lanes[4];

	a = _mm256_add_epi64(_mm256_sad_epu8(a, zero), _mm256_sad_epu8(b, zero));
	memcpy(lanes, &a, sizeof(lanes));
	return (int32_t)(lanes[0] + lanes[1] + lanes[2] + lanes[3]) - 64 * 128;
}

/* Sum of the lanes. */
INLINE int32_t
add_up(__m256i v)
{
	__m128i a = _mm_add_epi32(_mm256_castsi256_si128(v),
	    _mm256_extracti128_si256(v, 1));

	a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1)));
}

#endif
