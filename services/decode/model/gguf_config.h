#ifndef DECODE_GGUF_CONFIG_H
#define DECODE_GGUF_CONFIG_H

#include "err.h"
#include "model/gguf.h"
#include "model/model.h"

/*
 * What the metadata of a GGUF file says of a model: the sizes and switches, by
 * architecture.  A key of the architecture that is not known here is refused by
 * name unless its value means "off": it might change what the model computes.
 */
struct gguf_config {
	struct model_config config;	/* eos: those that keys name */
	const char *architecture;	/* static */
	bool permuted;		/* rows of Q and K stand in the order that
				 * interleaved RoPE wants */
	bool bitnet;		/* Microsoft's: the chat template in the file
				 * is not the one that it was trained with */
};

/*
 * ERR_UNSUPPORTED names what is understood (or not) but not offered,
 * ERR_BAD_FILE what is missing or wrong.
 */
int gguf_config_read(const struct gguf *g, struct gguf_config *out,
    struct err *e);

/* Add id to the ids that end a generation; one that is there or < 0 is not. */
void gguf_config_add_eos(struct model_config *c, int32_t id);

#endif
