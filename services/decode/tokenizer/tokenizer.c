/*
 * From text to ids in four steps, as Hugging Face's AddedVocabulary and
 * ByteLevel do it:
 *
 *	text	-- added tokens, normalized: false -->	pieces
 *	piece	-- NFC if wanted; added tokens, normalized: true --> runs
 *	run	-- the split patterns, one within the other -->	words
 *	word	-- BPE -->	ids
 *
 * Of added tokens the leftmost is found, of those beginning there the longest.
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
	return calloc(1, sizeof(struct tokenizer));
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
	for (int i = 0; i < 4; i++)
		free(t->added[i / 2][i % 2].ids);
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

static int
compare_tokens(const void *a, const void *b, void *arg)
{
	const struct tokenizer *t = arg;
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
	uint32_t n = t->at[x + 1] - t->at[x], m = t->at[y + 1] - t->at[y];
	int c = memcmp(t->bytes + t->at[x], t->bytes + t->at[y], n < m ? n : m);

	return c != 0 ? c : (n > m) - (n < m);
}

static int
index_added(struct tokenizer *t, bool normalized, bool special,
    struct err *e)
{
	struct added *a = &t->added[normalized][special];
	struct ids found = { 0 };

	for (int32_t id = 0; id < t->n_vocab; id++) {
		if (!(t->kind[id] & TOKEN_ADDED) ||
		    (bool)(t->kind[id] & TOKEN_NORMALIZED) != normalized ||
		    ((t->kind[id] & TOKEN_SPECIAL) && !special))
			continue;
		if (ids_add(&found, id) != 0) {
			ids_free(&found);
			return err_set(e, ERR_NO_MEMORY,
			    "tokenizer: memory is short");
		}
		a->first[(unsigned char)t->bytes[t->at[id]]] = true;
	}
	a->ids = found.v;
	a->n = found.n;
	if (a->n > 0)
		qsort_r(a->ids, a->n, sizeof(*a->ids), compare_tokens, t);
	for (size_t i = 1; i < a->n; i++)
		if (compare_tokens(&a->ids[i - 1], &a->ids[i], t) == 0)
			return err_set(e, ERR_BAD_FILE, "tokenizer: added "
			    "tokens %d and %d are the same text",
			    (int)a->ids[i - 1], (int)a->ids[i]);
	return 0;
}

/* Is what a loader says of each token consistent? */
static int
check_kinds(const struct tokenizer *t, struct err *e)
{
	for (int32_t id = 0; id < t->n_vocab; id++) {
		uint32_t n = t->at[id + 1] - t->at[id];
		unsigned kind = t->kind[id];

		if ((kind & ~0xfu) != 0 || (n == 0) != (kind == 0) ||
		    (!(kind & TOKEN_ADDED) && (kind & (TOKEN_SPECIAL |
		    TOKEN_NORMALIZED)) != 0))
			return err_set(e, ERR_BAD_FILE, "tokenizer: token %d "
			    "has %u bytes and kind %u", (int)id, n, kind);
		if ((kind & TOKEN_ADDED) && n > TOKENIZER_ADDED_MAX)
			return err_set(e, ERR_BAD_FILE, "tokenizer: added "
			    "token %d has %u bytes, more than %d", (int)id, n,
			    TOKENIZER_ADDED_MAX);
	}
	return 0;
}

