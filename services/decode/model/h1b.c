#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/h1b.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
    "files are mapped as they are");
_Static_assert(sizeof(struct h1b_header) == 256, "no padding");
_Static_assert(sizeof(struct h1b_entry) == 96, "no padding");

/* A size that the header gives. */
enum dim { ONE, VOCAB, HIDDEN, HEADS, KV_HEADS, FFN };

enum kind { TEXT, VECTOR, TERNARY, EMBED, HEAD };

struct row {
	enum h1b_part part;
	const char *name;
	enum kind kind;
	enum dim rows, cols;
	bool sub_norm;		/* only in models that have these */
	uint64_t size_max;	/* of a TEXT */
};

static const struct row before[] = {
	{ H1B_ARCHITECTURE, "architecture", TEXT, ONE, ONE, false, 63 },
	{ H1B_NAME, "name", TEXT, ONE, ONE, false, 255 },
	{ H1B_SOURCE, "source", TEXT, ONE, ONE, false, H1B_TEXT_MAX },
	{ H1B_CHAT_TEMPLATE, "chat_template", TEXT, ONE, ONE, false,
	    H1B_TEXT_MAX },
	{ H1B_TOKENIZER, "tokenizer", TEXT, ONE, ONE, false,
	    H1B_TOKENIZER_MAX },
	{ H1B_EMBED, "embed", EMBED, VOCAB, HIDDEN, false, 0 },
	{ H1B_NORM, "norm", VECTOR, ONE, HIDDEN, false, 0 },
};

/* In the order in which a forward pass reads them. */
static const struct row layer[] = {
	{ H1B_ATTN_NORM, "attn_norm", VECTOR, ONE, HIDDEN, false, 0 },
	{ H1B_Q, "q", TERNARY, HEADS, HIDDEN, false, 0 },
	{ H1B_K, "k", TERNARY, KV_HEADS, HIDDEN, false, 0 },
	{ H1B_V, "v", TERNARY, KV_HEADS, HIDDEN, false, 0 },
	{ H1B_ATTN_SUB_NORM, "attn_sub_norm", VECTOR, ONE, HEADS, true, 0 },
	{ H1B_O, "o", TERNARY, HIDDEN, HEADS, false, 0 },
	{ H1B_FFN_NORM, "ffn_norm", VECTOR, ONE, HIDDEN, false, 0 },
	{ H1B_GATE, "gate", TERNARY, FFN, HIDDEN, false, 0 },
	{ H1B_UP, "up", TERNARY, FFN, HIDDEN, false, 0 },
	{ H1B_FFN_SUB_NORM, "ffn_sub_norm", VECTOR, ONE, FFN, true, 0 },
	{ H1B_DOWN, "down", TERNARY, HIDDEN, FFN, false, 0 },
};

static const struct row after[] = {
	{ H1B_HEAD, "head", HEAD, VOCAB, HIDDEN, false, 0 },
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

struct list {
	const struct model_config *c;
	enum dense_type embed_type, head_type;
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
		return rows * cols * 2;
	case H1B_I8:
		return rows * cols;
	case H1B_F32:
		return rows * cols * 4;
	case H1B_T2:
		return rows * (uint64_t)h1b_t2_stride((int32_t)cols);
	case H1B_BYTES:
		break;
	}
	return 0;
}

static struct h1b_section *
add(struct list *l, const struct row *r, int32_t layer_no, enum h1b_type type,
    bool scale)
{
	struct h1b_section *s = &l->v[l->n++];
	uint64_t rows = dim(l->c, r->rows), cols = dim(l->c, r->cols);

	*s = (struct h1b_section){ .part = r->part, .layer = layer_no,
	    .scale = scale, .type = type };
	if (layer_no >= 0)
		snprintf(s->name, sizeof(s->name), "layers.%d.%s%s", layer_no,
		    r->name, scale ? ".scale" : "");
	else
		snprintf(s->name, sizeof(s->name), "%s%s", r->name,
		    scale ? ".scale" : "");
	s->dims[0] = scale ? 1 : rows;
	s->dims[1] = scale ? rows : cols;
	s->size = r->kind == TEXT ? r->size_max :
	    tensor_size(type, s->dims[0], s->dims[1]);
	return s;
}

static void
add_row(struct list *l, const struct row *r, int32_t layer_no)
{
	enum dense_type dense = r->kind == EMBED ? l->embed_type : l->head_type;

	if (r->sub_norm && !l->c->sub_norms)
		return;
	switch (r->kind) {
	case TEXT:
		add(l, r, layer_no, H1B_BYTES, false);
		break;
	case VECTOR:
		add(l, r, layer_no, H1B_F32, false);
		break;
	case TERNARY:
		add(l, r, layer_no, H1B_T2, false);
		add(l, r, layer_no, H1B_F32, true);
		break;
	case EMBED:
	case HEAD:
		add(l, r, layer_no, (enum h1b_type)dense, false);
		if (dense == DENSE_I8)
			add(l, r, layer_no, H1B_F32, true);
		break;
	}
}

int
h1b_layout(const struct model_config *c, enum dense_type embed_type,
    enum dense_type head_type, struct h1b_section **list, uint32_t *n,
    struct err *e)
{
	struct list l = { .c = c, .embed_type = embed_type,
	    .head_type = head_type };
	size_t most = N(before) + 1 + 2 * N(after) +
	    (size_t)c->n_layers * 2 * N(layer);

	if ((l.v = calloc(most, sizeof(*l.v))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for %zu sections",
		    most);
	for (size_t i = 0; i < N(before); i++)
		add_row(&l, &before[i], -1);
	for (int32_t k = 0; k < c->n_layers; k++)
		for (size_t i = 0; i < N(layer); i++)
			add_row(&l, &layer[i], k);
	if (!c->tied)
		for (size_t i = 0; i < N(after); i++)
			add_row(&l, &after[i], -1);
	assert(l.n <= most);
	*list = l.v;
	*n = l.n;
	return 0;
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
	    "bytes" };

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
	memset(out, 0x55, (size_t)h1b_t2_stride(n_in));	/* all zero weights */
	for (int32_t k = 0; k < n_in; k++) {
		int32_t b = k / TERNARY_BLOCK, i = k % TERNARY_BLOCK / 64;
		uint8_t *p = &out[b * 64 + k % 64];

		*p = (uint8_t)((*p & ~(3 << 2 * i)) | codes[k] << 2 * i);
	}
}
