#ifndef DECODE_CPU_NEON_H
#define DECODE_CPU_NEON_H

/*
 * What the files of the NEON variant share: the vector of 16 lanes that
 * cpu_float.h and cpu_float_head.h are written over.  It is four registers, so
 * every sum has the order that AVX-512 gives it.  The Makefile compiles these
 * files for dot products of bytes (+dotprod): not every compiler's arm_neon.h
 * has them for a single function.
 */
#include <arm_neon.h>
#include <string.h>

#include "backend/cpu_kernels.h"

#define TARGET
#define VF static inline __attribute__((always_inline))
#define INLINE static inline __attribute__((always_inline))

int cpu_neon_open(struct cpu_kernels *k, struct err *e);

/* The products: struct cpu_kernels' ternary and head, and norm's last step. */
void cpu_neon_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add);
void cpu_neon_head(const struct dense *w, int from, int to,
    const struct cpu_hidden *x, int n_rows, float *y, size_t y_stride);
void cpu_neon_prepare(const float *f, float top, struct cpu_hidden *out, int r);

typedef struct { float32x4_t a, b, c, d; } vf;

#define EACH(F) (vf){ F(a), F(b), F(c), F(d) }
#define SET1(h) vdupq_n_f32(x)
VF vf vf_set1(float x) { return EACH(SET1); }
VF vf vf_zero(void) { return vf_set1(0); }
VF vf
vf_load(const float *p)
{
	return (vf){ vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8),
	    vld1q_f32(p + 12) };
}
VF void
vf_store(float *p, vf v)
{
	vst1q_f32(p, v.a);
	vst1q_f32(p + 4, v.b);
	vst1q_f32(p + 8, v.c);
	vst1q_f32(p + 12, v.d);
}
VF vf
vf_load_n(const float *p, int n)
{
	float lanes[CPU_LANES] = { 0 };

	memcpy(lanes, p, (size_t)n * sizeof(*p));
	return vf_load(lanes);
}
VF void
vf_store_n(float *p, vf v, int n)
{
	float lanes[CPU_LANES];

	vf_store(lanes, v);
	memcpy(p, lanes, (size_t)n * sizeof(*p));
}
#define ADD(h) vaddq_f32(x.h, y.h)
#define SUB(h) vsubq_f32(x.h, y.h)
#define MUL(h) vmulq_f32(x.h, y.h)
#define DIV(h) vdivq_f32(x.h, y.h)
#define MIN(h) vminq_f32(x.h, y.h)
#define MAX(h) vmaxq_f32(x.h, y.h)
#define FMA(h) vfmaq_f32(z.h, x.h, y.h)
#define ROUND(h) vrndnq_f32(x.h)
/* 2^n: n is the exponent of a float. */
#define POW2(h) vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32( \
    vcvtnq_s32_f32(x.h), vdupq_n_s32(127)), 23))
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
	float32x4_t s = vaddq_f32(vaddq_f32(v.a, v.c), vaddq_f32(v.b, v.d));
	float32x2_t h = vadd_f32(vget_low_f32(s), vget_high_f32(s));

	return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}

VF float
vf_hmax(vf v)
{
	return vmaxvq_f32(vmaxq_f32(vmaxq_f32(v.a, v.b), vmaxq_f32(v.c, v.d)));
}

VF float32x4_t
widen_f16(const uint16_t *p)
{
	return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

VF vf
vf_load_f16(const uint16_t *p)
{
	return (vf){ widen_f16(p), widen_f16(p + 4), widen_f16(p + 8),
	    widen_f16(p + 12) };
}

VF void
vf_store_f16(uint16_t *p, vf v)
{
	vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v.a)));
	vst1_u16(p + 4, vreinterpret_u16_f16(vcvt_f16_f32(v.b)));
	vst1_u16(p + 8, vreinterpret_u16_f16(vcvt_f16_f32(v.c)));
	vst1_u16(p + 12, vreinterpret_u16_f16(vcvt_f16_f32(v.d)));
}

VF float32x4_t
widen_bf16(const uint16_t *p)
{
	return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}

VF vf
vf_load_bf16(const uint16_t *p)
{
	return (vf){ widen_bf16(p), widen_bf16(p + 4), widen_bf16(p + 8),
	    widen_bf16(p + 12) };
}

VF vf
vf_load_i8(const int8_t *p)
{
	int8x16_t v = vld1q_s8(p);
	int16x8_t l = vmovl_s8(vget_low_s8(v)), h = vmovl_s8(vget_high_s8(v));

	return (vf){ vcvtq_f32_s32(vmovl_s16(vget_low_s16(l))),
	    vcvtq_f32_s32(vmovl_s16(vget_high_s16(l))),
	    vcvtq_f32_s32(vmovl_s16(vget_low_s16(h))),
	    vcvtq_f32_s32(vmovl_s16(vget_high_s16(h))) };
}

/* Eight lanes, rounded, as 16-bit integers. */
VF int16x8_t
to_i16(float32x4_t a, float32x4_t b)
{
	return vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a)),
	    vqmovn_s32(vcvtnq_s32_f32(b)));
}

VF void
vf_store_i8(int8_t *q, vf v)
{
	vst1q_s8(q, vcombine_s8(vqmovn_s16(to_i16(v.a, v.b)),
	    vqmovn_s16(to_i16(v.c, v.d))));
}

VF int32_t
sum_64(const int8_t *q)
{
	int32x4_t sum = vdupq_n_s32(0);

	for (int i = 0; i < 64; i += 16)
		sum = vdotq_s32(sum, vld1q_s8(q + i), vdupq_n_s8(1));
	return vaddvq_s32(sum);
}

#endif
