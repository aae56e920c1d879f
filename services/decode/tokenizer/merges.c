/*
 * Merges for a vocabulary that has scores instead: SentencePiece's and
 * tiktoken's.  There any two neighbours whose text together is a token may be
 * joined, the best token first; so each way to cut a token in two tokens is a
 * merge, with the rank of the token.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/parts.h"

struct list {
	struct tokenizer *t;
	const float *score;
	size_t cap;
};

static int
add_merge(struct list *l, int32_t left, int32_t right, int32_t id)
{
	struct tokenizer *t = l->t;

	if (t->n_merges == l->cap) {
		size_t cap = l->cap == 0 ? 4096 : 2 * l->cap;
		struct merge *v = realloc(t->merges, cap * sizeof(*v));

		if (v == NULL)
			return ERR_NO_MEMORY;
		t->merges = v;
		l->cap = cap;
	}
	t->merges[t->n_merges++] = (struct merge){ left, right, id, false };
	return 0;
}

/* Best score first; then in any order, but always in the same. */
static int
compare(const void *a, const void *b, void *arg)
{
	const struct merge *x = a, *y = b;
	const float *score = arg;

	if (score[x->id] != score[y->id])
		return score[x->id] > score[y->id] ? -1 : 1;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (x->left > y->left) - (x->left < y->left);
}

static int
cut_token(struct list *l, int32_t id, struct err *e)
{
	const struct tokenizer *t = l->t;
	const char *word = t->bytes + t->at[id];
	size_t n = t->at[id + 1] - t->at[id];

	if (n > TOKENIZER_SCORED_MAX)
		return err_set(e, ERR_UNSUPPORTED, "tokenizer: token %d has "
		    "%zu bytes, more than %d", (int)id, n,
		    TOKENIZER_SCORED_MAX);
	for (size_t i = 1; i < n; i++) {
		int32_t left = bpe_find(t, word, i), right;

		if (left < 0 || (right = bpe_find(t, word + i, n - i)) < 0)
			continue;
		if (l->t->n_merges == TOKENIZER_MERGES_MAX)
			return err_set(e, ERR_UNSUPPORTED, "tokenizer: more "
			    "than %d merges", TOKENIZER_MERGES_MAX);
		if (add_merge(l, left, right, id) != 0)
			return err_set(e, ERR_NO_MEMORY,
			    "tokenizer: memory is short");
	}
	return 0;
}

int
bpe_make_merges(struct tokenizer *t, const float *score, struct err *e)
{
	struct list l = { .t = t, .score = score };
	int rc = 0;

	for (int32_t id = 0; rc == 0 && id < t->n_vocab; id++)
		if ((t->kind[id] & (TOKEN_MODEL | TOKEN_SPECIAL)) ==
		    TOKEN_MODEL)
			rc = cut_token(&l, id, e);
	if (rc != 0 || t->n_merges == 0)
		return rc;
	qsort_r(t->merges, t->n_merges, sizeof(*t->merges), compare,
	    (void *)score);
	for (size_t k = 1; k < t->n_merges; k++)
		t->merges[k].tied = score[t->merges[k].id] ==
		    score[t->merges[k - 1].id];
	return 0;
}
