/*
 * The forward pass on the CPU.  One job of the team from the embedding to the
 * logits: a list of steps, each of which needs all of the one before.  Pieces of
 * a step are rows where it works on rows, and outputs where it is a product.
 * Who computes an element, and in which piece, never changes how it is computed,
 * so the logits do not depend on the number of threads.
 *
 * A small batch (decode) is quantised by every member for itself: it is less
 * work than one more step.  A row that attends to no other one's key of the
 * batch (decode, too) stores its own right before it attends.
 *
 * In the last layer only the rows whose logits or hidden states are wanted go on
 * after their keys and values are stored; they move to the front.  A hidden
 * state is normalised by plain code, one sum in one order, and what the head
 * takes is not touched by it.
 */
#include <math.h>
#include <string.h>

#include "backend/cpu.h"
#include "backend/cpu_pieces.h"

static bool
is_small(const struct cpu *c)
{
	return c->n_active <= CPU_OWN_ROWS;
}

static int
plan_embed(struct cpu *c, int layer)
{
	(void)layer;
	return cpu_pieces_count(c, c->n_rows, 1);
}

static void
embed(struct cpu *c, int number, int layer, int piece)
{
	const struct model_config *f = &c->m->config;
	int half = f->head_dim / 2, from, to;

	(void)number;
	(void)layer;
	cpu_pieces_range(c, c->n_rows, 1, piece, &from, &to);
	for (int r = from; r < to; r++) {
		float *cs = cpu_row(c->cos, r, half), *sn = cpu_row(c->sin, r, half);

		dense_row(&c->m->embed, c->rows[r].token,
		    cpu_row(c->h, r, c->hidden_stride));
		for (int i = 0; i < half; i++) {
			float angle = (float)c->rows[r].pos * c->inv_freq[i];

			cs[i] = cosf(angle);
			sn[i] = sinf(angle);
		}
	}
}

/* Before a product: a large batch is quantised together, in a step. */
static int
plan_rows(struct cpu *c, int layer)
{
	(void)layer;
	return is_small(c) ? 0 : cpu_pieces_count(c, c->n_active, 1);
}

/* One input of products: rows [n], normalised with weight, or not (NULL). */
struct input {
	float *x;
	int32_t stride;
	int n;
	const float *weight;
};

static void
quantise_row(struct cpu *c, int number, const struct input *in,
    struct cpu_rows *out, int r)
{
	c->k.quantise(cpu_row(in->x, r, in->stride), in->weight, in->n,
	    c->m->config.norm_eps, c->own[number].tmp, out, r);
}

static void
quantise(struct cpu *c, int number, int piece, const struct input *in)
{
	int from, to;

	cpu_pieces_range(c, c->n_active, 1, piece, &from, &to);
	for (int r = from; r < to; r++)
		quantise_row(c, number, in, &c->x, r);
}

