/*
 * Pages of the KV cache on their way out and in, as they are in memory: all layers
 * of a page stand together.
 */
#include <string.h>

#include "backend/cpu.h"

static char *
page_of(const struct cpu *c, int32_t page)
{
	return c->kv + (size_t)page * c->page_size;
}

/* Zeros from position n on, in the page of one KV head at p. */
static void
clear_rest(const struct cpu *c, char *p, int n)
{
	const struct cpu_cache k = { .i8 = c->kv_i8, .v_stride = c->v_stride,
		.head_dim = c->m->config.head_dim };
	size_t size = k.i8 ? 1 : 2, keys = cpu_keys_bytes(&k);
	size_t line = KV_PAGE * size, from = (size_t)n * size;
	size_t row = size * (size_t)k.v_stride, values = KV_PAGE * row;

	for (size_t at = 0; at < keys; at += line)
		memset(p + at + from, 0, line - from);
	p += keys;
	memset(p + (size_t)n * row, 0, values - (size_t)n * row);
	p += values;
	for (int i = 0; i < 2 && k.i8; i++, p += KV_PAGE * sizeof(float))
		memset(p + (size_t)n * sizeof(float), 0,
		    (size_t)(KV_PAGE - n) * sizeof(float));
}

int
cpu_read_page(struct backend *b, int32_t page, int n, void *out, struct err *e)
{
	const struct cpu *c = b->state;
	const struct model_config *f = &c->m->config;
	char *head = out;

	(void)e;
	memcpy(out, page_of(c, page), c->page_size);
	for (int i = 0; n < KV_PAGE && i < f->n_layers * f->n_kv_heads; i++) {
		clear_rest(c, head, n);
		head += c->head_size;
	}
	return 0;
}

int
cpu_write_page(struct backend *b, int32_t page, const void *in, struct err *e)
{
	const struct cpu *c = b->state;

	(void)e;
	memcpy(page_of(c, page), in, c->page_size);
	return 0;
}
