#ifndef DECODE_GGUF_MODEL_H
#define DECODE_GGUF_MODEL_H

#include "err.h"
#include "model/gguf.h"
#include "model/h1b.h"

/*
 * A GGUF file (gguf.h) with a ternary model as a source of a .h1b.  The file is
 * mapped; weights are read as they are asked for.
 *
 * Projections: I2_S as x86 writes it, TQ1_0, TQ2_0, Q1_0, Q2_0 in groups of 64
 * or 128 (told apart by the size of the tensors), PQ2_0, PTQ1_0, and floats
 * that take only three values.  Embedding and head: F32, F16, BF16, Q8_0, Q6_K
 * (both exactly, as I8 with groups of 32 and 16), Q4_K (as F32), and the
 * ternary types (as I8).  Norms: F32, F16, BF16.  Factors that are the same
 * along every row of a matrix become one a row.
 *
 * Rows of Q and K that were permuted for interleaved RoPE (llama) are put back
 * in their order.
 */
struct gguf_model;

/*
 * Everything is checked here but the values of single weights: keys, names,
 * shapes, types, sizes, factors, that nothing is missing or left over.
 * ERR_UNSUPPORTED names what is understood but not offered, ERR_BAD_FILE what
 * is wrong.
 */
int gguf_model_open(const char *path, struct gguf_model **m, struct err *e);
/* From memory: bytes [n], borrowed until gguf_model_close. */
int gguf_model_parse(const void *bytes, size_t n, const char *what,
    struct gguf_model **m, struct err *e);
void gguf_model_close(struct gguf_model *m);	/* NULL is fine */

/*
 * Fill *s, but for name, origin and progress.  What it points to is borrowed
 * from m, and arg is m.
 */
void gguf_model_source(struct gguf_model *m, struct h1b_source *s);

/* What people should know of how the file was read, or ""; static. */
const char *gguf_model_note(const struct gguf_model *m);

#endif
