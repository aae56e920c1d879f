/*
 * A full page is found through a hash of its parent's hash and its tokens, so a
 * chain of n pages takes n look-ups.  The hash only finds: parent and tokens are
 * compared, and since the parent is one page, which has been compared with its
 * own parent, equal means that every token before is equal too.  A collision
 * costs time and never an answer.
 *
 * Each (parent, tokens) is in the tree once.  That keeps a page's number a name
 * for its whole prefix, and memory for a prompt that many send is taken once.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kv_tree.h"

enum { SIBLINGS_MAX = 256 };	/* looked at, latest first: bounds a search */

int
kv_tree_init(struct kv_tree *t, int32_t n, struct err *e)
{
	size_t n_buckets = 16;

	while (n_buckets < (size_t)n)
		n_buckets *= 2;
	*t = (struct kv_tree){
		.mask = (uint32_t)n_buckets - 1, .n = n, .free = KV_NONE,
		.oldest = KV_NONE, .newest = KV_NONE, .first = KV_NONE,
	};
	t->nodes = calloc((size_t)n, sizeof(*t->nodes));
	t->buckets = malloc(n_buckets * sizeof(*t->buckets));
	if (t->nodes == NULL || t->buckets == NULL) {
		kv_tree_finish(t);
		return err_set(e, ERR_NO_MEMORY, "no memory for %d KV pages",
		    (int)n);
	}
	memset(t->buckets, 0xFF, n_buckets * sizeof(*t->buckets));
	for (int32_t i = n - 1; i >= 0; i--) {
		t->nodes[i].newer = t->free;
		t->free = i;
	}
	t->n_free = n;
	return 0;
}

void
kv_tree_finish(struct kv_tree *t)
{
	free(t->nodes);
	free(t->buckets);
	*t = (struct kv_tree){ 0 };
}

/* The finalizer of MurmurHash3 (Austin Appleby, public domain). */
static uint64_t
mix(uint64_t h)
{
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
	return h ^ h >> 33;
}

static uint64_t
hash_of(const struct kv_tree *t, int32_t parent, uint64_t salt,
    const int32_t *tokens)
{
	uint64_t h = parent != KV_NONE ? t->nodes[parent].hash : mix(~salt);

	for (int i = 0; i < KV_PAGE; i++)
		h = mix(h + (uint64_t)tokens[i] + 1);
	return h;
}

static int32_t *
first_child(struct kv_tree *t, int32_t parent)
{
	return parent != KV_NONE ? &t->nodes[parent].child : &t->first;
}

static void
leave_cache(struct kv_tree *t, int32_t page)
{
	struct kv_node *x = &t->nodes[page];

	*(x->older != KV_NONE ? &t->nodes[x->older].newer : &t->oldest) =
	    x->newer;
	*(x->newer != KV_NONE ? &t->nodes[x->newer].older : &t->newest) =
	    x->older;
	t->n_cached--;
}

static void
leave_tree(struct kv_tree *t, int32_t page)
{
	struct kv_node *x = &t->nodes[page];
	int32_t *at = &t->buckets[x->hash & t->mask];

	assert(x->child == KV_NONE);
	*(x->prev != KV_NONE ? &t->nodes[x->prev].next :
	    first_child(t, x->parent)) = x->next;
	if (x->next != KV_NONE)
		t->nodes[x->next].prev = x->prev;
	if (x->n_tokens == KV_PAGE) {
		while (*at != page)
			at = &t->nodes[*at].same_bucket;
		*at = x->same_bucket;
	}
	x->n_tokens = 0;
}

static void
push_free(struct kv_tree *t, int32_t page)
{
	t->nodes[page].newer = t->free;
	t->free = page;
	t->n_free++;
}

int32_t
kv_tree_take(struct kv_tree *t)
{
	int32_t page = t->free;

	if (page != KV_NONE) {
		t->free = t->nodes[page].newer;
		t->n_free--;
	} else if ((page = t->oldest) != KV_NONE) {
		leave_cache(t, page);
		leave_tree(t, page);
		t->n_evictions++;
	} else {
		return KV_NONE;
	}
	t->nodes[page].refs = 1;
	return page;
}

void
kv_tree_ref(struct kv_tree *t, int32_t page)
{
	if (t->nodes[page].refs++ == 0)
		leave_cache(t, page);
}

