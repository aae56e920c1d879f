#ifndef DECODE_BACKEND_GPU_H
#define DECODE_BACKEND_GPU_H

#include <stdatomic.h>

#include "backend/backend.h"
#include "backend/gpu_driver.h"
#include "kernels/gpu_params.h"

/*
 * What the files of the GPU backend share: gpu.c (open, forward, close), gpu_upload.c
 * (the model on the device), gpu_memory.c (buffers), gpu_step.c (the launches of a
 * forward pass), gpu_wanted.c (largest logits, hidden states), gpu_graph.c (a pass
 * recorded and replayed), gpu_pages.c (pages for a snapshot).
 */

/* Kinds of work that are timed: name. */
#define GPU_OPS(O)             \
	O(EMBED, "embed")      \
	O(QUANTISE, "quantise") \
	O(QKV, "qkv")          \
	O(STORE, "store")      \
	O(ATTEND, "attention") \
	O(OUTPUT, "o and down") \
	O(GATE, "gate and up") \
	O(LAYERS, "layers")    \
	O(FINAL, "norm")       \
	O(HEAD, "head")        \
	O(TOP, "top")          \
	O(COPY, "copy")

enum gpu_op {
#define O(member, name) GPU_OP_##member,
	GPU_OPS(O)
#undef O
	N_GPU_OPS
};

/* Every kernel: member, name in the code object, what gpu.c counts it as. */
#define GPU_KERNELS(K)                                       \
	K(embed, "gpu_embed_rows", GPU_OP_EMBED)             \
	K(quantise, "gpu_quantise", GPU_OP_QUANTISE)         \
	K(set_1, "gpu_gemv_set_1", GPU_OP_QKV)               \
	K(set_2, "gpu_gemv_set_2", GPU_OP_QKV)               \
	K(set_4, "gpu_gemv_set_4", GPU_OP_QKV)               \
	K(set_8, "gpu_gemv_set_8", GPU_OP_QKV)               \
	K(add_1, "gpu_gemv_add_1", GPU_OP_OUTPUT)            \
	K(add_2, "gpu_gemv_add_2", GPU_OP_OUTPUT)            \
	K(add_4, "gpu_gemv_add_4", GPU_OP_OUTPUT)            \
	K(add_8, "gpu_gemv_add_8", GPU_OP_OUTPUT)            \
	K(gate_1, "gpu_gemv_gate_1", GPU_OP_GATE)            \
	K(gate_2, "gpu_gemv_gate_2", GPU_OP_GATE)            \
	K(gate_4, "gpu_gemv_gate_4", GPU_OP_GATE)            \
	K(gate_8, "gpu_gemv_gate_8", GPU_OP_GATE)            \
	K(gemm_set, "gpu_gemm_set", GPU_OP_QKV)              \
	K(gemm_add, "gpu_gemm_add", GPU_OP_OUTPUT)           \
	K(gemm_gate, "gpu_gemm_gate", GPU_OP_GATE)           \
	K(wgmma_set, "gpu_wgmma_set", GPU_OP_QKV)            \
	K(wgmma_add, "gpu_wgmma_add", GPU_OP_OUTPUT)         \
	K(wgmma_gate, "gpu_wgmma_gate", GPU_OP_GATE)         \
	K(wgmma160_add, "gpu_wgmma160_add", GPU_OP_OUTPUT)   \
	K(store, "gpu_store", GPU_OP_STORE)                  \
	K(attend, "gpu_attend", GPU_OP_ATTEND)               \
	K(attend_rows, "gpu_attend_rows", GPU_OP_ATTEND)     \
	K(whole, "gpu_whole_step", GPU_OP_LAYERS)            \
	K(final, "gpu_final_rows", GPU_OP_FINAL)             \
	K(hidden, "gpu_hidden_rows", GPU_OP_FINAL)           \
	K(head_1, "gpu_head_i8_1", GPU_OP_HEAD)              \
	K(head_2, "gpu_head_i8_2", GPU_OP_HEAD)              \
	K(head_4, "gpu_head_i8_4", GPU_OP_HEAD)              \
	K(head_8, "gpu_head_i8_8", GPU_OP_HEAD)              \
	K(head_q4_1, "gpu_head_q4_1", GPU_OP_HEAD)           \
	K(head_q4_2, "gpu_head_q4_2", GPU_OP_HEAD)           \
	K(head_q4_4, "gpu_head_q4_4", GPU_OP_HEAD)           \
	K(head_q4_8, "gpu_head_q4_8", GPU_OP_HEAD)           \
	K(head_q6_1, "gpu_head_q6_1", GPU_OP_HEAD)           \
	K(head_q6_2, "gpu_head_q6_2", GPU_OP_HEAD)           \
	K(head_q6_4, "gpu_head_q6_4", GPU_OP_HEAD)           \
	K(head_q6_8, "gpu_head_q6_8", GPU_OP_HEAD)           \
	K(head_float, "gpu_head_float", GPU_OP_HEAD)         \
	K(top, "gpu_top_keys", GPU_OP_TOP)                   \
	K(copy, "gpu_copy_page", GPU_OP_COPY)

