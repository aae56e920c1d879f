#ifndef TESTS_SAME_MODEL_H
#define TESTS_SAME_MODEL_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "buf.h"
#include "model/h1b.h"
#include "model/model.h"

/*
 * One small model, to be written in every container and layout by encoders that
 * share nothing with our readers, and to come back with the same weights and,
 * bit for bit, the same logits.
 *
 * Every number is a formula of its place.  Scales are powers of two where a
 * matrix has one, so that a container may hold their inverse; all floats are
 * exact in f16, bf16 and f32.  Sizes fit blocks of 256 columns.
 *
 * Layout of what is asked for: part as in h1b.h; row is an output, col an input.
 */
enum same_scales {
	SAME_TENSOR,		/* one a matrix, a power of two */
	SAME_ROW,		/* one a row */
	SAME_GROUP,		/* one for `group` columns of a row */
	SAME_SEGMENT,		/* q, k, v, gate, up one a row; o, down in two
				 * segments of columns, as TriLM's shards */
};

enum same_zeros {
	SAME_ANY,		/* -1, 0, +1 */
	SAME_NEVER,		/* -1, +1: Q1_0 */
	SAME_ONE_OF_4,		/* one zero in any 4 columns: Sherry */
};

struct same_model {
	struct model_config config;
	enum same_scales scales;
	int32_t group;		/* of SAME_GROUP */
	enum same_zeros zeros;
	int32_t dense_max;	/* embedding and head are k / 64, |k| at most
				 * this: 127, or 31 for six bits */
};

enum {
	SAME_MERGES = 12,	/* ids 256 .. 267 */
	SAME_BOS = 268, SAME_EOS = 269, SAME_EOT = 270, SAME_PAD = 271,
	SAME_VOCAB = 272,
};

/* "bitnet", "llama" or "qwen3"; a test may change it before it is used. */
static inline struct same_model
same_model(const char *family)
{
	struct same_model m = { .config = { .vocab = SAME_VOCAB, .hidden = 256,
	    .n_layers = 2, .n_heads = 4, .n_kv_heads = 2, .head_dim = 64,
	    .ffn = 512, .n_ctx = 256, .rope_theta = 10000, .norm_eps = 1e-5f,
	    .act = MODEL_SILU, .bos = SAME_BOS, .eos = { SAME_EOS }, .n_eos = 1 },
	    .dense_max = 127, .group = 128 };

	if (strcmp(family, "bitnet") == 0) {
		m.config.act = MODEL_RELU2;
		m.config.sub_norms = m.config.tied = true;
	} else if (strcmp(family, "qwen3") == 0)
		m.config.qk_norm = m.config.act_float = true;
	else
		ck_assert_str_eq(family, "llama");
	return m;
}

/* splitmix64 (Steele, Lea and Flood 2014), as a hash of a place. */
static inline uint32_t
same_hash(enum h1b_part part, int32_t layer, int32_t row, int32_t col)
{
	uint64_t x = (uint64_t)part << 56 ^ (uint64_t)(layer + 1) << 48 ^
	    (uint64_t)row << 24 ^ (uint64_t)col;

	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return (uint32_t)(x >> 32);
}

static inline int32_t
same_rows(const struct same_model *m, enum h1b_part part)
{
	const struct model_config *c = &m->config;

	switch (part) {
	case H1B_EMBED:
	case H1B_HEAD:
		return c->vocab;
	case H1B_Q:
		return c->n_heads * c->head_dim;
	case H1B_K:
	case H1B_V:
		return c->n_kv_heads * c->head_dim;
	case H1B_O:
	case H1B_DOWN:
		return c->hidden;
	case H1B_GATE:
	case H1B_UP:
		return c->ffn;
	default:
		return 1;
	}
}

