/*
 * One table for each length of n-gram, indexed by a hash without chains: what
 * collides is overwritten, and what is found is compared with the tokens
 * themselves, so a table never leads astray, it only forgets.
 */
#include <stdlib.h>
#include <string.h>

#include "ngrams.h"

enum { TABLE_MIN = 256, TABLE_MAX = 16384 };

int
ngrams_init(struct ngrams *g, int32_t n_ctx, struct err *e)
{
	uint32_t size = TABLE_MIN;

	while (size < TABLE_MAX && size < (uint32_t)n_ctx * 2)
		size *= 2;
	*g = (struct ngrams){ .mask = size - 1 };
	g->after = calloc((size_t)size * NGRAMS_LONGEST, sizeof(*g->after));
	if (g->after == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for drafts");
	return 0;
}

void
ngrams_finish(struct ngrams *g)
{
	free(g->after);
	*g = (struct ngrams){ 0 };
}

void
ngrams_reset(struct ngrams *g)
{
	memset(g->after, 0,
	    (size_t)(g->mask + 1) * NGRAMS_LONGEST * sizeof(*g->after));
	g->n_seen = 0;
}

/* Of the n tokens before end. */
static int32_t *
place(const struct ngrams *g, const int32_t *end, int n)
{
	uint64_t h = 0;

	for (int i = 1; i <= n; i++)
		h = (h ^ (uint32_t)end[-i]) * UINT64_C(0x9e3779b97f4a7c15);
	return g->after + (size_t)(n - 1) * (g->mask + 1) +
	    ((h >> 32) & g->mask);
}

/* Tokens before a that are those before b. */
static int32_t
common(const int32_t *tokens, int32_t a, int32_t b)
{
	int32_t n = 0;

	while (n < NGRAMS_MATCH_MAX && n < a &&
	    tokens[a - 1 - n] == tokens[b - 1 - n])
		n++;
	return n;
}

int32_t
ngrams_find(struct ngrams *g, const int32_t *tokens, int32_t n, int32_t hint,
    int32_t *match)
{
	int32_t at = 0;

	/* The end itself is left for next time, when something follows it. */
	for (; g->n_seen + 1 < n; g->n_seen++) {
		int32_t end = g->n_seen + 1;

		for (int k = 1; k <= NGRAMS_LONGEST && k <= end; k++)
			*place(g, tokens + end, k) = end;
	}
	*match = hint > 0 && hint < n ? common(tokens, hint, n) : 0;
	if (*match > 0)
		at = hint;
	for (int k = NGRAMS_LONGEST < n ? NGRAMS_LONGEST : n; k > 0; k--) {
		int32_t latest = *place(g, tokens + n, k);
		int32_t same = latest > 0 ? common(tokens, latest, n) : 0;

		if (same > 0 && same >= *match) {
			*match = same;
			at = latest;
		}
		if (same >= k)
			break;
	}
	return at;
}
