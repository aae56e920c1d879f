#include <math.h>
#include <string.h>

#include "model/hf_config.h"

#define BAD(e, ...) err_set(e, ERR_BAD_FILE, "config.json: " __VA_ARGS__)
#define UNSUPPORTED(e, ...) \
	err_set(e, ERR_UNSUPPORTED, "config.json: " __VA_ARGS__)

static const struct family {
	const char *class, *architecture;
	bool sub_norms, qk_norm, inner_norms;
} families[] = {
	{ "BitNetForCausalLM", "bitnet-b1.58", true, false, false },
	{ "BitnetForCausalLM", "bitnet", true, false, true },
	{ "LlamaForCausalLM", "llama", false, false, false },
	{ "Qwen3ForCausalLM", "qwen3", false, true, false },
};

/*
 * Keys that would change the result, and the number that does not; null, false
 * and empty lists never do.
 */
static const struct {
	const char *key;
	double none;		/* NAN: no number */
} switches[] = {
	{ "attention_bias", NAN }, { "mlp_bias", NAN }, { "qkv_bias", NAN },
	{ "use_bias", NAN }, { "attention_out_bias", NAN },
	{ "partial_rotary_factor", 1 }, { "rotary_pct", 1 },
	{ "rope_interleave", NAN }, { "no_rope_layers", NAN },
	{ "no_rope_layer_interval", 0 }, { "use_mrope", NAN }, { "alibi", NAN },
	{ "attn_logit_softcapping", 0 }, { "final_logit_softcapping", 0 },
	{ "logits_soft_cap", 0 }, { "logit_softcap", 0 }, { "clip_qkv", 0 },
	{ "query_pre_attn_scalar", NAN }, { "attention_multiplier", NAN },
	{ "attention_chunk_size", NAN }, { "residual_multiplier", 1 },
	{ "embedding_multiplier", 1 }, { "logits_scaling", 1 },
	{ "logit_scale", 1 }, { "scale_emb", 1 }, { "scale_depth", NAN },
	{ "dim_model_base", NAN }, { "use_qk_norm", NAN },
	{ "qk_layernorm", NAN }, { "use_parallel_residual", NAN },
	{ "parallel_attn", NAN }, { "num_experts", 0 },
	{ "num_local_experts", 0 }, { "n_routed_experts", 0 },
	{ "hadamard", NAN }, { "prism_hadamard", NAN },
};

static int
get_int(const json_t *o, const char *key, int32_t *out, struct err *e)
{
	const json_t *v = json_object_get(o, key);

	if (v == NULL || json_is_null(v))
		return BAD(e, "'%s' is missing", key);
	if (!json_is_integer(v) || json_integer_value(v) < INT32_MIN ||
	    json_integer_value(v) > INT32_MAX)
		return BAD(e, "'%s' is not an integer of 32 bits", key);
	*out = (int32_t)json_integer_value(v);
	return 0;
}

static int
get_real(const json_t *o, const char *key, float *out, struct err *e)
{
	const json_t *v = json_object_get(o, key);

	if (v == NULL || json_is_null(v))
		return BAD(e, "'%s' is missing", key);
	if (!json_is_number(v))
		return BAD(e, "'%s' is not a number", key);
	*out = (float)json_number_value(v);
	return 0;
}

/* Is there something that is not null? */
static bool
has(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return v != NULL && !json_is_null(v);
}

/* The type of a rope_scaling or rope_parameters, "default" if it names none. */
static const char *
rope_type(const json_t *o)
{
	const char *type = json_string_value(json_object_get(o, "rope_type"));

	if (type == NULL)
		type = json_string_value(json_object_get(o, "type"));
	if (type != NULL)
		return type;
	return json_is_object(o) && json_object_size(o) == 0 ? "default" : "";
}

/* rope_theta, which transformers 5 writes into rope_parameters. */
static int
get_rope(const json_t *o, bool llama, struct model_config *c, struct err *e)
{
	json_t *p = json_object_get(o, "rope_parameters"), *v;
	const json_t *scaling = json_object_get(o, "rope_scaling");
	const char *key;

	if (has(o, "rope_scaling") && strcmp(rope_type(scaling), "default") != 0)
		return UNSUPPORTED(e, "'rope_scaling' is not supported: its "
		    "type is '%.30s'", rope_type(scaling));
	if (!has(o, "rope_parameters")) {
		/* What LlamaConfig has; older files leave it out. */
		c->rope_theta = 10000;
		return llama && !has(o, "rope_theta") ? 0 :
		    get_real(o, "rope_theta", &c->rope_theta, e);
	}
	json_object_foreach(p, key, v) {
		if (strcmp(key, "rope_theta") == 0)
			continue;
		if (strcmp(key, "partial_rotary_factor") == 0 &&
		    json_number_value(v) == 1)
			continue;
		if ((strcmp(key, "rope_type") != 0 &&
		    strcmp(key, "type") != 0) ||
		    strcmp(rope_type(p), "default") != 0)
			return UNSUPPORTED(e, "'rope_parameters' is not "
			    "supported: its '%.30s'", key);
	}
	return get_real(p, "rope_theta", &c->rope_theta, e);
}

