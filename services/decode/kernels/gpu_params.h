#ifndef DECODE_GPU_PARAMS_H
#define DECODE_GPU_PARAMS_H

#include <stddef.h>
#include <stdint.h>

/*
 * What the host hands to the kernels: the same structs in C and in HIP; each
 * kernel takes one of them, by value.  Every pointer is a device address.  Rows
 * of floats are padded with zeros to a multiple of 4, rows of int8 to whole
 * blocks of 256 (TERNARY_BLOCK of model.h).
 */
enum {
	GPU_THREADS = 256,	/* of a block, but where a kernel says otherwise */
	GPU_WAVES = GPU_THREADS / 32,
	GPU_SLICES = 16,	/* that the sum of squares of a row is made of */
	GPU_FEW = 8,		/* rows that a GEMV takes at once */
	GPU_PAGE = 32,		/* KV_PAGE */
	GPU_TILE = 4 * GPU_PAGE, /* positions of one softmax */
	GPU_HEADS = 4,		/* query heads that share a read of the cache */
	GPU_ATTEND_THREADS = 256,
	GPU_GROUP_ROWS = 16,	/* of a sequence, whose queries a block takes together */
	GPU_GROUP_THREADS = 128,
	GPU_GROUP_DIMS = 128,	/* of the values that it sums at once */
	GPU_HEAD_DIM_MAX = 256,
	GPU_WHOLE_THREADS = 512,
	GPU_WHOLE_SHARED = 2048,	/* bytes that the kernel itself needs */
	GPU_WHOLE_CODES = 5 * 2 * 512 * 16,	/* codes on their way, with CUDA */
	GPU_WHOLE_ATTEND = 16384,	/* and attention in it */
	GPU_WHOLE_WAVES = GPU_WHOLE_THREADS / 32,
	GPU_WHOLE_FOURS = 4,	/* fours of columns that a thread may have of a row */
	GPU_GEMM_OUT = 128,	/* tile of a block of GEMM: outputs, rows */
	GPU_GEMM_ROWS = 64,
	GPU_GEMM_THREADS = 128,
	GPU_WGMMA_OUT = 128,	/* the same of the GEMM of sm_90 */
	GPU_WGMMA_ROWS = 128,
	GPU_WGMMA_ROWS_MORE = 160,	/* where that makes fewer rounds of blocks */
	GPU_WGMMA_THREADS = 256,
	GPU_WGMMA_SMEM = 101 << 10,	/* a half of what a processor has */
	GPU_GATE_ROWS = 16,	/* of gate, then of up, in a gate matrix */
	GPU_TOP = 64,		/* logits of a row by rank; slices of it, at most */
	GPU_SORT = 1024,	/* keys that a block of top-k puts into order */
	GPU_SMEM = 57344,	/* bytes of activations that a block may have:
				 * with its own it has to stay under: */
	GPU_SMEM_MAX = 65536,
	GPU_CUDA_SMEM = 176 << 10,	/* with CUDA; some have 40 KiB of their own */
};

/* Each kernel writes its id to host memory as it starts, so that after a fault
 * the host can say which one it was.  First member of what every kernel takes. */
struct gpu_mark {
	uint32_t *at;
	uint32_t id;
};

/* One row of a batch. */
struct gpu_row {
	int32_t token;
	int32_t pos;
	int32_t table;		/* its page table begins here in tables */
	int32_t pad;
};

/* Rows of a batch that follow each other in one sequence. */
struct gpu_group {
	int32_t first, n;	/* n: 1..GPU_GROUP_ROWS */
};

/* What changes from step to step; it stays at one address, so that a graph can
 * hold it. */
struct gpu_batch {
	const struct gpu_row *rows;
	const int32_t *tables;	/* page tables, one after another */
	const struct gpu_group *groups;	/* all rows, in order */
	const int32_t *wanted;	/* rows whose logits are wanted */
};

/*
 * A ternary matrix in layout T2 (model.h).  A row is units of 16 bytes: unit u
 * holds the columns (u / 4) * 256 + 64 i + (u % 4) * 16 + 0..15, i = 0..3, in bits
 * 2i..2i+1 of its bytes.  rows is a multiple of 32; rows beyond those of the model
 * have factors of 0.  A gate matrix has GPU_GATE_ROWS of gate and as many of up in
 * turns, and n_out counts pairs.
 */
