/*
 * The forward pass on the CPU.  One job of the team from the embedding to the
 * logits, with barriers where a step needs what all members did before: rows
 * are shared out where a step works on rows, outputs where it is a product.
 * Who computes an element never changes how it is computed, so the logits do
 * not depend on the number of threads.
 *
 * A small batch (decode) is quantised by every member for itself: it is less
 * work than to wait for the one who does it.
 *
 * In the last layer only the rows whose logits are wanted go on after their
 * keys and values are stored; they move to the front.
 */
#include <math.h>
#include <string.h>

#include "backend/cpu.h"

/* This member's share of the rows. */
static void
share_rows(const struct cpu *c, int number, int n, int *from, int *to)
{
	cpu_team_share(c->team, number, n, 1, from, to);
}

/* Row r of a buffer. */
static float *
row_at(float *base, int r, int32_t stride)
{
	return base + (size_t)r * (size_t)stride;
}

static void
embed(struct cpu *c, int number)
{
	const struct model_config *f = &c->m->config;
	int half = f->head_dim / 2, from, to;

	share_rows(c, number, c->n_rows, &from, &to);
	for (int r = from; r < to; r++) {
		float *cs = row_at(c->cos, r, half), *sn = row_at(c->sin, r, half);

		dense_row(&c->m->embed, c->rows[r].token,
		    row_at(c->h, r, c->hidden_stride));
		for (int i = 0; i < half; i++) {
			float angle = (float)c->rows[r].pos * c->inv_freq[i];

			cs[i] = cosf(angle);
			sn[i] = sinf(angle);
		}
	}
}

/*
 * The rows left in from [n, stride], normalised with weight (or not, NULL) and
 * quantised: for this member alone if they are few, else with the others.
 */
static const struct cpu_rows *
quantise(struct cpu *c, int number, float *x, int32_t stride, int n,
    const float *weight)
{
	struct cpu_own *own = &c->own[number];
	int rows = c->n_active, from, to;
	float eps = c->m->config.norm_eps;

	if (rows <= CPU_OWN_ROWS) {
		own->x.stride = (n + TERNARY_BLOCK - 1) / TERNARY_BLOCK *
		    TERNARY_BLOCK;
		for (int r = 0; r < rows; r++)
			c->k.quantise(row_at(x, r, stride), weight, n, eps,
			    own->tmp, &own->x, r);
		return &own->x;
	}
	share_rows(c, number, rows, &from, &to);
	for (int r = from; r < to; r++)
		c->k.quantise(row_at(x, r, stride), weight, n, eps, own->tmp,
		    &c->x, r);
	cpu_team_barrier(c->team);
	return &c->x;
}

/*
 * Outputs from..to of several matrices one after another, as if they were one;
 * *at is where w begins in it.
 */
static void
product(const struct cpu *c, const struct ternary *w, int *at, int from, int to,
    const struct cpu_rows *x, float *y, int32_t stride, bool add)
{
	int a = from - *at, b = to - *at;

	*at += w->n_out;
	a = a < 0 ? 0 : a;
	b = b > w->n_out ? w->n_out : b;
	if (a < b)
		c->k.ternary(w, a, b, x, c->n_active, y, stride, add);
}

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

static void
rotate_and_store(struct cpu *c, int number, int layer)
{
	const struct model_config *f = &c->m->config;
	const struct model_layer *l = &c->m->layers[layer];
	int half = f->head_dim / 2, from, to;

	share_rows(c, number, c->n_rows, &from, &to);
	for (int r = from; r < to; r++) {
		const struct backend_row *row = &c->rows[r];
		float *cs = row_at(c->cos, r, half), *sn = row_at(c->sin, r, half);
		float *key = row_at(c->key, r, c->kv_stride);
		float *value = row_at(c->value, r, c->kv_stride);

		if (l->q_norm != NULL)
			c->k.norm_heads(row_at(c->q, r, c->q_stride), l->q_norm,
			    f->n_heads, f->head_dim, f->norm_eps);
		if (l->k_norm != NULL)
			c->k.norm_heads(key, l->k_norm, f->n_kv_heads,
			    f->head_dim, f->norm_eps);
		c->k.rope(row_at(c->q, r, c->q_stride), cs, sn, f->n_heads,
		    f->head_dim, f->rope_interleaved);
		c->k.rope(key, cs, sn, f->n_kv_heads, f->head_dim,
		    f->rope_interleaved);
		for (int h = 0; h < f->n_kv_heads; h++) {
			struct cpu_cache cache = cache_of(c, layer, h);

			c->k.store(&cache, row->pages[row->pos / KV_PAGE],
			    row->pos % KV_PAGE, key + h * f->head_dim,
			    value + h * f->head_dim);
		}
	}
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
				.q = row_at(c->q, r, c->q_stride) +
				    (head + h) * dim,
				.acc = row_at(own->acc, n, c->v_stride),
				.max = -INFINITY, .pos = last,
			};
	}
	memset(own->acc, 0, (size_t)(n * c->v_stride) * sizeof(float));
	c->k.attend(cache, pages, q, n, 0, last / CPU_TILE + 1);
	n = 0;
	for (int i = 0; i < b->n; i++)
		for (int h = 0; h < n_heads; h++, n++) {
			float *to = row_at(c->att, b->first + i, c->q_stride) +
			    (head + h) * dim;

			for (int d = 0; d < dim; d++)
				to[d] = q[n].acc[d] / q[n].sum;
		}
}

