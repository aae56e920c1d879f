/*
 * The ternary products of 1 to GPU_FEW rows.  So many distinct matrices that no cache holds
 * them are multiplied one after another, as in a step; and, for what a launch costs, all
 * of them as one matrix in one launch.
 */
#include <stdio.h>

#include "backend/gpu.h"
#include "gpu/bench.h"

enum mode { SET, ADD, GATE };

static const char *const mode_names[] = { "set", "add", "gate" };

static const struct shape {
	const char *name;
	enum mode mode;
	int n_rows;		/* of the matrix, of gate and up together; 0: as many as
				 * all the weights are */
	int n_in;
} shapes[] = {
	BENCH_2B4T(SET, ADD, GATE),
	{ "large", SET, 16384, 8192 },
	{ "one launch", SET, 0, 2560 },
	{ "one launch", GATE, 0, 2560 },
	{ "one launch", ADD, 0, 6912 },
};
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

/* Products of one shape with rows rows. */
struct work {
	void *kernel;
	struct gpu_product p;
	int n_matrices;
	size_t codes, scales;	/* bytes of a matrix */
	unsigned most, blocks;	/* with as many each has one turn */
	size_t shared;
};

static int
launch(struct bench *b, void *arg, struct err *e)
{
	const struct work *w = arg;
	int r = 0;

	for (int i = 0; i < w->n_matrices && r == 0; i++) {
		struct gpu_product p = w->p;

		p.w.codes += (size_t)i * w->codes;
		p.w.scales += (size_t)i * w->scales / sizeof(float);
		r = bench_launch(b, w->kernel, w->blocks, 1, 1, GPU_THREADS, w->shared, &p, e);
	}
	return r;
}

/* Blocks so that all run at once and have about as many turns. */
static unsigned
blocks_at_once(const struct bench *b, const struct work *w, int per_processor)
{
	unsigned most = (unsigned)(b->processors * per_processor);
	unsigned turns = (w->most + most - 1) / most;

	return (w->most + turns - 1) / turns;
}

static int
once(struct bench *b, const struct shape *s, struct work *w, const char *name,
    struct err *e)
{
	double bytes = (double)w->n_matrices * (double)(w->codes + w->scales), seconds = 0;
	int r = bench_time(b, launch, w, &seconds, e);

	if (r != 0)
		return r;
	printf("%-15s %-11s %4d x %6d x %4d, %5u blocks %8.2f us each %8.1f GB/s %5.1f %% of "
	    "read\n", name, s->name, w->n_matrices, (int)(w->codes / 16 /
	    (size_t)w->p.w.units), s->n_in, w->blocks, seconds * 1e6 / w->n_matrices,
	    bytes / seconds / 1e9, 100 * bytes / seconds / b->read);
	return 0;
}

/* With a block for all that it can have in one turn, and with as many as run at once. */
static int
measure(struct bench *b, const struct shape *s, struct work *w, int rows, int size,
    struct err *e)
{
	int per_processor = 0, r;
	char name[32];

	snprintf(name, sizeof(name), "gpu_gemv_%s_%d", mode_names[s->mode], rows);
	w->p.n_rows = rows;
	w->shared = (size_t)w->p.w.units * 64 << size;
	if (w->shared > GPU_SMEM)
		return 0;
	if ((r = bench_kernel(b, name, &w->kernel, e)) != 0 ||
	    (r = bench_check(b, b->d.occupancy(&per_processor, w->kernel, GPU_THREADS,
	    w->shared), "asking for blocks at once", e)) != 0)
		return r;
	w->blocks = w->most;
	r = once(b, s, w, name, e);
	for (int n = per_processor; n > 0 && r == 0; n /= 2) {
		unsigned blocks = blocks_at_once(b, w, n);

		if (blocks < w->blocks) {
			w->blocks = blocks;
			r = once(b, s, w, name, e);
		}
	}
	return r;
}

/* A shape's matrices and activations, and their product with 1, 2, 4 and 8 rows. */
static int
one_shape(struct bench *b, const struct shape *s, struct err *e)
{
	size_t row = (size_t)s->n_in / 4, all = b->weights_bytes / row / 32 * 32 + 32;
	size_t rows = b->small ? 64 : s->n_rows > 0 ? (size_t)s->n_rows : all;
	size_t n = (all + rows - 1) / rows, outs = rows / (s->mode == GATE ? 2 : 1);
	struct gpu_matrix m = { .n_out = (int32_t)outs, .units = s->n_in / 64,
		.group = s->n_in, .n_groups = 1, .lanes = gpu_lanes(s->n_in / 64) };
	struct work w = { .n_matrices = (int)n, .codes = rows * row,
		.scales = rows * sizeof(float) };
	uint8_t *codes = NULL;
	float *scales = NULL, *x = NULL, *norm = NULL;
	int r;

	w.most = (unsigned)outs / (GPU_THREADS / (unsigned)m.lanes);
	w.p = (struct gpu_product){ .x_stride = s->n_in, .y_stride = m.n_out,
		.n_in = s->n_in, .eps = 1e-5f };
	if ((r = bench_take(b, n * w.codes, &codes, e)) != 0 ||
	    (r = bench_take(b, n * w.scales, &scales, e)) != 0 ||
	    (r = bench_take(b, GPU_FEW * (size_t)s->n_in * sizeof(float), &x, e)) != 0 ||
	    (r = bench_take(b, (size_t)s->n_in * sizeof(float), &norm, e)) != 0 ||
	    (r = bench_take(b, GPU_FEW * outs * sizeof(float), &w.p.y, e)) != 0 ||
	    (r = bench_fill(b, codes, n * w.codes, BENCH_CODES, e)) != 0 ||
	    (r = bench_fill(b, scales, n * w.scales, BENCH_F32, e)) != 0 ||
	    (r = bench_fill(b, x, GPU_FEW * (size_t)s->n_in * sizeof(float), BENCH_F32,
	    e)) != 0 ||
	    (r = bench_fill(b, norm, (size_t)s->n_in * sizeof(float), BENCH_F32, e)) != 0)
		goto end;
	m.codes = codes;
	m.scales = scales;
	w.p.w = m;
	w.p.x = x;
	w.p.norm = norm;
	for (int size = 0; 1 << size <= GPU_FEW && r == 0; size++)
		r = measure(b, s, &w, 1 << size, size, e);
end:
	bench_free(b);
	return r;
}

int
bench_gemv(struct bench *b, struct err *e)
{
	int r = b->read > 0 ? 0 : bench_device_memory(b, e);

	for (int i = 0; i < N_SHAPES && r == 0; i++)
		r = one_shape(b, &shapes[i], e);
	return r;
}
