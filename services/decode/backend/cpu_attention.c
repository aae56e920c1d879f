/*
 * Attention of the CPU backend: what one member does with a row's keys, or with
 * one piece of the step.  Rows of one sequence that stand together share what is
 * read of the cache: as many as the registers hold.
 *
 * A context is attended to in spans whose length depends on the position alone.
 * Each has a softmax of its own, and these are merged in order, so it does not
 * matter who does a span, or whether one member does them all.  A small batch
 * (decode) is cut into spans: two members then share a long context evenly,
 * however few KV heads there are; who ends the last span of a head merges them,
 * which spares a step.
 */
#include <math.h>
#include <string.h>

#include "backend/cpu.h"

enum { SPAN_TILES = 4 };	/* in one span, unless there were too many */

static struct cpu_cache
cache_of(const struct cpu *c, int layer, int kv_head)
{
	return (struct cpu_cache){
		.base = c->kv + (size_t)layer * c->layer_size +
		    (size_t)kv_head * c->head_size,
		.page_stride = c->page_size, .i8 = c->kv_i8,
		.head_dim = c->m->config.head_dim, .v_stride = c->v_stride,
	};
}

/* n heads of q of row r: normalised and turned. */
static void
turn_queries(struct cpu *c, int layer, int r, float *q, int n)
{
	const struct model_config *f = &c->m->config;
	const float *weight = c->m->layers[layer].q_norm;
	int half = f->head_dim / 2;

	if (weight != NULL)
		c->k.norm_heads(q, weight, n, f->head_dim, f->norm_eps);
	c->k.rope(q, cpu_row(c->cos, r, half), cpu_row(c->sin, r, half), n,
	    f->head_dim, f->rope_interleaved);
}

/* KV heads from..to of row r: the key as well, and both into the cache. */
static void
store_keys(struct cpu *c, int layer, int r, int from, int to)
{
	const struct model_config *f = &c->m->config;
	const float *weight = c->m->layers[layer].k_norm;
	const struct backend_row *row = &c->rows[r];
	int half = f->head_dim / 2, dim = f->head_dim;
	float *key = cpu_row(c->key, r, c->kv_stride) + from * dim;
	float *value = cpu_row(c->value, r, c->kv_stride) + from * dim;

	if (weight != NULL)
		c->k.norm_heads(key, weight, to - from, dim, f->norm_eps);
	c->k.rope(key, cpu_row(c->cos, r, half), cpu_row(c->sin, r, half),
	    to - from, dim, f->rope_interleaved);
	for (int h = from; h < to; h++, key += dim, value += dim) {
		struct cpu_cache cache = cache_of(c, layer, h);

		c->k.store(&cache, row->pages[row->pos / KV_PAGE],
		    row->pos % KV_PAGE, key, value);
	}
}

void
cpu_attention_store(struct cpu *c, int layer, int r)
{
	turn_queries(c, layer, r, cpu_row(c->q, r, c->q_stride),
	    c->m->config.n_heads);
	store_keys(c, layer, r, 0, c->m->config.n_kv_heads);
}

/* Keys stand by element, so the first n of a page are n in each of its lines. */
static void
copy_head(const struct cpu_cache *k, int32_t from, int32_t to, int n)
{
	const char *src = k->base + (size_t)from * k->page_stride;
	char *dst = k->base + (size_t)to * k->page_stride;
	size_t size = k->i8 ? 1 : 2, keys = cpu_keys_bytes(k), count = (size_t)n;
	size_t values = KV_PAGE * size * (size_t)k->v_stride;
	size_t factors = KV_PAGE * sizeof(float);

	for (size_t at = 0; at < keys; at += KV_PAGE * size)
		memcpy(dst + at, src + at, count * size);
	dst += keys;
	src += keys;
	memcpy(dst, src, count * size * (size_t)k->v_stride);
	for (int i = 0; i < 2 && k->i8; i++)
		memcpy(dst + values + (size_t)i * factors,
		    src + values + (size_t)i * factors, count * sizeof(float));
}

