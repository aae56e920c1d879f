/*
 * Rows of the tensors that gguf_tensors.c has found and checked.
 */
#include <math.h>
#include <string.h>

#include "model/gguf_tensors.h"
#include "model/ternarize.h"

enum dense_type
gguf_matrix_dense(const struct gguf_matrix *m)
{
	switch (m->type->use) {
	case GGUF_FLOATS:
		return m->type->id == GGUF_F32_TYPE ? DENSE_F32 :
		    m->type->id == GGUF_F16_TYPE ? DENSE_F16 : DENSE_BF16;
	case GGUF_TERNARY:
		return DENSE_I8;
	default:
		return m->type->ints != NULL ? DENSE_I8 : DENSE_F32;
	}
}

static const uint8_t *
row_at(const struct gguf_matrix *m, int32_t row)
{
	return m->t->data + (size_t)row * m->row_bytes;
}

static int
bad_weight(const struct gguf_tensors *ts, const struct gguf_matrix *m,
    int32_t row, long col, const char *what, struct err *e)
{
	return err_set(e, ERR_BAD_FILE, "%.60s: tensor '%.*s' (%s) %s at row %d, "
	    "column %ld", gguf_what(ts->g), gguf_shown(m->t->name),
	    m->t->name.s, m->type->name, what, row, col);
}

/* A group may be several blocks: the factor is that of the first in use. */
static void
row_scales(const struct gguf_matrix *m, const uint8_t *row,
    const uint8_t *codes, float *scales)
{
	const struct gguf_type *type = m->type;

	for (int32_t at = 0; at < m->cols; at += m->group, scales++) {
		int32_t end = m->cols - at < m->group ? m->cols : at + m->group;
		int32_t i = at;

		while (i < end && codes[i] == 1)
			i++;
		i = i < end ? i : at;
		if (type->group == 0)
			*scales = m->scale;
		else
			gguf_type_scales(type, row + (size_t)(i / type->block) *
			    (size_t)type->bytes, 1, scales);
	}
}

static void
make_positive(const struct gguf_matrix *m, float *scales)
{
	for (int32_t i = 0; i * m->group < m->cols; i++)
		scales[i] = fabsf(scales[i]);
}

int
gguf_matrix_codes(const struct gguf_tensors *ts, const struct gguf_matrix *m,
    int32_t row, uint8_t *codes, float *scales, struct err *e)
{
	const uint8_t *p = row_at(m, row), *bad;

	if (m->type->use == GGUF_FLOATS) {
		m->type->floats(p, (size_t)m->cols, ts->row);
		ternarize_split(ts->row, m->cols, m->group, codes, scales);
		return 0;
	}
	m->type->codes(p, (size_t)(m->cols / m->type->block), codes);
	bad = memchr(codes, GGUF_TERNARY_BAD, (size_t)m->cols);
	if (bad != NULL)
		return bad_weight(ts, m, row, bad - codes, "is not ternary", e);
	row_scales(m, p, codes, scales);
	/* -1 times the factor is 1 times its negative. */
	for (int32_t i = 0; i < m->cols; i++)
		if (signbit(scales[i / m->group]))
			codes[i] = (uint8_t)(2 - codes[i]);
	make_positive(m, scales);
	return 0;
}

int
gguf_matrix_ints(const struct gguf_tensors *ts, const struct gguf_matrix *m,
    int32_t row, int8_t *q, float *scales, struct err *e)
{
	int8_t *bad;
	int rc;

	if (m->type->use == GGUF_TERNARY) {
		/* The codes become integers where they are. */
		if ((rc = gguf_matrix_codes(ts, m, row, (uint8_t *)q, scales,
		    e)) != 0)
			return rc;
		for (int32_t i = 0; i < m->cols; i++)
			q[i]--;
		return 0;
	}
	m->type->ints(row_at(m, row), (size_t)(m->cols / m->type->block), q,
	    scales);
	if ((bad = memchr(q, 0x80, (size_t)m->cols)) != NULL)
		return bad_weight(ts, m, row, bad - q, "has -128", e);
	for (int32_t i = 0; i < m->cols; i++)
		if (signbit(scales[i / m->group]))
			q[i] = (int8_t)-q[i];
	make_positive(m, scales);
	return 0;
}

/* Block by block: a row of codes is not kept. */
static int
ternary_floats(const struct gguf_tensors *ts, const struct gguf_matrix *m,
    int32_t row, float *out, struct err *e)
{
	const struct gguf_type *type = m->type;
	const uint8_t *p = row_at(m, row);
	uint8_t codes[GGUF_BLOCK_MAX];
	float scale = m->scale;

	for (int32_t at = 0; at < m->cols; at += type->block) {
		type->codes(p, 1, codes);
		if (type->group > 0)
			gguf_type_scales(type, p, 1, &scale);
		for (int32_t i = 0; i < type->block; i++) {
			if (codes[i] == GGUF_TERNARY_BAD)
				return bad_weight(ts, m, row, at + i,
				    "is not ternary", e);
			out[at + i] = scale * (float)(codes[i] - 1);
		}
		p += type->bytes;
	}
	return 0;
}

int
gguf_matrix_floats(const struct gguf_tensors *ts, const struct gguf_matrix *m,
    int32_t row, float *out, struct err *e)
{
	if (m->type->use == GGUF_TERNARY)
		return ternary_floats(ts, m, row, out, e);
	m->type->floats(row_at(m, row), (size_t)(m->cols / m->type->block),
	    out);
	return 0;
}
