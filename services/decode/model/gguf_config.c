/*
 * The architecture chooses a row of switches; sizes come from its keys; then
 * every other key that begins with its name must be one that changes nothing.
 */
#include <stdio.h>
#include <string.h>

#include "model/gguf_config.h"

enum { KEY_CAP = 128 };

static const struct architecture {
	const char *name;
	enum model_act act;
	bool sub_norms, qk_norm, act_float, permuted, bitnet;
} architectures[] = {
	{ "bitnet-b1.58", MODEL_RELU2, true, false, false, false, true },
	{ "bitnet-25", MODEL_RELU2, true, false, false, false, true },
	{ "bitnet", MODEL_SILU, true, false, false, false, false },
	{ "llama", MODEL_SILU, false, false, false, true, false },
	/* The only ternary ones are trained with 16-bit activations. */
	{ "qwen3", MODEL_SILU, false, true, true, false, false },
};

struct reader {
	const struct gguf *g;
	const char *arch;
	struct err *e;
};

#define BAD(r, fmt, ...) \
	err_set((r)->e, ERR_BAD_FILE, "%.80s: " fmt, gguf_what((r)->g), __VA_ARGS__)
#define UNSUPPORTED(g, e, fmt, ...) \
	err_set(e, ERR_UNSUPPORTED, "%.80s: " fmt, gguf_what(g), __VA_ARGS__)

/* An integer of 32 bits; *found (or NULL, then it must be there). */
static int
read_int(const struct reader *r, const char *key, int32_t *out, bool *found)
{
	struct err why = { 0 };
	int64_t v = 0;
	bool there = gguf_get_int(r->g, key, &v, &why);

	if (why.code != 0)
		return err_set(r->e, why.code, "%s", why.text);
	if (found != NULL)
		*found = there;
	if (!there)
		return found != NULL ? 0 : BAD(r, "key '%s' is missing", key);
	if (v < INT32_MIN || v > INT32_MAX)
		return BAD(r, "key '%s' is %lld, expected 32 bits", key,
		    (long long)v);
	*out = (int32_t)v;
	return 0;
}

static int
read_float(const struct reader *r, const char *key, float *out, bool *found)
{
	struct err why = { 0 };
	double v = 0;
	bool there = gguf_get_float(r->g, key, &v, &why);

	if (why.code != 0)
		return err_set(r->e, why.code, "%s", why.text);
	if (found != NULL)
		*found = there;
	if (!there)
		return found != NULL ? 0 : BAD(r, "key '%s' is missing", key);
	*out = (float)v;
	return 0;
}

/* "llama" and "block_count" to "llama.block_count". */
static const char *
full(const struct reader *r, const char *suffix, char key[KEY_CAP])
{
	snprintf(key, KEY_CAP, "%s.%s", r->arch, suffix);
	return key;
}

static int
read_sizes(const struct reader *r, struct model_config *c)
{
	const struct {
		const char *suffix;
		int32_t *to;
	} ints[] = {
		{ "context_length", &c->n_ctx },
		{ "embedding_length", &c->hidden },
		{ "block_count", &c->n_layers },
		{ "feed_forward_length", &c->ffn },
		{ "attention.head_count", &c->n_heads },
	};
	char key[KEY_CAP];
	bool found;
	int rc;

	for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++)
		if ((rc = read_int(r, full(r, ints[i].suffix, key), ints[i].to,
		    NULL)) != 0)
			return rc;
	c->n_kv_heads = c->n_heads;
	c->rope_theta = 10000;
	if ((rc = read_int(r, full(r, "attention.head_count_kv", key),
	    &c->n_kv_heads, &found)) != 0 ||
	    (rc = read_float(r, full(r, "rope.freq_base", key), &c->rope_theta,
	    &found)) != 0)
		return rc;
	return read_float(r, full(r, "attention.layer_norm_rms_epsilon", key),
	    &c->norm_eps, NULL);
}

/* Three keys may name the width of a head, and they have to agree. */
static int
read_head_dim(const struct reader *r, struct model_config *c)
{
	static const char *const others[] = { "attention.value_length",
	    "rope.dimension_count" };
	char key[KEY_CAP];
	int32_t v = 0;
	bool found;
	int rc;

	if ((rc = read_int(r, full(r, "attention.key_length", key),
	    &c->head_dim, &found)) != 0)
		return rc;
	if (!found && (c->n_heads <= 0 || c->hidden % c->n_heads != 0))
		return BAD(r, "embedding_length %d is no multiple of "
		    "attention.head_count %d, and '%s' is missing", c->hidden,
		    c->n_heads, key);
	if (!found)
		c->head_dim = c->hidden / c->n_heads;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if ((rc = read_int(r, full(r, others[i], key), &v, &found)) != 0)
			return rc;
		if (found && v != c->head_dim)
			return UNSUPPORTED(r->g, r->e, "key '%s' is %d, expected "
			    "the width of a head, %d", key, v, c->head_dim);
	}
	return 0;
}

