#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model/base3.h"
#include "model/crc32c.h"
#include "model/h1b.h"
#include "model/h1b_check.h"
#include "model/packed.h"
#include "sha256.h"
#include "utf8.h"

/*
 * Header, then directory against the layout that the header implies, then each
 * section: checksum, then the contents, in pieces that stay in the cache, so
 * that a file is read from memory once.  Everything is checked always: a
 * gigabyte takes half a second.
 */
enum { PIECE = 1 << 15, DROP_EVERY = 64 << 20 };

struct reader {
	const uint8_t *bytes;
	size_t n;
	const char *what;
	const struct h1b_header *h;
	const struct h1b_entry *dir;
	struct h1b_section *want;
	uint32_t n_want;
	bool light;
	uint64_t dropped;	/* up to here nothing is held */
	struct err *e;
};

#define BAD(r, ...) err_set((r)->e, ERR_BAD_FILE, "%.100s: " __VA_ARGS__)

static int
check_start(const struct reader *r, const struct h1b_header *h)
{
	if (r->n < sizeof(*h))
		return BAD(r, "%zu bytes, too short for a model", r->what, r->n);
	if (memcmp(h->magic, H1B_MAGIC, 4) != 0)
		return BAD(r, "no .h1b file: it begins with %02x %02x %02x %02x "
		    "and not with 48 31 42 00", r->what, r->bytes[0],
		    r->bytes[1], r->bytes[2], r->bytes[3]);
	if (h->version >= 1 && h->version < H1B_VERSION)
		return BAD(r, "version %d of .h1b is not read yet, only %d",
		    r->what, h->version, H1B_VERSION);
	if (h->version != H1B_VERSION)
		return BAD(r, "version %d of .h1b is not known, only %d",
		    r->what, h->version, H1B_VERSION);
	if (h->header_size != sizeof(*h))
		return BAD(r, "header: size %u, expected %zu", r->what,
		    h->header_size, sizeof(*h));
	if (h->file_size != r->n)
		return BAD(r, "%zu bytes, expected %llu by its header", r->what,
		    r->n, (unsigned long long)h->file_size);
	return 0;
}

static int
check_header(const struct reader *r, const struct h1b_header *h)
{
	struct h1b_header copy = *h;
	uint32_t crc;

	copy.header_crc = 0;
	crc = crc32c(0, &copy, sizeof(copy));
	if (crc != h->header_crc)
		return BAD(r, "header: checksum %08x, expected %08x", r->what,
		    crc, h->header_crc);
	for (size_t i = 0; i < sizeof(h->zero); i++)
		if (h->zero[i] != 0)
			return BAD(r, "header: byte %zu is %u, expected 0",
			    r->what, sizeof(*h) - sizeof(h->zero) + i,
			    h->zero[i]);
	if ((h->flags & ~(uint32_t)H1B_FLAGS) != 0)
		return BAD(r, "header: flags %#x, known are %#x", r->what,
		    h->flags, (unsigned)H1B_FLAGS);
	return 0;
}

static int
read_config(const struct reader *r, const struct h1b_header *h,
    struct model_config *c, struct h1b_form *f)
{
	struct err why;

	if (h->act > MODEL_SILU)
		return BAD(r, "header: act %u is not known", r->what, h->act);
	if (h->body_type != 0 && h->body_type != H1B_B3)
		return BAD(r, "header: body_type %u, not 0 or %d", r->what,
		    h->body_type, H1B_B3);
	*c = (struct model_config){
		.vocab = h->vocab, .hidden = h->hidden,
		.n_layers = h->n_layers, .n_heads = h->n_heads,
		.n_kv_heads = h->n_kv_heads, .head_dim = h->head_dim,
		.ffn = h->ffn, .n_ctx = h->n_ctx,
		.rope_theta = h->rope_theta, .norm_eps = h->norm_eps,
		.act = (enum model_act)h->act,
		.rope_interleaved = (h->flags & H1B_ROPE_INTERLEAVED) != 0,
		.sub_norms = (h->flags & H1B_SUB_NORMS) != 0,
		.qk_norm = (h->flags & H1B_QK_NORM) != 0,
		.act_float = (h->flags & H1B_ACT_FLOAT) != 0,
		.tied = (h->flags & H1B_TIED) != 0,
		.bos = h->bos, .n_eos = h->n_eos,
	};
	memcpy(c->eos, h->eos, sizeof(c->eos));
	*f = (struct h1b_form){
		.embed_type = (enum dense_type)h->embed_type,
		.head_type = (enum dense_type)h->head_type,
		.body = h->body_type == H1B_B3 ? TERNARY_B3 : TERNARY_T2,
		.probe = (h->flags & H1B_HAS_PROBE) != 0,
	};
	memcpy(f->groups, h->groups, sizeof(f->groups));
	if (model_config_check(c, &why) != 0 ||
	    h1b_form_check(c, f, &why) != 0)
		return BAD(r, "header: %s", r->what, why.text);
	return 0;
}

