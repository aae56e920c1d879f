/*
 * From text to ids in four steps, as Hugging Face's AddedVocabulary and
 * ByteLevel do it:
 *
 *	text	-- added tokens, normalized: false -->	pieces
 *	piece	-- NFC if wanted; added tokens, normalized: true --> runs
 *	run	-- the split patterns, one within the other -->	words
 *	word	-- BPE -->	ids
 *
 * A vocabulary of SentencePiece's has characters instead of patterns: spm.c.
 *
 * Hugging Face never sees bytes that are not UTF-8; here they stand between
 * runs, each a word of its own, so that decoding gives them back.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/chars.h"
#include "tokenizer/parts.h"

int
ids_add(struct ids *a, int32_t id)
{
	if (a->n == a->cap) {
		size_t cap = a->cap == 0 ? 64 : 2 * a->cap;
		int32_t *v = realloc(a->v, cap * sizeof(*v));

		if (v == NULL)
			return ERR_NO_MEMORY;
		a->v = v;
		a->cap = cap;
	}
	a->v[a->n++] = id;
	return 0;
}

void
ids_free(struct ids *a)
{
	free(a->v);
	*a = (struct ids){ 0 };
}

struct tokenizer *
tokenizer_create(void)
{
	struct tokenizer *t = calloc(1, sizeof(*t));

	if (t != NULL)
		t->unk = -1;
	return t;
}

void
tokenizer_destroy(struct tokenizer *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->n_patterns; i++) {
		free(t->patterns[i].text);
		split_destroy(t->patterns[i].split);
	}
	added_free(&t->added[0]);
	added_free(&t->added[1]);
	free(t->at);
	free(t->bytes);
	free(t->kind);
	free(t->merges);
	free(t->pairs);
	free(t->words);
	free(t);
}

int
tokenizer_add_pattern(struct tokenizer *t, const char *text, size_t n,
    struct err *e)
{
	int rc;

	if (t->n_patterns == TOKENIZER_PATTERNS_MAX)
		return err_set(e, ERR_UNSUPPORTED, "tokenizer: more than %d "
		    "split patterns", TOKENIZER_PATTERNS_MAX);
	if (n == 0 || n > TOKENIZER_PATTERN_MAX || memchr(text, 0, n) != NULL ||
	    chars_valid(text, n) != n)
		return err_set(e, ERR_UNSUPPORTED, "tokenizer: a split pattern "
		    "is not 1 to %d bytes of UTF-8", TOKENIZER_PATTERN_MAX);
	char *copy = strndup(text, n);

	if (copy == NULL)
		return err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
	if ((rc = split_compile(text, n,
	    &t->patterns[t->n_patterns].split, e)) != 0) {
		free(copy);
		return rc;
	}
	t->patterns[t->n_patterns++].text = copy;
	return 0;
}

/* Is what a loader says of each token consistent? */
static int
check_kinds(const struct tokenizer *t, struct err *e)
{
	for (int32_t id = 0; id < t->n_vocab; id++) {
		uint32_t n = t->at[id + 1] - t->at[id];
		unsigned kind = t->kind[id];

		if ((n == 0) != (kind == 0) ||
		    (!(kind & TOKEN_ADDED) && (kind & TOKEN_OF_ADDED) != 0) ||
		    ((kind & TOKEN_BYTE) && (kind != TOKEN_BYTE || n != 1 ||
		    !(t->flags & TOKENIZER_SPM))))
			return err_set(e, ERR_BAD_FILE, "tokenizer: token %d "
			    "has %u bytes and kind %u", (int)id, n, kind);
		if ((kind & TOKEN_ADDED) && n > TOKENIZER_ADDED_MAX)
			return err_set(e, ERR_BAD_FILE, "tokenizer: added "
			    "token %d has %u bytes, more than %d", (int)id, n,
			    TOKENIZER_ADDED_MAX);
	}
	return 0;
}

