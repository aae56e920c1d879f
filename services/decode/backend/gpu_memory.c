/*
 * Three pieces of memory on the device: weights (gpu_upload.c), scratch, whose layout is
 * written once and runs twice, first to count and then to hand out addresses, and the KV
 * cache.  All of it is taken when the backend opens, and is zero: rows are padded with zeros
 * that nobody writes.
 */
#include <string.h>

#include "backend/gpu.h"

enum { PARTS_BYTES = 64 << 20, PART_ROWS = 64 };

struct arena {
	char *base;		/* NULL: only count */
	size_t used;
};

static void *
take(struct arena *a, size_t n, size_t size)
{
	char *p = a->base == NULL ? NULL : a->base + a->used;

	a->used += (n * size + 255) / 256 * 256;
	return p;
}

static int32_t
round_up(int32_t n, int32_t step)
{
	return (n + step - 1) / step * step;
}

static int32_t
round_up_to_power(int32_t n)
{
	int32_t p = 1;

	while (p < n)
		p *= 2;
	return p;
}

/* Of a row: what its tiles leave to be merged. */
static size_t
part_floats(const struct gpu *g)
{
	return (size_t)g->m->config.n_kv_heads * (size_t)g->chunks * (size_t)g->max_tiles *
	    GPU_HEADS * (size_t)(g->dim_stride + 2);
}

/* Rows that gpu_attend may have at once. */
static int32_t
part_rows(const struct gpu *g)
{
	size_t n = PARTS_BYTES / (part_floats(g) * sizeof(float));
	int32_t most = n > PART_ROWS ? PART_ROWS : n < GPU_FEW ? GPU_FEW : (int32_t)n;

	return g->o.max_rows < most ? g->o.max_rows : most;
}

static void
set_sizes(struct gpu *g)
{
	const struct model_config *f = &g->m->config;

	g->x_stride = round_up(f->hidden, 4);
	g->qkv_stride = round_up((f->n_heads + 2 * f->n_kv_heads) * f->head_dim, 4);
	g->att_stride = round_up(f->n_heads * f->head_dim, 4);
	g->act_stride = round_up(f->ffn, 4);
	g->dim_stride = round_up(f->head_dim, 32);
	g->group = f->n_heads / f->n_kv_heads;
	g->chunks = (g->group + GPU_HEADS - 1) / GPU_HEADS;
	g->f_stride = round_up(f->hidden, 4);
	g->final_q_stride = round_up(f->hidden, TERNARY_BLOCK);
	g->max_tiles = round_up_to_power((g->o.n_ctx + GPU_TILE - 1) / GPU_TILE);
	g->part_rows = part_rows(g);
	g->page_size = (uint64_t)f->n_kv_heads * 2 * GPU_PAGE * (uint64_t)g->dim_stride;
	g->cache_bytes = (size_t)f->n_layers * (size_t)g->o.n_pages * g->page_size *
	    sizeof(uint16_t);
}

static int32_t
widest(const struct gpu *g)
{
	int32_t w = g->x_stride > g->att_stride ? g->x_stride : g->att_stride;

	return round_up(w > g->act_stride ? w : g->act_stride, TERNARY_BLOCK);
}

static void
lay_out(struct gpu *g, struct arena *a)
{
	size_t n = (size_t)g->o.max_rows, f = sizeof(float);
	size_t wanted = GPU_LOGITS_ROWS < n ? GPU_LOGITS_ROWS : n;
	size_t n_chunks = (size_t)g->m->config.n_kv_heads * (size_t)g->chunks;

	g->x = take(a, n * (size_t)g->x_stride, f);
	g->qkv = take(a, n * (size_t)g->qkv_stride, f);
	g->att = take(a, n * (size_t)g->att_stride, f);
	g->act = take(a, n * (size_t)g->act_stride, f);
	/* Rows of a tile that are not there are read, too. */
	g->q = take(a, (n + GPU_WGMMA_ROWS) * (size_t)widest(g), 1);
	g->q_scale = take(a, n, f);
	g->q_sum = take(a, n, sizeof(int32_t));
	g->part = take(a, (size_t)g->part_rows * part_floats(g), f);
	g->done = take(a, (size_t)g->part_rows * n_chunks, sizeof(uint32_t));
	g->final_f = take(a, wanted * (size_t)g->f_stride, f);
	g->final_q = take(a, wanted * 2 * (size_t)g->final_q_stride, 1);
	g->final_scale = take(a, wanted, f);
	g->final_sum = take(a, wanted * 2, sizeof(int32_t));
	g->logits = take(a, wanted * (size_t)g->m->config.vocab, f);
	g->top_keys = take(a, wanted * GPU_TOP * GPU_TOP, sizeof(uint64_t));
	g->top_done = take(a, wanted, sizeof(uint32_t));
	g->whole.base = take(a, gpu_whole_bytes(g), 1);
	g->batch = take(a, g->staging_bytes, 1);
}

