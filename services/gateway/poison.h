#ifndef GATEWAY_POISON_H
#define GATEWAY_POISON_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "sha256.h"

/*
 * Requests that ended a worker, so that a client's own retry does not do it
 * again: hashes of prompt and parameters, with a key of this process, in memory
 * only and for a quarter of an hour.  Any thread.
 */
enum { POISON_MAX = 1024, POISON_MS = 15 * 60 * 1000 };

struct poison {
	pthread_mutex_t lock;
	uint8_t key[32];
	struct {
		uint8_t hash[SHA256_SIZE];
		int64_t until_ms;	/* 0: free */
	} entries[POISON_MAX];
	unsigned n;			/* added so far; a ring */
};

void poison_init(struct poison *p);

/* generate: decode_generate's members, not of a shared object: its texts and
 * parameters count, not its seed, its session or whose it is. */
void poison_add(struct poison *p, const json_t *generate, int64_t now_ms);
bool poison_has(struct poison *p, const json_t *generate, int64_t now_ms);

#endif