/* The rows of the embedding; a key that counts them has to agree. */
static int
read_vocab(const struct reader *r, struct model_config *c)
{
	const struct gguf_tensor *t = gguf_tensor(r->g, "token_embd.weight");
	char key[KEY_CAP];
	int32_t v = 0;
	bool found;
	int rc;

	if (t == NULL)
		return BAD(r, "tensor '%s' is missing", "token_embd.weight");
	if (t->dims[1] > MODEL_VOCAB_MAX)
		return BAD(r, "tensor 'token_embd.weight' has %llu rows, "
		    "expected at most %d", (unsigned long long)t->dims[1],
		    MODEL_VOCAB_MAX);
	c->vocab = (int32_t)t->dims[1];
	rc = read_int(r, full(r, "vocab_size", key), &v, &found);
	if (rc == 0 && found && v != c->vocab)
		return BAD(r, "key '%s' is %d, but tensor 'token_embd.weight' "
		    "has %d rows", key, v, c->vocab);
	return rc;
}

void
gguf_config_add_eos(struct model_config *c, int32_t id)
{
	for (int32_t i = 0; i < c->n_eos; i++)
		if (c->eos[i] == id)
			return;
	if (id >= 0 && c->n_eos < MODEL_EOS_MAX)
		c->eos[c->n_eos++] = id;
}

static int
read_ids(const struct reader *r, struct model_config *c)
{
	static const char *const ends[] = { "tokenizer.ggml.eos_token_id",
	    "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id" };
	int32_t id = 0;
	bool found;
	int rc;

	c->bos = -1;
	if ((rc = read_int(r, "tokenizer.ggml.bos_token_id", &id,
	    &found)) != 0)
		return rc;
	if (found && (id < 0 || id >= c->vocab))
		return BAD(r, "key 'tokenizer.ggml.bos_token_id' is %d, "
		    "expected 0..%d", id, c->vocab - 1);
	if (found)
		c->bos = id;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		if ((rc = read_int(r, ends[i], &id, &found)) != 0)
			return rc;
		if (found && (id < 0 || id >= c->vocab))
			return BAD(r, "key '%s' is %d, expected 0..%d",
			    ends[i], id, c->vocab - 1);
		if (found)
			gguf_config_add_eos(c, id);
	}
	return 0;
}

static bool
begins(struct gguf_string s, const char *with)
{
	return s.n >= strlen(with) && memcmp(s.s, with, strlen(with)) == 0;
}

static bool
equals(struct gguf_string s, const char *text)
{
	return s.n == strlen(text) && memcmp(s.s, text, s.n) == 0;
}

/*
 * The value of key as text; returns whether it means "off": 0, false, "none",
 * and 1 for a factor.
 */
static bool
is_off(const struct gguf *g, const char *key, char *text, size_t cap)
{
	struct err why = { 0 };
	struct gguf_string s;
	bool b = false;
	int64_t i = 0;
	double d = 0;

	if (gguf_get_int(g, key, &i, &why)) {
		snprintf(text, cap, "%lld", (long long)i);
		return i == 0;
	}
	if (gguf_get_float(g, key, &d, &why)) {
		snprintf(text, cap, "%g", d);
		return d == 0 || (d == 1 && (strstr(key, "scale") != NULL ||
		    strstr(key, "factor") != NULL));
	}
	if (gguf_get_bool(g, key, &b, &why)) {
		snprintf(text, cap, "%s", b ? "true" : "false");
		return !b;
	}
	if (gguf_get_string(g, key, &s, &why)) {
		snprintf(text, cap, "'%.*s'", s.n < 40 ? (int)s.n : 40, s.s);
		return equals(s, "none");
	}
	snprintf(text, cap, "an array");
	return false;
}

/* A key of the architecture: one of ours, or off? */
static int
check_key(const struct reader *r, struct gguf_string s, bool scaled)
{
	static const char *const ours[] = { "context_length", "vocab_size",
	    "embedding_length", "block_count", "feed_forward_length",
	    "attention.head_count", "attention.head_count_kv",
	    "attention.key_length", "attention.value_length",
	    "attention.layer_norm_rms_epsilon", "rope.freq_base",
	    "rope.dimension_count", "tensor_data_layout" };
	struct gguf_string tail = { s.s + strlen(r->arch) + 1,
	    s.n - strlen(r->arch) - 1 };
	char key[KEY_CAP], text[64];

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (equals(tail, ours[i]))
			return 0;
	if (s.n >= sizeof(key) || memchr(s.s, '\0', s.n) != NULL)
		return UNSUPPORTED(r->g, r->e, "key '%.*s' is not known",
		    gguf_shown(s), s.s);
	/* Parameters of a scaling that is off. */
	if (begins(tail, "rope.scaling.") && !scaled)
		return 0;
	snprintf(key, sizeof(key), "%.*s", (int)s.n, s.s);
	if (is_off(r->g, key, text, sizeof(text)) !=
	    equals(tail, "attention.causal"))
		return 0;
	return UNSUPPORTED(r->g, r->e,
	    "key '%s' is %s, which is not supported", key, text);
}