struct gpu_matrix {
	const uint8_t *codes;	/* [rows, units * 16] */
	const float *scales;	/* [rows, n_groups] */
	int32_t n_out;		/* rows of y */
	int32_t units;
	int32_t group;		/* columns that share a factor: a multiple of 64 */
	int32_t n_groups;
	int32_t lanes;		/* that share a row in a GEMV: a power of two */
};

/*
 * y = or += w times rows.  The rows are x, normalised (if norm) and quantised by
 * every block for itself, or what gpu_quantise has made of them.
 */
struct gpu_product {
	struct gpu_mark mark;
	struct gpu_matrix w;
	const float *x;		/* [n_rows, x_stride]; NULL: take q */
	const float *norm;	/* [n_in] weight of an RMSNorm before, or NULL */
	int8_t *q;		/* [n_rows, 64 * units]: value = q * q_scale */
	int32_t q_rows;		/* 0; else q is as GPU_WGMMA_ROWS rows are multiplied:
				 * [units / 2, q_rows, 128], wgmma_place says where */
	float *q_scale;		/* [n_rows] */
	int32_t *q_sum;		/* [n_rows] */
	float *y;		/* [n_rows, y_stride] */
	int32_t x_stride, y_stride;
	int32_t n_in;
	int32_t n_rows;
	int32_t silu;		/* of a gate; else relu squared */
	float eps;
};

struct gpu_attention {
	struct gpu_mark mark;
	struct gpu_batch batch;
	float *qkv;		/* [n_rows, qkv_stride]: q, k, v of each row */
	const float *q_norm, *k_norm;	/* [head_dim] or NULL */
	const float *rotary;	/* [n_ctx, head_dim / 2, 2]: cosine, sine */
	/*
	 * Of the layer: [page, kv head, block, 32, 32] f16.  The first dim_stride /
	 * 32 blocks are keys, [GPU_PAGE positions, 32 dimensions], the others
	 * values, [32 dimensions, GPU_PAGE positions].  Dimensions that are padding
	 * stay 0.  Everything in it is finite: a position that nobody has stored has
	 * a weight of 0, which makes nothing only of what is finite.
	 */
	uint16_t *cache;
	float *part;		/* [row, chunk, tile, GPU_HEADS, dim_stride + 2]:
				 * sums, maximum, weight */
	uint32_t *done;		/* [row, chunk]: 0 before and after */
	float *out;		/* [n_rows, out_stride] */
	int32_t qkv_stride, out_stride;
	int32_t n_heads, n_kv_heads, head_dim;
	int32_t dim_stride;	/* head_dim as whole blocks: a multiple of 32 */
	int32_t group;		/* query heads of a kv head */
	int32_t chunks;		/* of GPU_HEADS heads of each kv head */
	int32_t chunk_part;	/* 65536 / chunks + 1: x * that >> 16 is x / chunks */
	int32_t n_tiles;	/* room for each row in part */
	int32_t n_rows;
	int32_t interleaved;	/* pairs (2i, 2i + 1) */
	int32_t stored;		/* gpu_store has rotated q and stored k and v */
	float eps;
	float factor;		/* of a product with a key: log2(e) / sqrt(dim) */
};

/* enum dense_type of model.h, of what is left of it here. */
enum { GPU_BF16 = 1, GPU_I8 = 2, GPU_F32 = 3, GPU_F16 = 6, GPU_Q6 = 7, GPU_Q4 = 8 };

/*
 * Embedding or head: rows of units * 16 bytes, zeros at the end.  Packed ones (packed.h):
 * of Q4 unit u has the columns (u / 4) * 128 + (u % 4) * 16 + 0..15 in the lower halves
 * of its bytes and those 64 further in the upper; of Q6 three units belong together.
 */
struct gpu_dense {
	const uint8_t *data;
	const float *scales;	/* [n_out, n_groups]; NULL: not int8 */
	int32_t type;
	int32_t n_out, n_in;
	int32_t units;
	int32_t group, n_groups;
	int32_t lanes;		/* of a packed head: that share a row */
};

struct gpu_embed {
	struct gpu_mark mark;
	struct gpu_dense w;
	struct gpu_batch batch;
	float *x;		/* [n_rows, x_stride] */
	int32_t x_stride;
};

