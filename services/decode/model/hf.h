#ifndef DECODE_HF_H
#define DECODE_HF_H

#include "err.h"
#include "model/h1b.h"

/*
 * A Hugging Face checkpoint as a source of a .h1b: config.json,
 * generation_config.json, tokenizer.json, tokenizer_config.json (or
 * chat_template.jinja) and model.safetensors, or several with their index.
 * Weights are mapped, and read as they are asked for.
 *
 * Ternary matrices are packed as transformers does it (integrations/bitnet.py,
 * pack_weights): U8 [ceil(n_out / 4), n_in], bits 2i..2i+1 of row r hold row
 * i * ceil(n_out / 4) + r, as w + 1; with a `weight_scale` of one number.
 */
struct hf;

/*
 * Everything but the weights' values is checked here: names, shapes, dtypes,
 * and that nothing is missing or left over.  ERR_UNSUPPORTED names what is
 * understood but not offered, ERR_BAD_FILE what is wrong.
 */
int hf_open(const char *dir, struct hf **h, struct err *e);
void hf_close(struct hf *h);		/* NULL is fine */

/*
 * Fill *s, but for name, origin, embed_type, head_type and progress.  What it
 * points to is borrowed from h, and arg is h.
 */
void hf_source(struct hf *h, struct h1b_source *s);

#endif
