#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "model/hf_config.h"

static int
read_fd(int fd, const char *path, size_t max, struct buf *out, struct err *e)
{
	char chunk[4096];
	struct stat st;
	ssize_t k;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_FILE, "%.180s: not a regular file",
		    path);
	while ((k = read(fd, chunk, sizeof(chunk))) > 0) {
		if (out->len + (size_t)k > max)
			return err_set(e, ERR_RANGE,
			    "%.180s: more than %zu bytes", path, max);
		buf_add(out, chunk, (size_t)k);
	}
	if (k < 0)
		return err_set(e, ERR_SYSTEM, "%.180s: %s", path,
		    strerror(errno));
	if (out->failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for %.180s", path);
	return 0;
}

int
hf_read_file(const char *dir, const char *name, size_t max, struct buf *out,
    struct err *e)
{
	struct buf path = { 0 };
	int fd, rc;

	buf_printf(&path, "%s/%s", dir, name);
	if (path.failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for a path");
	fd = open(path.data, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		rc = err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM,
		    "%.180s: %s", path.data, strerror(errno));
	else {
		rc = read_fd(fd, path.data, max, out, e);
		close(fd);
	}
	buf_free(&path);
	return rc;
}

int
hf_read_json(const char *dir, const char *name, size_t max, json_t **v,
    struct err *e)
{
	struct buf text = { 0 };
	struct err why;
	json_error_t je;
	int rc;

	if ((rc = hf_read_file(dir, name, max, &text, e)) != 0) {
		buf_free(&text);
		return rc;
	}
	/* Files of 2^20 values are real: an index has one a tensor. */
	if (json_scan(text.data != NULL ? text.data : "", text.len,
	    JSON_DEPTH_MAX, 1 << 20, &why) != 0)
		rc = err_set(e, ERR_BAD_FILE, "%s: %.180s", name, why.text);
	else if ((*v = json_loadb(text.data != NULL ? text.data : "", text.len,
	    JSON_REJECT_DUPLICATES, &je)) == NULL)
		rc = err_set(e, ERR_BAD_FILE, "%s: %.150s at byte %d", name,
		    je.text, je.position);
	buf_free(&text);
	return rc;
}

#define BAD(e, ...) err_set(e, ERR_BAD_FILE, "config.json: " __VA_ARGS__)
#define UNSUPPORTED(e, ...) \
	err_set(e, ERR_UNSUPPORTED, "config.json: " __VA_ARGS__)

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

static int
get_sizes(const json_t *o, struct model_config *c, struct err *e)
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
	int rc;

	for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++)
		if ((rc = get_int(o, ints[i].key, ints[i].to, e)) != 0)
			return rc;
	if ((rc = get_real(o, "rope_theta", &c->rope_theta, e)) != 0 ||
	    (rc = get_real(o, "rms_norm_eps", &c->norm_eps, e)) != 0)
		return rc;
	if (json_object_get(o, "head_dim") != NULL)
		return get_int(o, "head_dim", &c->head_dim, e);
	if (c->n_heads <= 0 || c->hidden % c->n_heads != 0)
		return BAD(e, "'hidden_size' %d is no multiple of "
		    "'num_attention_heads' %d", c->hidden, c->n_heads);
	c->head_dim = c->hidden / c->n_heads;
	return 0;
}

/* Switches that would change the result and that nothing here can do. */
static int
refuse_unknown(const json_t *o, struct err *e)
{
	static const char *const off[] = { "rope_scaling", "sliding_window",
	    "layer_types", "partial_rotary_factor", "attention_bias",
	    "mlp_bias" };

	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
		const json_t *v = json_object_get(o, off[i]);

		if (v != NULL && !json_is_null(v) && !json_is_false(v) &&
		    !(json_is_number(v) && json_number_value(v) == 1))
			return UNSUPPORTED(e, "'%s' is not supported", off[i]);
	}
	return 0;
}

static int
get_architecture(const json_t *o, struct hf_config *out, struct err *e)
{
	const json_t *list = json_object_get(o, "architectures");
	const char *arch = json_string_value(json_array_get(list, 0));
	const char *act = json_string_value(json_object_get(o, "hidden_act"));

	if (arch == NULL)
		return BAD(e, "'architectures' names none");
	if (strcmp(arch, "BitNetForCausalLM") != 0)
		return UNSUPPORTED(e, "architecture '%.60s' is not supported, "
		    "only BitNetForCausalLM", arch);
	out->architecture = "bitnet-b1.58";
	out->config.sub_norms = true;
	if (act == NULL)
		return BAD(e, "'hidden_act' is missing");
	if (strcmp(act, "relu2") != 0 && strcmp(act, "silu") != 0)
		return UNSUPPORTED(e, "'hidden_act' is '%.30s', not 'relu2' or "
		    "'silu'", act);
	out->config.act = strcmp(act, "relu2") == 0 ? MODEL_RELU2 : MODEL_SILU;
	out->config.tied = json_is_true(json_object_get(o,
	    "tie_word_embeddings"));
	return refuse_unknown(o, e);
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

	if (method == NULL || strcmp(method, "bitnet") != 0)
		return UNSUPPORTED(e, "quant_method is '%.40s', not 'bitnet'",
		    method != NULL ? method : "");
	if (mode != NULL && strcmp(mode, "offline") != 0)
		return UNSUPPORTED(e, "quantization_mode is '%.40s', not "
		    "'offline': the weights are not packed", mode);
	if (class == NULL || strcmp(class, "bitlinear") == 0)
		out->divide = true;
	else if (strcmp(class, "autobitlinear") == 0)
		out->divide = false;
	else
		return UNSUPPORTED(e, "linear_class is '%.40s', not "
		    "'autobitlinear' or 'bitlinear'", class);
	return 0;
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
	struct err why;
	int rc;

	if (!json_is_object(config))
		return BAD(e, "not an object");
	if ((rc = get_architecture(config, &parsed, e)) != 0 ||
	    (rc = get_quantization(config, &parsed, e)) != 0 ||
	    (rc = get_sizes(config, c, e)) != 0)
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

int
hf_config_template(const json_t *tokenizer_config, struct buf *out,
    struct err *e)
{
	const json_t *v = json_object_get(tokenizer_config, "chat_template");
	const char *text = json_string_value(v);

	for (size_t i = 0; text == NULL && i < json_array_size(v); i++) {
		const json_t *one = json_array_get(v, i);
		const char *name = json_string_value(json_object_get(one,
		    "name"));

		if (name != NULL && strcmp(name, "default") == 0)
			text = json_string_value(json_object_get(one,
			    "template"));
	}
	if (text == NULL && v != NULL && !json_is_null(v))
		return err_set(e, ERR_BAD_FILE, "tokenizer_config.json: "
		    "chat_template is neither text nor a list with 'default'");
	if (text != NULL)
		buf_adds(out, text);
	if (out->failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for a template");
	return 0;
}
