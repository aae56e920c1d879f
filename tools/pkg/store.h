#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/*
 * A directory of models.  A model NAME is one file or one flat directory of
 * files; beside it stand
 *
 *	NAME.manifest.json	where it is from (manifest.h)
 *	NAME.part, NAME.part.json	what has come of a download, and its manifest
 *	.NAME.lock		held while something changes NAME
 *
 * Everything is done relative to the directory's descriptor, by names that
 * store_check_name let pass, so nothing outside it is ever touched.
 */
enum { STORE_NAME_MAX = 128 };

struct store {
	int fd;
	char *path;		/* owned */
};

/*
 * dir, or if it is NULL: $HALO_MODELS_DIR; else /var/lib/1bit-halo/models if
 * that can be written; else $XDG_DATA_HOME/1bit-halo/models, for which
 * ~/.local/share stands in.  create: make it, with its parents.
 */
int store_open(struct store *s, const char *dir, bool create, struct err *e);
void store_close(struct store *s);

/*
 * Is name one that a model may have: 1 to STORE_NAME_MAX letters, digits,
 * '.', '_', '+', '-', beginning with a letter or digit, and not ending like the
 * files beside it?
 */
int store_check_name(const char *name, struct err *e);

/* Any text as such a name, as well as it goes; false if nothing is left. */
bool store_clean_name(const char *text, char out[STORE_NAME_MAX + 1]);

/* name and suffix in out [STORE_PATH_MAX]; returns out. */
enum { STORE_PATH_MAX = STORE_NAME_MAX + 32 };
char *store_beside(const char *name, const char *suffix, char *out);

/* *lock gets a descriptor; ERR_BUSY if another process has it. */
int store_lock(const struct store *s, const char *name, int *lock,
    struct err *e);
void store_unlock(const struct store *s, const char *name, int lock);

bool store_exists(const struct store *s, const char *name);

/* What it is, from its first bytes: "h1b", "gguf", "safetensors" for a
 * directory with config.json; NULL for anything else.  Static. */
const char *store_format(const struct store *s, const char *name);

/* Bytes of a file, or of all files in a directory. */
int64_t store_size(const struct store *s, const char *name);

/* sha256 of a file, as hex [65], and its size. */
int store_sum(const struct store *s, const char *name, char *hex,
    int64_t *size, struct err *e);

/*
 * Remove a file or a flat directory; nothing if it is not there.  A directory
 * that holds another is refused, before anything is removed.
 */
int store_remove(const struct store *s, const char *name, struct err *e);

/* All names in the directory, sorted; to be freed with store_free_names. */
int store_names(const struct store *s, char ***names, size_t *n,
    struct err *e);
void store_free_names(char **names, size_t n);

#endif
