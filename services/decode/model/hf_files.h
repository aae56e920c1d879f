#ifndef DECODE_HF_FILES_H
#define DECODE_HF_FILES_H

#include <jansson.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

/* The small files of a Hugging Face checkpoint, read whole. */
enum {
	HF_CONFIG_MAX = 1 << 20,	/* bytes of config.json and its like */
	HF_INDEX_MAX = 64 << 20,	/* of model.safetensors.index.json */
	HF_TOKENIZER_MAX = 128 << 20,	/* of tokenizer.json */
};

/*
 * Append the contents of dir/name to out.  ERR_NOT_FOUND if there is no such
 * file, ERR_RANGE if it passes max bytes.
 */
int hf_files_read(const char *dir, const char *name, size_t max,
    struct buf *out, struct err *e);

/* dir/name parsed; a new reference. */
int hf_files_json(const char *dir, const char *name, size_t max, json_t **v,
    struct err *e);

/*
 * The chat template of tokenizer_config.json, appended to out: the text, or of
 * several the one named "default".  Nothing if there is none.
 */
int hf_files_template(const json_t *tokenizer_config, struct buf *out,
    struct err *e);

#endif