static int
get_sizes(const json_t *o, const struct family *f, struct model_config *c,
    struct err *e)
{
	const struct {
		const char *key;
		int32_t *to;
	} ints[] = {
		{ "vocab_size", &c->vocab },
		{ "hidden_size", &c->hidden },
		{ "num_hidden_layers", &c->n_layers },
		{ "num_attention_heads", &c->n_heads },
		{ "num_key_value_heads", &c->n_kv_heads },
		{ "intermediate_size", &c->ffn },
		{ "max_position_embeddings", &c->n_ctx },
	};
	bool llama = f->inner_norms || (!f->sub_norms && !f->qk_norm);
	int rc;

	for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
		/* LlamaConfig: as many as there are heads. */
		if (ints[i].to == &c->n_kv_heads && llama &&
		    !has(o, ints[i].key))
			c->n_kv_heads = c->n_heads;
		else if ((rc = get_int(o, ints[i].key, ints[i].to, e)) != 0)
			return rc;
	}
	if ((rc = get_rope(o, llama, c, e)) != 0 ||
	    (rc = get_real(o, "rms_norm_eps", &c->norm_eps, e)) != 0)
		return rc;
	/* Qwen3Config would take 128 and not the quotient. */
	if (has(o, "head_dim") || f->qk_norm)
		return get_int(o, "head_dim", &c->head_dim, e);
	if (c->n_heads <= 0 || c->hidden % c->n_heads != 0)
		return BAD(e, "'hidden_size' %d is no multiple of "
		    "'num_attention_heads' %d", c->hidden, c->n_heads);
	c->head_dim = c->hidden / c->n_heads;
	return 0;
}

static int
refuse_windows(const json_t *o, struct err *e)
{
	const json_t *window = json_object_get(o, "sliding_window");
	const json_t *types = json_object_get(o, "layer_types");
	const json_t *longest = json_object_get(o, "max_position_embeddings");

	/* A window that is switched off or holds everything is none. */
	if (has(o, "sliding_window") &&
	    !json_is_false(window) &&
	    !json_is_false(json_object_get(o, "use_sliding_window")) &&
	    !(json_is_integer(window) && json_integer_value(window) >=
	    json_integer_value(longest)))
		return UNSUPPORTED(e, "'sliding_window' is not supported");
	if (has(o, "layer_types") && !json_is_array(types))
		return UNSUPPORTED(e, "'layer_types' is not supported");
	for (size_t i = 0; i < json_array_size(types); i++) {
		const char *s = json_string_value(json_array_get(types, i));

		if (s == NULL || strcmp(s, "full_attention") != 0)
			return UNSUPPORTED(e, "'layer_types' is not supported: "
			    "layer %zu is '%.40s'", i, s != NULL ? s : "");
	}
	return 0;
}

/* Switches that would change the result and that nothing here can do. */
static int
refuse_unknown(const json_t *o, struct err *e)
{
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		const json_t *v = json_object_get(o, switches[i].key);

		if (v != NULL && !json_is_null(v) && !json_is_false(v) &&
		    !(json_is_array(v) && json_array_size(v) == 0) &&
		    !(json_is_number(v) &&
		    json_number_value(v) == switches[i].none))
			return UNSUPPORTED(e, "'%s' is not supported",
			    switches[i].key);
	}
	return refuse_windows(o, e);
}

static int
get_architecture(const json_t *o, const struct family **family,
    struct hf_config *out, struct err *e)
{
	const json_t *list = json_object_get(o, "architectures");
	const char *arch = json_string_value(json_array_get(list, 0));
	const char *act = json_string_value(json_object_get(o, "hidden_act"));
	const struct family *f = NULL;

	if (arch == NULL)
		return BAD(e, "'architectures' names none");
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		if (strcmp(arch, families[i].class) == 0)
			f = &families[i];
	if (f == NULL)
		return UNSUPPORTED(e, "architecture '%.60s' is not supported, "
		    "only BitNetForCausalLM, BitnetForCausalLM, "
		    "LlamaForCausalLM and Qwen3ForCausalLM", arch);
	out->architecture = f->architecture;
	out->inner_norms = f->inner_norms;
	out->config.sub_norms = f->sub_norms;
	out->config.qk_norm = f->qk_norm;
	if (act == NULL)
		return BAD(e, "'hidden_act' is missing");
	if (strcmp(act, "relu2") != 0 && strcmp(act, "silu") != 0)
		return UNSUPPORTED(e, "'hidden_act' is '%.30s', not 'relu2' or "
		    "'silu'", act);
	out->config.act = strcmp(act, "relu2") == 0 ? MODEL_RELU2 : MODEL_SILU;
	out->config.tied = json_is_true(json_object_get(o,
	    "tie_word_embeddings"));
	*family = f;
	return refuse_unknown(o, e);
}

