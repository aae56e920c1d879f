#ifndef DECODE_TOKENIZER_PARTS_H
#define DECODE_TOKENIZER_PARTS_H

#include "tokenizer/tokenizer.h"

/*
 * What the files of the tokenizer share and nobody else sees.  A loader
 * (load_hf.c, blob.c) fills the upper half of a tokenizer; tokenizer_index
 * checks it, wherever it came from, and makes the lower half.
 */
enum {
	TOKENIZER_VOCAB_MAX = 1 << 21,
	TOKENIZER_MERGES_MAX = 1 << 24,
	TOKENIZER_BYTES_MAX = 1 << 29,	/* all tokens together */
	TOKENIZER_TOKEN_MAX = 65535,	/* bytes of one token */
	TOKENIZER_ADDED_MAX = 512,	/* bytes of one added token */
	TOKENIZER_PATTERNS_MAX = 8,
	TOKENIZER_PATTERN_MAX = 4096,	/* bytes */
};

enum tokenizer_flag {
	/* A word that is a token is that token, whatever the merges say. */
	TOKENIZER_IGNORE_MERGES = 1,
	/* Text is brought into Unicode's form NFC first. */
	TOKENIZER_NFC = 2,
};

enum token_kind {
	TOKEN_MODEL = 1,	/* of the model's vocabulary: merges make it */
	TOKEN_ADDED = 2,	/* found in the text before it is split */
	TOKEN_SPECIAL = 4,	/* added, and control: only with parse_special */
	TOKEN_NORMALIZED = 8,	/* added, and found after normalization */
};

struct merge {
	int32_t left, right, id;
};

struct split;

/* The added tokens that are looked for together, sorted by their bytes. */
struct added {
	int32_t *ids;		/* owned */
	size_t n;
	bool first[256];	/* can a token begin with this byte? */
};

struct pair_slot {
	int32_t left, right;	/* left -1: empty */
	int32_t rank, id;
};

struct word_slot {
	uint32_t tag;		/* upper half of the hash */
	int32_t id;		/* -1: empty */
};

struct tokenizer {
	unsigned flags;
	int32_t n_vocab;
	uint32_t *at;		/* [n_vocab + 1], where in bytes a token is */
	char *bytes;
	uint8_t *kind;		/* [n_vocab], 0 and no bytes: a hole */
	struct merge *merges;	/* in the order of their rank */
	size_t n_merges;
	size_t n_patterns;
	struct {
		char *text;	/* NUL-terminated */
		struct split *split;
	} patterns[TOKENIZER_PATTERNS_MAX];

	int32_t byte_id[256];	/* -1: has no token */
	struct pair_slot *pairs;	/* [pair_mask + 1] */
	struct word_slot *words;	/* [word_mask + 1] */
	size_t pair_mask, word_mask;
	struct added added[2][2];	/* [normalized][parse_special] */
};

/* tokenizer.c */
struct tokenizer *tokenizer_create(void);	/* empty; NULL: memory is short */
int tokenizer_add_pattern(struct tokenizer *t, const char *text, size_t n,
    struct err *e);
int tokenizer_index(struct tokenizer *t, struct err *e);

/*
 * bpe.c: append the tokens of one word [n > 0 bytes].  Every byte of it has a
 * token.  O(n log n).
 */
int bpe_index(struct tokenizer *t, struct err *e);
int bpe_word(const struct tokenizer *t, const char *word, size_t n,
    struct ids *out);

/*
 * split.c: the pattern that cuts text into words.  What regular expressions it
 * takes is written there.
 */
struct split_scratch;
int split_compile(const char *pattern, size_t n, struct split **s,
    struct err *e);
void split_destroy(struct split *s);	/* NULL is fine */
struct split_scratch *split_scratch_create(void);
void split_scratch_destroy(struct split_scratch *x);

/*
 * The first word in text [n bytes, UTF-8] from *from on: it is
 * text[*from .. *to), what lies before it being a word too.  Returns 1; 0 if
 * there is none; ERR_*.
 */
int split_next(const struct split *s, struct split_scratch *x,
    const char *text, size_t n, size_t *from, size_t *to, struct err *e);

/*
 * nfc.c: append text [n bytes, UTF-8] to out in form NFC.  nfc_is_trivial: it
 * surely is in that form already.
 */
bool nfc_is_trivial(const char *text, size_t n);
int nfc_append(const char *text, size_t n, struct buf *out, struct err *e);

#endif
