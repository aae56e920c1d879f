/*
 * A tensor's size follows from its shape and type, and has to fill the room up
 * to the next tensor but for padding: so a layout that is not what its number
 * says is noticed before it becomes weights.  That is also how the two forms of
 * Q2_0 are told apart, for all tensors of a file together, since small ones may
 * fit both.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf_tensors.h"
#include "model/ternarize.h"

enum { PARTS = H1B_PROBE, NAME_CAP = 64 };

enum need { NORM, DENSE, PROJECTION };

static const struct part {
	enum h1b_part part;
	enum need need;
	bool in_layer;
	const char *name;
} parts[] = {
	{ H1B_EMBED, DENSE, false, "token_embd" },
	{ H1B_NORM, NORM, false, "output_norm" },
	{ H1B_HEAD, DENSE, false, "output" },
	{ H1B_ATTN_NORM, NORM, true, "attn_norm" },
	{ H1B_Q, PROJECTION, true, "attn_q" },
	{ H1B_K, PROJECTION, true, "attn_k" },
	{ H1B_V, PROJECTION, true, "attn_v" },
	{ H1B_Q_NORM, NORM, true, "attn_q_norm" },
	{ H1B_K_NORM, NORM, true, "attn_k_norm" },
	{ H1B_ATTN_SUB_NORM, NORM, true, "attn_sub_norm" },
	{ H1B_O, PROJECTION, true, "attn_output" },
	{ H1B_FFN_NORM, NORM, true, "ffn_norm" },
	{ H1B_GATE, PROJECTION, true, "ffn_gate" },
	{ H1B_UP, PROJECTION, true, "ffn_up" },
	{ H1B_FFN_SUB_NORM, NORM, true, "ffn_sub_norm" },
	{ H1B_DOWN, PROJECTION, true, "ffn_down" },
};
enum { N_KINDS = sizeof(parts) / sizeof(parts[0]) };

struct mapper {
	const struct gguf *g;
	const struct model_config *c;
	const struct gguf_type *q2_0;	/* the form that this file has */
	struct err *e;
};

#define ULL(x) ((unsigned long long)(x))
#define BAD(m, t, fmt, ...) err_set((m)->e, ERR_BAD_FILE, "%.60s: tensor " \
	"'%.*s'" fmt, gguf_what((m)->g), gguf_shown((t)->name), (t)->name.s, \
	__VA_ARGS__)
#define UNSUPPORTED(m, t, fmt, ...) err_set((m)->e, ERR_UNSUPPORTED, "%.60s: " \
	"tensor '%.*s'" fmt, gguf_what((m)->g), gguf_shown((t)->name), \
	(t)->name.s, __VA_ARGS__)

static struct gguf_matrix *
slot(const struct gguf_tensors *ts, enum h1b_part part, int32_t layer)
{
	return &ts->all[(size_t)(layer + 1) * PARTS + (size_t)part];
}

const struct gguf_matrix *
gguf_tensors_at(const struct gguf_tensors *ts, enum h1b_part part,
    int32_t layer)
{
	return slot(ts, part, layer);
}

static bool
is_there(const struct model_config *c, enum h1b_part part)
{
	switch (part) {
	case H1B_HEAD:
		return !c->tied;
	case H1B_Q_NORM:
	case H1B_K_NORM:
		return c->qk_norm;
	case H1B_ATTN_SUB_NORM:
	case H1B_FFN_SUB_NORM:
		return c->sub_norms;
	default:
		return true;
	}
}

static void
shape(const struct model_config *c, enum h1b_part part, int32_t *rows,
    int32_t *cols)
{
	int32_t n_q = c->n_heads * c->head_dim;

	*rows = 1;
	*cols = c->hidden;
	switch (part) {
	case H1B_EMBED:
	case H1B_HEAD:
		*rows = c->vocab;
		break;
	case H1B_Q:
		*rows = n_q;
		break;
	case H1B_K:
	case H1B_V:
		*rows = c->n_kv_heads * c->head_dim;
		break;
	case H1B_GATE:
	case H1B_UP:
		*rows = c->ffn;
		break;
	case H1B_O:
		*rows = c->hidden;
		*cols = n_q;
		break;
	case H1B_DOWN:
		*rows = c->hidden;
		*cols = c->ffn;
		break;
	case H1B_Q_NORM:
	case H1B_K_NORM:
		*cols = c->head_dim;
		break;
	case H1B_ATTN_SUB_NORM:
		*cols = n_q;
		break;
	case H1B_FFN_SUB_NORM:
		*cols = c->ffn;
		break;
	default:
		break;
	}
}