/* 1bitLLM's: the class rounds by itself, the config only counts bits. */
static int
get_bits(const json_t *o, struct hf_config *out, struct err *e)
{
	const json_t *w = json_object_get(o, "weight_bits");
	const json_t *x = json_object_get(o, "input_bits");

	if (has(o, "weight_bits") && json_integer_value(w) != 1)
		return UNSUPPORTED(e, "'weight_bits' is not 1");
	if (has(o, "input_bits") && json_integer_value(x) != 8)
		return UNSUPPORTED(e, "'input_bits' is not 8");
	out->weights = HF_MASTER;
	return 0;
}

/* Which matrices are left out, beyond those that always are. */
static int
check_unconverted(const json_t *q, struct err *e)
{
	const json_t *list = json_object_get(q, "modules_to_not_convert");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));

		if (s == NULL || (strcmp(s, "lm_head") != 0 &&
		    strcmp(s, "embed_tokens") != 0 &&
		    strcmp(s, "model.embed_tokens") != 0))
			return UNSUPPORTED(e, "modules_to_not_convert has "
			    "'%.60s': a model that is ternary in part", s !=
			    NULL ? s : "");
	}
	if (json_is_true(json_object_get(q, "use_rms_norm")))
		return UNSUPPORTED(e, "'use_rms_norm' is not supported");
	return 0;
}

static int
get_quantization(const json_t *o, struct hf_config *out, struct err *e)
{
	const json_t *q = json_object_get(o, "quantization_config");
	const char *method = json_string_value(json_object_get(q,
	    "quant_method"));
	const char *class = json_string_value(json_object_get(q,
	    "linear_class"));
	const char *mode = json_string_value(json_object_get(q,
	    "quantization_mode"));

	if (!has(o, "quantization_config")) {
		if (out->inner_norms)
			return get_bits(o, out, e);
		if (out->config.sub_norms)
			return UNSUPPORTED(e, "no 'quantization_config': "
			    "quant_method is not 'bitnet'");
		/* W1.58A16: TriLM, Bonsai.  The weights will tell. */
		out->weights = HF_TERNARY;
		out->config.act_float = true;
		return 0;
	}
	if (method == NULL || strcmp(method, "bitnet") != 0)
		return UNSUPPORTED(e, "quant_method is '%.40s', not 'bitnet'",
		    method != NULL ? method : "");
	out->divide = class == NULL || strcmp(class, "bitlinear") == 0;
	if (!out->divide && strcmp(class, "autobitlinear") != 0)
		return UNSUPPORTED(e, "linear_class is '%.40s', not "
		    "'autobitlinear' or 'bitlinear'", class);
	out->weights = HF_PACKED;
	if (mode != NULL && strcmp(mode, "online") == 0) {
		if (out->divide)
			return UNSUPPORTED(e, "quantization_mode 'online' with "
			    "linear_class 'bitlinear', which has no master");
		out->weights = HF_MASTER;
	} else if (mode != NULL && strcmp(mode, "offline") != 0)
		return UNSUPPORTED(e, "quantization_mode is '%.40s', not "
		    "'offline' or 'online'", mode);
	return check_unconverted(q, e);
}

static int
add_eos(struct model_config *c, const json_t *v, struct err *e)
{
	json_int_t id = json_integer_value(v);

	if (!json_is_integer(v) || id < 0 || id >= c->vocab)
		return BAD(e, "an eos_token_id is not in 0..%d", c->vocab - 1);
	for (int32_t i = 0; i < c->n_eos; i++)
		if (c->eos[i] == id)
			return 0;
	if (c->n_eos == MODEL_EOS_MAX)
		return BAD(e, "more than %d eos_token_ids", MODEL_EOS_MAX);
	c->eos[c->n_eos++] = (int32_t)id;
	return 0;
}

/* One id or several. */
static int
add_all_eos(struct model_config *c, const json_t *o, struct err *e)
{
	const json_t *v = json_object_get(o, "eos_token_id");
	int rc;

	if (v == NULL || json_is_null(v))
		return 0;
	if (!json_is_array(v))
		return add_eos(c, v, e);
	for (size_t i = 0; i < json_array_size(v); i++)
		if ((rc = add_eos(c, json_array_get(v, i), e)) != 0)
			return rc;
	return 0;
}

int
hf_config_parse(const json_t *config, const json_t *generation,
    struct hf_config *out, struct err *e)
{
	struct hf_config parsed = { 0 };
	struct model_config *c = &parsed.config;
	const struct family *f = &families[0];
	struct err why;
	int rc;

	if (!json_is_object(config))
		return BAD(e, "not an object");
	if ((rc = get_architecture(config, &f, &parsed, e)) != 0 ||
	    (rc = get_quantization(config, &parsed, e)) != 0 ||
	    (rc = get_sizes(config, f, c, e)) != 0)
		return rc;
	c->bos = -1;
	if (json_is_integer(json_object_get(config, "bos_token_id")) &&
	    (rc = get_int(config, "bos_token_id", &c->bos, e)) != 0)
		return rc;
	if ((rc = add_all_eos(c, generation, e)) != 0 ||
	    (rc = add_all_eos(c, config, e)) != 0)
		return rc;
	if (model_config_check(c, &why) != 0)
		return BAD(e, "%s", why.text);
	*out = parsed;
	return 0;
}
