#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/base3.h"
#include "model/h1b.h"
#include "model/packed.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
    "files are mapped as they are");
_Static_assert(sizeof(struct h1b_header) == 256, "no padding");
_Static_assert(sizeof(struct h1b_entry) == 96, "no padding");

/* A size that the header gives. */
enum dim { ONE, VOCAB, HIDDEN, HEADS, KV_HEADS, FFN, HEAD_DIM };

enum kind { TEXT, VECTOR, TERNARY, EMBED, HEAD };

/* Which models have it. */
enum when { ALWAYS, WITH_SUB_NORMS, WITH_QK_NORM };

struct row {
	enum h1b_part part;
	const char *name;
	enum kind kind;
	enum dim rows, cols;
	enum when when;
	uint64_t size_max;	/* of a TEXT */
};

static const struct row before[] = {
	{ H1B_ARCHITECTURE, "architecture", TEXT, ONE, ONE, ALWAYS, 63 },
	{ H1B_NAME, "name", TEXT, ONE, ONE, ALWAYS, 255 },
	{ H1B_SOURCE, "source", TEXT, ONE, ONE, ALWAYS, H1B_TEXT_MAX },
	{ H1B_CHAT_TEMPLATE, "chat_template", TEXT, ONE, ONE, ALWAYS,
	    H1B_TEXT_MAX },
	{ H1B_TOKENIZER, "tokenizer", TEXT, ONE, ONE, ALWAYS,
	    H1B_TOKENIZER_MAX },
	{ H1B_EMBED, "embed", EMBED, VOCAB, HIDDEN, ALWAYS, 0 },
	{ H1B_NORM, "norm", VECTOR, ONE, HIDDEN, ALWAYS, 0 },
};

/* In the order in which a forward pass reads them. */
static const struct row layer[] = {
	{ H1B_ATTN_NORM, "attn_norm", VECTOR, ONE, HIDDEN, ALWAYS, 0 },
	{ H1B_Q, "q", TERNARY, HEADS, HIDDEN, ALWAYS, 0 },
	{ H1B_K, "k", TERNARY, KV_HEADS, HIDDEN, ALWAYS, 0 },
	{ H1B_V, "v", TERNARY, KV_HEADS, HIDDEN, ALWAYS, 0 },
	{ H1B_Q_NORM, "q_norm", VECTOR, ONE, HEAD_DIM, WITH_QK_NORM, 0 },
	{ H1B_K_NORM, "k_norm", VECTOR, ONE, HEAD_DIM, WITH_QK_NORM, 0 },
	{ H1B_ATTN_SUB_NORM, "attn_sub_norm", VECTOR, ONE, HEADS,
	    WITH_SUB_NORMS, 0 },
	{ H1B_O, "o", TERNARY, HIDDEN, HEADS, ALWAYS, 0 },
	{ H1B_FFN_NORM, "ffn_norm", VECTOR, ONE, HIDDEN, ALWAYS, 0 },
	{ H1B_GATE, "gate", TERNARY, FFN, HIDDEN, ALWAYS, 0 },
	{ H1B_UP, "up", TERNARY, FFN, HIDDEN, ALWAYS, 0 },
	{ H1B_FFN_SUB_NORM, "ffn_sub_norm", VECTOR, ONE, FFN, WITH_SUB_NORMS,
	    0 },
	{ H1B_DOWN, "down", TERNARY, HIDDEN, FFN, ALWAYS, 0 },
};

static const struct row head = {
	H1B_HEAD, "head", HEAD, VOCAB, HIDDEN, ALWAYS, 0
};

