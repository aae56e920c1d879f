#ifndef DECODE_BENCH_REPORT_H
#define DECODE_BENCH_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "backend/backend.h"
#include "bench.h"
#include "bench_memory.h"

/* What --bench found out. */
struct bench_rate {
	double median, min, max;	/* tokens a second; 0: not measured */
};

/* What the kinds of work took in a phase: all repeats, whose tokens are tokens. */
struct bench_kernels {
	struct backend_op ops[BACKEND_OPS_MAX];
	int n;
	int64_t tokens;
};

struct bench_result {
	int32_t depth;
	struct bench_rate prefill, decode;
	struct bench_rate top;	/* decode, when only the largest logit is asked
				 * for, as greedy decoding does */
	struct bench_rate batch;	/* all sequences that decode together */
	int64_t bytes;		/* that one token of decode reads */
	struct bench_kernels prefill_kernels, decode_kernels;
};

struct bench_report {
	const char *model, *backend;	/* for people */
	const struct bench_options *o;
	bool huge;		/* most of the weights are in pages of 2 MiB */
	struct bench_memory one, all;	/* one thread, n_threads */
	bool device;		/* all is the memory of the backend's device; no threads
				 * of ours read it, and one is not measured */
	int64_t operations;	/* of one token in the ternary products: two for each
				 * weight, on integers of 8 bits */
	struct bench_result results[BENCH_DEPTHS_MAX];
	int n;
};

/*
 * A new object, NULL if memory is short:
 *
 *	{"model", "backend", "threads", "huge_pages", "repeats", "batch",
 *	 "memory": {"device", "mib", "huge_pages", "gb_per_s",
 *	     "gb_per_s_one_thread", "streams", "ahead"},
 *	 "results": [{"depth",
 *	     "prefill_tok_s", "prefill_min_tok_s", "prefill_max_tok_s",
 *	     "prefill_int8_tops",
 *	     "decode_tok_s", "decode_min_tok_s", "decode_max_tok_s",
 *	     "decode_top_tok_s", "batch_tok_s", "batch_speedup",
 *	     "bytes_per_token", "gb_per_s", "bandwidth_gb_per_s",
 *	     "bandwidth_fraction",
 *	     "decode_kernels": [{"name", "calls", "ns", "bytes", "gb_per_s"}],
 *	     "prefill_kernels": the same}]}
 *
 * Rates are medians.  bytes_per_token: weights, head and the KV cache at that
 * depth; gb_per_s is that times decode_tok_s / 1e9, and bandwidth_fraction its
 * part of memory.gb_per_s, which bandwidth_gb_per_s repeats; a model that sits in
 * the last cache can be faster than that, so the fraction may exceed 1.
 * memory.device: it is the memory of the device that the backend uses, and
 * gb_per_s_one_thread is null.  prefill_int8_tops: 10^12 operations a second of the
 * ternary products, two for each weight, by prefill_tok_s.  What a
 * kernel took is per token.  null: not measured.
 */
json_t *bench_report_json(const struct bench_report *r);

/* The same for people. */
void bench_report_print(const struct bench_report *r, FILE *out);

#endif
