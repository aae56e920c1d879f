#ifndef MANIFEST_H
#define MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "err.h"
#include "store.h"

/*
 * Where a model is from: NAME.manifest.json, and, while it is being downloaded,
 * NAME.part.json.  JSON, so that other programs can read it; docs/model-files.md
 * shows one.  What is read is checked as if it came from outside.
 */
enum {
	MANIFEST_VERSION = 1,
	MANIFEST_FILES_MAX = 512,
	MANIFEST_BYTES_MAX = 2 << 20,
	MANIFEST_URL_MAX = 2048,
	MANIFEST_TEXT_MAX = 512,
	MANIFEST_SHA_LEN = 64,
	MANIFEST_TAG_MAX = 256,
};

struct manifest_file {
	char path[STORE_NAME_MAX + 1];
	char url[MANIFEST_URL_MAX + 1];
	/* What the server had when the first byte came: an entity tag with its
	 * quotes, or the time of Last-Modified; "" if it told neither. */
	char validator[MANIFEST_TAG_MAX + 1];
	char sha256[MANIFEST_SHA_LEN + 1];	/* of what came; "": not all has */
	char expected[MANIFEST_SHA_LEN + 1];	/* by whoever; "": nobody said */
	int64_t size;				/* bytes, -1: not known yet */
};

struct manifest {
	char name[STORE_NAME_MAX + 1];
	char source[MANIFEST_URL_MAX + 1];	/* what was asked for */
	char revision[MANIFEST_TEXT_MAX + 1];	/* commit, or "" */
	char licence[MANIFEST_TEXT_MAX + 1];	/* or "" */
	char pulled[32], verified[32];		/* RFC 3339 UTC, "" if not yet */
	bool directory;				/* else one file, called name */
	struct manifest_file *files;		/* owned */
	size_t n_files;
};

/* A file for each of n, all empty. */
int manifest_init(struct manifest *m, size_t n, struct err *e);
void manifest_finish(struct manifest *m);

/* text [n] as a manifest; what names the text in errors. */
int manifest_parse(const char *text, size_t n, const char *what,
    struct manifest *m, struct err *e);
json_t *manifest_json(const struct manifest *m);	/* NULL: no memory */

/* file: NAME.manifest.json or NAME.part.json in s.  ERR_NOT_FOUND if absent.
 * Saving is atomic and synced. */
int manifest_load(const struct store *s, const char *file, struct manifest *m,
    struct err *e);
int manifest_save(const struct store *s, const char *file,
    const struct manifest *m, struct err *e);

/* Now, into out [32]. */
void manifest_now(char out[32]);

/* Is every file's sum as somebody said it should be? */
bool manifest_pinned(const struct manifest *m);

int64_t manifest_size(const struct manifest *m);	/* -1: not known */

#endif
