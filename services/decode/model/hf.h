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
 * Which models: hf_config.h.  Ternary matrices are one of
 * - packed as transformers does it (integrations/bitnet.py, pack_weights): U8
 *   [ceil(n_out / 4), n_in], bits 2i..2i+1 of row r hold row i * ceil(n_out / 4)
 *   + r, as w + 1; with a `weight_scale` of one number, by which the product is
 *   multiplied or divided;
 * - the master of a BitNet, floats that are rounded when they are read, the
 *   factor being the mean that they are rounded by, as a float;
 * - floats that are -s, 0 or +s, whose factors are found by looking (see
 *   ternarize.h).  Such models have 16-bit activations (config.act_float).
 * The pairs of RoPE are (i, i + head_dim / 2) in all of them.
 */
struct hf;

/*
 * Everything but the values of packed weights is checked here: names, shapes,
 * dtypes, that nothing is missing or left over, and that floats which should be
 * ternary are: for that all of them are read.  ERR_UNSUPPORTED names what is
 * understood but not offered, ERR_BAD_FILE what is wrong.
 */
int hf_open(const char *dir, struct hf **h, struct err *e);
void hf_close(struct hf *h);		/* NULL is fine */

/*
 * Fill *s but for what is the writer's, and name and origin.  What it points to
 * is borrowed from h, and arg is h.
 */
void hf_source(struct hf *h, struct h1b_source *s);

#endif
