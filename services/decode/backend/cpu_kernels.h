#ifndef DECODE_CPU_KERNELS_H
#define DECODE_CPU_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "err.h"
#include "model/model.h"

/*
 * The kernels of the CPU backend: one table, filled once at start with the best
 * variant that the processor reports.  Threads and shapes of the whole are
 * cpu.c's; here is what one thread does with a part.
 *
 * What every variant promises: an element of a result is computed by the same
 * operations in the same order however the call is cut: alone or with other
 * rows, this range of outputs or that.  Sums of integers are exact, so those
 * may be cut as is convenient; sums of floats run over 16 lanes, then a tree.
 */
enum {
	CPU_LANES = 16,		/* floats; row strides are multiples of it */
	CPU_TILE = 64,		/* positions of one softmax; KV_PAGE divides it */
	CPU_QUERIES_MAX = 8,	/* of one attend */
	CPU_SPANS_MAX = 16,	/* parts that a context is attended to in */
};

/*
 * Rows of activations in int8 (BitNet b1.58, quantisation per token): value =
 * q * scale.  Elements past the end of a row, up to stride, are 0.
 */
struct cpu_rows {
	int8_t *q;		/* [rows, stride], 64-byte aligned */
	float *scale;		/* [rows] */
	int32_t *sum;		/* [rows]: of q, since codes are weights + 1 */
	int32_t *parts;		/* [rows, stride / 64]: of q, 64 columns each; or
				 * NULL: no matrix has groups */
	int32_t stride;		/* a multiple of TERNARY_BLOCK */
};

/* Rows before the head, in the form that the variant likes best. */
struct cpu_hidden {
	float *f;		/* [rows, f_stride] */
	int16_t *q;		/* [rows, q_stride] or two planes of bytes */
	float *scale;		/* [rows]: value = q * scale */
	int64_t *sum;		/* [rows]: of q */
	int32_t f_stride, q_stride;	/* multiples of 16; of 256 */
};

/*
 * Keys and values of one layer and one KV head, in f16 or int8.  A page has its
 * keys as [head_dim, KV_PAGE], so that one load gives the same element of many
 * positions and a score needs no horizontal sum, then its values as
 * [KV_PAGE, v_stride]; in int8 a factor for each of KV_PAGE keys and values,
 * f32, follows: the largest element of each is 127 times its factor.
 */
struct cpu_cache {
	char *base;		/* of page 0, 64-byte aligned */
	size_t page_stride;	/* bytes from a page to the next */
	int32_t head_dim, v_stride;	/* v_stride: rounded up to CPU_LANES */
	bool i8;
};

static inline size_t
cpu_keys_bytes(const struct cpu_cache *c)
{
	return (size_t)c->head_dim * KV_PAGE * (c->i8 ? 1 : 2);
}

/* Keys, values and factors of one page; a multiple of 64. */
static inline size_t
cpu_page_bytes(const struct cpu_cache *c)
{
	return KV_PAGE * (c->i8 ?
	    (size_t)(c->head_dim + c->v_stride) + 2 * sizeof(float) :
	    (size_t)(c->head_dim + c->v_stride) * 2);
}

/*
 * One query head at one position, and its softmax so far (Milakov and
 * Gimelshein 2018): max and sum of the exponentials, and sum of values.
 */
struct cpu_query {
	const float *q;		/* [head_dim] */
	float *acc;		/* [v_stride] */
	float max, sum;
	int32_t pos;
};

/* Do several groups of columns of a row have factors of their own? */
static inline bool
cpu_in_groups(int32_t group, int32_t n_in)
{
	return group > 0 && group < n_in;
}

/* Memory of the calling thread, CPU_SCRATCH and CPU_SPAN bytes, aligned to 64, until
 * it ends: taken when it asks first.  The latter are for what was unpacked. */
enum { CPU_SCRATCH = 65536, CPU_SPAN = 32 * 320 };
uint8_t *cpu_scratch(void);

struct cpu_kernels {
	const char *isa;	/* "avx512", static */
	const char *title;	/* "avx512-vnni", static */
	int n_queries;		/* at most, for attend */
	bool base3;		/* one row is faster in layout B3 than in T2 */

	/*
	 * Row r of out = quantised RMSNorm of x [n]; weight NULL: no norm.
	 * tmp: [n rounded up to 16].
	 */
	void (*quantise)(const float *x, const float *weight, int n, float eps,
	    float *tmp, struct cpu_rows *out, int r);

	/*
	 * y[r * y_stride + o] = (or +=, if add) scale * (W x) for from <= o < to
	 * and all rows of x.  In groups: the sum of each is exact, and its
	 * products with the factors are added in the order of the columns.
	 */
	void (*ternary)(const struct ternary *w, int from, int to,
	    const struct cpu_rows *x, int n_rows, float *y, int y_stride,
	    bool add);

	/* g = act(g) * u, [n]. */
	void (*gate)(float *g, const float *u, int n, enum model_act act);

	/* RMSNorm of each of n_heads heads, in place; weight: [head_dim]. */
	void (*norm_heads)(float *x, const float *weight, int n_heads,
	    int head_dim, float eps);

	/* Rotate n_heads heads in place; cos, sin: [head_dim / 2]. */
	void (*rope)(float *x, const float *cos, const float *sin, int n_heads,
	    int head_dim, bool interleaved);

	/* Put k, v [head_dim] into slot of page. */
	void (*store)(const struct cpu_cache *c, int32_t page, int slot,
	    const float *k, const float *v);

	/*
	 * Add tiles from..to-1 of CPU_TILE positions to the queries q [n_q],
	 * n_q <= n_queries.  A tile beyond a query's pos leaves it alone.
	 */
	void (*attend)(const struct cpu_cache *c, const int32_t *pages,
	    struct cpu_query *q, int n_q, int from, int to);

	/*
	 * out [head_dim] = the softmax of n parts together: its values by its
	 * sum.  n: 1..CPU_SPANS_MAX; each has positions.
	 */
	void (*merge)(const struct cpu_query *parts, int n, int head_dim,
	    float *out);

	/* Row r of out = RMSNorm of x [n], ready for head. */
	void (*norm)(const float *x, const float *weight, int n, float eps,
	    struct cpu_hidden *out, int r);

	/* y[r * y_stride + o] = row o of w times row r of x, from <= o < to. */
	void (*head)(const struct dense *w, int from, int to,
	    const struct cpu_hidden *x, int n_rows, float *y, size_t y_stride);
};

/*
 * Fill *k with the variant called isa, or for "auto" with the best one.
 * ERR_NOT_FOUND, and *k untouched, if the processor or this build lacks it.
 */
int cpu_kernels_open(const char *isa, struct cpu_kernels *k, struct err *e);

#endif
