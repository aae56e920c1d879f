#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/hf_priv.h"
#include "model/ternarize.h"

static const char *
suffix(const struct hf *h, enum h1b_part part)
{
	bool inner = h->config.inner_norms;

	switch (part) {
	case H1B_ATTN_NORM:
		return "input_layernorm";
	case H1B_Q:
		return "self_attn.q_proj";
	case H1B_K:
		return "self_attn.k_proj";
	case H1B_V:
		return "self_attn.v_proj";
	case H1B_O:
		return "self_attn.o_proj";
	case H1B_Q_NORM:
		return "self_attn.q_norm";
	case H1B_K_NORM:
		return "self_attn.k_norm";
	case H1B_ATTN_SUB_NORM:
		return inner ? "self_attn.inner_attn_ln" :
		    "self_attn.attn_sub_norm";
	case H1B_FFN_NORM:
		return "post_attention_layernorm";
	case H1B_GATE:
		return "mlp.gate_proj";
	case H1B_UP:
		return "mlp.up_proj";
	case H1B_DOWN:
		return "mlp.down_proj";
	case H1B_FFN_SUB_NORM:
		return inner ? "mlp.ffn_layernorm" : "mlp.ffn_sub_norm";
	case H1B_EMBED:
		return "model.embed_tokens";
	case H1B_NORM:
		return "model.norm";
	case H1B_HEAD:
		return "lm_head";
	default:
		return "";	/* texts: no tensors */
	}
}

static void
tensor_name(const struct hf *h, enum h1b_part part, int32_t layer, bool scale,
    char out[HF_TENSOR_NAME_MAX])
{
	const char *last = scale ? "weight_scale" : "weight";

	if (layer < 0)
		snprintf(out, HF_TENSOR_NAME_MAX, "%s.%s", suffix(h, part),
		    last);
	else
		snprintf(out, HF_TENSOR_NAME_MAX, "model.layers.%d.%s.%s",
		    layer, suffix(h, part), last);
}

static const struct safetensors_tensor *
find_named(const struct hf *h, const char *name)
{
	const struct safetensors_tensor *t = NULL;

	for (size_t i = 0; t == NULL && i < h->n_shards; i++)
		t = safetensors_find(&h->shards[i], name);
	return t;
}

const struct safetensors_tensor *
hf_tensors_find(const struct hf *h, enum h1b_part part, int32_t layer,
    bool scale)
{
	char name[HF_TENSOR_NAME_MAX];

	tensor_name(h, part, layer, scale, name);
	return find_named(h, name);
}

static bool
is_float(enum safetensors_dtype d)
{
	return d == SAFETENSORS_BF16 || d == SAFETENSORS_F16 ||
	    d == SAFETENSORS_F32;
}

static void
print_shape(const struct safetensors_tensor *t, char *out, size_t cap)
{
	size_t n = (size_t)snprintf(out, cap, "%s [",
	    safetensors_dtype_name(t->dtype));

	for (int i = 0; i < t->n_dims && n < cap; i++)
		n += (size_t)snprintf(out + n, cap - n, "%s%llu",
		    i > 0 ? ", " : "", (unsigned long long)t->dims[i]);
	if (n < cap)
		snprintf(out + n, cap - n, "]");
}

/* One section of the file to be written against the tensor it will come from. */
static int
check_tensor(const struct hf *h, const struct h1b_section *s, struct err *e)
{
	const struct safetensors_tensor *t = hf_tensors_find(h, s->part,
	    s->layer, s->scale);
	uint64_t rows = s->dims[0], cols = s->dims[1];
	char name[HF_TENSOR_NAME_MAX], found[64];
	bool packed = h1b_is_ternary(s->type) && h->config.weights == HF_PACKED, ok;

	tensor_name(h, s->part, s->layer, s->scale, name);
	if (t == NULL)
		return err_set(e, ERR_BAD_FILE, "tensor '%s' is missing", name);
	print_shape(t, found, sizeof(found));
	if (s->scale) {
		if (is_float(t->dtype) && t->n == 1)
			return 0;
		return err_set(e, ERR_BAD_FILE, "tensor '%s': %s, expected one "
		    "BF16, F16 or F32", name, found);
	}
	rows = packed ? (rows + 3) / 4 : rows;
	ok = packed ? t->dtype == SAFETENSORS_U8 : is_float(t->dtype);
	if (rows == 1 && t->n_dims == 1)
		ok = ok && t->dims[0] == cols;
	else
		ok = ok && t->n_dims == 2 && t->dims[0] == rows &&
		    t->dims[1] == cols;
	if (!ok)
		return err_set(e, ERR_BAD_FILE,
		    "tensor '%s': %s, expected %s [%llu, %llu]", name, found,
		    packed ? "U8" : "BF16, F16 or F32",
		    (unsigned long long)rows, (unsigned long long)cols);
	return 0;
}

