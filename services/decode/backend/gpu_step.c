/*
 * A forward pass as launches.  A layer takes five: q, k and v; attention; o; gate and up;
 * down.  Norm and quantisation are done by the blocks of a product for themselves, rotation
 * and the cache by attention; only if rows of one sequence stand together does storing need a
 * launch before.  For many rows products are GEMMs, and their rows are quantised by a launch
 * of its own.  Or, for few rows, all layers are one launch (gpu_whole.c).
 */
#include <math.h>

#include "backend/gpu.h"

struct step {
	struct gpu *g;
	const struct gpu_shape *s;
	struct gpu_batch batch;
	struct err *e;
	int r;
};

static void
launch(struct step *t, enum gpu_kernel k, unsigned x, unsigned y, unsigned z,
    unsigned threads, size_t shared, void *params)
{
	const unsigned grid[3] = { x, y, z };

	if (t->r == 0)
		t->r = gpu_launch(t->g, k, grid, threads, shared, params, t->e);
}

enum mode { SET, ADD, GATE };

static const enum gpu_kernel few_kernels[3][4] = {
	[SET] = { GPU_KERNEL_set_1, GPU_KERNEL_set_2, GPU_KERNEL_set_4,
	    GPU_KERNEL_set_8 },
	[ADD] = { GPU_KERNEL_add_1, GPU_KERNEL_add_2, GPU_KERNEL_add_4,
	    GPU_KERNEL_add_8 },
	[GATE] = { GPU_KERNEL_gate_1, GPU_KERNEL_gate_2, GPU_KERNEL_gate_4,
	    GPU_KERNEL_gate_8 },
};

static const enum gpu_kernel many_kernels[3] = {
	[SET] = GPU_KERNEL_gemm_set, [ADD] = GPU_KERNEL_gemm_add,
	[GATE] = GPU_KERNEL_gemm_gate,
};

static const enum gpu_kernel wgmma_kernels[3] = {
	[SET] = GPU_KERNEL_wgmma_set, [ADD] = GPU_KERNEL_wgmma_add,
	[GATE] = GPU_KERNEL_wgmma_gate,
};

/* Rows that a GEMV of this width may have: what fits in shared memory. */
static int32_t
most_rows(const struct gpu_matrix *w)
{
	int32_t n = GPU_SMEM / (64 * w->units);

	return n >= 8 ? 8 : n >= 4 ? 4 : n;
}

/*
 * As many blocks as run at once, with about as many turns each: a block quantises its rows
 * for itself, so a second one after it would only do that again.
 */
static unsigned
blocks_at_once(struct step *t, enum gpu_kernel k, size_t shared, unsigned most)
{
	int n = 1, code = t->r != 0 ? 0 : t->g->d.occupancy(&n, t->g->functions[k],
	    GPU_THREADS, shared);
	unsigned once, turns;

	if (code != 0)
		t->r = gpu_check(t->g, code, "asking for blocks at once", t->e);
	once = (unsigned)((n > 0 ? n : 1) * t->g->processors);
	turns = (most + once - 1) / once;
	return (most + turns - 1) / turns;
}

static void
few_rows(struct step *t, enum mode mode, struct gpu_product p)
{
	int32_t most = most_rows(&p.w), all = p.n_rows;
	unsigned outs = (unsigned)(GPU_THREADS / p.w.lanes);
	unsigned blocks = ((unsigned)p.w.n_out + outs - 1) / outs;

	for (int32_t at = 0; at < all; at += most) {
		enum gpu_kernel k;
		size_t shared;
		int size = 0;

		p.n_rows = all - at < most ? all - at : most;
		while (1 << size < p.n_rows)
			size++;
		k = few_kernels[mode][size];
		shared = (size_t)p.w.units * 64 << size;
		launch(t, k, blocks_at_once(t, k, shared, blocks), 1, 1, GPU_THREADS, shared,
		    &p);
		p.x += (size_t)most * (size_t)p.x_stride;
		p.y += (size_t)most * (size_t)p.y_stride;
	}
}