/* The zeros between what ends at `end` and the section at `offset`. */
static int
check_gap(const struct reader *r, uint64_t end, uint64_t offset,
    const char *after)
{
	for (uint64_t i = end; i < offset; i++)
		if (r->bytes[i] != 0)
			return BAD(r, "offset %llu, after %s: %u, expected 0",
			    r->what, (unsigned long long)i, after, r->bytes[i]);
	return 0;
}

/* One entry against the section it must be; *end is where the last one ended. */
static int
check_entry(const struct reader *r, const struct h1b_entry *en,
    const struct h1b_section *s, uint64_t *end)
{
	uint64_t at = h1b_align(*end), dims[2] = { s->dims[0], s->dims[1] };
	char found[H1B_NAME_MAX + 1] = "";

	if (memcmp(en->name, s->name, sizeof(en->name)) != 0) {
		memcpy(found, en->name, sizeof(en->name));
		utf8_clean(found);
		return BAD(r, "directory: section '%s', expected '%s'",
		    r->what, found, s->name);
	}
	if (en->type != s->type)
		return BAD(r, "section '%s': type %u, expected %s", r->what,
		    s->name, en->type, h1b_type_name(s->type));
	if (s->type == H1B_BYTES)
		dims[1] = en->size;
	if (en->dims[0] != dims[0] || en->dims[1] != dims[1])
		return BAD(r, "section '%s': %llu x %llu, expected %llu x %llu",
		    r->what, s->name, (unsigned long long)en->dims[0],
		    (unsigned long long)en->dims[1],
		    (unsigned long long)dims[0], (unsigned long long)dims[1]);
	if (s->type == H1B_BYTES ? en->size > s->size : en->size != s->size)
		return BAD(r, "section '%s': %llu bytes, expected %s%llu",
		    r->what, s->name, (unsigned long long)en->size,
		    s->type == H1B_BYTES ? "at most " : "",
		    (unsigned long long)s->size);
	if (en->offset != at)
		return BAD(r, "section '%s': at offset %llu, expected %llu",
		    r->what, s->name, (unsigned long long)en->offset,
		    (unsigned long long)at);
	if (at > r->n || en->size > r->n - at)
		return BAD(r, "section '%s': %llu bytes at offset %llu, "
		    "but the file ends at %zu", r->what, s->name,
		    (unsigned long long)en->size, (unsigned long long)at, r->n);
	*end = at + en->size;
	return 0;
}

static int
check_directory(const struct reader *r)
{
	uint64_t size = (uint64_t)r->n_want * sizeof(struct h1b_entry);
	uint64_t end = sizeof(*r->h) + size;
	const char *after = "the directory";
	uint32_t crc;
	int rc;

	if (r->h->n_sections != r->n_want)
		return BAD(r, "header: %u sections, expected %u", r->what,
		    r->h->n_sections, r->n_want);
	if (end > r->n)
		return BAD(r, "directory: %llu bytes at offset 256, but the "
		    "file ends at %zu", r->what, (unsigned long long)size, r->n);
	if ((crc = crc32c(0, r->dir, size)) != r->h->directory_crc)
		return BAD(r, "directory: checksum %08x, expected %08x",
		    r->what, crc, r->h->directory_crc);
	for (uint32_t i = 0; i < r->n_want; i++) {
		uint64_t before = end;

		if ((rc = check_entry(r, &r->dir[i], &r->want[i], &end)) != 0 ||
		    (rc = check_gap(r, before, r->dir[i].offset, after)) != 0)
			return rc;
		after = r->want[i].name;
	}
	if (end != r->n)
		return BAD(r, "%llu bytes after the last section", r->what,
		    (unsigned long long)(r->n - end));
	return 0;
}

/* Give back what lies before byte `end`, if that is asked for and worth it. */
static void
drop(struct reader *r, uint64_t end)
{
	uint64_t whole = end / DROP_EVERY * DROP_EVERY;

	if (!r->light || whole <= r->dropped)
		return;
	(void)madvise((uint8_t *)(uintptr_t)r->bytes + r->dropped,
	    whole - r->dropped, MADV_DONTNEED);
	r->dropped = whole;
}

