#ifndef TESTS_GGUF_MODEL_H
#define TESTS_GGUF_MODEL_H

/*
 * The small model of same_model.h as a GGUF file, in any of the types, and with
 * one thing about it changed.
 */
#include "gguf_file.h"
#include "same_model.h"

enum change {
	UNCHANGED,
	NO_KEY, NO_TENSOR,		/* name */
	KEY_INT, KEY_FLOAT, KEY_BOOL, KEY_STRING, KEY_ARRAY,
	TYPE,				/* of tensor name, number */
	COLUMNS, ROWS,			/* of tensor name, number */
	CUT, GROW,			/* tensor name by number bytes */
	POKE,				/* at byte number of tensor name, text[0] */
	TENSOR,				/* one more */
};

struct gm_change {
	enum change change;
	const char *name;
	double number;
	const char *text;
};

struct gm {
	const char *arch;
	struct same_model m;
	const struct gf_ternary *ternary;	/* of projections; NULL: floats */
	uint32_t floats;		/* their type then: 0, 1, 30 */
	uint32_t dense, norms;		/* types; dense may be a ternary one */
	const struct gf_ternary *dense_ternary;
	struct gm_change c;
	struct gguf_file f;
};

static inline bool
gm_is(const struct gm *g, enum change change, const char *name)
{
	return g->c.change == change && strcmp(g->c.name, name) == 0;
}

/* Is the key to be left out, or to come with another value? */
static inline bool
gm_no_key(const struct gm *g, const char *key)
{
	return g->c.change >= NO_KEY && g->c.change <= KEY_ARRAY &&
	    g->c.change != NO_TENSOR && strcmp(g->c.name, key) == 0;
}

static inline void
gm_int(struct gm *g, const char *suffix, int32_t v)
{
	char key[96];

	snprintf(key, sizeof(key), suffix[0] == '.' ? "%s%s" : "%.0s%s",
	    g->arch, suffix);
	if (!gm_no_key(g, key))
		gf_int(&g->f, key, (uint32_t)v);
}

static inline void
gm_float(struct gm *g, const char *suffix, float v)
{
	char key[96];

	snprintf(key, sizeof(key), "%s%s", g->arch, suffix);
	if (!gm_no_key(g, key))
		gf_float(&g->f, key, v);
}

static inline void
gm_string(struct gm *g, const char *key, const char *v)
{
	if (!gm_no_key(g, key))
		gf_string(&g->f, key, v);
}

static inline void
gm_tokenizer(struct gm *g)
{
	char text[16], a, b;

	gm_string(g, "tokenizer.ggml.model", "gpt2");
	gm_string(g, "tokenizer.ggml.pre", "gpt-2");
	if (!gm_no_key(g, "tokenizer.ggml.tokens")) {
		gf_array(&g->f, "tokenizer.ggml.tokens", 8, SAME_VOCAB);
		for (int32_t id = 0; id < SAME_VOCAB; id++) {
			same_token_text(id, text);
			gf_text(&g->f.pairs, text);
		}
	}
	gf_array(&g->f, "tokenizer.ggml.token_type", 5, SAME_VOCAB);
	for (int32_t id = 0; id < SAME_VOCAB; id++)
		gf_u32(&g->f.pairs, same_special(id) != NULL ? 3 : 1);
	gf_array(&g->f, "tokenizer.ggml.merges", 8, SAME_MERGES);
	for (int32_t i = 0; i < SAME_MERGES; i++) {
		same_merge(i, &a, &b);
		snprintf(text, sizeof(text), "%c %c", a, b);
		gf_text(&g->f.pairs, text);
	}
	gm_int(g, "tokenizer.ggml.bos_token_id", SAME_BOS);
	gm_int(g, "tokenizer.ggml.eos_token_id", SAME_EOS);
	gm_string(g, "tokenizer.chat_template", "{{ their own }}");
}

