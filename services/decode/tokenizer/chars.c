#include <stdbool.h>
#include <string.h>

#include "tokenizer/chars.h"

/* How many bytes follow the lead byte c; -1 if c leads nothing. */
static int
n_following(unsigned char c)
{
	if (c < 0x80)
		return 0;
	if (c >= 0xc2 && c <= 0xdf)
		return 1;
	if (c >= 0xe0 && c <= 0xef)
		return 2;
	if (c >= 0xf0 && c <= 0xf4)
		return 3;
	return -1;
}

/* May c be the second byte after lead?  Here overlong forms, surrogates and
 * what is beyond U+10FFFF fall out. */
static bool
may_be_second(unsigned char lead, unsigned char c)
{
	unsigned char lo = 0x80, hi = 0xbf;

	switch (lead) {
	case 0xe0: lo = 0xa0; break;
	case 0xed: hi = 0x9f; break;
	case 0xf0: lo = 0x90; break;
	case 0xf4: hi = 0x8f; break;
	}
	return c >= lo && c <= hi;
}

size_t
chars_next(const char *s, size_t n, int32_t *cp)
{
	unsigned char lead = (unsigned char)s[0];
	int more = n_following(lead);
	int32_t v;

	if (more < 0) {
		*cp = CHARS_BAD;
		return 1;
	}
	v = more == 0 ? lead : lead & (0x3f >> more);
	for (int i = 1; i <= more; i++) {
		if ((size_t)i >= n) {
			*cp = CHARS_CUT;
			return n;
		}
		unsigned char c = (unsigned char)s[i];

		if (i == 1 ? !may_be_second(lead, c) : (c & 0xc0) != 0x80) {
			*cp = CHARS_BAD;
			return (size_t)i;
		}
		v = v << 6 | (c & 0x3f);
	}
	*cp = v;
	return (size_t)more + 1;
}

size_t
chars_valid(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		uint64_t eight;
		int32_t cp;

		/* Most text is ASCII: eight bytes at a time. */
		if (n - i >= 8) {
			memcpy(&eight, s + i, 8);
			if ((eight & 0x8080808080808080u) == 0) {
				i += 8;
				continue;
			}
		}
		size_t len = chars_next(s + i, n - i, &cp);

		if (cp < 0)
			break;
		i += len;
	}
	return i;
}