/* Do so many bytes fill the room that t has? */
static bool
fills(const struct gguf *g, const struct gguf_tensor *t, uint64_t size)
{
	bool last = t->offset + t->size == gguf_size(g);

	return size <= t->size && (last || t->size - size < gguf_alignment(g));
}

static uint64_t
size_in(const struct gguf_type *type, const struct gguf_tensor *t)
{
	uint64_t size = 0;

	if (t->dims[0] % (uint64_t)type->block != 0 ||
	    !gguf_type_size(type, t->dims[1] * t->dims[2] * t->dims[3],
	    t->dims[0], &size))
		return 0;
	return size;
}

/* Which of the two forms of Q2_0 fits all tensors that have the type? */
static int
choose_q2_0(struct mapper *m)
{
	const struct gguf_type *forms[] = { gguf_type(GGUF_Q2_0_TYPE),
	    gguf_type_q2_0_128() };
	bool fit[] = { true, true };

	for (size_t i = 0; i < gguf_n_tensors(m->g); i++) {
		const struct gguf_tensor *t = gguf_tensor_at(m->g, i);

		if (t->type != GGUF_Q2_0_TYPE)
			continue;
		for (int f = 0; f < 2; f++) {
			uint64_t size = size_in(forms[f], t);

			fit[f] = fit[f] && size > 0 && fills(m->g, t, size);
		}
		if (!fit[0] && !fit[1])
			return BAD(m, t, " (Q2_0) has %llu bytes, expected %llu "
			    "in groups of 64 or %llu in groups of 128",
			    ULL(t->size), ULL(size_in(forms[0], t)),
			    ULL(size_in(forms[1], t)));
	}
	m->q2_0 = forms[fit[0] ? 0 : 1];
	return 0;
}

static int
check_type(const struct mapper *m, enum need need, const struct gguf_tensor *t,
    const struct gguf_type **out)
{
	const struct gguf_type *type = t->type == GGUF_Q2_0_TYPE ? m->q2_0 :
	    gguf_type(t->type);

	if (type == NULL)
		return UNSUPPORTED(m, t, " has the type %u, which is not known",
		    t->type);
	if (need == NORM && type->use != GGUF_FLOATS)
		return UNSUPPORTED(m, t, " has type %s, expected F32, F16 or "
		    "BF16", type->name);
	if (need == DENSE && type->use == GGUF_NO_USE)
		return UNSUPPORTED(m, t, " has type %s, expected F32, F16, BF16, "
		    "Q8_0, Q6_K, Q4_K or a ternary one", type->name);
	if (need == PROJECTION && type->use != GGUF_TERNARY &&
	    type->use != GGUF_FLOATS)
		return UNSUPPORTED(m, t, " has type %s, which is not ternary",
		    type->name);
	*out = type;
	return 0;
}

static int
check_shape(const struct mapper *m, const struct gguf_matrix *x)
{
	const struct gguf_tensor *t = x->t;
	uint64_t size;

	if (t->dims[0] != (uint64_t)x->cols ||
	    t->dims[1] != (uint64_t)x->rows || t->dims[2] != 1 ||
	    t->dims[3] != 1)
		return BAD(m, t, " is [%llu, %llu, %llu, %llu], expected "
		    "[%d, %d]", ULL(t->dims[0]), ULL(t->dims[1]),
		    ULL(t->dims[2]), ULL(t->dims[3]), x->cols, x->rows);
	if (x->cols % x->type->block != 0)
		return UNSUPPORTED(m, t, " (%s) has %d columns, no multiple of "
		    "%d", x->type->name, x->cols, x->type->block);
	size = size_in(x->type, t);
	if (size > t->size)
		return BAD(m, t, " (%s) takes %llu bytes, but %llu bytes after "
		    "byte %llu comes the next one or the end", x->type->name,
		    ULL(size), ULL(t->size), ULL(t->offset));
	if (!fills(m->g, t, size))
		return BAD(m, t, " (%s) takes %llu bytes, but the next one "
		    "comes after %llu", x->type->name, ULL(size), ULL(t->size));
	return 0;
}

