#include <stdint.h>

#include "base64.h"

void
base64_encode(const void *bytes, size_t n, struct buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t w = (uint32_t)p[i] << 16;
		char c[4] = { '=', '=', '=', '=' };

		w |= i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0;
		w |= i + 2 < n ? (uint32_t)p[i + 2] : 0;
		c[0] = digits[w >> 18];
		c[1] = digits[w >> 12 & 63];
		if (i + 1 < n)
			c[2] = digits[w >> 6 & 63];
		if (i + 2 < n)
			c[3] = digits[w & 63];
		buf_add(out, c, sizeof(c));
	}
}

static int
value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool
base64_decode(const char *text, size_t n, struct buf *out)
{
	size_t n_digits = n;

	while (n_digits > 0 && n - n_digits < 2 && text[n_digits - 1] == '=')
		n_digits--;
	if (n % 4 != 0)
		return false;
	for (size_t i = 0; i < n_digits; i += 4) {
		size_t k = n_digits - i < 4 ? n_digits - i : 4;
		uint32_t v = 0;
		char c[3];

		for (size_t j = 0; j < 4; j++) {
			int digit = j < k ? value_of(text[i + j]) : 0;

			if (digit < 0)
				return false;
			v = v << 6 | (uint32_t)digit;
		}
		for (int j = 0; j < 3; j++)
			c[j] = (char)(v >> (16 - 8 * j));
		buf_add(out, c, k - 1);
	}
	return true;
}