/* Time of a product in tiles of so many rows: a multiprocessor has two blocks at once. */
static unsigned
wgmma_time(const struct step *t, unsigned rows, unsigned outs, unsigned tile)
{
	unsigned at_once = 2 * (unsigned)t->g->processors;
	unsigned blocks = (rows + tile - 1) / tile * outs;

	return (blocks + at_once - 1) / at_once * tile;
}

static void
wgmma_rows(struct step *t, enum mode mode, struct gpu_product *p)
{
	unsigned outs = ((unsigned)p->w.n_out * (mode == GATE ? 2 : 1) + GPU_WGMMA_OUT - 1) /
	    GPU_WGMMA_OUT;
	unsigned rows = (unsigned)p->n_rows, tile = GPU_WGMMA_ROWS;
	enum gpu_kernel k = wgmma_kernels[mode];

	if (mode == ADD && wgmma_time(t, rows, outs, GPU_WGMMA_ROWS_MORE) <
	    wgmma_time(t, rows, outs, tile)) {
		tile = GPU_WGMMA_ROWS_MORE;
		k = GPU_KERNEL_wgmma160_add;
	}
	launch(t, k, (rows + tile - 1) / tile, outs, 1, GPU_WGMMA_THREADS, GPU_WGMMA_SMEM, p);
}

/* Blocks that take the same weights follow one another. */
static void
many_rows(struct step *t, enum mode mode, struct gpu_product p)
{
	bool wgmma = t->g->functions[GPU_KERNEL_wgmma_set] != NULL;
	unsigned outs = (unsigned)p.w.n_out * (mode == GATE ? 2 : 1);
	unsigned rows = (unsigned)p.n_rows;

	p.q_rows = wgmma ? (p.n_rows + 7) / 8 * 8 : 0;
	launch(t, GPU_KERNEL_quantise, rows, 1, 1, GPU_THREADS, 0, &p);
	if (wgmma)
		wgmma_rows(t, mode, &p);
	else
		launch(t, many_kernels[mode], (rows + GPU_GEMM_ROWS - 1) / GPU_GEMM_ROWS,
		    (outs + GPU_GEMM_OUT - 1) / GPU_GEMM_OUT, 1, GPU_GEMM_THREADS, 0, &p);
}

/* y = or += w times (the norm of) x. */
static void
product(struct step *t, enum mode mode, const struct gpu_matrix *w, const float *x,
    int32_t x_stride, int32_t n_in, const float *norm, float *y, int32_t y_stride)
{
	struct gpu *g = t->g;
	const struct model_config *f = &g->m->config;
	struct gpu_product p = { .w = *w, .x = x, .norm = norm, .q = g->q,
		.q_scale = g->q_scale, .q_sum = g->q_sum, .y = y, .x_stride = x_stride,
		.y_stride = y_stride, .n_in = n_in, .n_rows = t->s->n_rows,
		.silu = f->act == MODEL_SILU, .eps = f->norm_eps };

	if (w->n_groups > 1 || (p.n_rows <= GPU_FEW && most_rows(w) > 0))
		few_rows(t, mode, p);
	else
		many_rows(t, mode, p);
}

/* Two pieces of keys or values, and the queries. */
static size_t
group_shared(int32_t dim_stride)
{
	size_t queries = GPU_GROUP_ROWS * GPU_HEADS * (size_t)(dim_stride | 32);

	return sizeof(uint16_t) * (2 * GPU_TILE * 32 + queries);
}

/* A block per row and tile.  Rows of one sequence share what they read in the other kernel. */
static bool
few_attend(const struct step *t)
{
	return t->s->n_rows <= (t->s->stored ? GPU_FEW : t->g->part_rows);
}

