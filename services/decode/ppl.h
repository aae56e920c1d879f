#ifndef DECODE_PPL_H
#define DECODE_PPL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "backend/backend.h"
#include "err.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

enum { PPL_CONTEXT = 512 };	/* the usual window */

struct ppl_options {
	const char *path;	/* the text, UTF-8 */
	int32_t context;	/* tokens of a window, 2..n_ctx; 0: PPL_CONTEXT */
	int32_t n_windows;	/* at most; 0: all */
	int32_t n_ctx, n_pages, max_rows;	/* of struct backend_options */
	bool json;		/* one JSON object and not a sentence */
	bool progress;		/* a line on stderr that is written over */
};

struct ppl_result {
	int64_t tokens;		/* predicted */
	double nll_mean;	/* nats per token */
	double ppl;		/* exp(nll_mean) */
};

/*
 * Perplexity of ids [n], as Hugging Face users compute it: windows of context
 * tokens without overlap, each from an empty cache; tokens 1..context-1 of a
 * window are predicted.  What is left at the end, less than a window, counts
 * only if there is no whole one.
 *
 * ERR_RANGE if the context exceeds what the backend was opened for, or there
 * are fewer than 2 ids; ERR_NO_MEMORY; what b->forward returns.
 */
int ppl_measure(const struct ppl_options *o, const struct model *m,
    const int32_t *ids, int64_t n, struct backend *b, struct ppl_result *result,
    struct err *e);

/*
 * ppl_measure of the text in o->path, which is encoded once, after BOS if the
 * model has one.  Prints a sentence or {"tokens","nll_mean","ppl"} to out.
 * Also ERR_NOT_FOUND or ERR_SYSTEM if the file cannot be read.
 */
int ppl_run(const struct ppl_options *o, const struct model *m,
    const struct tokenizer *t, struct backend *b, FILE *out, struct err *e);

#endif
