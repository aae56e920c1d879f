#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "file.h"
#include "model/legacy.h"
#include "model/legacy_priv.h"

/*
 * There is no directory: where a tensor is follows from the header, so the
 * places within a layer are added up once, and every layer has the same.
 */
enum { N_INTS = 9, HEADER_1 = 44, HEADER_2 = 52 };

static const struct {
	uint32_t bit;
	const char *name;
} flags[] = {
	{ 0x1, "Hadamard-rotated weights" },
	{ 0x2, "Sherry with fp16" },
	{ 0x4, "Bonsai Q1" },
	{ 0x8, "Bonsai TQ2" },
	{ 0x10, "block-scaled weights" },
};

/* The matrices of a layer, in their order. */
static const enum h1b_part matrices[LEGACY_MATRICES] = { H1B_Q, H1B_K, H1B_V,
	H1B_O, H1B_GATE, H1B_UP, H1B_DOWN };

/* The vectors, likewise; what lies between is filling. */
static const enum h1b_part vectors[LEGACY_VECTORS] = { H1B_ATTN_NORM,
	H1B_FFN_NORM, H1B_ATTN_SUB_NORM, H1B_FFN_SUB_NORM };

enum { FILLING = 5 };	/* times hidden, before ffn_sub_norm */

static int
check_version(const struct legacy *l, uint32_t found, struct err *e)
{
	if (l->version == 5)
		return err_set(e, ERR_UNSUPPORTED, "%.100s: version 5, "
		    "Hadamard-rotated int8, is not supported", l->what);
	if (l->version < 1 || l->version > 4)
		return err_set(e, ERR_BAD_FILE, "%.100s: version %d, expected "
		    "1..4", l->what, l->version);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (found & flags[i].bit)
			return err_set(e, ERR_UNSUPPORTED, "%.100s: flag 0x%x, "
			    "%s, is not supported", l->what, flags[i].bit,
			    flags[i].name);
	if (found != 0)
		return err_set(e, ERR_BAD_FILE, "%.100s: flags 0x%x are not "
		    "known", l->what, found);
	return 0;
}

static int
read_header(struct legacy *l, struct err *e)
{
	struct model_config *c = &l->config;
	float theta = 0, eps = 0;
	int32_t v[N_INTS];
	struct err why;
	int rc;

	if (l->n < HEADER_1 || memcmp(l->bytes, H1B_MAGIC, 4) != 0)
		return err_set(e, ERR_BAD_FILE, "%.100s: no .h1b", l->what);
	memcpy(&l->version, l->bytes + 4, 4);
	memcpy(v, l->bytes + 8, sizeof(v));
	if ((rc = check_version(l, (uint32_t)v[8], e)) != 0)
		return rc;
	l->header = l->version == 1 ? HEADER_1 : HEADER_2;
	if (l->n < l->header)
		return err_set(e, ERR_BAD_FILE, "%.100s: %llu bytes, too short "
		    "for a header", l->what, (unsigned long long)l->n);
	if (l->version > 1) {
		memcpy(&theta, l->bytes + HEADER_1, 4);
		memcpy(&eps, l->bytes + HEADER_1 + 4, 4);
	}
	*c = (struct model_config){ .hidden = v[0], .ffn = v[1],
	    .n_layers = v[2], .n_heads = v[3], .n_kv_heads = v[4],
	    .vocab = v[5], .n_ctx = v[6], .act = MODEL_RELU2,
	    .rope_theta = theta <= 0 ? 500000 : theta,
	    .norm_eps = eps <= 0 ? 1e-5f : eps,
	    .sub_norms = true, .tied = true, .bos = -1 };
	if (v[7] != 1)
		return err_set(e, v[7] == 0 ? ERR_UNSUPPORTED : ERR_BAD_FILE,
		    "%.100s: tie_embeddings is %d, but no version holds a head",
		    l->what, v[7]);
	if (c->n_heads < 1 || c->hidden < 1 || c->hidden % c->n_heads != 0)
		return err_set(e, ERR_BAD_FILE, "%.100s: hidden is %d, no "
		    "multiple of heads %d", l->what, c->hidden, c->n_heads);
	c->head_dim = c->hidden / c->n_heads;
	if (model_config_check(c, &why) != 0)
		return err_set(e, ERR_BAD_FILE, "%.100s: %.130s", l->what,
		    why.text);
	return 0;
}

