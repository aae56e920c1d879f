#include <string.h>

#include "model/synth.h"

/*
 * Sizes and switches as their publishers' config.json have them; how the
 * factors lie as their papers and files have them.
 */
#define BITNET .act = MODEL_RELU2, .sub_norms = true, .tied = true
#define LLAMA .act = MODEL_SILU
#define TRILM LLAMA, .act_float = true, .n_ctx = 2048, .rope_theta = 10000, \
	.norm_eps = 1e-5f, .bos = 0, .eos = { 0 }, .n_eos = 1

static const struct {
	const char *name;
	struct synth_arch arch;
} known[] = {
	{ "bitnet-2b4t", { .architecture = "bitnet-b1.58", .head = DENSE_BF16,
	    .config = { BITNET, .vocab = 128256, .hidden = 2560,
	    .n_layers = 30, .n_heads = 20, .n_kv_heads = 5, .head_dim = 128,
	    .ffn = 6912, .n_ctx = 4096, .rope_theta = 500000,
	    .norm_eps = 1e-5f, .bos = 128000, .eos = { 128009, 128001 },
	    .n_eos = 2 } } },
	{ "trilm-3.9b", { .architecture = "llama", .head = DENSE_F16,
	    .segments = 6, .config = { TRILM, .vocab = 50688, .hidden = 3072,
	    .n_layers = 30, .n_heads = 24, .n_kv_heads = 24, .head_dim = 128,
	    .ffn = 9216 } } },
	{ "trilm-1.1b", { .architecture = "llama", .head = DENSE_F16,
	    .segments = 2, .config = { TRILM, .vocab = 50432, .hidden = 1792,
	    .n_layers = 24, .n_heads = 28, .n_kv_heads = 28, .head_dim = 64,
	    .ffn = 5120 } } },
	{ "bonsai-1.7b", { .architecture = "qwen3", .head = DENSE_I8,
	    .group = 128, .head_group = 128, .config = { LLAMA,
	    .act_float = true, .qk_norm = true, .tied = true,
	    .vocab = 151669, .hidden = 2048, .n_layers = 28, .n_heads = 16,
	    .n_kv_heads = 8, .head_dim = 128, .ffn = 6144, .n_ctx = 32768,
	    .rope_theta = 1000000, .norm_eps = 1e-6f, .bos = -1,
	    .eos = { 151645, 151643 }, .n_eos = 2 } } },
	{ "llama3-8b-1.58", { .architecture = "llama", .head = DENSE_BF16,
	    .config = { LLAMA, .vocab = 128256, .hidden = 4096,
	    .n_layers = 32, .n_heads = 32, .n_kv_heads = 8, .head_dim = 128,
	    .ffn = 14336, .n_ctx = 8192, .rope_theta = 500000,
	    .norm_eps = 1e-5f, .bos = 128000, .eos = { 128009 },
	    .n_eos = 1 } } },
	{ "falcon3-1b", { .architecture = "llama", .head = DENSE_BF16,
	    .config = { LLAMA, .vocab = 131072, .hidden = 2048,
	    .n_layers = 18, .n_heads = 8, .n_kv_heads = 4, .head_dim = 256,
	    .ffn = 8192, .n_ctx = 8192, .rope_theta = 1000042,
	    .norm_eps = 1e-6f, .bos = -1, .eos = { 11 }, .n_eos = 1 } } },
	{ "halo-demo", { .architecture = "bitnet-b1.58", .head = DENSE_BF16,
	    .config = { BITNET, .vocab = 8192, .hidden = 512, .n_layers = 10,
	    .n_heads = 8, .n_kv_heads = 4, .head_dim = 64, .ffn = 1536,
	    .n_ctx = 1024, .rope_theta = 500000, .norm_eps = 1e-5f,
	    .bos = 8187, .eos = { 8191, 8188 }, .n_eos = 2 } } },
	{ "tiny", { .architecture = "bitnet-b1.58", .head = DENSE_BF16,
	    .config = { BITNET, .vocab = 260, .hidden = 64, .n_layers = 2,
	    .n_heads = 4, .n_kv_heads = 2, .head_dim = 16, .ffn = 96,
	    .n_ctx = 128, .rope_theta = 10000, .norm_eps = 1e-5f,
	    .bos = 256, .eos = { 259, 257 }, .n_eos = 2 } } },
};

int
synth_find(const char *name, struct synth_arch *a, struct err *e)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0) {
			*a = known[i].arch;
			return 0;
		}
	return err_set(e, ERR_NOT_FOUND, "no sizes are known of '%.40s', only "
	    "of " SYNTH_NAMES, name);
}

int
synth_config(const char *arch, struct model_config *c, struct err *e)
{
	struct synth_arch a;
	int rc = synth_find(arch, &a, e);

	if (rc == 0)
		*c = a.config;
	return rc;
}
