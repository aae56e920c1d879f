#ifndef DECODE_BACKEND_H
#define DECODE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "model/model.h"

/*
 * What runs the model.  One table of functions per backend, filled when the
 * service starts by one that this machine can run, so that one binary serves
 * machines with and without a GPU.  Nothing smaller than a forward pass crosses
 * this boundary, so a backend may fuse, capture a graph, or run one kernel for
 * all of it.
 *
 * The promise every backend keeps: the logits of a row depend on the tokens
 * before it in its sequence and on nothing else: not on the number of threads,
 * the other rows, how a prompt was cut into batches, or on page numbers.
 *
 * Thread rule: one thread at a time calls forward (the engine's); a backend
 * has its own team for the work inside.
 */
enum {
	KV_PAGE = 32,		/* positions in one page of the KV cache */
	BACKEND_ROWS_MAX = 2048,	/* rows in one forward pass */
	BACKEND_TOP_MAX = 64,	/* logits that a row may ask for by rank */
	BACKEND_OPS_MAX = 32,	/* kinds of work that a backend counts */
};

/* One of the largest logits of a row; they are sorted: larger first, the lower
 * id on a tie. */
struct backend_top {
	int32_t id;
	float logit;
};

/* What one kind of work has taken since the start. */
struct backend_op {
	const char *name;	/* "qkv", "attention", "head": static */
	int64_t calls;
	int64_t ns;		/* wall time in which nothing else was done */
	int64_t bytes;		/* of weights and KV cache that it read */
};

/*
 * One token at one position of one sequence.  Its key and value are stored at
 * pages[pos / KV_PAGE], slot pos % KV_PAGE, before any row of the batch attends;
 * it attends to positions 0..pos of the same pages.  Rows of one sequence stand
 * together in a batch, in rising order of pos, without gaps.
 */
struct backend_row {
	int32_t token;		/* 0..vocab-1 */
	int32_t pos;		/* 0..n_ctx-1 */
	const int32_t *pages;	/* page table of the sequence; borrowed */
	bool want_logits;	/* all of them */
	int32_t n_top;		/* or the n_top largest, 1..top_max, of vocab; */
	struct backend_top *top;/* written to here, [n_top]: the very same logits */
	float *hidden;		/* NULL, or [hidden] for the state after the final
				 * norm: if has_hidden.  The same promise holds */
};

struct backend_options {
	const char *name;	/* "auto", "gpu", "cpu", "ref" */
	const char *isa;	/* cpu: "auto", "avx512", "avxvnni", "avx2", "neon", "scalar" */
	int n_threads;		/* cpu: 0 for as many as topology_threads says */
	bool pin;		/* cpu: each thread stays on one processor */
	int device;		/* gpu: its number, from 0 */
	const char *gpu_step;	/* gpu: "whole": of few rows all layers in one launch,
				 * where model and device can; "launches"; "auto" or NULL:
				 * whole where that was measured to be the better */
	int32_t n_pages;	/* KV pages to take memory for */
	int32_t max_rows;	/* of one batch, 1..BACKEND_ROWS_MAX */
	bool more_rows;		/* or as many more as the backend likes */
	int32_t n_ctx;		/* positions a row may have */
	const char *kv;		/* "f16", "i8": the KV cache; NULL: "f16" */
};

struct backend {
	char name[64];		/* "cpu avx512-vnni, 2 threads": log and stats */
	char instead[240];	/* why "auto" did not take a better one: for the log; "" */
	bool has_hidden;	/* rows may ask for their hidden state */
	bool prefers_t2;	/* the model is in layout B3, which is slower here */
	bool approximates;	/* activations have 8 bits in it, and the model was
				 * trained with floats: close, not the same */
	int32_t max_rows;	/* of one batch: of the options, or more_rows */
	int32_t prompt_rows;	/* of prompts that it likes in a batch with rows that
				 * decode, which wait for them */
	size_t kv_bytes;	/* memory of the KV cache */
	size_t scratch_bytes;	/* memory of the batch buffers */
	int64_t bytes_per_token;/* read for one token at depth 0: weights, head */
	/* Where forward puts logits without a copy on their way, [logits_rows,
	 * vocab]; NULL: nowhere.  Its caller may have them there or anywhere. */
	float *logits;
	int32_t logits_rows;
	int32_t top_max;	/* n_top that a row may have; 0: it costs no less
				 * than all logits, so this backend has no use for it */
	/*
	 * logits: [rows with want_logits, vocab] f32, in the order of the rows.
	 * Returns 0, or ERR_SYSTEM after a device fault: then the backend is dead.
	 */
	int (*forward)(struct backend *b, const struct backend_row *rows,
	    int n_rows, float *logits, struct err *e);
	/*
	 * Positions 0..n-1 of page from, in all layers, to page to as well: a
	 * sequence that shares a page writes into a copy.  As forward.
	 */
	int (*copy_page)(struct backend *b, int32_t from, int32_t to, int n,
	    struct err *e);
	/*
	 * A page of all layers as page_bytes bytes, and back: the same logits
	 * follow.  read_page: positions from n on are zeros.  Any thread, also
	 * while forward runs, but nobody writes to the page meanwhile, nor reads
	 * one that is written.  Bytes fit a backend with the same kv_format, and
	 * the same model.  NULL: this backend cannot.  As forward.
	 */
	int (*read_page)(struct backend *b, int32_t page, int n, void *out,
	    struct err *e);
	int (*write_page)(struct backend *b, int32_t page, const void *in,
	    struct err *e);
	size_t page_bytes;
	char kv_format[64];	/* all that the bytes depend on but the model */
	/*
	 * How fast the memory of its device is read, *rate in bytes a second: the best of
	 * several passes over n bytes, or over less if less is free.  NULL: its memory is
	 * that of this machine.  As forward.
	 */
	int (*memory_rate)(struct backend *b, size_t n, double *rate, struct err *e);
	/* Fill ops, return how many.  Any thread; NULL: nothing is counted. */
	int (*ops)(const struct backend *b, struct backend_op ops[BACKEND_OPS_MAX]);
	void (*close)(struct backend *b);
	void *state;
};

/*
 * Open o->name for m (borrowed until close), or for "auto" the first of gpu,
 * cpu that this machine runs (b->instead says why not the gpu); memory is taken
 * here and never in forward.
 * ERR_NOT_FOUND if this build or machine lacks it, ERR_UNSUPPORTED if it has not what
 * model or options ask for, ERR_NO_MEMORY with the size, ERR_RANGE for an option out
 * of range.
 */
int backend_open(const struct model *m, const struct backend_options *o,
    struct backend *b, struct err *e);

/* Bytes that a product with a matrix reads of it: its scales, too. */
int64_t backend_ternary_bytes(const struct ternary *w);
int64_t backend_dense_bytes(const struct dense *d);

/* One per backend, called by backend_open alone. */
int backend_gpu_open(const struct model *m, const struct backend_options *o,
    struct backend *b, struct err *e);
int backend_cpu_open(const struct model *m, const struct backend_options *o,
    struct backend *b, struct err *e);
int backend_ref_open(const struct model *m, const struct backend_options *o,
    struct backend *b, struct err *e);

#endif
