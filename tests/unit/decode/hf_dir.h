#ifndef TESTS_HF_DIR_H
#define TESTS_HF_DIR_H

/*
 * A struct same_model as a Hugging Face directory, written from the tables of
 * transformers' names and packing, and of the safetensors format.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "same_model.h"

enum hf_dir_kind {
	HF_DIR_MULTIPLY,	/* U8, weight_scale is the factor */
	HF_DIR_DIVIDE,		/* U8, weight_scale is its inverse */
	HF_DIR_MASTER,		/* floats to be rounded, mean |W| the factor */
	HF_DIR_FLOATS,		/* floats -s, 0, +s */
};

struct hf_dir {
	char path[64];
	const struct same_model *m;
	enum hf_dir_kind kind;
	const char *dtype;	/* of floats: "F32", "F16", "BF16" */
	bool inner_norms;	/* 1bitLLM's names */
	json_t *header, *index;	/* of the file being written; of all */
	struct buf data;
	int n_files;
};

static inline uint16_t
hf_dir_f16(float v)
{
	int e;
	float m = frexpf(fabsf(v), &e);

	if (v == 0)
		return 0;
	/* A check that holds is not free, and there are millions. */
	if (e <= -14 || e > 16 || (float)(int)(m * 2048) < m * 2048)
		ck_abort_msg("%g is not exact in f16", (double)v);
	return (uint16_t)((v < 0 ? 0x8000 : 0) + ((e + 14) << 10) +
	    ((int)(m * 2048) - 1024));
}

static inline void
hf_dir_float(struct buf *b, const char *dtype, float v)
{
	uint32_t u;
	uint16_t h;

	memcpy(&u, &v, 4);
	if (strcmp(dtype, "F32") == 0) {
		buf_add(b, &v, 4);
		return;
	}
	h = hf_dir_f16(strcmp(dtype, "F16") == 0 ? v : 0);
	if (strcmp(dtype, "BF16") == 0) {
		if ((u & 0xffff) != 0)
			ck_abort_msg("%g is not exact in bf16", (double)v);
		h = (uint16_t)(u >> 16);
	}
	buf_add(b, &h, 2);
}

static inline void
hf_dir_put(const struct hf_dir *d, const char *name, const void *bytes,
    size_t n)
{
	char path[160];
	FILE *fp;

	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	ck_assert_ptr_nonnull(fp = fopen(path, "wb"));
	ck_assert_uint_eq(fwrite(bytes, 1, n, fp), n);
	fclose(fp);
}

/* What was added to d->data since `from` is tensor name; rows 0: a vector. */
static inline void
hf_dir_tensor(struct hf_dir *d, const char *name, const char *dtype,
    int32_t rows, int32_t cols, size_t from)
{
	json_t *shape = rows > 0 ? json_pack("[i,i]", rows, cols) :
	    json_pack("[i]", cols);

	ck_assert_ptr_null(json_object_get(d->header, name));
	json_object_set_new(d->header, name, json_pack("{s:s,s:o,s:[I,I]}",
	    "dtype", dtype, "shape", shape, "data_offsets", (json_int_t)from,
	    (json_int_t)d->data.len));
}

static inline void
hf_dir_vector(struct hf_dir *d, const char *name, enum h1b_part part,
    int32_t layer)
{
	size_t from = d->data.len;

	for (int32_t i = 0; i < same_cols(d->m, part); i++)
		hf_dir_float(&d->data, d->dtype, same_norm(d->m, part, layer,
		    i));
	hf_dir_tensor(d, name, d->dtype, 0, same_cols(d->m, part), from);
}

static inline void
hf_dir_dense(struct hf_dir *d, const char *name, enum h1b_part part)
{
	size_t from = d->data.len;

	for (int32_t o = 0; o < d->m->config.vocab; o++)
		for (int32_t i = 0; i < d->m->config.hidden; i++)
			hf_dir_float(&d->data, d->dtype, same_dense(d->m, part,
			    o, i));
	hf_dir_tensor(d, name, d->dtype, d->m->config.vocab,
	    d->m->config.hidden, from);
}