void
kv_tree_unref(struct kv_tree *t, int32_t page)
{
	struct kv_node *x = &t->nodes[page];

	assert(x->refs > 0);
	if (--x->refs > 0)
		return;
	if (x->n_tokens == 0) {
		push_free(t, page);
		return;
	}
	x->older = t->newest;
	x->newer = KV_NONE;
	*(t->newest != KV_NONE ? &t->nodes[t->newest].newer : &t->oldest) =
	    page;
	t->newest = page;
	t->n_cached++;
}

bool
kv_tree_forget(struct kv_tree *t, int32_t page)
{
	const struct kv_node *x = &t->nodes[page];

	if (x->refs > 0 || x->n_tokens == 0 || x->child != KV_NONE)
		return false;
	leave_cache(t, page);
	leave_tree(t, page);
	push_free(t, page);
	return true;
}

int32_t
kv_tree_find(const struct kv_tree *t, int32_t parent, uint64_t salt,
    const int32_t *tokens)
{
	uint64_t h = hash_of(t, parent, salt, tokens);
	int32_t page = t->buckets[h & t->mask];

	for (; page != KV_NONE; page = t->nodes[page].same_bucket) {
		const struct kv_node *x = &t->nodes[page];

		if (x->parent == parent && x->salt == salt &&
		    memcmp(x->tokens, tokens, sizeof(x->tokens)) == 0)
			return page;
	}
	return KV_NONE;
}

static int32_t
n_equal(const int32_t *a, const int32_t *b, int32_t n)
{
	int32_t i = 0;

	while (i < n && a[i] == b[i])
		i++;
	return i;
}

int32_t
kv_tree_find_part(const struct kv_tree *t, int32_t parent, uint64_t salt,
    const int32_t *tokens, int32_t n, int32_t *n_same)
{
	int32_t page = parent != KV_NONE ? t->nodes[parent].child : t->first;
	int32_t best = KV_NONE, most = 0;

	for (int i = 0; page != KV_NONE && i < SIBLINGS_MAX; i++) {
		const struct kv_node *x = &t->nodes[page];
		int32_t same = x->salt != salt ? 0 : n_equal(x->tokens, tokens,
		    x->n_tokens < n ? x->n_tokens : n);

		if (same > most) {
			most = same;
			best = page;
		}
		page = x->next;
	}
	if (best != KV_NONE)
		*n_same = most;
	return best;
}

/* Is there one that begins with tokens already?  If not, those that are the
 * beginning of tokens go, unless somebody holds them. */
static bool
is_covered(struct kv_tree *t, int32_t parent, uint64_t salt,
    const int32_t *tokens, int32_t n)
{
	int32_t page = *first_child(t, parent), next;

	for (int i = 0; page != KV_NONE && i < SIBLINGS_MAX; i++, page = next) {
		const struct kv_node *x = &t->nodes[page];
		int32_t same = x->salt != salt ? 0 : n_equal(x->tokens, tokens,
		    x->n_tokens < n ? x->n_tokens : n);

		next = x->next;
		if (same == n)
			return true;
		if (same == x->n_tokens)
			kv_tree_forget(t, page);
	}
	return false;
}

bool
kv_tree_insert(struct kv_tree *t, int32_t page, int32_t parent, uint64_t salt,
    const int32_t *tokens, int32_t n)
{
	struct kv_node *x = &t->nodes[page];
	int32_t *first;

	assert(x->refs > 0 && x->n_tokens == 0 && n > 0 && n <= KV_PAGE);
	if ((n == KV_PAGE &&
	    kv_tree_find(t, parent, salt, tokens) != KV_NONE) ||
	    is_covered(t, parent, salt, tokens, n))
		return false;
	first = first_child(t, parent);
	x->n_tokens = n;
	x->parent = parent;
	x->salt = salt;
	x->child = x->prev = KV_NONE;
	x->next = *first;
	if (*first != KV_NONE)
		t->nodes[*first].prev = page;
	*first = page;
	memcpy(x->tokens, tokens, (size_t)n * sizeof(*tokens));
	if (n < KV_PAGE)
		return true;
	x->hash = hash_of(t, parent, salt, tokens);
	x->same_bucket = t->buckets[x->hash & t->mask];
	t->buckets[x->hash & t->mask] = page;
	return true;
}
