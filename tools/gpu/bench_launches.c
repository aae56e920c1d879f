/* A chain of launches that each wait for the one before. */
#include <stdio.h>

#include "gpu/bench.h"

enum { CHAIN = 300 };

struct chain {
	void *kernel;
	unsigned blocks;
	bool early;		/* each may begin before the last has ended */
};

static int
launch(struct bench *b, void *arg, struct err *e)
{
	struct chain *c = arg;
	struct gpu_measure p = { .n = 1 };
	void *params[] = { &p };
	int r = 0;

	for (int i = 0; i < CHAIN && r == 0; i++)
		r = c->early ? bench_launch(b, c->kernel, c->blocks, 1, 1, GPU_THREADS, 0, &p,
		    e) : bench_check(b, b->d.launch(c->kernel, c->blocks, 1, 1, GPU_THREADS, 1,
		    1, 0, b->stream, params, NULL), "a launch", e);
	return r;
}

int
bench_launches(struct bench *b, struct err *e)
{
	static const unsigned blocks[] = { 1, 132, 480, 1056 };
	struct chain c = { 0 };
	int r = bench_kernel(b, "gpu_measure_empty", &c.kernel, e);

	for (size_t i = 0; i < (b->small ? 1 : sizeof(blocks) / sizeof(blocks[0])); i++)
		for (int early = 0; early <= (b->d.cuda ? 1 : 0) && r == 0; early++) {
			double s = 0;

			c.blocks = blocks[i];
			c.early = early != 0;
			r = bench_time(b, launch, &c, &s, e);
			if (r == 0)
				printf("empty launch, %4u blocks, chain of %d%-15s %8.2f us "
				    "each\n", c.blocks, CHAIN, c.early ? ", programmatic" :
				    "", s * 1e6 / CHAIN);
		}
	return r;
}
