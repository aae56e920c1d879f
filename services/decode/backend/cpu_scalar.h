#ifndef DECODE_CPU_SCALAR_H
#define DECODE_CPU_SCALAR_H

/*
 * What the files of the scalar variant share.  The 16 lanes are a type of the
 * compiler's vector extension, which it maps to the registers there are.  How
 * such a value is passed to a function depends on them, too; all of these
 * functions are inlined, so it does not matter (-Wno-psabi).
 */
#include <math.h>
#include <string.h>

#include "backend/cpu_kernels.h"

#define TARGET
#define VF static inline __attribute__((always_inline))
#define INLINE TARGET static inline __attribute__((always_inline))

int cpu_scalar_open(struct cpu_kernels *k, struct err *e);

/* The products: struct cpu_kernels' ternary and head, and norm's last step. */
void cpu_scalar_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add);
void cpu_scalar_head(const struct dense *w, int from, int to,
    const struct cpu_hidden *x, int n_rows, float *y, size_t y_stride);
void cpu_scalar_prepare(const float *f, float top, struct cpu_hidden *out, int r);

typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));

VF vf
vf_select(vi mask, vf a, vf b)
{
	return (vf)(((vi)a & mask) | ((vi)b & ~mask));
}

VF vf vf_zero(void) { return (vf){ 0 }; }
VF vf vf_set1(float x) { return x - vf_zero(); }
VF vf vf_add(vf a, vf b) { return a + b; }
VF vf vf_sub(vf a, vf b) { return a - b; }
VF vf vf_mul(vf a, vf b) { return a * b; }
VF vf vf_div(vf a, vf b) { return a / b; }
VF vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
VF vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); }
VF vf vf_min(vf a, vf b) { return vf_select(a < b, a, b); }

VF vf
vf_load(const float *p)
{
	vf r;

	memcpy(&r, p, sizeof(r));
	return r;
}

VF vf
vf_load_n(const float *p, int n)
{
	vf r = vf_zero();

	memcpy(&r, p, (size_t)n * sizeof(*p));
	return r;
}

VF void vf_store(float *p, vf v) { memcpy(p, &v, sizeof(v)); }
VF void
vf_store_n(float *p, vf v, int n)
{
	memcpy(p, &v, (size_t)n * sizeof(*p));
}

/* Half to even: adding and subtracting 1.5 * 2^23 leaves no fraction.  Larger
 * numbers have none; here they are at most 32512. */
VF vf
vf_round(vf v)
{
	vf big = vf_set1(12582912.0F);

	return vf_sub(vf_add(v, big), big);
}

VF vf
vf_pow2(vf v)
{
	float f[CPU_LANES];
	uint32_t bits[CPU_LANES];

	vf_store(f, v);
	for (int i = 0; i < CPU_LANES; i++)
		bits[i] = (uint32_t)((int32_t)f[i] + 127) << 23;
	memcpy(f, bits, sizeof(f));
	return vf_load(f);
}

VF float
vf_sum(vf v)
{
	float f[CPU_LANES];

	vf_store(f, v);
	for (int half = CPU_LANES / 2; half > 0; half /= 2)
		for (int i = 0; i < half; i++)
			f[i] += f[i + half];
	return f[0];
}

VF float
vf_hmax(vf v)
{
	float f[CPU_LANES], top;

	vf_store(f, v);
	top = f[0];
	for (int i = 1; i < CPU_LANES; i++)
		top = f[i] > top ? f[i] : top;
	return top;
}

/* f16 to f32 by moving the bits: a subnormal is a multiple of 2^-24. */
VF float
from_f16(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff, bits;
	float f;

	if (rest < 0x400) {
		f = (float)rest * 0x1p-24F;
		return sign != 0 ? -f : f;
	}
	bits = sign | ((rest << 13) + 0x38000000);
	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* Half to even, as the hardware does; |f| <= 65504 or NaN. */
VF uint16_t
to_f16(float f)
{
	uint32_t bits, sign, rest;

	memcpy(&bits, &f, sizeof(bits));
	sign = bits >> 16 & 0x8000;
	rest = bits & 0x7fffffff;
	if (rest > 0x7f800000)
		return (uint16_t)(sign | 0x7e00);
	if (rest < 0x38800000) {	/* below 2^-14: multiples of 2^-24 */
		float a = fabsf(f) * 0x1p24F;

		return (uint16_t)(sign | (uint32_t)lrintf(a));
	}
	rest += 0xfff + (rest >> 13 & 1);
	return (uint16_t)(sign | (rest - 0x38000000) >> 13);
}

VF vf
vf_load_f16(const uint16_t *p)
{
	float f[CPU_LANES];

	for (int i = 0; i < CPU_LANES; i++)
		f[i] = from_f16(p[i]);
	return vf_load(f);
}

VF void
vf_store_f16(uint16_t *p, vf v)
{
	float f[CPU_LANES];

	vf_store(f, v);
	for (int i = 0; i < CPU_LANES; i++)
		p[i] = to_f16(f[i]);
}

VF vf
vf_load_bf16(const uint16_t *p)
{
	uint32_t bits[CPU_LANES];
	vf r;

	for (int i = 0; i < CPU_LANES; i++)
		bits[i] = (uint32_t)p[i] << 16;
	memcpy(&r, bits, sizeof(r));
	return r;
}

VF vf
vf_load_i8(const int8_t *p)
{
	float f[CPU_LANES];

	for (int i = 0; i < CPU_LANES; i++)
		f[i] = p[i];
	return vf_load(f);
}

VF int32_t
sum_64(const int8_t *q)
{
	int32_t sum = 0;

	for (int i = 0; i < 64; i++)
		sum += q[i];
	return sum;
}

VF void
vf_store_i8(int8_t *q, vf v)
{
	float f[CPU_LANES];

	vf_store(f, v);
	for (int i = 0; i < CPU_LANES; i++)
		q[i] = (int8_t)f[i];
}

#endif
