#ifndef DECODE_BENCH_H
#define DECODE_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "backend/backend.h"
#include "err.h"
#include "model/model.h"

enum {
	BENCH_DEPTHS_MAX = 16,
	BENCH_DECODE = 32,	/* tokens decoded at each depth, per repeat */
};

/* The limits the backend was opened with, and what to measure. */
struct bench_options {
	int32_t depths[BENCH_DEPTHS_MAX];	/* tokens of the prompt, from 1 */
	int n_depths;		/* 0: one depth, 64 */
	int n_threads;		/* as given to the backend; for the bandwidth */
	int32_t n_ctx, n_pages, max_rows;	/* of struct backend_options */
	bool json;		/* one JSON object and not a table */
};

/*
 * For each depth: read a prompt of that many tokens, decode BENCH_DECODE tokens
 * after it (or the last that the context holds, if the prompt leaves less room),
 * several times; print the medians to out.  As JSON, one line:
 *
 *	{"results":[{"depth","prefill_tok_s","decode_tok_s","bytes_per_token",
 *	    "gb_per_s","bandwidth_gb_per_s","bandwidth_fraction"}]}
 *
 * bytes_per_token: weights, head and the KV cache at that depth.  gb_per_s is
 * that times decode_tok_s / 1e9.  bandwidth_gb_per_s: what n_threads threads
 * read from a buffer that no cache holds, measured once before; a model that
 * sits in the last cache can be faster than that, so the fraction may exceed 1.
 *
 * ERR_RANGE if a depth exceeds the context or the pages;
 * ERR_NO_MEMORY; what b->forward returns.
 */
int bench_run(const struct bench_options *o, const struct model *m,
    struct backend *b, FILE *out, struct err *e);

#endif