/* Has the block a weight that is not 0? */
static bool
is_live(const struct gguf_type *type, const uint8_t *block)
{
	uint8_t codes[GGUF_BLOCK_MAX];

	type->codes(block, 1, codes);
	for (int i = 0; i < type->block; i++)
		if (codes[i] != 1)
			return true;
	return false;
}

/*
 * Is the factor of all of n blocks the same?  That of a block of zeros does not
 * matter: quantisers put 0 there.
 */
static bool
is_uniform(const struct gguf_type *type, const uint8_t *block, size_t n)
{
	const uint8_t *first = NULL;

	for (; n > 0; n--, block += type->bytes) {
		const uint8_t *scale = block + type->scale_at;

		if (first != NULL && memcmp(first, scale, 2) == 0)
			continue;
		if (!is_live(type, block))
			continue;
		if (first != NULL)
			return false;
		first = scale;
	}
	return true;
}

/*
 * The largest group, not above `group`, that has one factor everywhere in a
 * row: the row, or blocks times a power of two.
 */
static int32_t
row_group(const struct gguf_matrix *x, const uint8_t *row, int32_t group)
{
	const struct gguf_type *type = x->type;
	int32_t least = type->block;

	while (group > least) {
		int32_t at = 0, next = least;

		for (; at < x->cols; at += group) {
			int32_t n = x->cols - at < group ? x->cols - at : group;

			if (!is_uniform(type, row + (size_t)(at / least) *
			    (size_t)type->bytes, (size_t)(n / least)))
				break;
		}
		if (at >= x->cols)
			return group;
		while (next * 2 < group)
			next *= 2;
		group = next;
	}
	return group;
}

/* The factors of a ternary tensor: are they numbers, and how many are needed? */
static int
check_scales(const struct mapper *m, struct gguf_matrix *x)
{
	size_t n = (size_t)(x->cols / x->type->block);
	float scale;

	x->group = x->cols;
	if (x->type->group == 0) {
		memcpy(&x->scale, x->t->data + (size_t)x->rows * x->row_bytes,
		    sizeof(x->scale));
		return isfinite(x->scale) ? 0 : BAD(m, x->t, " (%s): its factor "
		    "is %f", x->type->name, (double)x->scale);
	}
	for (int32_t r = 0; r < x->rows; r++) {
		const uint8_t *row = x->t->data + (size_t)r * x->row_bytes;

		for (size_t i = 0; i < n; i++) {
			gguf_type_scales(x->type, row + i *
			    (size_t)x->type->bytes, 1, &scale);
			if (!isfinite(scale))
				return BAD(m, x->t, " (%s): the factor of block "
				    "%zu of row %d is %f", x->type->name, i, r,
				    (double)scale);
		}
		x->group = row_group(x, row, x->group);
	}
	gguf_drop(m->g);
	return 0;
}

/* A projection in floats: are there only three values to a factor? */
static int
look_at_floats(const struct mapper *m, struct gguf_matrix *x, const char *name)
{
	struct ternarize *t = malloc(sizeof(*t));
	float *w = malloc((size_t)x->cols * sizeof(*w));
	struct err why = { 0 };
	int rc = 0;

	if (t == NULL || w == NULL)
		rc = err_set(m->e, ERR_NO_MEMORY, "no memory for a row");
	else
		ternarize_init(t, x->cols);
	for (int32_t r = 0; rc == 0 && r < x->rows; r++) {
		x->type->floats(x->t->data + (size_t)r * x->row_bytes,
		    (size_t)x->cols, w);
		if (ternarize_look(t, name, r, w, &why) != 0)
			rc = err_set(m->e, why.code, "%.60s: %s",
			    gguf_what(m->g), why.text);
	}
	if (rc == 0)
		x->group = ternarize_group(t);
	gguf_drop(m->g);
	free(t);
	free(w);
	return rc;
}

