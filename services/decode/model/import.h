#ifndef DECODE_IMPORT_H
#define DECODE_IMPORT_H

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
 */
struct import;

/*
 * Open path and fill *s but for name, origin and progress; what it points to is
 * borrowed from *im until import_close.  ERR_UNSUPPORTED names what is
 * understood but not offered, ERR_BAD_FILE what is wrong with the file.
 */
int import_open(const char *path, struct import **im, struct h1b_source *s,
    struct err *e);
void import_close(struct import *im);	/* NULL is fine */

#endif
