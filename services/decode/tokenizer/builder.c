/*
 * What the loaders of vocabularies by number (GGUF, .htok, ranks) share: they
 * give one token after the other.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/chars.h"
#include "tokenizer/parts.h"

int
builder_start(struct builder *b, const char *what, size_t n_vocab,
    struct err *e)
{
	*b = (struct builder){ .what = what, .e = e };
	if (n_vocab == 0 || n_vocab > TOKENIZER_VOCAB_MAX)
		return err_set(e, ERR_BAD_FILE, "%s: a vocabulary of %zu "
		    "tokens is not 1 to %d", what, n_vocab,
		    TOKENIZER_VOCAB_MAX);
	b->t = tokenizer_create();
	if (b->t != NULL) {
		b->t->kind = calloc(n_vocab, 1);
		b->t->at = calloc(n_vocab + 1, sizeof(*b->t->at));
	}
	if (b->t == NULL || b->t->kind == NULL || b->t->at == NULL)
		return err_set(e, ERR_NO_MEMORY, "%s: memory is short", what);
	return 0;
}

int
builder_add(struct builder *b, const char *bytes, size_t n, unsigned kind)
{
	struct tokenizer *t = b->t;

	if (kind == 0)
		n = 0;
	else if (n == 0)
		return err_set(b->e, ERR_BAD_FILE, "%s: token %d is empty",
		    b->what, (int)t->n_vocab);
	if (n > TOKENIZER_TOKEN_MAX || b->bytes.len + n > TOKENIZER_BYTES_MAX)
		return err_set(b->e, ERR_BAD_FILE, "%s: token %d is too long",
		    b->what, (int)t->n_vocab);
	if (n > 0)
		buf_add(&b->bytes, bytes, n);
	t->kind[t->n_vocab++] = (uint8_t)kind;
	t->at[t->n_vocab] = (uint32_t)b->bytes.len;
	return 0;
}

int
builder_end_tokens(struct builder *b)
{
	buf_add(&b->bytes, "", 0);
	if (b->bytes.failed)
		return err_set(b->e, ERR_NO_MEMORY, "%s: memory is short",
		    b->what);
	b->t->bytes = b->bytes.data;	/* tokenizer_destroy frees it */
	b->bytes = (struct buf){ 0 };
	return bpe_index_words(b->t, b->e);
}

/*
 * GPT-2's bytes_to_unicode, the other way: printable Latin-1 stands for itself,
 * the other bytes, in their order, for U+0100 and following.
 */
static int
unspell_char(int32_t cp)
{
	if ((cp >= 33 && cp <= 126) || (cp >= 161 && cp <= 172) ||
	    (cp >= 174 && cp <= 255))
		return cp;
	if (cp < 256 || cp >= 324)
		return -1;
	cp -= 256;
	if (cp < 33)
		return cp;
	return cp < 67 ? cp - 33 + 127 : 173;
}

bool
builder_unspell(const char *text, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n;) {
		int32_t cp;
		int byte;
		char c;

		i += chars_next(text + i, n - i, &cp);
		if ((byte = unspell_char(cp)) < 0)
			return false;
		c = (char)byte;
		buf_add(out, &c, 1);
	}
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int
builder_byte(const char *text, size_t n)
{
	if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' ||
	    hex_digit(text[3]) < 0 || hex_digit(text[4]) < 0)
		return -1;
	return hex_digit(text[3]) * 16 + hex_digit(text[4]);
}

int
builder_finish(struct builder *b, int rc, struct tokenizer **t)
{
	if (rc == 0)
		rc = tokenizer_index(b->t, b->e);
	buf_free(&b->bytes);
	if (rc == 0)
		*t = b->t;
	else
		tokenizer_destroy(b->t);
	return rc;
}
