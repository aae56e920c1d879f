/*
 * The head of NEON: codes times 16 bits of the hidden state in two planes
 * of signed bytes, 256 * high + low, so that both go through sdot.
 * 32512 = 127 * 256 keeps high inside a byte.
 */
#include <string.h>

#include "backend/cpu_neon.h"
#include "backend/cpu_float_head.h"

/* The same integers as the other variants take. */
void
cpu_neon_prepare(const float *f, float top, struct cpu_hidden *out, int r)
{
	size_t stride = (size_t)out->q_stride;
	int8_t *high = (int8_t *)(out->q + (size_t)r * stride);
	int8_t *low = high + stride;
	float s = 32512.0F / (top > 1e-30F ? top : 1e-30F);
	int64_t sum = 0;

	memset(high, 0, 2 * stride);
	for (int i = 0; i < out->f_stride; i += 8) {
		int16x8_t v = to_i16(vmulq_n_f32(vld1q_f32(f + i), s),
		    vmulq_n_f32(vld1q_f32(f + i + 4), s)), h;

		h = vshrq_n_s16(vaddq_s16(v, vdupq_n_s16(128)), 8);
		vst1_s8(high + i, vmovn_s16(h));
		vst1_s8(low + i, vmovn_s16(vsubq_s16(v, vshlq_n_s16(h, 8))));
		sum += vaddlvq_s16(v);
	}
	out->sum[r] = sum;
	out->scale[r] = 1.0F / s;
}

enum { HV_COLUMNS = 16, HV_RUN = 0, HV_I8_OFFSET = 0 };

typedef int8x16_t hv;
typedef struct { int32x4_t high, low; } hv_acc;

INLINE hv_acc
hv_zero(void)
{
	return (hv_acc){ vdupq_n_s32(0), vdupq_n_s32(0) };
}

INLINE hv
hv_i8(const uint8_t *p, int left)
{
	uint8_t last[16] = { 0 };

	if (left < 16)
		p = memcpy(last, p, left > 0 ? (size_t)left : 0);
	return vreinterpretq_s8_u8(vld1q_u8(p));
}

INLINE hv
hv_q4(const uint8_t *p, const int at)
{
	uint8x16_t v = vld1q_u8(p + at % 64);

	return vreinterpretq_s8_u8(at < 64 ? vandq_u8(v, vdupq_n_u8(15)) :
	    vshrq_n_u8(v, 4));
}

INLINE hv
hv_q6(const uint8_t *p, const int at)
{
	uint8x16_t four = vld1q_u8(p + at / 128 * 64 + at % 64);
	uint8x16_t two = vld1q_u8(p + 128 + at % 64);

	/* A shift to the right by what is in a register is one by its negative. */
	four = at % 128 < 64 ? vandq_u8(vshlq_n_u8(four, 2), vdupq_n_u8(0x3c)) :
	    vandq_u8(vshrq_n_u8(four, 2), vdupq_n_u8(0x3c));
	two = vandq_u8(vshlq_u8(two, vdupq_n_s8((int8_t)(-(at / 64 * 2)))),
	    vdupq_n_u8(3));
	return vreinterpretq_s8_u8(vorrq_u8(four, two));
}

INLINE hv_acc
hv_dot(hv_acc acc, hv v, const struct cpu_hidden *x, int r, int at)
{
	const int8_t *q = (const int8_t *)(x->q +
	    (size_t)r * (size_t)x->q_stride) + at;

	return (hv_acc){ vdotq_s32(acc.high, v, vld1q_s8(q)),
	    vdotq_s32(acc.low, v, vld1q_s8(q + x->q_stride)) };
}

INLINE void
hv_sums(const hv_acc *acc, const int n, int64_t *sum)
{
	for (int i = 0; i < n; i++)
		sum[i] += 256 * vaddlvq_s32(acc[i].high) +
		    vaddlvq_s32(acc[i].low);
}

#include "backend/cpu_head.h"

void
cpu_neon_head(const struct dense *w, int from, int to, const struct cpu_hidden *x,
    int n_rows, float *y, size_t y_stride)
{
	head_products(w, from, to, x, n_rows, y, y_stride);
}
