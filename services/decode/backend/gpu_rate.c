/*
 * What --bench asks of a device beside its steps: how fast its memory is read, by a kernel
 * that does nothing else (kernels/measure.hip), and what a token reads of the weights as they
 * are there.
 */
#include "backend/gpu.h"
#include "backend/gpu_module.h"
#include "kernels/gpu_measure.h"

enum { STEP = 8 * GPU_THREADS * 16, PASSES = 4 };

/* Between two events; *ms: the least of PASSES. */
static int
time_reading(struct gpu *g, void *kernel, struct gpu_measure *p, void *const events[2],
    float *ms)
{
	const unsigned grid[3] = { (unsigned)p->n_blocks, 1, 1 };
	int r;

	for (int i = 0; i < PASSES; i++) {
		float t = 0;

		if ((r = g->d.event_record(events[0], g->stream)) != 0 ||
		    (r = gpu_driver_launch(&g->d, kernel, grid, GPU_THREADS, 0, g->stream,
		    p)) != 0 || (r = g->d.event_record(events[1], g->stream)) != 0 ||
		    (r = g->d.event_wait(events[1])) != 0 ||
		    (r = g->d.event_time(&t, events[0], events[1])) != 0)
			return r;
		*ms = t > 0 && (*ms <= 0 || t < *ms) ? t : *ms;
	}
	return 0;
}

/* n bytes at at, with several numbers of blocks. */
static int
read_all(struct gpu *g, const uint8_t *at, size_t n, float *ms)
{
	static const int blocks[] = { 256, 1024, 4096 };
	void *kernel = NULL, *events[2] = { 0 }, *to = g->scratch;
	int r;

	if ((r = gpu_module_kernel(&g->d, g->module, "gpu_measure_read", &kernel)) == 0 &&
	    (r = g->d.event_create(&events[0], 0)) == 0)
		r = g->d.event_create(&events[1], 0);
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]) && r == 0; i++) {
		struct gpu_measure p = { .from = at, .to = to, .n = n / 16,
			.n_blocks = blocks[i] };

		r = time_reading(g, kernel, &p, events, ms);
	}
	for (int i = 0; i < 2; i++)
		if (events[i] != NULL)
			g->d.event_free(events[i]);
	return r;
}

int
gpu_memory_rate(struct backend *b, size_t n, double *rate, struct err *e)
{
	struct gpu *g = b->state;
	size_t free_bytes = 0, total = 0;
	void *at = NULL;
	float ms = 0;
	int r = gpu_begin(g, e), code;

	if (r != 0)
		return r;
	if ((code = g->d.mem_info(&free_bytes, &total)) != 0)
		return gpu_check(g, code, "asking for its memory", e);
	n = (n < free_bytes / 2 ? n : free_bytes / 2) / STEP * STEP;
	code = n == 0 ? GPU_NO_MEMORY : g->d.mem_alloc(&at, n);
	if (code != 0 && code != GPU_NO_MEMORY)
		return gpu_check(g, code, "taking memory", e);
	if (code != 0)
		return err_set(e, ERR_NO_MEMORY, "GPU: no memory to see how fast it is; %zu of "
		    "%zu MiB are free", free_bytes >> 20, total >> 20);
	if ((code = g->d.fill_async(at, 1, n, g->stream)) == 0)
		code = read_all(g, at, n, &ms);
	g->d.mem_free(at);
	if (code != 0)
		return gpu_check(g, code, "reading its memory", e);
	*rate = (double)n / ((double)ms * 1e-3);
	return 0;
}

static int64_t
matrix_bytes(const struct gpu_matrix *m, int64_t rows)
{
	return rows * (16 * (int64_t)m->units + 4 * (int64_t)m->n_groups);
}

int64_t
gpu_token_bytes(const struct gpu *g)
{
	const struct model_config *f = &g->m->config;
	int64_t n = backend_dense_bytes(&g->m->head) + 4 * (int64_t)f->hidden;

	for (int i = 0; i < f->n_layers; i++) {
		const struct gpu_layer *l = &g->layers[i];

		n += matrix_bytes(&l->qkv, l->qkv.n_out) + matrix_bytes(&l->o, l->o.n_out) +
		    matrix_bytes(&l->gate, 2 * (int64_t)l->gate.n_out) +
		    matrix_bytes(&l->down, l->down.n_out) + 8 * (int64_t)f->hidden;
		if (f->sub_norms)
			n += 4 * ((int64_t)f->n_heads * f->head_dim + f->ffn);
	}
	return n;
}
