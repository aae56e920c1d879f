#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/base3.h"
#include "model/crc32c.h"
#include "model/h1b_check.h"
#include "model/h1b_writer.h"
#include "model/packed.h"

/*
 * All offsets are known before the first byte is written, so the contents go
 * out in one pass, row by row, and the header and directory, which hold their
 * checksums, are put before them at the end.
 */
enum { DROP_EVERY = 64 << 20 };		/* bytes written */

static int
failed(const struct h1b_writer *w, const char *what)
{
	return err_set(w->e, ERR_SYSTEM, "%.140s: %s: %s", w->path, what,
	    strerror(errno));
}

static int
put_at(struct h1b_writer *w, uint64_t offset, const void *bytes, size_t n)
{
	if (n == 0)
		return 0;
	if (w->image != NULL) {
		memcpy(w->image + offset, bytes, n);
		return 0;
	}
	/* What is jumped over reads as zeros. */
	if (fseeko(w->fp, (off_t)offset, SEEK_SET) != 0)
		return failed(w, "seek");
	return fwrite(bytes, n, 1, w->fp) == 1 ? 0 : failed(w, "write");
}

/* The next bytes of section w->at, of which `before` are there already. */
static int
put(struct h1b_writer *w, uint64_t before, const void *bytes, size_t n)
{
	struct h1b_entry *en = &w->dir[w->at];
	int rc;

	en->crc = crc32c(en->crc, bytes, n);
	if (w->image != NULL || before == 0)
		rc = put_at(w, en->offset + before, bytes, n);
	else
		rc = fwrite(bytes, n, 1, w->fp) == 1 ? 0 : failed(w, "write");
	w->done += n;
	if (w->s->progress != NULL)
		w->s->progress(w->s->writer_arg, w->done, w->header.file_size);
	if (w->s->drop != NULL && w->done - w->dropped > DROP_EVERY) {
		w->s->drop(w->s->arg);
		w->dropped = w->done;
	}
	return rc;
}

