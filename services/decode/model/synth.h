#ifndef DECODE_SYNTH_H
#define DECODE_SYNTH_H

#include <stdint.h>

#include "err.h"
#include "model/model.h"

/*
 * Models of random weights, of any size: for tests with odd shapes, and to
 * measure the speed of a model without having it.  The same arguments give the
 * same bytes, on every machine.
 *
 * Weights are -1, 0, +1 alike, scales differ by row and keep activations near
 * one, norms are near one.  The tokenizer has the 256 bytes as ids 0..255 and,
 * if their ids are 256 or more, bos as "<|begin_of_text|>", eos[0] as
 * "<|eot_id|>" and eos[1] as "<|end_of_text|>"; other ids are holes.  With a
 * vocab below 256 the blob is empty.  The chat template is BitNet's.
 */

/*
 * Write a model of sizes c to path, replacing what is there.  head: type of
 * embedding and output matrix; if it is packed, of the latter alone, and the
 * former is I8.  progress may be NULL.  Errors are h1b_write's.
 */
int synth_write(const char *path, const struct model_config *c,
    enum dense_type head, uint64_t seed,
    void (*progress)(void *arg, uint64_t done, uint64_t total), struct err *e);

/* synth_write with head I8 for an odd seed and BF16 for an even one. */
int model_write_random(const char *path, const struct model_config *c,
    uint64_t seed, struct err *e);

/* A model of a family, besides its sizes. */
struct synth_arch {
	struct model_config config;
	const char *architecture;	/* "llama" */
	int32_t group;		/* columns of a factor; 0: all of a row */
	int32_t segments;	/* above 1: of the columns of o and down, one
				 * factor each (TriLM's shards) */
	enum dense_type head;	/* as it is published */
	int32_t head_group;	/* above 0: ternary, I8 with groups */
	enum ternary_form body;
};

#define SYNTH_NAMES "bitnet-2b4t, trilm-3.9b, trilm-1.1b, bonsai-1.7b, " \
	"llama3-8b-1.58, falcon3-1b, halo-demo and tiny"

/* A model of SYNTH_NAMES.  ERR_NOT_FOUND for another name. */
int synth_find(const char *name, struct synth_arch *a, struct err *e);
int synth_config(const char *name, struct model_config *c, struct err *e);

/* As synth_write. */
int synth_write_arch(const char *path, const struct synth_arch *a,
    uint64_t seed, void (*progress)(void *arg, uint64_t done, uint64_t total),
    struct err *e);

#endif
