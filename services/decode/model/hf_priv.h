#ifndef DECODE_HF_PRIV_H
#define DECODE_HF_PRIV_H

#include <jansson.h>
#include <stdint.h>

#include "buf.h"
#include "model/h1b.h"
#include "model/hf_config.h"
#include "model/safetensors.h"

/* What the files of hf*.c share; nobody else includes this. */
enum { HF_SHARDS_MAX = 4096, HF_TENSOR_NAME_MAX = 128 };

struct hf {
	struct hf_config config;
	struct safetensors *shards;	/* [n_shards] */
	char **names;			/* [n_shards] of their files */
	size_t n_shards;
	struct buf tokenizer;		/* as tokenizer_save made it */
	struct buf chat_template;
	int32_t groups[H1B_GROUPS];	/* by h1b_group_of; 0: a row */
	float *row;			/* [the longest row] */
	/* The tensor that is being read. */
	enum h1b_part part;
	int32_t layer;
	const struct safetensors_tensor *weight, *scale;
	float mean;			/* of |W|, of a master */
};

/* Map model.safetensors, or the files that its index names, each once. */
int hf_shards_open(struct hf *h, const char *dir, struct err *e);
void hf_shards_close(struct hf *h);

/* Give back the memory of what was read. */
void hf_shards_drop(const struct hf *h);

/* The tensor of a part, or with scale its weight_scale; NULL if there is none. */
const struct safetensors_tensor *hf_tensors_find(const struct hf *h,
    enum h1b_part part, int32_t layer, bool scale);

/* Names, shapes and dtypes of all tensors; none is missing or left over. */
int hf_tensors_check(const struct hf *h, struct err *e);

/*
 * Look at every ternary tensor that is of floats, for h->groups.  Takes as long
 * as reading the files.
 */
int hf_tensors_look(struct hf *h, struct err *e);

#endif
