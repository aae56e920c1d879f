/*
 * Unicode's form NFC (Unicode 15, section 3.11).  Decomposition and composition
 * are libutf8proc's.  Its ordering of marks is not: a bubble sort, quadratic in
 * the length of a run of marks, which is whatever a user sends.
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

int
nfc_append(const char *text, size_t n, struct buf *out, struct err *e)
{
	/* No more code points than bytes, before decomposition. */
	utf8proc_int32_t *cp = malloc((n + 1) * DECOMPOSED_MAX * sizeof(*cp));
	utf8proc_int32_t *scratch =
	    malloc((n + 1) * DECOMPOSED_MAX * sizeof(*cp));
	utf8proc_ssize_t n_cp = 0;
	int last = UTF8PROC_BOUNDCLASS_START;
	int rc = 0;

	if (cp == NULL || scratch == NULL) {
		rc = err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
		goto out;
	}
	for (size_t i = 0; i < n;) {
		int32_t c;

		i += chars_next(text + i, n - i, &c);
		n_cp += utf8proc_decompose_char(c, cp + n_cp, DECOMPOSED_MAX,
		    UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &last);
	}
	order(cp, (size_t)n_cp, scratch);
	n_cp = utf8proc_normalize_utf32(cp, n_cp,
	    UTF8PROC_COMPOSE | UTF8PROC_STABLE);
	for (utf8proc_ssize_t i = 0; i < n_cp; i++)
		append(out, cp[i]);
	if (out->failed)
		rc = err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
out:
	free(cp);
	free(scratch);
	return rc;
}