/* Blocks and KV heads in turns: long and short ones are spread that way. */
static void
attention(struct cpu *c, int number, int layer)
{
	const struct model_config *f = &c->m->config;
	int group = f->n_heads / f->n_kv_heads;
	int step = group < c->k.n_queries ? group : c->k.n_queries;
	int n = c->n_blocks * f->n_kv_heads;

	for (int i = number; i < n; i += cpu_team_size(c->team)) {
		int kv_head = i % f->n_kv_heads;
		struct cpu_cache cache = cache_of(c, layer, kv_head);

		for (int h = 0; h < group; h += step)
			attend_block(c, &c->own[number],
			    &c->blocks[i / f->n_kv_heads], &cache,
			    kv_head * group + h, group - h < step ? group - h :
			    step);
	}
}

/*
 * Put the rows that are left (all, or the wanted ones) into blocks: as many of
 * one sequence as fill the registers of attend.
 */
static void
make_blocks(struct cpu *c)
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

/* Only the wanted rows go on.  By one member, while the others wait. */
static void
keep_wanted(struct cpu *c)
{
	c->n_active = c->n_wanted;
	for (int i = 0; i < c->n_wanted; i++) {
		int r = c->active[i] = c->wanted[i];

		if (r != i)	/* r > i: what is overwritten is not wanted */
			memcpy(row_at(c->h, i, c->hidden_stride),
			    row_at(c->h, r, c->hidden_stride),
			    (size_t)c->hidden_stride * sizeof(float));
	}
	make_blocks(c);
}

static void
attention_part(struct cpu *c, int number, int i)
{
	const struct model_layer *l = &c->m->layers[i];
	const struct cpu_rows *x;
	int from, to, at = 0;

	x = quantise(c, number, c->h, c->hidden_stride, c->m->config.hidden,
	    l->attn_norm);
	cpu_team_share(c->team, number, c->n_q + 2 * c->n_kv, 4, &from, &to);
	product(c, &l->q, &at, from, to, x, c->q, c->q_stride, false);
	product(c, &l->k, &at, from, to, x, c->key, c->kv_stride, false);
	product(c, &l->v, &at, from, to, x, c->value, c->kv_stride, false);
	cpu_team_barrier(c->team);
	rotate_and_store(c, number, i);
	cpu_team_barrier(c->team);
	if (i == c->m->config.n_layers - 1) {
		if (number == 0)
			keep_wanted(c);
		cpu_team_barrier(c->team);
	}
	attention(c, number, i);
	cpu_team_barrier(c->team);
	x = quantise(c, number, c->att, c->q_stride, c->n_q, l->attn_sub_norm);
	at = 0;
	cpu_team_share(c->team, number, l->o.n_out, 4, &from, &to);
	product(c, &l->o, &at, from, to, x, c->h, c->hidden_stride, true);
	cpu_team_barrier(c->team);
}

static void
ffn_part(struct cpu *c, int number, int i)
{
	const struct model_config *f = &c->m->config;
	const struct model_layer *l = &c->m->layers[i];
	const struct cpu_rows *x;
	int from, to, at = 0;

	x = quantise(c, number, c->h, c->hidden_stride, f->hidden, l->ffn_norm);
	cpu_team_share(c->team, number, f->ffn, CPU_LANES, &from, &to);
	product(c, &l->gate, &at, from, to, x, c->gate, c->ffn_stride, false);
	at = 0;
	product(c, &l->up, &at, from, to, x, c->up, c->ffn_stride, false);
	for (int r = 0; r < c->n_active && from < to; r++)
		c->k.gate(row_at(c->gate, r, c->ffn_stride) + from,
		    row_at(c->up, r, c->ffn_stride) + from, to - from, f->act);
	cpu_team_barrier(c->team);
	x = quantise(c, number, c->gate, c->ffn_stride, f->ffn, l->ffn_sub_norm);
	at = 0;
	cpu_team_share(c->team, number, l->down.n_out, 4, &from, &to);
	product(c, &l->down, &at, from, to, x, c->h, c->hidden_stride, true);
	cpu_team_barrier(c->team);
}

static void
head(struct cpu *c, int number)
{
	const struct model_config *f = &c->m->config;
	int from, to;

	share_rows(c, number, c->n_active, &from, &to);
	for (int r = from; r < to; r++)
		c->k.norm(row_at(c->h, r, c->hidden_stride), c->m->norm,
		    f->hidden, f->norm_eps, &c->hidden, r);
	cpu_team_barrier(c->team);
	cpu_team_share(c->team, number, f->vocab, 4, &from, &to);
	c->k.head(&c->m->head, from, to, &c->hidden, c->n_active, c->logits,
	    (size_t)f->vocab);
}

static void
forward_job(struct cpu_team *t, int number, void *arg)
{
	struct cpu *c = arg;

	embed(c, number);
	cpu_team_barrier(t);
	for (int i = 0; i < c->m->config.n_layers; i++) {
		attention_part(c, number, i);
		/* No row is wanted: a piece of a long prompt. */
		if (c->n_active == 0)
			return;
		ffn_part(c, number, i);
	}
	head(c, number);
}

int
cpu_forward(struct backend *b, const struct backend_row *rows, int n_rows,
    float *logits, struct err *e)
{
	struct cpu *c = b->state;

	(void)e;
	c->rows = rows;
	c->n_rows = c->n_active = n_rows;
	c->logits = logits;
	c->n_wanted = 0;
	for (int i = 0; i < n_rows; i++) {
		c->active[i] = i;
		if (rows[i].want_logits)
			c->wanted[c->n_wanted++] = i;
	}
	make_blocks(c);
	cpu_team_run(c->team, forward_job, c);
	return 0;
}
