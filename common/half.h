#ifndef COMMON_HALF_H
#define COMMON_HALF_H

#include <stdint.h>
#include <string.h>

/*
 * Sixteen-bit floats as f32, exactly: IEEE 754 binary16 (denormals, infinities
 * and NaN included) and bfloat16, the upper half of a binary32.
 */
static inline float
half_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, mag = h & 0x7fff, u;
	float f;

	if (mag < 0x0400) {
		f = (float)mag * 0x1p-24f;
		memcpy(&u, &f, 4);
	} else {
		u = mag >= 0x7c00 ? 0x7f800000 | mag << 13 :
		    (mag << 13) + (112u << 23);
	}
	u |= sign;
	memcpy(&f, &u, 4);
	return f;
}

static inline float
bfloat_to_f32(uint16_t b)
{
	uint32_t u = (uint32_t)b << 16;
	float f;

	memcpy(&f, &u, 4);
	return f;
}

#endif
