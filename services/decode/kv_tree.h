#ifndef DECODE_KV_TREE_H
#define DECODE_KV_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "err.h"

/*
 * The pages of the KV cache and what is in them.  A page is private (one
 * sequence writes to it, the tree does not know it), in the tree, or free.
 * The tree has the pages that nobody will write to again: a page is found by
 * its parent, which stands for all tokens before it, and by its own tokens.
 * Those with KV_PAGE tokens can have children; those with fewer are leaves.
 * Pages that nobody needs stay, until memory is needed: least recently used
 * first.  One thread at a time.
 */
enum { KV_NONE = -1 };

struct kv_node {
	int32_t refs;		/* sequences and holds that need it */
	int32_t pins;		/* of these, pins */
	int32_t n_tokens;	/* in the tree; 0: it is not in it */
	int32_t parent;		/* KV_NONE: begins a sequence */
	int32_t child, prev, next;	/* first child; siblings */
	int32_t older, newer;	/* among those that nobody needs */
	int32_t same_bucket;	/* full pages: the next of the bucket */
	uint64_t salt, hash;	/* hash: of the whole chain */
	int32_t tokens[KV_PAGE];/* [n_tokens] */
};

struct kv_tree {
	struct kv_node *nodes;	/* [n] by page number; owned */
	int32_t *buckets;	/* [mask + 1] full pages by hash; owned */
	uint32_t mask;
	int32_t n;
	int32_t free, n_free;	/* stack through newer: low numbers first */
	int32_t oldest, newest, n_cached;	/* in the tree, nobody needs them */
	int32_t first;		/* of those that begin a sequence */
	int32_t n_pinned;
	int64_t n_evictions;
};

int kv_tree_init(struct kv_tree *t, int32_t n, struct err *e);
void kv_tree_finish(struct kv_tree *t);

/* A page with one reference, whose content is lost; KV_NONE: all are needed. */
int32_t kv_tree_take(struct kv_tree *t);

/* refs changes by one.  The last unref leaves a page of the tree in the cache,
 * any other is free.  Children are let go of before their parents: then they
 * are evicted first, so a page in the tree always has its parent there. */
void kv_tree_ref(struct kv_tree *t, int32_t page);
void kv_tree_unref(struct kv_tree *t, int32_t page);

/* Free a page of the tree.  False if it is needed, or others follow it. */
bool kv_tree_forget(struct kv_tree *t, int32_t page);

/* The full page with these KV_PAGE tokens after parent, or KV_NONE.  salt
 * counts where a sequence begins. */
int32_t kv_tree_find(const struct kv_tree *t, int32_t parent, uint64_t salt,
    const int32_t *tokens);

/* The page after parent that begins with most of tokens [n]; *n_same > 0 is
 * how many.  KV_NONE if there is none. */
int32_t kv_tree_find_part(const struct kv_tree *t, int32_t parent,
    uint64_t salt, const int32_t *tokens, int32_t n, int32_t *n_same);

/*
 * page, which has tokens [n] after parent, 1..KV_PAGE, is not written to any
 * more.  False if the tree has another one for it: then page stays outside.
 * Shorter pages that this one makes useless are free.
 */
bool kv_tree_insert(struct kv_tree *t, int32_t page, int32_t parent,
    uint64_t salt, const int32_t *tokens, int32_t n);

#endif
