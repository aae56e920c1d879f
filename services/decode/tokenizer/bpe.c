/*
 * Byte pair encoding of one word.  The pair with the lowest rank is merged
 * first, of equal ones the leftmost.  A short word looks for it in an array;
 * for a long one that would be quadratic, so it keeps the pairs in a heap, in
 * which a pair that has changed meanwhile is noticed when it comes up.
 *
 * Both tables are open addressing with linear probing, at most half full; what
 * is in them is the model's, so nobody who sends text chooses the collisions.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/chars.h"
#include "tokenizer/parts.h"

enum {
	SHORT_WORD = 48,	/* symbols; above it the heap is faster */
	NO_RANK = INT32_MAX,
};

static uint64_t
hash_pair(int32_t left, int32_t right)
{
	uint64_t h = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;

	h *= 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static uint64_t
hash_word(const char *word, size_t n)
{
	uint64_t h = n * 0x9e3779b97f4a7c15u, v;

	for (; n >= 8; word += 8, n -= 8) {
		memcpy(&v, word, 8);
		h = (h ^ v) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	v = 0;
	memcpy(&v, word, n);
	h = (h ^ v) * 0xff51afd7ed558ccdu;
	h ^= h >> 32;
	h *= 0xc4ceb9fe1a85ec53u;
	return h ^ h >> 29;
}

int32_t
bpe_find(const struct tokenizer *t, const char *word, size_t n)
{
	uint64_t h = hash_word(word, n);

	for (size_t i = h & t->word_mask;; i = (i + 1) & t->word_mask) {
		const struct word_slot *s = &t->words[i];

		if (s->id < 0)
			return -1;
		if (s->tag == (uint32_t)(h >> 32) &&
		    t->at[s->id + 1] - t->at[s->id] == n &&
		    memcmp(t->bytes + t->at[s->id], word, n) == 0)
			return s->id;
	}
}

static struct pair_slot *
find_pair(const struct tokenizer *t, int32_t left, int32_t right)
{
	for (size_t i = hash_pair(left, right) & t->pair_mask;;
	    i = (i + 1) & t->pair_mask) {
		struct pair_slot *s = &t->pairs[i];

		if ((s->left == left && s->right == right) || s->left < 0)
			return s;
	}
}

/* A power of two of at least twice n. */
static size_t
table_size(size_t n)
{
	size_t size = 16;

	while (size < 2 * n)
		size *= 2;
	return size;
}

int
bpe_index_words(struct tokenizer *t, struct err *e)
{
	bool spm = (t->flags & TOKENIZER_SPM) != 0;
	size_t n_model = 0, n_words;

	for (int32_t id = 0; id < t->n_vocab; id++)
		n_model += (t->kind[id] & TOKEN_MODEL) != 0;
	n_words = table_size(n_model);
	memset(t->byte_id, -1, sizeof(t->byte_id));
	if ((t->words = malloc(n_words * sizeof(*t->words))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
	t->word_mask = n_words - 1;
	memset(t->words, -1, n_words * sizeof(*t->words));
	for (int32_t id = 0; id < t->n_vocab; id++) {
		const char *word = t->bytes + t->at[id];
		size_t n = t->at[id + 1] - t->at[id];

		if (n == 1 && (t->kind[id] & (spm ? TOKEN_BYTE : TOKEN_MODEL)))
			t->byte_id[(unsigned char)word[0]] = id;
		/* A special token is never what text happens to spell. */
		if (!(t->kind[id] & TOKEN_MODEL) ||
		    (t->kind[id] & TOKEN_SPECIAL))
			continue;
		int32_t same = bpe_find(t, word, n);

		if (same >= 0)
			return err_set(e, ERR_BAD_FILE,
			    "tokenizer: tokens %d and %d are the same bytes",
			    (int)same, (int)id);
		uint64_t h = hash_word(word, n);
		size_t i = h & t->word_mask;

		while (t->words[i].id >= 0)
			i = (i + 1) & t->word_mask;
		t->words[i] = (struct word_slot){ (uint32_t)(h >> 32), id };
	}
	return 0;
}

/* Is merge k what it should be: two tokens and their concatenation? */
static bool
merge_is_sound(const struct tokenizer *t, const struct merge *m)
{
	const int32_t ids[3] = { m->left, m->right, m->id };
	uint32_t n[3];

	for (int i = 0; i < 3; i++) {
		if (ids[i] < 0 || ids[i] >= t->n_vocab ||
		    !(t->kind[ids[i]] & TOKEN_MODEL) ||
		    (t->kind[ids[i]] & TOKEN_SPECIAL))
			return false;
		n[i] = t->at[ids[i] + 1] - t->at[ids[i]];
	}
	return n[0] + n[1] == n[2] &&
	    memcmp(t->bytes + t->at[m->id], t->bytes + t->at[m->left],
		n[0]) == 0 &&
	    memcmp(t->bytes + t->at[m->id] + n[0], t->bytes + t->at[m->right],
		n[1]) == 0;
}

int
bpe_index(struct tokenizer *t, struct err *e)
{
	size_t n_pairs = table_size(t->n_merges);
	int32_t rank = -1;
	int rc;

	if (t->words == NULL && (rc = bpe_index_words(t, e)) != 0)
		return rc;
	if ((t->pairs = malloc(n_pairs * sizeof(*t->pairs))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
	t->pair_mask = n_pairs - 1;
	memset(t->pairs, -1, n_pairs * sizeof(*t->pairs));
	t->cut_at_blanks = (t->flags & TOKENIZER_SPM) &&
	    !(t->flags & TOKENIZER_IGNORE_MERGES) && bpe_find(t, " ", 1) >= 0;
	for (size_t k = 0; k < t->n_merges; k++) {
		const struct merge *m = &t->merges[k];

		if (!merge_is_sound(t, m))
			return err_set(e, ERR_BAD_FILE, "tokenizer: merge %zu, "
			    "%d + %d = %d, does not join two tokens to a third",
			    k, (int)m->left, (int)m->right, (int)m->id);
		if (!m->tied || k == 0)
			rank = (int32_t)k;
		/* Given twice, the later rank counts, as in Hugging Face's. */
		*find_pair(t, m->left, m->right) = (struct pair_slot){
		    m->left, m->right, rank, m->id };
		if (t->bytes[t->at[m->left + 1] - 1] != ' ' &&
		    t->bytes[t->at[m->right]] == ' ')
			t->cut_at_blanks = false;
	}
	return 0;
}

/*
 * The tokens that word [n] begins as, into id [n]; how many.  Bytes, or with
 * SentencePiece characters, their bytes if they have no token, or unk.
 */
static size_t
first_tokens(const struct tokenizer *t, const char *word, size_t n,
    int32_t *id)
{
	size_t k = 0;

	if (!(t->flags & TOKENIZER_SPM)) {
		for (size_t i = 0; i < n; i++)
			id[i] = t->byte_id[(unsigned char)word[i]];
		return n;
	}
	for (size_t i = 0, len; i < n; i += len) {
		int32_t cp, whole = -1;
		size_t j = 0;

		len = chars_next(word + i, n - i, &cp);
		if (cp >= 0)
			whole = bpe_find(t, word + i, len);
		while (j < len && t->byte_id[(unsigned char)word[i + j]] >= 0)
			j++;
		if (whole >= 0) {
			id[k++] = whole;
		} else if (j == len) {
			for (j = 0; j < len; j++)
				id[k++] = t->byte_id[(unsigned char)word[i + j]];
		} else if (!(t->flags & TOKENIZER_FUSE_UNK) || k == 0 ||
		    id[k - 1] != t->unk) {
			id[k++] = t->unk;
		}
	}
	return k;
}

/* What the pair left, right becomes, and its rank; NO_RANK: they stay two. */
static int32_t
rank_of(const struct tokenizer *t, int32_t left, int32_t right, int32_t *to)
{
	const struct pair_slot *s = find_pair(t, left, right);

	if (s->left < 0)
		return NO_RANK;
	*to = s->id;
	return s->rank;
}

static int
short_word(const struct tokenizer *t, const char *word, size_t n,
    struct ids *out)
{
	int32_t id[SHORT_WORD], rank[SHORT_WORD], to[SHORT_WORD] = { 0 };

	n = first_tokens(t, word, n, id);
	for (size_t i = 0; i + 1 < n; i++)
		rank[i] = rank_of(t, id[i], id[i + 1], &to[i]);
	for (;;) {
		size_t best = 0;
		int32_t lowest = NO_RANK;

		for (size_t i = 0; i + 1 < n; i++)
			if (rank[i] < lowest) {
				lowest = rank[i];
				best = i;
			}
		if (lowest == NO_RANK)
			break;
		id[best] = to[best];
		n--;
		memmove(id + best + 1, id + best + 2,
		    (n - best - 1) * sizeof(*id));
		memmove(rank + best, rank + best + 1,
		    (n - best - 1) * sizeof(*rank));
		memmove(to + best, to + best + 1,
		    (n - best - 1) * sizeof(*to));
		if (best > 0)
			rank[best - 1] = rank_of(t, id[best - 1], id[best],
			    &to[best - 1]);
		if (best + 1 < n)
			rank[best] = rank_of(t, id[best], id[best + 1],
			    &to[best]);
	}
	for (size_t i = 0; i < n; i++)
		if (ids_add(out, id[i]) != 0)
			return ERR_NO_MEMORY;
	return 0;
}

/* A piece of a long word; what was merged into its left neighbour has id -1. */
struct symbol {
	int32_t id;
	int32_t rank, to;	/* of the pair that it begins */
	uint32_t prev, next;	/* UINT32_MAX: none */
};

/* The pairs to merge, the least first: rank above, position below. */
struct heap {
	uint64_t *v;
	size_t n;
};

/* Four children a node: half as many levels, and they share a cache line. */
enum { HEAP_ARITY = 4 };

static void
heap_push(struct heap *h, int32_t rank, uint32_t at)
{
	uint64_t x = (uint64_t)(uint32_t)rank << 32 | at;
	size_t i = h->n++;

	for (size_t up; i > 0 && h->v[up = (i - 1) / HEAP_ARITY] > x; i = up)
		h->v[i] = h->v[up];
	h->v[i] = x;
}

static uint64_t
heap_pop(struct heap *h)
{
	uint64_t top = h->v[0], x = h->v[--h->n];
	size_t i = 0, child;

	while ((child = HEAP_ARITY * i + 1) < h->n) {
		size_t end = child + HEAP_ARITY, least = child;

		if (end > h->n)
			end = h->n;
		while (++child < end)
			if (h->v[child] < h->v[least])
				least = child;
		if (h->v[least] >= x)
			break;
		h->v[i] = h->v[least];
		i = least;
	}
	h->v[i] = x;
	return top;
}

/* Look up the pair that s[i] begins and queue it. */
static void
queue_pair(const struct tokenizer *t, struct symbol *s, struct heap *h,
    uint32_t i)
{
	s[i].rank = s[i].next == UINT32_MAX ? NO_RANK :
	    rank_of(t, s[i].id, s[s[i].next].id, &s[i].to);
	if (s[i].rank != NO_RANK)
		heap_push(h, s[i].rank, i);
}

static void
merge_symbols(const struct tokenizer *t, struct symbol *s, struct heap *h)
{
	while (h->n > 0) {
		uint64_t top = heap_pop(h);
		uint32_t i = (uint32_t)top, gone;

		if (s[i].id < 0 || s[i].rank != (int32_t)(top >> 32))
			continue;	/* it has changed since */
		gone = s[i].next;
		s[i].id = s[i].to;
		s[i].next = s[gone].next;
		s[gone].id = -1;
		if (s[i].next != UINT32_MAX)
			s[s[i].next].prev = i;
		queue_pair(t, s, h, i);
		if (s[i].prev != UINT32_MAX)
			queue_pair(t, s, h, s[i].prev);
	}
}

static int
long_word(const struct tokenizer *t, const char *word, size_t n,
    struct ids *out)
{
	struct symbol *s = malloc(n * sizeof(*s));
	int32_t *id = malloc(n * sizeof(*id));
	/* n - 1 pairs at first, and each of at most n - 1 merges adds two. */
	struct heap h = { malloc(3 * n * sizeof(*h.v)), 0 };
	int rc = s == NULL || id == NULL || h.v == NULL ? ERR_NO_MEMORY : 0;

	if (rc == 0)
		n = first_tokens(t, word, n, id);
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		s[i].id = id[i];
		s[i].prev = i == 0 ? UINT32_MAX : i - 1;
		s[i].next = i + 1 == n ? UINT32_MAX : i + 1;
	}
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		queue_pair(t, s, &h, i);
	if (rc == 0)
		merge_symbols(t, s, &h);
	for (uint32_t i = 0; rc == 0 && i != UINT32_MAX; i = s[i].next)
		rc = ids_add(out, s[i].id);
	free(s);
	free(id);
	free(h.v);
	return rc;
}

int
bpe_word(const struct tokenizer *t, const char *word, size_t n,
    struct ids *out)
{
	if (n == 1 && !(t->flags & TOKENIZER_SPM))
		return ids_add(out, t->byte_id[(unsigned char)word[0]]);
	if (t->flags & TOKENIZER_IGNORE_MERGES) {
		int32_t id = bpe_find(t, word, n);

		if (id >= 0)
			return ids_add(out, id);
	}
	if (n <= SHORT_WORD)
		return short_word(t, word, n, out);
	return long_word(t, word, n, out);
}