static inline int32_t
same_cols(const struct same_model *m, enum h1b_part part)
{
	const struct model_config *c = &m->config;

	switch (part) {
	case H1B_O:
	case H1B_ATTN_SUB_NORM:
		return c->n_heads * c->head_dim;
	case H1B_DOWN:
	case H1B_FFN_SUB_NORM:
		return c->ffn;
	case H1B_Q_NORM:
	case H1B_K_NORM:
		return c->head_dim;
	default:
		return c->hidden;
	}
}

/* -1, 0 or +1: of q, k, v, o, gate, up, down. */
static inline int
same_weight(const struct same_model *m, enum h1b_part part, int32_t layer,
    int32_t row, int32_t col)
{
	uint32_t h = same_hash(part, layer, row, col);

	if (m->zeros == SAME_ANY)
		return (int)(h % 3) - 1;
	if (m->zeros == SAME_ONE_OF_4 &&
	    (int32_t)(same_hash(part, layer, row, col / 4 + 100000) % 4) ==
	    col % 4)
		return 0;
	return h % 2 == 0 ? -1 : 1;
}

/* Columns of one factor in a matrix. */
static inline int32_t
same_group(const struct same_model *m, enum h1b_part part)
{
	int32_t n = same_cols(m, part);

	if (m->scales == SAME_GROUP)
		return m->group;
	if (m->scales == SAME_SEGMENT && (part == H1B_O || part == H1B_DOWN))
		return n / 2;
	return n;
}

/* The factor of weight (row, col). */
static inline float
same_scale(const struct same_model *m, enum h1b_part part, int32_t layer,
    int32_t row, int32_t col)
{
	int32_t group = col / same_group(m, part);
	uint32_t h;

	if (m->scales == SAME_TENSOR)
		return 1.0f / (float)(8u << same_hash(part, layer, 0, 0) % 3);
	h = same_hash(part, layer, row + 70000, group);
	return (float)(64 + h % 64) / 2048;
}

/* attn_norm, q_norm, …; of `norm` layer is -1. */
static inline float
same_norm(const struct same_model *m, enum h1b_part part, int32_t layer,
    int32_t i)
{
	(void)m;
	return (float)(32 + same_hash(part, layer, 0, i) % 64) / 64;
}

/* 64 times value (row, col) of embedding or head, an integer. */
static inline int32_t
same_dense64(const struct same_model *m, enum h1b_part part, int32_t row,
    int32_t col)
{
	uint32_t n = 2 * (uint32_t)m->dense_max + 1;

	/* A tied head is the embedding. */
	part = m->config.tied ? H1B_EMBED : part;
	return (int32_t)(same_hash(part, -1, row, col) % n) - m->dense_max;
}

static inline float
same_dense(const struct same_model *m, enum h1b_part part, int32_t row,
    int32_t col)
{
	return (float)same_dense64(m, part, row, col) / 64;
}

/*
 * The tokenizer: byte-level BPE, GPT-2's pattern.  Ids 0 .. 255 are the bytes,
 * then come SAME_MERGES tokens of two letters in the order of their merges,
 * then the special tokens "<|bos|>", "<|eos|>", "<|eot|>", "<|pad|>".
 */
static inline const char *
same_special(int32_t id)
{
	static const char *const names[] = { "<|bos|>", "<|eos|>", "<|eot|>",
	    "<|pad|>" };

	return id >= SAME_BOS && id < SAME_VOCAB ? names[id - SAME_BOS] : NULL;
}

/* Merge i: the two tokens (single letters) that make id 256 + i. */
static inline void
same_merge(int32_t i, char *left, char *right)
{
	static const char pairs[] = "theainerrenoatouisitesed";

	*left = pairs[2 * i];
	*right = pairs[2 * i + 1];
}

