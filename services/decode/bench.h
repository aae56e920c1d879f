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
	BENCH_REPEATS_MAX = 100,
	BENCH_BATCH_MAX = 256,
	BENCH_DEVICE_BYTES = 1 << 30,	/* of a device's memory that are read to see
					 * how fast it is */
};

/* The limits the backend was opened with, and what to measure. */
struct bench_options {
	int32_t depths[BENCH_DEPTHS_MAX];	/* tokens of the prompt, from 1 */
	int n_depths;		/* 0: one depth, 64 */
	int repeats;		/* 1..BENCH_REPEATS_MAX */
	int batch;		/* sequences that decode together; 0, 1: not measured */
	int n_threads;		/* as given to the backend; for the bandwidth */
	bool pin;		/* the same */
	int32_t n_ctx, n_pages, max_rows;	/* of struct backend_options */
	bool json;		/* one JSON object and not a table */
};

/*
 * For each depth: read a prompt of that many tokens, decode BENCH_DECODE tokens
 * after it (or the last that the context holds, if the prompt leaves less room),
 * several times; print the medians to out, and where the time went.  As JSON, one
 * object in one line; bench_report.h says what is in it.
 *
 * ERR_RANGE if a depth exceeds the context or the pages, or the sequences of
 * batch do; ERR_NO_MEMORY; what b->forward returns.
 */
int bench_run(const struct bench_options *o, const struct model *m,
    struct backend *b, FILE *out, struct err *e);

#endif
