#ifndef TESTS_SAME_SOURCE_H
#define TESTS_SAME_SOURCE_H

/* A struct same_model as the source of a .h1b: what others are compared with. */
#include <string.h>
#include <sys/mman.h>

#include "same_model.h"
#include "tokenizer/tokenizer.h"

static inline int
same_source_row(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    float *out, struct err *e)
{
	const struct same_model *m = arg;

	(void)e;
	for (int32_t i = 0; i < same_cols(m, part); i++)
		out[i] = part == H1B_EMBED || part == H1B_HEAD ?
		    same_dense(m, part, row, i) : same_norm(m, part, layer, i);
	return 0;
}

static inline int32_t
same_source_group(void *arg, enum h1b_part part, int32_t layer)
{
	const struct same_model *m = arg;

	(void)layer;
	return same_group(m, part) < same_cols(m, part) ? same_group(m, part) :
	    same_cols(m, part);
}

static inline int
same_source_codes(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    uint8_t *codes, float *scales, struct err *e)
{
	const struct same_model *m = arg;
	int32_t group = same_source_group(arg, part, layer);

	(void)e;
	for (int32_t i = 0; i < same_cols(m, part); i++) {
		codes[i] = (uint8_t)(1 + same_weight(m, part, layer, row, i));
		scales[i / group] = same_scale(m, part, layer, row, i);
	}
	return 0;
}

/* The model of want as a .h1b in memory: for model_close. */
static inline void
same_open(const struct same_model *want, struct model *m)
{
	struct same_model copy = *want;
	struct h1b_source s = { .config = want->config,
	    .embed_type = DENSE_BF16,
	    .head_type = want->config.tied ? 0 : DENSE_BF16,
	    .architecture = "same", .name = "same", .origin = "a test",
	    .chat_template = "", .row = same_source_row,
	    .group = same_source_group, .codes = same_source_codes,
	    .arg = &copy };
	struct tokenizer *t = NULL;
	struct buf json = { 0 }, blob = { 0 };
	void *image;
	size_t n;
	struct err e = { 0 };

	same_tokenizer_json(&json);
	ck_assert_msg(tokenizer_from_json(json.data, json.len, &t, &e) == 0 &&
	    tokenizer_save(t, &blob, &e) == 0, "%s", e.text);
	s.tokenizer = blob.data;
	s.n_tokenizer = blob.len;
	ck_assert_msg(h1b_image(&s, &image, &n, &e) == 0, "%s", e.text);
	ck_assert_msg(model_parse(image, n, "same", m, &e) == 0, "%s", e.text);
	m->map = image;
	m->map_size = n;
	tokenizer_destroy(t);
	buf_free(&json);
	buf_free(&blob);
}

/* What is at path is want, and computes the same bits. */
static inline void
same_compare(const char *path, const struct same_model *want)
{
	struct model m, base;
	float *a, *b;
	struct err e;

	ck_assert_msg(model_open(path, false, &m, &e) == 0, "%s", e.text);
	same_check(&m, want);
	same_open(want, &base);
	a = same_logits(&m);
	b = same_logits(&base);
	ck_assert_mem_eq(a, b, (size_t)SAME_TOKENS * (size_t)m.config.vocab *
	    sizeof(float));
	free(a);
	free(b);
	model_close(&m);
	model_close(&base);
}

#endif
