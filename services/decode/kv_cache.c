/*
 * A sequence has shared pages, which are in the tree and are not written to, and
 * after them private ones.  Pages become shared when they are full, and at the
 * sequence's end.  References go along whole chains, and are let go of from the
 * end: what has no reference is then evicted suffix first.
 */
#include <assert.h>

#include "kv_cache.h"

int
kv_cache_init(struct kv_cache *c, int32_t n_pages, int32_t n_reserved,
    bool sharing, struct err *e)
{
	*c = (struct kv_cache){ .sharing = sharing,
		.pins_max = n_pages > n_reserved ? n_pages - n_reserved : 0 };
	return kv_tree_init(&c->tree, n_pages, e);
}

void
kv_cache_finish(struct kv_cache *c)
{
	kv_tree_finish(&c->tree);
}

int32_t
kv_cache_available(const struct kv_cache *c)
{
	return c->tree.n_free + c->tree.n_cached;
}

/* The page that what comes after the first n pages of q follows. */
static int32_t
parent_of(const struct kv_seq *q, int32_t n)
{
	return n > 0 ? q->pages[n - 1] : KV_NONE;
}

int32_t
kv_cache_match(struct kv_cache *c, struct kv_seq *q, const int32_t *tokens,
    int32_t n_fed, int32_t n)
{
	if (!c->sharing || q->alone || n_fed != q->n_shared * KV_PAGE)
		return n_fed;
	for (; n_fed + KV_PAGE <= n; n_fed += KV_PAGE) {
		int32_t k = q->n_shared;
		int32_t page = kv_tree_find(&c->tree, parent_of(q, k), q->salt,
		    tokens + n_fed);

		if (page == KV_NONE)
			break;
		kv_tree_ref(&c->tree, page);
		if (k < q->n_pages)
			kv_tree_unref(&c->tree, q->pages[k]);
		else
			q->n_pages++;
		q->pages[k] = page;
		q->n_shared++;
	}
	return n_fed;
}

static int32_t
pages_of(int32_t n_tokens)
{
	return (n_tokens + KV_PAGE - 1) / KV_PAGE;
}

bool
kv_cache_has(const struct kv_cache *c, const struct kv_seq *q,
    int32_t n_tokens)
{
	return pages_of(n_tokens) - q->n_pages <= kv_cache_available(c);
}

bool
kv_cache_grow(struct kv_cache *c, struct kv_seq *q, int32_t n_tokens)
{
	int32_t n = pages_of(n_tokens);

	n = n < q->room ? n : q->room;
	if (n - q->n_pages > kv_cache_available(c))
		return false;
	while (q->n_pages < n)
		q->pages[q->n_pages++] = kv_tree_take(&c->tree);
	return true;
}

void
kv_cache_hold(struct kv_cache *c, int32_t page)
{
	for (; page != KV_NONE; page = c->tree.nodes[page].parent)
		kv_tree_ref(&c->tree, page);
}

int32_t
kv_cache_hold_part(struct kv_cache *c, const struct kv_seq *q,
    const int32_t *tokens, int32_t n, int32_t *n_same)
{
	int32_t page = KV_NONE;

	if (c->sharing && !q->alone)
		page = kv_tree_find_part(&c->tree, parent_of(q, q->n_shared),
		    q->salt, tokens, n, n_same);
	kv_cache_hold(c, page);
	return page;
}

void
kv_cache_drop(struct kv_cache *c, int32_t page)
{
	while (page != KV_NONE) {
		int32_t parent = c->tree.nodes[page].parent;

		kv_tree_unref(&c->tree, page);
		page = parent;
	}
}

void
kv_cache_commit(struct kv_cache *c, struct kv_seq *q, const int32_t *tokens,
    int32_t n_fed)
{
	struct kv_tree *t = &c->tree;

	if (!c->sharing || q->alone)
		return;
	for (; (q->n_shared + 1) * KV_PAGE <= n_fed; q->n_shared++) {
		int32_t k = q->n_shared, parent = parent_of(q, k);
		const int32_t *at = tokens + (size_t)k * KV_PAGE;
		int32_t twin;

		if (kv_tree_insert(t, q->pages[k], parent, q->salt, at, KV_PAGE))
			continue;
		twin = kv_tree_find(t, parent, q->salt, at);
		assert(twin != KV_NONE);
		kv_tree_ref(t, twin);
		kv_tree_unref(t, q->pages[k]);
		q->pages[k] = twin;
	}
}

