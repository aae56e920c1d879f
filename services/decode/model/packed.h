#ifndef DECODE_PACKED_H
#define DECODE_PACKED_H

#include <stdbool.h>
#include <stdint.h>

#include "model/model.h"

/*
 * Rows of DENSE_Q6 and DENSE_Q4: all 64 or 16 codes of a row are steps of one
 * size around 0, so none of them is 0 and none is wasted:
 *
 *	value = scale * (2 code - 63)		Q6
 *	value = scale * (2 code - 15)		Q4
 *
 * Codes are not negative, ready for products of unsigned with signed bytes; what
 * the offset adds to a product is a multiple of the sum of the other side.
 *
 * Q4: blocks of 128 columns in 64 bytes; byte j has column j in its lower half and
 * column 64 + j in the upper one.  Q6: blocks of 256 columns in 192 bytes, two such
 * blocks of the upper four bits of codes, then the lower two in layout T2: bits
 * 2i..2i+1 of byte j belong to column 64 i + j.  Codes past the last column are 0.
 */

/* Bits of a code, or 0: not packed. */
static inline int
packed_bits(enum dense_type type)
{
	return type == DENSE_Q6 ? 6 : type == DENSE_Q4 ? 4 : 0;
}

/* Bytes of a row of n_in columns of a type that is packed. */
static inline int32_t
packed_stride(enum dense_type type, int32_t n_in)
{
	return type == DENSE_Q6 ? (n_in + 255) / 256 * 192 :
	    (n_in + 127) / 128 * 64;
}

/* Code of column i of a row. */
int packed_code(enum dense_type type, const uint8_t *row, int32_t i);

/*
 * The codes of values [n] with the least squared error, to out [packed_stride];
 * returns the factor, 0 if all values are.  Values are finite.
 */
float packed_make(enum dense_type type, const float *values, int32_t n,
    uint8_t *out);

/* Row [n] with its factor, as floats. */
void packed_row(enum dense_type type, const uint8_t *row, float scale, int32_t n,
    float *out);

/* Are the codes of a row past column n_in all 0? */
bool packed_check_tail(enum dense_type type, const uint8_t *row, int32_t n_in);

#endif
