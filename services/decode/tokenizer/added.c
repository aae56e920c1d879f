/*
 * Added tokens, as Hugging Face's AddedVocabulary finds them: the leftmost, of
 * those beginning there the longest, among all of them.  A special one that is
 * not to be parsed stays text, and what is looked for goes on behind it.
 *
 * One that is looked for in normalized text is itself normalized.
 */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "tokenizer/chars.h"
#include "tokenizer/parts.h"

static int
compare(const void *a, const void *b)
{
	const struct added_token *x = a, *y = b;
	int c = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);

	return c != 0 ? c : (x->n > y->n) - (x->n < y->n);
}

/* Append what is looked for to find the token id. */
static int
append_text(const struct tokenizer *t, int32_t id, struct buf *out,
    struct err *e)
{
	const char *bytes = t->bytes + t->at[id];
	size_t n = t->at[id + 1] - t->at[id];

	if (!(t->kind[id] & TOKEN_NORMALIZED)) {
		buf_add(out, bytes, n);
		return 0;
	}
	if ((t->flags & TOKENIZER_SPM) &&
	    !(t->flags & TOKENIZER_PREFIX_LATE)) {
		if (t->flags & TOKENIZER_PREFIX)
			buf_adds(out, " ");
		spm_append(bytes, n, out);
		return 0;
	}
	if ((t->flags & TOKENIZER_NFC) && chars_valid(bytes, n) == n)
		return nfc_append(bytes, n, out, e);
	buf_add(out, bytes, n);
	return 0;
}

