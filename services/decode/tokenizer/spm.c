/*
 * Text for a vocabulary of SentencePiece's.  A blank is U+2581 there; here it
 * is a blank, in tokens too, which is the same and saves a copy of most text.
 *
 * Such a vocabulary has no pattern: all of a stretch is one word.  But nearly
 * always no merge has a blank behind another character, so what is before a
 * word's blank never meets what follows, and it can be cut there: the ids are
 * the same, and long text is not one long word.
 */
#include <string.h>

#include "tokenizer/parts.h"

static const char stand_in[] = "\xe2\x96\x81";

void
spm_append(const char *text, size_t n, struct buf *out)
{
	const char *end = text + n, *at;

	while ((at = memmem(text, (size_t)(end - text), stand_in, 3)) != NULL) {
		buf_add(out, text, (size_t)(at - text));
		buf_add(out, " ", 1);
		text = at + 3;
	}
	buf_add(out, text, (size_t)(end - text));
}

static int
add_words(const struct tokenizer *t, const char *text, size_t n,
    struct ids *out, struct err *e)
{
	bool every = (t->flags & TOKENIZER_SPLIT_BLANKS) != 0;
	bool whole = !every && !t->cut_at_blanks;

	for (size_t from = 0, to; from < n; from = to) {
		to = whole ? n : from + 1;
		while (to < n && (text[to] != ' ' ||
		    (!every && text[to - 1] == ' ')))
			to++;
		if (bpe_word(t, text + from, to - from, out) != 0)
			return err_set(e, ERR_NO_MEMORY,
			    "tokenizer: memory is short");
	}
	return 0;
}

int
spm_run(const struct tokenizer *t, const char *text, size_t n, bool at_start,
    struct ids *out, struct err *e)
{
	struct buf copy = { 0 };
	int rc;

	if (!(t->flags & TOKENIZER_PREFIX_LATE))
		return add_words(t, text, n, out, e);
	spm_append(" ", 1, &copy);
	spm_append(text, n, &copy);
	if (copy.failed) {
		rc = err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
	} else {
		size_t skip = copy.data[1] == ' ' ||
		    !(t->flags & TOKENIZER_PREFIX) ||
		    ((t->flags & TOKENIZER_PREFIX_FIRST) && !at_start);

		rc = add_words(t, copy.data + skip, copy.len - skip, out, e);
	}
	buf_free(&copy);
	return rc;
}