static int
map_one(const struct mapper *m, const struct part *p, int32_t layer,
    struct gguf_matrix *x)
{
	char name[NAME_CAP];
	int rc;

	if (layer < 0)
		snprintf(name, sizeof(name), "%s.weight", p->name);
	else
		snprintf(name, sizeof(name), "blk.%d.%s.weight", layer,
		    p->name);
	shape(m->c, p->part, &x->rows, &x->cols);
	if ((x->t = gguf_tensor(m->g, name)) == NULL)
		return err_set(m->e, ERR_BAD_FILE, "%.80s: tensor '%s' is "
		    "missing", gguf_what(m->g), name);
	if ((rc = check_type(m, p->need, x->t, &x->type)) != 0 ||
	    (rc = check_shape(m, x)) != 0)
		return rc;
	x->row_bytes = (size_t)(x->cols / x->type->block) *
	    (size_t)x->type->bytes;
	x->group = x->type->group;
	if (x->type->use == GGUF_TERNARY)
		return check_scales(m, x);
	return p->need == PROJECTION ? look_at_floats(m, x, name) : 0;
}

/* The first tensor that is no part of the model, by name. */
static int
name_leftover(const struct mapper *m, const struct gguf_tensors *ts)
{
	size_t n = (size_t)(m->c->n_layers + 1) * PARTS;

	for (size_t i = 0; i < gguf_n_tensors(m->g); i++) {
		const struct gguf_tensor *t = gguf_tensor_at(m->g, i);
		size_t k = 0;

		while (k < n && ts->all[k].t != t)
			k++;
		if (k < n)
			continue;
		if (t->name.n == 17 &&
		    memcmp(t->name.s, "rope_freqs.weight", 17) == 0)
			return UNSUPPORTED(m, t, ": RoPE with factors of its "
			    "own (Llama 3.1's) is not %s", "supported");
		return UNSUPPORTED(m, t, " is not part of this %s",
		    "architecture");
	}
	return 0;
}

/* Columns of the widest projection. */
static int32_t
widest(const struct model_config *c)
{
	int32_t n = c->n_heads * c->head_dim;

	n = n > c->hidden ? n : c->hidden;
	return n > c->ffn ? n : c->ffn;
}

int
gguf_tensors_map(const struct gguf *g, const struct model_config *c,
    struct gguf_tensors *ts, struct err *e)
{
	struct mapper m = { .g = g, .c = c, .e = e };
	struct gguf_tensors mapped = { .g = g };
	size_t n = 0;
	int rc;

	if ((rc = choose_q2_0(&m)) != 0)
		return rc;
	mapped.all = calloc((size_t)(c->n_layers + 1) * PARTS,
	    sizeof(*mapped.all));
	mapped.row = calloc((size_t)widest(c), sizeof(*mapped.row));
	if (mapped.all == NULL || mapped.row == NULL)
		rc = err_set(e, ERR_NO_MEMORY, "no memory for tensors");
	for (int32_t layer = -1; rc == 0 && layer < c->n_layers; layer++)
		for (int i = 0; rc == 0 && i < N_KINDS; i++) {
			const struct part *p = &parts[i];

			if (p->in_layer != (layer >= 0) || !is_there(c, p->part))
				continue;
			rc = map_one(&m, p, layer, slot(&mapped, p->part,
			    layer));
			n++;
		}
	if (rc == 0 && n != gguf_n_tensors(g))
		rc = name_leftover(&m, &mapped);
	if (rc != 0) {
		gguf_tensors_free(&mapped);
		return rc;
	}
	*ts = mapped;
	return 0;
}

void
gguf_tensors_free(struct gguf_tensors *ts)
{
	free(ts->all);
	free(ts->row);
	*ts = (struct gguf_tensors){ 0 };
}
