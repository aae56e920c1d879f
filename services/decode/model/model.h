#ifndef DECODE_MODEL_H
#define DECODE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "memory.h"

/*
 * One model, whatever file it came from: sizes, switches and tensors.  Nothing
 * is computed here.  Read-only after model_open, so any thread may use it.
 *
 * Limits: what a header may claim.  They bound every allocation and product
 * before a file is believed.
 */
enum {
	MODEL_LAYERS_MAX = 512,
	MODEL_VOCAB_MAX = 1 << 20,
	MODEL_HIDDEN_MAX = 1 << 16,
	MODEL_FFN_MAX = 1 << 18,
	MODEL_CTX_MAX = 1 << 20,
	MODEL_HEAD_DIM_MAX = 256,
	MODEL_EOS_MAX = 8,
	TERNARY_BLOCK = 256,	/* weights in one block of a row */
};

enum model_act { MODEL_RELU2, MODEL_SILU };

struct model_config {
	int32_t vocab;		/* rows of the embedding */
	int32_t hidden;		/* residual width */
	int32_t n_layers;
	int32_t n_heads, n_kv_heads, head_dim;	/* n_heads % n_kv_heads == 0 */
	int32_t ffn;		/* intermediate width */
	int32_t n_ctx;		/* positions it was trained for */
	float rope_theta;
	float norm_eps;
	enum model_act act;	/* of the gate */
	bool rope_interleaved;	/* pairs (2i, 2i+1) and not (i, i + head_dim/2) */
	bool sub_norms;		/* BitNet's attn_sub_norm and ffn_sub_norm */
	bool qk_norm;		/* Qwen3's RMSNorm of each head of q and k */
	bool act_float;		/* trained without 8-bit activations: see ref.c */
	bool tied;		/* the head is the embedding */
	int32_t bos;		/* -1: none */
	int32_t eos[MODEL_EOS_MAX];	/* any of these ends a generation */
	int32_t n_eos;
};

/*
 * A ternary matrix [n_out, n_in], W in {-1, 0, +1}:
 * y[o] = sum over groups g of scales[o, g] * (W x over the columns of g).
 *
 * Layout T2: codes w + 1 in two bits (3 is refused), row after row.  A row is
 * blocks of 256 weights in 64 bytes: bits 2i..2i+1 of byte j of a block hold
 * weight 64 i + j, i = 0..3, j = 0..63.  So one AND and a shift give 64 (or 32,
 * 16, 4) consecutive weights as bytes: made for dot4 and VNNI, see TERNARY in
 * docs/model-format.md.  A row whose n_in is no multiple of 256 is padded with
 * zero weights (code 1), and the activations with zeros.
 *
 * Layout B3: the same in fewer bytes, five weights in each; see base3.h.
 */
enum ternary_form { TERNARY_T2, TERNARY_B3 };

struct ternary {
	enum ternary_form form;		/* of codes */
	const uint8_t *codes;	/* [n_out, stride], 64-byte aligned; borrowed */
	const float *scales;	/* [n_out, ceil(n_in / group)] f32; borrowed */
	int32_t n_out, n_in;
	int32_t stride;		/* bytes of a row: ceil(n_in / 256) * 64, or
				 * base3_stride(n_in) */
	int32_t group;		/* columns that share a factor: n_in (one a row),
				 * or a multiple of 64 (groups, K-segments) */
};

/* Blocks of TERNARY_BLOCK weights in a row. */
static inline int32_t
ternary_blocks(const struct ternary *w)
{
	return (w->n_in + TERNARY_BLOCK - 1) / TERNARY_BLOCK;
}

/* Embedding or head [n_out, n_in]; Q6 and Q4 are a head's alone: packed.h. */
enum dense_type {
	DENSE_BF16 = 1, DENSE_I8 = 2, DENSE_F32 = 3, DENSE_F16 = 6,
	DENSE_Q6 = 7, DENSE_Q4 = 8,
};
struct dense {
	enum dense_type type;
	const void *data;	/* row-major, 64-byte aligned; borrowed */
	const float *scales;	/* I8: [n_out, ceil(n_in / group)], value = scale
				 * * int8; Q6, Q4: [n_out]; else NULL */
	int32_t n_out, n_in;
	int32_t group;		/* I8: n_in, or a multiple of 16 (Q8_0 is 32,
				 * Q6_K 16: both are held exactly) */
};

