#ifndef TEST_TOKENIZER_FILES_H
#define TEST_TOKENIZER_FILES_H

#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf.h"
#include "small_tokenizer.h"

/*
 * Encoders of the containers a vocabulary comes in, from their descriptions:
 * GGUF (ggml docs/gguf.md), .htok, tiktoken's ranks.
 */

/* A GGUF of metadata alone, written pair by pair. */
struct gguf_out {
	struct buf pairs;
	uint64_t n_pairs;
};

static inline void
put(struct buf *out, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char c = (char)(v >> (8 * i));

		buf_add(out, &c, 1);
	}
}

static inline void
put_string(struct buf *out, const char *s, size_t n)
{
	put(out, n, 8);
	buf_add(out, s, n);
}

static inline void
put_key(struct gguf_out *g, const char *key, uint32_t type)
{
	put_string(&g->pairs, key, strlen(key));
	put(&g->pairs, type, 4);
	g->n_pairs++;
}

static inline void
put_text(struct gguf_out *g, const char *key, const char *value)
{
	put_key(g, key, 8);
	put_string(&g->pairs, value, strlen(value));
}

static inline void
put_u32(struct gguf_out *g, const char *key, uint32_t value)
{
	put_key(g, key, 4);
	put(&g->pairs, value, 4);
}

static inline void
put_bool(struct gguf_out *g, const char *key, bool value)
{
	put_key(g, key, 7);
	put(&g->pairs, value, 1);
}

/* The head of an array; its n elements follow. */
static inline void
put_array(struct gguf_out *g, const char *key, uint32_t type, uint64_t n)
{
	put_key(g, key, 9);
	put(&g->pairs, type, 4);
	put(&g->pairs, n, 8);
}

/* The file; g is empty afterwards. */
static inline struct buf
gguf_bytes(struct gguf_out *g)
{
	struct buf out = { 0 };

	buf_add(&out, "GGUF", 4);
	put(&out, 3, 4);
	put(&out, 0, 8);
	put(&out, g->n_pairs, 8);
	buf_add(&out, g->pairs.data, g->pairs.len);
	while (out.len % 32 != 0)
		put(&out, 0, 1);
	buf_free(&g->pairs);
	g->n_pairs = 0;
	return out;
}

/* As gguf_bytes, and open it as a tokenizer: 0 or the error. */
static inline int
load_gguf(struct gguf_out *out, struct tokenizer **t, struct err *e)
{
	struct buf file = gguf_bytes(out);
	struct gguf *g = NULL;
	int rc;

	ck_assert_msg(gguf_parse(file.data, file.len, "f.gguf", &g, e) == 0,
	    "%s", e->text);
	rc = tokenizer_from_gguf(g, t, e);
	gguf_close(g);
	buf_free(&file);
	return rc;
}

/* A tokenizer.json by number: text and what it is. */
struct vocab {
	json_t *root;
	size_t n;
	const char **text;	/* [n], NULL: a hole */
	bool *added, *special;	/* [n] */
	json_t *ids;		/* of the model's tokens */
	json_t *merges;
};

static inline void
vocab_read(struct vocab *v, const char *json, size_t n)
{
	const char *key;
	json_t *id, *one;
	size_t i;

	v->root = json_loadb(json, n, 0, NULL);
	ck_assert_ptr_nonnull(v->root);
	v->ids = json_object_get(json_object_get(v->root, "model"), "vocab");
	v->merges = json_object_get(json_object_get(v->root, "model"),
	    "merges");
	v->n = json_object_size(v->ids) +
	    json_array_size(json_object_get(v->root, "added_tokens"));
	v->text = calloc(v->n, sizeof(*v->text));
	v->added = calloc(v->n, sizeof(*v->added));
	v->special = calloc(v->n, sizeof(*v->special));
	json_object_foreach(v->ids, key, id)
		v->text[json_integer_value(id)] = key;
	json_array_foreach(json_object_get(v->root, "added_tokens"), i, one) {
		size_t k = (size_t)json_integer_value(json_object_get(one,
		    "id"));

		v->text[k] = json_string_value(json_object_get(one, "content"));
		v->added[k] = true;
		v->special[k] = json_is_true(json_object_get(one, "special"));
	}
	while (v->n > 0 && v->text[v->n - 1] == NULL)
		v->n--;
}

static inline void
vocab_free(struct vocab *v)
{
	free(v->text);
	free(v->added);
	free(v->special);
	json_decref(v->root);
}