/* Is there a token for everything that text may have? */
static int
check_cover(const struct tokenizer *t, struct err *e)
{
	bool spm = (t->flags & TOKENIZER_SPM) != 0;

	if (spm && (t->flags & TOKENIZER_NFC))
		return err_set(e, ERR_UNSUPPORTED,
		    "tokenizer: NFC with SentencePiece is not supported");
	if (t->unk >= 0 && (!spm || t->unk >= t->n_vocab ||
	    t->kind[t->unk] == 0 || (t->kind[t->unk] &
	    (TOKEN_MODEL | TOKEN_SPECIAL)) == TOKEN_MODEL))
		return err_set(e, ERR_BAD_FILE,
		    "tokenizer: token %d cannot be the unknown one",
		    (int)t->unk);
	/* C0, C1 and F5 to FF are in no UTF-8, and so in few vocabularies. */
	for (int c = 0; c < 256; c++)
		if (t->byte_id[c] < 0 && t->unk < 0 && (spm ||
		    (c < 0xf5 && c != 0xc0 && c != 0xc1)))
			return err_set(e, ERR_BAD_FILE,
			    "tokenizer: byte %d has no token", c);
	if (spm != (t->n_patterns == 0))
		return err_set(e, ERR_BAD_FILE, "tokenizer: there is %s split "
		    "pattern", spm ? "a" : "no");
	return 0;
}

int
tokenizer_index(struct tokenizer *t, struct err *e)
{
	int rc;

	if ((rc = check_kinds(t, e)) != 0 || (rc = bpe_index(t, e)) != 0 ||
	    (rc = added_index(t, e)) != 0)
		return rc;
	return check_cover(t, e);
}

int32_t
tokenizer_n_vocab(const struct tokenizer *t)
{
	return t->n_vocab;
}

const char *
tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *n)
{
	if (id < 0 || id >= t->n_vocab || t->kind[id] == 0)
		return NULL;
	*n = t->at[id + 1] - t->at[id];
	return t->bytes + t->at[id];
}

bool
tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
	return id >= 0 && id < t->n_vocab && (t->kind[id] & TOKEN_SPECIAL);
}

int32_t
tokenizer_special(const struct tokenizer *t, const char *text)
{
	size_t n = strlen(text);

	for (int i = 0; i < 2; i++)
		for (size_t k = 0; k < t->added[i].n; k++) {
			int32_t id = t->added[i].v[k].id;

			if ((t->kind[id] & TOKEN_SPECIAL) &&
			    t->at[id + 1] - t->at[id] == n &&
			    memcmp(t->bytes + t->at[id], text, n) == 0)
				return id;
		}
	return -1;
}

bool
tokenizer_add_bos(const struct tokenizer *t)
{
	return (t->flags & TOKENIZER_ADD_BOS) != 0;
}

void
tokenizer_set_add_bos(struct tokenizer *t, bool on)
{
	t->flags = on ? t->flags | TOKENIZER_ADD_BOS :
	    t->flags & ~(unsigned)TOKENIZER_ADD_BOS;
}

bool
tokenizer_adds_blank(const struct tokenizer *t)
{
	return (t->flags & TOKENIZER_PREFIX) != 0;
}

/* One call of tokenizer_encode. */
struct run {
	const struct tokenizer *t;
	struct split_scratch *scratch;	/* NULL with SentencePiece */
	const char *text, *copy;	/* all of it; the piece */
	bool parse_special, at_start;
	struct ids *out;
	struct err *e;
};

static int
add_word(struct run *r, const char *word, size_t n)
{
	if (bpe_word(r->t, word, n, r->out) != 0)
		return err_set(r->e, ERR_NO_MEMORY,
		    "tokenizer: memory is short");
	return 0;
}

/* A byte that is not UTF-8; U+FFFD where the vocabulary has none for it. */
static int
add_bad_byte(struct run *r, char c)
{
	if (r->t->byte_id[(unsigned char)c] >= 0)
		return add_word(r, &c, 1);
	return add_word(r, "\xef\xbf\xbd", 3);
}

