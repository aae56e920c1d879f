#include <string.h>

#include "catalogue.h"

const struct catalogue_entry catalogue[] = {
	{ "bitnet-2b4t", "microsoft/bitnet-b1.58-2B-4T", NULL, "mit",
	    "BitNet b1.58 2B4T, packed safetensors" },
	{ "bitnet-2b4t-bf16", "microsoft/bitnet-b1.58-2B-4T-bf16", NULL, "mit",
	    "the same before packing: four times the size" },
	{ "bitnet-2b4t.gguf", "microsoft/bitnet-b1.58-2B-4T-gguf",
	    "ggml-model-i2_s.gguf", "mit", "the same as GGUF, I2_S" },
	{ "trilm-99m", "SpectraSuite/TriLM_99M_Unpacked", NULL, "apache-2.0",
	    "base model, for trying things" },
	{ "trilm-2.4b", "SpectraSuite/TriLM_2.4B_Unpacked", NULL, "apache-2.0",
	    "base model" },
	{ "trilm-3.9b", "SpectraSuite/TriLM_3.9B_Unpacked", NULL, "apache-2.0",
	    "base model" },
	{ "falcon3-1b", "tiiuae/Falcon3-1B-Instruct-1.58bit", NULL,
	    "falcon-llm-license", "packed safetensors" },
	{ "falcon3-3b", "tiiuae/Falcon3-3B-Instruct-1.58bit", NULL,
	    "falcon-llm-license", "packed safetensors" },
	{ "falcon3-7b", "tiiuae/Falcon3-7B-Instruct-1.58bit", NULL,
	    "falcon-llm-license", "packed safetensors" },
	{ "falcon3-10b", "tiiuae/Falcon3-10B-Instruct-1.58bit", NULL,
	    "falcon-llm-license", "packed safetensors" },
	{ "llama3-8b-1.58", "HF1BitLLM/Llama3-8B-1.58-100B-tokens", NULL,
	    "see the repository", "packed safetensors" },
	{ "ternary-bonsai-1.7b.gguf", "prism-ml/Ternary-Bonsai-1.7B-gguf",
	    "*-Q2_0.gguf", "apache-2.0", "GGUF, Q2_0 in groups of 128" },
	{ "ternary-bonsai-4b.gguf", "prism-ml/Ternary-Bonsai-4B-gguf",
	    "*-Q2_0.gguf", "apache-2.0", "GGUF, Q2_0 in groups of 128" },
	{ "ternary-bonsai-8b.gguf", "prism-ml/Ternary-Bonsai-8B-gguf",
	    "*-Q2_0.gguf", "apache-2.0", "GGUF, Q2_0 in groups of 128" },
	{ 0 },
};

const struct catalogue_entry *
catalogue_find(const char *name)
{
	for (const struct catalogue_entry *c = catalogue; c->name != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}
