#ifndef GATEWAY_AUTH_H
#define GATEWAY_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/*
 * The keys that clients may show.  Only their SHA-256 digests are kept, and a
 * key shown is compared by its digest with each of them, all of them every
 * time, in constant time.  Immutable after auth_load, so any thread may ask.
 */
struct auth {
	unsigned char (*digests)[32];	/* owned */
	size_t n;			/* 0: no key is asked for */
};

/*
 * Read path: a key per line of 8 to 256 visible ASCII characters, or "sha256:"
 * and the 64 hex digits of its digest; empty lines and lines that begin with
 * '#' are skipped.  A file without any key is refused: it would open the door.
 * ERR_SYSTEM if it cannot be read, ERR_BAD_FILE with the line otherwise; the
 * sentence never has a key in it.
 */
int auth_load(struct auth *a, const char *path, struct err *e);
void auth_free(struct auth *a);

/* May the bearer of this key (NULL: none shown) enter? */
bool auth_allows(const struct auth *a, const char *key);

#endif
