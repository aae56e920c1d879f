/*
 * A Hugging Face tokenizer.json.  What is in it is either done here exactly as
 * there, or does not change the ids of a text without its special tokens
 * (truncation, padding, post_processor), or is refused by its name.
 *
 * Jansson parses it without json_guarded's limits: there are more values than
 * any message has, and the one who converts a model has chosen the file.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/chars.h"
#include "tokenizer/parts.h"

/* The pattern of a ByteLevel that has none of its own: GPT-2's. */
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
    "|\\s+(?!\\S)|\\s+";

enum { STAND_INS = 324 };	/* of bytes, the highest one and one */

struct loader {
	struct tokenizer *t;
	const json_t *root, *model, *vocab;
	const char **text;	/* [n_vocab], as in the file; borrowed */
	int16_t byte_of[STAND_INS];	/* code point to byte, or -1 */
	struct err *e;
};

static int
bad(struct loader *l, const char *what)
{
	return err_set(l->e, ERR_BAD_FILE, "tokenizer.json: %s", what);
}

static int
unsupported(struct loader *l, const char *what, const char *name)
{
	return err_set(l->e, ERR_UNSUPPORTED,
	    "tokenizer.json: %s '%.60s' is not supported", what,
	    name == NULL ? "?" : name);
}

static const char *
type_of(const json_t *v)
{
	const char *s = json_string_value(json_object_get(v, "type"));

	return s == NULL ? "" : s;
}

/* GPT-2's bytes_to_unicode: printable Latin-1 stands for itself, the other
 * bytes, in their order, for U+0100 and following. */
static void
fill_byte_of(int16_t byte_of[STAND_INS])
{
	int next = 256;

	memset(byte_of, -1, STAND_INS * sizeof(*byte_of));
	for (int16_t c = 0; c < 256; c++) {
		bool printable = (c >= 33 && c <= 126) ||
		    (c >= 161 && c <= 172) || c >= 174;

		byte_of[printable ? c : next++] = c;
	}
}

/* Every option that would change what BPE does must be off. */
static int
check_model(struct loader *l)
{
	static const char *const off[] = { "dropout", "continuing_subword_prefix",
	    "end_of_word_suffix", "byte_fallback" };
	const char *type = type_of(l->model);

	/* Old files leave the type out. */
	if (*type != '\0' && strcmp(type, "BPE") != 0)
		return unsupported(l, "model", type);
	for (size_t i = 0; i < sizeof(off) / sizeof(*off); i++) {
		const json_t *v = json_object_get(l->model, off[i]);

		if (v == NULL || json_is_null(v) || json_is_false(v) ||
		    (json_is_string(v) && json_string_length(v) == 0) ||
		    (json_is_number(v) && json_number_value(v) == 0))
			continue;
		return unsupported(l, "option of BPE", off[i]);
	}
	if (json_is_true(json_object_get(l->model, "ignore_merges")))
		l->t->flags |= TOKENIZER_IGNORE_MERGES;
	return 0;
}

static int
read_normalizer(struct loader *l, const json_t *v)
{
	const json_t *list = json_object_get(v, "normalizers");
	int rc = 0;

	if (v == NULL || json_is_null(v))
		return 0;
	if (strcmp(type_of(v), "NFC") == 0) {
		l->t->flags |= TOKENIZER_NFC;
		return 0;
	}
	if (strcmp(type_of(v), "Sequence") != 0 || !json_is_array(list))
		return unsupported(l, "normalizer", type_of(v));
	for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
		const json_t *part = json_array_get(list, i);

		rc = strcmp(type_of(part), "Sequence") == 0 ?
		    unsupported(l, "a normalizer within", "Sequence") :
		    read_normalizer(l, part);
	}
	return rc;
}

static int
read_split(struct loader *l, const json_t *v)
{
	const json_t *pattern = json_object_get(v, "pattern");
	const json_t *regex = json_object_get(pattern, "Regex");
	const char *behavior =
	    json_string_value(json_object_get(v, "behavior"));

	if (!json_is_string(regex))
		return unsupported(l, "pre-tokenizer Split's pattern",
		    "String");
	if (behavior == NULL || strcmp(behavior, "Isolated") != 0)
		return unsupported(l, "pre-tokenizer Split's behavior",
		    behavior);
	if (json_is_true(json_object_get(v, "invert")))
		return unsupported(l, "pre-tokenizer Split's", "invert");
	return tokenizer_add_pattern(l->t, json_string_value(regex),
	    json_string_length(regex), l->e);
}

static int
read_byte_level(struct loader *l, const json_t *v)
{
	/* Both are on unless they are said to be off. */
	if (!json_is_false(json_object_get(v, "add_prefix_space")))
		return unsupported(l, "pre-tokenizer ByteLevel's",
		    "add_prefix_space");
	if (json_is_false(json_object_get(v, "use_regex")))
		return 0;
	return tokenizer_add_pattern(l->t, gpt2_pattern,
	    strlen(gpt2_pattern), l->e);
}