static bool
mentions(struct gguf_string s, const char *word)
{
	return memmem(s.s, s.n, word, strlen(word)) != NULL;
}

/* Converters of BitNets write a linear scaling by 1. */
static bool
is_scaled(const struct reader *r)
{
	struct gguf_string s = { "", 0 };
	struct err why = { 0 };
	char key[KEY_CAP];
	double factor = 1;

	if (!gguf_get_string(r->g, full(r, "rope.scaling.type", key), &s, &why))
		return true;	/* judged key by key */
	(void)gguf_get_float(r->g, full(r, "rope.scaling.factor", key), &factor,
	    &why);
	return !equals(s, "none") && !(equals(s, "linear") && factor == 1);
}

static int
check_keys(const struct reader *r)
{
	struct gguf_string s = { "", 0 };
	char prefix[KEY_CAP];
	bool scaled;
	int rc;

	snprintf(prefix, sizeof(prefix), "%s.", r->arch);
	scaled = is_scaled(r);
	for (size_t i = 0; i < gguf_n_keys(r->g); i++) {
		s = gguf_key_at(r->g, i);
		if (mentions(s, "hadamard") || mentions(s, "rotation"))
			return UNSUPPORTED(r->g, r->e, "key '%.*s': the weights "
			    "are rotated, which is not supported",
			    gguf_shown(s), s.s);
		if (begins(s, prefix) && (rc = check_key(r, s, scaled)) != 0)
			return rc;
	}
	return 0;
}

/* Files that hold something other than a model, or a part of one. */
static int
check_kind(const struct reader *r)
{
	struct gguf_string s = { "", 0 };
	struct err why = { 0 };
	int32_t n = 0;
	bool found;
	int rc;

	if (gguf_get_string(r->g, "general.type", &s, &why) &&
	    !equals(s, "model"))
		return UNSUPPORTED(r->g, r->e, "general.type is '%.*s', "
		    "expected 'model'", gguf_shown(s), s.s);
	if ((rc = read_int(r, "split.count", &n, &found)) != 0)
		return rc;
	if (found && n > 1)
		return UNSUPPORTED(r->g, r->e, "split.count is %d: a part of a "
		    "model, expected a whole one (llama-gguf-split --merge)", n);
	return 0;
}

/* NULL: *e says why. */
static const struct architecture *
find_architecture(const struct reader *r)
{
	struct gguf_string s = { "", 0 };
	struct err why = { 0 };

	if (!gguf_get_string(r->g, "general.architecture", &s, &why)) {
		if (why.code != 0)
			err_set(r->e, why.code, "%s", why.text);
		else
			BAD(r, "key '%s' is missing", "general.architecture");
		return NULL;
	}
	for (size_t i = 0; i < sizeof(architectures) / sizeof(*architectures);
	    i++)
		if (equals(s, architectures[i].name))
			return &architectures[i];
	UNSUPPORTED(r->g, r->e, "architecture '%.*s' is not supported, "
	    "expected bitnet-b1.58, bitnet-25, bitnet, llama or qwen3",
	    gguf_shown(s), s.s);
	return NULL;
}

int
gguf_config_read(const struct gguf *g, struct gguf_config *out, struct err *e)
{
	struct err why = { 0 };
	struct reader r = { .g = g, .e = &why };
	const struct architecture *a;
	struct model_config c = { 0 };
	int rc;

	if ((a = find_architecture(&r)) == NULL)
		return err_set(e, why.code, "%s", why.text);
	r.arch = a->name;
	c.act = a->act;
	c.sub_norms = a->sub_norms;
	c.qk_norm = a->qk_norm;
	c.act_float = a->act_float;
	c.tied = gguf_tensor(g, "output.weight") == NULL;
	r.e = e;
	if ((rc = check_kind(&r)) != 0 || (rc = check_keys(&r)) != 0 ||
	    (rc = read_sizes(&r, &c)) != 0 ||
	    (rc = read_head_dim(&r, &c)) != 0 ||
	    (rc = read_vocab(&r, &c)) != 0 || (rc = read_ids(&r, &c)) != 0)
		return rc;
	if (model_config_check(&c, &why) != 0)
		return BAD(&r, "%s", why.text);
	*out = (struct gguf_config){ .config = c, .architecture = a->name,
		.permuted = a->permuted, .bitnet = a->bitnet };
	return 0;
}
