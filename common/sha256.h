#ifndef COMMON_SHA256_H
#define COMMON_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * SHA-256 (FIPS 180-4).  For fingerprints and for keys, which are compared by
 * their digests; not in any fast path.
 */
enum { SHA256_SIZE = 32 };

struct sha256 {
	uint32_t state[8];
	uint64_t n;		/* bytes added */
	uint8_t block[64];	/* the last n % 64 of them */
};

void sha256_init(struct sha256 *h);
void sha256_add(struct sha256 *h, const void *data, size_t n);
/* h is used up. */
void sha256_finish(struct sha256 *h, uint8_t out[SHA256_SIZE]);

/* All at once. */
void sha256(const void *data, size_t n, uint8_t out[SHA256_SIZE]);

/* Are the two equal?  Takes the same time wherever they differ. */
bool sha256_equal(const uint8_t a[SHA256_SIZE], const uint8_t b[SHA256_SIZE]);

/* 64 hex digits, either case, to 32 bytes; false if they are anything else. */
bool sha256_from_hex(const char *hex, uint8_t out[SHA256_SIZE]);

#endif