/* A byte as GPT-2 writes it in a vocabulary: UTF-8, with its NUL. */
static inline void
same_byte_text(int32_t byte, char out[4])
{
	int32_t cp = byte, n = 0;

	if (byte < 33 || (byte > 126 && byte < 161) || byte == 173) {
		for (int32_t b = 0; b < byte; b++)
			n += b < 33 || (b > 126 && b < 161) || b == 173;
		cp = 256 + n;
	}
	if (cp < 128) {
		out[0] = (char)cp;
		out[1] = '\0';
		return;
	}
	out[0] = (char)(0xc0 | cp >> 6);
	out[1] = (char)(0x80 | (cp & 63));
	out[2] = '\0';
}

/* Token id as a vocabulary has it (GPT-2's letters for bytes). */
static inline void
same_token_text(int32_t id, char out[16])
{
	if (id < 256)
		same_byte_text(id, out);
	else if (same_special(id) != NULL)
		snprintf(out, 16, "%s", same_special(id));
	else {
		same_merge(id - 256, &out[0], &out[1]);
		out[2] = '\0';
	}
}

/* Append that tokenizer as a tokenizer.json. */
static inline void
same_tokenizer_json(struct buf *out)
{
	char text[16], a, b;

	buf_adds(out, "{\"version\":\"1.0\",\"added_tokens\":[");
	for (int32_t id = SAME_BOS; id < SAME_VOCAB; id++)
		buf_printf(out, "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":"
		    "false,\"lstrip\":false,\"rstrip\":false,\"normalized\":"
		    "false,\"special\":true}", id > SAME_BOS ? "," : "", id,
		    same_special(id));
	buf_adds(out, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
	    "\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
	    "\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"merges\":[");
	for (int32_t i = 0; i < SAME_MERGES; i++) {
		same_merge(i, &a, &b);
		buf_printf(out, "%s\"%c %c\"", i > 0 ? "," : "", a, b);
	}
	buf_adds(out, "],\"vocab\":{");
	for (int32_t id = 0; id < SAME_BOS; id++) {
		same_token_text(id, text);
		buf_printf(out, "%s\"%s%s\":%d", id > 0 ? "," : "",
		    id == '"' || id == '\\' ? "\\" : "", text, id);
	}
	buf_adds(out, "}}}");
}

/* Every weight, factor, norm and dense value of m is that of want. */
static inline void
same_ternary(const struct ternary *w, const struct same_model *want,
    enum h1b_part part, int32_t layer)
{
	int32_t group = w->group > 0 ? w->group : w->n_in;
	int32_t n_groups = (w->n_in + group - 1) / group;
	int n_codes = 0, n_scales = 0;

	ck_assert_int_eq(w->n_out, same_rows(want, part));
	ck_assert_int_eq(w->n_in, same_cols(want, part));
	for (int32_t o = 0; o < w->n_out; o++)
		for (int32_t i = 0; i < w->n_in; i++) {
			float scale = w->scales[o * n_groups + i / group];

			n_codes += ternary_weight(w, o, i) !=
			    same_weight(want, part, layer, o, i);
			n_scales += !(scale == same_scale(want, part, layer, o,
			    i));
		}
	ck_assert_msg(n_codes == 0, "part %d of layer %d: %d weights differ",
	    (int)part, layer, n_codes);
	ck_assert_msg(n_scales == 0, "part %d of layer %d: the factors of %d "
	    "weights differ", (int)part, layer, n_scales);
}

static inline void
same_vector(const float *v, const struct same_model *want, enum h1b_part part,
    int32_t layer)
{
	int n_wrong = 0;

	ck_assert_ptr_nonnull(v);
	for (int32_t i = 0; i < same_cols(want, part); i++)
		n_wrong += !(v[i] == same_norm(want, part, layer, i));
	ck_assert_msg(n_wrong == 0, "part %d of layer %d: %d values differ",
	    (int)part, layer, n_wrong);
}

static inline void
same_matrix(const struct dense *d, const struct same_model *want,
    enum h1b_part part)
{
	float *row = calloc((size_t)d->n_in, sizeof(*row));
	int n_wrong = 0;

