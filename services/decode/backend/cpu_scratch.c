/*
 * A thread-local array would be simpler, but the C library puts those into the
 * stack of every thread of the process, and CivetWeb's have 100 KiB: they would
 * not start.  So a thread has a pointer, and its memory goes when it ends.
 */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "backend/cpu_kernels.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static _Thread_local uint8_t *own;

static void
make_key(void)
{
	int r = pthread_key_create(&key, free);

	assert(r == 0);
	(void)r;
}

/* The pointer also stands in the key, whose destructor frees it. */
static void
take(void)
{
	int r;

	pthread_once(&once, make_key);
	own = aligned_alloc(64, CPU_SCRATCH + CPU_SPAN);
	assert(own != NULL);	/* 74 KiB, once, in the self-check at start */
	r = pthread_setspecific(key, own);
	assert(r == 0);
	(void)r;
}

uint8_t *
cpu_scratch(void)
{
	if (own == NULL)
		take();
	return own;
}