/* The sides of merge i. */
static inline void
vocab_merge(const struct vocab *v, size_t i, char left[1024], char right[1024])
{
	const json_t *m = json_array_get(v->merges, i);

	if (json_is_array(m)) {
		snprintf(left, 1024, "%s",
		    json_string_value(json_array_get(m, 0)));
		snprintf(right, 1024, "%s",
		    json_string_value(json_array_get(m, 1)));
	} else {
		const char *s = json_string_value(m), *blank = strchr(s, ' ');

		snprintf(left, 1024, "%.*s", (int)(blank - s), s);
		snprintf(right, 1024, "%s", blank + 1);
	}
}

/* pre, arch: NULL: not there. */
static inline void
vocab_gguf(const struct vocab *v, const char *pre, const char *arch,
    struct gguf_out *g)
{
	char left[1024], right[1024];

	if (arch != NULL)
		put_text(g, "general.architecture", arch);
	put_text(g, "tokenizer.ggml.model", "gpt2");
	if (pre != NULL)
		put_text(g, "tokenizer.ggml.pre", pre);
	put_array(g, "tokenizer.ggml.tokens", 8, v->n);
	for (size_t i = 0; i < v->n; i++)
		put_string(&g->pairs, v->text[i], strlen(v->text[i]));
	put_array(g, "tokenizer.ggml.token_type", 5, v->n);
	for (size_t i = 0; i < v->n; i++)
		put(&g->pairs, v->special[i] ? 3 : v->added[i] ? 4 : 1, 4);
	put_array(g, "tokenizer.ggml.merges", 8, json_array_size(v->merges));
	for (size_t i = 0; i < json_array_size(v->merges); i++) {
		char both[2048];

		vocab_merge(v, i, left, right);
		snprintf(both, sizeof(both), "%s %s", left, right);
		put_string(&g->pairs, both, strlen(both));
	}
}

static inline uint32_t
vocab_id(const struct vocab *v, const char *text)
{
	return (uint32_t)json_integer_value(json_object_get(v->ids, text));
}

static inline struct buf
vocab_htok(const struct vocab *v, int version, uint32_t bos, uint32_t eos)
{
	size_t n_merges = json_array_size(v->merges), n_special = 0;
	struct buf out = { 0 };
	char left[1024], right[1024], both[2048];

	buf_add(&out, "HTOK", 4);
	if (version == 2)
		put(&out, 2, 4);
	put(&out, v->n, 4);
	put(&out, n_merges, 4);
	put(&out, bos, 4);
	put(&out, eos, 4);
	for (size_t i = 0; i < v->n; i++) {
		put(&out, strlen(v->text[i]), 2);
		buf_adds(&out, v->text[i]);
		n_special += v->special[i];
	}
	for (size_t i = 0; i < n_merges; i++) {
		vocab_merge(v, i, left, right);
		snprintf(both, sizeof(both), "%s%s", left, right);
		put(&out, vocab_id(v, left), 4);
		put(&out, vocab_id(v, right), 4);
		put(&out, vocab_id(v, both), 4);
	}
	if (version == 2) {
		put(&out, n_special, 4);
		for (size_t i = 0; i < v->n; i++)
			if (v->special[i])
				put(&out, i, 4);
	}
	return out;
}

/* Of the tokens of t that are not special. */
static inline struct buf
ranks_of(const struct tokenizer *t)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklm"
	    "nopqrstuvwxyz0123456789+/";
	struct buf out = { 0 };

	for (int32_t id = 0; id < tokenizer_n_vocab(t); id++) {
		size_t n;
		const unsigned char *s =
		    (const unsigned char *)tokenizer_bytes(t, id, &n);

		if (tokenizer_is_special(t, id))
			continue;
		for (size_t i = 0; i < n; i += 3) {
			uint32_t w = (uint32_t)s[i] << 16;
			char c[4] = { 0, '=', '=', '=' };

			w |= i + 1 < n ? (uint32_t)s[i + 1] << 8 : 0;
			w |= i + 2 < n ? s[i + 2] : 0;
			for (size_t k = 0; k < 4 && k <= n - i; k++)
				c[k] = digits[w >> (18 - 6 * k) & 63];
			buf_add(&out, c, 4);
		}
		buf_printf(&out, " %d\n", (int)id);
	}
	return out;
}

#endif
