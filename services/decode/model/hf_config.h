#ifndef DECODE_HF_CONFIG_H
#define DECODE_HF_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"
#include "model/model.h"

/*
 * config.json and generation_config.json of a Hugging Face checkpoint.  A key
 * that would change the result and is not understood is refused by name.
 *
 *	architectures[0]	sub_norms	tensors
 *	BitNetForCausalLM	yes		packed or master, as quantization_config says
 *	BitnetForCausalLM	yes		master (1bitLLM's)
 *	LlamaForCausalLM	no		packed or master, or ternary as they are
 *	Qwen3ForCausalLM	no		the same, with norms of q and k
 */
enum hf_weights {
	HF_PACKED,	/* U8, four in a byte, with a weight_scale */
	HF_MASTER,	/* floats, rounded here as BitNet does */
	HF_TERNARY,	/* floats that are -s, 0, +s already */
};

struct hf_config {
	struct model_config config;
	enum hf_weights weights;
	/*
	 * What weight_scale means (transformers, integrations/bitnet.py): with
	 * linear_class "autobitlinear" the factor of the product, with
	 * "bitlinear", and where the class is not named, its inverse.
	 */
	bool divide;
	bool inner_norms;	/* the sub-norms' names are 1bitLLM's */
	const char *architecture;	/* "bitnet-b1.58"; static */
};

/*
 * The sizes and switches of config.json, and the ids that end a generation:
 * those of both files.  generation: generation_config.json or NULL.
 * ERR_UNSUPPORTED names what is understood but not offered, ERR_BAD_FILE what
 * is wrong.
 */
int hf_config_parse(const json_t *config, const json_t *generation,
    struct hf_config *out, struct err *e);

#endif
