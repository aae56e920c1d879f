/*
 * One row of the 2B4T shape at several depths, a layer after another: 30 caches, as a
 * step reads them.  Beside it one block for each query head (gpu_measure_attend), and the
 * last rows of a prompt of that depth (gpu_attend_rows).
 */
#include <math.h>
#include <stdio.h>

#include "gpu/bench.h"

enum { ROWS = 512 };
enum { HEADS = 20, KV_HEADS = 5, DIM = 128, LAYERS = 30, QKV = (HEADS + 2 * KV_HEADS) * DIM };

struct work {
	void *kernel;
	struct gpu_attention p;
	struct gpu_measure_attention one;	/* a block for each head */
	size_t layer;		/* elements of a cache */
	int layers;
	unsigned blocks, tiles;
	unsigned threads;
	size_t shared;
};

static int
launch(struct bench *b, void *arg, struct err *e)
{
	const struct work *w = arg;
	unsigned chunks = KV_HEADS * ((HEADS / KV_HEADS + GPU_HEADS - 1) / GPU_HEADS);
	int r = 0;

	for (int i = 0; i < w->layers && r == 0; i++) {
		struct gpu_attention p = w->p;

		p.cache += (size_t)i * w->layer;
		r = bench_launch(b, w->kernel, w->blocks, chunks, w->tiles,
		    w->threads, w->shared, &p, e);
	}
	return r;
}

static int
launch_one(struct bench *b, void *arg, struct err *e)
{
	const struct work *w = arg;
	int r = 0;

	for (int i = 0; i < w->layers && r == 0; i++) {
		struct gpu_measure_attention p = w->one;

		p.keys += (size_t)i * w->layer;
		p.values += (size_t)i * w->layer;
		r = bench_launch(b, w->kernel, HEADS, 1, 1, (unsigned)p.n_threads, w->shared,
		    &p, e);
	}
	return r;
}

static int
measure(struct bench *b, struct work *w, int depth, const char *kernel, const char *what,
    double *seconds, struct err *e)
{
	double bytes = 2.0 * KV_HEADS * DIM * sizeof(uint16_t) * depth, s = 0;
	int r = bench_kernel(b, kernel, &w->kernel, e);

	if (r == 0)
		r = bench_time(b, w->one.n_threads > 0 ? launch_one : launch, w, &s, e);
	if (r != 0)
		return r;
	*seconds = s / w->layers;
	printf("depth %5d, %-30s %8.2f us %8.1f GB/s\n", depth, what, *seconds * 1e6,
	    bytes / *seconds / 1e9);
	return 0;
}

/* Page tables, the row and buffers of a depth; the cache of all layers is at cache. */
static int
prepare(struct bench *b, struct work *w, int depth, struct err *e)
{
	int tiles = (depth + GPU_TILE - 1) / GPU_TILE;
	int pages = (tiles * GPU_TILE + GPU_PAGE - 1) / GPU_PAGE, power = 1;
	struct gpu_row row = { .pos = depth - 1 }, *rows = NULL;
	static int32_t table[8192 / GPU_PAGE + 8];
	int32_t *tables = NULL;
	float *rotary = NULL;
	size_t n_rotary = (size_t)depth * DIM * sizeof(float), n_cache;
	int r;

	for (int i = 0; i < pages; i++)
		table[i] = (i * 7 + 3) % pages;
	if (pages % 7 == 0)
		for (int i = 0; i < pages; i++)
			table[i] = pages - 1 - i;
	while (power < tiles)
		power *= 2;
	w->layer = (size_t)pages * KV_HEADS * 2 * GPU_PAGE * DIM;
	w->layers = b->small ? 1 : LAYERS;
	w->tiles = (unsigned)power;
	n_cache = (size_t)w->layers * w->layer * sizeof(uint16_t);
	w->p = (struct gpu_attention){ .qkv_stride = QKV, .out_stride = HEADS * DIM,
		.n_heads = HEADS, .n_kv_heads = KV_HEADS, .head_dim = DIM, .dim_stride = DIM,
		.group = HEADS / KV_HEADS, .chunks = 1, .chunk_part = 65537,
		.n_tiles = power, .n_rows = 1, .eps = 1e-5f,
		.factor = (float)(1.4426950408889634 / sqrt(DIM)) };
	if ((r = bench_take(b, n_cache, &w->p.cache, e)) != 0 ||
	    (r = bench_take(b, QKV * sizeof(float), &w->p.qkv, e)) != 0 ||
	    (r = bench_take(b, n_rotary, &rotary, e)) != 0 ||
	    (r = bench_take(b, (size_t)power * HEADS * (DIM + 2) * sizeof(float), &w->p.part,
	    e)) != 0 || (r = bench_take(b, HEADS * sizeof(uint32_t), &w->p.done, e)) != 0 ||
	    (r = bench_take(b, HEADS * DIM * sizeof(float), &w->p.out, e)) != 0 ||
	    (r = bench_take(b, sizeof(row), &rows, e)) != 0 ||
	    (r = bench_take(b, sizeof(table), &tables, e)) != 0 ||
	    (r = bench_fill(b, w->p.cache, n_cache, BENCH_F16, e)) != 0 ||
	    (r = bench_fill(b, w->p.qkv, QKV * sizeof(float), BENCH_F32, e)) != 0 ||
	    (r = bench_fill(b, rotary, n_rotary, BENCH_F32, e)) != 0 ||
	    (r = bench_check(b, b->d.to_device(rows, &row, sizeof(row)), "a copy", e)) != 0)
		return r;
	w->p.rotary = rotary;
	w->p.batch = (struct gpu_batch){ .rows = rows, .tables = tables };
	return bench_check(b, b->d.to_device(tables, table, sizeof(table)), "a copy", e);
}