/* The rows before the head: normalised, as floats and as 16-bit integers. */
struct gpu_final {
	struct gpu_mark mark;
	struct gpu_batch batch;
	const float *x;		/* [rows of the batch, x_stride] */
	const float *norm;	/* [n_in] */
	float *f;		/* [n_rows, f_stride] */
	int8_t *q;		/* [n_rows, 2, q_stride]: value = scale * (256 *
				 * first + second) */
	float *scale;		/* [n_rows] */
	int32_t *sum;		/* [n_rows, 2]: of the planes */
	int32_t n_in, x_stride, f_stride, q_stride;
	float eps;
};

struct gpu_head {
	struct gpu_mark mark;
	struct gpu_dense w;
	const float *f;		/* as gpu_final leaves them */
	const int8_t *q;
	const float *scale;
	const int32_t *sum;
	float *logits;		/* [n_rows, n_out] */
	int32_t f_stride, q_stride;
	int32_t n_rows;		/* at most GPU_FEW */
};

/*
 * The k largest logits of each row.  A key is the logit as an integer of the same order,
 * above ~id, so larger logits come first and lower ids among equals; a NaN comes last.
 */
struct gpu_top {
	struct gpu_mark mark;
	const float *logits;	/* [n_rows, n] */
	uint64_t *keys;		/* [n_rows, GPU_TOP, GPU_TOP] scratch */
	uint32_t *done;		/* [n_rows] 0 before and after */
	uint64_t *out;		/* [n_rows, GPU_TOP] sorted; 0: n is less than k */
	int32_t n;
	int32_t slice;		/* logits of a block: n / GPU_TOP at least */
	int32_t k;		/* 1..GPU_TOP */
};

/* The ternary products of a layer, in the order in which a row goes through them. */
enum { WHOLE_QKV, WHOLE_O, WHOLE_GATE, WHOLE_DOWN, N_WHOLE };

/* Of one layer, for the kernel that does all of them. */
struct gpu_whole_layer {
	const uint8_t *codes[N_WHOLE];
	const float *scales[N_WHOLE];
	const float *norms[N_WHOLE];	/* of what goes in, or NULL */
	const float *q_norm, *k_norm;
	uint16_t *cache;
	const void *pad;		/* to a multiple of 16 bytes */
};

/* Of one product, the same in all layers.  Packets: value, and a flag above it that says
 * of which pass and layer it is (whole.hip). */
struct gpu_whole_product {
	int32_t n_in, n_out;	/* multiples of 4; n_out of a gate counts pairs */
	int32_t units;
	int32_t n_tiles;	/* of 16 rows of the matrix, rounded up */
	uint32_t block_part;	/* 2^20 by blocks of 256 columns, rounded up */
	const uint64_t *in;	/* [n_rows, n_in] packets of floats */
	uint64_t *in_q;		/* [n_rows, 16 * units + 2]: int8, factor */
	uint64_t *out;		/* [n_rows, n_out] */
};

/* A whole pass of few rows, each of another sequence, in one launch: as many blocks of
 * GPU_WHOLE_THREADS as run at once. */
struct gpu_whole {
	struct gpu_mark mark;
	struct gpu_attention attention;	/* but for what a layer says */
	struct gpu_whole_product products[N_WHOLE];
	const struct gpu_whole_layer *layers;
	const uint32_t *pass;	/* a number that no pass before had; not 0 */
	struct gpu_dense embed;
	uint64_t *parts;	/* [row, chunk, tile, GPU_HEADS, dim_stride + 2] */
	uint64_t *att;		/* [n_rows, n_heads * head_dim]: in of WHOLE_O */
	float *x;		/* [n_rows, x_stride]: after the last layer */
	int32_t x_stride;
	int32_t n_layers, n_rows;
	int32_t each;		/* up to so many rows every block quantises for
				 * itself; of more, one block for all */
	int32_t codes_at, acc_at, rest_at, room_at;	/* in shared memory, bytes, behind
				 * GPU_WHOLE_SHARED and the layers */
	int32_t silu;
	float eps;
};

/* All of page from to page to, a block per layer. */
struct gpu_copy {
	struct gpu_mark mark;
	uint16_t *cache;	/* of the first layer */
	uint64_t layer_stride;	/* elements */
	int32_t n_kv_heads, dim_stride;
	int32_t from, to;
};

#endif