static inline void
gm_keys(struct gm *g)
{
	const struct model_config *c = &g->m.config;
	const struct gm_change *k = &g->c;

	gm_string(g, "general.architecture", g->arch);
	gm_string(g, "general.type", "model");
	gm_int(g, ".context_length", c->n_ctx);
	gm_int(g, ".embedding_length", c->hidden);
	gm_int(g, ".block_count", c->n_layers);
	gm_int(g, ".feed_forward_length", c->ffn);
	gm_int(g, ".attention.head_count", c->n_heads);
	gm_int(g, ".attention.head_count_kv", c->n_kv_heads);
	if (strcmp(g->arch, "qwen3") == 0)
		gm_int(g, ".attention.key_length", c->head_dim);
	else
		gm_int(g, ".rope.dimension_count", c->head_dim);
	gm_float(g, ".attention.layer_norm_rms_epsilon", c->norm_eps);
	gm_float(g, ".rope.freq_base", c->rope_theta);
	gm_tokenizer(g);
	if (k->change == KEY_INT)
		gf_int(&g->f, k->name, (uint32_t)(int64_t)k->number);
	if (k->change == KEY_FLOAT)
		gf_float(&g->f, k->name, (float)k->number);
	if (k->change == KEY_BOOL)
		gf_bool(&g->f, k->name, k->number != 0);
	if (k->change == KEY_STRING)
		gf_string(&g->f, k->name, k->text);
	if (k->change == KEY_ARRAY) {
		gf_array(&g->f, k->name, 4, 1);
		gf_u32(&g->f.pairs, 1);
	}
}

/* Tensor name begins; false if it is to be left out. */
static inline bool
gm_begin(struct gm *g, const char *name, uint32_t type, int32_t cols,
    int32_t rows)
{
	if (gm_is(g, NO_TENSOR, name))
		return false;
	if (gm_is(g, TYPE, name))
		type = (uint32_t)g->c.number;
	if (gm_is(g, COLUMNS, name))
		cols = (int32_t)g->c.number;
	if (gm_is(g, ROWS, name))
		rows = (int32_t)g->c.number;
	gf_tensor(&g->f, name, type, (uint64_t)cols, (uint64_t)rows);
	return true;
}

/* Its data began at byte `start`. */
static inline void
gm_end(struct gm *g, const char *name, size_t start)
{
	struct buf *b = &g->f.data;

	if (gm_is(g, CUT, name))
		b->len -= (size_t)g->c.number;
	for (int i = 0; gm_is(g, GROW, name) && i < (int)g->c.number; i++)
		buf_add(b, "", 1);
	if (gm_is(g, POKE, name))
		b->data[start + (size_t)g->c.number] = g->c.text[0];
}

static inline void
gm_put_float(struct buf *b, uint32_t type, float v)
{
	uint32_t u;
	uint8_t p[2];

	memcpy(&u, &v, 4);
	if (type == 0) {
		gf_f32(b, v);
		return;
	}
	gf_put_half(p, v);
	if (type == 30) {
		p[0] = (uint8_t)(u >> 16);
		p[1] = (uint8_t)(u >> 24);
	}
	buf_add(b, p, 2);
}

static inline void
gm_norm(struct gm *g, const char *name, enum h1b_part part, int32_t layer)
{
	size_t start;

	if (!gm_begin(g, name, g->norms, same_cols(&g->m, part), 0))
		return;
	start = g->f.data.len;
	for (int32_t i = 0; i < same_cols(&g->m, part); i++)
		gm_put_float(&g->f.data, g->norms, same_norm(&g->m, part, layer,
		    i));
	gm_end(g, name, start);
}

/* Row `row` of an embedding or head whose values are integers / 64. */
static inline void
gm_dense_row(struct gm *g, enum h1b_part part, int32_t row)
{
	struct buf *b = &g->f.data;
	int32_t n = same_cols(&g->m, part);
	int v[256], sc[16], off[8];

	for (int32_t at = 0; at < n; at += 256) {
		for (int32_t i = 0; i < 256; i++)
			v[i] = same_dense64(&g->m, part, row, at + i);
		if (g->dense_ternary != NULL) {
			const struct gf_ternary *t = g->dense_ternary;

			for (int i = 0; i < 256; i++)
				v[i]++;
			for (int i = 0; i < 256; i += t->block)
				gf_put_ternary(b, t, v + i, 1.0f / 64);
		} else if (g->dense == 8) {
			for (int i = 0; i < 256; i += 32)
				gf_put_q8_0(b, v + i, 1.0f / 64);
		} else if (g->dense == 14) {
			/* Every second factor is negative. */
			for (int i = 0; i < 16; i++)
				sc[i] = i % 2 == 0 ? 1 : -1;
			for (int i = 0; i < 256; i++)
				v[i] *= sc[i / 16];
			gf_put_q6_k(b, v, sc, 1.0f / 64);
		} else if (g->dense == 12) {
			int ones[] = { 1, 1, 1, 1, 1, 1, 1, 1 };

			for (int i = 0; i < 8; i++)
				off[i] = 7 + i % 2;
			for (int i = 0; i < 256; i++)
				v[i] += off[i / 32];
			gf_put_q4_k(b, v, ones, off, 1.0f / 64, 1.0f / 64);
		} else
			for (int i = 0; i < 256; i++)
				gm_put_float(b, g->dense, (float)v[i] / 64);
	}
}

