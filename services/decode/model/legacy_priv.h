#ifndef DECODE_LEGACY_PRIV_H
#define DECODE_LEGACY_PRIV_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "model/h1b.h"

/* What the files of legacy*.c share; nobody else includes this. */
enum { LEGACY_MATRICES = 7, LEGACY_VECTORS = 4 };

/* Within a layer, bytes. */
struct legacy_matrix {
	uint64_t at, row;	/* where it begins; a row's length */
	uint64_t scales;
};

struct legacy {
	char *what;		/* owned */
	const uint8_t *bytes;	/* [n] */
	uint64_t n;
	void *map;		/* the same, owned; NULL after legacy_parse */
	int32_t version;
	struct model_config config;
	uint64_t header;	/* bytes */
	uint64_t layers;	/* where the first begins */
	uint64_t layer;		/* bytes of one */
	uint64_t vectors[LEGACY_VECTORS];
	struct legacy_matrix matrices[LEGACY_MATRICES];
	struct buf tokenizer;	/* as tokenizer_save made it */
	const char *chat_template;	/* static, or NULL */
};

/*
 * One row of n weights to codes 0..2 [n].  -1, or a column whose byte is none
 * that a writer makes.
 */
int32_t legacy_2bit(const uint8_t *p, int32_t n, uint8_t *codes);
int32_t legacy_sherry(const uint8_t *p, int32_t n, uint8_t *codes);
int32_t legacy_base3(const uint8_t *p, int32_t n, uint8_t *codes);

const char *legacy_part_name(enum h1b_part part);	/* "q" */

/* The tokenizer beside path, and the ids and the template that follow from it. */
int legacy_texts_open(struct legacy *l, const char *path, struct err *e);

#endif
