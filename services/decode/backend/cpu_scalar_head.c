/* The head of the scalar variant: int8 weights times 16-bit integers. */
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

void
cpu_scalar_head(const struct dense *w, int from, int to, const struct cpu_hidden *x,
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
