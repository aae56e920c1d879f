#include "auth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"

enum { LINE_MAX_BYTES = 512, KEY_MIN = 8, KEY_MAX = 256, KEYS_MAX = 10000 };

static const char hash_prefix[] = "sha256:";

static int
parse_line(const char *line, uint8_t digest[SHA256_SIZE], struct err *e)
{
	size_t n = strlen(line), prefix = sizeof(hash_prefix) - 1;

	if (strncmp(line, hash_prefix, prefix) == 0) {
		if (!sha256_from_hex(line + prefix, digest))
			return err_set(e, ERR_BAD_FILE,
			    "sha256: is not followed by 64 hex digits");
		return 0;
	}
	if (n < KEY_MIN || n > KEY_MAX)
		return err_set(e, ERR_BAD_FILE,
		    "a key of %zu characters, not %d to %d", n, KEY_MIN,
		    KEY_MAX);
	for (size_t i = 0; i < n; i++)
		if (line[i] <= ' ' || line[i] > '~')
			return err_set(e, ERR_BAD_FILE,
			    "a key with a blank or a character that is not "
			    "visible ASCII");
	sha256(line, n, digest);
	return 0;
}

static int
add_line(struct auth *a, char *line, struct err *e)
{
	uint8_t digest[SHA256_SIZE];
	void *grown;
	int r;

	if (strchr(line, '\n') == NULL && strlen(line) == LINE_MAX_BYTES - 1)
		return err_set(e, ERR_BAD_FILE, "the line is too long");
	line[strcspn(line, "\r\n")] = '\0';
	if (line[0] == '\0' || line[0] == '#')
		return 0;
	if ((r = parse_line(line, digest, e)) != 0)
		return r;
	if (a->n == KEYS_MAX)
		return err_set(e, ERR_BAD_FILE, "more than %d keys", KEYS_MAX);
	if ((grown = realloc(a->digests, (a->n + 1) * SHA256_SIZE)) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the keys");
	a->digests = grown;
	memcpy(a->digests[a->n++], digest, SHA256_SIZE);
	return 0;
}

int
auth_load(struct auth *a, const char *path, struct err *e)
{
	struct auth new = { 0 };
	char line[LINE_MAX_BYTES];
	struct err why;
	FILE *fp = fopen(path, "re");
	int n = 0, r = 0;

	if (fp == NULL)
		return err_set(e, ERR_SYSTEM, "%s: %s", path, strerror(errno));
	while (r == 0 && fgets(line, sizeof(line), fp) != NULL) {
		n++;
		r = add_line(&new, line, &why);
	}
	if (r != 0)
		err_set(e, why.code, "%s:%d: %s", path, n, why.text);
	else if (ferror(fp))
		r = err_set(e, ERR_SYSTEM, "%s: %s", path, strerror(errno));
	else if (new.n == 0)
		r = err_set(e, ERR_BAD_FILE, "%s: there is no key in it", path);
	fclose(fp);
	explicit_bzero(line, sizeof(line));
	if (r != 0)
		auth_free(&new);
	else
		*a = new;
	return r;
}

void
auth_free(struct auth *a)
{
	free(a->digests);
	*a = (struct auth){ 0 };
}

bool
auth_allows(const struct auth *a, const char *key)
{
	uint8_t digest[SHA256_SIZE];
	volatile unsigned found = 0;

	if (a->n == 0)
		return true;
	if (key == NULL)
		return false;
	sha256(key, strlen(key), digest);
	for (size_t i = 0; i < a->n; i++)
		found = found | sha256_equal(digest, a->digests[i]);
	return found != 0;
}
