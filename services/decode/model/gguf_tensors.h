#ifndef DECODE_GGUF_TENSORS_H
#define DECODE_GGUF_TENSORS_H

#include "err.h"
#include "model/gguf.h"
#include "model/gguf_types.h"
#include "model/h1b.h"

/*
 * The tensors of a model in a GGUF file: which one is which part, whether it is
 * what that part needs, and its rows.  Read-only after mapping, but rows are to
 * be asked for on one thread.
 */
struct gguf_matrix {
	const struct gguf_tensor *t;	/* NULL: this model has no such part */
	const struct gguf_type *type;
	int32_t rows, cols;
	size_t row_bytes;
	int32_t group;		/* columns that share a factor as it is given
				 * out; 0: no factors */
	float scale;		/* of all, if the type has one for the tensor */
};

struct gguf_tensors {
	const struct gguf *g;		/* borrowed */
	struct gguf_matrix *all;	/* owned; by part and layer */
	float *row;			/* owned: room for the one in hand */
};

/*
 * Find and check all tensors of a model of sizes c.  The file may have no
 * others.  ERR_UNSUPPORTED, ERR_BAD_FILE: the sentence names the tensor.
 */
int gguf_tensors_map(const struct gguf *g, const struct model_config *c,
    struct gguf_tensors *ts, struct err *e);
void gguf_tensors_free(struct gguf_tensors *ts);

/* layer is -1 outside the layers. */
const struct gguf_matrix *gguf_tensors_at(const struct gguf_tensors *ts,
    enum h1b_part part, int32_t layer);

/* What a .h1b can hold an embedding or head of this type as. */
enum dense_type gguf_matrix_dense(const struct gguf_matrix *m);

/* Row `row` as floats: out [cols].  ERR_BAD_FILE as below. */
int gguf_matrix_floats(const struct gguf_tensors *ts,
    const struct gguf_matrix *m, int32_t row, float *out, struct err *e);

/*
 * Row `row` of a matrix whose gguf_matrix_dense is I8: q [cols], and a factor
 * for each group, which is never negative.  ERR_BAD_FILE as below.
 */
int gguf_matrix_ints(const struct gguf_tensors *ts, const struct gguf_matrix *m,
    int32_t row, int8_t *q, float *scales, struct err *e);

/*
 * Row `row` of a projection: codes [cols], 0..2, and a factor for each group,
 * which is never negative.  ERR_BAD_FILE names a weight that is not ternary.
 */
int gguf_matrix_codes(const struct gguf_tensors *ts,
    const struct gguf_matrix *m, int32_t row, uint8_t *codes, float *scales,
    struct err *e);

#endif
