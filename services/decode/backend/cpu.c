/*
 * Memory of the CPU backend.  Two mappings, taken here so that the token path
 * meets no malloc: one piece of scratch, touched at once, whose layout is written
 * once, in lay_out, which runs twice: first to count, then to hand out addresses;
 * and the KV cache.  That is for the longest contexts of all slots, which few
 * boxes ever hold, so it costs memory as it is used; that there is enough is
 * checked at the start.  All layers of a page stand together: were it the pages
 * of a layer, the first token would take 2 MiB of memory in each layer.
 *
 * The cache is f16: half the traffic of f32, and on the demo model the
 * perplexity differs only in the fifth digit; or int8, half of that again.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu.h"

struct arena {
	char *base;		/* NULL: only count */
	size_t used;
};

static void *
take(struct arena *a, size_t n, size_t size)
{
	char *p = a->base == NULL ? NULL : a->base + a->used;

	a->used += (n * size + 127) / 64 * 64;	/* and a little air in between */
	return p;
}

static void
take_rows(struct arena *a, struct cpu_rows *x, size_t n, int32_t stride,
    bool groups)
{
	x->stride = stride;
	x->q = take(a, n * (size_t)stride, 1);
	x->scale = take(a, n, sizeof(float));
	x->sum = take(a, n, sizeof(int32_t));
	if (groups)
		x->parts = take(a, n * (size_t)stride / 64, sizeof(int32_t));
}

static void
take_hidden(struct arena *a, struct cpu_hidden *x, size_t n, int32_t stride)
{
	x->f_stride = stride;
	x->q_stride = (stride + 255) / 256 * 256;
	x->f = take(a, n * (size_t)x->f_stride, sizeof(float));
	x->q = take(a, n * (size_t)x->q_stride, sizeof(int16_t));
	x->scale = take(a, n, sizeof(float));
	x->sum = take(a, n, sizeof(int64_t));
}

static int32_t
round_up(int32_t n, int32_t step)
{
	return (n + step - 1) / step * step;
}

static int32_t
widest(const struct cpu *c)
{
	int32_t w = c->hidden_stride > c->q_stride ? c->hidden_stride :
	    c->q_stride;

	return c->ffn_stride > w ? c->ffn_stride : w;
}

/* Has any matrix a factor for groups of its columns? */
static bool
has_groups(const struct model *m)
{
	for (int i = 0; i < m->config.n_layers; i++) {
		const struct model_layer *l = &m->layers[i];
		const struct ternary *all[] = { &l->q, &l->k, &l->v, &l->o,
			&l->gate, &l->up, &l->down };

		for (size_t j = 0; j < sizeof(all) / sizeof(all[0]); j++)
			if (cpu_in_groups(all[j]->group, all[j]->n_in))
				return true;
	}
	return false;
}

static void
take_parts(const struct cpu *c, struct arena *a, struct cpu_parts *p, size_t n)
{
	n *= CPU_SPANS_MAX;
	p->q = take(a, n, sizeof(*p->q));
	p->acc = take(a, n * (size_t)c->v_stride, sizeof(*p->acc));
}

static void
lay_out(struct cpu *c, struct arena *a)
{
	size_t n = (size_t)c->o.max_rows, f = sizeof(float);
	size_t half = (size_t)c->m->config.head_dim / 2;
	size_t group = (size_t)c->m->config.n_heads /
	    (size_t)c->m->config.n_kv_heads;
	int32_t wide = round_up(widest(c), TERNARY_BLOCK);
	bool groups = has_groups(c->m);

	c->h = take(a, n * (size_t)c->hidden_stride, f);
	c->q = take(a, n * (size_t)c->q_stride, f);
	c->key = take(a, n * (size_t)c->kv_stride, f);
	c->value = take(a, n * (size_t)c->kv_stride, f);
	c->att = take(a, n * (size_t)c->q_stride, f);
	c->gate = take(a, n * (size_t)c->ffn_stride, f);
	c->up = take(a, n * (size_t)c->ffn_stride, f);
	c->cos = take(a, n * half, f);
	c->sin = take(a, n * half, f);
	take_rows(a, &c->x, n, wide, groups);
	take_hidden(a, &c->hidden, n, c->hidden_stride);
	c->wanted = take(a, n, sizeof(*c->wanted));
	c->active = take(a, n, sizeof(*c->active));
	c->blocks = take(a, n, sizeof(*c->blocks));
	c->inv_freq = take(a, half, f);
	if (cpu_team_size(c->team) > 1) {
		take_parts(c, a, &c->parts, CPU_SPLIT_ROWS *
		    (size_t)c->m->config.n_heads);
		c->left = take(a, CPU_SPLIT_ROWS *
		    (size_t)c->m->config.n_kv_heads, sizeof(*c->left));
	}
	for (int i = 0; i < cpu_team_size(c->team); i++) {
		take_rows(a, &c->own[i].x, CPU_OWN_ROWS, wide, groups);
		take_hidden(a, &c->own[i].hidden, CPU_OWN_ROWS,
		    c->hidden_stride);
		c->own[i].tmp = take(a, (size_t)wide, f);
		c->own[i].q = take(a, (size_t)c->n_q, f);
		take_parts(c, a, &c->own[i].parts, group > CPU_QUERIES_MAX ?
		    group : CPU_QUERIES_MAX);
	}
}