enum gpu_kernel {
#define K(member, name, op) GPU_KERNEL_##member,
	GPU_KERNELS(K)
#undef K
	N_GPU_KERNELS
};

/* Logits are on the device for so many rows at once, and for more in memory of the host
 * that it writes. */
enum { GPU_LOGITS_ROWS = 32, GPU_HOST_ROWS = 64, GPU_GRAPHS = 64 };

struct gpu_layer {
	struct gpu_matrix qkv, o, gate, down;
	const float *attn_norm, *attn_sub_norm, *ffn_norm, *ffn_sub_norm;
	const float *q_norm, *k_norm;
	uint16_t *cache;
};

/* The pass of few rows in one launch. */
struct gpu_whole_host {
	struct gpu_whole params;	/* what does not change from pass to pass */
	void *base;			/* its packets and table of layers */
	int n_blocks;
	int32_t max_rows;		/* 0: none; not wanted, or not possible */
	uint32_t n_passes;		/* since its packets were zeros */
};

/* How a head is multiplied. */
enum gpu_head_kind { GPU_HEAD_I8, GPU_HEAD_Q4, GPU_HEAD_Q6, GPU_HEAD_FLOAT };

/* What a recorded pass holds for: passes of the same shape launch the same. */
struct gpu_shape {
	int32_t n_rows;
	int32_t n_groups;	/* struct gpu_group */
	int32_t n_tiles;	/* at least those of every row: a power of two */
	int32_t n_wanted;	/* rows that the head has: */
	int32_t n_full;		/* first those with all of their logits, */
	int32_t top;		/* then those with so many of the largest: 1, GPU_TOP */
	int32_t n_hidden;	/* rows behind those, whose states are told: a launch
				 * of its own, which is not recorded */
	bool stored;		/* rows of one sequence stand together */
};

struct gpu_graph {
	struct gpu_shape shape;
	void *exec;		/* NULL: none */
	uint64_t used;		/* when it was, in passes */
};

/*
 * Times by kind.  A step in GPU_TIMED_EVERY is launched kernel by kernel with an event
 * before each; what lies between two belongs to the first.  On a device that is faster
 * than launches are, that is what a launch costs.
 */
enum { GPU_TIMED_EVERY = 64, GPU_EVENTS_MAX = 4096 };

struct gpu_times {
	bool on;		/* this pass is timed */
	void **events;		/* [GPU_EVENTS_MAX], made when needed; owned */
	enum gpu_op *ops;	/* [GPU_EVENTS_MAX] what begins there; owned */
	int n, n_made;
	atomic_int_fast64_t calls[N_GPU_OPS], ns[N_GPU_OPS], bytes[N_GPU_OPS];
};

struct gpu {
	struct gpu_driver d;
	const struct model *m;		/* borrowed */
	struct backend_options o;
	char device_name[64];
	int processors;			/* multiprocessors of the device */
	void *stream, *module;
	void *functions[N_GPU_KERNELS];

	/* The model on the device, one piece of memory. */
	void *weights;
	struct gpu_layer *layers;	/* [n_layers], owned */
	struct gpu_dense embed, head;
	const float *norm, *rotary;

	/* Buffers on the device, one piece. */
	void *scratch, *cache;
	size_t weights_bytes, scratch_bytes, cache_bytes;
	float *x, *qkv, *att, *act;	/* [max_rows, their stride] */
	int32_t x_stride, qkv_stride, att_stride, act_stride;
	int8_t *q;			/* [max_rows, widest] */
	float *q_scale;
	int32_t *q_sum;
	float *part;
	uint32_t *done;
	float *final_f, *final_scale, *logits;
	int8_t *final_q;
	int32_t *final_sum;
	uint64_t *top_keys;
	uint32_t *top_done;
	int32_t f_stride, final_q_stride;
	int32_t dim_stride;
	int32_t group, chunks;		/* query heads of a kv head, as GPU_HEADS */
	int32_t part_rows;		/* rows that gpu_attend may have */
	int32_t max_tiles;
	uint64_t page_size;		/* elements of a page of one layer */

	struct gpu_whole_host whole;

