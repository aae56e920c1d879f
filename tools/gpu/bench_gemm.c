/*
 * The ternary products of many rows, as in a prompt: the shapes of a layer of BitNet 2B4T,
 * of some distinct layers one after another.  Sums are counted as two operations each.
 * Before that what the kernels give is compared: it has to be the same to the last bit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/gpu_module.h"
#include "gpu/bench.h"

enum mode { SET, ADD, GATE };
enum { LAYERS = 8 };
/* For an emulator: several tiles, and more columns than there are stages. */
enum { SMALL_IN = 1280, SMALL_OUT = 160 };

static const char *const mode_names[] = { "set", "add", "gate" };

static const struct shape {
	const char *name;
	enum mode mode;
	int n_rows;		/* of the matrix, of gate and up together */
	int n_in;
} shapes[] = {
	BENCH_2B4T(SET, ADD, GATE),
};
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static const struct variant {
	const char *name;
	unsigned out, rows;	/* of a block */
	unsigned threads;
	size_t shared;
	bool tiled;			/* takes q in tiles */
} variants[] = {
	{ "gemm", GPU_GEMM_OUT, GPU_GEMM_ROWS, GPU_GEMM_THREADS, 0, false },
	{ "wgmma", GPU_WGMMA_OUT, GPU_WGMMA_ROWS, GPU_WGMMA_THREADS, GPU_WGMMA_SMEM, true },
	{ "wgmma160", GPU_WGMMA_OUT, GPU_WGMMA_ROWS_MORE, GPU_WGMMA_THREADS,
	    GPU_WGMMA_SMEM, true },
};
enum { N_VARIANTS = sizeof(variants) / sizeof(variants[0]) };

struct work {
	const struct shape *shape;
	const struct variant *v;
	void *kernel, *quantise;	/* quantise: NULL for the product */
	struct gpu_product p;
	size_t codes, scales;		/* bytes of a matrix */
	int n_matrices, n_in;
	unsigned outs;
};

static int
launch(struct bench *b, void *arg, struct err *e)
{
	const struct work *w = arg;
	unsigned rows = (unsigned)w->p.n_rows;
	unsigned tile = w->v->rows;
	int r = 0;

	for (int i = 0; i < w->n_matrices && r == 0; i++) {
		struct gpu_product p = w->p;

		p.w.codes += (size_t)i * w->codes;
		p.w.scales += (size_t)i * w->scales / sizeof(float);
		r = w->quantise != NULL ? bench_launch(b, w->quantise, rows, 1, 1,
		    GPU_THREADS, 0, &p, e) : bench_launch(b, w->kernel,
		    (rows + tile - 1) / tile, (w->outs + w->v->out - 1) /
		    w->v->out, 1, w->v->threads, w->v->shared, &p, e);
	}
	return r;
}

/* What w's kernel makes of zeros, to out; n floats. */
static int
product(struct bench *b, const struct work *w, float *out, size_t n, struct err *e)
{
	struct work one = *w;
	int r;

	one.n_matrices = 1;
	if ((r = bench_check(b, b->d.fill_async(w->p.y, 0, n * sizeof(*out), b->stream),
	    "clearing memory", e)) != 0 || (r = launch(b, &one, e)) != 0)
		return r;
	one.quantise = NULL;
	if ((r = launch(b, &one, e)) != 0)
		return r;
	if ((r = b->d.to_host_async(out, w->p.y, n * sizeof(*out), b->stream)) == 0)
		r = b->d.stream_wait(b->stream);
	return bench_check(b, r, "a product", e);
}

