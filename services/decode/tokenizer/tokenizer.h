#ifndef DECODE_TOKENIZER_H
#define DECODE_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

/*
 * Byte-level BPE (GPT-2's bytes, a pre-split regex, ranked merges), as Hugging
 * Face tokenizers defines it.  Read-only after loading; encode and decode may
 * be called on any thread.
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
 * The bytes of one token: *n of them, borrowed, not NUL-terminated, possibly a
 * part of a UTF-8 character.  A special token has its text; is_special tells.
 * NULL for an id outside the vocabulary or a hole in it.
 */
const char *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *n);
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);

/* The id of a special token by its text, or -1. */
int32_t tokenizer_special(const struct tokenizer *t, const char *text);

#endif