/* Bytes of a row; 0 if a row of this version cannot have so many columns. */
static uint64_t
row_size(int32_t version, uint64_t cols)
{
	if (version == 3)
		return cols % 32 == 0 ? cols / 32 * 5 : 0;
	return version == 4 ? (cols + 19) / 20 * 4 : (cols + 3) / 4;
}

static uint64_t
rows_of(const struct model_config *c, enum h1b_part part)
{
	switch (part) {
	case H1B_Q:
		return (uint64_t)c->n_heads * (uint64_t)c->head_dim;
	case H1B_K:
	case H1B_V:
		return (uint64_t)c->n_kv_heads * (uint64_t)c->head_dim;
	case H1B_GATE:
	case H1B_UP:
		return (uint64_t)c->ffn;
	case H1B_O:
	case H1B_DOWN:
		return (uint64_t)c->hidden;
	default:
		return 1;
	}
}

/* Where everything is; no product can wrap, as model_config_check bounds them. */
static int
place(struct legacy *l, struct err *e)
{
	const struct model_config *c = &l->config;
	uint64_t hidden = (uint64_t)c->hidden, at = 0, want;

	for (int i = 0; i < LEGACY_VECTORS; i++) {
		if (vectors[i] == H1B_FFN_SUB_NORM)
			at += FILLING * hidden * 4;
		l->vectors[i] = at;
		at += (uint64_t)h1b_columns(c, vectors[i]) * 4;
	}
	for (int i = 0; i < LEGACY_MATRICES; i++) {
		uint64_t cols = (uint64_t)h1b_columns(c, matrices[i]);
		struct legacy_matrix *m = &l->matrices[i];

		m->row = row_size(l->version, cols);
		if (m->row == 0)
			return err_set(e, ERR_BAD_FILE, "%.100s: a matrix of "
			    "%llu columns, in version 3 expected a multiple of "
			    "32", l->what, (unsigned long long)cols);
		m->at = at;
		m->scales = at + rows_of(c, matrices[i]) * m->row;
		at = m->scales + rows_of(c, matrices[i]) * 4;
	}
	l->layer = at;
	l->layers = l->header + ((uint64_t)c->vocab + 1) * hidden * 4;
	want = l->layers + (uint64_t)c->n_layers * at;
	if (want != l->n)
		return err_set(e, ERR_BAD_FILE, "%.100s: %llu bytes, but a "
		    "model of version %d with these sizes has %llu: cut off, "
		    "or of another layout", l->what, (unsigned long long)l->n,
		    l->version, (unsigned long long)want);
	return 0;
}

int
legacy_parse(const void *bytes, size_t n, const char *what, struct legacy **l,
    struct err *e)
{
	struct legacy *o = calloc(1, sizeof(*o));
	int rc;

	if (o == NULL || (o->what = strdup(what)) == NULL) {
		free(o);
		return err_set(e, ERR_NO_MEMORY, "no memory for a model");
	}
	o->bytes = bytes;
	o->n = n;
	if ((rc = read_header(o, e)) != 0 || (rc = place(o, e)) != 0) {
		legacy_close(o);
		return rc;
	}
	*l = o;
	return 0;
}

int
legacy_open(const char *path, struct legacy **l, struct err *e)
{
	void *bytes = NULL;
	struct legacy *o;
	size_t n = 0;
	int rc;

	if ((rc = file_map(path, &bytes, &n, e)) != 0)
		return rc;
	if ((rc = legacy_parse(bytes, n, path, &o, e)) != 0) {
		munmap(bytes, n);
		return rc;
	}
	o->map = bytes;
	if ((rc = legacy_texts_open(o, path, e)) != 0) {
		legacy_close(o);
		return rc;
	}
	*l = o;
	return 0;
}