int
cpu_copy_page(struct backend *b, int32_t from, int32_t to, int n, struct err *e)
{
	const struct cpu *c = b->state;
	const struct model_config *f = &c->m->config;

	(void)e;
	for (int i = 0; i < f->n_layers * f->n_kv_heads; i++) {
		struct cpu_cache k = cache_of(c, i / f->n_kv_heads,
		    i % f->n_kv_heads);

		copy_head(&k, from, to, n);
	}
	return 0;
}

/* Tiles in a span of the context of a row, and how many spans there are. */
static int
span_of(int pos)
{
	int tiles = pos / CPU_TILE + 1, n = SPAN_TILES;

	while (tiles > n * CPU_SPANS_MAX)
		n *= 2;
	return n;
}

static int
spans_of(int pos)
{
	int n = span_of(pos) * CPU_TILE;

	return pos / n + 1;
}

/* A block and a KV head, and where its parts are. */
struct work {
	const struct cpu_block *b;
	struct cpu_cache cache;
	const float *q;		/* of its first row: its heads */
	int kv_head, group;
	const struct cpu_parts *parts;
	int slot, slots;	/* of its first query; from a row to the next */
};

/* Queries of heads from..from+n_heads of the group, over one span. */
static void
attend_heads(struct cpu *c, const struct work *w, int span, int from,
    int n_heads)
{
	int dim = c->m->config.head_dim, n = 0, pos = 0, slot[CPU_QUERIES_MAX];
	int end = (span + 1) * w->b->span;
	struct cpu_query q[CPU_QUERIES_MAX];
	const int32_t *pages = c->rows[c->active[w->b->first]].pages;

	for (int i = 0; i < w->b->n; i++) {
		/* Rows of a block stand together in the batch, too. */
		const float *row = w->q + (size_t)i * (size_t)c->q_stride;

		pos = c->rows[c->active[w->b->first + i]].pos;
		for (int h = from; h < from + n_heads; h++, n++) {
			slot[n] = (w->slot + i * w->slots + h) * CPU_SPANS_MAX +
			    span;
			q[n] = (struct cpu_query){
				.q = row + h * dim, .max = -INFINITY, .pos = pos,
				.acc = cpu_row(w->parts->acc, slot[n], c->v_stride),
			};
			memset(q[n].acc, 0, (size_t)c->v_stride * sizeof(float));
		}
	}
	end = end < pos / CPU_TILE + 1 ? end : pos / CPU_TILE + 1;
	c->k.attend(&w->cache, pages, q, n, span * w->b->span, end);
	for (int i = 0; i < n; i++)
		w->parts->q[slot[i]] = q[i];
}

/* All heads of the group; what the first ones read is in a cache then. */
static void
attend_span(struct cpu *c, const struct work *w, int span)
{
	int step = w->group < c->k.n_queries ? w->group : c->k.n_queries;

	for (int h = 0; h < w->group; h += step)
		attend_heads(c, w, span, h, w->group - h < step ?
		    w->group - h : step);
}

static void
merge_spans(struct cpu *c, const struct work *w)
{
	int dim = c->m->config.head_dim;

	for (int i = 0; i < w->b->n; i++) {
		float *to = cpu_row(c->att, w->b->first + i, c->q_stride) +
		    w->kv_head * w->group * dim;
		int n = spans_of(c->rows[c->active[w->b->first + i]].pos);

		for (int h = 0; h < w->group; h++)
			c->k.merge(w->parts->q + (w->slot + i * w->slots + h) *
			    CPU_SPANS_MAX, n, dim, to + h * dim);
	}
}

/*
 * Of a row that stores its own key, the heads of q that belong to kv_head are
 * turned in a copy: other members may need them for other spans.
 */
static const float *
own_queries(struct cpu *c, struct cpu_own *own, int layer, int r, int kv_head,
    int group)
{
	int n = group * c->m->config.head_dim;

	memcpy(own->q, cpu_row(c->q, r, c->q_stride) + kv_head * n,
	    (size_t)n * sizeof(float));
	turn_queries(c, layer, r, own->q, group);
	return own->q;
}

