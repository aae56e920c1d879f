#ifndef TEST_SMALL_TOKENIZER_H
#define TEST_SMALL_TOKENIZER_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer.h"

/* A tokenizer.json of the 256 bytes, id = byte, and what a test adds. */
struct small {
	const char *added;	/* members of the lists; NULL: none */
	const char *vocab;	/* `"ab": 256`, a comma goes before it */
	const char *merges;
	const char *options;	/* `"ignore_merges": true,` */
	const char *normalizer;	/* values; NULL: null */
	const char *pre_tokenizer;	/* NULL: ByteLevel with GPT-2's pattern */
};

#define BYTE_LEVEL "{\"type\": \"ByteLevel\", \"add_prefix_space\": false," \
	" \"use_regex\": true}"
#define SPLIT_BY(regex) "{\"type\": \"Sequence\", \"pretokenizers\": [{" \
	"\"type\": \"Split\", \"pattern\": {\"Regex\": \"" regex "\"}, " \
	"\"behavior\": \"Isolated\", \"invert\": false}, {\"type\": " \
	"\"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}]}"
#define ADDED(id, text, special, normalized) "{\"id\": " #id \
	", \"content\": \"" text "\", \"special\": " #special \
	", \"normalized\": " #normalized "}"

static inline const char *
or_else(const char *s, const char *otherwise)
{
	return s == NULL ? otherwise : s;
}

static inline void
small_json(const struct small *s, struct buf *out)
{
	int next = 256;

	buf_printf(out, "{\"added_tokens\": [%s], \"normalizer\": %s, "
	    "\"pre_tokenizer\": %s, \"model\": {\"type\": \"BPE\", %s "
	    "\"merges\": [%s], \"vocab\": {", or_else(s->added, ""),
	    or_else(s->normalizer, "null"),
	    or_else(s->pre_tokenizer, BYTE_LEVEL), or_else(s->options, ""),
	    or_else(s->merges, ""));
	for (int c = 0; c < 256; c++) {
		int printable = (c >= 33 && c <= 126) ||
		    (c >= 161 && c <= 172) || c >= 174;

		buf_printf(out, "%s\"\\u%04x\": %d", c == 0 ? "" : ",",
		    printable ? (unsigned)c : (unsigned)next++, c);
	}
	buf_printf(out, "%s%s}}}", s->vocab == NULL ? "" : ", ",
	    or_else(s->vocab, ""));
}

static inline struct tokenizer *
small_tokenizer(const struct small *s)
{
	struct tokenizer *t = NULL;
	struct buf json = { 0 };
	struct err e = { 0 };

	small_json(s, &json);
	ck_assert_msg(tokenizer_from_json(json.data, json.len, &t, &e) == 0,
	    "%s", e.text);
	buf_free(&json);
	return t;
}

/* text [n] as ids: "1 2 3", to be freed. */
static inline char *
ids_of(const struct tokenizer *t, const char *text, size_t n, bool special)
{
	struct buf out = { 0 };
	struct ids ids = { 0 };
	struct err e;

	ck_assert_int_eq(tokenizer_encode(t, text, n, special, &ids, &e), 0);
	buf_adds(&out, "");
	for (size_t i = 0; i < ids.n; i++)
		buf_printf(&out, "%s%d", i == 0 ? "" : " ", (int)ids.v[i]);
	ids_free(&ids);
	return out.data;
}

static inline void
check_ids(const struct tokenizer *t, const char *text, bool special,
    const char *want)
{
	char *got = ids_of(t, text, strlen(text), special);

	ck_assert_str_eq(got, want);
	free(got);
}

/* The file at path, or NULL, to be freed. */
static inline char *
slurp(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	struct buf out = { 0 };
	char piece[4096];
	size_t got;

	if (f == NULL)
		return NULL;
	buf_adds(&out, "");
	while ((got = fread(piece, 1, sizeof(piece), f)) > 0)
		buf_add(&out, piece, got);
	fclose(f);
	*n = out.len;
	return out.data;
}

/* xorshift: the same numbers everywhere. */
static inline uint32_t
draw(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

#endif
