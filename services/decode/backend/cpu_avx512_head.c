/*
 * The head of AVX-512 with VNNI: unsigned codes (int8 weights with 128 added) times
 * 16 bits of the hidden state in two planes of bytes.
 */
#include <string.h>

#include "backend/cpu_avx512.h"
#include "backend/cpu_float_head.h"

/*
 * 16 bits of the hidden state in two signed bytes, 256 * high + low, in two
 * planes of a row, so that both go through vpdpbusd with the head's int8
 * (made unsigned by adding 128).  32512 = 127 * 256 keeps high inside a byte.
 */
TARGET void
cpu_avx512_prepare(const float *f, float top, struct cpu_hidden *out, int r)
{
	size_t stride = (size_t)out->q_stride;
	int8_t *high = (int8_t *)(out->q + (size_t)r * stride);
	int8_t *low = high + stride;
	float s = 32512.0F / (top > 1e-30F ? top : 1e-30F);
	int64_t sum = 0;

	for (int i = 0; i < out->q_stride; i += CPU_LANES) {
		__m512i v = _mm512_setzero_si512(), h;

		if (i < out->f_stride)
			v = _mm512_cvtps_epi32(_mm512_mul_ps(vf_load(f + i),
			    vf_set1(s)));
		h = _mm512_srai_epi32(_mm512_add_epi32(v,
		    _mm512_set1_epi32(128)), 8);
		_mm_storeu_si128((void *)(high + i), _mm512_cvtsepi32_epi8(h));
		_mm_storeu_si128((void *)(low + i), _mm512_cvtepi32_epi8(
		    _mm512_sub_epi32(v, _mm512_slli_epi32(h, 8))));
		sum += _mm512_reduce_add_epi32(v);
	}
	out->sum[r] = sum;
	out->scale[r] = 1.0F / s;
}

enum { HV_COLUMNS = 64, HV_RUN = 0, HV_I8_OFFSET = 128 };

typedef __m512i hv;
typedef struct { __m512i high, low; } hv_acc;
/* For shifts: whether the count is signed depends on the compiler. */
typedef uint16_t halves __attribute__((vector_size(64)));

INLINE hv_acc
hv_zero(void)
{
	return (hv_acc){ _mm512_setzero_si512(), _mm512_setzero_si512() };
}

INLINE hv
hv_i8(const uint8_t *p, int left)
{
	__mmask64 k = left < 64 ? (1ULL << left) - 1 : ~0ULL;

	return _mm512_xor_si512(_mm512_set1_epi8(-128),
	    _mm512_maskz_loadu_epi8(k, p));
}

INLINE hv
hv_q4(const uint8_t *p, const int at)
{
	hv v = _mm512_loadu_si512(p);

	return _mm512_and_si512(at == 0 ? v : (hv)((halves)v >> 4),
	    _mm512_set1_epi8(15));
}

/* Four bits where they belong, and two from the other plane. */
INLINE hv
hv_q6(const uint8_t *p, const int at)
{
	hv four = _mm512_loadu_si512(p + at / 128 * 64);
	hv two = _mm512_loadu_si512(p + 128);

	four = at % 128 == 0 ? (hv)((halves)four << 2) : (hv)((halves)four >> 2);
	two = at == 0 ? two : (hv)((halves)two >> at / 32);
	/* Bit by bit: mask ? four : two. */
	return _mm512_and_si512(_mm512_ternarylogic_epi32(
	    _mm512_set1_epi8(0x3c), four, two, 0xca), _mm512_set1_epi8(0x3f));
}

INLINE hv_acc
hv_dot(hv_acc acc, hv v, const struct cpu_hidden *x, int r, int at)
{
	const int8_t *q = (const int8_t *)(x->q +
	    (size_t)r * (size_t)x->q_stride) + at;

	return (hv_acc){ _mm512_dpbusd_epi32(acc.high, v,
	    _mm512_loadu_si512(q)), _mm512_dpbusd_epi32(acc.low, v,
	    _mm512_loadu_si512(q + x->q_stride)) };
}

INLINE void
hv_sums(const hv_acc *acc, const int n, int64_t *sum)
{
#pragma GCC unroll 4
	for (int i = 0; i < n; i += 2) {
		const hv_acc *b = &acc[i + 1 < n ? i + 1 : i];
		__m128i s = add_up4(acc[i].high, acc[i].low, b->high, b->low);
		int32_t t[4];

		memcpy(t, &s, sizeof(t));
		sum[i] += 256 * (int64_t)t[0] + t[1];
		if (i + 1 < n)
			sum[i + 1] += 256 * (int64_t)t[2] + t[3];
	}
}

#include "backend/cpu_head.h"

void
cpu_avx512_head(const struct dense *w, int from, int to, const struct cpu_hidden *x,
    int n_rows, float *y, size_t y_stride)
{
	head_products(w, from, to, x, n_rows, y, y_stride);
}
