#ifndef BENCH_GEMV_H
#define BENCH_GEMV_H

#include <stddef.h>
#include <stdint.h>

/*
 * Candidates for a denser format than two bits, for AVX-512: what they cost,
 * before anything is built on them.  A matrix [n_out, n_in] is rows of bytes;
 * q: activations, n_in and 63 more of 0, 64-byte aligned.
 */
struct gemv_format {
	const char *name;	/* "base-3" */
	int block;		/* columns, and */
	int block_bytes;	/* what they take */
	/* Fill bytes [n_blocks * block_bytes] with codes of the weights w. */
	void (*pack)(const int8_t *w, int n_blocks, uint8_t *bytes);
	/* sums[o] of outputs from <= o < to: of weight * q, without the offset
	 * that the codes have. */
	void (*product)(const uint8_t *bytes, size_t stride, int n_blocks,
	    int from, int to, const int8_t *q, int32_t q_sum, int32_t *sums);
};

extern const struct gemv_format gemv_formats[];
extern const int gemv_n_formats;

/* Products of a byte and an int8 a second that one core can do, in 10^9. */
double gemv_peak(void);

double gemv_now(void);	/* seconds */

#endif