/* The first kernel's product is kept in first, [n]; others have to make the same. */
static int
compare(struct bench *b, const struct work *w, float *first, struct err *e)
{
	size_t n = (size_t)w->p.n_rows * (size_t)w->p.y_stride;
	float *mine;
	int r;

	if (w->v == &variants[0])
		return product(b, w, first, n, e);
	if ((mine = malloc(n * sizeof(*mine))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a product");
	r = product(b, w, mine, n, e);
	if (r == 0 && memcmp(first, mine, n * sizeof(*mine)) != 0)
		r = err_set(e, ERR_SYSTEM, "gpu_%s and gpu_%s differ: %s, %d rows", w->v->name,
		    variants[0].name, w->shape->name, (int)w->p.n_rows);
	free(mine);
	return r;
}

static int
print_quantise(struct bench *b, struct work *w, struct err *e)
{
	double bytes = (double)w->p.n_rows * w->p.n_in * 5, seconds = 0;
	int r = bench_time(b, launch, w, &seconds, e);

	if (r == 0)
		printf("%-16s %4d rows of %5d %8.2f us each %8.1f GB/s\n", "gpu_quantise",
		    (int)w->p.n_rows, (int)w->p.n_in, seconds * 1e6 / w->n_matrices,
		    bytes * w->n_matrices / seconds / 1e9);
	return r;
}

/* One kernel with rows rows; nothing is printed of one that the device does not have. */
static int
measure(struct bench *b, struct work *w, int rows, float *first, struct err *e)
{
	double ops = 2.0 * rows * w->n_in * w->outs;
	char name[32];
	double seconds = 0;
	int r;

	snprintf(name, sizeof(name), "gpu_%s_%s", w->v->name, mode_names[w->shape->mode]);
	w->p.n_rows = rows;
	w->p.q_rows = w->v->tiled ? (rows + 7) / 8 * 8 : 0;
	r = gpu_module_kernel(&b->d, b->module, name, &w->kernel);
	if (r == GPU_NOT_FOUND)
		return 0;
	if ((r = bench_check(b, r, name, e)) != 0 ||
	    (r = bench_kernel(b, "gpu_quantise", &w->quantise, e)) != 0 ||
	    (r = compare(b, w, first, e)) != 0 || (r = print_quantise(b, w, e)) != 0)
		return r;
	w->quantise = NULL;
	if ((r = bench_time(b, launch, w, &seconds, e)) != 0)
		return r;
	seconds /= w->n_matrices;
	printf("%-16s %-11s %4d rows x %5u x %4d %8.2f us each %8.1f TOP/s\n", name,
	    w->shape->name, rows, w->outs, w->n_in,
	    seconds * 1e6, ops / seconds / 1e12);
	return 0;
}

/* Memory of a shape with at most most rows. */
static int
take(struct bench *b, struct work *w, size_t most, struct err *e)
{
	size_t n_in = (size_t)w->n_in, n = (size_t)w->n_matrices, outs = w->outs;
	float *x = NULL, *norm = NULL, *scales = NULL;
	uint8_t *codes = NULL;
	int r;

	w->codes = outs * n_in / 4;
	w->scales = outs * sizeof(float);
	if ((r = bench_take(b, n * w->codes, &codes, e)) != 0 ||
	    (r = bench_take(b, n * w->scales, &scales, e)) != 0 ||
	    (r = bench_take(b, most * n_in * sizeof(float), &x, e)) != 0 ||
	    (r = bench_take(b, n_in * sizeof(float), &norm, e)) != 0 ||
	    (r = bench_take(b, (most + GPU_WGMMA_ROWS) * n_in, &w->p.q, e)) != 0 ||
	    (r = bench_take(b, most * sizeof(float), &w->p.q_scale, e)) != 0 ||
	    (r = bench_take(b, most * sizeof(int32_t), &w->p.q_sum, e)) != 0 ||
	    (r = bench_take(b, most * outs * sizeof(float), &w->p.y, e)) != 0 ||
	    (r = bench_fill(b, codes, n * w->codes, BENCH_CODES, e)) != 0 ||
	    (r = bench_fill(b, scales, n * w->scales, BENCH_F32, e)) != 0 ||
	    (r = bench_fill(b, x, most * n_in * sizeof(float), BENCH_F32, e)) != 0 ||
	    (r = bench_fill(b, norm, n_in * sizeof(float), BENCH_F32, e)) != 0)
		return r;
	w->p.w.codes = codes;
	w->p.w.scales = scales;
	w->p.x = x;
	w->p.norm = norm;
	return 0;
}

static int
one_shape(struct bench *b, const struct shape *s, struct err *e)
{
	static const int rows[] = { 512, 1024, 2048 }, few[] = { 150 };
	size_t n_rows = b->small ? 1 : sizeof(rows) / sizeof(rows[0]);
	size_t most = b->small ? 150 : 2048;
	struct work w = { .shape = s, .n_matrices = b->small ? 1 : LAYERS,
		.n_in = b->small ? SMALL_IN : s->n_in,
		.outs = b->small ? SMALL_OUT : (unsigned)s->n_rows };
	float *first = malloc(most * w.outs * sizeof(*first));
	int r;

	if (first == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a product");
	w.p = (struct gpu_product){ .x_stride = w.n_in, .n_in = w.n_in, .eps = 1e-5f,
		.y_stride = (int32_t)w.outs / (s->mode == GATE ? 2 : 1) };
	w.p.w = (struct gpu_matrix){ .n_out = w.p.y_stride, .units = w.n_in / 64,
		.group = w.n_in, .n_groups = 1, .lanes = 32 };
	r = take(b, &w, most, e);
	for (size_t i = 0; i < n_rows && r == 0; i++)
		for (int v = 0; v < N_VARIANTS && r == 0; v++) {
			w.v = &variants[v];
			r = measure(b, &w, b->small ? few[i] : rows[i], first, e);
		}
	bench_free(b);
	free(first);
	return r;
}

int
bench_gemm(struct bench *b, struct err *e)
{
	int r = 0;

	for (int i = 0; i < N_SHAPES && r == 0; i++)
		r = one_shape(b, &shapes[i], e);
	return r;
}