struct model_layer {
	const float *attn_norm;		/* [hidden] */
	struct ternary q, k, v, o;	/* [heads * head_dim, hidden] …; o reversed */
	const float *q_norm, *k_norm;	/* [head_dim] before RoPE, or NULL */
	const float *attn_sub_norm;	/* [n_heads * head_dim] or NULL */
	const float *ffn_norm;		/* [hidden] */
	struct ternary gate, up, down;	/* [ffn, hidden] x 2, [hidden, ffn] */
	const float *ffn_sub_norm;	/* [ffn] or NULL */
};

struct model {
	struct model_config config;
	char architecture[64];		/* "bitnet-b1.58" */
	char name[256];			/* stem of the file */
	char title[256];		/* the name that its converter gave it */
	char note[256];			/* what people should know of how it was
					 * read, or "" */
	struct dense embed, head;	/* the same array when tied */
	const float *norm;		/* [hidden], before the head */
	struct model_layer *layers;	/* [n_layers], owned */
	const void *tokenizer;		/* blob for tokenizer_load; borrowed */
	size_t n_tokenizer;		/* bytes */
	const char *chat_template;	/* Jinja text as the source had it; borrowed */
	size_t n_chat_template;		/* bytes */
	const char *source;		/* where it came from, for people; borrowed */
	size_t n_source;		/* bytes */
	const void *probe;		/* golden logits, see selfcheck.h; borrowed */
	size_t n_probe;			/* bytes; 0: the file has none */
	int64_t n_params;
	char fingerprint[65];		/* hex: identifies the weights */
	int64_t file_time;		/* Unix seconds */
	void *map;			/* a .h1b, read-only: the file, or made in
					 * memory; owned */
	size_t map_size;		/* bytes */
	bool mapped;			/* it is the file itself, see model_guard.h */
	struct memory memory;		/* else what it is in, if it was read */
	bool locked;			/* model_lock succeeded */
};

/* Where the weights of a .h1b are. */
enum model_pages {
	MODEL_NORMAL,	/* in the page cache: the file is mapped, in small pages */
	MODEL_HUGE,	/* read into memory of our own, in huge pages */
	MODEL_AUTO,	/* huge for a model that is not small, if there are such
			 * pages and the memory; else normal */
};

struct model_open_options {
	enum model_pages pages;
	int n_threads;		/* that read the file, if it is read; 0: one */
	uint64_t nodes;		/* NUMA nodes to put it on, see memory_take */
	/* Few pages in memory: what was checked is given back, and read from the
	 * file again.  For tools that look at a model once; MODEL_NORMAL only. */
	bool light;
	/* Told of the bytes made in memory, if any are.  May be NULL. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/*
 * Map or read path if it is a .h1b of version 6, and make one in memory of
 * anything else that import.h reads: one mechanism, so that a model computes the
 * same and has the same fingerprint as if it had been converted before.  Every
 * size, offset, checksum and code is checked before it is used.  ERR_BAD_FILE
 * names file, offset or tensor, what was found and what was expected;
 * ERR_NO_MEMORY if it is to be read and does not fit.
 */
int model_open_with(const char *path, const struct model_open_options *o,
    struct model *m, struct err *e);

/* The same with all options 0, and model_lock if lock: its failure is no error
 * (model->locked says). */
int model_open(const char *path, bool lock, struct model *m, struct err *e);

/* Keep the weights in memory.  ERR_SYSTEM names the limit that is in the way,
 * ERR_NO_MEMORY what is available, if that is less. */
int model_lock(struct model *m, struct err *e);
void model_close(struct model *m);

/*
 * The same for a file that is in memory: bytes [n], 64-byte aligned, borrowed
 * until model_close.  what: its name in sentences.
 */
int model_parse(const void *bytes, size_t n, const char *what, struct model *m,
    struct err *e);

/* Is every size of c within its limits and do they fit each other? */
int model_config_check(const struct model_config *c, struct err *e);

/* Weight (o, i) of w as -1, 0, +1.  For tests and the oracle. */
int ternary_weight(const struct ternary *w, int32_t o, int32_t i);

/* Row o of d as f32 into out [n_in]. */
void dense_row(const struct dense *d, int32_t o, float *out);

#endif