	ck_assert_int_eq(d->n_out, same_rows(want, part));
	ck_assert_int_eq(d->n_in, same_cols(want, part));
	for (int32_t o = 0; o < d->n_out; o++) {
		dense_row(d, o, row);
		for (int32_t i = 0; i < d->n_in; i++)
			n_wrong += !(row[i] == same_dense(want, part, o, i));
	}
	free(row);
	ck_assert_msg(n_wrong == 0, "part %d: %d values differ", (int)part,
	    n_wrong);
}

static inline void
same_check(const struct model *m, const struct same_model *want)
{
	const struct model_config *c = &want->config;

	ck_assert_int_eq(m->config.n_layers, c->n_layers);
	ck_assert_int_eq(m->config.n_kv_heads, c->n_kv_heads);
	ck_assert_int_eq(m->config.head_dim, c->head_dim);
	ck_assert_int_eq((int)m->config.act, (int)c->act);
	ck_assert_int_eq(m->config.sub_norms, c->sub_norms);
	ck_assert_int_eq(m->config.qk_norm, c->qk_norm);
	ck_assert_int_eq(m->config.act_float, c->act_float);
	ck_assert_int_eq(m->config.rope_interleaved, c->rope_interleaved);
	ck_assert_float_eq(m->config.rope_theta, c->rope_theta);
	ck_assert_float_eq(m->config.norm_eps, c->norm_eps);
	same_matrix(&m->embed, want, H1B_EMBED);
	same_matrix(&m->head, want, H1B_HEAD);
	same_vector(m->norm, want, H1B_NORM, -1);
	for (int32_t k = 0; k < c->n_layers; k++) {
		const struct model_layer *l = &m->layers[k];

		same_vector(l->attn_norm, want, H1B_ATTN_NORM, k);
		same_vector(l->ffn_norm, want, H1B_FFN_NORM, k);
		if (c->sub_norms) {
			same_vector(l->attn_sub_norm, want, H1B_ATTN_SUB_NORM, k);
			same_vector(l->ffn_sub_norm, want, H1B_FFN_SUB_NORM, k);
		}
		if (c->qk_norm) {
			same_vector(l->q_norm, want, H1B_Q_NORM, k);
			same_vector(l->k_norm, want, H1B_K_NORM, k);
		}
		same_ternary(&l->q, want, H1B_Q, k);
		same_ternary(&l->k, want, H1B_K, k);
		same_ternary(&l->v, want, H1B_V, k);
		same_ternary(&l->o, want, H1B_O, k);
		same_ternary(&l->gate, want, H1B_GATE, k);
		same_ternary(&l->up, want, H1B_UP, k);
		same_ternary(&l->down, want, H1B_DOWN, k);
	}
}

enum { SAME_TOKENS = 5 };

/* logits [SAME_TOKENS, vocab] of a fixed text by ref; to be freed. */
static inline float *
same_logits(const struct model *m)
{
	static const int32_t pages[] = { 0 };
	static const int32_t text[SAME_TOKENS] = { SAME_BOS, 'H', 'i', 256, 40 };
	const struct backend_options o = { .name = "ref", .isa = "auto",
	    .n_threads = 1, .n_pages = 1, .max_rows = SAME_TOKENS,
	    .n_ctx = KV_PAGE };
	size_t n = (size_t)SAME_TOKENS * (size_t)m->config.vocab;
	struct backend_row rows[SAME_TOKENS];
	float *logits = calloc(n, sizeof(*logits));
	struct backend b;
	struct err e;

	ck_assert_ptr_nonnull(logits);
	for (int32_t i = 0; i < SAME_TOKENS; i++)
		rows[i] = (struct backend_row){ .token = text[i], .pos = i,
		    .pages = pages, .want_logits = true };
	ck_assert_msg(backend_open(m, &o, &b, &e) == 0, "%s", e.text);
	ck_assert_msg(b.forward(&b, rows, SAME_TOKENS, logits, &e) == 0, "%s",
	    e.text);
	b.close(&b);
	return logits;
}

#endif
