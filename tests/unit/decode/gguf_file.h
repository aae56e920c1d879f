#ifndef TESTS_GGUF_FILE_H
#define TESTS_GGUF_FILE_H

/*
 * GGUF files as the specification and the block layouts have them, written
 * without a line of the reader: a place (byte, shift) is worked out for every
 * element by itself.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

struct gguf_file {
	struct buf pairs, infos, data;
	uint64_t n_pairs, n_tensors;
	uint32_t version, alignment;	/* 0: 3, 32 */
};

static inline void
gf_u32(struct buf *b, uint32_t v)
{
	uint8_t p[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16),
	    (uint8_t)(v >> 24) };

	buf_add(b, p, 4);
}

static inline void
gf_u64(struct buf *b, uint64_t v)
{
	gf_u32(b, (uint32_t)v);
	gf_u32(b, (uint32_t)(v >> 32));
}

static inline void
gf_f32(struct buf *b, float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	gf_u32(b, u);
}

static inline void
gf_text(struct buf *b, const char *s)
{
	gf_u64(b, strlen(s));
	buf_adds(b, s);
}

/* A pair's key and kind; its value follows in f->pairs. */
static inline void
gf_key(struct gguf_file *f, const char *key, uint32_t kind)
{
	gf_text(&f->pairs, key);
	gf_u32(&f->pairs, kind);
	f->n_pairs++;
}

static inline void
gf_int(struct gguf_file *f, const char *key, uint32_t v)
{
	gf_key(f, key, 4);
	gf_u32(&f->pairs, v);
}

static inline void
gf_float(struct gguf_file *f, const char *key, float v)
{
	gf_key(f, key, 6);
	gf_f32(&f->pairs, v);
}

static inline void
gf_bool(struct gguf_file *f, const char *key, int v)
{
	gf_key(f, key, 7);
	buf_add(&f->pairs, v ? "\1" : "\0", 1);
}

static inline void
gf_string(struct gguf_file *f, const char *key, const char *v)
{
	gf_key(f, key, 8);
	gf_text(&f->pairs, v);
}

static inline void
gf_array(struct gguf_file *f, const char *key, uint32_t kind, uint64_t n)
{
	gf_key(f, key, 9);
	gf_u32(&f->pairs, kind);
	gf_u64(&f->pairs, n);
}

static inline uint32_t
gf_alignment(const struct gguf_file *f)
{
	return f->alignment != 0 ? f->alignment : 32;
}

static inline void
gf_pad(const struct gguf_file *f, struct buf *b)
{
	while (b->len % gf_alignment(f) != 0)
		buf_add(b, "", 1);
}

/* A tensor of cols x rows (0: a vector) that begins where the data end. */
static inline void
gf_tensor(struct gguf_file *f, const char *name, uint32_t type, uint64_t cols,
    uint64_t rows)
{
	gf_pad(f, &f->data);
	gf_text(&f->infos, name);
	gf_u32(&f->infos, rows > 0 ? 2 : 1);
	gf_u64(&f->infos, cols);
	if (rows > 0)
		gf_u64(&f->infos, rows);
	gf_u32(&f->infos, type);
	gf_u64(&f->infos, f->data.len);
	f->n_tensors++;
}

static inline struct buf
gf_finish(struct gguf_file *f)
{
	struct buf out = { 0 };

	buf_adds(&out, "GGUF");
	gf_u32(&out, f->version != 0 ? f->version : 3);
	gf_u64(&out, f->n_tensors);
	gf_u64(&out, f->n_pairs);
	buf_add(&out, f->pairs.data, f->pairs.len);
	buf_add(&out, f->infos.data, f->infos.len);
	if (f->n_tensors > 0) {
		gf_pad(f, &out);
		gf_pad(f, &f->data);
		buf_add(&out, f->data.data, f->data.len);
	}
	buf_free(&f->pairs);
	buf_free(&f->infos);
	buf_free(&f->data);
	*f = (struct gguf_file){ 0 };
	return out;
}

/* A float that binary16 holds exactly and normally, or 0. */
static inline uint16_t
gf_half(float v)
{
	int exponent;
	float m = frexpf(fabsf(v), &exponent);

	if (v == 0)
		return 0;
	return (uint16_t)((v < 0 ? 0x8000 : 0) | (exponent + 14) << 10 |
	    ((int)(m * 2048) - 1024));
}

static inline void
gf_put_half(uint8_t *p, float v)
{
	uint16_t h = gf_half(v);

	p[0] = (uint8_t)h;
	p[1] = (uint8_t)(h >> 8);
}

/*
 * Ternary blocks: trits t [block], 0..2, and the factor d, to out [bytes].
 */
struct gf_ternary {
	uint32_t id;
	const char *name;
	int block, bytes;
	int scale_at;		/* -1: after the tensor */
	void (*place)(int e, int *byte, int *shift);	/* two bits each */
	/* or, five to a byte: the trit in its byte, first most significant */
	void (*trit)(int e, int *byte, int *nth);
};

static inline void
gf_place_i2_s(int e, int *byte, int *shift)
{
	*byte = e % 32;
	*shift = 6 - e / 32 * 2;
}

static inline void
gf_place_tq2_0(int e, int *byte, int *shift)
{
	*byte = e / 128 * 32 + e % 32;
	*shift = e % 128 / 32 * 2;
}