static int
index_one(struct tokenizer *t, bool normalized, struct err *e)
{
	struct added *a = &t->added[normalized];
	size_t n = 0, at = 0;
	int rc = 0;

	for (int32_t id = 0; id < t->n_vocab; id++)
		n += (t->kind[id] & TOKEN_ADDED) &&
		    (bool)(t->kind[id] & TOKEN_NORMALIZED) == normalized;
	if (n == 0)
		return 0;
	if ((a->v = calloc(n, sizeof(*a->v))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
	for (int32_t id = 0; rc == 0 && id < t->n_vocab; id++) {
		size_t before = a->texts.len;

		if (!(t->kind[id] & TOKEN_ADDED) ||
		    (bool)(t->kind[id] & TOKEN_NORMALIZED) != normalized)
			continue;
		rc = append_text(t, id, &a->texts, e);
		a->v[a->n++] = (struct added_token){ NULL,
		    a->texts.len - before, id };
	}
	if (rc == 0 && a->texts.failed)
		rc = err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		a->v[i].text = a->texts.data + at;
		at += a->v[i].n;
		a->first[(unsigned char)a->v[i].text[0]] = true;
	}
	qsort(a->v, n, sizeof(*a->v), compare);
	for (size_t i = 1; i < n; i++)
		if (compare(&a->v[i - 1], &a->v[i]) == 0)
			return err_set(e, ERR_BAD_FILE, "tokenizer: added "
			    "tokens %d and %d are the same text",
			    (int)a->v[i - 1].id, (int)a->v[i].id);
	return 0;
}

int
added_index(struct tokenizer *t, struct err *e)
{
	int rc = index_one(t, false, e);

	return rc != 0 ? rc : index_one(t, true, e);
}

void
added_free(struct added *a)
{
	free(a->v);
	buf_free(&a->texts);
}

/*
 * The longest token of a that text [n] begins with, or NULL: the sorted tokens
 * are narrowed down to those that agree with text so far, byte by byte.
 */
static const struct added_token *
longest(const struct added *a, const char *text, size_t n)
{
	size_t lo = 0, hi = a->n;
	const struct added_token *best = NULL;

	for (size_t depth = 0; lo < hi; depth++) {
		/* Of those that agree, one that ends here sorts first. */
		if (a->v[lo].n == depth)
			best = &a->v[lo++];
		if (depth == n)
			break;
		unsigned char c = (unsigned char)text[depth];
		size_t bounds[2];

		for (int upper = 0; upper < 2; upper++) {
			size_t from = lo, to = hi;

			while (from < to) {
				size_t mid = (from + to) / 2;
				unsigned char m = (unsigned char)
				    a->v[mid].text[depth];

				if (m < c || (upper == 1 && m == c))
					from = mid + 1;
				else
					to = mid;
			}
			bounds[upper] = from;
		}
		lo = bounds[0];
		hi = bounds[1];
	}
	return best;
}

/* White_Space */
static bool
is_blank(int32_t cp)
{
	return (cp >= 0x09 && cp <= 0x0d) || cp == 0x20 || cp == 0x85 ||
	    cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
	    cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
	    cp == 0x3000;
}

/* \w of Rust's regex: Alphabetic, M, Nd, Pc, Join_Control. */
static bool
is_word(int32_t cp)
{
	if (cp < 0)
		return false;
	switch (utf8proc_category(cp)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC:
	case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_PC:
		return true;
	default:	/* Other_Alphabetic among the symbols; joiners */
		return (cp >= 0x24b6 && cp <= 0x24e9) ||
		    (cp >= 0x1f130 && cp <= 0x1f149) ||
		    (cp >= 0x1f150 && cp <= 0x1f169) ||
		    (cp >= 0x1f170 && cp <= 0x1f189) ||
		    cp == 0x200c || cp == 0x200d;
	}
}

/* The character that ends before text + n [n > 0]; *cp < 0: none does. */
static size_t
char_before(const char *text, size_t n, int32_t *cp)
{
	size_t len = 1;

	while (len < 4 && len < n &&
	    ((unsigned char)text[n - len] & 0xc0) == 0x80)
		len++;
	if (chars_next(text + n - len, len, cp) == len)
		return len;
	*cp = CHARS_BAD;
	return 1;
}

static bool
stands_alone(const char *text, size_t n, size_t from, size_t to)
{
	int32_t before = -1, after = -1;

	if (from > 0)
		char_before(text, from, &before);
	if (to < n)
		chars_next(text + to, n - to, &after);
	return !is_word(before) && !is_word(after);
}

/*
 * Widen text[*from .. *to) by the blanks that the token takes in.  no_space: a
 * space stands for U+2581, which is none.
 */
static void
take_blanks(unsigned kind, const char *text, size_t n, size_t done,
    bool no_space, size_t *from, size_t *to)
{
	int32_t cp;

	while ((kind & TOKEN_LSTRIP) && *from > done) {
		size_t len = char_before(text, *from, &cp);

		if (!is_blank(cp) || (no_space && cp == ' ') ||
		    *from - done < len)
			break;
		*from -= len;
	}
	while ((kind & TOKEN_RSTRIP) && *to < n) {
		size_t len = chars_next(text + *to, n - *to, &cp);

		if (!is_blank(cp) || (no_space && cp == ' '))
			break;
		*to += len;
	}
}

int
added_cut(const struct tokenizer *t, bool normalized, bool parse_special,
    const char *text, size_t n, added_piece_fn *fn, void *arg,
    struct ids *out, struct err *e)
{
	const struct added *a = &t->added[normalized];
	bool no_space = normalized && (t->flags & TOKENIZER_SPM) &&
	    !(t->flags & TOKENIZER_PREFIX_LATE);
	size_t done = 0;
	int rc;

	for (size_t i = 0; a->n > 0 && i < n;) {
		const struct added_token *found = NULL;

		if (a->first[(unsigned char)text[i]])
			found = longest(a, text + i, n - i);
		if (found == NULL) {
			i++;
			continue;
		}
		unsigned kind = t->kind[found->id];
		size_t from = i, to = i + found->n;

		i = to;
		if (((kind & TOKEN_SPECIAL) && !parse_special) ||
		    ((kind & TOKEN_WHOLE_WORD) &&
		    !stands_alone(text, n, from, to)))
			continue;
		take_blanks(kind, text, n, done, no_space, &from, &to);
		if (from > done &&
		    (rc = fn(arg, text + done, from - done)) != 0)
			return rc;
		if (ids_add(out, found->id) != 0)
			return err_set(e, ERR_NO_MEMORY,
			    "tokenizer: memory is short");
		i = done = to;
	}
	return done == n ? 0 : fn(arg, text + done, n - done);
}