/* Page tables of all rows at worst: each its own sequence. */
static void
set_staging(struct gpu *g)
{
	size_t n = (size_t)g->o.max_rows;
	size_t table = ((size_t)g->o.n_ctx + KV_PAGE - 1) / KV_PAGE;

	g->pass_at = 0;
	g->rows_at = 256;
	g->groups_at = g->rows_at + n * sizeof(struct gpu_row);
	g->wanted_at = g->groups_at + n * sizeof(struct gpu_group);
	g->tables_at = g->wanted_at + (2 * n * sizeof(int32_t) + 255) / 256 * 256;
	g->staging_bytes = g->tables_at + n * table * sizeof(int32_t);
}

static int
take_device(struct gpu *g, void **p, size_t n, const char *what, struct err *e)
{
	size_t free = 0, total = 0;
	int r;

	if ((r = g->d.mem_info(&free, &total)) != 0)
		return gpu_check(g, r, "asking for its memory", e);
	r = n > free ? GPU_NO_MEMORY : g->d.mem_alloc(p, n);
	if (r != 0 && r != GPU_NO_MEMORY)
		return gpu_check(g, r, "taking memory", e);
	if (r != 0)
		return err_set(e, ERR_NO_MEMORY, "GPU: no %zu MiB of memory for %s; "
		    "%zu of %zu MiB are free", (n >> 20) + 1, what, free >> 20,
		    total >> 20);
	if ((r = g->d.fill_async(*p, 0, n, g->stream)) != 0)
		return gpu_check(g, r, "clearing memory", e);
	return 0;
}

static int
take_pinned(struct gpu *g, void *p, size_t n, struct err *e)
{
	void *at = NULL;
	int r = g->d.host_alloc(&at, n, 0);

	if (r != 0 && r != GPU_NO_MEMORY)
		return gpu_check(g, r, "taking memory of the host", e);
	if (r != 0)
		return err_set(e, ERR_NO_MEMORY, "no %zu MiB of memory that the GPU "
		    "can read", (n >> 20) + 1);
	memset(at, 0, n);
	memcpy(p, &at, sizeof(at));
	return 0;
}

int
gpu_memory_take(struct gpu *g, struct err *e)
{
	struct arena a = { 0 };
	int r;

	set_sizes(g);
	set_staging(g);
	lay_out(g, &a);
	g->scratch_bytes = a.used;
	if ((r = take_device(g, &g->scratch, a.used, "the buffers of a batch", e)) != 0 ||
	    (r = take_device(g, &g->cache, g->cache_bytes, "the KV cache", e)) != 0 ||
	    (r = take_pinned(g, &g->staging, g->staging_bytes, e)) != 0 ||
	    (r = take_pinned(g, &g->host_logits, (size_t)GPU_HOST_ROWS *
	    (size_t)g->m->config.vocab * sizeof(float), e)) != 0 ||
	    (r = take_pinned(g, &g->host_top, (size_t)g->o.max_rows * GPU_TOP *
	    sizeof(uint64_t), e)) != 0 ||
	    (r = take_pinned(g, &g->host_hidden, (size_t)g->o.max_rows *
	    (size_t)g->f_stride * sizeof(float), e)) != 0 ||
	    (r = take_pinned(g, &g->mark, sizeof(uint32_t), e)) != 0)
		return r;
	a = (struct arena){ .base = g->scratch };
	lay_out(g, &a);
	for (int i = 0; i < g->m->config.n_layers; i++)
		g->layers[i].cache = (uint16_t *)g->cache + (size_t)i *
		    (size_t)g->o.n_pages * g->page_size;
	return 0;
}

void
gpu_memory_free(struct gpu *g)
{
	void *mark;

	memcpy(&mark, &g->mark, sizeof(mark));
	if (g->scratch != NULL)
		g->d.mem_free(g->scratch);
	if (g->cache != NULL)
		g->d.mem_free(g->cache);
	if (g->weights != NULL)
		g->d.mem_free(g->weights);
	if (g->staging != NULL)
		g->d.host_free(g->staging);
	if (g->host_logits != NULL)
		g->d.host_free(g->host_logits);
	if (g->host_hidden != NULL)
		g->d.host_free(g->host_hidden);
	if (g->host_top != NULL)
		g->d.host_free(g->host_top);
	if (mark != NULL)
		g->d.host_free(mark);
}
