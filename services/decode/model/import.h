#ifndef DECODE_IMPORT_H
#define DECODE_IMPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "model/h1b.h"

/*
 * Whatever a user has, as the source of a .h1b: told apart by content, never by
 * name.  A reader per container fills a struct h1b_source; from there on there
 * is one way, to a file (1bit-halo-pkg convert) or to memory (--model given
 * something that is no .h1b of version 6), so what a model computes does not
 * depend on which of the two it took.
 *
 *	directory, or a .safetensors in one	hf.h
 *	"GGUF"					gguf_model.h
 *	"H1B\0", versions 1 to 4		legacy.h
 *	"H1B\0", version 6			h1b.h
 */
struct import;

/*
 * Open path and fill *s but for what is the writer's; what it points to is
 * borrowed from *im until import_close.  s->name is that of the file without
 * its ending, or of the directory, or what a .h1b of version 6 says; s->origin
 * is likewise.  ERR_UNSUPPORTED names what is understood but not offered,
 * ERR_BAD_FILE what is wrong with the file.
 */
int import_open(const char *path, struct import **im, struct h1b_source *s,
    struct err *e);
void import_close(struct import *im);	/* NULL is fine */

/* path before a sentence about its contents, with code rc, unless it is there. */
void import_name_error(const char *path, int rc, struct err *e);

/* What people should know of how it was read, or ""; borrowed from im. */
const char *import_note(const struct import *im);

/*
 * The name that a model gets from its path: that of the file without .h1b,
 * .gguf or .safetensors, that of a directory.  At most cap bytes with the NUL,
 * printable ASCII ('?' for others).
 */
void import_name(const char *path, char *out, size_t cap);

/* Is path a .h1b of version 6, which needs no importing? */
bool import_is_h1b(const char *path);

#endif
