#ifndef DECODE_TOKENIZER_H
#define DECODE_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

/*
 * Byte pair encoding, of bytes (GPT-2's, with a pattern that splits text into
 * words) or of characters (SentencePiece's, as Llama 2 has it), as Hugging
 * Face tokenizers defines them.  Read-only after loading; encode and decode
 * may be called on any thread.
 */
struct tokenizer;

/* A growing array of token ids; { 0 } is an empty one. */
struct ids {
	int32_t *v;		/* owned */
	size_t n, cap;
};
int ids_add(struct ids *a, int32_t id);		/* 0 or ERR_NO_MEMORY */
void ids_free(struct ids *a);

/* From a Hugging Face tokenizer.json [n bytes]. */
int tokenizer_from_json(const char *text, size_t n, struct tokenizer **t,
    struct err *e);

/*
 * From a GGUF's metadata: tokenizer.ggml.model gpt2 or llama.  Without a
 * tokenizer.ggml.pre the pattern is Llama 3's for the architectures bitnet-*,
 * GPT-2's for gpt2 and gptneox, and for others the file is refused.
 */
struct gguf;
int tokenizer_from_gguf(const struct gguf *g, struct tokenizer **t,
    struct err *e);

/*
 * From a .htok [n bytes], either variant; what: its name, for sentences.  A
 * .htok has no pattern; pattern is one of the names llama3, gpt-2, qwen2,
 * falcon3, or NULL: llama3 with 128,256 tokens, otherwise gpt-2.
 */
int tokenizer_from_htok(const void *bytes, size_t n, const char *what,
    const char *pattern, struct tokenizer **t, struct err *e);

/*
 * From tiktoken's ranks, a line for each: base64 of the token, blank, rank.
 * pattern as above; NULL: by the number of ranks, 128,000 llama3, 50,256
 * gpt-2, 151,643 qwen2, which brings the special tokens of that vocabulary
 * too; others are refused.
 */
int tokenizer_from_ranks(const char *text, size_t n, const char *what,
    const char *pattern, struct tokenizer **t, struct err *e);

/*
 * From the file at path, whatever of these it is, or a .h1b, or a directory
 * with a tokenizer.json.  pattern as above; only for those files that have
 * none, an error with others.
 */
int tokenizer_open(const char *path, const char *pattern,
    struct tokenizer **t, struct err *e);

/*
 * The form a .h1b carries (specified in docs/model-format.md), both ways.
 * load borrows nothing.  Every length and id is checked.
 */
int tokenizer_save(const struct tokenizer *t, struct buf *out, struct err *e);
int tokenizer_load(const void *blob, size_t n, struct tokenizer **t,
    struct err *e);
void tokenizer_destroy(struct tokenizer *t);	/* NULL is fine */

int32_t tokenizer_n_vocab(const struct tokenizer *t);

/*
 * Append the ids of text [n bytes, any bytes] to out.  parse_special: the text
 * of a special token becomes that token; never for what a user wrote.  No BOS
 * is added.  Linear in n.
 */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
    bool parse_special, struct ids *out, struct err *e);

/*
 * The same for text that goes on where other text or a special token ended: a
 * vocabulary that puts a blank before the first word of a text (and of no
 * other stretch) puts none.
 */
int tokenizer_encode_more(const struct tokenizer *t, const char *text,
    size_t n, bool parse_special, struct ids *out, struct err *e);

/*
 * Does a plain text begin with the BOS?  As the file says; a .h1b that does
 * not say: yes.  set: where another file (tokenizer_config.json's
 * add_bos_token) knows better.
 */
bool tokenizer_add_bos(const struct tokenizer *t);
void tokenizer_set_add_bos(struct tokenizer *t, bool on);

/*
 * Does encoding put a blank before the first word?  Then whoever decodes all
 * of a text leaves out one blank at its beginning.
 */
bool tokenizer_adds_blank(const struct tokenizer *t);

/*
 * The bytes of one token: *n of them, borrowed, not NUL-terminated, possibly a
 * part of a UTF-8 character.  A special token has its text; is_special tells.
 * NULL for an id outside the vocabulary or a hole in it.
 */
const char *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *n);
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);

/* The id of a special token by its text, or -1. */
int32_t tokenizer_special(const struct tokenizer *t, const char *text);

#endif
