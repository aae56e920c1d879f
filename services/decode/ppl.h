#ifndef DECODE_PPL_H
#define DECODE_PPL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "backend/backend.h"
#include "err.h"
#include "model/model.h"
#include "ppl_walk.h"
#include "tokenizer/tokenizer.h"

enum { PPL_TEXT_MAX = INT32_MAX / 2 };	/* bytes, as many as are encoded */

struct ppl_options {
	const char *path;	/* the text, UTF-8 */
	enum ppl_protocol protocol;	/* see ppl_walk.h for these four */
	int32_t stride;
	int32_t context;
	int32_t n_windows;
	int32_t n_ctx, n_pages, max_rows;	/* of struct backend_options */
	bool json;		/* one JSON object and not a sentence */
	bool progress;		/* a line on stderr that is written over */
};

struct ppl_result {
	int64_t tokens;		/* that count */
	int64_t windows;
	double nll_mean;	/* nats per token */
	double ppl;		/* exp(nll_mean) */
	double ppl_error;	/* its standard error, as llama-perplexity has it */
};

/*
 * Perplexity of ids [n]; bos: what the tokenizer adds, or -1.  Returns what
 * ppl_walk returns, and ERR_BAD_FILE for logits that are not finite.
 */
int ppl_measure(const struct ppl_options *o, const struct model *m,
    const int32_t *ids, int64_t n, int32_t bos, struct backend *b,
    struct ppl_result *result, struct err *e);

/*
 * The ids of text, encoded at once, after *bos if that is not -1: the model's, if
 * its tokenizer adds one.  ERR_RANGE for a token that m does not have.
 */
int ppl_encode(const struct buf *text, const struct model *m,
    const struct tokenizer *t, struct ids *ids, int32_t *bos, struct err *e);

/*
 * ppl_measure of the text in o->path, which is read once and so may be a pipe:
 * ERR_NOT_FOUND or ERR_SYSTEM if it cannot be.  Prints a sentence, or {"tokens",
 * "nll_mean","ppl","ppl_error","protocol","context","windows"}, to out.
 */
int ppl_run(const struct ppl_options *o, const struct model *m,
    const struct tokenizer *t, struct backend *b, FILE *out, struct err *e);

/* The line of progress: windows, a mean nll, and the time that is left. */
void ppl_show(int64_t done, int64_t total, double nll_mean, int64_t began_ms);

/* "full", "llama", "stride:256" into text. */
void ppl_protocol_name(enum ppl_protocol protocol, int32_t stride,
    char text[24]);

#endif