/* Last, so that it can be added to a file that is complete without it. */
static const struct row probe = {
	H1B_PROBE, "probe", TEXT, ONE, ONE, ALWAYS, H1B_PROBE_MAX
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

struct list {
	const struct model_config *c;
	const struct h1b_form *f;
	struct h1b_section *v;
	uint32_t n;
};

static uint64_t
dim(const struct model_config *c, enum dim d)
{
	switch (d) {
	case VOCAB:
		return (uint64_t)c->vocab;
	case HIDDEN:
		return (uint64_t)c->hidden;
	case HEADS:
		return (uint64_t)c->n_heads * (uint64_t)c->head_dim;
	case KV_HEADS:
		return (uint64_t)c->n_kv_heads * (uint64_t)c->head_dim;
	case FFN:
		return (uint64_t)c->ffn;
	case HEAD_DIM:
		return (uint64_t)c->head_dim;
	case ONE:
		break;
	}
	return 1;
}

/* No product here can wrap: model_config_check bounds both factors by 2^20. */
static uint64_t
tensor_size(enum h1b_type type, uint64_t rows, uint64_t cols)
{
	switch (type) {
	case H1B_BF16:
	case H1B_F16:
		return rows * cols * 2;
	case H1B_I8:
		return rows * cols;
	case H1B_F32:
		return rows * cols * 4;
	case H1B_T2:
		return rows * (uint64_t)h1b_t2_stride((int32_t)cols);
	case H1B_B3:
		return rows * (uint64_t)base3_stride((int32_t)cols);
	case H1B_Q6:
	case H1B_Q4:
		return rows * (uint64_t)packed_stride((enum dense_type)type,
		    (int32_t)cols);
	case H1B_BYTES:
		break;
	}
	return 0;
}

static void
add(struct list *l, const struct row *r, int32_t layer_no, enum h1b_type type,
    bool scale)
{
	struct h1b_section *s = &l->v[l->n++];
	uint64_t rows = dim(l->c, r->rows), cols = dim(l->c, r->cols);
	int group = h1b_group_of(r->part);
	uint64_t width = group >= 0 ? (uint64_t)l->f->groups[group] : 0;

	*s = (struct h1b_section){ .part = r->part, .layer = layer_no,
	    .scale = scale, .type = type,
	    .group = (int32_t)(width > 0 ? width : cols) };
	if (layer_no >= 0)
		snprintf(s->name, sizeof(s->name), "layers.%d.%s%s", layer_no,
		    r->name, scale ? ".scale" : "");
	else
		snprintf(s->name, sizeof(s->name), "%s%s", r->name,
		    scale ? ".scale" : "");
	s->dims[0] = rows;
	s->dims[1] = cols;
	if (scale) {
		s->dims[0] = width > 0 ? rows : 1;
		s->dims[1] = width > 0 ? (cols + width - 1) / width : rows;
	}
	s->size = r->kind == TEXT ? r->size_max :
	    tensor_size(type, s->dims[0], s->dims[1]);
}

static void
add_row(struct list *l, const struct row *r, int32_t layer_no)
{
	enum dense_type dense = r->kind == EMBED ? l->f->embed_type :
	    l->f->head_type;

	if ((r->when == WITH_SUB_NORMS && !l->c->sub_norms) ||
	    (r->when == WITH_QK_NORM && !l->c->qk_norm))
		return;
	switch (r->kind) {
	case TEXT:
		add(l, r, layer_no, H1B_BYTES, false);
		break;
	case VECTOR:
		add(l, r, layer_no, H1B_F32, false);
		break;
	case TERNARY:
		add(l, r, layer_no, l->f->body == TERNARY_B3 ? H1B_B3 : H1B_T2,
		    false);
		add(l, r, layer_no, H1B_F32, true);
		break;
	case EMBED:
	case HEAD:
		add(l, r, layer_no, (enum h1b_type)dense, false);
		if (dense == DENSE_I8 || packed_bits(dense) > 0)
			add(l, r, layer_no, H1B_F32, true);
		break;
	}
}

int
h1b_layout(const struct model_config *c, const struct h1b_form *f,
    struct h1b_section **list, uint32_t *n, struct err *e)
{
	struct list l = { .c = c, .f = f };
	size_t most = N(before) + 1 + 2 + 1 + (size_t)c->n_layers * 2 * N(layer);

	if ((l.v = calloc(most, sizeof(*l.v))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for %zu sections",
		    most);
	for (size_t i = 0; i < N(before); i++)
		add_row(&l, &before[i], -1);
	for (int32_t k = 0; k < c->n_layers; k++)
		for (size_t i = 0; i < N(layer); i++)
			add_row(&l, &layer[i], k);
	if (!c->tied)
		add_row(&l, &head, -1);
	if (f->probe)
		add_row(&l, &probe, -1);
	assert(l.n <= most);
	*list = l.v;
	*n = l.n;
	return 0;
}

static const struct row *
row_of(enum h1b_part part)
{
	for (size_t i = 0; i < N(before); i++)
		if (before[i].part == part)
			return &before[i];
	for (size_t i = 0; i < N(layer); i++)
		if (layer[i].part == part)
			return &layer[i];
	return part == H1B_HEAD ? &head : &probe;
}

int32_t
h1b_columns(const struct model_config *c, enum h1b_part part)
{
	return (int32_t)dim(c, row_of(part)->cols);
}

static const enum h1b_part grouped[H1B_GROUPS] = {
	H1B_Q, H1B_K, H1B_V, H1B_O, H1B_GATE, H1B_UP, H1B_DOWN, H1B_EMBED,
	H1B_HEAD,
};

int
h1b_group_of(enum h1b_part part)
{
	for (int i = 0; i < H1B_GROUPS; i++)
		if (grouped[i] == part)
			return i;
	return -1;
}

static bool
is_dense(enum dense_type t)
{
	return t == DENSE_BF16 || t == DENSE_I8 || t == DENSE_F32 ||
	    t == DENSE_F16;
}

int
h1b_form_check(const struct model_config *c, const struct h1b_form *f,
    struct err *e)
{
	if (!is_dense(f->embed_type))
		return err_set(e, ERR_RANGE, "embed_type %u, not in 1, 2, 3, 6",
		    (unsigned)f->embed_type);
	if (c->tied ? f->head_type != 0 : !is_dense(f->head_type) &&
	    packed_bits(f->head_type) == 0)
		return err_set(e, ERR_RANGE, "head_type %u, expected %s",
		    (unsigned)f->head_type, c->tied ? "0" :
		    "1, 2, 3, 6, 7 or 8");
	for (int i = 0; i < H1B_GROUPS; i++) {
		int32_t cols = h1b_columns(c, grouped[i]), g = f->groups[i];
		int32_t unit = i < H1B_GROUP_EMBED ? 64 : 16;
		enum dense_type type = i == H1B_GROUP_EMBED ? f->embed_type :
		    i == H1B_GROUP_HEAD ? f->head_type : DENSE_I8;

		if (g == 0)
			continue;
		if (type != DENSE_I8)
			return err_set(e, ERR_RANGE, "group %d of %s is %d, "
			    "expected 0", i, row_of(grouped[i])->name, g);
		if (g < 0 || g % unit != 0 || g >= cols)
			return err_set(e, ERR_RANGE, "group %d of %s is %d, "
			    "expected a multiple of %d below %d", i,
			    row_of(grouped[i])->name, g, unit, cols);
	}
	return 0;
}

struct ternary *
h1b_ternary(struct model_layer *l, enum h1b_part part)
{
	switch (part) {
	case H1B_Q:
		return &l->q;
	case H1B_K:
		return &l->k;
	case H1B_V:
		return &l->v;
	case H1B_O:
		return &l->o;
	case H1B_GATE:
		return &l->gate;
	case H1B_UP:
		return &l->up;
	case H1B_DOWN:
		return &l->down;
	default:
		return NULL;
	}
}

uint64_t
h1b_align(uint64_t offset)
{
	return (offset + H1B_ALIGN - 1) / H1B_ALIGN * H1B_ALIGN;
}

const char *
h1b_type_name(uint32_t type)
{
	static const char *const names[] = { "?", "bf16", "i8", "f32", "t2",
	    "bytes", "f16", "q6", "q4", "b3" };

	return names[type < N(names) ? type : 0];
}

int32_t
h1b_t2_stride(int32_t n_in)
{
	return (n_in + TERNARY_BLOCK - 1) / TERNARY_BLOCK * (TERNARY_BLOCK / 4);
}

void
h1b_t2_pack(const uint8_t *codes, int32_t n_in, uint8_t *out)
{
	int32_t k = 0;

	for (; n_in - k >= TERNARY_BLOCK; k += TERNARY_BLOCK, out += 64)
		for (int32_t j = 0; j < 64; j++)
			out[j] = (uint8_t)(codes[k + j] |
			    codes[k + 64 + j] << 2 | codes[k + 128 + j] << 4 |
			    codes[k + 192 + j] << 6);
	if (k == n_in)
		return;
	memset(out, 0x55, 64);	/* all zero weights */
	for (int32_t i = 0; k < n_in; i++, k++) {
		int shift = i / 64 * 2;
		uint8_t *p = &out[i % 64];

		*p = (uint8_t)((*p & ~(3 << shift)) | codes[k] << shift);
	}
}