	/* What changes from pass to pass, in host memory that the device reads, and
	 * its copy on the device: number of the pass, rows, groups, wanted, tables, in
	 * this order. */
	char *staging;
	size_t pass_at, rows_at, groups_at, wanted_at, tables_at, staging_bytes;
	char *batch;
	float *host_logits;		/* pinned, [GPU_HOST_ROWS, vocab] */
	float *host_hidden;		/* pinned, [max_rows, f_stride] */
	uint64_t *host_top;		/* pinned, [max_rows, GPU_TOP] */
	volatile uint32_t *mark;	/* pinned: the kernel that began last */
	uint64_t n_passes;
	struct gpu_graph graphs[GPU_GRAPHS];
	atomic_bool dead;
	struct gpu_times times;
};

/* gpu.c: what the functions of struct backend begin with: the device, for the calling thread.
 * ERR_SYSTEM if that fails, or anything has failed before. */
int gpu_begin(struct gpu *g, struct err *e);

/* gpu_memory.c: buffers for o; the sizes are known afterwards.  ERR_NO_MEMORY with what
 * is needed and what there is. */
int gpu_memory_take(struct gpu *g, struct err *e);
void gpu_memory_free(struct gpu *g);

/* gpu_upload.c */
int gpu_upload(struct gpu *g, struct err *e);
/* Lanes that share a row of units in a GEMV: as many as leave the fewest without work in
 * the last round, and no more than it takes to ask for a row at once. */
int32_t gpu_lanes(int32_t units);

/* gpu_step.c: launch everything of a pass of this shape, up to the logits of the
 * first GPU_LOGITS_ROWS wanted rows. */
int gpu_step(struct gpu *g, const struct gpu_shape *s, struct err *e);
/* The head for wanted rows first to first + n - 1. */
int gpu_step_head(struct gpu *g, const struct gpu_shape *s, int32_t first, int32_t n,
    struct err *e);
int gpu_launch(struct gpu *g, enum gpu_kernel k, const unsigned grid[3],
    unsigned threads, size_t shared, void *params, struct err *e);

/* gpu_wanted.c: the order of the rows before the head, into staging and s; launch what
 * finds the largest logits of wanted rows first to first + n - 1, as far as they want those;
 * launch what tells states; give both out, when the pass has ended. */
void gpu_wanted(struct gpu *g, const struct backend_row *rows, int n, struct gpu_shape *s);
int gpu_wanted_top(struct gpu *g, const struct gpu_shape *s, int32_t first, int32_t n,
    struct err *e);
int gpu_wanted_hidden(struct gpu *g, const struct gpu_shape *s, struct err *e);
void gpu_wanted_give(const struct gpu *g, const struct backend_row *rows, int n);

/* gpu_pages.c: as backend.h says. */
int gpu_read_page(struct backend *b, int32_t page, int n, void *out, struct err *e);
int gpu_write_page(struct backend *b, int32_t page, const void *in, struct err *e);

/* gpu_whole.c: bytes of device memory that it wants at whole.base; make it ready, when that
 * is there; a number for the next pass that no packet has (0: nobody needs one); whether a
 * pass of this shape goes in one launch; what to launch it with: returns the bytes of shared
 * memory. */
size_t gpu_whole_bytes(struct gpu *g);
int gpu_whole_open(struct gpu *g, struct err *e);
int gpu_whole_number(struct gpu *g, uint32_t *pass, struct err *e);
bool gpu_whole_fits(const struct gpu *g, const struct gpu_shape *s);
size_t gpu_whole_params(struct gpu *g, const struct gpu_shape *s,
    const struct gpu_attention *a, struct gpu_whole *p);

/* gpu_graph.c: the same, recorded the first time and replayed from then on. */
int gpu_graph_step(struct gpu *g, const struct gpu_shape *s, struct err *e);
void gpu_graph_free(struct gpu *g);

/* gpu_times.c: a pass begins, a kernel is about to be launched, all of it is launched. */
void gpu_times_begin(struct gpu *g);
int gpu_times_before(struct gpu *g, enum gpu_op op, struct err *e);
int gpu_times_end(struct gpu *g, const struct backend_row *rows, int n, struct err *e);
void gpu_times_free(struct gpu *g);
int gpu_ops(const struct backend *b, struct backend_op ops[BACKEND_OPS_MAX]);

/* gpu_rate.c: memory_rate of struct backend; what a token reads at depth 0. */
int gpu_memory_rate(struct backend *b, size_t n, double *rate, struct err *e);
int64_t gpu_token_bytes(const struct gpu *g);

/* 0, or ERR_SYSTEM: what failed, the runtime's error and the last kernel. */
int gpu_check(struct gpu *g, int code, const char *what, struct err *e);

#endif
