#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "model/base3.h"
#include "model/model_source.h"
#include "model/packed.h"

static const float *
vector_of(const struct model *m, enum h1b_part part, int32_t layer)
{
	const struct model_layer *l = &m->layers[layer < 0 ? 0 : layer];

	switch (part) {
	case H1B_ATTN_NORM:
		return l->attn_norm;
	case H1B_FFN_NORM:
		return l->ffn_norm;
	case H1B_ATTN_SUB_NORM:
		return l->attn_sub_norm;
	case H1B_FFN_SUB_NORM:
		return l->ffn_sub_norm;
	case H1B_Q_NORM:
		return l->q_norm;
	case H1B_K_NORM:
		return l->k_norm;
	default:
		return m->norm;
	}
}

static int
get_row(void *arg, enum h1b_part part, int32_t layer, int32_t row, float *out,
    struct err *e)
{
	const struct model *m = arg;

	(void)e;
	if (part == H1B_EMBED || part == H1B_HEAD)
		dense_row(part == H1B_EMBED ? &m->embed : &m->head, row, out);
	else
		memcpy(out, vector_of(m, part, layer),
		    (size_t)h1b_columns(&m->config, part) * sizeof(float));
	return 0;
}

static int
get_row_i8(void *arg, enum h1b_part part, int32_t row, int8_t *q,
    float *scales, struct err *e)
{
	const struct model *m = arg;
	const struct dense *d = part == H1B_EMBED ? &m->embed : &m->head;
	size_t n = (size_t)d->n_in, group = (size_t)d->group;
	size_t n_groups = (n + group - 1) / group;

	(void)e;
	memcpy(q, (const int8_t *)d->data + (size_t)row * n, n);
	memcpy(scales, d->scales + (size_t)row * n_groups,
	    n_groups * sizeof(float));
	return 0;
}

static int
get_row_packed(void *arg, int32_t row, uint8_t *out, float *scale,
    struct err *e)
{
	const struct dense *d = &((const struct model *)arg)->head;
	size_t n = (size_t)packed_stride(d->type, d->n_in);

	(void)e;
	memcpy(out, (const uint8_t *)d->data + (size_t)row * n, n);
	*scale = d->scales[row];
	return 0;
}

static int32_t
get_group(void *arg, enum h1b_part part, int32_t layer)
{
	const struct model *m = arg;

	return h1b_ternary(&m->layers[layer], part)->group;
}

static int
get_codes(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    uint8_t *codes, float *scales, struct err *e)
{
	const struct model *m = arg;
	const struct ternary *w = h1b_ternary(&m->layers[layer], part);
	const uint8_t *p = w->codes + (size_t)row * (size_t)w->stride;
	size_t n_groups = (size_t)((w->n_in + w->group - 1) / w->group);

	(void)e;
	for (int32_t k = 0; w->form == TERNARY_B3 && k < w->n_in; k++)
		codes[k] = (uint8_t)base3_code(p, k);
	for (int32_t k = 0; w->form == TERNARY_T2 && k < w->n_in; k += 64) {
		int shift = k % TERNARY_BLOCK / 64 * 2;
		const uint8_t *block = p + k / TERNARY_BLOCK * 64;
		int32_t n = w->n_in - k < 64 ? w->n_in - k : 64;

		for (int32_t j = 0; j < n; j++)
			codes[k + j] = block[j] >> shift & 3;
	}
	memcpy(scales, w->scales + (size_t)row * n_groups,
	    n_groups * sizeof(float));
	return 0;
}

static void
drop(void *arg)
{
	const struct model *m = arg;

	(void)madvise(m->map, m->map_size, MADV_DONTNEED);
}

void
model_source(struct model *m, struct h1b_source *s)
{
	*s = (struct h1b_source){
		.config = m->config, .embed_type = m->embed.type,
		.head_type = m->config.tied ? 0 : m->head.type,
		.embed_group = m->embed.group, .head_group = m->head.group,
		.architecture = m->architecture,
		.chat_template = m->chat_template,
		.n_chat_template = m->n_chat_template,
		.tokenizer = m->tokenizer, .n_tokenizer = m->n_tokenizer,
		.row = get_row, .row_i8 = get_row_i8,
		.row_packed = get_row_packed, .group = get_group,
		.codes = get_codes, .arg = m,
	};
	/* Only what is mapped can be read again. */
	if (m->mapped)
		s->drop = drop;
}
