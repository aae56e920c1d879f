#ifndef DECODE_SELFCHECK_H
#define DECODE_SELFCHECK_H

#include <stdint.h>

#include "backend/backend.h"
#include "buf.h"
#include "err.h"
#include "model/model.h"

/*
 * A probe: a few tokens and the best logits behind them, computed by the ref
 * backend when a file was written.  A worker computes them again with the
 * backend that it serves with.  What makes fluent garbage (a scale, a layout, a
 * kernel that this machine runs wrong, another --rope-mode) makes other logits.
 *
 * In a file, little-endian: u32 n_tokens, i32 ids [n_tokens], u32 n_top, and
 * n_top times i32 id, f32 logit, the best first.
 */
enum {
	SELFCHECK_TOKENS_MAX = KV_PAGE,	/* so that one page holds them */
	SELFCHECK_TOP_MAX = 64,
};

struct selfcheck_probe {
	int32_t n_tokens, n_top;
	int32_t tokens[SELFCHECK_TOKENS_MAX];
	int32_t top[SELFCHECK_TOP_MAX];
	float logits[SELFCHECK_TOP_MAX];
};

enum selfcheck_state { SELFCHECK_ABSENT, SELFCHECK_PASSED, SELFCHECK_FAILED };

struct selfcheck_result {
	enum selfcheck_state state;
	double difference;	/* of the logits, as a part of their scale */
	double tolerance;	/* what it may be: see selfcheck.c */
	int32_t n_tokens;	/* 0 if ABSENT: rows of one forward pass */
	int64_t us;		/* and what that took, the first of the process */
	char text[160];		/* for people: what was compared, or why not */
};

/*
 * Bytes [n] of a file, for a model of sizes c.  ERR_BAD_FILE says what is not
 * as above, an id that is not in the vocabulary or a logit that is not finite.
 */
int selfcheck_parse(const void *bytes, size_t n, const struct model_config *c,
    struct selfcheck_probe *p, struct err *e);

/*
 * Append the probe of m to out, computed by ref: some 16e9 multiplications, at
 * most 32 tokens of m's own tokenizer.  arg is not used: this is the `probe` of
 * struct h1b_source.
 */
int selfcheck_make(void *arg, const struct model *m, struct buf *out,
    struct err *e);

/*
 * Compare the probe of m with what b says, which was opened with o and has not
 * begun to serve: page 0 is overwritten.  A difference is no failure of this
 * function: r says.  ABSENT if m has no probe or o->n_ctx is less than it.
 * ERR_BAD_FILE, ERR_NO_MEMORY; what b->forward returns.
 */
int selfcheck_run(const struct model *m, struct backend *b,
    const struct backend_options *o, struct selfcheck_result *r,
    struct err *e);

/* "absent", "passed", "failed" */
const char *selfcheck_name(enum selfcheck_state state);

#endif