static inline void
gf_place_q2_0(int e, int *byte, int *shift)
{
	*byte = 2 + e / 4;
	*shift = e % 4 * 2;
}

static inline void
gf_trit_tq1_0(int e, int *byte, int *nth)
{
	*byte = e < 160 ? e % 32 : e < 240 ? 32 + (e - 160) % 16 :
	    48 + (e - 240) % 4;
	*nth = e < 160 ? e / 32 : e < 240 ? (e - 160) / 16 : (e - 240) / 4;
}

static inline void
gf_trit_ptq1_0(int e, int *byte, int *nth)
{
	*byte = e < 80 ? e % 16 : e < 120 ? 16 + (e - 80) % 8 :
	    24 + (e - 120) % 2;
	*nth = e < 80 ? e / 16 : e < 120 ? (e - 80) / 8 : (e - 120) / 2;
}

static const struct gf_ternary gf_ternaries[] = {
	{ 36, "I2_S", 128, 32, -1, gf_place_i2_s, NULL },
	{ 34, "TQ1_0", 256, 54, 52, NULL, gf_trit_tq1_0 },
	{ 35, "TQ2_0", 256, 66, 64, gf_place_tq2_0, NULL },
	{ 42, "Q2_0", 64, 18, 0, gf_place_q2_0, NULL },
	{ 42, "Q2_0 in groups of 128", 128, 34, 0, gf_place_q2_0, NULL },
	{ 142, "PQ2_0", 128, 34, 0, gf_place_q2_0, NULL },
	{ 143, "PTQ1_0", 128, 28, 26, NULL, gf_trit_ptq1_0 },
	{ 41, "Q1_0", 128, 18, 0, NULL, NULL },	/* one bit: by itself */
};
enum { GF_TERNARIES = sizeof(gf_ternaries) / sizeof(gf_ternaries[0]) };

static inline void
gf_put_ternary(struct buf *out, const struct gf_ternary *type, const int *t,
    float d)
{
	int values[64] = { 0 }, byte, at;
	uint8_t p[128] = { 0 };

	for (int e = 0; e < type->block; e++)
		if (type->place != NULL) {
			type->place(e, &byte, &at);
			p[byte] = (uint8_t)(p[byte] | t[e] << at);
		} else if (type->trit != NULL) {
			static const int powers[] = { 81, 27, 9, 3, 1 };

			type->trit(e, &byte, &at);
			values[byte] += t[e] * powers[at];
		} else
			p[2 + e / 8] = (uint8_t)(p[2 + e / 8] |
			    (t[e] == 2) << e % 8);
	/* Five trits are a fraction of 243, stretched to one of 256. */
	for (int i = 0; type->trit != NULL && i < type->bytes - 2; i++)
		p[i] = (uint8_t)ceil(values[i] * 256.0 / 243.0);
	if (type->scale_at >= 0)
		gf_put_half(p + type->scale_at, d);
	buf_add(out, p, (size_t)type->bytes);
}

/* The factor of all of an I2_S tensor, in its 32 bytes. */
static inline void
gf_put_tail(struct buf *out, float d)
{
	for (int i = 0; i < 8; i++)
		gf_f32(out, d);
}

/* 32 integers of 8 bits and a factor. */
static inline void
gf_put_q8_0(struct buf *out, const int *q, float d)
{
	uint8_t p[34];

	gf_put_half(p, d);
	for (int e = 0; e < 32; e++)
		p[2 + e] = (uint8_t)q[e];
	buf_add(out, p, sizeof(p));
}

/* 256 integers of -32..31, sixteen factors of 8 bits, one for all. */
static inline void
gf_put_q6_k(struct buf *out, const int *q, const int *sc, float d)
{
	uint8_t p[210] = { 0 };

	for (int e = 0; e < 256; e++) {
		int u = q[e] + 32, half = e / 128, quarter = e % 128 / 32;
		int low = half * 64 + e % 64, high = 128 + half * 32 + e % 32;

		p[low] = (uint8_t)(p[low] | (u & 15) << (quarter < 2 ? 0 : 4));
		p[high] = (uint8_t)(p[high] | u >> 4 << 2 * quarter);
	}
	for (int i = 0; i < 16; i++)
		p[192 + i] = (uint8_t)sc[i];
	gf_put_half(p + 208, d);
	buf_add(out, p, sizeof(p));
}

/* 256 integers of 0..15, eight factors and eight offsets of 6 bits. */
static inline void
gf_put_q4_k(struct buf *out, const int *q, const int *sc, const int *off,
    float d, float dmin)
{
	uint8_t p[144] = { 0 };

	gf_put_half(p, d);
	gf_put_half(p + 2, dmin);
	for (int i = 0; i < 4; i++) {
		p[4 + i] = (uint8_t)(sc[i] | sc[i + 4] >> 4 << 6);
		p[8 + i] = (uint8_t)(off[i] | off[i + 4] >> 4 << 6);
		p[12 + i] = (uint8_t)((sc[i + 4] & 15) |
		    (off[i + 4] & 15) << 4);
	}
	for (int e = 0; e < 256; e++) {
		int at = 16 + e / 64 * 32 + e % 32;

		p[at] = (uint8_t)(p[at] | q[e] << (e % 64 < 32 ? 0 : 4));
	}
	buf_add(out, p, sizeof(p));
}

#endif
