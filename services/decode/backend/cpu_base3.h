#ifndef DECODE_CPU_BASE3_H
#define DECODE_CPU_BASE3_H

/*
 * vi_base3 for variants that have no lookup in 256 bytes.  Bytes cannot be
 * multiplied, but 3 x is two additions, and two averages, with 253 and with x, bring
 * 3/4 x + 64 as it has to be rounded: its upper two bits are the digit + 1, for all
 * x.  A variant defines before it includes this
 *
 *	vi_bytes(x)		x in every byte
 *	vi_add8, vi_average	of bytes; half up
 *	vi_and, vi_down(v, n)	as cpu_ternary.h wants it
 */

INLINE vi
digit_and_1(vi v)
{
	return vi_and(vi_average(v, vi_average(v, vi_bytes(253))),
	    vi_bytes(0xc0));
}

/* Digits 1..4 of each byte, as a byte of T2; *first: 64 times digit 0 and 1. */
INLINE vi
vi_base3(vi v, vi *first)
{
	vi codes = vi_bytes(-0x55);

	*first = digit_and_1(v);
_Pragma("GCC unroll 4")
	for (int i = 0; i < 4; i++) {
		v = vi_add8(v, vi_add8(v, v));
		codes = vi_add8(codes, vi_down(digit_and_1(v), 6 - 2 * i));
	}
	return codes;
}

#endif
