/*
 * The products of a head of integers (int8, 6 and 4 bits), written once over a
 * vector of codes; included after cpu_<isa>.h and cpu_float_head.h.  A variant
 * defines:
 *
 *	HV_COLUMNS		codes in one vector: 16, 32 or 64
 *	HV_RUN			columns that an accumulator holds; 0: a whole row
 *	HV_I8_OFFSET		what hv_i8 adds to the codes, to have them unsigned
 *	hv, hv_acc		the codes; sums of their products
 *	hv_zero			no sum
 *	hv_i8(p, left)		int8 codes at p, of which there are `left` or more
 *	hv_q4(p, at)		those of column `at` of a block of 128
 *	hv_q6(p, at)		likewise, of 256
 *	hv_dot(acc, v, x, r, at)	+= v times row r of x, from column `at`
 *	hv_sums(acc, n, sum)	sum [n] += the sums of acc [n]
 *
 * Integers, so the sums are exact and every cut gives the same bits.  A row of
 * weights is unpacked once for up to 8 rows of x.  One output at a time is one
 * stream of bytes, which is read fastest; two with two rows, so that there are sums
 * enough which do not wait for each other.
 *
 * Many rows of x are multiplied in eights, with so many outputs at a time that
 * these stay in the second cache until all rows have had them.
 */
#ifndef DECODE_CPU_HEAD_H
#define DECODE_CPU_HEAD_H

#include <string.h>

#include "backend/cpu_kernels.h"
#include "model/packed.h"

#ifndef HEAD_UNROLL
#define HEAD_UNROLL(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)
#endif

/* As in cpu_ternary.h: bytes ahead, along the stream of a tile after another. */
enum { HEAD_AHEAD = 10240, HEAD_ROWS = 8, HEAD_OUTS = 64 };

/* Bytes and columns that are read at once. */
INLINE int
head_bytes(const enum dense_type type)
{
	return type == DENSE_Q6 ? 192 : 64;
}

INLINE int
head_columns(const enum dense_type type)
{
	return type == DENSE_Q6 ? 256 : type == DENSE_Q4 ? 128 : 64;
}

/* Bytes of a row. */
INLINE size_t
head_stride(const struct dense *w, const enum dense_type type)
{
	return (size_t)(type == DENSE_I8 ? w->n_in : packed_stride(type, w->n_in));
}

INLINE hv
head_codes(const enum dense_type type, const uint8_t *p, const int at, int left)
{
	return type == DENSE_I8 ? hv_i8(p + at, left - at) :
	    type == DENSE_Q4 ? hv_q4(p, at) : hv_q6(p, at);
}

/* sum [n_o, n_r] = codes of outputs o.. times rows r.. of x. */
INLINE void
head_dots(const struct dense *w, int o, int n_some, const struct cpu_hidden *x,
    int r, const enum dense_type type, const int n_o, const int n_r, int64_t *sum)
{
	const int bytes = head_bytes(type), columns = head_columns(type);
	const int run = HV_RUN > 0 ? HV_RUN : 1;
	size_t stride = head_stride(w, type);
	const uint8_t *p = (const uint8_t *)w->data + (size_t)o * stride;
	const uint8_t *next = p + HEAD_AHEAD;
	size_t row[2];
	hv_acc acc[HEAD_ROWS];

	HEAD_UNROLL(i, n_o)
		row[i] = (size_t)(i < n_some ? i : 0) * stride;
	HEAD_UNROLL(i, n_o * n_r) {
		acc[i] = hv_zero();
		sum[i] = 0;
	}
	for (int at = 0; at < w->n_in; at += columns, p += bytes) {
		if (HV_RUN > 0 && at > 0 && at % run == 0) {
			hv_sums(acc, n_o * n_r, sum);
			HEAD_UNROLL(i, n_o * n_r)
				acc[i] = hv_zero();
		}
		HEAD_UNROLL(i, n_o * bytes / 64)
			__builtin_prefetch(next + 64 * i);
		next += n_o * bytes;
		HEAD_UNROLL(part, columns / HV_COLUMNS)
			HEAD_UNROLL(i, n_o) {
				hv v = head_codes(type, p + row[i],
				    part * HV_COLUMNS, w->n_in - at);

				HEAD_UNROLL(j, n_r)
					acc[i * n_r + j] = hv_dot(acc[i * n_r + j],
					    v, x, r + j, at + part * HV_COLUMNS);
			}
	}
	hv_sums(acc, n_o * n_r, sum);
}

