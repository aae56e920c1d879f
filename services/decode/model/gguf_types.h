#ifndef DECODE_GGUF_TYPES_H
#define DECODE_GGUF_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The types that a tensor of a GGUF file can have, and how those that are read
 * here lie in the file: a row is a sequence of blocks, each of so many elements
 * in so many bytes.  Nothing here looks at a file; the caller has made sure
 * that the bytes are there.  Any thread.
 */
enum gguf_use {
	GGUF_NO_USE,		/* known by name only */
	GGUF_FLOATS,		/* elements are floats */
	GGUF_QUANTS,		/* small integers with factors: embedding, head */
	GGUF_TERNARY,		/* -1, 0, +1 with factors */
};

enum {
	GGUF_F32_TYPE = 0, GGUF_F16_TYPE = 1, GGUF_BF16_TYPE = 30,
	GGUF_I2_S_TYPE = 36, GGUF_Q2_0_TYPE = 42,
	GGUF_BLOCK_MAX = 256,	/* elements */
	GGUF_TERNARY_BAD = 3,	/* among codes: not ternary */
};

struct gguf_type {
	uint32_t id;		/* ggml's number */
	const char *name;
	enum gguf_use use;
	int32_t block;		/* elements */
	int32_t bytes;		/* of a block */
	int32_t group;		/* elements that share a factor; 0: the whole
				 * tensor (I2_S), or no factors */
	int32_t tail;		/* bytes after the last row */
	int32_t scale_at;	/* TERNARY: offset of the F16 in a block */
	/* Blocks [n_blocks] at p as floats; NULL for TERNARY. */
	void (*floats)(const uint8_t *p, size_t n_blocks, float *out);
	/* As integers, and a factor for each group; or NULL. */
	void (*ints)(const uint8_t *p, size_t n_blocks, int8_t *q,
	    float *scales);
	/* As codes w + 1; GGUF_TERNARY_BAD for what is no ternary weight. */
	void (*codes)(const uint8_t *p, size_t n_blocks, uint8_t *codes);
};

/*
 * The type with this number, or NULL.  Q2_0 has two forms under one number:
 * this is the one in groups of 64, and gguf_type_q2_0_128 the other.
 */
const struct gguf_type *gguf_type(uint32_t id);
const struct gguf_type *gguf_type_q2_0_128(void);

/*
 * Bytes of n_rows rows of n_cols elements (a multiple of t->block), the tail
 * included; false if 64 bits do not hold them.
 */
bool gguf_type_size(const struct gguf_type *t, uint64_t n_rows,
    uint64_t n_cols, uint64_t *out);

/* The factors of n_blocks TERNARY blocks at p.  Not for I2_S. */
void gguf_type_scales(const struct gguf_type *t, const uint8_t *p,
    size_t n_blocks, float *scales);

#endif