void
kv_cache_release(struct kv_cache *c, struct kv_seq *q, const int32_t *tokens,
    int32_t n_fed)
{
	int32_t k;

	kv_cache_commit(c, q, tokens, n_fed);
	k = q->n_shared;
	if (c->sharing && !q->alone && n_fed > k * KV_PAGE)
		kv_tree_insert(&c->tree, q->pages[k], parent_of(q, k), q->salt,
		    tokens + (size_t)k * KV_PAGE, n_fed - k * KV_PAGE);
	while (q->n_pages > 0)
		kv_tree_unref(&c->tree, q->pages[--q->n_pages]);
	q->n_shared = 0;
}

/* The last of the full pages that tokens [n] begin with; *n_found: theirs. */
static int32_t
find_full(const struct kv_cache *c, uint64_t salt, const int32_t *tokens,
    int32_t n, int32_t *n_found)
{
	int32_t at = KV_NONE, page;

	for (*n_found = 0; *n_found + KV_PAGE <= n; *n_found += KV_PAGE) {
		page = kv_tree_find(&c->tree, at, salt, tokens + *n_found);
		if (page == KV_NONE)
			break;
		at = page;
	}
	return at;
}

int32_t
kv_cache_find(const struct kv_cache *c, uint64_t salt, const int32_t *tokens,
    int32_t n, int32_t *n_found)
{
	int32_t at = find_full(c, salt, tokens, n, n_found), n_same;
	int32_t page = kv_tree_find_part(&c->tree, at, salt, tokens + *n_found,
	    n - *n_found, &n_same);

	if (page != KV_NONE && (c->tree.nodes[page].n_tokens == n_same ||
	    *n_found + n_same >= n - 1)) {
		*n_found += n_same;
		at = page;
	}
	return at;
}

int32_t
kv_cache_known(const struct kv_cache *c, uint64_t salt, const int32_t *tokens,
    int32_t n)
{
	int32_t n_found, n_same = 0;
	int32_t at = find_full(c, salt, tokens, n, &n_found);

	kv_tree_find_part(&c->tree, at, salt, tokens + n_found, n - n_found,
	    &n_same);
	return n_found + n_same;
}

int
kv_cache_pin(struct kv_cache *c, int32_t page, struct err *e)
{
	struct kv_node *nodes = c->tree.nodes;
	int32_t n = 0;

	for (int32_t p = page; p != KV_NONE; p = nodes[p].parent)
		n += nodes[p].pins == 0;
	if (c->tree.n_pinned + n > c->pins_max)
		return err_set(e, ERR_BUSY, "%d pages of the KV cache are "
		    "pinned, %d more would be over the limit of %d",
		    (int)c->tree.n_pinned, (int)n, (int)c->pins_max);
	c->tree.n_pinned += n;
	for (int32_t p = page; p != KV_NONE; p = nodes[p].parent)
		nodes[p].pins++;
	kv_cache_hold(c, page);
	return 0;
}

void
kv_cache_unpin(struct kv_cache *c, int32_t page)
{
	struct kv_node *nodes = c->tree.nodes;

	for (int32_t p = page; p != KV_NONE; p = nodes[p].parent)
		c->tree.n_pinned -= --nodes[p].pins == 0;
	kv_cache_drop(c, page);
}

void
kv_cache_forget(struct kv_cache *c, int32_t page, int32_t n_keep)
{
	const struct kv_node *nodes = c->tree.nodes;
	int32_t n = 0;

	for (int32_t p = page; p != KV_NONE; p = nodes[p].parent)
		n++;
	for (; n > n_keep; n--) {
		int32_t parent = nodes[page].parent;

		if (!kv_tree_forget(&c->tree, page))
			return;
		page = parent;
	}
}
