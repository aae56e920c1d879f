#include "auth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 512, KEY_MIN = 8, KEY_MAX = 256, KEYS_MAX = 10000,
	DIGITS_MAX = 9 };

static const char hash_prefix[] = "sha256:", blanks[] = " \t",
	name_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	"0123456789._-";

void
auth_init(struct auth *a)
{
	*a = (struct auth){ 0 };
	pthread_rwlock_init(&a->lock, NULL);
}

void
auth_free(struct auth *a)
{
	free(a->keys);
	pthread_rwlock_destroy(&a->lock);
	*a = (struct auth){ 0 };
}

static int
parse_key(const char *word, uint8_t digest[SHA256_SIZE], struct err *e)
{
	size_t n = strlen(word), prefix = sizeof(hash_prefix) - 1;

	if (strncmp(word, hash_prefix, prefix) == 0) {
		if (!sha256_from_hex(word + prefix, digest))
			return err_set(e, ERR_BAD_FILE,
			    "sha256: is not followed by 64 hex digits");
		return 0;
	}
	if (n < KEY_MIN || n > KEY_MAX)
		return err_set(e, ERR_BAD_FILE,
		    "a key of %zu characters, not %d to %d", n, KEY_MIN,
		    KEY_MAX);
	for (size_t i = 0; i < n; i++)
		if (word[i] <= ' ' || word[i] > '~')
			return err_set(e, ERR_BAD_FILE, "a key with a "
			    "character that is not visible ASCII");
	sha256(word, n, digest);
	return 0;
}

/* What follows the '=' of rpm or tpm. */
static int
parse_rate(const char *digits, const char *what, int64_t *out, struct err *e)
{
	size_t n = strlen(digits);

	if (n == 0 || n > DIGITS_MAX || strspn(digits, "0123456789") != n)
		return err_set(e, ERR_BAD_FILE,
		    "%s= is not followed by a number of 1 to %d digits", what,
		    DIGITS_MAX);
	*out = strtoll(digits, NULL, 10);
	return 0;
}

static int
parse_word(const char *word, int n, struct auth_key *k, struct err *e)
{
	size_t length;

	if (strcmp(word, "admin") == 0) {
		k->admin = true;
		return 0;
	}
	if (strncmp(word, "rpm=", 4) == 0)
		return parse_rate(word + 4, "rpm", &k->rpm, e);
	if (strncmp(word, "tpm=", 4) == 0)
		return parse_rate(word + 4, "tpm", &k->tpm, e);
	/* It is not shown: it may be a part of a key. */
	if (strncmp(word, "name=", 5) != 0)
		return err_set(e, ERR_BAD_FILE, "word %d after the key is "
		    "none of admin, name=, rpm=, tpm=", n);
	length = strlen(word + 5);
	if (length == 0 || length > AUTH_NAME_MAX ||
	    strspn(word + 5, name_chars) != length)
		return err_set(e, ERR_BAD_FILE, "name= is not followed by 1 to "
		    "%d of A-Z a-z 0-9 . _ -", AUTH_NAME_MAX);
	memcpy(k->name, word + 5, length + 1);
	return 0;
}

static int
parse_line(char *line, struct auth_key *k, struct err *e)
{
	char *rest = NULL, *word = strtok_r(line, blanks, &rest);
	int r, n = 0;

	*k = (struct auth_key){ .rpm = AUTH_DEFAULT, .tpm = AUTH_DEFAULT };
	if ((r = parse_key(word, k->digest, e)) != 0)
		return r;
	while ((word = strtok_r(NULL, blanks, &rest)) != NULL)
		if ((r = parse_word(word, ++n, k, e)) != 0)
			return r;
	return 0;
}

static int
add_line(struct auth *a, char *line, struct err *e)
{
	struct auth_key k;
	void *grown;
	int r;

	if (strchr(line, '\n') == NULL && strlen(line) == LINE_MAX_BYTES - 1)
		return err_set(e, ERR_BAD_FILE, "the line is too long");
	line[strcspn(line, "\r\n")] = '\0';
	if (line[strspn(line, blanks)] == '\0' || line[0] == '#')
		return 0;
	if ((r = parse_line(line, &k, e)) != 0)
		return r;
	if (a->n == KEYS_MAX)
		return err_set(e, ERR_BAD_FILE, "more than %d keys", KEYS_MAX);
	for (size_t i = 0; i < a->n; i++)
		if (memcmp(a->keys[i].digest, k.digest, SHA256_SIZE) == 0)
			return err_set(e, ERR_BAD_FILE,
			    "the same key as number %zu", i + 1);
	if ((grown = realloc(a->keys, (a->n + 1) * sizeof(k))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the keys");
	a->keys = grown;
	if (k.name[0] == '\0')
		snprintf(k.name, sizeof(k.name), "key%zu", a->n + 1);
	a->keys[a->n++] = k;
	return 0;
}

/* The keys of path into new, which has none. */
static int
read_file(struct auth *new, const char *path, struct err *e)
{
	char line[LINE_MAX_BYTES];
	struct err why;
	FILE *fp = fopen(path, "re");
	int n = 0, r = 0;

	if (fp == NULL)
		return err_set(e, ERR_SYSTEM, "%s: %s", path, strerror(errno));
	while (r == 0 && fgets(line, sizeof(line), fp) != NULL) {
		n++;
		r = add_line(new, line, &why);
	}
	if (r != 0)
		err_set(e, why.code, "%s:%d: %s", path, n, why.text);
	else if (ferror(fp))
		r = err_set(e, ERR_SYSTEM, "%s: %s", path, strerror(errno));
	else if (new->n == 0)
		r = err_set(e, ERR_BAD_FILE, "%s: there is no key in it", path);
	fclose(fp);
	explicit_bzero(line, sizeof(line));
	return r;
}

int
auth_load(struct auth *a, const char *path, struct err *e)
{
	struct auth new = { 0 };
	struct auth_key *old = NULL;
	int r = read_file(&new, path, e);

	if (r == 0) {
		pthread_rwlock_wrlock(&a->lock);
		old = a->keys;
		a->keys = new.keys;
		a->n = new.n;
		pthread_rwlock_unlock(&a->lock);
		new.keys = old;
	}
	free(new.keys);
	return r;
}

size_t
auth_count(struct auth *a)
{
	size_t n;

	pthread_rwlock_rdlock(&a->lock);
	n = a->n;
	pthread_rwlock_unlock(&a->lock);
	return n;
}

/* The index of digest, or n; as long whichever it is. */
static size_t
find(const struct auth *a, const uint8_t digest[SHA256_SIZE])
{
	volatile size_t found = a->n;

	for (size_t i = 0; i < a->n; i++) {
		size_t mask = 0 - (size_t)sha256_equal(digest,
		    a->keys[i].digest);

		found = (found & ~mask) | (i & mask);
	}
	return found;
}

bool
auth_find(struct auth *a, const char *bearer, struct auth_key *key)
{
	uint8_t digest[SHA256_SIZE] = { 0 };
	bool entered = true;
	size_t i;

	if (bearer != NULL)
		sha256(bearer, strlen(bearer), digest);
	pthread_rwlock_rdlock(&a->lock);
	if (a->n == 0)
		*key = (struct auth_key){ .rpm = AUTH_DEFAULT,
			.tpm = AUTH_DEFAULT };
	else if (bearer == NULL || (i = find(a, digest)) == a->n)
		entered = false;
	else
		*key = a->keys[i];
	pthread_rwlock_unlock(&a->lock);
	return entered;
}