/* Piece number span of block b and kv_head. */
static void
attend_piece(struct cpu *c, struct cpu_own *own, int layer,
    const struct cpu_block *b, int kv_head, int span)
{
	const struct model_config *f = &c->m->config;
	int group = f->n_heads / f->n_kv_heads, r = c->active[b->first];
	bool alone = b->pieces == 1;
	struct work w = { .b = b, .cache = cache_of(c, layer, kv_head),
		.kv_head = kv_head, .group = group,
		.parts = alone ? &own->parts : &c->parts,
		.slot = alone ? 0 : b->first * f->n_heads + kv_head * group,
		.slots = alone ? group : f->n_heads,
	};
	atomic_int *left;

	if (c->lone && span == b->pieces - 1)
		store_keys(c, layer, r, kv_head, kv_head + 1);
	w.q = c->lone ? own_queries(c, own, layer, r, kv_head, group) :
	    cpu_row(c->q, r, c->q_stride) + kv_head * group * f->head_dim;
	if (alone) {
		int n = spans_of(c->rows[c->active[b->first + b->n - 1]].pos);

		for (int i = 0; i < n; i++)
			attend_span(c, &w, i);
		merge_spans(c, &w);
		return;
	}
	attend_span(c, &w, span);
	left = &c->left[(b - c->blocks) * f->n_kv_heads + kv_head];
	/* Who is the last to end a span merges; the count is for the next layer. */
	if (atomic_fetch_sub(left, 1) == 1) {
		atomic_store(left, b->pieces);
		merge_spans(c, &w);
	}
}

/* Blocks and KV heads in turns: long and short ones are spread that way. */
void
cpu_attention_piece(struct cpu *c, int number, int layer, int piece)
{
	int n_kv_heads = c->m->config.n_kv_heads, at = 0;

	for (int k = 0, i = piece; k < c->n_blocks; k++) {
		const struct cpu_block *b = &c->blocks[k];

		for (; i < at + b->pieces * n_kv_heads; i += c->n_pieces)
			attend_piece(c, &c->own[number], layer, b,
			    (i - at) / b->pieces, (i - at) % b->pieces);
		at += b->pieces * n_kv_heads;
	}
}

/* May the next row join the block? */
static bool
joins(const struct cpu *c, const struct cpu_block *b, int i)
{
	const struct model_config *f = &c->m->config;
	int most = c->k.n_queries / (f->n_heads / f->n_kv_heads);
	int r = c->active[i], before = c->active[i - 1];

	return b->n < most && r == before + 1 &&
	    c->rows[r].pages == c->rows[before].pages &&
	    c->rows[r].pos > c->rows[before].pos &&
	    span_of(c->rows[r].pos) == b->span;
}

void
cpu_attention_blocks(struct cpu *c)
{
	int n_kv_heads = c->m->config.n_kv_heads;
	bool split = cpu_team_size(c->team) > 1 && c->n_active <= CPU_SPLIT_ROWS;

	c->n_blocks = c->n_spans = 0;
	for (int i = 0; i < c->n_active; i++) {
		struct cpu_block *b = &c->blocks[c->n_blocks - (i > 0)];

		if (i > 0 && joins(c, b, i))
			b->n++;
		else
			c->blocks[c->n_blocks++] = (struct cpu_block){ i, 1,
				span_of(c->rows[c->active[i]].pos), 1 };
	}
	for (int i = 0; i < c->n_blocks; i++) {
		struct cpu_block *b = &c->blocks[i];
		int last = c->active[b->first + b->n - 1];

		if (split)
			b->pieces = spans_of(c->rows[last].pos);
		for (int h = 0; h < n_kv_heads && split; h++)
			atomic_store(&c->left[i * n_kv_heads + h], b->pieces);
		c->n_spans += b->pieces * n_kv_heads;
	}
}
