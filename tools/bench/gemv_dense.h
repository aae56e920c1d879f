#ifndef BENCH_GEMV_DENSE_H
#define BENCH_GEMV_DENSE_H

/*
 * Candidates for denser weights than two bits, one row of activations, AVX-512
 * with VBMI.  Codes are weights + 1; a block is contiguous, and all is planar:
 *
 * Base-3, 64 bytes for 320 columns (1.6 bits).  Byte j holds columns j + 64 n,
 * n < 5, as v = the number whose digits, the highest first, they are, in the form
 * ceil(256 v / 243), so that multiplications by 3 push the digits out at the top.
 *
 * 3:4, 40 bytes for 256 columns (1.25 bits).  The five bits from 5 j on describe
 * columns j + 64 n, n < 4, of which one is 0: the lowest two bits say which, the
 * others, 1 for +1, are the signs of the rest in order.
 */
#include "backend/cpu_kernels.h"

enum {
	GEMV_BASE3_COLUMNS = 320, GEMV_BASE3_BYTES = 64,
	GEMV_SPARSE_COLUMNS = 256, GEMV_SPARSE_BYTES = 40,
	GEMV_DENSE_PAST = 24,	/* bytes read, not used, after the last block */
};

/* Make the tables.  False: this processor lacks what they are for. */
bool gemv_dense_open(void);

/*
 * y[o] = scale * (W x), from <= o < to, both multiples of 4; x: one row, with zeros
 * after its end, to the end of the last block.  w->stride: a row's bytes.
 */
void gemv_dense_adds(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, float *y);	/* base-3, digits by arithmetic */
void gemv_dense_tables(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, float *y);	/* base-3, four of five looked up */
void gemv_dense_sparse(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, float *y);	/* 3:4 */

#endif
