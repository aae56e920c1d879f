/*
 * Layout B3, in the plainest way: for files, for tests, and for variants without
 * vectors.  cpu_ternary.h does the same by vectors.
 */
#include <string.h>

#include "model/base3.h"
#include "model/model.h"

enum { GROUP = 64, SPAN_BLOCKS = BASE3_SPAN / TERNARY_BLOCK, DIGITS = 5 };

static int32_t
blocks_of(int32_t n_in)
{
	return (n_in + TERNARY_BLOCK - 1) / TERNARY_BLOCK;
}

int32_t
base3_stride(int32_t n_in)
{
	int32_t n = blocks_of(n_in);

	return (n / SPAN_BLOCKS * (SPAN_BLOCKS - 1) + n % SPAN_BLOCKS) * GROUP;
}

static uint8_t
byte_of(const uint8_t *digits)
{
	unsigned v = 0;

	for (int d = 0; d < DIGITS; d++)
		v = 3 * v + digits[d];
	return (uint8_t)((256 * v + 242) / 243);
}

static int
digit_of(uint8_t byte, int digit)
{
	for (; digit > 0; digit--)
		byte = (uint8_t)(3 * byte);
	return 3 * byte >> 8;
}

void
base3_pack(const uint8_t *codes, int32_t n_in, uint8_t *out)
{
	int32_t n = base3_stride(n_in);

	for (int32_t at = 0; at < n; at++) {
		int32_t group = at / GROUP, j = at % GROUP;
		int32_t span = group / (SPAN_BLOCKS - 1) * BASE3_SPAN;
		int32_t in = group % (SPAN_BLOCKS - 1);
		uint8_t digits[DIGITS];

		for (int d = 0; d < DIGITS; d++) {
			int32_t k = span + j + (d == 0 ?
			    (SPAN_BLOCKS - 1) * TERNARY_BLOCK + in * GROUP :
			    in * TERNARY_BLOCK + (d - 1) * GROUP);

			digits[d] = k < n_in ? codes[k] : 1;
		}
		out[at] = byte_of(digits);
	}
}

/* Where column i is: its byte in the row, and its digit. */
static int32_t
place_of(int32_t i, int *digit)
{
	int32_t block = i % BASE3_SPAN / TERNARY_BLOCK;
	int32_t part = i % TERNARY_BLOCK / GROUP;
	bool fifth = block == SPAN_BLOCKS - 1;

	*digit = fifth ? 0 : 1 + part;
	return (i / BASE3_SPAN * (SPAN_BLOCKS - 1) + (fifth ? part : block)) *
	    GROUP + i % GROUP;
}

int
base3_code(const uint8_t *row, int32_t i)
{
	int digit;
	int32_t at = place_of(i, &digit);

	return digit_of(row[at], digit);
}

/* Digits 1..4 as a byte of T2. */
static uint8_t
four_digits(uint8_t byte)
{
	unsigned codes = 0;

	for (int i = 0; i < 4; i++) {
		byte = (uint8_t)(3 * byte);
		codes |= 3U * byte >> 8 << 2 * i;
	}
	return (uint8_t)codes;
}

void
base3_to_t2(const uint8_t *row, int32_t n, uint8_t *t2)
{
	for (; n > 0; n -= SPAN_BLOCKS, row += 4 * GROUP, t2 += 5 * GROUP) {
		int32_t groups = n < SPAN_BLOCKS ? n : SPAN_BLOCKS - 1;

		for (int32_t i = 0; i < groups * GROUP; i++)
			t2[i] = four_digits(row[i]);
		for (int32_t j = 0; n >= SPAN_BLOCKS && j < GROUP; j++)
			t2[4 * GROUP + j] = (uint8_t)(digit_of(row[j], 0) |
			    digit_of(row[GROUP + j], 0) << 2 |
			    digit_of(row[2 * GROUP + j], 0) << 4 |
			    digit_of(row[3 * GROUP + j], 0) << 6);
	}
}

/*
 * 243 * byte is 256 v + a rest, and the byte is the smallest with that v if the
 * rest is below 243.  Four bytes at a time, each in 16 bits: the rest + 13 then
 * does not carry.
 */
static uint64_t
rests(uint64_t v)
{
	const uint64_t low = 0x00ff00ff00ff00ff;

	return ((v & low) * 243 & low) + 0x000d000d000d000d;
}

bool
base3_check(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	uint64_t bad = 0, v;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&v, p, 8);
		bad |= rests(v) | rests(v >> 8);
	}
	v = 0;
	memcpy(&v, p, n);
	bad |= rests(v) | rests(v >> 8);
	return (bad & 0x0100010001000100) == 0;
}

bool
base3_check_tail(const uint8_t *row, int32_t n_in)
{
	int32_t n = blocks_of(n_in), rest = n % SPAN_BLOCKS;
	int32_t end = base3_stride(n_in);

	for (int32_t i = n_in; i < n * TERNARY_BLOCK; i++)
		if (base3_code(row, i) != 1)
			return false;
	for (int32_t at = end - rest * GROUP; at < end; at++)
		if (digit_of(row[at], 0) != 1)
			return false;
	return true;
}
