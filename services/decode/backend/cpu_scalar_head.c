/* The head of the scalar variant: codes times 16-bit integers. */
#include <string.h>

#include "backend/cpu_scalar.h"
#include "backend/cpu_float_head.h"

/* The hidden state in 16 bits; the same integers as the other variants take. */
void
cpu_scalar_prepare(const float *f, float top, struct cpu_hidden *out, int r)
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

/* There is nothing to keep in registers, and a sanitizer's build takes minutes. */
#define HEAD_UNROLL(i, n) for (int i = 0; i < (n); i++)

enum { HV_COLUMNS = 64, HV_RUN = 0, HV_I8_OFFSET = 0 };

typedef struct { int8_t code[64]; } hv;
typedef int64_t hv_acc;

INLINE hv_acc
hv_zero(void)
{
	return 0;
}

INLINE hv
hv_i8(const uint8_t *p, int left)
{
	hv v = { { 0 } };

	memcpy(v.code, p, left < 64 ? (size_t)left : 64);
	return v;
}

INLINE hv
hv_q4(const uint8_t *p, const int at)
{
	hv v;

	for (int j = 0; j < 64; j++)
		v.code[j] = (int8_t)(p[j] >> at / 16 & 15);
	return v;
}

INLINE hv
hv_q6(const uint8_t *p, const int at)
{
	hv v = hv_q4(p + at / 128 * 64, at % 128);

	for (int j = 0; j < 64; j++)
		v.code[j] = (int8_t)(v.code[j] << 2 |
		    (p[128 + j] >> at / 32 & 3));
	return v;
}

INLINE hv_acc
hv_dot(hv_acc acc, hv v, const struct cpu_hidden *x, int r, int at)
{
	const int16_t *q = x->q + (size_t)r * (size_t)x->q_stride + at;
	int32_t sum = 0;

	for (int j = 0; j < 64; j++)
		sum += v.code[j] * q[j];
	return acc + sum;
}

INLINE void
hv_sums(const hv_acc *acc, const int n, int64_t *sum)
{
	for (int i = 0; i < n; i++)
		sum[i] += acc[i];
}

#include "backend/cpu_head.h"

void
cpu_scalar_head(const struct dense *w, int from, int to, const struct cpu_hidden *x,
    int n_rows, float *y, size_t y_stride)
{
	head_products(w, from, to, x, n_rows, y, y_stride);
}
