/*
 * What rows ask for.  Those with all of their logits come first before the head, then those
 * that want the largest alone, which the device writes to memory of the host.  Hidden states
 * are told by a launch of their own: few passes have any.
 */
#include <string.h>

#include "backend/gpu.h"

_Static_assert((int)GPU_TOP == BACKEND_TOP_MAX, "as many as a row may ask for");

enum { SLICE_MIN = 2048 };	/* what a block does in about the time a launch takes */

static bool
wants_top(const struct backend_row *r)
{
	return !r->want_logits && r->n_top > 0;
}

static int32_t *
wanted_of(char *batch, const struct gpu *g)
{
	char *at = batch + g->wanted_at;

	return (int32_t *)(void *)at;
}

void
gpu_wanted(struct gpu *g, const struct backend_row *rows, int n, struct gpu_shape *s)
{
	int32_t *wanted = wanted_of(g->staging, g), k = 0;

	s->top = 0;
	for (int i = 0; i < n; i++)
		if (rows[i].want_logits)
			wanted[k++] = i;
	s->n_full = k;
	for (int i = 0; i < n; i++)
		if (wants_top(&rows[i])) {
			wanted[k++] = i;
			s->top = s->top > 1 || rows[i].n_top > 1 ? GPU_TOP : 1;
		}
	s->n_wanted = k;
	for (int i = 0; i < n; i++)
		if (rows[i].hidden != NULL)
			wanted[k++] = i;
	s->n_hidden = k - s->n_wanted;
}

int
gpu_wanted_top(struct gpu *g, const struct gpu_shape *s, int32_t first, int32_t n,
    struct err *e)
{
	int32_t skip = s->n_full > first ? s->n_full - first : 0, slice;
	struct gpu_top p = { .keys = g->top_keys, .done = g->top_done,
		.n = g->m->config.vocab, .k = s->top };

	if (skip >= n)
		return 0;
	slice = (p.n + GPU_TOP - 1) / GPU_TOP;
	p.slice = slice > SLICE_MIN ? slice : SLICE_MIN;
	p.logits = g->logits + (size_t)skip * (size_t)p.n;
	p.out = g->host_top + (size_t)(first + skip - s->n_full) * GPU_TOP;
	const unsigned grid[3] = { (unsigned)((p.n + p.slice - 1) / p.slice),
		(unsigned)(n - skip), 1 };

	return gpu_launch(g, GPU_KERNEL_top, grid, GPU_THREADS, 0, &p, e);
}

int
gpu_wanted_hidden(struct gpu *g, const struct gpu_shape *s, struct err *e)
{
	const unsigned grid[3] = { (unsigned)s->n_hidden, 1, 1 };
	struct gpu_final p = { .batch.wanted = wanted_of(g->batch, g) + s->n_wanted,
		.x = g->x, .norm = g->norm, .f = g->host_hidden,
		.n_in = g->m->config.hidden, .x_stride = g->x_stride,
		.f_stride = g->f_stride, .eps = g->m->config.norm_eps };

	return gpu_launch(g, GPU_KERNEL_hidden, grid, GPU_THREADS, 0, &p, e);
}

/* The logit that a key was made of; 0 has lost its sign. */
static float
logit_of(uint64_t key)
{
	uint32_t bits = (uint32_t)(key >> 32);
	float f;

	bits = bits >> 31 ? bits & 0x7fffffffu : ~bits;
	memcpy(&f, &bits, sizeof(f));
	return f;
}

void
gpu_wanted_give(const struct gpu *g, const struct backend_row *rows, int n)
{
	const uint64_t *keys = g->host_top;
	const float *hidden = g->host_hidden;

	for (int i = 0; i < n; i++) {
		if (wants_top(&rows[i])) {
			for (int k = 0; k < rows[i].n_top; k++)
				rows[i].top[k] = (struct backend_top){
					.id = (int32_t)~(uint32_t)keys[k],
					.logit = logit_of(keys[k]) };
			keys += GPU_TOP;
		}
		if (rows[i].hidden != NULL) {
			memcpy(rows[i].hidden, hidden, (size_t)g->m->config.hidden *
			    sizeof(*hidden));
			hidden += g->f_stride;
		}
	}
}