/* The same rows as a product wants them; a small batch is made here. */
static const struct cpu_rows *
quantised(struct cpu *c, int number, const struct input *in)
{
	struct cpu_own *own = &c->own[number];

	if (!is_small(c))
		return &c->x;
	if (own->made != c->now) {
		own->made = c->now;
		own->x.stride = (in->n + TERNARY_BLOCK - 1) / TERNARY_BLOCK *
		    TERNARY_BLOCK;
		for (int r = 0; r < c->n_active; r++)
			quantise_row(c, number, in, &own->x, r);
	}
	return &own->x;
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

static int
plan_rotate(struct cpu *c, int layer)
{
	(void)layer;
	return c->lone ? 0 : cpu_pieces_count(c, c->n_rows, 1);
}

static void
rotate_rows(struct cpu *c, int number, int layer, int piece)
{
	int from, to;

	(void)number;
	cpu_pieces_range(c, c->n_rows, 1, piece, &from, &to);
	for (int r = from; r < to; r++)
		cpu_attention_store(c, layer, r);
}

/* Only the wanted rows go on.  By one member, between two steps. */
static void
keep_wanted(struct cpu *c)
{
	c->n_active = c->n_wanted;
	for (int i = 0; i < c->n_wanted; i++) {
		int r = c->active[i] = c->wanted[i];

		if (r != i)	/* r > i: what is overwritten is not wanted */
			memcpy(cpu_row(c->h, i, c->hidden_stride),
			    cpu_row(c->h, r, c->hidden_stride),
			    (size_t)c->hidden_stride * sizeof(float));
	}
	cpu_attention_blocks(c);
}

static int
plan_attention(struct cpu *c, int layer)
{
	int n;

	if (layer == c->m->config.n_layers - 1 && c->n_wanted < c->n_rows)
		keep_wanted(c);
	/* No row is wanted: a piece of a long prompt. */
	if (c->n_active == 0)
		return -1;
	n = c->n_spans;
	return cpu_team_size(c->team) == 1 ? 1 : n < CPU_TEAM_PIECES ? n :
	    CPU_TEAM_PIECES;
}

static struct input
attention_input(struct cpu *c, int layer)
{
	return (struct input){ c->h, c->hidden_stride, c->m->config.hidden,
		c->m->layers[layer].attn_norm };
}

static void
quantise_attention(struct cpu *c, int number, int layer, int piece)
{
	struct input in = attention_input(c, layer);

	quantise(c, number, piece, &in);
}

static int
plan_qkv(struct cpu *c, int layer)
{
	int n = c->n_q + 2 * c->n_kv;

	(void)layer;
	return cpu_pieces_count(c, n, cpu_pieces_unit(c, n));
}

static void
qkv(struct cpu *c, int number, int layer, int piece)
{
	const struct model_layer *l = &c->m->layers[layer];
	struct input in = attention_input(c, layer);
	const struct cpu_rows *x = quantised(c, number, &in);
	int n = c->n_q + 2 * c->n_kv, from, to, at = 0;

	cpu_pieces_range(c, n, cpu_pieces_unit(c, n), piece, &from, &to);
	product(c, &l->q, &at, from, to, x, c->q, c->q_stride, false);
	product(c, &l->k, &at, from, to, x, c->key, c->kv_stride, false);
	product(c, &l->v, &at, from, to, x, c->value, c->kv_stride, false);
}

static struct input
o_input(struct cpu *c, int layer)
{
	return (struct input){ c->att, c->q_stride, c->n_q,
		c->m->layers[layer].attn_sub_norm };
}

static void
quantise_o(struct cpu *c, int number, int layer, int piece)
{
	struct input in = o_input(c, layer);

	quantise(c, number, piece, &in);
}

/* Of o and down, which add to the residual. */
static int
plan_hidden(struct cpu *c, int layer)
{
	int n = c->m->config.hidden;

	(void)layer;
	return cpu_pieces_count(c, n, cpu_pieces_unit(c, n));
}

static void
add_product(struct cpu *c, int number, int piece, const struct input *in,
    const struct ternary *w)
{
	const struct cpu_rows *x = quantised(c, number, in);
	int from, to, at = 0;

	cpu_pieces_range(c, w->n_out, cpu_pieces_unit(c, w->n_out), piece, &from, &to);
	product(c, w, &at, from, to, x, c->h, c->hidden_stride, true);
}

static void
o(struct cpu *c, int number, int layer, int piece)
{
	struct input in = o_input(c, layer);

	add_product(c, number, piece, &in, &c->m->layers[layer].o);
}

static struct input
ffn_input(struct cpu *c, int layer)
{
	return (struct input){ c->h, c->hidden_stride, c->m->config.hidden,
		c->m->layers[layer].ffn_norm };
}

static void
quantise_ffn(struct cpu *c, int number, int layer, int piece)
{
	struct input in = ffn_input(c, layer);

	quantise(c, number, piece, &in);
}

/* Whole vectors, for what comes behind the product. */
static int
gate_unit(const struct cpu *c)
{
	int unit = cpu_pieces_unit(c, c->m->config.ffn);

	return unit < CPU_LANES ? CPU_LANES : unit;
}

static int
plan_gate(struct cpu *c, int layer)
{
	(void)layer;
	return cpu_pieces_count(c, c->m->config.ffn, gate_unit(c));
}

static void
gate(struct cpu *c, int number, int layer, int piece)
{
	const struct model_config *f = &c->m->config;
	const struct model_layer *l = &c->m->layers[layer];
	struct input in = ffn_input(c, layer);
	const struct cpu_rows *x = quantised(c, number, &in);
	int from, to, at = 0;

	cpu_pieces_range(c, f->ffn, gate_unit(c), piece, &from, &to);
	product(c, &l->gate, &at, from, to, x, c->gate, c->ffn_stride, false);
	at = 0;
	product(c, &l->up, &at, from, to, x, c->up, c->ffn_stride, false);
	for (int r = 0; r < c->n_active && from < to; r++)
		c->k.gate(cpu_row(c->gate, r, c->ffn_stride) + from,
		    cpu_row(c->up, r, c->ffn_stride) + from, to - from, f->act);
}

static struct input
down_input(struct cpu *c, int layer)
{
	return (struct input){ c->gate, c->ffn_stride, c->m->config.ffn,
		c->m->layers[layer].ffn_sub_norm };
}

static void
quantise_down(struct cpu *c, int number, int layer, int piece)
{
	struct input in = down_input(c, layer);

	quantise(c, number, piece, &in);
}

static void
down(struct cpu *c, int number, int layer, int piece)
{
	struct input in = down_input(c, layer);

	add_product(c, number, piece, &in, &c->m->layers[layer].down);
}

static void
norm_row(struct cpu *c, struct cpu_hidden *out, int r)
{
	c->k.norm(cpu_row(c->h, r, c->hidden_stride), c->m->norm,
	    c->m->config.hidden, c->m->config.norm_eps, out, r);
}

/* Hidden states are told, and only rows whose logits are wanted go on.  By one
 * member, between two steps. */
static int
plan_norm(struct cpu *c, int layer)
{
	int n = 0;

	for (int i = 0; i < c->n_active; i++) {
		const struct backend_row *row = &c->rows[c->active[i]];

		if (row->hidden != NULL)
			cpu_tell_hidden(c, i, row->hidden);
		if (!row->want_logits)
			continue;
		if (n != i)
			memcpy(cpu_row(c->h, n, c->hidden_stride),
			    cpu_row(c->h, i, c->hidden_stride),
			    (size_t)c->hidden_stride * sizeof(float));
		c->active[n++] = c->active[i];
	}
	c->n_active = n;
	return n == 0 ? -1 : plan_rows(c, layer);
}

static void
norm(struct cpu *c, int number, int layer, int piece)
{
	int from, to;

	(void)number;
	(void)layer;
	cpu_pieces_range(c, c->n_active, 1, piece, &from, &to);
	for (int r = from; r < to; r++)
		norm_row(c, &c->hidden, r);
}

static int
plan_head(struct cpu *c, int layer)
{
	(void)layer;
	return cpu_pieces_count(c, c->m->config.vocab, 4);
}

static void
head(struct cpu *c, int number, int layer, int piece)
{
	struct cpu_own *own = &c->own[number];
	struct cpu_hidden *x = is_small(c) ? &own->hidden : &c->hidden;
	int vocab = c->m->config.vocab, from, to;

	(void)layer;
	if (is_small(c) && own->made != c->now) {
		own->made = c->now;
		for (int r = 0; r < c->n_active; r++)
			norm_row(c, x, r);
	}
	cpu_pieces_range(c, vocab, 4, piece, &from, &to);
	c->k.head(&c->m->head, from, to, x, c->n_active, c->logits,
	    (size_t)vocab);
}

struct stage {
	enum cpu_op kind;
	int (*plan)(struct cpu *c, int layer);	/* as struct cpu_team_job's */
	void (*piece)(struct cpu *c, int number, int layer, int piece);
};

static const struct stage begin = { CPU_OP_EMBED, plan_embed, embed };
static const struct stage of_layer[] = {
	{ CPU_OP_QUANTISE, plan_rows, quantise_attention },
	{ CPU_OP_QKV, plan_qkv, qkv },
	{ CPU_OP_STORE, plan_rotate, rotate_rows },
	{ CPU_OP_ATTENTION, plan_attention, cpu_attention_piece },
	{ CPU_OP_QUANTISE, plan_rows, quantise_o },
	{ CPU_OP_O, plan_hidden, o },
	{ CPU_OP_QUANTISE, plan_rows, quantise_ffn },
	{ CPU_OP_GATE_UP, plan_gate, gate },
	{ CPU_OP_QUANTISE, plan_rows, quantise_down },
	{ CPU_OP_DOWN, plan_hidden, down },
};
static const struct stage end[] = {
	{ CPU_OP_QUANTISE, plan_norm, norm }, { CPU_OP_HEAD, plan_head, head },
};
enum {
	N_OF_LAYER = sizeof(of_layer) / sizeof(of_layer[0]),
	N_END = sizeof(end) / sizeof(end[0]),
};

/* The stage that step is, or NULL after the last. */
static const struct stage *
stage_of(const struct cpu *c, int step, int *layer)
{
	int n = c->m->config.n_layers, i = (step - 1) % N_OF_LAYER;

	*layer = (step - 1) / N_OF_LAYER;
	if (step == 0)
		return &begin;
	if (*layer < n)
		return &of_layer[i];
	return *layer == n && i < N_END ? &end[i] : NULL;
}

static int
plan(void *arg, int step)
{
	struct cpu *c = arg;
	int layer;
	const struct stage *s = stage_of(c, step, &layer);

	c->now++;
	c->n_pieces = s == NULL ? -1 : s->plan(c, layer);
	if (c->n_pieces != 0)	/* else there is no such step */
		cpu_ops_next(c, c->n_pieces < 0 ? CPU_OP_NONE : s->kind, layer);
	return c->n_pieces;
}

static void
run_piece(void *arg, int number, int step, int piece)
{
	int layer;
	const struct stage *s = stage_of(arg, step, &layer);

	s->piece(arg, number, layer, piece);
}

int
cpu_forward(struct backend *b, const struct backend_row *rows, int n_rows,
    float *logits, struct err *e)
{
	static const struct cpu_team_job job = { plan, run_piece };
	struct cpu *c = b->state;

	(void)e;
	c->rows = rows;
	c->n_rows = c->n_active = n_rows;
	c->logits = logits;
	c->n_wanted = 0;
	c->lone = true;
	for (int i = 0; i < n_rows; i++) {
		bool wanted = rows[i].want_logits || rows[i].hidden != NULL;

		c->active[i] = i;
		if (wanted)
			c->wanted[c->n_wanted++] = i;
		if (!wanted ||
		    (i > 0 && rows[i].pages == rows[i - 1].pages))
			c->lone = false;
	}
	cpu_attention_blocks(c);
	cpu_team_run(c->team, &job, c);
	return 0;
}
