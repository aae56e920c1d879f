#ifndef TESTS_TOP_ROWS_H
#define TESTS_TOP_ROWS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"

/* The n largest of logits [vocab], as a backend gives them: a NaN comes last. */
static inline void
top_rows_find(const float *logits, int32_t vocab, int32_t n, struct backend_top *top)
{
	int32_t m = 0;

	for (int32_t i = 0; i < vocab; i++) {
		float l = isnan(logits[i]) ? -INFINITY : logits[i];
		int32_t at = m;

		while (at > 0 && l > top[at - 1].logit)
			at--;
		if (at == n)
			continue;
		m += m < n;
		memmove(top + at + 1, top + at, (size_t)(m - 1 - at) * sizeof(*top));
		top[at] = (struct backend_top){ i, l };
	}
}

/* forward of b, which has no use for n_top, as if it had. */
static inline int
top_rows_forward(struct backend *b, const struct backend_row *rows, int n,
    int32_t vocab, float *logits, struct err *e)
{
	struct backend_row *all = malloc((size_t)n * sizeof(*all));
	float *own = malloc((size_t)n * (size_t)vocab * sizeof(*own)), *from = own;
	int r;

	if (all == NULL || own == NULL)
		abort();
	memcpy(all, rows, (size_t)n * sizeof(*all));
	for (int i = 0; i < n; i++)
		all[i].want_logits = rows[i].want_logits || rows[i].n_top > 0;
	r = b->forward(b, all, n, own, e);
	for (int i = 0; i < n; i++) {
		if (rows[i].n_top > 0)
			top_rows_find(from, vocab, rows[i].n_top, rows[i].top);
		if (rows[i].want_logits) {
			memcpy(logits, from, (size_t)vocab * sizeof(*from));
			logits += vocab;
		}
		from += all[i].want_logits ? vocab : 0;
	}
	free(all);
	free(own);
	return r;
}

#endif
