#ifndef DECODE_KV_CACHE_H
#define DECODE_KV_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "kv_tree.h"

/*
 * Which pages of the KV cache a sequence has.  Pages are shared by prefix: what
 * was computed once, prompt or answer, is found by its tokens as long as memory
 * is not needed for something else.  A page in use is never written to by two,
 * and its content depends on the tokens before it alone (backend.h), so what a
 * sequence computes is the same with and without sharing.  One thread at a time.
 */
struct kv_cache {
	struct kv_tree tree;
	bool sharing;		/* false: nothing is found, nothing kept */
	int32_t pins_max;	/* pages that may be pinned */
};

/* The pages of one sequence. */
struct kv_seq {
	int32_t *pages;		/* [room] the caller's memory */
	int32_t room;
	int32_t n_pages;	/* that it has */
	int32_t n_shared;	/* the first of them, full and in the tree */
	uint64_t salt;		/* it shares with sequences of the same one */
	bool alone;		/* it finds nothing and leaves nothing */
};

/* n_reserved: pages that can never be pinned, so that one full context always
 * finds room.  sharing: as in the struct. */
int kv_cache_init(struct kv_cache *c, int32_t n_pages, int32_t n_reserved,
    bool sharing, struct err *e);
void kv_cache_finish(struct kv_cache *c);

/* Pages that a sequence could still get: free, or cached and needed by none. */
int32_t kv_cache_available(const struct kv_cache *c);

/*
 * Take what is known of tokens [n], of which the first n_fed are fed: whole
 * pages, in place of those that q has and has not written to.  Returns how many
 * tokens are fed now; n_fed if nothing was found, or if n_fed is in the middle
 * of a page.
 */
int32_t kv_cache_match(struct kv_cache *c, struct kv_seq *q,
    const int32_t *tokens, int32_t n_fed, int32_t n);

/* Could q have pages for n_tokens positions? */
bool kv_cache_has(const struct kv_cache *c, const struct kv_seq *q,
    int32_t n_tokens);
/* Have them, at most its room; false: there are too few, and q is as it was. */
bool kv_cache_grow(struct kv_cache *c, struct kv_seq *q, int32_t n_tokens);

/*
 * A page of the tree that begins with as many as possible of tokens [n], which
 * come after the pages that q shares: *n_same > 0 of them.  It is held until
 * kv_cache_drop, so that it can be copied.  KV_NONE if there is none.
 */
int32_t kv_cache_hold_part(struct kv_cache *c, const struct kv_seq *q,
    const int32_t *tokens, int32_t n, int32_t *n_same);
void kv_cache_drop(struct kv_cache *c, int32_t page);

/*
 * The rows of tokens [n_fed] are computed, and these are the tokens for good:
 * pages that are full can be found from now on.  Where another sequence was
 * first, q takes its page and gives back its own.
 */
void kv_cache_commit(struct kv_cache *c, struct kv_seq *q,
    const int32_t *tokens, int32_t n_fed);

/* q has no pages afterwards.  What is computed, tokens [n_fed], stays known, its
 * last page too, until memory is needed. */
void kv_cache_release(struct kv_cache *c, struct kv_seq *q,
    const int32_t *tokens, int32_t n_fed);

/*
 * The last page of what is known of tokens [n], with *n_found of them.  A page that
 * goes on with other tokens is the last one if it has what is left of these, but
 * for one, whose row may not be computed; KV_NONE if nothing is known.  Good until
 * the next call but kv_cache_pin.
 */
int32_t kv_cache_find(const struct kv_cache *c, uint64_t salt,
    const int32_t *tokens, int32_t n, int32_t *n_found);

/* How many of tokens [n] a sequence of this salt would find, copies of parts of
 * pages among them. */
int32_t kv_cache_known(const struct kv_cache *c, uint64_t salt,
    const int32_t *tokens, int32_t n);

/*
 * Keep page and all before it until they are unpinned as often as they were
 * pinned.  ERR_BUSY if then fewer than n_reserved pages were left for others.
 */
int kv_cache_pin(struct kv_cache *c, int32_t page, struct err *e);
void kv_cache_unpin(struct kv_cache *c, int32_t page);

/* Page and all before it are neither written to nor forgotten until
 * kv_cache_drop; KV_NONE is fine. */
void kv_cache_hold(struct kv_cache *c, int32_t page);

/* Free page and those before it at once, from the end on, but not the first
 * n_keep, nor one that somebody needs or that something else follows. */
void kv_cache_forget(struct kv_cache *c, int32_t page, int32_t n_keep);

#endif
