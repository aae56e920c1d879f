#ifndef DECODE_H1B_CHECK_H
#define DECODE_H1B_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Is all of bytes [n] what a writer may put there?  Each looks at eight bytes
 * at a time without a branch, at the speed of memory.  Any n, any alignment; a
 * piece of a value at the end is not looked at.
 */
bool h1b_check_t2(const void *bytes, size_t n);		/* no code 3 */
bool h1b_check_bf16(const void *bytes, size_t n);	/* finite */
bool h1b_check_f16(const void *bytes, size_t n);	/* finite */
bool h1b_check_f32(const void *bytes, size_t n);	/* finite */
bool h1b_check_i8(const void *bytes, size_t n);		/* -127..127 */

/* Scales [n]: finite and not negative. */
bool h1b_check_scales(const float *scales, size_t n);

/* Are the codes of one row past weight n_in all those of weight 0? */
bool h1b_check_t2_tail(const uint8_t *row, int32_t n_in);

#endif
