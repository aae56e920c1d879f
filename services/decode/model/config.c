#include <math.h>

#include "model/model.h"

struct range {
	const char *name;
	int64_t value, min, max;
};

static int
check_ranges(const struct range *r, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (r[i].value < r[i].min || r[i].value > r[i].max)
			return err_set(e, ERR_RANGE,
			    "%s is %lld, not in %lld..%lld", r[i].name,
			    (long long)r[i].value, (long long)r[i].min,
			    (long long)r[i].max);
	return 0;
}

static int
check_ids(const struct model_config *c, struct err *e)
{
	if (c->bos < -1 || c->bos >= c->vocab)
		return err_set(e, ERR_RANGE, "bos is %d, not in -1..%d", c->bos,
		    c->vocab - 1);
	for (int32_t i = 0; i < c->n_eos; i++)
		if (c->eos[i] < 0 || c->eos[i] >= c->vocab)
			return err_set(e, ERR_RANGE,
			    "eos %d is %d, not in 0..%d", i, c->eos[i],
			    c->vocab - 1);
	for (int32_t i = c->n_eos; i < MODEL_EOS_MAX; i++)
		if (c->eos[i] != 0)
			return err_set(e, ERR_RANGE,
			    "eos %d is %d, past the last one", i, c->eos[i]);
	return 0;
}

int
model_config_check(const struct model_config *c, struct err *e)
{
	const struct range ranges[] = {
		{ "vocab", c->vocab, 1, MODEL_VOCAB_MAX },
		{ "hidden", c->hidden, 1, MODEL_HIDDEN_MAX },
		{ "n_layers", c->n_layers, 1, MODEL_LAYERS_MAX },
		{ "head_dim", c->head_dim, 2, MODEL_HEAD_DIM_MAX },
		{ "n_heads", c->n_heads, 1, MODEL_HIDDEN_MAX },
		{ "n_kv_heads", c->n_kv_heads, 1, MODEL_HIDDEN_MAX },
		{ "ffn", c->ffn, 1, MODEL_FFN_MAX },
		{ "n_ctx", c->n_ctx, 1, MODEL_CTX_MAX },
		{ "act", (int64_t)c->act, MODEL_RELU2, MODEL_SILU },
		{ "n_eos", c->n_eos, 0, MODEL_EOS_MAX },
	};
	int r = check_ranges(ranges, sizeof(ranges) / sizeof(ranges[0]), e);

	if (r != 0)
		return r;
	if (c->head_dim % 2 != 0)
		return err_set(e, ERR_RANGE, "head_dim is %d, not even",
		    c->head_dim);
	if (c->n_heads % c->n_kv_heads != 0)
		return err_set(e, ERR_RANGE,
		    "n_heads is %d, no multiple of n_kv_heads %d", c->n_heads,
		    c->n_kv_heads);
	if ((int64_t)c->n_heads * c->head_dim > MODEL_HIDDEN_MAX)
		return err_set(e, ERR_RANGE,
		    "n_heads %d times head_dim %d is more than %d", c->n_heads,
		    c->head_dim, MODEL_HIDDEN_MAX);
	if (!(c->rope_theta >= 1 && c->rope_theta <= 1e12f))
		return err_set(e, ERR_RANGE, "rope_theta is %g, not in 1..1e12",
		    (double)c->rope_theta);
	if (!(c->norm_eps > 0 && c->norm_eps <= 0.1f))
		return err_set(e, ERR_RANGE, "norm_eps is %g, not in 0..0.1",
		    (double)c->norm_eps);
	return check_ids(c, e);
}
