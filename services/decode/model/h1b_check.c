#include <math.h>
#include <string.h>

#include "model/h1b.h"
#include "model/h1b_check.h"

/*
 * Several values in one 64-bit word.  A float whose exponent is all ones is an
 * infinity or no number: with the sign and the fraction masked out, adding one
 * to the exponent carries into the place of the sign, and no further.
 */
static bool
no_carry(const void *bytes, size_t n, uint64_t exponents, uint64_t ones,
    uint64_t signs)
{
	const uint8_t *p = bytes;
	uint64_t bad = 0, v;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&v, p, 8);
		bad |= (v & exponents) + ones;
	}
	v = 0;
	memcpy(&v, p, n);
	bad |= (v & exponents) + ones;
	return (bad & signs) == 0;
}

bool
h1b_check_bf16(const void *bytes, size_t n)
{
	return no_carry(bytes, n, 0x7f807f807f807f80, 0x0080008000800080,
	    0x8000800080008000);
}

bool
h1b_check_f16(const void *bytes, size_t n)
{
	return no_carry(bytes, n, 0x7c007c007c007c00, 0x0400040004000400,
	    0x8000800080008000);
}

bool
h1b_check_f32(const void *bytes, size_t n)
{
	return no_carry(bytes, n, 0x7f8000007f800000, 0x0080000000800000,
	    0x8000000080000000);
}

bool
h1b_check_t2(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	uint64_t bad = 0, v;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&v, p, 8);
		bad |= v & v >> 1;
	}
	v = 0;
	memcpy(&v, p, n);
	bad |= v & v >> 1;
	return (bad & 0x5555555555555555) == 0;
}

bool
h1b_check_i8(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	unsigned bad = 0;

	for (size_t i = 0; i < n; i++)
		bad |= p[i] == 0x80;
	return bad == 0;
}

bool
h1b_check_scales(const float *scales, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(scales[i] >= 0 && isfinite(scales[i])))
			return false;
	return true;
}

bool
h1b_check_t2_tail(const uint8_t *row, int32_t n_in)
{
	int32_t end = h1b_t2_stride(n_in) * 4;

	for (int32_t k = n_in; k < end; k++) {
		int32_t in = k % TERNARY_BLOCK;
		uint8_t byte = row[k / TERNARY_BLOCK * (TERNARY_BLOCK / 4) +
		    in % 64];

		if ((byte >> in / 64 * 2 & 3) != 1)
			return false;
	}
	return true;
}
