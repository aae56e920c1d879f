/*
 * Everything is read once, with several numbers of blocks: the best counts, as what
 * comes between only ever makes it slower.
 */
#include <stdio.h>

#include "gpu/bench.h"

struct work {
	void *kernel;
	struct gpu_measure p;
};

static int
launch(struct bench *b, void *arg, struct err *e)
{
	struct work *w = arg;

	return bench_launch(b, w->kernel, (unsigned)w->p.n_blocks, 1, 1, GPU_THREADS, 0,
	    &w->p, e);
}

static int
best_of(struct bench *b, const char *name, struct gpu_measure p, double bytes, double *best,
    struct err *e)
{
	static const int blocks[] = { 256, 528, 1056, 2112, 4224, 16896 };
	struct work w = { .p = p };
	int r = bench_kernel(b, name, &w.kernel, e);

	*best = 0;
	for (size_t i = 0; i < (b->small ? 1 : sizeof(blocks) / sizeof(blocks[0])) && r == 0;
	    i++) {
		double s = 0;

		w.p.n_blocks = b->small ? 2 : blocks[i];
		if ((r = bench_time(b, launch, &w, &s, e)) != 0)
			break;
		printf("%-18s %6.0f MB, %5d blocks %10.1f us %8.1f GB/s\n", name,
		    bytes / 1e6, (int)w.p.n_blocks, s * 1e6, bytes / s / 1e9);
		*best = bytes / s > *best ? bytes / s : *best;
	}
	return r;
}

int
bench_device_memory(struct bench *b, struct err *e)
{
	size_t step = (size_t)8 * GPU_THREADS * 16;
	size_t n = b->memory_bytes / (2 * step) * (2 * step);
	struct gpu_measure p = { 0 };
	double copied = 0;
	uint8_t *at = NULL;
	int r;

	if ((r = bench_take(b, n, &at, e)) != 0 ||
	    (r = bench_fill(b, at, n, 0x7fffffffu, 0, e)) != 0)
		goto end;
	p = (struct gpu_measure){ .from = at, .to = at, .n = n / 16 };
	if ((r = best_of(b, "gpu_measure_read", p, (double)n, &b->read, e)) != 0)
		goto end;
	/* Half of it to the other half: as many bytes go through. */
	p = (struct gpu_measure){ .from = at, .to = at + n / 2, .n = n / 32 };
	if ((r = best_of(b, "gpu_measure_copy", p, (double)n, &copied, e)) != 0)
		goto end;
	printf("memory: read at %.1f GB/s, copied at %.1f GB/s (both directions)\n",
	    b->read / 1e9, copied / 1e9);
end:
	bench_free(b);
	return r;
}