static struct gpu_attention
attention_of(const struct step *t, const struct gpu_layer *l)
{
	struct gpu *g = t->g;
	const struct model_config *f = &g->m->config;

	return (struct gpu_attention){
		.batch = t->batch, .qkv = g->qkv, .q_norm = l->q_norm,
		.k_norm = l->k_norm, .rotary = g->rotary, .cache = l->cache,
		.part = g->part, .done = g->done, .out = g->att,
		.qkv_stride = g->qkv_stride, .out_stride = g->att_stride,
		.n_heads = f->n_heads, .n_kv_heads = f->n_kv_heads,
		.head_dim = f->head_dim, .dim_stride = g->dim_stride,
		.group = g->group, .chunks = g->chunks,
		.chunk_part = 65536 / g->chunks + 1, .n_tiles = t->s->n_tiles,
		.n_rows = t->s->n_rows, .interleaved = f->rope_interleaved,
		.stored = t->s->stored || !few_attend(t), .eps = f->norm_eps,
		.factor = (float)(1.4426950408889634 / sqrt((double)f->head_dim)),
	};
}

static void
attention(struct step *t, const struct gpu_layer *l)
{
	struct gpu *g = t->g;
	unsigned n = (unsigned)t->s->n_rows;
	unsigned chunks = (unsigned)(g->m->config.n_kv_heads * g->chunks);
	struct gpu_attention p = attention_of(t, l);

	if (p.stored)
		launch(t, GPU_KERNEL_store, n, 1, 1, GPU_THREADS, 0, &p);
	if (few_attend(t))
		launch(t, GPU_KERNEL_attend, n, chunks, (unsigned)t->s->n_tiles,
		    GPU_ATTEND_THREADS, 0, &p);
	else
		launch(t, GPU_KERNEL_attend_rows, (unsigned)t->s->n_groups, chunks,
		    (unsigned)(g->dim_stride + GPU_GROUP_DIMS - 1) / GPU_GROUP_DIMS,
		    GPU_GROUP_THREADS, group_shared(g->dim_stride), &p);
}

/* All layers by one launch. */
static void
whole(struct step *t)
{
	struct gpu_attention a = attention_of(t, &t->g->layers[0]);
	struct gpu_whole p;
	size_t shared = gpu_whole_params(t->g, t->s, &a, &p);

	launch(t, GPU_KERNEL_whole, (unsigned)t->g->whole.n_blocks, 1, 1,
	    GPU_WHOLE_THREADS, shared, &p);
}

static void
one_layer(struct step *t, const struct gpu_layer *l)
{
	struct gpu *g = t->g;
	const struct model_config *f = &g->m->config;
	int32_t n_q = f->n_heads * f->head_dim;

	product(t, SET, &l->qkv, g->x, g->x_stride, f->hidden, l->attn_norm, g->qkv,
	    g->qkv_stride);
	attention(t, l);
	product(t, ADD, &l->o, g->att, g->att_stride, n_q, l->attn_sub_norm, g->x,
	    g->x_stride);
	product(t, GATE, &l->gate, g->x, g->x_stride, f->hidden, l->ffn_norm, g->act,
	    g->act_stride);
	product(t, ADD, &l->down, g->act, g->act_stride, f->ffn, l->ffn_sub_norm, g->x,
	    g->x_stride);
}

/* The state of all rows, by a launch for each step. */
static void
launches(struct step *t)
{
	struct gpu *g = t->g;
	struct gpu_embed p = { .w = g->embed, .batch = t->batch, .x = g->x,
		.x_stride = g->x_stride };

	launch(t, GPU_KERNEL_embed, (unsigned)t->s->n_rows, 1, 1, GPU_THREADS, 0, &p);
	for (int i = 0; i < g->m->config.n_layers; i++)
		one_layer(t, &g->layers[i]);
}

static struct gpu_batch
batch(const struct gpu *g)
{
	struct gpu_batch b;
	const char *rows = g->batch + g->rows_at, *tables = g->batch + g->tables_at;
	const char *wanted = g->batch + g->wanted_at, *groups = g->batch + g->groups_at;

	b.rows = (const struct gpu_row *)(const void *)rows;
	b.tables = (const int32_t *)(const void *)tables;
	b.wanted = (const int32_t *)(const void *)wanted;
	b.groups = (const struct gpu_group *)(const void *)groups;
	return b;
}

