#ifndef DECODE_CPU_AVX512_H
#define DECODE_CPU_AVX512_H

/*
 * What the files of the AVX-512 variant share: the vector of 16 lanes that
 * cpu_float.h and cpu_float_head.h are written over, and sums across lanes.
 */
#include <immintrin.h>

#include "backend/cpu_kernels.h"

#define TARGET __attribute__((target( \
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")))
#define VF TARGET static inline __attribute__((always_inline))
#define INLINE TARGET static inline __attribute__((always_inline))

int cpu_avx512_open(struct cpu_kernels *k, struct err *e);

/* The products: struct cpu_kernels' ternary and head, and norm's last step. */
void cpu_avx512_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add);
void cpu_avx512_vbmi_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add);
void cpu_avx512_head(const struct dense *w, int from, int to,
    const struct cpu_hidden *x, int n_rows, float *y, size_t y_stride);
void cpu_avx512_prepare(const float *f, float top, struct cpu_hidden *out, int r);

typedef __m512 vf;

VF __mmask16 first_lanes(int n) { return (__mmask16)((1U << n) - 1); }
VF vf vf_zero(void) { return _mm512_setzero_ps(); }
VF vf vf_set1(float x) { return _mm512_set1_ps(x); }
VF vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
VF vf vf_load_n(const float *p, int n)
{
	return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
VF void vf_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
VF void vf_store_n(float *p, vf v, int n)
{
	_mm512_mask_storeu_ps(p, first_lanes(n), v);
}
VF vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
VF vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
VF vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
VF vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
VF vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
VF vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
VF vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
VF vf vf_round(vf v) { return _mm512_roundscale_ps(v, 8); }
VF vf vf_pow2(vf v) { return _mm512_scalef_ps(_mm512_set1_ps(1.0F), v); }

VF float
vf_sum(vf v)
{
	__m256 a = _mm256_add_ps(_mm512_castps512_ps256(v),
	    _mm512_extractf32x8_ps(v, 1));
	__m128 b = _mm_add_ps(_mm256_castps256_ps128(a),
	    _mm256_extractf128_ps(a, 1));

	b = _mm_add_ps(b, _mm_movehl_ps(b, b));
	return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
}

VF float vf_hmax(vf v) { return _mm512_reduce_max_ps(v); }

VF vf
vf_load_f16(const uint16_t *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

VF void
vf_store_f16(uint16_t *p, vf v)
{
	_mm256_storeu_si256((void *)p, _mm512_cvtps_ph(v, 8));
}

VF vf
vf_load_bf16(const uint16_t *p)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(
	    _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p)), 16));
}

VF vf
vf_load_i8(const int8_t *p)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(
	    _mm_loadu_si128((const void *)p)));
}

VF int32_t
sum_64(const int8_t *q)
{
	return _mm512_reduce_add_epi32(_mm512_dpbusd_epi32(
	    _mm512_setzero_si512(), _mm512_set1_epi8(1),
	    _mm512_loadu_si512(q)));
}

VF void
vf_store_i8(int8_t *q, vf v)
{
	_mm_storeu_si128((void *)q,
	    _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v)));
}

/* Sums of the lanes of 4 vectors, as the 4 lanes of the result. */
INLINE __m128i
add_up4(__m512i a, __m512i b, __m512i c, __m512i d)
{
	__m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b),
	    _mm512_unpackhi_epi32(a, b));
	__m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d),
	    _mm512_unpackhi_epi32(c, d));
	__m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd),
	    _mm512_unpackhi_epi64(ab, cd));
	__m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all),
	    _mm512_extracti64x4_epi64(all, 1));

	return _mm_add_epi32(_mm256_castsi256_si128(half),
	    _mm256_extracti128_si256(half, 1));
}

#endif
