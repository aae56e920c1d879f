#ifndef SPEC_H1B_H
#define SPEC_H1B_H

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A second reader of .h1b, written from docs/model-format.md alone and sharing
 * nothing with services/decode/model, for tests: slow, and trusting.
 */
struct spec {
	uint8_t *bytes;		/* [n], 64-byte aligned; owned */
	size_t n;
};

static inline uint64_t
spec_get(const uint8_t *p, int width)
{
	uint64_t v = 0;

	for (int i = 0; i < width; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

static inline void
spec_put(uint8_t *p, int width, uint64_t v)
{
	for (int i = 0; i < width; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static inline uint32_t
spec_crc(const uint8_t *p, size_t n)
{
	uint32_t c = 0xffffffff;

	for (size_t i = 0; i < n; i++) {
		c ^= p[i];
		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0x82f63b78 : c >> 1;
	}
	return ~c;
}

static inline struct spec
spec_load(const char *path)
{
	FILE *fp = fopen(path, "rb");
	struct spec s = { 0 };

	ck_assert_msg(fp != NULL, "%s cannot be opened", path);
	fseek(fp, 0, SEEK_END);
	s.n = (size_t)ftell(fp);
	rewind(fp);
	s.bytes = aligned_alloc(64, (s.n + 4096) / 64 * 64);
	ck_assert_ptr_nonnull(s.bytes);
	ck_assert_uint_eq(fread(s.bytes, 1, s.n, fp), s.n);
	fclose(fp);
	return s;
}

static inline uint32_t
spec_n_sections(const struct spec *s)
{
	return (uint32_t)spec_get(s->bytes + 20, 4);
}

/* Directory entry i, or that of the section called name. */
static inline uint8_t *
spec_entry_at(const struct spec *s, uint32_t i)
{
	return s->bytes + 256 + (size_t)i * 96;
}

static inline uint8_t *
spec_entry(const struct spec *s, const char *name)
{
	for (uint32_t i = 0; i < spec_n_sections(s); i++)
		if (strncmp((char *)spec_entry_at(s, i), name, 56) == 0)
			return spec_entry_at(s, i);
	ck_abort_msg("no section '%s'", name);
	return NULL;
}

static inline uint8_t *
spec_data(const struct spec *s, const char *name)
{
	return s->bytes + spec_get(spec_entry(s, name) + 80, 8);
}

static inline int
spec_weight(const struct spec *s, const char *name, uint64_t row, uint64_t col)
{
	uint64_t cols = spec_get(spec_entry(s, name) + 72, 8);
	uint64_t row_bytes = (cols + 255) / 256 * 64;
	uint8_t byte = spec_data(s, name)[row * row_bytes + col / 256 * 64 +
	    col % 64];

	return (byte >> 2 * (col % 256 / 64) & 3) - 1;
}

static inline float
spec_f32(const struct spec *s, const char *name, uint64_t i)
{
	uint32_t u = (uint32_t)spec_get(spec_data(s, name) + 4 * i, 4);
	float f;

	memcpy(&f, &u, 4);
	return f;
}

/* Columns of a factor; g: q, k, v, o, gate, up, down, embed, head. */
static inline uint64_t
spec_group(const struct spec *s, int g, uint64_t columns)
{
	uint64_t n = spec_get(s->bytes + 128 + 4 * g, 4);

	return n == 0 ? columns : n;
}

/* The factor of value (row, col) of matrix name, whose group is number g. */
static inline float
spec_scale(const struct spec *s, const char *name, int g, uint64_t row,
    uint64_t col)
{
	uint64_t columns = spec_get(spec_entry(s, name) + 72, 8);
	uint64_t group = spec_group(s, g, columns);
	char scale[64];

	snprintf(scale, sizeof(scale), "%s.scale", name);
	return spec_f32(s, scale, row * ((columns + group - 1) / group) +
	    col / group);
}

/* Make every checksum right again, as someone would who wants to deceive. */
static inline void
spec_seal(struct spec *s)
{
	uint32_t n = spec_n_sections(s);

	for (uint32_t i = 0; i < n && 352 + (size_t)i * 96 <= s->n; i++) {
		uint8_t *e = spec_entry_at(s, i);
		uint64_t at = spec_get(e + 80, 8), size = spec_get(e + 88, 8);

		if (at <= s->n && size <= s->n - at)
			spec_put(e + 60, 4, spec_crc(s->bytes + at, size));
	}
	if (n < 65536 && 256 + (size_t)n * 96 <= s->n)
		spec_put(s->bytes + 24, 4, spec_crc(s->bytes + 256,
		    (size_t)n * 96));
	spec_put(s->bytes + 28, 4, 0);
	spec_put(s->bytes + 28, 4, spec_crc(s->bytes, 256));
}

#endif
