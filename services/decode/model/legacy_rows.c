#include "model/legacy_priv.h"

int32_t
legacy_2bit(const uint8_t *p, int32_t n, uint8_t *codes)
{
	for (int32_t i = 0; i < n; i++)
		if ((codes[i] = p[i / 4] >> 2 * (i % 4) & 3) == 3)
			return i;
	return -1;
}

/* Every group of five bits means something. */
int32_t
legacy_sherry(const uint8_t *p, int32_t n, uint8_t *codes)
{
	for (int32_t g = 0; g < n / 4; g++) {
		int32_t bit = 5 * g;
		/* Rows are whole bytes, so a group never ends past the last. */
		unsigned pair = p[bit / 8];
		unsigned zero, signs;

		if (bit % 8 > 3)
			pair |= (unsigned)p[bit / 8 + 1] << 8;
		pair >>= bit % 8;
		zero = pair & 3;
		signs = pair >> 2 & 7;
		for (unsigned i = 0; i < 4; i++) {
			if (i == zero) {
				*codes++ = 1;
				continue;
			}
			*codes++ = (uint8_t)(signs & 1 ? 2 : 0);
			signs >>= 1;
		}
	}
	return -1;
}

int32_t
legacy_base3(const uint8_t *p, int32_t n, uint8_t *codes)
{
	for (int32_t at = 0; at < n; at += 5) {
		unsigned v = p[at / 5];

		if (v > 242)	/* 3^5 - 1 */
			return at;
		for (int32_t i = at; i < n && i < at + 5; i++) {
			codes[i] = (uint8_t)(v % 3);
			v /= 3;
		}
	}
	return -1;
}

const char *
legacy_part_name(enum h1b_part part)
{
	switch (part) {
	case H1B_Q:
		return "q";
	case H1B_K:
		return "k";
	case H1B_V:
		return "v";
	case H1B_O:
		return "o";
	case H1B_GATE:
		return "gate";
	case H1B_UP:
		return "up";
	case H1B_DOWN:
		return "down";
	default:
		return "?";
	}
}
