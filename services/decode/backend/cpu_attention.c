/*
 * Attention of the CPU backend: what one member does with a row's keys, or with
 * one piece of the step.  Rows of one sequence that stand together share what is
 * read of the cache: as many as the registers hold.
 */
#include <math.h>
#include <string.h>

#include "backend/cpu.h"

static struct cpu_cache
cache_of(const struct cpu *c, int layer, int kv_head)
{
	return (struct cpu_cache){
		.base = c->kv + (size_t)layer * c->layer_size +
		    (size_t)kv_head * c->head_size,
		.page_stride = c->page_size,
		.head_dim = c->m->config.head_dim, .v_stride = c->v_stride,
	};
}

void
cpu_attention_store(struct cpu *c, int layer, int r, int from, int to)
{
	const struct model_config *f = &c->m->config;
	const struct model_layer *l = &c->m->layers[layer];
	const struct backend_row *row = &c->rows[r];
	int half = f->head_dim / 2, dim = f->head_dim, n = to - from;
	int group = f->n_heads / f->n_kv_heads;
	float *cs = cpu_row(c->cos, r, half), *sn = cpu_row(c->sin, r, half);
	float *q = cpu_row(c->q, r, c->q_stride) + from * group * dim;
	float *key = cpu_row(c->key, r, c->kv_stride) + from * dim;
	float *value = cpu_row(c->value, r, c->kv_stride) + from * dim;

	if (l->q_norm != NULL)
		c->k.norm_heads(q, l->q_norm, n * group, dim, f->norm_eps);
	if (l->k_norm != NULL)
		c->k.norm_heads(key, l->k_norm, n, dim, f->norm_eps);
	c->k.rope(q, cs, sn, n * group, dim, f->rope_interleaved);
	c->k.rope(key, cs, sn, n, dim, f->rope_interleaved);
	for (int h = from; h < to; h++, key += dim, value += dim) {
		struct cpu_cache cache = cache_of(c, layer, h);

		c->k.store(&cache, row->pages[row->pos / KV_PAGE],
		    row->pos % KV_PAGE, key, value);
	}
}

/* Keys stand by element, so the first n of a page are n in each of its lines. */
int
cpu_copy_page(struct backend *b, int32_t from, int32_t to, int n, struct err *e)
{
	const struct cpu *c = b->state;
	const struct model_config *f = &c->m->config;
	size_t keys = (size_t)f->head_dim * KV_PAGE, size = sizeof(*c->kv);

	(void)e;
	for (int i = 0; i < f->n_layers * f->n_kv_heads; i++) {
		struct cpu_cache k = cache_of(c, i / f->n_kv_heads,
		    i % f->n_kv_heads);
		const uint16_t *src = k.base + (size_t)from * k.page_stride;
		uint16_t *dst = k.base + (size_t)to * k.page_stride;

		for (size_t at = 0; at < keys; at += KV_PAGE)
			memcpy(dst + at, src + at, (size_t)n * size);
		memcpy(dst + keys, src + keys,
		    (size_t)n * (size_t)k.v_stride * size);
	}
	return 0;
}

/* The queries of heads head..head+n_heads of the rows of a block. */
static void
attend_block(struct cpu *c, struct cpu_own *own, const struct cpu_block *b,
    const struct cpu_cache *cache, int head, int n_heads)
{
	int dim = c->m->config.head_dim, n = 0, last = 0;
	struct cpu_query q[CPU_QUERIES_MAX];
	const int32_t *pages = c->rows[c->active[b->first]].pages;

	for (int i = 0; i < b->n; i++) {
		int r = c->active[b->first + i];

		last = c->rows[r].pos;
		for (int h = 0; h < n_heads; h++, n++)
			q[n] = (struct cpu_query){
				.q = cpu_row(c->q, r, c->q_stride) +
				    (head + h) * dim,
				.acc = cpu_row(own->acc, n, c->v_stride),
				.max = -INFINITY, .pos = last,
			};
	}
	memset(own->acc, 0, (size_t)(n * c->v_stride) * sizeof(float));
	c->k.attend(cache, pages, q, n, 0, last / CPU_TILE + 1);
	n = 0;
	for (int i = 0; i < b->n; i++)
		for (int h = 0; h < n_heads; h++, n++) {
			float *to = cpu_row(c->att, b->first + i, c->q_stride) +
			    (head + h) * dim;

			for (int d = 0; d < dim; d++)
				to[d] = q[n].acc[d] / q[n].sum;
		}
}

/* Blocks and KV heads in turns: long and short ones are spread that way. */
void
cpu_attention_piece(struct cpu *c, int number, int layer, int piece)
{
	const struct model_config *f = &c->m->config;
	int group = f->n_heads / f->n_kv_heads;
	int step = group < c->k.n_queries ? group : c->k.n_queries;
	int n = c->n_blocks * f->n_kv_heads;

	for (int i = piece; i < n; i += c->n_pieces) {
		const struct cpu_block *b = &c->blocks[i / f->n_kv_heads];
		int kv_head = i % f->n_kv_heads;
		struct cpu_cache cache = cache_of(c, layer, kv_head);

		if (c->lone)
			cpu_attention_store(c, layer, b->first, kv_head,
			    kv_head + 1);
		for (int h = 0; h < group; h += step)
			attend_block(c, &c->own[number], b, &cache,
			    kv_head * group + h, group - h < step ? group - h :
			    step);
	}
}

void
cpu_attention_blocks(struct cpu *c)
{
	const struct model_config *f = &c->m->config;
	int most = c->k.n_queries / (f->n_heads / f->n_kv_heads);

	c->n_blocks = 0;
	for (int i = 0; i < c->n_active; i++) {
		struct cpu_block *b = &c->blocks[c->n_blocks - (i > 0)];

		if (i > 0 && b->n < most && c->rows[c->active[i]].pages ==
		    c->rows[c->active[b->first]].pages &&
		    c->rows[c->active[i]].pos > c->rows[c->active[i - 1]].pos)
			b->n++;
		else
			c->blocks[c->n_blocks++] = (struct cpu_block){ i, 1 };
	}
}
