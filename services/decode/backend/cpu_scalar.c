/*
 * The variant for any processor: no intrinsics.  The 16 lanes are a type of the
 * compiler's vector extension, which it maps to the registers there are.  How
 * such a value is passed to a function depends on them, too; here all of these
 * functions are inlined, so it does not matter (-Wno-psabi).
 */
#include <math.h>
#include <string.h>

#include "backend/cpu_kernels.h"

#define TARGET
#define VF static inline __attribute__((always_inline))

enum { PV_BLOCK = 1 };
#define ATTEND_QUERIES 2

int cpu_scalar_open(struct cpu_kernels *k, struct err *e);

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
static float
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
static uint16_t
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

/* The hidden state in 16 bits; the same integers as the other variants take. */
static void
vf_prepare(const float *f, float top, struct cpu_hidden *out, int r)
{
	int16_t *q = out->q + (size_t)r * (size_t)out->q_stride;
	float s = 32512.0F / (top > 1e-30F ? top : 1e-30F), lanes[CPU_LANES];
	int64_t sum = 0;

	memset(q, 0, (size_t)out->q_stride * sizeof(*q));
	for (int i = 0; i < out->f_stride; i += CPU_LANES) {
		vf_store(lanes, vf_round(vf_mul(vf_load(f + i), vf_set1(s))));
		for (int j = 0; j < CPU_LANES; j++) {
			q[i + j] = (int16_t)lanes[j];
			sum += q[i + j];
		}
	}
	out->sum[r] = sum;
	out->scale[r] = 1.0F / s;
}

#include "backend/cpu_float.h"

/* Sum of codes times x over blocks; x is padded with zeros as the codes are. */
static int32_t
dot(const uint8_t *codes, const int8_t *x, int stride)
{
	int32_t sum = 0;

	for (int at = 0; at < stride; at += 64, x += TERNARY_BLOCK)
		for (int j = 0; j < 64; j++) {
			int c = codes[at + j];

			sum += (c & 3) * x[j] + (c >> 2 & 3) * x[64 + j] +
			    (c >> 4 & 3) * x[128 + j] + (c >> 6) * x[192 + j];
		}
	return sum;
}

/* Row o of w times row r of x, a factor for each group of columns. */
static float
dot_groups(const struct ternary *w, int o, const struct cpu_rows *x, int r)
{
	const uint8_t *codes = w->codes + (size_t)o * (size_t)w->stride;
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	const int32_t *parts = x->parts + r * (x->stride / 64);
	const float *f = w->scales + (size_t)o *
	    (size_t)((w->n_in + w->group - 1) / w->group);
	float total = 0;

	for (int at = 0; at < w->n_in; at += w->group) {
		int32_t sum = 0;

		for (int i = at; i < at + w->group && i < w->n_in; i += 64) {
			const uint8_t *c = codes + i / TERNARY_BLOCK * 64;
			int shift = i % TERNARY_BLOCK / 64 * 2;

			sum -= parts[i / 64];
			for (int j = 0; j < 64; j++)
				sum += (c[j] >> shift & 3) * q[i + j];
		}
		total += (float)sum * *f++;
	}
	return total * x->scale[r];
}

/* The same, one factor for all. */
static float
dot_row(const struct ternary *w, int o, const struct cpu_rows *x, int r)
{
	int32_t sum = dot(w->codes + (size_t)o * (size_t)w->stride,
	    x->q + (size_t)r * (size_t)x->stride, w->stride);

	return (float)(sum - x->sum[r]) * (w->scales[o] * x->scale[r]);
}

static void
ternary(const struct ternary *w, int from, int to, const struct cpu_rows *x,
    int n_rows, float *y, int y_stride, bool add)
{
	for (int o = from; o < to; o++)
		for (int r = 0; r < n_rows; r++) {
			float *out = y + (size_t)r * (size_t)y_stride + o;
			float v = cpu_in_groups(w->group, w->n_in) ?
			    dot_groups(w, o, x, r) : dot_row(w, o, x, r);

			*out = add ? *out + v : v;
		}
}

static void
head(const struct dense *w, int from, int to, const struct cpu_hidden *x,
    int n_rows, float *y, size_t y_stride)
{
	if (w->type != DENSE_I8 || cpu_in_groups(w->group, w->n_in)) {
		head_float(w, from, to, x, n_rows, y, y_stride);
		return;
	}
	for (int o = from; o < to; o++) {
		const int8_t *row = (const int8_t *)w->data +
		    (size_t)o * (size_t)w->n_in;

		for (int r = 0; r < n_rows; r++) {
			const int16_t *q = x->q + (size_t)r * (size_t)x->q_stride;
			int64_t sum = 0;

			for (int i = 0; i < w->n_in; i++)
				sum += row[i] * q[i];
			y[(size_t)r * y_stride + (size_t)o] = (float)sum *
			    (w->scales[o] * x->scale[r]);
		}
	}
}

int
cpu_scalar_open(struct cpu_kernels *k, struct err *e)
{
	(void)e;
	*k = (struct cpu_kernels){
		.isa = "scalar", .title = "scalar",
		.n_queries = ATTEND_QUERIES,
		.quantise = quantise, .ternary = ternary, .gate = gate,
		.norm_heads = norm_heads, .rope = rope, .store = store,
		.attend = attend, .norm = norm, .head = head,
	};
	return 0;
}
