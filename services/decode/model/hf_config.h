#ifndef DECODE_HF_CONFIG_H
#define DECODE_HF_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "buf.h"
#include "err.h"
#include "model/model.h"

/*
 * The small files of a Hugging Face checkpoint.  What is not understood and
 * would change the result is refused by name.
 */
enum {
	HF_CONFIG_MAX = 1 << 20,	/* bytes of config.json and its like */
	HF_INDEX_MAX = 64 << 20,	/* of model.safetensors.index.json */
	HF_TOKENIZER_MAX = 128 << 20,	/* of tokenizer.json */
};

struct hf_config {
	struct model_config config;
	/*
	 * What weight_scale means (transformers, integrations/bitnet.py): with
	 * linear_class "autobitlinear" the factor of the product, with
	 * "bitlinear", and where the class is not named, its inverse.
	 */
	bool divide;
	const char *architecture;	/* "bitnet-b1.58"; static */
};

/*
 * The sizes and switches of config.json, and the ids that end a generation:
 * those of both files.  generation: generation_config.json or NULL.
 */
int hf_config_parse(const json_t *config, const json_t *generation,
    struct hf_config *out, struct err *e);

/*
 * The chat template of tokenizer_config.json, appended to out: the text, or of
 * several the one named "default".  Nothing if there is none.
 */
int hf_config_template(const json_t *tokenizer_config, struct buf *out,
    struct err *e);

/* Append the contents of dir/name to out; ERR_RANGE if they pass max bytes. */
int hf_read_file(const char *dir, const char *name, size_t max,
    struct buf *out, struct err *e);

/* dir/name parsed; a new reference.  ERR_NOT_FOUND if there is no such file. */
int hf_read_json(const char *dir, const char *name, size_t max, json_t **v,
    struct err *e);

#endif