/* Cut text by the patterns from this level on. */
static int
split_run(struct run *r, size_t level, const char *text, size_t n)
{
	size_t done = 0, from = 0, to;

	if (n == 0)
		return 0;
	if (level == r->t->n_patterns)
		return add_word(r, text, n);
	while (done < n) {
		int rc = split_next(r->t->patterns[level].split, r->scratch,
		    text, n, &from, &to, r->e);

		if (rc < 0)
			return rc;
		if (rc == 0)
			from = to = n;
		if ((rc = split_run(r, level + 1, text + done,
		    from - done)) != 0 ||
		    (rc = split_run(r, level + 1, text + from,
		    to - from)) != 0)
			return rc;
		from = done = to;
	}
	return 0;
}

static int
add_run(void *arg, const char *text, size_t n)
{
	return split_run(arg, 0, text, n);
}

/* UTF-8 without unnormalized added tokens. */
static int
add_characters(struct run *r, const char *text, size_t n)
{
	struct buf nfc = { 0 };
	int rc;

	if (!(r->t->flags & TOKENIZER_NFC) || nfc_is_trivial(text, n))
		return added_cut(r->t, true, r->parse_special, text, n,
		    add_run, r, r->out, r->e);
	rc = nfc_append(text, n, &nfc, r->e);
	if (rc == 0)
		rc = added_cut(r->t, true, r->parse_special, nfc.data,
		    nfc.len, add_run, r, r->out, r->e);
	buf_free(&nfc);
	return rc;
}

/* Any bytes without unnormalized added tokens. */
static int
add_piece(void *arg, const char *text, size_t n)
{
	struct run *r = arg;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n;) {
		size_t len = chars_valid(text + i, n - i);

		if (len > 0)
			rc = add_characters(r, text + i, len);
		else
			rc = add_bad_byte(r, text[i]);
		i += len > 0 ? len : 1;
	}
	return rc;
}

static int
add_spm_run(void *arg, const char *text, size_t n)
{
	struct run *r = arg;

	return spm_run(r->t, text, n, r->at_start && text == r->copy, r->out,
	    r->e);
}

/* The same for SentencePiece, which keeps bad bytes in their places. */
static int
add_spm_piece(void *arg, const char *text, size_t n)
{
	struct run *r = arg;
	unsigned flags = r->t->flags;
	struct buf copy = { 0 };
	int rc;

	r->at_start = r->at_start && text == r->text;
	if (flags & TOKENIZER_PREFIX_LATE) {
		r->copy = text;
		return added_cut(r->t, true, r->parse_special, text, n,
		    add_spm_run, r, r->out, r->e);
	}
	if ((flags & TOKENIZER_PREFIX) && (r->at_start ||
	    !(flags & TOKENIZER_PREFIX_FIRST)))
		buf_adds(&copy, " ");
	spm_append(text, n, &copy);
	r->copy = copy.data;
	rc = copy.failed ?
	    err_set(r->e, ERR_NO_MEMORY, "tokenizer: memory is short") :
	    added_cut(r->t, true, r->parse_special, copy.data, copy.len,
	    add_spm_run, r, r->out, r->e);
	buf_free(&copy);
	return rc;
}

static int
encode(struct run *r, const char *text, size_t n)
{
	size_t n_before = r->out->n;
	int rc;

	if (n > INT32_MAX / 2)
		return err_set(r->e, ERR_RANGE, "the text has more than 1 GiB");
	r->text = text;
	if (!(r->t->flags & TOKENIZER_SPM) &&
	    (r->scratch = split_scratch_create()) == NULL)
		return err_set(r->e, ERR_NO_MEMORY,
		    "tokenizer: memory is short");
	rc = added_cut(r->t, false, r->parse_special, text, n,
	    r->t->flags & TOKENIZER_SPM ? add_spm_piece : add_piece, r,
	    r->out, r->e);
	if (rc != 0)
		r->out->n = n_before;
	split_scratch_destroy(r->scratch);
	return rc;
}

int
tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
    bool parse_special, struct ids *out, struct err *e)
{
	return encode(&(struct run){ .t = t, .parse_special = parse_special,
	    .at_start = true, .out = out, .e = e }, text, n);
}

int
tokenizer_encode_more(const struct tokenizer *t, const char *text, size_t n,
    bool parse_special, struct ids *out, struct err *e)
{
	return encode(&(struct run){ .t = t, .parse_special = parse_special,
	    .out = out, .e = e }, text, n);
}
