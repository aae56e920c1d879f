/*
 * Any bytes as a .h1b.  Checksums would keep the fuzzer at the door, so they
 * are made right first, as someone would who wants to deceive; and what is
 * accepted is read to its last weight, its probe too, and written again as the same
 * model.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/crc32c.h"
#include "model/h1b.h"
#include "model/model_source.h"
#include "selfcheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
seal(uint8_t *bytes, size_t n)
{
	struct h1b_header *h = (struct h1b_header *)bytes;
	struct h1b_entry *en = (struct h1b_entry *)(h + 1);
	size_t room = (n - sizeof(*h)) / sizeof(*en);

	for (uint32_t i = 0; i < h->n_sections && i < room; i++)
		if (en[i].offset <= n && en[i].size <= n - en[i].offset)
			en[i].crc = crc32c(0, bytes + en[i].offset, en[i].size);
	if (h->n_sections <= room)
		h->directory_crc = crc32c(0, en, h->n_sections * sizeof(*en));
	h->file_size = n;
	h->header_crc = 0;
	h->header_crc = crc32c(0, h, sizeof(*h));
}

static void
read_matrix(const struct ternary *w)
{
	int32_t n_groups = (w->n_in + w->group - 1) / w->group;

	for (int32_t o = 0; o < w->n_out; o++)
		for (int32_t i = 0; i < w->n_in; i++)
			if (ternary_weight(w, o, i) > 1 ||
			    w->scales[(size_t)o * (size_t)n_groups +
			    (size_t)(i / w->group)] < 0)
				abort();
}

static void
read_vector(const float *v, int32_t n)
{
	for (int32_t i = 0; v != NULL && i < n; i++)
		if (!isfinite(v[i]))
			abort();
}

static void
read_dense(const struct dense *d)
{
	float *row = calloc((size_t)d->n_in, sizeof(*row));

	for (int32_t o = 0; row != NULL && o < d->n_out; o++)
		dense_row(d, o, row);
	free(row);
}

static void
write_again(struct model *m)
{
	char *origin = strndup(m->source, m->n_source);
	struct h1b_source s;
	struct model again;
	void *image;
	size_t n;

	model_source(m, &s);
	s.name = m->title;
	s.origin = origin;
	s.body = m->layers[0].q.form;
	if (origin == NULL || h1b_image(&s, &image, &n, NULL) != 0 ||
	    model_parse(image, n, "again", &again, NULL) != 0 ||
	    strcmp(again.fingerprint, m->fingerprint) != 0)
		abort();
	again.map = image;
	again.map_size = n;
	model_close(&again);
	free(origin);
}

static void
read_probe(const struct model *m)
{
	struct selfcheck_probe p;

	if (selfcheck_parse(m->probe, m->n_probe, &m->config, &p, NULL) != 0)
		return;
	for (int32_t i = 0; i < p.n_tokens; i++)
		if (p.tokens[i] < 0 || p.tokens[i] >= m->config.vocab)
			abort();
	for (int32_t i = 0; i < p.n_top; i++)
		if (p.top[i] < 0 || p.top[i] >= m->config.vocab ||
		    !isfinite(p.logits[i]))
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	/* The first byte says whether to seal. */
	uint8_t *bytes = aligned_alloc(64, (n + 64) / 64 * 64);
	struct model m;

	if (bytes == NULL || n == 0) {
		free(bytes);
		return 0;
	}
	n--;
	memcpy(bytes, data + 1, n);
	if (data[0] % 4 != 0 && n >= sizeof(struct h1b_header))
		seal(bytes, n);
	if (model_parse(bytes, n, "fuzz", &m, NULL) == 0) {
		for (int32_t k = 0; k < m.config.n_layers; k++) {
			const struct model_layer *l = &m.layers[k];

			read_vector(l->attn_norm, m.config.hidden);
			read_vector(l->q_norm, m.config.head_dim);
			read_vector(l->k_norm, m.config.head_dim);
			read_vector(l->ffn_sub_norm, m.config.ffn);
			read_matrix(&l->q);
			read_matrix(&l->k);
			read_matrix(&l->v);
			read_matrix(&l->o);
			read_matrix(&l->gate);
			read_matrix(&l->up);
			read_matrix(&l->down);
		}
		read_dense(&m.embed);
		read_dense(&m.head);
		read_probe(&m);
		write_again(&m);
		model_close(&m);
	}
	free(bytes);
	return 0;
}
