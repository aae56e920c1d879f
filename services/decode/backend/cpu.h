#ifndef DECODE_CPU_H
#define DECODE_CPU_H

#include <stdatomic.h>
#include <stdint.h>

#include "backend/backend.h"
#include "backend/cpu_kernels.h"
#include "backend/cpu_ops.h"
#include "backend/cpu_team.h"

/*
 * The CPU backend in three files: cpu.c takes and frees its memory,
 * cpu_forward.c is the forward pass, whose steps are shared by the team, and
 * cpu_attention.c what one of its steps does.  Row strides are in elements and whole vectors.
 */
enum {
	CPU_OWN_ROWS = 2,	/* a batch this small is quantised by everybody */
	CPU_SPLIT_ROWS = 8,	/* and one this small attends in spans */
};

/* A run of rows of one sequence, which attend together. */
struct cpu_block {
	int32_t first, n;	/* of the rows that are left */
	int32_t span;		/* tiles in one; the same for all of its rows */
	int32_t pieces;		/* 1: all spans together */
};

/* Softmaxes over one span each. */
struct cpu_parts {
	struct cpu_query *q;	/* [queries, CPU_SPANS_MAX] */
	float *acc;		/* [queries, CPU_SPANS_MAX, v_stride]: theirs */
};

/* What one member of the team has for itself. */
struct cpu_own {
	struct cpu_rows x;	/* CPU_OWN_ROWS rows */
	struct cpu_hidden hidden;	/* the same */
	int64_t made;		/* when x or hidden was made: cpu->now */
	float *tmp;		/* a row before it is quantised */
	float *q;		/* the heads of q of one KV head */
	struct cpu_parts parts;	/* of a block and a KV head */
};

struct cpu {
	const struct model *m;	/* borrowed */
	struct cpu_kernels k;
	struct cpu_team *team;	/* owned */
	struct backend_options o;

	int32_t n_q, n_kv;	/* width of q; of k and of v */
	int32_t hidden_stride, q_stride, kv_stride, ffn_stride, v_stride;
	float *inv_freq;	/* [head_dim / 2] */

	char *kv;		/* [page, layer, KV head, keys and values] */
	size_t kv_bytes, head_size, layer_size, page_size;	/* bytes */
	bool kv_i8;

	struct memory kv_memory;

	struct memory scratch_memory;	/* one piece, in which all of these are */
	size_t scratch_bytes;
	float *h, *q, *key, *value, *att, *gate, *up;	/* [max_rows, …_stride] */
	float *cos, *sin;	/* [max_rows, head_dim / 2] */
	struct cpu_rows x;	/* quantised input of a product */
	struct cpu_hidden hidden;
	struct cpu_own *own;	/* [threads] */
	int32_t *wanted;	/* [max_rows]: rows with want_logits */
	int32_t *active;	/* [max_rows]: row of the batch of each row left */
	struct cpu_block *blocks;	/* [max_rows] */
	/* Of a batch that attends in spans, and how many of a block and KV head
	 * are not done: [CPU_SPLIT_ROWS, n_heads], [CPU_SPLIT_ROWS, n_kv_heads] */
	struct cpu_parts parts;
	atomic_int *left;

	/* The batch at hand, and the step: written by plan alone. */
	const struct backend_row *rows;
	int n_rows, n_wanted, n_active, n_blocks;
	int n_spans;		/* pieces that attend: of blocks and KV heads */
	bool lone;		/* no row attends to another one's key */
	int64_t now;		/* number of the step, since the start */
	int n_pieces;		/* of the step */
	float *logits;
	struct cpu_ops ops;
};

/* struct backend's forward; b->state is a struct cpu. */
int cpu_forward(struct backend *b, const struct backend_row *rows, int n_rows,
    float *logits, struct err *e);

/* Those of struct backend; the last two in cpu_pages.c. */
int cpu_copy_page(struct backend *b, int32_t from, int32_t to, int n,
    struct err *e);
int cpu_read_page(struct backend *b, int32_t page, int n, void *out,
    struct err *e);
int cpu_write_page(struct backend *b, int32_t page, const void *in,
    struct err *e);

/* The state of active row i after the final norm into out [hidden]. */
void cpu_tell_hidden(const struct cpu *c, int i, float *out);

/* Put the rows that are left (all, or the wanted ones) into blocks. */
void cpu_attention_blocks(struct cpu *c);

/* Row r: q and keys normalised and turned; keys and values into the cache. */
void cpu_attention_store(struct cpu *c, int layer, int r);

/* A piece of the step that attends: every n_pieces-th of the n_spans. */
void cpu_attention_piece(struct cpu *c, int number, int layer, int piece);

/* Row r of a buffer. */
static inline float *
cpu_row(float *base, int r, int32_t stride)
{
	return base + (size_t)r * (size_t)stride;
}

#endif