/* pack_weights: quarters of the rows lie in the pairs of bits of one byte. */
static inline void
hf_dir_packed(struct hf_dir *d, const char *name, enum h1b_part part,
    int32_t layer)
{
	int32_t rows = same_rows(d->m, part), cols = same_cols(d->m, part);
	int32_t quarter = (rows + 3) / 4;
	float scale = same_scale(d->m, part, layer, 0, 0);
	size_t from = d->data.len;
	char scale_name[128];

	for (int32_t r = 0; r < quarter; r++)
		for (int32_t c = 0; c < cols; c++) {
			uint8_t v = 0;

			for (int32_t i = 0; i < 4; i++)
				if (i * quarter + r < rows)
					v |= (uint8_t)((same_weight(d->m, part,
					    layer, i * quarter + r, c) + 1) <<
					    2 * i);
			buf_add(&d->data, &v, 1);
		}
	hf_dir_tensor(d, name, "U8", quarter, cols, from);
	from = d->data.len;
	hf_dir_float(&d->data, "BF16", d->kind == HF_DIR_DIVIDE ? 1 / scale :
	    scale);
	snprintf(scale_name, sizeof(scale_name), "%s_scale", name);
	hf_dir_tensor(d, scale_name, "BF16", 0, 1, from);
}

/*
 * A master whose mean |W| is s exactly: a 0 becomes s / 4, and what is missing
 * to the mean goes to the others in quarters of s.
 */
static inline void
hf_dir_master(struct hf_dir *d, const char *name, enum h1b_part part,
    int32_t layer)
{
	int32_t rows = same_rows(d->m, part), cols = same_cols(d->m, part);
	int32_t n_zeros = 0, n_ones, seen = 0;
	size_t from = d->data.len;

	for (int32_t i = 0; i < rows * cols; i++)
		n_zeros += same_weight(d->m, part, layer, i / cols, i % cols) ==
		    0;
	n_ones = rows * cols - n_zeros;
	for (int32_t i = 0; i < rows * cols; i++) {
		int t = same_weight(d->m, part, layer, i / cols, i % cols);
		int quarters = 4 + 3 * n_zeros / n_ones;
		float v = same_scale(d->m, part, layer, 0, 0) / 4;

		if (t != 0)
			v *= (float)(t * (quarters + (seen++ < 3 * n_zeros %
			    n_ones)));
		else if (i % 2 == 0)
			v = -v;
		hf_dir_float(&d->data, d->dtype, v);
	}
	hf_dir_tensor(d, name, d->dtype, rows, cols, from);
}

static inline void
hf_dir_matrix(struct hf_dir *d, const char *name, enum h1b_part part,
    int32_t layer)
{
	int32_t rows = same_rows(d->m, part), cols = same_cols(d->m, part);
	size_t from = d->data.len;

	if (d->kind == HF_DIR_MASTER) {
		hf_dir_master(d, name, part, layer);
		return;
	}
	if (d->kind != HF_DIR_FLOATS) {
		hf_dir_packed(d, name, part, layer);
		return;
	}
	for (int32_t o = 0; o < rows; o++)
		for (int32_t i = 0; i < cols; i++)
			hf_dir_float(&d->data, d->dtype, (float)same_weight(
			    d->m, part, layer, o, i) * same_scale(d->m, part,
			    layer, o, i));
	hf_dir_tensor(d, name, d->dtype, rows, cols, from);
}

static inline void
hf_dir_layer(struct hf_dir *d, int32_t k)
{
	const struct {
		const char *name;
		enum h1b_part part;
		bool matrix, there;
	} list[] = {
		{ "input_layernorm", H1B_ATTN_NORM, false, true },
		{ "self_attn.q_proj", H1B_Q, true, true },
		{ "self_attn.k_proj", H1B_K, true, true },
		{ "self_attn.v_proj", H1B_V, true, true },
		{ "self_attn.o_proj", H1B_O, true, true },
		{ "self_attn.q_norm", H1B_Q_NORM, false, d->m->config.qk_norm },
		{ "self_attn.k_norm", H1B_K_NORM, false, d->m->config.qk_norm },
		{ d->inner_norms ? "self_attn.inner_attn_ln" :
		    "self_attn.attn_sub_norm", H1B_ATTN_SUB_NORM, false,
		    d->m->config.sub_norms },
		{ "post_attention_layernorm", H1B_FFN_NORM, false, true },
		{ "mlp.gate_proj", H1B_GATE, true, true },
		{ "mlp.up_proj", H1B_UP, true, true },
		{ "mlp.down_proj", H1B_DOWN, true, true },
		{ d->inner_norms ? "mlp.ffn_layernorm" : "mlp.ffn_sub_norm",
		    H1B_FFN_SUB_NORM, false, d->m->config.sub_norms },
	};
	char name[96];

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		snprintf(name, sizeof(name), "model.layers.%d.%s.weight", k,
		    list[i].name);
		if (list[i].there && list[i].matrix)
			hf_dir_matrix(d, name, list[i].part, k);
		else if (list[i].there)
			hf_dir_vector(d, name, list[i].part, k);
	}
}