/* Half to even, as everything that rounds here. */
static uint16_t
to_bf16(float v)
{
	uint32_t u;

	memcpy(&u, &v, sizeof(u));
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static uint16_t
to_f16(float v)
{
	float a = fabsf(v);
	uint32_t u, sign = signbit(v) ? 0x8000 : 0;

	if (!(a < 65520))		/* rounds to more than there is */
		return (uint16_t)(sign | 0x7c00);
	if (a < 0x1p-14f)
		return (uint16_t)(sign | (uint32_t)rintf(a * 0x1p24f));
	memcpy(&u, &a, sizeof(u));
	u = (u + 0xfff + (u >> 13 & 1)) >> 13;
	return (uint16_t)(sign | (u - (112u << 10)));
}

/* A row as int8 with its factor: the largest value becomes 127. */
static float
to_i8(const float *row, size_t n, int8_t *out)
{
	float max = 0, scale;

	for (size_t i = 0; i < n; i++)
		max = fabsf(row[i]) > max ? fabsf(row[i]) : max;
	scale = max / 127;
	for (size_t i = 0; i < n; i++) {
		float q = scale > 0 ? rintf(row[i] / scale) : 0;

		/* The quotient of denormal numbers is far from exact. */
		out[i] = (int8_t)fmaxf(-127, fminf(127, q));
	}
	return scale;
}

/* Row o of a vector or dense matrix, which row() gave, to w->out. */
static size_t
to_bytes(struct h1b_writer *w, const struct h1b_section *s, uint64_t o)
{
	size_t n = s->dims[1];

	if (s->type == H1B_I8) {
		w->scales[o] = to_i8(w->row, n, (int8_t *)w->out);
		return n;
	}
	if (packed_bits((enum dense_type)s->type) > 0) {
		w->scales[o] = packed_make((enum dense_type)s->type, w->row,
		    (int32_t)n, w->out);
		return s->size / s->dims[0];
	}
	if (s->type == H1B_F32) {
		memcpy(w->out, w->row, n * sizeof(float));
		return n * sizeof(float);
	}
	for (size_t i = 0; i < n; i++) {
		uint16_t v = s->type == H1B_BF16 ? to_bf16(w->row[i]) :
		    to_f16(w->row[i]);

		memcpy(w->out + 2 * i, &v, 2);
	}
	return 2 * n;
}

/* Is every value of w->row one that a file may hold, and w->out still? */
static bool
is_finite(const struct h1b_writer *w, const struct h1b_section *s, size_t size)
{
	return h1b_check_f32(w->row, s->dims[1] * sizeof(float)) &&
	    (s->type != H1B_BF16 || h1b_check_bf16(w->out, size)) &&
	    (s->type != H1B_F16 || h1b_check_f16(w->out, size));
}

static int
take_dense(struct h1b_writer *w, const struct h1b_section *s, uint64_t o,
    size_t *size)
{
	const struct h1b_source *src = w->s;
	bool given = (s->part == H1B_EMBED ? src->embed_group :
	    src->head_group) > 0;
	enum h1b_part part = s->part == H1B_HEAD && src->head_of_embed ?
	    H1B_EMBED : s->part;
	size_t n = s->dims[1], group = (size_t)s->group;
	int rc;

	if (given && packed_bits((enum dense_type)s->type) > 0) {
		*size = s->size / s->dims[0];
		return src->row_packed(src->arg, (int32_t)o, w->out,
		    &w->scales[o], w->e);
	}
	if (given && s->type == H1B_I8) {
		*size = n;
		rc = src->row_i8(src->arg, part, (int32_t)o,
		    (int8_t *)w->out, w->scales + o * ((n + group - 1) / group),
		    w->e);
		return rc != 0 || h1b_check_i8(w->out, n) ? rc :
		    err_set(w->e, ERR_BAD_FILE, "'%s', row %llu: a value of "
		    "-128", s->name, (unsigned long long)o);
	}
	if ((rc = src->row(src->arg, part, s->layer, (int32_t)o, w->row,
	    w->e)) != 0)
		return rc;
	*size = to_bytes(w, s, o);
	return is_finite(w, s, *size) ? 0 : err_set(w->e, ERR_BAD_FILE,
	    "'%s', row %llu: a value that is not finite%s", s->name,
	    (unsigned long long)o, s->type == H1B_F16 ? " as f16" : "");
}

static int32_t
source_group(const struct h1b_source *s, enum h1b_part part, int32_t layer)
{
	int32_t n = h1b_columns(&s->config, part);
	int32_t g = s->group != NULL ? s->group(s->arg, part, layer) : n;

	return g > 0 && g < n ? g : n;
}

/* The file may have smaller groups than this tensor of the source. */
static int
take_ternary(struct h1b_writer *w, const struct h1b_section *s, uint64_t o,
    size_t *size)
{
	int32_t n = (int32_t)s->dims[1];
	int32_t from = source_group(w->s, s->part, s->layer);
	int32_t n_groups = (n + s->group - 1) / s->group;
	float *scales = w->scales + o * (uint64_t)n_groups;
	int rc;

	if ((rc = w->s->codes(w->s->arg, s->part, s->layer, (int32_t)o,
	    w->codes, w->row_scales, w->e)) != 0)
		return rc;
	for (int32_t i = 0; i < n_groups; i++)
		scales[i] = w->row_scales[i * s->group / from];
	(s->type == H1B_B3 ? base3_pack : h1b_t2_pack)(w->codes, n, w->out);
	*size = s->size / s->dims[0];
	return 0;
}

static int
write_tensor(struct h1b_writer *w, const struct h1b_section *s)
{
	uint64_t before = 0;

	for (uint64_t o = 0; o < s->dims[0]; o++) {
		size_t n = 0;
		int rc = h1b_is_ternary(s->type) ? take_ternary(w, s, o, &n) :
		    take_dense(w, s, o, &n);

		if (rc != 0 || (rc = put(w, before, w->out, n)) != 0)
			return rc;
		before += n;
	}
	return 0;
}

static int
write_scales(struct h1b_writer *w, const struct h1b_section *s)
{
	if (!h1b_check_scales(w->scales, s->size / sizeof(float)))
		return err_set(w->e, ERR_BAD_FILE,
		    "'%s': a scale that is negative or not finite", s->name);
	return put(w, 0, w->scales, s->size);
}

static const void *
text_of(const struct h1b_source *s, enum h1b_part part, size_t *n)
{
	const char *text = part == H1B_ARCHITECTURE ? s->architecture :
	    part == H1B_NAME ? s->name : s->origin;

	if (part == H1B_PROBE) {	/* h1b_writer_probe adds it */
		*n = 0;
		return "";
	}
	if (part == H1B_CHAT_TEMPLATE) {
		*n = s->n_chat_template;
		return s->chat_template;
	}
	if (part == H1B_TOKENIZER) {
		*n = s->n_tokenizer;
		return s->tokenizer;
	}
	*n = strlen(text);
	return text;
}

static int
check_text(const struct h1b_section *s, const char *text, size_t n,
    struct err *e)
{
	if (n > s->size)
		return err_set(e, ERR_RANGE, "%s: %zu bytes, more than %llu",
		    s->name, n, (unsigned long long)s->size);
	if (s->part == H1B_ARCHITECTURE && n == 0)
		return err_set(e, ERR_RANGE, "the architecture has no name");
	if (s->part < H1B_CHAT_TEMPLATE)
		for (size_t i = 0; i < n; i++)
			if (text[i] < ' ' || text[i] > '~')
				return err_set(e, ERR_RANGE,
				    "%s: not printable ASCII", s->name);
	return 0;
}

static int32_t
gcd(int32_t a, int32_t b)
{
	while (b != 0) {
		int32_t r = a % b;

		a = b;
		b = r;
	}
	return a;
}

/*
 * A file has one width of groups for a matrix in all layers: where they differ,
 * one that divides them all.
 */
static void
choose_form(const struct h1b_source *s, bool probe, struct h1b_form *f)
{
	const struct model_config *c = &s->config;

	*f = (struct h1b_form){ .embed_type = s->embed_type,
	    .head_type = c->tied ? 0 : s->head_type, .body = s->body,
	    .probe = probe };
	for (int32_t k = 0; k < c->n_layers; k++)
		for (enum h1b_part p = H1B_Q; p <= H1B_DOWN; p++) {
			int32_t g = h1b_group_of(p) >= 0 ?
			    source_group(s, p, k) : 0;

			if (g > 0 && g < h1b_columns(c, p))
				f->groups[h1b_group_of(p)] =
				    gcd(f->groups[h1b_group_of(p)], g);
		}
	if (f->embed_type == DENSE_I8 && s->embed_group < c->hidden)
		f->groups[H1B_GROUP_EMBED] = s->embed_group;
	if (f->head_type == DENSE_I8 && s->head_group < c->hidden)
		f->groups[H1B_GROUP_HEAD] = s->head_group;
}

static void
fill_header(struct h1b_writer *w, uint64_t file_size)
{
	const struct model_config *c = &w->s->config;
	struct h1b_header *h = &w->header;

	*h = (struct h1b_header){
		.magic = H1B_MAGIC, .version = H1B_VERSION,
		.file_size = file_size, .header_size = sizeof(*h),
		.n_sections = w->n,
		.vocab = c->vocab, .hidden = c->hidden,
		.n_layers = c->n_layers, .n_heads = c->n_heads,
		.n_kv_heads = c->n_kv_heads, .head_dim = c->head_dim,
		.ffn = c->ffn, .n_ctx = c->n_ctx,
		.rope_theta = c->rope_theta, .norm_eps = c->norm_eps,
		.act = c->act,
		.flags = (c->rope_interleaved ? H1B_ROPE_INTERLEAVED : 0u) |
		    (c->sub_norms ? H1B_SUB_NORMS : 0u) |
		    (c->tied ? H1B_TIED : 0u) | (c->qk_norm ? H1B_QK_NORM : 0u) |
		    (c->act_float ? H1B_ACT_FLOAT : 0u) |
		    (w->form.probe ? H1B_HAS_PROBE : 0u),
		.bos = c->bos, .n_eos = c->n_eos,
		.embed_type = w->form.embed_type,
		.head_type = w->form.head_type,
		.body_type = w->form.body == TERNARY_B3 ? H1B_B3 : 0,
	};
	memcpy(h->eos, c->eos, sizeof(h->eos));
	memcpy(h->groups, w->form.groups, sizeof(h->groups));
}

/* Everything of the directory but the checksums, and of the header too. */
static int
plan(struct h1b_writer *w)
{
	uint64_t end = sizeof(w->header) + (uint64_t)w->n * sizeof(*w->dir);

	for (uint32_t i = 0; i < w->n; i++) {
		const struct h1b_section *s = &w->list[i];
		struct h1b_entry *en = &w->dir[i];
		size_t n = s->size;
		int rc;

		memcpy(en->name, s->name, sizeof(en->name));
		en->type = s->type;
		memcpy(en->dims, s->dims, sizeof(en->dims));
		if (s->type == H1B_BYTES) {
			const char *text = text_of(w->s, s->part, &n);

			if ((rc = check_text(s, text, n, w->e)) != 0)
				return rc;
			en->dims[1] = n;
		}
		en->size = n;
		en->offset = h1b_align(end);
		end = en->offset + n;
	}
	fill_header(w, end);
	return 0;
}

static int
take_memory(struct h1b_writer *w)
{
	uint64_t scales = 1, cols = TERNARY_BLOCK;

	for (uint32_t i = 0; i < w->n; i++) {
		const struct h1b_section *s = &w->list[i];

		if (s->scale && s->size / sizeof(float) > scales)
			scales = s->size / sizeof(float);
		if (!s->scale && s->type != H1B_BYTES && s->dims[1] > cols)
			cols = s->dims[1];
	}
	w->dir = calloc(w->n, sizeof(*w->dir));
	w->scales = calloc(scales, sizeof(float));
	w->row_scales = calloc(cols, sizeof(float));
	w->row = calloc(cols, sizeof(float));
	w->codes = calloc(cols, 1);
	w->out = calloc(cols, sizeof(float));
	if (w->n == 0 || w->dir == NULL || w->scales == NULL ||
	    w->row_scales == NULL || w->row == NULL || w->codes == NULL ||
	    w->out == NULL)
		return err_set(w->e, ERR_NO_MEMORY, "no memory for one row");
	return 0;
}

int
h1b_writer_init(struct h1b_writer *w, const struct h1b_source *s,
    const char *path, bool probe, struct err *e)
{
	int rc;

	*w = (struct h1b_writer){ .s = s, .path = path, .e = e };
	if ((rc = model_config_check(&s->config, e)) != 0)
		return rc;
	choose_form(s, probe, &w->form);
	if ((rc = h1b_form_check(&s->config, &w->form, e)) != 0 ||
	    (rc = h1b_layout(&s->config, &w->form, &w->list, &w->n, e)) != 0 ||
	    (rc = take_memory(w)) != 0 || (rc = plan(w)) != 0)
		h1b_writer_finish(w);
	return rc;
}

static int
put_start(struct h1b_writer *w)
{
	struct h1b_header *h = &w->header;
	size_t size = w->n * sizeof(*w->dir);
	int rc;

	h->directory_crc = crc32c(0, w->dir, size);
	h->header_crc = 0;
	h->header_crc = crc32c(0, h, sizeof(*h));
	if ((rc = put_at(w, 0, h, sizeof(*h))) != 0)
		return rc;
	return put_at(w, sizeof(*h), w->dir, size);
}

int
h1b_writer_run(struct h1b_writer *w)
{
	int rc = 0;

	for (w->at = 0; rc == 0 && w->at < w->n; w->at++) {
		const struct h1b_section *s = &w->list[w->at];

		if (s->type == H1B_BYTES) {
			size_t n;
			const void *text = text_of(w->s, s->part, &n);

			rc = put(w, 0, text, n);
		} else if (s->scale)
			rc = write_scales(w, s);
		else
			rc = write_tensor(w, s);
	}
	return rc != 0 ? rc : put_start(w);
}

int
h1b_writer_probe(struct h1b_writer *w, const void *bytes, size_t n)
{
	struct h1b_entry *en = &w->dir[w->n - 1];
	int rc;

	if (n > w->list[w->n - 1].size)
		return err_set(w->e, ERR_RANGE, "probe: %zu bytes, more than "
		    "%llu", n, (unsigned long long)w->list[w->n - 1].size);
	en->dims[1] = en->size = n;
	en->crc = crc32c(0, bytes, n);
	w->header.file_size = en->offset + n;
	if ((rc = put_at(w, en->offset, bytes, n)) != 0)
		return rc;
	return put_start(w);
}

void
h1b_writer_finish(struct h1b_writer *w)
{
	free(w->list);
	free(w->dir);
	free(w->scales);
	free(w->row_scales);
	free(w->row);
	free(w->codes);
	free(w->out);
}