static void
set_sizes(struct cpu *c)
{
	const struct model_config *f = &c->m->config;

	c->n_q = f->n_heads * f->head_dim;
	c->n_kv = f->n_kv_heads * f->head_dim;
	c->hidden_stride = round_up(f->hidden, CPU_LANES);
	c->q_stride = round_up(c->n_q, CPU_LANES);
	c->kv_stride = round_up(c->n_kv, CPU_LANES);
	c->ffn_stride = round_up(f->ffn, CPU_LANES);
	c->v_stride = round_up(f->head_dim, CPU_LANES);
	c->kv_i8 = c->o.kv != NULL && strcmp(c->o.kv, "i8") == 0;
	c->head_size = cpu_page_bytes(&(struct cpu_cache){ .i8 = c->kv_i8,
		.head_dim = f->head_dim, .v_stride = c->v_stride });
	c->layer_size = c->head_size * (size_t)f->n_kv_heads;
	c->page_size = c->layer_size * (size_t)f->n_layers;
	c->kv_bytes = c->page_size * (size_t)c->o.n_pages;
}

static void
free_state(struct cpu *c)
{
	cpu_team_destroy(c->team);
	memory_free(&c->kv_memory);
	memory_free(&c->scratch_memory);
	free(c->own);
	free(c);
}

static void
cpu_close(struct backend *b)
{
	free_state(b->state);
	*b = (struct backend){ 0 };
}

static int
take_memory(struct cpu *c, struct err *e)
{
	const struct model_config *f = &c->m->config;
	uint64_t nodes = cpu_team_nodes(c->team);
	struct arena a = { 0 };

	c->own = calloc((size_t)cpu_team_size(c->team), sizeof(*c->own));
	if (c->own == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for %d threads",
		    cpu_team_size(c->team));
	lay_out(c, &a);
	c->scratch_bytes = a.used;
	if (memory_take(a.used, true, nodes, "the buffers of a batch",
	    &c->scratch_memory, e) != 0 || memory_populate(&c->scratch_memory,
	    "the buffers of a batch", e) != 0)
		return ERR_NO_MEMORY;
	a = (struct arena){ .base = c->scratch_memory.p };
	lay_out(c, &a);
	if (memory_take(c->kv_bytes, true, nodes,
	    "the KV cache (--kv-tokens, --context)", &c->kv_memory, e) != 0)
		return ERR_NO_MEMORY;
	c->kv = c->kv_memory.p;
	/* In f32 from here on, as the reference implementation has it. */
	for (int i = 0; i < f->head_dim / 2; i++)
		c->inv_freq[i] = (float)(1.0 / pow((double)f->rope_theta,
		    2.0 * i / f->head_dim));
	return 0;
}

int
backend_cpu_open(const struct model *m, const struct backend_options *o,
    struct backend *b, struct err *e)
{
	struct cpu *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the backend");
	c->m = m;
	c->o = *o;
	r = cpu_kernels_open(o->isa == NULL ? "auto" : o->isa, &c->k, e);
	if (r == 0)
		r = cpu_team_create(o->n_threads, &c->team, e);
	if (r == 0 && o->pin)
		cpu_team_pin(c->team);
	if (r == 0) {
		set_sizes(c);
		r = take_memory(c, e);
	}
	if (r != 0) {
		free_state(c);
		return r;
	}
	*b = (struct backend){
		.has_hidden = true, .approximates = m->config.act_float,
		.prefers_t2 = m->layers[0].q.form == TERNARY_B3 && !c->k.base3,
		.kv_bytes = c->kv_bytes, .scratch_bytes = c->scratch_bytes,
		.forward = cpu_forward, .copy_page = cpu_copy_page,
		.read_page = cpu_read_page, .write_page = cpu_write_page,
		.page_bytes = c->page_size,
		.ops = cpu_ops_read, .close = cpu_close, .state = c,
	};
	snprintf(b->name, sizeof(b->name), "cpu %s, %d thread%s", c->k.title,
	    cpu_team_size(c->team), cpu_team_size(c->team) == 1 ? "" : "s");
	/* Floats are rounded as the instructions have it. */
	snprintf(b->kv_format, sizeof(b->kv_format), "cpu %s %s %s", c->k.title,
	    c->kv_i8 ? "i8" : "f16", m->config.rope_interleaved ?
	    "interleaved" : "split-half");
	return 0;
}
