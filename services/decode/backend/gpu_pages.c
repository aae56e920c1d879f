/*
 * Pages of the KV cache on their way out and in.  They are copied by the calling thread,
 * outside the stream of passes, which may be running: nobody writes to a page that is read,
 * and what wrote to it has been waited for.
 */
#include <string.h>

#include "backend/gpu.h"

static size_t
layer_bytes(const struct gpu *g)
{
	return (size_t)g->page_size * sizeof(uint16_t);
}

static char *
page_of(const struct gpu *g, int layer, int32_t page)
{
	char *cache = g->cache;

	return cache + ((size_t)layer * (size_t)g->o.n_pages + (size_t)page) *
	    layer_bytes(g);
}

/* Zeros from position n on, in the page of one layer at p: see gpu_attention.cache. */
static void
clear_rest(const struct gpu *g, char *p, int n)
{
	size_t column = 32 * sizeof(uint16_t), at = (size_t)n * sizeof(uint16_t);
	int32_t dims = g->dim_stride;

	for (int i = 0; i < g->m->config.n_kv_heads; i++) {
		for (int32_t d = 0; d < dims; d += 32, p += GPU_PAGE * column)
			memset(p + (size_t)n * column, 0, (size_t)(GPU_PAGE - n) * column);
		for (int32_t d = 0; d < dims; d++, p += column)
			memset(p + at, 0, column - at);
	}
}

int
gpu_read_page(struct backend *b, int32_t page, int n, void *out, struct err *e)
{
	struct gpu *g = b->state;
	char *to = out;
	int r;

	if ((r = gpu_begin(g, e)) != 0)
		return r;
	for (int i = 0; i < g->m->config.n_layers; i++, to += layer_bytes(g)) {
		if ((r = g->d.to_host(to, page_of(g, i, page), layer_bytes(g))) != 0)
			return gpu_check(g, r, "reading a page", e);
		if (n < GPU_PAGE)
			clear_rest(g, to, n);
	}
	return 0;
}

int
gpu_write_page(struct backend *b, int32_t page, const void *in, struct err *e)
{
	struct gpu *g = b->state;
	const char *from = in;
	int r;

	if ((r = gpu_begin(g, e)) != 0)
		return r;
	for (int i = 0; i < g->m->config.n_layers; i++, from += layer_bytes(g))
		if ((r = g->d.to_device(page_of(g, i, page), from, layer_bytes(g))) != 0)
			return gpu_check(g, r, "writing a page", e);
	/* The last of it may still be on its way, and a pass is in another stream. */
	if ((r = g->d.stream_wait(NULL)) != 0)
		return gpu_check(g, r, "writing a page", e);
	return 0;
}