/* Splits, and at their end ByteLevel, which turns words into bytes. */
static int
read_pre_tokenizer(struct loader *l, const json_t *v)
{
	const json_t *list = json_object_get(v, "pretokenizers");
	size_t n = json_array_size(list);
	int rc = 0;

	if (strcmp(type_of(v), "ByteLevel") == 0)
		return read_byte_level(l, v);
	if (strcmp(type_of(v), "Sequence") != 0)
		return unsupported(l, "pre-tokenizer", type_of(v));
	for (size_t i = 0; rc == 0 && i < n; i++) {
		const json_t *part = json_array_get(list, i);
		bool last = i + 1 == n;

		if (strcmp(type_of(part), "Split") == 0 && !last)
			rc = read_split(l, part);
		else if (strcmp(type_of(part), "ByteLevel") == 0 && last)
			rc = read_byte_level(l, part);
		else
			rc = unsupported(l, last ? "as the last pre-tokenizer" :
			    "before the last pre-tokenizer", type_of(part));
	}
	return rc != 0 || n > 0 ? rc :
	    unsupported(l, "pre-tokenizer", "Sequence of nothing");
}

/* The id that v holds, or -1. */
static int32_t
id_of(const json_t *v)
{
	json_int_t id = json_integer_value(v);

	return !json_is_integer(v) || id < 0 || id >= TOKENIZER_VOCAB_MAX ?
	    -1 : (int32_t)id;
}

/* Find the highest id of the vocabulary and the added tokens. */
static int
count_vocab(struct loader *l, const json_t *added)
{
	const char *key;
	json_t *v;
	size_t i;
	int32_t id;

	json_object_foreach((json_t *)l->vocab, key, v) {
		if ((id = id_of(v)) < 0)
			return bad(l, "an id of the vocabulary is no id");
		if (id >= l->t->n_vocab)
			l->t->n_vocab = id + 1;
	}
	json_array_foreach(added, i, v) {
		if ((id = id_of(json_object_get(v, "id"))) < 0)
			return bad(l, "the id of an added token is no id");
		if (id >= l->t->n_vocab)
			l->t->n_vocab = id + 1;
	}
	return l->t->n_vocab > 0 ? 0 : bad(l, "there are no tokens");
}

static int
read_vocab(struct loader *l)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)l->vocab, key, v) {
		int32_t id = id_of(v);

		if (l->text[id] != NULL)
			return err_set(l->e, ERR_BAD_FILE, "tokenizer.json: "
			    "two tokens have the id %d", (int)id);
		if (*key == '\0')
			return bad(l, "a token is empty");
		l->text[id] = key;
		l->t->kind[id] = TOKEN_MODEL;
	}
	return 0;
}

static int
read_added_token(struct loader *l, const json_t *v)
{
	static const char *const off[] = { "single_word", "lstrip", "rstrip" };
	const char *text = json_string_value(json_object_get(v, "content"));
	const json_t *known;
	int32_t id = id_of(json_object_get(v, "id"));
	unsigned kind = TOKEN_ADDED;

	if (text == NULL || *text == '\0')
		return bad(l, "an added token is empty");
	for (size_t i = 0; i < sizeof(off) / sizeof(*off); i++)
		if (json_is_true(json_object_get(v, off[i])))
			return unsupported(l, "an added token's", off[i]);
	if (json_is_true(json_object_get(v, "special")))
		kind |= TOKEN_SPECIAL;
	if (json_is_true(json_object_get(v, "normalized")))
		kind |= TOKEN_NORMALIZED;
	/* Said twice, in the vocabulary too, it must be the same token. */
	known = json_object_get(l->vocab, text);
	if (known != NULL ? id_of(known) != id : l->text[id] != NULL)
		return err_set(l->e, ERR_BAD_FILE, "tokenizer.json: the id %d "
		    "of added token '%.60s' is taken", (int)id, text);
	l->text[id] = text;
	l->t->kind[id] |= (uint8_t)kind;
	return 0;
}

/* Append what the token text stands for to out. */
static int
add_bytes(struct loader *l, const char *text, unsigned kind, struct buf *out)
{
	size_t n = strlen(text);

	if (kind & TOKEN_ADDED) {	/* spelled as it is */
		buf_add(out, text, n);
		return 0;
	}
	for (size_t i = 0; i < n;) {
		int32_t cp;
		char c;

		i += chars_next(text + i, n - i, &cp);
		if (cp < 0 || cp >= STAND_INS || l->byte_of[cp] < 0)
			return err_set(l->e, ERR_UNSUPPORTED, "tokenizer.json: "
			    "token '%.60s' is not spelled in GPT-2's bytes",
			    text);
		c = (char)l->byte_of[cp];
		buf_add(out, &c, 1);
	}
	return 0;
}