/* The same number of positions, a block for each head. */
static int
one_block(struct bench *b, struct work w, int depth, int n_threads, double split,
    struct err *e)
{
	const void *q = w.p.qkv;
	double s = 0;
	char what[48];
	int r;

	w.one = (struct gpu_measure_attention){ .q = q, .keys = w.p.cache,
		.values = w.p.cache + w.layer / 2, .out = w.p.out, .n_heads = HEADS,
		.n_kv_heads = KV_HEADS, .n = depth, .n_threads = n_threads,
		.factor = w.p.factor };
	w.shared = (size_t)((depth + 3) / 4 * 4 + n_threads / (DIM / 8) * DIM) * sizeof(float);
	snprintf(what, sizeof(what), "one block a head, %d threads", n_threads);
	r = measure(b, &w, depth, "gpu_measure_attend", what, &s, e);
	if (r == 0)
		printf("depth %5d: %.2f times the time of gpu_attend\n", depth, s / split);
	return r;
}

/* The last rows of a prompt, GPU_GROUP_ROWS to a block, as a pass has them. */
static int
many_rows(struct bench *b, struct work w, int depth, struct err *e)
{
	static struct gpu_row rows[ROWS];
	static struct gpu_group groups[ROWS / GPU_GROUP_ROWS + 1];
	int n = b->small ? 1 : depth < ROWS ? depth : ROWS, r;
	double operations = 0, s = 0;
	struct gpu_row *at = NULL;
	struct gpu_group *groups_at = NULL;

	w.blocks = 0;
	for (int i = 0; i < n; i++) {
		rows[i] = (struct gpu_row){ .pos = depth - n + i };
		operations += 4.0 * HEADS * DIM * (rows[i].pos + 1);
		if (i % GPU_GROUP_ROWS == 0)
			groups[w.blocks++] = (struct gpu_group){ .first = i };
		groups[w.blocks - 1].n = i % GPU_GROUP_ROWS + 1;
	}
	w.tiles = 1;
	w.threads = GPU_GROUP_THREADS;
	w.shared = sizeof(uint16_t) * (2 * GPU_TILE * 32 + GPU_GROUP_ROWS * GPU_HEADS *
	    (size_t)(DIM | 32));
	w.p.stored = 1;
	w.p.n_rows = n;
	if ((r = bench_take(b, sizeof(rows), &at, e)) != 0 ||
	    (r = bench_take(b, sizeof(groups), &groups_at, e)) != 0 ||
	    (r = bench_take(b, (size_t)n * QKV * sizeof(float), &w.p.qkv, e)) != 0 ||
	    (r = bench_take(b, (size_t)n * HEADS * DIM * sizeof(float), &w.p.out, e)) != 0 ||
	    (r = bench_fill(b, w.p.qkv, (size_t)n * QKV * sizeof(float), BENCH_F32, e)) != 0 ||
	    (r = bench_check(b, b->d.to_device(at, rows, sizeof(rows)), "a copy", e)) != 0 ||
	    (r = bench_check(b, b->d.to_device(groups_at, groups, sizeof(groups)), "a copy",
	    e)) != 0)
		return r;
	w.p.batch.rows = at;
	w.p.batch.groups = groups_at;
	if ((r = measure(b, &w, depth, "gpu_attend_rows", "the prompt's last rows", &s, e)) == 0)
		printf("depth %5d: %d rows, %.1f TFLOP/s\n", depth, n, operations / s / 1e12);
	return r;
}

static int
one_depth(struct bench *b, int depth, struct err *e)
{
	struct work w = { .blocks = 1, .threads = GPU_ATTEND_THREADS };
	double split = 0;
	int r;

	if ((r = prepare(b, &w, depth, e)) != 0 ||
	    (r = measure(b, &w, depth, "gpu_attend", "gpu_attend", &split, e)) != 0 ||
	    (r = many_rows(b, w, depth, e)) != 0 ||
	    (r = one_block(b, w, depth, 128, split, e)) != 0)
		return r;
	return one_block(b, w, depth, 256, split, e);
}

int
bench_attention(struct bench *b, struct err *e)
{
	int r = 0;

	for (int i = 0; i < b->n_depths && r == 0; i++) {
		r = one_depth(b, b->depths[i], e);
		bench_free(b);
	}
	return r;
}