/* Only the tensors that are packed have scales of their own. */
static bool
is_tensor(const struct hf *h, const struct h1b_section *s)
{
	return s->type != H1B_BYTES &&
	    (!s->scale || h->config.weights == HF_PACKED);
}

/* Is name one of the tensors that list wants? */
static bool
is_wanted(const struct hf *h, const char *name, const struct h1b_section *list,
    uint32_t n)
{
	char want[HF_TENSOR_NAME_MAX];

	for (uint32_t i = 0; i < n; i++) {
		if (!is_tensor(h, &list[i]))
			continue;
		tensor_name(h, list[i].part, list[i].layer, list[i].scale,
		    want);
		if (strcmp(want, name) == 0)
			return true;
	}
	return false;
}

/*
 * What transformers leaves out too: the frequencies that old versions stored,
 * and a head that is the embedding once more.
 */
static bool
is_harmless(const struct hf *h, const struct safetensors_tensor *t)
{
	static const char inv_freq[] = ".self_attn.rotary_emb.inv_freq";
	const struct model_config *c = &h->config.config;
	const struct safetensors_tensor *embed;
	size_t n = strlen(t->name), k = sizeof(inv_freq) - 1;

	if (n > k && strcmp(t->name + n - k, inv_freq) == 0)
		return t->n == (uint64_t)c->head_dim / 2;
	if (!c->tied || strcmp(t->name, "lm_head.weight") != 0)
		return false;
	embed = hf_tensors_find(h, H1B_EMBED, -1, false);
	return embed->dtype == t->dtype && embed->n == t->n &&
	    memcmp(embed->data, t->data, safetensors_size(t)) == 0;
}

/* The first tensor that nothing here asks for, by name. */
static int
check_leftover(const struct hf *h, const struct h1b_section *list, uint32_t n,
    struct err *e)
{
	for (size_t s = 0; s < h->n_shards; s++)
		for (size_t i = 0; i < h->shards[s].n; i++) {
			const struct safetensors_tensor *t =
			    &h->shards[s].tensors[i];

			if (!is_wanted(h, t->name, list, n) &&
			    !is_harmless(h, t))
				return err_set(e, ERR_UNSUPPORTED, "tensor "
				    "'%.100s' is not part of this architecture",
				    t->name);
		}
	return 0;
}

int
hf_tensors_check(const struct hf *h, struct err *e)
{
	const struct model_config *c = &h->config.config;
	/* As bf16, so that the only scales are those of the ternary tensors. */
	const struct h1b_form form = { .embed_type = DENSE_BF16,
	    .head_type = c->tied ? 0 : DENSE_BF16 };
	struct h1b_section *list;
	size_t n_found = 0, n_wanted = 0;
	uint32_t n;
	int rc;

	if ((rc = h1b_layout(c, &form, &list, &n, e)) != 0)
		return rc;
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		if (is_tensor(h, &list[i])) {
			rc = check_tensor(h, &list[i], e);
			n_wanted++;
		}
	for (size_t i = 0; i < h->n_shards; i++)
		n_found += h->shards[i].n;
	if (rc == 0 && n_found != n_wanted)
		rc = check_leftover(h, list, n, e);
	free(list);
	return rc;
}

/* One matrix of one layer. */
static int
look(struct hf *h, struct ternarize *t, enum h1b_part part, int32_t layer,
    struct err *e)
{
	const struct safetensors_tensor *w = hf_tensors_find(h, part, layer,
	    false);
	int rc;

	for (uint64_t o = 0; o < w->dims[0]; o++) {
		safetensors_f32(w, o * w->dims[1], w->dims[1], h->row);
		if ((rc = ternarize_look(t, w->name, (int32_t)o, h->row,
		    e)) != 0)
			return rc;
	}
	hf_shards_drop(h);
	return 0;
}

int
hf_tensors_look(struct hf *h, struct err *e)
{
	const struct model_config *c = &h->config.config;
	struct ternarize *t = malloc(sizeof(*t));
	int rc = 0;

	if (t == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a row");
	for (enum h1b_part p = H1B_Q; rc == 0 && p <= H1B_DOWN; p++) {
		if (h1b_group_of(p) < 0)
			continue;
		ternarize_init(t, h1b_columns(c, p));
		for (int32_t k = 0; rc == 0 && k < c->n_layers; k++)
			rc = look(h, t, p, k, e);
		h->groups[h1b_group_of(p)] = ternarize_group(t);
	}
	free(t);
	return rc;
}
