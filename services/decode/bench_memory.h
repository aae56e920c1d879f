#ifndef DECODE_BENCH_MEMORY_H
#define DECODE_BENCH_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/*
 * How fast n_threads threads read memory: a team as the cpu backend has it
 * (n_threads and pin as its options), over a buffer that no cache holds, in
 * pages of 2 MiB if huge.  Several ways to read are tried, since none is the
 * fastest everywhere: one to four streams, with and without prefetch.
 */
struct bench_memory {
	int n_threads;		/* 0 was resolved */
	size_t bytes;		/* of the buffer */
	bool huge;		/* most of it is in pages of 2 MiB */
	double rate;		/* bytes a second, the best pass of the best way */
	int n_streams;		/* of that way, */
	int ahead;		/* and bytes ahead of each that are prefetched; 0:
				 * the processor's own prefetcher alone */
};

/* ERR_NO_MEMORY; ERR_RANGE for n_threads. */
int bench_memory(int n_threads, bool pin, bool huge, struct bench_memory *out,
    struct err *e);

#endif
