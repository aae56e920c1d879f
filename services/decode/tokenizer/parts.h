#ifndef DECODE_TOKENIZER_PARTS_H
#define DECODE_TOKENIZER_PARTS_H

#include "tokenizer/tokenizer.h"

/*
 * What the files of the tokenizer share and nobody else sees.  A loader
 * (load_*.c, blob.c) fills the upper half of a tokenizer; tokenizer_index
 * checks it, wherever it came from, and makes the lower half.
 */
enum {
	TOKENIZER_VOCAB_MAX = 1 << 21,
	TOKENIZER_MERGES_MAX = 1 << 24,
	TOKENIZER_BYTES_MAX = 1 << 29,	/* all tokens together */
	TOKENIZER_TOKEN_MAX = 65535,	/* bytes of one token */
	TOKENIZER_ADDED_MAX = 512,	/* bytes of one added token */
	TOKENIZER_SCORED_MAX = 1024,	/* bytes, where merges are not given */
	TOKENIZER_PATTERNS_MAX = 8,
	TOKENIZER_PATTERN_MAX = 4096,	/* bytes */
};

enum tokenizer_flag {
	/* A word that is a token is that token, whatever the merges say. */
	TOKENIZER_IGNORE_MERGES = 1,
	/* Text is brought into Unicode's form NFC first. */
	TOKENIZER_NFC = 2,
	/*
	 * As SentencePiece does it: a word begins as characters and not as
	 * bytes; one without a token becomes its bytes, or unk.  U+2581 is a
	 * blank.  There are no patterns.
	 */
	TOKENIZER_SPM = 4,
	TOKENIZER_FUSE_UNK = 8,		/* unk after unk is one */
	/* A text that is nobody's turn in a chat begins with the BOS. */
	TOKENIZER_ADD_BOS = 16,
	/* A blank comes before each stretch between added tokens, */
	TOKENIZER_PREFIX = 32,
	TOKENIZER_PREFIX_LATE = 64,	/* unless it begins with one (and U+2581
					 * becomes a blank there, not before), */
	TOKENIZER_PREFIX_FIRST = 128,	/* only where the text begins */
	TOKENIZER_SPLIT_BLANKS = 256,	/* every blank begins a word */
	TOKENIZER_FLAGS = 511,		/* all of them */
};

enum token_kind {
	TOKEN_MODEL = 1,	/* of the model's vocabulary: merges make it */
	TOKEN_ADDED = 2,	/* found in the text before it is split */
	TOKEN_SPECIAL = 4,	/* added, and control: only with parse_special */
	TOKEN_NORMALIZED = 8,	/* added, and found after normalization */
	TOKEN_BYTE = 16,	/* a byte of a character without a token */
	TOKEN_LSTRIP = 32,	/* added, and takes in the blanks before it */
	TOKEN_RSTRIP = 64,	/* and those after it */
	TOKEN_WHOLE_WORD = 128,	/* added, and never within a word */
	TOKEN_OF_ADDED = TOKEN_SPECIAL | TOKEN_NORMALIZED | TOKEN_LSTRIP |
	    TOKEN_RSTRIP | TOKEN_WHOLE_WORD,
};

struct merge {
	int32_t left, right, id;
	bool tied;		/* of the same rank as the merge before */
};

struct split;

/* The added tokens that are looked for together, sorted by their text. */
struct added {
	struct added_token {
		const char *text;	/* what is looked for; of texts */
		size_t n;
		int32_t id;
	} *v;			/* owned, [n] */
	size_t n;
	struct buf texts;
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
	int32_t unk;		/* of a character without a token, or -1 */
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
	struct added added[2];	/* [normalized] */
	bool cut_at_blanks;	/* no token has a blank behind another thing */
};

/* tokenizer.c */
struct tokenizer *tokenizer_create(void);	/* empty; NULL: memory is short */
int tokenizer_add_pattern(struct tokenizer *t, const char *text, size_t n,
    struct err *e);
int tokenizer_index(struct tokenizer *t, struct err *e);

/* builder.c: what a loader makes a tokenizer of, token by token. */
struct builder {
	struct tokenizer *t;
	const char *what;	/* the file, for sentences */
	struct err *e;
	struct buf bytes;
};
int builder_start(struct builder *b, const char *what, size_t n_vocab,
    struct err *e);
/* Token id, the next one: its bytes [n] and kind; kind 0: a hole. */
int builder_add(struct builder *b, const char *bytes, size_t n, unsigned kind);
int builder_end_tokens(struct builder *b);
/* The bytes that a text in GPT-2's printable stand-ins spells; false: none. */
bool builder_unspell(const char *text, size_t n, struct buf *out);
/* The byte that "<0x0A>" means, or -1. */
int builder_byte(const char *text, size_t n);
/* Make it ready, or destroy it and return rc. */
int builder_finish(struct builder *b, int rc, struct tokenizer **t);

/*
 * presets.c: what a vocabulary's name means.  NULL: it is not known.
 */
struct preset {
	const char *name;	/* "llama3", as --pattern has it */
	const char *pattern;
	unsigned flags;
};
const struct preset *preset_find(const char *name);
/* By tokenizer.ggml.pre. */
const struct preset *preset_of_gguf(const char *pre, size_t n);
extern const char preset_names[];	/* for sentences */

/*
 * bpe.c.  bpe_index_words finds the tokens that are words, so that a loader can
 * ask bpe_find for the id of the model's token that is word [n], or -1, before
 * it has merges; bpe_index does the rest.
 *
 * bpe_make_merges fills t->merges for a vocabulary that has none: whatever two
 * tokens are joined to a token is a merge, better by its score [n_vocab].
 *
 * bpe_word appends the tokens of one word [n > 0 bytes].  O(n log n).
 */
int bpe_index_words(struct tokenizer *t, struct err *e);
int32_t bpe_find(const struct tokenizer *t, const char *word, size_t n);
int bpe_make_merges(struct tokenizer *t, const float *score, struct err *e);
int bpe_index(struct tokenizer *t, struct err *e);
int bpe_word(const struct tokenizer *t, const char *word, size_t n,
    struct ids *out);

/*
 * added.c: cut text [n] at the added tokens, append their ids to out, and call
 * fn for each piece between them.
 */
typedef int added_piece_fn(void *arg, const char *text, size_t n);
int added_index(struct tokenizer *t, struct err *e);
void added_free(struct added *a);
int added_cut(const struct tokenizer *t, bool normalized, bool parse_special,
    const char *text, size_t n, added_piece_fn *fn, void *arg,
    struct ids *out, struct err *e);

/* spm.c: append text [n] to out with U+2581 as blanks. */
void spm_append(const char *text, size_t n, struct buf *out);
/* Append the tokens of text [n > 0]; at_start: all text begins with it. */
int spm_run(const struct tokenizer *t, const char *text, size_t n,
    bool at_start, struct ids *out, struct err *e);

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
