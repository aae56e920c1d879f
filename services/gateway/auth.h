#ifndef GATEWAY_AUTH_H
#define GATEWAY_AUTH_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "sha256.h"

/*
 * The keys that clients may show.  Only their SHA-256 digests are kept, and a
 * key shown is compared by its digest with each of them, all of them every
 * time, in constant time.  Any thread may ask, also while another reads the
 * file again.
 */
enum { AUTH_NAME_MAX = 32, AUTH_DEFAULT = -1 };

struct auth_key {
	uint8_t digest[SHA256_SIZE];	/* zeros: nobody is asked for a key */
	char name[AUTH_NAME_MAX + 1];	/* for logs; "" as above */
	bool admin;
	int64_t rpm, tpm;	/* requests, tokens a minute; 0: no limit;
				 * AUTH_DEFAULT: not said */
};

struct auth {
	pthread_rwlock_t lock;
	struct auth_key *keys;		/* owned */
	size_t n;			/* 0: no key is asked for */
};

void auth_init(struct auth *a);
void auth_free(struct auth *a);

/*
 * Read path: a key per line, then any of the words
 *
 *	admin		may see and end what belongs to others
 *	name=ann	in logs; 1 to 32 of A-Z a-z 0-9 . _ -; else key1, key2...
 *	rpm=60 tpm=9000	requests and tokens a minute; 0: no limit
 *
 * after blanks.  A key is 8 to 256 visible ASCII characters, or "sha256:" and
 * the 64 hex digits of its digest; empty lines and lines that begin with '#'
 * are skipped.  A file without any key is refused: it would open the door; so
 * is a key that is there twice.  ERR_SYSTEM if it cannot be read, ERR_BAD_FILE
 * with the line otherwise; the sentence never has a word of the file in it.
 * After a failure the keys are those of before.
 */
int auth_load(struct auth *a, const char *path, struct err *e);

/* How many there are. */
size_t auth_count(struct auth *a);

/*
 * May the bearer of this key (NULL: none shown) enter?  Then *key is a copy of
 * what is known of it.  Where no key is asked for, everybody may: as a key
 * without a name, of zeros, that is no admin.
 */
bool auth_find(struct auth *a, const char *bearer, struct auth_key *key);

#endif
