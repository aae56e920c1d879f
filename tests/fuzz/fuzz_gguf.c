/*
 * Any bytes as a GGUF file.  The first byte chooses: the container alone, with
 * every value and tensor read to its last byte; or the model in it, with every
 * row, and the .h1b that a worker makes of it, if it can.  An input is copied to
 * memory of its size, so that a byte too far is a finding.
 */
#include <stdlib.h>
#include <string.h>

#include "model/gguf.h"
#include "model/gguf_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint8_t sum;

static void
read_bytes(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum ^= ((const uint8_t *)p)[i];
}

static void
read_array(const struct gguf_array *a)
{
	size_t at = 0;

	for (uint64_t i = 0; i < a->n; i++)
		if (a->kind == GGUF_STRING) {
			struct gguf_string s = gguf_array_string(a, &at);

			read_bytes(s.s, s.n);
		} else if (a->kind == GGUF_F32 || a->kind == GGUF_F64)
			sum ^= gguf_array_float(a, i) > 0;
		else
			sum ^= (uint8_t)gguf_array_int(a, i);
}

/* One key, asked for as every kind. */
static void
read_key(const struct gguf *g, struct gguf_string key)
{
	char *name = strndup(key.s, key.n);
	struct gguf_string s;
	struct gguf_array a;
	struct err e = { 0 };
	int64_t i = 0;
	double d = 0;
	bool b = false;
	int n = 0;

	if (name == NULL)
		return;
	n += gguf_get_int(g, name, &i, &e);
	n += gguf_get_float(g, name, &d, &e);
	n += gguf_get_bool(g, name, &b, &e);
	if (gguf_get_string(g, name, &s, &e)) {
		read_bytes(s.s, s.n);
		n++;
	}
	if (gguf_get_array(g, name, &a, &e)) {
		read_array(&a);
		n++;
	}
	if (n > 1)
		abort();
	free(name);
}

static void
read_container(const uint8_t *bytes, size_t n)
{
	struct gguf *g;

	if (gguf_parse(bytes, n, "fuzz", &g, NULL) != 0)
		return;
	for (size_t i = 0; i < gguf_n_keys(g); i++)
		read_key(g, gguf_key_at(g, i));
	for (size_t i = 0; i < gguf_n_tensors(g); i++) {
		const struct gguf_tensor *t = gguf_tensor_at(g, i);

		if (t->data < bytes || t->data + t->size > bytes + n)
			abort();
		read_bytes(t->data, t->size);
	}
	gguf_close(g);
}

/* Every row of a part, as whoever writes a .h1b asks for it. */
static void
read_part(const struct h1b_source *s, enum h1b_part part, int32_t layer,
    int32_t rows, void *row, float *scales)
{
	bool ternary = layer >= 0 && h1b_group_of(part) >= 0;
	struct err e;

	for (int32_t r = 0; r < rows; r++)
		if (ternary)
			(void)s->codes(s->arg, part, layer, r, row, scales, &e);
		else
			(void)s->row(s->arg, part, layer, r, row, &e);
	for (int32_t r = 0; r < rows; r++)
		if ((part == H1B_EMBED && s->embed_type == DENSE_I8) ||
		    (part == H1B_HEAD && s->head_type == DENSE_I8))
			(void)s->row_i8(s->arg, part, r, row, scales, &e);
}

static void
read_rows(const struct h1b_source *s, void *row, float *scales)
{
	const struct model_config *c = &s->config;
	int32_t n_q = c->n_heads * c->head_dim;
	int32_t n_kv = c->n_kv_heads * c->head_dim;

	read_part(s, H1B_EMBED, -1, c->vocab, row, scales);
	read_part(s, H1B_NORM, -1, 1, row, scales);
	if (!c->tied)
		read_part(s, H1B_HEAD, -1, c->vocab, row, scales);
	for (int32_t k = 0; k < c->n_layers; k++) {
		read_part(s, H1B_ATTN_NORM, k, 1, row, scales);
		read_part(s, H1B_Q, k, n_q, row, scales);
		read_part(s, H1B_K, k, n_kv, row, scales);
		read_part(s, H1B_V, k, n_kv, row, scales);
		read_part(s, H1B_O, k, c->hidden, row, scales);
		read_part(s, H1B_GATE, k, c->ffn, row, scales);
		read_part(s, H1B_UP, k, c->ffn, row, scales);
		read_part(s, H1B_DOWN, k, c->hidden, row, scales);
	}
}

/* What can be written is a model. */
static void
write_model(struct h1b_source *s)
{
	struct model m;
	void *image;
	size_t n;

	s->name = s->origin = "fuzz";
	if (h1b_image(s, &image, &n, NULL) != 0)
		return;
	if (model_parse(image, n, "image", &m, NULL) != 0)
		abort();
	m.map = image;
	m.map_size = n;
	model_close(&m);
}

static void
read_model(const uint8_t *bytes, size_t size)
{
	struct h1b_source s = { 0 };
	const struct model_config *c = &s.config;
	struct gguf_model *m;
	float *row, *scales;
	int32_t n;

	if (gguf_model_parse(bytes, size, "fuzz", &m, NULL) != 0)
		return;
	gguf_model_source(m, &s);
	n = c->n_heads * c->head_dim > c->hidden ? c->n_heads * c->head_dim :
	    c->hidden;
	n = c->ffn > n ? c->ffn : n;
	row = malloc((size_t)n * sizeof(*row));
	scales = malloc((size_t)(n / 16 + 1) * sizeof(*scales));
	if (row != NULL && scales != NULL)
		read_rows(&s, row, scales);
	write_model(&s);
	free(row);
	free(scales);
	gguf_model_close(m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t *bytes;

	if (n == 0 || (bytes = malloc(n)) == NULL)
		return 0;
	memcpy(bytes, data + 1, n - 1);
	/* At the end of what was allocated, so that the next byte is not ours. */
	bytes = realloc(bytes, n - 1 > 0 ? n - 1 : 1);
	if (data[0] % 2 == 0)
		read_container(bytes, n - 1);
	else
		read_model(bytes, n - 1);
	free(bytes);
	return 0;
}
