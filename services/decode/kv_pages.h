#ifndef DECODE_KV_PAGES_H
#define DECODE_KV_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/*
 * Which pages of the KV cache are free.  A request takes all it can ever need
 * when it gets its slot, so a running one never waits for memory and nothing
 * can deadlock.  One thread at a time.
 */
struct kv_pages {
	int32_t *free;		/* [n] the first n_free are free; owned */
	int32_t n, n_free;
};

int kv_pages_init(struct kv_pages *p, int32_t n, struct err *e);
void kv_pages_finish(struct kv_pages *p);

/* Take n into pages [n]; all or none. */
bool kv_pages_take(struct kv_pages *p, int32_t *pages, int32_t n);
void kv_pages_give(struct kv_pages *p, const int32_t *pages, int32_t n);

#endif