static inline void
gm_dense(struct gm *g, const char *name, enum h1b_part part)
{
	int32_t rows = same_rows(&g->m, part);
	size_t start;

	if (!gm_begin(g, name, g->dense_ternary != NULL ? g->dense_ternary->id :
	    g->dense, same_cols(&g->m, part), rows))
		return;
	start = g->f.data.len;
	for (int32_t r = 0; r < rows; r++)
		gm_dense_row(g, part, r);
	if (g->dense_ternary != NULL && g->dense_ternary->scale_at < 0)
		gf_put_tail(&g->f.data, 1.0f / 64);
	gm_end(g, name, start);
}

/* The row that llama.cpp's converter moves to row `row`: see gguf_model.h. */
static inline int32_t
gm_source_row(const struct gm *g, enum h1b_part part, int32_t row)
{
	int32_t n = g->m.config.head_dim;

	if (strcmp(g->arch, "llama") != 0 || (part != H1B_Q && part != H1B_K))
		return row;
	return row / n * n + row % 2 * (n / 2) + row % n / 2;
}

static inline void
gm_projection(struct gm *g, const char *name, enum h1b_part part,
    int32_t layer)
{
	int32_t rows = same_rows(&g->m, part), cols = same_cols(&g->m, part);
	const struct gf_ternary *type = g->ternary;
	size_t start;
	int t[256];

	if (!gm_begin(g, name, type != NULL ? type->id : g->floats, cols, rows))
		return;
	start = g->f.data.len;
	for (int32_t o = 0; o < rows; o++) {
		int32_t r = gm_source_row(g, part, o);

		for (int32_t i = 0; i < cols; i++) {
			int w = same_weight(&g->m, part, layer, r, i);
			float d = same_scale(&g->m, part, layer, r, i);

			if (type == NULL) {
				gm_put_float(&g->f.data, g->floats,
				    (float)w * d);
				continue;
			}
			t[i % type->block] = w + 1;
			if (i % type->block == type->block - 1)
				gf_put_ternary(&g->f.data, type, t, d);
		}
	}
	if (type != NULL && type->scale_at < 0)
		gf_put_tail(&g->f.data, same_scale(&g->m, part, layer, 0, 0));
	gm_end(g, name, start);
}

static inline void
gm_layer(struct gm *g, int32_t k)
{
	static const struct {
		const char *name;
		enum h1b_part part;
		int what;	/* 0 projection, 1 norm, 2 sub-norm, 3 of q, k */
	} all[] = {
		{ "attn_norm", H1B_ATTN_NORM, 1 }, { "attn_q", H1B_Q, 0 },
		{ "attn_k", H1B_K, 0 }, { "attn_v", H1B_V, 0 },
		{ "attn_output", H1B_O, 0 },
		{ "attn_q_norm", H1B_Q_NORM, 3 },
		{ "attn_k_norm", H1B_K_NORM, 3 },
		{ "attn_sub_norm", H1B_ATTN_SUB_NORM, 2 },
		{ "ffn_norm", H1B_FFN_NORM, 1 }, { "ffn_gate", H1B_GATE, 0 },
		{ "ffn_up", H1B_UP, 0 }, { "ffn_down", H1B_DOWN, 0 },
		{ "ffn_sub_norm", H1B_FFN_SUB_NORM, 2 },
	};
	char name[64];

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		snprintf(name, sizeof(name), "blk.%d.%s.weight", k,
		    all[i].name);
		if (all[i].what == 0)
			gm_projection(g, name, all[i].part, k);
		else if (all[i].what == 1 ||
		    (all[i].what == 2 && g->m.config.sub_norms) ||
		    (all[i].what == 3 && g->m.config.qk_norm))
			gm_norm(g, name, all[i].part, k);
	}
}

/* The file; to be freed. */
static inline struct buf
gm_file(struct gm *g)
{
	gm_keys(g);
	gm_dense(g, "token_embd.weight", H1B_EMBED);
	for (int32_t k = 0; k < g->m.config.n_layers; k++)
		gm_layer(g, k);
	gm_norm(g, "output_norm.weight", H1B_NORM, -1);
	if (!g->m.config.tied)
		gm_dense(g, "output.weight", H1B_HEAD);
	if (g->c.change == TENSOR) {
		gf_tensor(&g->f, g->c.name, 0, 8, 0);
		for (int i = 0; i < 8; i++)
			gf_f32(&g->f.data, 1);
	}
	return gf_finish(&g->f);
}

#endif
