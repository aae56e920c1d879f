/* The largest logits of a row, which the head has just written: a chain of launches. */
#include <stdio.h>

#include "gpu/bench.h"

enum { CHAIN = 50, VOCAB = 128256, ROWS_MAX = 8, SLICES_MAX = 128 };

struct chain {
	void *kernel;
	struct gpu_top p;
	unsigned rows;
};

static int
launch(struct bench *b, void *arg, struct err *e)
{
	struct chain *c = arg;
	unsigned slices = (unsigned)((c->p.n + c->p.slice - 1) / c->p.slice);
	int r = 0;

	for (int i = 0; i < CHAIN && r == 0; i++)
		r = bench_launch(b, c->kernel, slices, c->rows, 1, GPU_THREADS, 0, &c->p, e);
	return r;
}

/* n [rows, vocab] of noise, and room for what the kernel leaves. */
static int
take(struct bench *b, struct chain *c, struct err *e)
{
	size_t bytes = (size_t)c->p.n * ROWS_MAX * sizeof(float);
	void *logits, *keys, *done, *out;
	int r;

	if ((r = bench_take(b, bytes, &logits, e)) != 0 ||
	    (r = bench_take(b, sizeof(uint64_t) * GPU_TOP * (GPU_TOP * ROWS_MAX +
	    SLICES_MAX), &keys, e)) != 0 ||
	    (r = bench_take(b, sizeof(uint32_t) * ROWS_MAX, &done, e)) != 0 ||
	    (r = bench_take(b, sizeof(uint64_t) * GPU_TOP * ROWS_MAX, &out, e)) != 0)
		return r;
	c->p.logits = logits;
	c->p.keys = keys;
	c->p.done = done;
	c->p.out = out;
	return bench_fill(b, logits, bytes, BENCH_F32, e);
}

int
bench_top(struct bench *b, struct err *e)
{
	static const struct { int32_t slice, k; unsigned rows; } cases[] = {
		{ 2048, 1, 1 }, { 2048, 40, 1 }, { 2048, 64, 1 }, { 4096, 1, 1 },
		{ 4096, 64, 1 }, { 1024, 1, 1 }, { 1024, 64, 1 }, { 2048, 1, ROWS_MAX },
		{ 2048, 64, ROWS_MAX },
	};
	struct chain c = { .p.n = b->small ? 6000 : VOCAB };
	int r = bench_kernel(b, "gpu_top_keys", &c.kernel, e);

	if (r == 0)
		r = take(b, &c, e);
	for (size_t i = 0; i < (b->small ? 2 : sizeof(cases) / sizeof(cases[0])); i++) {
		double s = 0;

		c.p.slice = cases[i].slice;
		c.p.k = cases[i].k;
		c.rows = cases[i].rows;
		if (r == 0 && (r = bench_time(b, launch, &c, &s, e)) == 0)
			printf("gpu_top_keys, %u of %d logits, %2d largest, slices of %d "
			    "%8.2f us\n", c.rows, c.p.n, c.p.k, c.p.slice, s * 1e6 / CHAIN);
	}
	bench_free(b);
	return r;
}
