/*
 * The variant for any processor: no intrinsics.  Its table, and the ternary
 * products, in the plainest way.
 */
#include "backend/cpu_scalar.h"
#include "model/base3.h"

enum { PV_BLOCK = 1 };
#define ATTEND_QUERIES 2
#define vf_prepare cpu_scalar_prepare

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

/* Row o of w, in layout T2. */
static const uint8_t *
codes_of(const struct ternary *w, int o)
{
	const uint8_t *codes = w->codes + (size_t)o * (size_t)w->stride;

	if (w->form == TERNARY_T2)
		return codes;
	base3_to_t2(codes, ternary_blocks(w), cpu_scratch());
	return cpu_scratch();
}

/* Row o of w times row r of x, a factor for each group of columns. */
static float
dot_groups(const struct ternary *w, const uint8_t *codes, int o,
    const struct cpu_rows *x, int r)
{
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
dot_row(const struct ternary *w, const uint8_t *codes, int o,
    const struct cpu_rows *x, int r)
{
	int32_t sum = dot(codes, x->q + (size_t)r * (size_t)x->stride,
	    ternary_blocks(w) * 64);

	return (float)(sum - x->sum[r]) * (w->scales[o] * x->scale[r]);
}

void
cpu_scalar_ternary(const struct ternary *w, int from, int to, const struct cpu_rows *x,
    int n_rows, float *y, int y_stride, bool add)
{
	for (int o = from; o < to; o++) {
		const uint8_t *codes = codes_of(w, o);

		for (int r = 0; r < n_rows; r++) {
			float *out = y + (size_t)r * (size_t)y_stride + o;
			float v = cpu_in_groups(w->group, w->n_in) ?
			    dot_groups(w, codes, o, x, r) :
			    dot_row(w, codes, o, x, r);

			*out = add ? *out + v : v;
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
		.quantise = quantise, .ternary = cpu_scalar_ternary, .gate = gate,
		.norm_heads = norm_heads, .rope = rope, .store = store,
		.attend = attend, .merge = merge, .norm = norm, .head = cpu_scalar_head,
	};
	return 0;
}