/* Checksum of a section and, in the same pass, what every value must be. */
static int
check_bytes(struct reader *r, uint32_t i)
{
	const struct h1b_entry *en = &r->dir[i];
	const uint8_t *p = r->bytes + en->offset;
	const char *bad = NULL;
	uint32_t crc = 0;

	for (uint64_t at = 0, k; at < en->size; at += k) {
		k = en->size - at < PIECE ? en->size - at : PIECE;
		crc = crc32c(crc, p + at, k);
		if (en->type == H1B_T2 && !h1b_check_t2(p + at, k))
			bad = "a weight with code 3";
		if (en->type == H1B_B3 && !base3_check(p + at, k))
			bad = "a byte that is no five weights";
		if (en->type == H1B_BF16 && !h1b_check_bf16(p + at, k))
			bad = "a value that is not finite";
		if (en->type == H1B_F16 && !h1b_check_f16(p + at, k))
			bad = "a value that is not finite";
		if (en->type == H1B_F32 && !h1b_check_f32(p + at, k))
			bad = "a value that is not finite";
		if (en->type == H1B_I8 && !h1b_check_i8(p + at, k))
			bad = "a value of -128";
		drop(r, en->offset + at);
	}
	if (crc != en->crc)
		return BAD(r, "section '%s': checksum %08x, expected %08x",
		    r->what, r->want[i].name, crc, en->crc);
	if (bad != NULL)
		return BAD(r, "section '%s': %s", r->what, r->want[i].name, bad);
	return 0;
}

/* What takes more than looking at each value alone. */
static int
check_meaning(const struct reader *r, uint32_t i)
{
	const struct h1b_section *s = &r->want[i];
	const struct h1b_entry *en = &r->dir[i];
	const uint8_t *p = r->bytes + en->offset;
	int32_t n_in = (int32_t)s->dims[1];

	if (s->scale && !h1b_check_scales((const float *)p, en->size / 4))
		return BAD(r, "section '%s': a negative scale", r->what, s->name);
	if (h1b_is_ternary(s->type))
		for (uint64_t o = 0; o < s->dims[0]; o++)
			if (!(s->type == H1B_B3 ? base3_check_tail :
			    h1b_check_t2_tail)(p + o * (s->size / s->dims[0]),
			    n_in))
				return BAD(r, "section '%s': row %llu is not "
				    "padded with zero weights", r->what,
				    s->name, (unsigned long long)o);
	if (packed_bits((enum dense_type)s->type) > 0)
		for (uint64_t o = 0; o < s->dims[0]; o++)
			if (!packed_check_tail((enum dense_type)s->type, p + o *
			    (s->size / s->dims[0]), n_in))
				return BAD(r, "section '%s': row %llu is not "
				    "padded with zeros", r->what, s->name,
				    (unsigned long long)o);
	if (s->part == H1B_ARCHITECTURE || s->part == H1B_NAME ||
	    s->part == H1B_SOURCE)
		for (uint64_t k = 0; k < en->size; k++)
			if (p[k] < ' ' || p[k] > '~')
				return BAD(r, "section '%s': byte %02x, "
				    "expected printable ASCII", r->what,
				    s->name, p[k]);
	if (s->part == H1B_ARCHITECTURE && en->size == 0)
		return BAD(r, "section '%s' is empty", r->what, s->name);
	return 0;
}

static void
bind_dense(struct dense *d, const struct h1b_section *s, const void *p)
{
	if (s->scale) {
		d->scales = p;
		d->group = s->group;
		return;
	}
	d->type = (enum dense_type)s->type;
	d->data = p;
	d->n_out = (int32_t)s->dims[0];
	d->n_in = (int32_t)s->dims[1];
	d->group = d->n_in;
}

static void
bind_layer(struct model_layer *l, const struct h1b_section *s, const void *p)
{
	struct ternary *w = h1b_ternary(l, s->part);

	if (s->part == H1B_ATTN_NORM)
		l->attn_norm = p;
	else if (s->part == H1B_ATTN_SUB_NORM)
		l->attn_sub_norm = p;
	else if (s->part == H1B_FFN_NORM)
		l->ffn_norm = p;
	else if (s->part == H1B_FFN_SUB_NORM)
		l->ffn_sub_norm = p;
	else if (s->part == H1B_Q_NORM)
		l->q_norm = p;
	else if (s->part == H1B_K_NORM)
		l->k_norm = p;
	else if (s->scale)
		w->scales = p;
	else {
		w->codes = p;
		w->n_out = (int32_t)s->dims[0];
		w->n_in = (int32_t)s->dims[1];
		w->form = s->type == H1B_B3 ? TERNARY_B3 : TERNARY_T2;
		w->stride = (int32_t)(s->size / s->dims[0]);
		w->group = s->group;
	}
}

