#ifndef DECODE_POOL_H
#define DECODE_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "decode.h"

/*
 * One vector out of the hidden states of a prompt: their mean, or the last.  Rows
 * are added in the order of their positions, however the prompt was cut into
 * steps, so the sum is the same.  One thread at a time.
 */
enum pool_kind { POOL_NONE, POOL_MEAN, POOL_LAST };

struct pool {
	enum pool_kind kind;
	int32_t n_embd, n_rows;	/* rows added */
	double *sum;		/* [n_embd]; NULL for POOL_NONE; owned */
	struct buf text;	/* the vector, after pool_finish */
};

/* name: generate's pooling.  ERR_RANGE, ERR_NO_MEMORY. */
int pool_init(struct pool *p, const char *name, int32_t n_embd,
    struct err *e);
void pool_free(struct pool *p);

/* Does the row at pos of a prompt of n_prompt count? */
bool pool_wants(const struct pool *p, int32_t pos, int32_t n_prompt);

/* Add the hidden state [n_embd] of pos, which comes after those added; position
 * 0 begins anew. */
void pool_add(struct pool *p, int32_t pos, const float *hidden);

/* All are there: p->text is the base64 of the vector, of length 1, as f32 in
 * little endian.  False if memory is short or it has no length. */
bool pool_finish(struct pool *p);

#endif
