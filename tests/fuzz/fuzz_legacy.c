/*
 * Any bytes as a .h1b of versions 1 to 4.  What is accepted is read to its last
 * row: every code is 0..2, or the row is refused with a column that exists.
 */
#include <stdlib.h>
#include <string.h>

#include "model/legacy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int32_t
rows_of(const struct model_config *c, enum h1b_part part)
{
	return part == H1B_Q ? c->n_heads * c->head_dim :
	    part == H1B_K || part == H1B_V ? c->n_kv_heads * c->head_dim :
	    part == H1B_GATE || part == H1B_UP ? c->ffn : c->hidden;
}

static void
read_part(const struct h1b_source *s, enum h1b_part part, int32_t layer)
{
	int32_t cols = h1b_columns(&s->config, part);
	uint8_t *codes = malloc((size_t)cols);
	float *row = malloc((size_t)cols * sizeof(*row)), scale;

	if (h1b_group_of(part) < 0 && codes != NULL && row != NULL)
		(void)s->row(s->arg, part, layer, 0, row, NULL);
	else if (codes != NULL && row != NULL)
		for (int32_t o = 0; o < rows_of(&s->config, part); o++)
			if (s->codes(s->arg, part, layer, o, codes, &scale,
			    NULL) == 0)
				for (int32_t i = 0; i < cols; i++)
					if (codes[i] > 2)
						abort();
	free(codes);
	free(row);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct legacy *l;
	struct h1b_source s;
	uint8_t *exact = malloc(n + 1);

	if (exact == NULL)
		return 0;
	if (n > 0)
		memcpy(exact, data, n);
	if (legacy_parse(exact, n, "fuzz", &l, NULL) == 0) {
		float *row;

		legacy_source(l, &s);
		row = malloc((size_t)s.config.hidden * sizeof(*row));
		for (int32_t o = 0; row != NULL && o < s.config.vocab; o++)
			(void)s.row(s.arg, H1B_EMBED, -1, o, row, NULL);
		free(row);
		read_part(&s, H1B_NORM, -1);
		for (int32_t k = 0; k < s.config.n_layers; k++)
			for (enum h1b_part p = H1B_ATTN_NORM; p <= H1B_DOWN;
			    p++)
				read_part(&s, p, k);
		legacy_close(l);
	}
	free(exact);
	return 0;
}