static int
read_tokens(struct loader *l)
{
	const json_t *added = json_object_get(l->root, "added_tokens");
	struct tokenizer *t = l->t;
	struct buf bytes = { 0 };
	int rc = count_vocab(l, added);

	if (rc != 0)
		return rc;
	size_t n = (size_t)t->n_vocab;

	l->text = calloc(n, sizeof(*l->text));
	t->kind = calloc(n, 1);
	t->at = malloc((n + 1) * sizeof(*t->at));
	if (l->text == NULL || t->kind == NULL || t->at == NULL)
		return err_set(l->e, ERR_NO_MEMORY,
		    "tokenizer.json: memory is short");
	rc = read_vocab(l);
	for (size_t i = 0; rc == 0 && i < json_array_size(added); i++)
		rc = read_added_token(l, json_array_get(added, i));
	for (size_t i = 0; rc == 0 && i < n; i++) {
		t->at[i] = (uint32_t)bytes.len;
		if (l->text[i] != NULL)
			rc = add_bytes(l, l->text[i], t->kind[i], &bytes);
		if (rc == 0 && (bytes.len > TOKENIZER_BYTES_MAX ||
		    bytes.len - t->at[i] > TOKENIZER_TOKEN_MAX))
			rc = bad(l, "a token is too long");
	}
	t->at[n] = (uint32_t)bytes.len;
	if (rc == 0 && bytes.failed)
		rc = err_set(l->e, ERR_NO_MEMORY,
		    "tokenizer.json: memory is short");
	t->bytes = bytes.data;		/* tokenizer_destroy frees it */
	return rc;
}

/* Find the two sides of merge v: ["a", "b"] or "a b". */
static bool
merge_sides(const json_t *v, const char **left, size_t *n_left,
    const char **right, size_t *n_right)
{
	if (json_is_array(v) && json_array_size(v) == 2) {
		*left = json_string_value(json_array_get(v, 0));
		*right = json_string_value(json_array_get(v, 1));
		if (*left == NULL || *right == NULL)
			return false;
		*n_left = strlen(*left);
	} else if (json_is_string(v)) {
		const char *blank = strchr(json_string_value(v), ' ');

		if (blank == NULL || strchr(blank + 1, ' ') != NULL)
			return false;
		*left = json_string_value(v);
		*n_left = (size_t)(blank - *left);
		*right = blank + 1;
	} else {
		return false;
	}
	*n_right = strlen(*right);
	return true;
}

static int
read_merges(struct loader *l)
{
	const json_t *list = json_object_get(l->model, "merges");
	size_t n = json_array_size(list);
	struct buf key = { 0 };
	int rc = 0;

	if (!json_is_array(list) || n > TOKENIZER_MERGES_MAX)
		return bad(l, "there is no list of merges");
	l->t->merges = malloc((n + 1) * sizeof(*l->t->merges));
	if (l->t->merges == NULL)
		return err_set(l->e, ERR_NO_MEMORY,
		    "tokenizer.json: memory is short");
	l->t->n_merges = n;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct merge *m = &l->t->merges[i];
		const char *left, *right;
		size_t n_left, n_right;

		*m = (struct merge){ -1, -1, -1 };
		if (merge_sides(json_array_get(list, i), &left, &n_left,
		    &right, &n_right)) {
			buf_clear(&key);
			buf_add(&key, left, n_left);
			m->left = id_of(json_object_get(l->vocab, key.data));
			buf_add(&key, right, n_right);
			m->id = id_of(json_object_get(l->vocab, key.data));
			m->right = id_of(json_object_get(l->vocab, right));
		}
		if (m->left < 0 || m->right < 0 || m->id < 0)
			rc = err_set(l->e, ERR_BAD_FILE, "tokenizer.json: "
			    "merge %zu is not of two tokens to a third", i);
	}
	buf_free(&key);
	return rc;
}

int
tokenizer_from_json(const char *text, size_t n, struct tokenizer **t,
    struct err *e)
{
	struct loader l = { .e = e };
	json_error_t at;
	json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &at);
	int rc;

	if (root == NULL)
		return err_set(e, ERR_BAD_FILE, "tokenizer.json: %s at byte %d",
		    at.text, at.position);
	l.root = root;
	l.model = json_object_get(root, "model");
	l.vocab = json_object_get(l.model, "vocab");
	fill_byte_of(l.byte_of);
	if (!json_is_object(l.vocab))
		rc = bad(&l, "there is no model with a vocabulary");
	else if ((l.t = tokenizer_create()) == NULL)
		rc = err_set(e, ERR_NO_MEMORY, "tokenizer.json: memory is "
		    "short");
	else if ((rc = check_model(&l)) == 0 &&
	    (rc = read_normalizer(&l, json_object_get(root,
	    "normalizer"))) == 0 &&
	    (rc = read_pre_tokenizer(&l, json_object_get(root,
	    "pre_tokenizer"))) == 0 &&
	    (rc = read_tokens(&l)) == 0 && (rc = read_merges(&l)) == 0)
		rc = tokenizer_index(l.t, e);
	free(l.text);
	json_decref(root);
	if (rc == 0)
		*t = l.t;
	else
		tokenizer_destroy(l.t);
	return rc;
}