static enum gpu_head_kind
head_kind(const struct gpu_dense *w)
{
	switch (w->type) {
	case GPU_Q4:
		return GPU_HEAD_Q4;
	case GPU_Q6:
		return GPU_HEAD_Q6;
	case GPU_I8:
		return w->n_groups == 1 ? GPU_HEAD_I8 : GPU_HEAD_FLOAT;
	default:
		return GPU_HEAD_FLOAT;
	}
}

/* Rows at once: both their planes have to fit in shared memory. */
static int32_t
head_rows(const struct gpu *g, enum gpu_head_kind kind)
{
	int32_t fits = GPU_SMEM / (2 * g->final_q_stride);

	return kind == GPU_HEAD_FLOAT || fits >= 8 ? 8 : fits >= 4 ? 4 : fits;
}

static void
head_launch(struct step *t, enum gpu_head_kind kind, struct gpu_head *p)
{
	static const enum gpu_kernel first[] = { GPU_KERNEL_head_1,
		GPU_KERNEL_head_q4_1, GPU_KERNEL_head_q6_1, GPU_KERNEL_head_float };
	bool packed = kind == GPU_HEAD_Q4 || kind == GPU_HEAD_Q6;
	unsigned outs = packed ? (unsigned)(GPU_THREADS / p->w.lanes) : GPU_WAVES;
	unsigned blocks = ((unsigned)p->w.n_out + outs - 1) / outs;
	int size = 0;

	while (1 << size < p->n_rows)
		size++;
	launch(t, (enum gpu_kernel)((int)first[kind] + (kind == GPU_HEAD_FLOAT ? 0 :
	    size)), blocks, 1, 1, GPU_THREADS, kind == GPU_HEAD_FLOAT ? 0 :
	    (size_t)(2 * p->q_stride) << size, p);
}

static void
head(struct step *t, int32_t first, int32_t n)
{
	struct gpu *g = t->g;
	enum gpu_head_kind kind = head_kind(&g->head);
	int32_t most = head_rows(g, kind);
	struct gpu_final f = { .batch = t->batch, .x = g->x, .norm = g->norm,
		.f = g->final_f, .q = g->final_q, .scale = g->final_scale,
		.sum = g->final_sum,
		.n_in = g->m->config.hidden, .x_stride = g->x_stride,
		.f_stride = g->f_stride, .q_stride = g->final_q_stride,
		.eps = g->m->config.norm_eps };

	f.batch.wanted += first;
	launch(t, GPU_KERNEL_final, (unsigned)n, 1, 1, GPU_THREADS, 0, &f);
	for (int32_t at = 0; at < n; at += most) {
		struct gpu_head p = { .w = g->head,
			.f = f.f + (size_t)at * (size_t)f.f_stride,
			.q = f.q + (size_t)at * 2 * (size_t)f.q_stride,
			.scale = f.scale + at, .sum = f.sum + 2 * at,
			.logits = g->logits + (size_t)at * (size_t)g->head.n_out,
			.f_stride = f.f_stride, .q_stride = f.q_stride,
			.n_rows = n - at < most ? n - at : most };

		head_launch(t, kind, &p);
	}
	if (t->r == 0)
		t->r = gpu_wanted_top(g, t->s, first, n, t->e);
}

int
gpu_step_head(struct gpu *g, const struct gpu_shape *s, int32_t first, int32_t n,
    struct err *e)
{
	struct step t = { .g = g, .s = s, .batch = batch(g), .e = e };

	head(&t, first, n);
	return t.r;
}

int
gpu_step(struct gpu *g, const struct gpu_shape *s, struct err *e)
{
	struct step t = { .g = g, .s = s, .batch = batch(g), .e = e };
	int32_t n = s->n_wanted < GPU_LOGITS_ROWS ? s->n_wanted : GPU_LOGITS_ROWS;

	if (gpu_whole_fits(g, s))
		whole(&t);
	else
		launches(&t);
	if (n > 0)
		head(&t, 0, n);
	return t.r;
}
