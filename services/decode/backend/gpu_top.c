/*
 * Rows that ask for their largest logits alone.  They stand behind those with all of them
 * in the order of the head, and the device writes what they get to memory of the host.
 */
#include <string.h>

#include "backend/gpu.h"

_Static_assert((int)GPU_TOP == BACKEND_TOP_MAX, "as many as a row may ask for");

enum { SLICE_MIN = 2048 };	/* what a block does in about the time a launch takes */

void
gpu_top_want(struct gpu *g, const struct backend_row *rows, int n, struct gpu_shape *s)
{
	char *at = g->staging + g->wanted_at;
	int32_t *wanted = (int32_t *)(void *)at;

	s->n_wanted = s->top = 0;
	for (int i = 0; i < n; i++)
		if (rows[i].want_logits)
			wanted[s->n_wanted++] = i;
	s->n_full = s->n_wanted;
	for (int i = 0; i < n; i++) {
		if (rows[i].want_logits || rows[i].n_top == 0)
			continue;
		wanted[s->n_wanted++] = i;
		s->top = s->top > 1 || rows[i].n_top > 1 ? GPU_TOP : 1;
	}
}

int
gpu_top_step(struct gpu *g, const struct gpu_shape *s, int32_t first, int32_t n,
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
gpu_top_give(const struct gpu *g, const struct backend_row *rows, int n)
{
	const uint64_t *keys = g->host_top;

	for (int i = 0; i < n; i++) {
		if (rows[i].want_logits || rows[i].n_top == 0)
			continue;
		for (int k = 0; k < rows[i].n_top; k++)
			rows[i].top[k] = (struct backend_top){
				.id = (int32_t)~(uint32_t)keys[k],
				.logit = logit_of(keys[k]) };
		keys += GPU_TOP;
	}
}
