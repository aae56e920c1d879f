#include <stdbool.h>
#include <string.h>

#include "backend/backend.h"
#include "model/packed.h"

/* The best first; "auto" never takes ref, which is the oracle of the tests. */
static const struct {
	const char *name;
	bool automatic;
	int32_t rows, prompt_rows;	/* of a batch; of prompts beside others */
	int (*open)(const struct model *m, const struct backend_options *o,
	    struct backend *b, struct err *e);
} candidates[] = {
	{ "gpu", true, 2048, 128, backend_gpu_open },
	{ "cpu", true, 128, 32, backend_cpu_open },
	{ "ref", false, 128, 32, backend_ref_open },
};

/* Factors of a row.  A group of 0 is a whole row, too. */
static int64_t
n_groups(int32_t group, int32_t n_in)
{
	return group > 0 && group < n_in ? (n_in + group - 1) / group : 1;
}

int64_t
backend_ternary_bytes(const struct ternary *w)
{
	return (int64_t)w->n_out * (w->stride + n_groups(w->group, w->n_in) *
	    (int64_t)sizeof(float));
}

int64_t
backend_dense_bytes(const struct dense *d)
{
	static const int64_t size[] = {
		[DENSE_BF16] = 2, [DENSE_I8] = 1, [DENSE_F32] = 4,
		[DENSE_F16] = 2,
	};
	int64_t row = packed_bits(d->type) > 0 ?
	    packed_stride(d->type, d->n_in) : d->n_in * size[d->type];

	return (int64_t)d->n_out * row +
	    (d->scales != NULL ? (int64_t)sizeof(float) * d->n_out *
	    n_groups(d->group, d->n_in) : 0);
}

/* Weights, norms and head: what one token reads at depth 0. */
static int64_t
bytes_per_token(const struct model *m)
{
	const struct model_config *f = &m->config;
	int64_t n = backend_dense_bytes(&m->head) + 4 * (int64_t)f->hidden;

	for (int i = 0; i < f->n_layers; i++) {
		const struct model_layer *l = &m->layers[i];

		n += backend_ternary_bytes(&l->q) + backend_ternary_bytes(&l->k) +
		    backend_ternary_bytes(&l->v) + backend_ternary_bytes(&l->o) +
		    backend_ternary_bytes(&l->gate) +
		    backend_ternary_bytes(&l->up) +
		    backend_ternary_bytes(&l->down) + 8 * (int64_t)f->hidden;
		if (f->sub_norms)
			n += 4 * ((int64_t)f->n_heads * f->head_dim + f->ffn);
	}
	return n;
}

static int
check(const struct backend_options *o, struct err *e)
{
	if (o->max_rows < 1 || o->max_rows > BACKEND_ROWS_MAX)
		return err_set(e, ERR_RANGE, "a batch of %d rows; 1 to %d are "
		    "possible", (int)o->max_rows, BACKEND_ROWS_MAX);
	if (o->n_ctx < 1 || o->n_ctx > MODEL_CTX_MAX)
		return err_set(e, ERR_RANGE, "a context of %d positions; 1 to "
		    "%d are possible", (int)o->n_ctx, MODEL_CTX_MAX);
	if (o->n_pages < 1)
		return err_set(e, ERR_RANGE, "%d pages of KV cache; 1 is the "
		    "least", (int)o->n_pages);
	if (o->kv != NULL && strcmp(o->kv, "f16") != 0 &&
	    strcmp(o->kv, "i8") != 0)
		return err_set(e, ERR_RANGE, "a KV cache in '%.16s'; f16 and i8 "
		    "are possible", o->kv);
	return 0;
}

int
backend_open(const struct model *m, const struct backend_options *o,
    struct backend *b, struct err *e)
{
	const size_t n = sizeof(candidates) / sizeof(candidates[0]);
	bool any = strcmp(o->name, "auto") == 0;
	struct backend_options own = *o;
	struct backend got = { 0 };
	struct err why = { 0 };
	int r = check(o, e);

	if (r != 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		char instead[sizeof(got.instead)];

		if (any ? !candidates[i].automatic :
		    strcmp(o->name, candidates[i].name) != 0)
			continue;
		own.max_rows = o->max_rows;
		if (o->more_rows && own.max_rows < candidates[i].rows)
			own.max_rows = candidates[i].rows;
		memcpy(instead, why.text, sizeof(instead));
		r = candidates[i].open(m, &own, &got, &why);
		if (r == 0) {
			got.max_rows = own.max_rows;
			got.prompt_rows = candidates[i].prompt_rows;
			memcpy(got.instead, instead, sizeof(instead));
			/* Unless it holds the weights in another form. */
			if (got.bytes_per_token == 0)
				got.bytes_per_token = bytes_per_token(m);
			*b = got;
			return 0;
		}
		/* One that is missing or cannot do this lets auto go on; no memory is
		 * no memory. */
		if ((r != ERR_NOT_FOUND && r != ERR_UNSUPPORTED) || !any)
			return err_set(e, r, "%s", why.text);
	}
	return any ? err_set(e, r, "%s", why.text) : err_set(e, ERR_NOT_FOUND,
	    "no backend is called '%.16s'; there are auto, gpu, cpu and ref",
	    o->name);
}
