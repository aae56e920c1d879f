/* What the measurements share: memory, kernels, and a graph between two events. */
#include "gpu/bench.h"

#include <stdlib.h>
#include <string.h>

#include "backend/gpu_module.h"

enum { CAPTURE_RELAXED = 2 };

int
bench_check(const struct bench *b, int code, const char *what, struct err *e)
{
	return code == 0 ? 0 : err_set(e, ERR_SYSTEM, "%.60s failed: %.60s (%d)", what,
	    gpu_driver_error(&b->d, code), code);
}

int
bench_kernel(struct bench *b, const char *name, void **kernel, struct err *e)
{
	return bench_check(b, gpu_module_kernel(&b->d, b->module, name, kernel), name, e);
}

int
bench_take(struct bench *b, size_t n, void *p, struct err *e)
{
	void *at = NULL;
	int r;

	if (b->n_pieces == BENCH_PIECES_MAX || b->d.mem_alloc(&at, n) != 0)
		return err_set(e, ERR_NO_MEMORY, "no %zu MiB of memory on the device",
		    (n >> 20) + 1);
	b->pieces[b->n_pieces++] = at;
	memcpy(p, &at, sizeof(at));
	r = b->d.fill_async(at, 0, n, b->stream);
	return bench_check(b, r, "clearing memory", e);
}

void
bench_free(struct bench *b)
{
	b->d.stream_wait(b->stream);
	while (b->n_pieces > 0)
		b->d.mem_free(b->pieces[--b->n_pieces]);
}

int
bench_launch(struct bench *b, void *kernel, unsigned x, unsigned y, unsigned z,
    unsigned threads, size_t shared, void *params, struct err *e)
{
	const unsigned grid[3] = { x, y, z };

	return bench_check(b, gpu_driver_launch(&b->d, kernel, grid, threads,
	    (unsigned)shared, b->stream, params), "a launch", e);
}

int
bench_fill(struct bench *b, void *to, size_t n, uint32_t keep, uint32_t set, struct err *e)
{
	struct gpu_measure p = { .to = to, .n = n / 16, .n_blocks = b->small ? 1 : 1024,
		.keep = keep, .set = set };
	void *kernel = NULL;
	int r = bench_kernel(b, "gpu_measure_fill", &kernel, e);

	return r != 0 ? r : bench_launch(b, kernel, (unsigned)p.n_blocks, 1, 1, GPU_THREADS, 0,
	    &p, e);
}

static int
record(struct bench *b, int (*work)(struct bench *b, void *arg, struct err *e), void *arg,
    void **exec, struct err *e)
{
	void *graph = NULL;
	int r, code;

	if ((code = b->d.capture_begin(b->stream, CAPTURE_RELAXED)) != 0)
		return bench_check(b, code, "recording", e);
	r = work(b, arg, e);
	code = b->d.capture_end(b->stream, &graph);
	if (r == 0)
		r = bench_check(b, code, "recording", e);
	if (r == 0)
		r = bench_check(b, b->d.graph_make(exec, graph, 0), "making a graph", e);
	if (graph != NULL)
		b->d.graph_free(graph);
	return r;
}

/* Seconds of one replay. */
static int
replay(struct bench *b, void *exec, double *seconds, struct err *e)
{
	float ms = 0;
	int r;

	if ((r = b->d.event_record(b->begin, b->stream)) == 0 &&
	    (r = b->d.graph_launch(exec, b->stream)) == 0 &&
	    (r = b->d.event_record(b->end, b->stream)) == 0 &&
	    (r = b->d.event_wait(b->end)) == 0)
		r = b->d.event_time(&ms, b->begin, b->end);
	*seconds = (double)ms * 1e-3;
	return bench_check(b, r, "a measurement", e);
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int
bench_time(struct bench *b, int (*work)(struct bench *b, void *arg, struct err *e),
    void *arg, double *seconds, struct err *e)
{
	double all[BENCH_RUNS_MAX];
	void *exec = NULL;
	int r = record(b, work, arg, &exec, e);

	/* The first time is not kept: it warms up. */
	if (r == 0)
		r = replay(b, exec, &all[0], e);
	for (int i = 0; i < b->runs && r == 0; i++)
		r = replay(b, exec, &all[i], e);
	if (exec != NULL)
		b->d.exec_free(exec);
	if (r != 0)
		return r;
	qsort(all, (size_t)b->runs, sizeof(*all), by_value);
	*seconds = all[b->runs / 2];
	return 0;
}
