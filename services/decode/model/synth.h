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
 * embedding and output matrix.  progress may be NULL.  Errors are h1b_write's.
 */
int synth_write(const char *path, const struct model_config *c,
    enum dense_type head, uint64_t seed,
    void (*progress)(void *arg, uint64_t done, uint64_t total), struct err *e);

/* synth_write with head I8 for an odd seed and BF16 for an even one. */
int model_write_random(const char *path, const struct model_config *c,
    uint64_t seed, struct err *e);

/*
 * The sizes of a known model: "bitnet-2b4t" (microsoft/bitnet-b1.58-2B-4T),
 * "halo-demo", "tiny".  ERR_NOT_FOUND for another name.
 */
int synth_config(const char *arch, struct model_config *c, struct err *e);

#endif