/* Write what was added as the file `name`, and begin another. */
static inline void
hf_dir_flush(struct hf_dir *d, const char *name)
{
	char *text = json_dumps(d->header, JSON_COMPACT);
	uint64_t n = strlen(text);
	struct buf b = { 0 };
	const char *key;
	json_t *v;

	buf_add(&b, &n, 8);
	buf_adds(&b, text);
	buf_add(&b, d->data.data, d->data.len);
	ck_assert(!b.failed);
	hf_dir_put(d, name, b.data, b.len);
	json_object_foreach(d->header, key, v)
		json_object_set_new(d->index, key, json_string(name));
	buf_free(&b);
	free(text);
	json_object_clear(d->header);
	buf_clear(&d->data);
}

/*
 * config.json: the sizes, `class` for architectures, and the members of
 * `change` in place of those with the same name.
 */
static inline void
hf_dir_config(const struct hf_dir *d, const char *class, const char *change)
{
	const struct model_config *c = &d->m->config;
	json_t *extra = json_loads(change, 0, NULL);
	json_t *o = json_pack("{s:[s],s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:s,s:f,"
	    "s:f,s:b,s:i,s:i,s:b,s:n}", "architectures", class, "vocab_size",
	    c->vocab, "hidden_size", c->hidden, "num_hidden_layers",
	    c->n_layers, "num_attention_heads", c->n_heads,
	    "num_key_value_heads", c->n_kv_heads, "head_dim", c->head_dim,
	    "intermediate_size", c->ffn, "max_position_embeddings", c->n_ctx,
	    "hidden_act", c->act == MODEL_RELU2 ? "relu2" : "silu",
	    "rms_norm_eps", c->norm_eps == 1e-5f ? 1e-5 : 1e-6, "rope_theta",
	    (double)c->rope_theta, "tie_word_embeddings", c->tied,
	    "bos_token_id", SAME_BOS, "eos_token_id", SAME_EOS,
	    "attention_bias", 0, "rope_scaling");
	char *text;

	ck_assert_ptr_nonnull(o);
	ck_assert_ptr_nonnull(extra);
	json_object_update(o, extra);
	text = json_dumps(o, 0);
	hf_dir_put(d, "config.json", text, strlen(text));
	free(text);
	json_decref(o);
	json_decref(extra);
}

static inline void
hf_dir_open(struct hf_dir *d)
{
	struct buf json = { 0 };

	strcpy(d->path, "/tmp/test_hf-" "XX" "XX" "XX");
	ck_assert_ptr_nonnull(mkdtemp(d->path));
	d->header = json_object();
	d->index = json_object();
	same_tokenizer_json(&json);
	hf_dir_put(d, "tokenizer.json", json.data, json.len);
	buf_free(&json);
}

/* All tensors, in n_files; with more than one, an index too. */
static inline void
hf_dir_weights(struct hf_dir *d, int n_files)
{
	char name[64] = "model.safetensors", *text;
	json_t *index;

	hf_dir_dense(d, "model.embed_tokens.weight", H1B_EMBED);
	for (int32_t k = 0; k < d->m->config.n_layers; k++) {
		if (n_files > 1 && k == 1) {
			hf_dir_flush(d, "model-00001-of-00002.safetensors");
			strcpy(name, "model-00002-of-00002.safetensors");
		}
		hf_dir_layer(d, k);
	}
	hf_dir_vector(d, "model.norm.weight", H1B_NORM, -1);
	if (!d->m->config.tied)
		hf_dir_dense(d, "lm_head.weight", H1B_HEAD);
	hf_dir_flush(d, name);
	if (n_files == 1)
		return;
	index = json_pack("{s:{},s:O}", "metadata", "weight_map", d->index);
	text = json_dumps(index, 0);
	hf_dir_put(d, "model.safetensors.index.json", text, strlen(text));
	free(text);
	json_decref(index);
}

static inline void
hf_dir_close(struct hf_dir *d)
{
	static const char *const names[] = { "config.json", "tokenizer.json",
	    "generation_config.json", "tokenizer_config.json",
	    "chat_template.jinja", "model.safetensors",
	    "model.safetensors.index.json", "model-00001-of-00002.safetensors",
	    "model-00002-of-00002.safetensors" };
	char path[160];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", d->path, names[i]);
		unlink(path);
	}
	ck_assert_int_eq(rmdir(d->path), 0);
	json_decref(d->header);
	json_decref(d->index);
	buf_free(&d->data);
}

#endif
