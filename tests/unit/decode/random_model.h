#ifndef TESTS_RANDOM_MODEL_H
#define TESTS_RANDOM_MODEL_H

/*
 * Small models in memory with shapes that no real one has, filled with noise
 * that does not change from run to run.  Scales and norms are chosen so that
 * activations stay around 1 and the logits spread a little.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "model/base3.h"
#include "model/model.h"
#include "model/packed.h"

static uint64_t random_state = 1;

/* What was taken, so that nothing of it is a leak. */
static void *random_taken[4096];
static size_t n_random_taken;

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t
random_bits(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static int
random_below(int n)
{
	return (int)(random_bits() % (uint64_t)n);
}

/* -1..1, and now and then far outside. */
static float
random_float(void)
{
	float v = (float)(random_bits() >> 40) / (float)(1 << 23) - 1.0F;

	return random_below(64) == 0 ? 8.0F * v : v;
}

/* Zeros on a line of the cache; exits when memory is short, as a test may. */
static void *
random_take(size_t n)
{
	void *p = aligned_alloc(64, (n + 64 + 63) / 64 * 64);

	if (p == NULL)
		abort();
	memset(p, 0, (n + 64 + 63) / 64 * 64);
	random_taken[n_random_taken++ % 4096] = p;
	return p;
}

static float *
random_floats(int n, float middle, float spread)
{
	float *p = random_take((size_t)n * sizeof(*p));

	for (int i = 0; i < n; i++)
		p[i] = middle + spread * random_float();
	return p;
}

/* group: columns that share a factor, 0 for all of a row. */
static void
random_ternary(struct ternary *w, int n_out, int n_in, int group)
{
	int stride = (n_in + TERNARY_BLOCK - 1) / TERNARY_BLOCK * 64;
	uint8_t *codes = random_take((size_t)n_out * (size_t)stride);

	memset(codes, 0x55, (size_t)n_out * (size_t)stride);
	*w = (struct ternary){ .codes = codes, .n_out = n_out, .n_in = n_in,
		.stride = stride, .group = group > 0 ? group : n_in };
	w->scales = random_floats(n_out * ((n_in + w->group - 1) / w->group),
	    1.2F / sqrtf((float)n_in), 0.01F);
	for (int o = 0; o < n_out; o++)
		for (int i = 0; i < n_in; i++) {
			int in = i % TERNARY_BLOCK, shift = in / 64 * 2;
			uint8_t *b = codes + (size_t)o * (size_t)stride +
			    i / TERNARY_BLOCK * 64 + in % 64;

			*b = (uint8_t)((*b & ~(3 << shift)) |
			    random_below(3) << shift);
		}
}

static void
random_packed(struct dense *d)
{
	size_t stride = (size_t)packed_stride(d->type, d->n_in);
	uint8_t *data = random_take((size_t)d->n_out * stride);
	float *scales = random_take((size_t)d->n_out * sizeof(*scales));
	float *row = random_take((size_t)d->n_in * sizeof(*row));

	for (int o = 0; o < d->n_out; o++) {
		for (int i = 0; i < d->n_in; i++)
			row[i] = random_float();
		scales[o] = packed_make(d->type, row, d->n_in, data +
		    (size_t)o * stride);
	}
	d->data = data;
	d->scales = scales;
}

/* The weights of w, which has layout T2, in layout B3. */
static inline struct ternary
random_as_base3(const struct ternary *w)
{
	struct ternary b = *w;
	uint8_t *row = random_take((size_t)w->n_in), *codes;

	b.form = TERNARY_B3;
	b.stride = base3_stride(w->n_in);
	codes = random_take((size_t)b.n_out * (size_t)b.stride);
	for (int o = 0; o < w->n_out; o++) {
		const uint8_t *p = w->codes + (size_t)o * (size_t)w->stride;

		for (int i = 0; i < w->n_in; i++)
			row[i] = p[i / TERNARY_BLOCK * 64 + i % 64] >>
			    i % TERNARY_BLOCK / 64 * 2 & 3;
		base3_pack(row, w->n_in, codes + (size_t)o * (size_t)b.stride);
	}
	b.codes = codes;
	free(row);
	return b;
}

static void
random_dense(struct dense *d, enum dense_type type, int n_out, int n_in,
    int group)
{
	size_t n = (size_t)n_out * (size_t)n_in;
	void *data;

	*d = (struct dense){ .type = type, .n_out = n_out, .n_in = n_in,
		.group = group > 0 ? group : n_in };
	if (packed_bits(type) > 0) {
		random_packed(d);
		return;
	}
	d->data = data = random_take(n * 4);
	if (type == DENSE_I8)
		d->scales = random_floats(n_out * ((n_in + d->group - 1) /
		    d->group), 0.01F, 0.001F);
	for (size_t i = 0; i < n; i++) {
		float f = random_float();
		uint32_t bits;

		memcpy(&bits, &f, 4);
		if (type == DENSE_I8)
			((int8_t *)data)[i] = (int8_t)(random_below(255) - 127);
		else if (type == DENSE_F16)	/* +-1/2..2 */
			((uint16_t *)data)[i] = (uint16_t)(0x3800 |
			    (random_bits() & 0x87ff));
		else if (type == DENSE_BF16)
			((uint16_t *)data)[i] = (uint16_t)(bits >> 16);
		else
			((float *)data)[i] = f;
	}
}

struct random_shape {
	const char *what;
	int vocab, hidden, n_layers, n_heads, n_kv_heads, head_dim, ffn;
	enum model_act act;
	bool rope_interleaved, sub_norms, tied;
	enum dense_type type;
	/* Columns with a factor of their own; 0: one for all. */
	int group, ffn_group, head_group;
	bool qk_norm, act_float;
	enum dense_type packed;		/* of the head, if it is; not tied */
};

static const struct random_shape random_shapes[] = {
	{ "GQA 2:1, sub-norms, relu2, tied i8", 101, 256, 2, 4, 2, 64, 512,
	    MODEL_RELU2, false, true, true, .type = DENSE_I8 },
	{ "MHA, odd head_dim, silu, bf16", 67, 320, 2, 3, 3, 100, 336,
	    MODEL_SILU, false, false, false, .type = DENSE_BF16 },
	{ "GQA 4:1, head_dim 128, silu, i8", 130, 512, 2, 4, 1, 128, 264,
	    MODEL_SILU, false, false, false, .type = DENSE_I8 },
	{ "GQA 5:1, interleaved, relu2, f32", 64, 200, 3, 5, 1, 40, 1000,
	    MODEL_RELU2, true, true, false, .type = DENSE_F32 },
	{ "f16, MHA, head_dim 64", 96, 256, 1, 2, 2, 64, 256,
	    MODEL_RELU2, false, false, false, .type = DENSE_F16 },
	{ "one head, everything small", 3, 18, 1, 1, 1, 2, 7,
	    MODEL_RELU2, false, false, true, .type = DENSE_BF16, .qk_norm = true },
	{ "groups of 128, GQA 2:1, norms of q and k, i8 in groups of 32", 101,
	    512, 2, 4, 2, 128, 768, MODEL_SILU, false, false, true,
	    .type = DENSE_I8, .group = 128, .ffn_group = 128, .head_group = 32,
	    .qk_norm = true },
	{ "segments of 192, short last ones, MHA, head_dim 100", 66, 400, 2, 3,
	    3, 100, 768, MODEL_RELU2, false, true, false, .type = DENSE_I8,
	    .group = 256, .ffn_group = 192, .head_group = 16 },
	{ "groups of 64, head_dim 256, floats", 70, 320, 2, 2, 1, 256, 600,
	    MODEL_SILU, true, false, false, .type = DENSE_F16, .group = 64,
	    .ffn_group = 64, .qk_norm = true, .act_float = true },
	{ "one factor a row, floats, i8 in groups of 128", 65, 336, 2, 4, 4, 34,
	    256, MODEL_SILU, false, false, true, .type = DENSE_I8,
	    .head_group = 128, .act_float = true },
	{ "a head of 6 bits, GQA 2:1", 123, 320, 2, 4, 2, 64, 512, MODEL_RELU2,
	    false, true, false, .type = DENSE_I8, .packed = DENSE_Q6 },
	{ "a head of 4 bits, odd width", 77, 190, 2, 2, 2, 34, 264, MODEL_SILU,
	    false, false, false, .type = DENSE_BF16, .packed = DENSE_Q4 },
};
enum { N_RANDOM_SHAPES = sizeof(random_shapes) / sizeof(random_shapes[0]) };

/* Memory is the test's until it ends. */
static inline void
random_model(const struct random_shape *s, struct model *m)
{
	int n_q = s->n_heads * s->head_dim, n_kv = s->n_kv_heads * s->head_dim;

	random_state = 1;
	*m = (struct model){ .config = {
		.vocab = s->vocab, .hidden = s->hidden, .n_layers = s->n_layers,
		.n_heads = s->n_heads, .n_kv_heads = s->n_kv_heads,
		.head_dim = s->head_dim, .ffn = s->ffn, .n_ctx = 512,
		.rope_theta = 10000, .norm_eps = 1e-5F, .act = s->act,
		.rope_interleaved = s->rope_interleaved,
		.sub_norms = s->sub_norms, .tied = s->tied, .bos = -1,
		.qk_norm = s->qk_norm, .act_float = s->act_float,
	} };
	random_dense(&m->embed, s->type, s->vocab, s->hidden, s->head_group);
	m->head = m->embed;
	if (!s->tied)
		random_dense(&m->head, s->packed != 0 ? s->packed : s->type,
		    s->vocab, s->hidden, s->head_group);
	m->norm = random_floats(s->hidden, 1, 0.1F);
	m->layers = random_take((size_t)s->n_layers * sizeof(*m->layers));
	for (int i = 0; i < s->n_layers; i++) {
		struct model_layer *l = &m->layers[i];

		l->attn_norm = random_floats(s->hidden, 1, 0.1F);
		l->ffn_norm = random_floats(s->hidden, 1, 0.1F);
		if (s->sub_norms) {
			l->attn_sub_norm = random_floats(n_q, 1, 0.1F);
			l->ffn_sub_norm = random_floats(s->ffn, 1, 0.1F);
		}
		if (s->qk_norm) {
			l->q_norm = random_floats(s->head_dim, 1, 0.1F);
			l->k_norm = random_floats(s->head_dim, 1, 0.1F);
		}
		random_ternary(&l->q, n_q, s->hidden, s->group);
		random_ternary(&l->k, n_kv, s->hidden, s->group);
		random_ternary(&l->v, n_kv, s->hidden, s->group);
		random_ternary(&l->o, s->hidden, n_q, s->group);
		random_ternary(&l->gate, s->ffn, s->hidden, s->group);
		random_ternary(&l->up, s->ffn, s->hidden, s->group);
		random_ternary(&l->down, s->hidden, s->ffn, s->ffn_group);
	}
}

#endif
