#ifndef DECODE_LOAD_HF_H
#define DECODE_LOAD_HF_H

#include <jansson.h>

#include "tokenizer/parts.h"

/* What load_hf.c and load_hf_steps.c share: one tokenizer.json being read. */
struct loader {
	struct tokenizer *t;
	const json_t *root, *model, *vocab;
	const char **text;	/* [n_vocab], as in the file; borrowed */
	struct err *e;
};

int hf_bad(struct loader *l, const char *what);
int hf_unsupported(struct loader *l, const char *what, const char *name);
const char *hf_type_of(const json_t *v);	/* its "type", or "" */

/*
 * Flags and patterns of l->t from normalizer, pre_tokenizer and post_processor;
 * before the vocabulary is read.
 */
int hf_read_steps(struct loader *l);

#endif
