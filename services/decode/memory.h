#ifndef DECODE_MEMORY_H
#define DECODE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/*
 * Large pieces of memory, in pages of 2 MiB where the system has them: weights,
 * KV cache, buffers.  With 4 KiB pages a stream of weights misses the TLB on
 * every page and the hardware's prefetcher stops there.
 *
 * Any thread.
 */
enum { MEMORY_HUGE_PAGE = 2 << 20 };

struct memory {
	void *p;		/* zeros, aligned to MEMORY_HUGE_PAGE; owned */
	size_t n;		/* bytes of the mapping, a multiple of that */
	bool reserved;		/* of the pages that the administrator reserved */
};

/* Memory that this process could have without swapping and within its control
 * groups, bytes; the most if nobody says. */
size_t memory_available(void);

/*
 * At least n bytes into *m; ERR_NO_MEMORY names `what`, n and what there is.
 * huge: ask for 2 MiB pages: reserved ones (vm.nr_hugepages) if there are
 * enough, which are taken at once; else transparent ones, which like small ones
 * are taken when they are written to.  What came of it memory_huge says.
 *
 * nodes: the NUMA nodes, a bit each, to which the pages are dealt out in turn;
 * one or none: as the system likes.  A page of 2 MiB holds more than one matrix
 * of a small model, so no member of a team can have its own rows beside it;
 * this way the memory of all nodes is read at once.
 */
int memory_take(size_t n, bool huge, uint64_t nodes, const char *what,
    struct memory *m, struct err *e);
void memory_free(struct memory *m);	/* one of zeros is fine */

/* Take all pages of m now.  ERR_NO_MEMORY as memory_take. */
int memory_populate(const struct memory *m, const char *what, struct err *e);

/* Bytes of p [n] that are in huge pages now, by the kernel's own count. */
size_t memory_huge(const void *p, size_t n);

/* The same, read from smaps: a file as /proc/self/smaps. */
size_t memory_huge_in(const char *smaps, const void *p, size_t n);

/* May there be transparent huge pages?  path: NULL for the system's own. */
bool memory_has_huge(const char *path);

/* Keep p [n] in memory.  ERR_SYSTEM names `what`, and the limit in the way. */
int memory_lock(const void *p, size_t n, const char *what, struct err *e);

#endif