void
legacy_close(struct legacy *l)
{
	if (l == NULL)
		return;
	if (l->map != NULL)
		munmap(l->map, l->n);
	buf_free(&l->tokenizer);
	free(l->what);
	free(l);
}

static const uint8_t *
layer_at(const struct legacy *l, int32_t layer)
{
	return l->bytes + l->layers + (uint64_t)layer * l->layer;
}

static int
get_row(void *arg, enum h1b_part part, int32_t layer, int32_t row, float *out,
    struct err *e)
{
	const struct legacy *l = arg;
	size_t n = (size_t)h1b_columns(&l->config, part) * 4;
	const uint8_t *p = l->bytes + l->header;

	(void)e;
	if (part == H1B_NORM)
		p += (size_t)l->config.vocab * n;
	else if (part == H1B_EMBED || part == H1B_HEAD)
		p += (size_t)row * n;
	else
		for (int i = 0; i < LEGACY_VECTORS; i++)
			if (vectors[i] == part)
				p = layer_at(l, layer) + l->vectors[i];
	memcpy(out, p, n);
	return 0;
}

static int
get_codes(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    uint8_t *codes, float *scales, struct err *e)
{
	const struct legacy *l = arg;
	int32_t n = h1b_columns(&l->config, part), bad;
	const struct legacy_matrix *m = NULL;
	const uint8_t *p = layer_at(l, layer);

	for (int i = 0; i < LEGACY_MATRICES; i++)
		if (matrices[i] == part)
			m = &l->matrices[i];
	assert(m != NULL);
	memcpy(scales, p + m->scales + (size_t)row * 4, 4);
	p += m->at + (size_t)row * m->row;
	bad = l->version == 4 ? legacy_base3(p, n, codes) :
	    l->version == 3 ? legacy_sherry(p, n, codes) :
	    legacy_2bit(p, n, codes);
	if (bad >= 0)
		return err_set(e, ERR_BAD_FILE, "%.100s: layer %d, %s, row %d, "
		    "column %d: byte 0x%02x at %llu is no weight", l->what,
		    layer, legacy_part_name(part), row, bad,
		    p[l->version == 4 ? bad / 5 : bad / 4],
		    (unsigned long long)(p - l->bytes) +
		    (unsigned long long)(l->version == 4 ? bad / 5 : bad / 4));
	return 0;
}

static void
drop(void *arg)
{
	const struct legacy *l = arg;

	if (l->map != NULL)
		(void)madvise(l->map, l->n, MADV_DONTNEED);
}

/* Does bf16 hold all of the embedding? */
static bool
is_bf16(struct legacy *l)
{
	const uint8_t *p = l->bytes + l->header;
	size_t n = (size_t)l->config.hidden;

	for (int32_t o = 0; o < l->config.vocab; o++) {
		unsigned rest = 0;

		for (size_t i = 0; i < n; i++)
			rest |= (unsigned)(p[4 * i] | p[4 * i + 1]);
		if (rest != 0)
			return false;
		p += 4 * n;
		if (o % 4096 == 4095)
			drop(l);
	}
	return true;
}

void
legacy_source(struct legacy *l, struct h1b_source *s)
{
	*s = (struct h1b_source){
		.config = l->config,
		.embed_type = is_bf16(l) ? DENSE_BF16 : DENSE_F32,
		.architecture = "bitnet-b1.58",
		.chat_template = l->chat_template != NULL ? l->chat_template :
		    "",
		.n_chat_template = l->chat_template != NULL ?
		    strlen(l->chat_template) : 0,
		.tokenizer = l->tokenizer.data,
		.n_tokenizer = l->tokenizer.len,
		.row = get_row, .codes = get_codes, .drop = drop, .arg = l,
	};
}