static void
bind(struct model *m, const struct h1b_section *s, const void *p, size_t size)
{
	switch (s->part) {
	case H1B_ARCHITECTURE:
		memcpy(m->architecture, p, size);
		break;
	case H1B_NAME:
		memcpy(m->title, p, size);
		break;
	case H1B_SOURCE:
		m->source = p;
		m->n_source = size;
		break;
	case H1B_CHAT_TEMPLATE:
		m->chat_template = p;
		m->n_chat_template = size;
		break;
	case H1B_TOKENIZER:
		m->tokenizer = p;
		m->n_tokenizer = size;
		break;
	case H1B_PROBE:
		m->probe = p;
		m->n_probe = size;
		break;
	case H1B_EMBED:
		bind_dense(&m->embed, s, p);
		break;
	case H1B_HEAD:
		bind_dense(&m->head, s, p);
		break;
	case H1B_NORM:
		m->norm = p;
		break;
	default:
		bind_layer(&m->layers[s->layer], s, p);
	}
	if (!s->scale && s->type != H1B_BYTES)
		m->n_params += (int64_t)(s->dims[0] * s->dims[1]);
}

/*
 * What makes two files the same model: sizes, tokenizer and weights by their
 * checksums, not names, texts, places or a probe.
 */
static void
fingerprint(const struct reader *r, char out[65])
{
	struct h1b_header h = *r->h;
	uint8_t digest[SHA256_SIZE];
	struct sha256 s;

	h.file_size = 0;
	h.directory_crc = h.header_crc = 0;
	if ((h.flags & H1B_HAS_PROBE) != 0) {
		h.flags &= ~(uint32_t)H1B_HAS_PROBE;
		h.n_sections--;
	}
	sha256_init(&s);
	sha256_add(&s, &h, sizeof(h));
	for (uint32_t i = 0; i < r->n_want; i++) {
		struct h1b_entry en = r->dir[i];

		if (r->want[i].part < H1B_TOKENIZER ||
		    r->want[i].part == H1B_PROBE)
			continue;
		en.offset = 0;
		sha256_add(&s, &en, sizeof(en));
	}
	sha256_finish(&s, digest);
	for (int i = 0; i < SHA256_SIZE; i++)
		snprintf(out + (size_t)i * 2, 3, "%02x", digest[i]);
}

static int
read_sections(struct reader *r, struct model *m)
{
	int rc;

	for (uint32_t i = 0; i < r->n_want; i++) {
		if ((rc = check_bytes(r, i)) != 0 ||
		    (rc = check_meaning(r, i)) != 0)
			return rc;
		bind(m, &r->want[i], r->bytes + r->dir[i].offset,
		    r->dir[i].size);
	}
	if (m->config.tied)
		m->head = m->embed;
	fingerprint(r, m->fingerprint);
	return 0;
}

int
h1b_parse(const void *bytes, size_t n, const char *what, bool light,
    struct model *m, struct err *e)
{
	const struct h1b_header *h = bytes;
	struct reader r = { .bytes = bytes, .n = n, .what = what, .h = h,
	    .light = light, .e = e };
	struct model parsed = { 0 };
	struct h1b_form form;
	int rc;

	if ((rc = check_start(&r, h)) != 0 || (rc = check_header(&r, h)) != 0 ||
	    (rc = read_config(&r, h, &parsed.config, &form)) != 0)
		return rc;
	if ((rc = h1b_layout(&parsed.config, &form, &r.want, &r.n_want, e)) != 0)
		return rc;
	r.dir = (const struct h1b_entry *)(r.bytes + sizeof(*h));
	parsed.layers = calloc((size_t)parsed.config.n_layers,
	    sizeof(*parsed.layers));
	if (parsed.layers == NULL)
		rc = err_set(e, ERR_NO_MEMORY, "%.100s: no memory for %d layers",
		    what, parsed.config.n_layers);
	if (rc == 0 && (rc = check_directory(&r)) == 0)
		rc = read_sections(&r, &parsed);
	free(r.want);
	if (rc != 0) {
		free(parsed.layers);
		return rc;
	}
	*m = parsed;
	return 0;
}

int
model_parse(const void *bytes, size_t n, const char *what, struct model *m,
    struct err *e)
{
	return h1b_parse(bytes, n, what, false, m, e);
}