int
tokenizer_index(struct tokenizer *t, struct err *e)
{
	int rc = check_kinds(t, e);

	if (rc == 0)
		rc = bpe_index(t, e);
	for (int i = 0; rc == 0 && i < 4; i++)
		rc = index_added(t, i / 2 == 1, i % 2 == 1, e);
	/* C0, C1 and F5 to FF are in no UTF-8, and so in few vocabularies. */
	for (int c = 0; rc == 0 && c < 0xf5; c++)
		if (t->byte_id[c] < 0 && c != 0xc0 && c != 0xc1)
			rc = err_set(e, ERR_BAD_FILE,
			    "tokenizer: byte %d has no token", c);
	if (rc == 0 && t->n_patterns == 0)
		rc = err_set(e, ERR_BAD_FILE,
		    "tokenizer: there is no split pattern");
	return rc;
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

/*
 * The longest token of a that text [n] begins with, or -1: the sorted tokens
 * are narrowed down to those that agree with text so far, byte by byte.
 */
static int32_t
longest_added(const struct tokenizer *t, const struct added *a,
    const char *text, size_t n)
{
	size_t lo = 0, hi = a->n;
	int32_t best = -1;

	for (size_t depth = 0; lo < hi; depth++) {
		/* Of those that agree, one that ends here sorts first. */
		if (t->at[a->ids[lo] + 1] - t->at[a->ids[lo]] == depth)
			best = a->ids[lo++];
		if (depth == n)
			break;
		unsigned char c = (unsigned char)text[depth];
		size_t bounds[2];

		for (int upper = 0; upper < 2; upper++) {
			size_t from = lo, to = hi;

			while (from < to) {
				size_t mid = (from + to) / 2;
				unsigned char m = (unsigned char)
				    t->bytes[t->at[a->ids[mid]] + depth];

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

int32_t
tokenizer_special(const struct tokenizer *t, const char *text)
{
	size_t n = strlen(text);

	for (int i = 0; i < 2; i++) {
		int32_t id = longest_added(t, &t->added[i][1], text, n);

		if (id >= 0 && (t->kind[id] & TOKEN_SPECIAL) &&
		    t->at[id + 1] - t->at[id] == n)
			return id;
	}
	return -1;
}

/* One call of tokenizer_encode. */
struct run {
	const struct tokenizer *t;
	struct split_scratch *scratch;
	bool parse_special;
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

typedef int piece_fn(struct run *r, const char *text, size_t n);

/* Find the tokens of a in text, and call fn for each piece between them. */
static int
find_added(struct run *r, const struct added *a, const char *text, size_t n,
    piece_fn *fn)
{
	size_t done = 0;
	int rc;

	for (size_t i = 0; a->n > 0 && i < n;) {
		int32_t id = -1;

		if (a->first[(unsigned char)text[i]])
			id = longest_added(r->t, a, text + i, n - i);
		if (id < 0) {
			i++;
			continue;
		}
		if (i > done && (rc = fn(r, text + done, i - done)) != 0)
			return rc;
		if (ids_add(r->out, id) != 0)
			return err_set(r->e, ERR_NO_MEMORY,
			    "tokenizer: memory is short");
		i += r->t->at[id + 1] - r->t->at[id];
		done = i;
	}
	return done == n ? 0 : fn(r, text + done, n - done);
}

static int
add_run(struct run *r, const char *text, size_t n)
{
	return split_run(r, 0, text, n);
}

/* UTF-8 without unnormalized added tokens. */
static int
add_characters(struct run *r, const char *text, size_t n)
{
	const struct added *a = &r->t->added[1][r->parse_special];
	struct buf nfc = { 0 };
	int rc;

	if (!(r->t->flags & TOKENIZER_NFC) || nfc_is_trivial(text, n))
		return find_added(r, a, text, n, add_run);
	rc = nfc_append(text, n, &nfc, r->e);
	if (rc == 0)
		rc = find_added(r, a, nfc.data, nfc.len, add_run);
	buf_free(&nfc);
	return rc;
}

/* Any bytes without unnormalized added tokens. */
static int
add_piece(struct run *r, const char *text, size_t n)
{
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

int
tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
    bool parse_special, struct ids *out, struct err *e)
{
	struct run r = { .t = t, .parse_special = parse_special, .out = out,
	    .e = e };
	size_t n_before = out->n;
	int rc;

	if (n > INT32_MAX)
		return err_set(e, ERR_RANGE, "the text has more than 2 GiB");
	if ((r.scratch = split_scratch_create()) == NULL)
		return err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
	rc = find_added(&r, &t->added[0][parse_special], text, n, add_piece);
	if (rc != 0)
		out->n = n_before;
	split_scratch_destroy(r.scratch);
	return rc;
}
