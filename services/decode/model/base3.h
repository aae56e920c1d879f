#ifndef DECODE_BASE3_H
#define DECODE_BASE3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Rows of layout B3: five weights in a byte.  Where layout T2 has five blocks (1280
 * columns in 320 bytes), B3 has four groups of 64 bytes.  Byte j of a group has
 * five digits to the base 3, each the code w + 1:
 *
 *	digits 1..4	byte j of block 0..3 of T2: column 64 i + j for digit 1 + i
 *	digit 0		column 64 i + j of block 4, of group i
 *
 * So four digits of a group are a block of T2, and nothing moves from one byte to
 * another.  At the end of a row, n < 5 blocks are n groups whose digits 0 are 1,
 * as all columns past the last are.
 *
 * The number v = 81 d0 + 27 d1 + 9 d2 + 3 d3 + d4 stands as the fraction v / 243,
 * rounded up: byte = ceil(256 v / 243).  So the upper half of 3 * byte is digit 0,
 * the lower half is the byte of what follows, and no division is needed.
 */
enum {
	BASE3_SPAN = 1280,	/* columns of four groups */
};

/* Bytes of a row of n_in weights. */
int32_t base3_stride(int32_t n_in);

/* codes [n_in], each 0..2, to one row: out [base3_stride(n_in)]. */
void base3_pack(const uint8_t *codes, int32_t n_in, uint8_t *out);

/* Code of column i of a row. */
int base3_code(const uint8_t *row, int32_t i);

/* The first n blocks of T2, 64 bytes each, of what is at row: a row, or the rest of
 * one from a column that is a multiple of BASE3_SPAN. */
void base3_to_t2(const uint8_t *row, int32_t n, uint8_t *t2);

/* Is every byte one of the 243 that stand for five digits? */
bool base3_check(const void *bytes, size_t n);

/* Are all digits of a row that belong to no column of it 1? */
bool base3_check_tail(const uint8_t *row, int32_t n_in);

#endif