/*
 * n_some <= n_o outputs of n_r rows.  A packed code stands for 2 code - top, see
 * packed.h; an int8 one for itself.
 */
INLINE void
head_tile(const struct dense *w, int o, int n_some, const struct cpu_hidden *x,
    int r, const enum dense_type type, const int n_o, const int n_r, float *y,
    size_t y_stride)
{
	const int times = type == DENSE_I8 ? 1 : 2;
	const int offset = type == DENSE_I8 ? HV_I8_OFFSET :
	    type == DENSE_Q6 ? 63 : 15;
	int64_t sum[HEAD_ROWS];

	head_dots(w, o, n_some, x, r, type, n_o, n_r, sum);
	for (int i = 0; i < n_some; i++)
		for (int j = 0; j < n_r; j++)
			y[(size_t)(r + j) * y_stride + (size_t)(o + i)] =
			    (float)(times * sum[i * n_r + j] -
			    offset * x->sum[r + j]) *
			    (w->scales[o + i] * x->scale[r + j]);
}

/* One function for each type and number of rows, which are constants in it. */
#define HEAD_TILES(type, n_r)                                                \
	TARGET static __attribute__((noinline)) void                         \
	head_##type##_##n_r(const struct dense *w, int from, int to,         \
	    const struct cpu_hidden *x, int r, float *y, size_t y_stride)    \
	{                                                                    \
		const int n_o = n_r == 2 ? 2 : 1;                            \
                                                                             \
		for (int o = from; o < to; o += n_o)                         \
			head_tile(w, o, to - o < n_o ? to - o : n_o, x, r,   \
			    DENSE_##type, n_o, n_r, y, y_stride);            \
	}
#define HEAD_TYPE(type)                                                      \
	HEAD_TILES(type, 1) HEAD_TILES(type, 2) HEAD_TILES(type, 3)          \
	HEAD_TILES(type, 4) HEAD_TILES(type, 5) HEAD_TILES(type, 6)          \
	HEAD_TILES(type, 7) HEAD_TILES(type, 8)
HEAD_TYPE(I8)
HEAD_TYPE(Q6)
HEAD_TYPE(Q4)

#define HEAD_LIST(type) { head_##type##_1, head_##type##_2, head_##type##_3, \
	head_##type##_4, head_##type##_5, head_##type##_6, head_##type##_7, \
	head_##type##_8 }

/* struct cpu_kernels' head. */
TARGET static void
head_products(const struct dense *w, int from, int to, const struct cpu_hidden *x,
    int n_rows, float *y, size_t y_stride)
{
	static void (*const tiles[][HEAD_ROWS])(const struct dense *, int, int,
	    const struct cpu_hidden *, int, float *, size_t) = {
		HEAD_LIST(I8), HEAD_LIST(Q6), HEAD_LIST(Q4),
	};
	int type = w->type == DENSE_Q6 ? 1 : w->type == DENSE_Q4 ? 2 : 0;

	if (type == 0 && (w->type != DENSE_I8 ||
	    cpu_in_groups(w->group, w->n_in))) {
		head_float(w, from, to, x, n_rows, y, y_stride);
		return;
	}
	for (int o = from, end; o < to; o = end) {
		end = n_rows <= HEAD_ROWS || to - o < HEAD_OUTS ? to :
		    o + HEAD_OUTS;
		for (int r = 0; r < n_rows; r += HEAD_ROWS) {
			int n = n_rows - r < HEAD_ROWS ? n_rows - r : HEAD_ROWS;

			tiles[type][n - 1](w, o, end, x, r, y, y_stride);
		}
	}
}

#endif
