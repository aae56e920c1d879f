#ifndef DECODE_TERNARIZE_H
#define DECODE_TERNARIZE_H

#include <stdint.h>

#include "err.h"

/*
 * Ternary weights out of matrices of floats: either they are ternary already
 * (each -s, 0 or +s) and the question is where s changes, or they are the
 * master of a BitNet, to be rounded.  Pure functions of one row at a time, so
 * that no matrix need be in memory.
 */
enum {
	TERNARIZE_CELL = 64,		/* columns: no factor is for fewer */
	TERNARIZE_CELLS_MAX = 4096,	/* in the longest row */
	TERNARIZE_GROUPS_MAX = 256,	/* ways to cut a row that are tried */
};

/*
 * How many columns share a factor, as far as rows have told.  What is tried:
 * a whole row; two, three … segments of equal width, which is how the shards
 * of TriLM lie along the columns (Spectra, arXiv 2407.12327, figure 5); 256,
 * 128 or 64 columns with a shorter rest.  The widest that explains every row
 * exactly is the answer, so one factor a matrix or row is found as such.
 */
struct ternarize {
	int32_t n_in;				/* columns */
	int32_t n;				/* groups left */
	int32_t groups[TERNARIZE_GROUPS_MAX];	/* [n] columns, widest first */
	float cells[TERNARIZE_CELLS_MAX];	/* of the row: magnitudes */
};

/* n_in: at least 1. */
void ternarize_init(struct ternarize *t, int32_t n_in);

/*
 * Look at one row [t->n_in] of tensor name.  Rows of several tensors may
 * follow each other: the answer then fits all of them.  ERR_UNSUPPORTED names
 * tensor, row and columns where more than one magnitude stands, ERR_BAD_FILE
 * where a value is not finite.
 */
int ternarize_look(struct ternarize *t, const char *name, int32_t row,
    const float *w, struct err *e);

/* t->n_in or a multiple of TERNARIZE_CELL. */
int32_t ternarize_group(const struct ternarize *t);

/*
 * A row that was looked at: codes [n_in] sign + 1, scales [ceil(n_in / group)]
 * the magnitude of each group, 0 where all of it is 0.
 */
void ternarize_split(const float *w, int32_t n_in, int32_t group,
    uint8_t *codes, float *scales);

/*
 * BitNet's rounding (transformers, integrations/bitnet.py, WeightQuant): with
 * mean = max(mean of |W| over the matrix, 1e-5) and s = 1 / mean, in float,
 * T = clamp(round_half_even(W s), -1, 1), W about T mean.  The sum behind the
 * mean is a double here and a float, in an order that depends on the machine,
 * in PyTorch, so the last bit of the mean may differ.  PyTorch then rounds T mean
 * to the type of the master (bf16: 8 bits, as a packed weight_scale has them);
 * here the factor stays a float.
 *
 * ternarize_sum: of |w| [n], NaN or infinite if a value is.
 * ternarize_mean: of n values with that sum.
 * ternarize_round: codes [n], T + 1.
 */
double ternarize_sum(const float *w, int32_t n);
float ternarize_mean(double sum, uint64_t n);
void ternarize_round(const float *w, int32_t n, float mean, uint8_t *codes);

#endif
