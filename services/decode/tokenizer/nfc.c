/*
 * Unicode's form NFC (Unicode 15, section 3.11).  Decomposition and composition
 * are libutf8proc's.  Its ordering of marks is not: a bubble sort, quadratic in
 * the length of a run of marks, which is whatever a user sends.
 *
 * Hugging Face tokenizers normalizes by the tables of Unicode 9, and ids are to
 * be the same; what came later neither moves nor composes there, so text is cut
 * at it.
 */
#include <stdlib.h>
#include <utf8proc.h>

#include "tokenizer/chars.h"
#include "tokenizer/parts.h"

enum { DECOMPOSED_MAX = 4 };	/* code points; the longest there is */

bool
nfc_is_trivial(const char *text, size_t n)
{
	/* Below U+0300 (in UTF-8 CC 80) nothing composes or decomposes. */
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] >= 0xcc)
			return false;
	return true;
}

/*
 * Marks and compositions of Unicode 10 to 15, from the versions' data; 11930 is
 * the second half of 11938.
 */
static const struct {
	int32_t first, last;
} newer[] = {
	{ 0x7fd, 0x7fd }, { 0x898, 0x89f }, { 0x8ca, 0x8d3 },
	{ 0x9fe, 0x9fe }, { 0xc3c, 0xc3c }, { 0xd3b, 0xd3c },
	{ 0xeba, 0xeba }, { 0x1715, 0x1715 }, { 0x1abf, 0x1ace },
	{ 0x1df6, 0x1dfa }, { 0xa82c, 0xa82c }, { 0x10d24, 0x10d27 },
	{ 0x10eab, 0x10eac }, { 0x10efd, 0x10eff }, { 0x10f46, 0x10f50 },
	{ 0x10f82, 0x10f85 }, { 0x11070, 0x11070 }, { 0x1133b, 0x1133b },
	{ 0x1145e, 0x1145e }, { 0x11839, 0x1183a }, { 0x11930, 0x11930 },
	{ 0x11938, 0x11938 }, { 0x1193d, 0x1193e }, { 0x11943, 0x11943 },
	{ 0x119e0, 0x119e0 }, { 0x11a34, 0x11a34 }, { 0x11a47, 0x11a47 },
	{ 0x11a99, 0x11a99 }, { 0x11d42, 0x11d42 }, { 0x11d44, 0x11d45 },
	{ 0x11d97, 0x11d97 }, { 0x11f41, 0x11f42 }, { 0x16ff0, 0x16ff1 },
	{ 0x1e08f, 0x1e08f }, { 0x1e130, 0x1e136 }, { 0x1e2ae, 0x1e2ae },
	{ 0x1e2ec, 0x1e2ef }, { 0x1e4ec, 0x1e4ef },
};

static bool
is_newer(int32_t cp)
{
	size_t lo = 0, hi = sizeof(newer) / sizeof(*newer);

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (newer[mid].last < cp)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < sizeof(newer) / sizeof(*newer) && newer[lo].first <= cp;
}

static int
combining_class(utf8proc_int32_t cp)
{
	return utf8proc_get_property(cp)->combining_class;
}

/* Sort the marks cp [n] by their class, stably: by counting. */
static void
order_marks(utf8proc_int32_t *cp, size_t n, utf8proc_int32_t *scratch)
{
	size_t start[257] = { 0 };

	for (size_t i = 0; i < n; i++)
		start[combining_class(cp[i]) + 1]++;
	for (int c = 0; c < 256; c++)
		start[c + 1] += start[c];
	for (size_t i = 0; i < n; i++)
		scratch[start[combining_class(cp[i])]++] = cp[i];
	for (size_t i = 0; i < n; i++)
		cp[i] = scratch[i];
}

static void
order(utf8proc_int32_t *cp, size_t n, utf8proc_int32_t *scratch)
{
	for (size_t i = 0, end; i < n; i = end) {
		end = i + 1;
		if (combining_class(cp[i]) == 0)
			continue;
		while (end < n && combining_class(cp[end]) != 0)
			end++;
		if (end - i > 1)
			order_marks(cp + i, end - i, scratch);
	}
}

static void
append(struct buf *out, utf8proc_int32_t cp)
{
	utf8proc_uint8_t bytes[4];

	buf_add(out, bytes, (size_t)utf8proc_encode_char(cp, bytes));
}

static size_t
decompose(int32_t c, utf8proc_int32_t *cp)
{
	int last = UTF8PROC_BOUNDCLASS_START;
	utf8proc_ssize_t n = utf8proc_decompose_char(c, cp, DECOMPOSED_MAX,
	    UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &last);

	return n > 0 ? (size_t)n : 0;
}

/* Append cp [n], decomposed, with its marks ordered and composed. */
static void
compose(utf8proc_int32_t *cp, size_t n, utf8proc_int32_t *scratch,
    struct buf *out)
{
	utf8proc_ssize_t left;

	order(cp, n, scratch);
	left = utf8proc_normalize_utf32(cp, (utf8proc_ssize_t)n,
	    UTF8PROC_COMPOSE | UTF8PROC_STABLE);
	for (utf8proc_ssize_t i = 0; i < left; i++)
		append(out, cp[i]);
}

int
nfc_append(const char *text, size_t n, struct buf *out, struct err *e)
{
	/* No more code points than bytes, before decomposition. */
	utf8proc_int32_t *cp = malloc((n + 1) * DECOMPOSED_MAX * sizeof(*cp));
	utf8proc_int32_t *scratch =
	    malloc((n + 1) * DECOMPOSED_MAX * sizeof(*cp));
	size_t n_cp = 0;
	int rc = 0;

	if (cp == NULL || scratch == NULL) {
		rc = err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
		goto out;
	}
	for (size_t i = 0; i < n;) {
		int32_t c;

		i += chars_next(text + i, n - i, &c);
		if (is_newer(c)) {
			compose(cp, n_cp, scratch, out);
			append(out, c);
			n_cp = 0;
		} else {
			n_cp += decompose(c, cp + n_cp);
		}
	}
	compose(cp, n_cp, scratch, out);
	if (out->failed)
		rc = err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
out:
	free(cp);
	free(scratch);
	return rc;
}
