/*
 * A Hugging Face tokenizer.json.  What is in it is either done here exactly as
 * there, or does not change the ids of a text without its special tokens
 * (truncation, padding, post_processor), or is refused by its name.
 *
 * Jansson parses it without json_guarded's limits: there are more values than
 * any message has, and the one who converts a model has chosen the file.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/chars.h"
#include "tokenizer/load_hf.h"

int
hf_bad(struct loader *l, const char *what)
{
	return err_set(l->e, ERR_BAD_FILE, "tokenizer.json: %s", what);
}

int
hf_unsupported(struct loader *l, const char *what, const char *name)
{
	return err_set(l->e, ERR_UNSUPPORTED,
	    "tokenizer.json: %s '%.60s' is not supported", what,
	    name == NULL ? "?" : name);
}

const char *
hf_type_of(const json_t *v)
{
	const char *s = json_string_value(json_object_get(v, "type"));

	return s == NULL ? "" : s;
}

static int
check_type(struct loader *l)
{
	const char *type = hf_type_of(l->model);

	/* Old files leave the type out. */
	if (*type != '\0' && strcmp(type, "BPE") != 0)
		return hf_unsupported(l, "model", type);
	return 0;
}

/* Every option that would change what BPE does must be off. */
static int
check_options(struct loader *l)
{
	static const char *const off[] = { "dropout", "continuing_subword_prefix",
	    "end_of_word_suffix", "byte_fallback" };
	size_t n = sizeof(off) / sizeof(*off);

	if (l->t->flags & TOKENIZER_SPM)
		n--;
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_object_get(l->model, off[i]);

		if (v == NULL || json_is_null(v) || json_is_false(v) ||
		    (json_is_string(v) && json_string_length(v) == 0) ||
		    (json_is_number(v) && json_number_value(v) == 0))
			continue;
		return hf_unsupported(l, "option of BPE", off[i]);
	}
	if (json_is_true(json_object_get(l->model, "ignore_merges")))
		l->t->flags |= TOKENIZER_IGNORE_MERGES;
	if (l->t->flags & TOKENIZER_SPM &&
	    json_is_true(json_object_get(l->model, "fuse_unk")))
		l->t->flags |= TOKENIZER_FUSE_UNK;
	return 0;
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
			return hf_bad(l, "an id of the vocabulary is no id");
		if (id >= l->t->n_vocab)
			l->t->n_vocab = id + 1;
	}
	json_array_foreach(added, i, v) {
		if ((id = id_of(json_object_get(v, "id"))) < 0)
			return hf_bad(l, "the id of an added token is no id");
		if (id >= l->t->n_vocab)
			l->t->n_vocab = id + 1;
	}
	return l->t->n_vocab > 0 ? 0 : hf_bad(l, "there are no tokens");
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
			return hf_bad(l, "a token is empty");
		l->text[id] = key;
		l->t->kind[id] = TOKEN_MODEL;
	}
	return 0;
}

static int
read_added_token(struct loader *l, const json_t *v)
{
	static const struct {
		const char *name;
		unsigned kind;
	} flags[] = {
		{ "special", TOKEN_SPECIAL }, { "normalized", TOKEN_NORMALIZED },
		{ "lstrip", TOKEN_LSTRIP }, { "rstrip", TOKEN_RSTRIP },
		{ "single_word", TOKEN_WHOLE_WORD },
	};
	const char *text = json_string_value(json_object_get(v, "content"));
	const json_t *known;
	int32_t id = id_of(json_object_get(v, "id"));
	unsigned kind = TOKEN_ADDED;

	if (text == NULL || *text == '\0')
		return hf_bad(l, "an added token is empty");
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		if (json_is_true(json_object_get(v, flags[i].name)))
			kind |= flags[i].kind;
	/* Said twice, in the vocabulary too, it must be the same token. */
	known = json_object_get(l->vocab, text);
	if (known != NULL ? id_of(known) != id : l->text[id] != NULL)
		return err_set(l->e, ERR_BAD_FILE, "tokenizer.json: the id %d "
		    "of added token '%.60s' is taken", (int)id, text);
	l->text[id] = text;
	l->t->kind[id] |= (uint8_t)kind;
	return 0;
}

/* Append what the token id stands for to out. */
static int
add_bytes(struct loader *l, size_t id, struct buf *out)
{
	const char *text = l->text[id];
	size_t n = strlen(text);
	int byte;
	char c;

	if (l->t->kind[id] & TOKEN_ADDED) {	/* spelled as it is */
		/* Then no merge makes it, unless it is all ASCII. */
		for (size_t i = 0; i < n; i++)
			if (text[i] <= ' ' || text[i] > '~')
				l->t->kind[id] &= (uint8_t)~TOKEN_MODEL;
		buf_add(out, text, n);
	} else if (!(l->t->flags & TOKENIZER_SPM)) {
		if (!builder_unspell(text, n, out))
			return err_set(l->e, ERR_UNSUPPORTED, "tokenizer.json: "
			    "token '%.60s' is not spelled in GPT-2's bytes",
			    text);
	} else if ((byte = builder_byte(text, n)) >= 0 &&
	    json_is_true(json_object_get(l->model, "byte_fallback"))) {
		l->t->kind[id] = TOKEN_BYTE;
		c = (char)byte;
		buf_add(out, &c, 1);
	} else {
		spm_append(text, n, out);
	}
	return 0;
}

/* What a character becomes that has neither a token nor those of its bytes. */
static int
read_unk(struct loader *l)
{
	const json_t *v = json_object_get(l->model, "unk_token");

	if (!(l->t->flags & TOKENIZER_SPM) || v == NULL || json_is_null(v))
		return 0;
	if (json_is_string(v))
		l->t->unk = id_of(json_object_get(l->vocab,
		    json_string_value(v)));
	if (l->t->unk < 0)
		return hf_bad(l, "the unk_token is not in the vocabulary");
	/* Text must not make it. */
	l->t->kind[l->t->unk] |= TOKEN_ADDED | TOKEN_SPECIAL;
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
	if (rc == 0)
		rc = read_unk(l);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		t->at[i] = (uint32_t)bytes.len;
		if (l->text[i] != NULL)
			rc = add_bytes(l, i, &bytes);
		if (rc == 0 && (bytes.len > TOKENIZER_BYTES_MAX ||
		    bytes.len - t->at[i] > TOKENIZER_TOKEN_MAX))
			rc = hf_bad(l, "a token is too long");
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
		return hf_bad(l, "there is no list of merges");
	l->t->merges = malloc((n + 1) * sizeof(*l->t->merges));
	if (l->t->merges == NULL)
		return err_set(l->e, ERR_NO_MEMORY,
		    "tokenizer.json: memory is short");
	l->t->n_merges = n;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct merge *m = &l->t->merges[i];
		const char *left, *right;
		size_t n_left, n_right;

		*m = (struct merge){ -1, -1, -1, false };
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
	if (!json_is_object(l.vocab))
		rc = hf_bad(&l, "there is no model with a vocabulary");
	else if ((l.t = tokenizer_create()) == NULL)
		rc = err_set(e, ERR_NO_MEMORY, "tokenizer.json: memory is "
		    "short");
	else if ((rc = check_type(&l)) == 0 &&
	    (rc = hf_read_steps(&l)) == 0 &&
	    (rc = check_options(&l)) == 0 && (rc = read_tokens(&l)) == 0 &&
	    (rc = read_merges(&l)) == 0)
		rc = tokenizer_index(l.t, e);
	free(l.text);
	json_decref(root);
	if (rc == 0)
		*t = l.t;
	else
		tokenizer_destroy(l.t);
	return rc;
}
