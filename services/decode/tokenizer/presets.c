/*
 * The patterns of the vocabularies that are known by name, for the containers
 * that do not have the pattern itself.  NFC is what the model's own tokenizer
 * does; llama.cpp leaves it out.
 */
#include <string.h>

#include "tokenizer/parts.h"

#define WORDS(digits) "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?" \
	"\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|" \
	"\\s+(?!\\S)|\\s+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" \
	" ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

static const struct preset presets[] = {
	{ "llama3", WORDS("\\p{N}{1,3}"),
	    TOKENIZER_IGNORE_MERGES | TOKENIZER_ADD_BOS },
	{ "gpt-2", GPT2, 0 },
	{ "gpt-neox", GPT2, TOKENIZER_NFC },
	{ "qwen2", WORDS("\\p{N}"), TOKENIZER_NFC },
	{ "falcon3", WORDS("\\p{N}{1,3}"), TOKENIZER_IGNORE_MERGES },
};
enum { N_PRESETS = sizeof(presets) / sizeof(*presets) };

const char preset_names[] = "llama3, gpt-2, gpt-neox, qwen2, falcon3";

/* Other names for the same in a GGUF, where converters know models by hash. */
static const struct {
	const char *pre, *name;
} aliases[] = {
	{ "llama-bpe", "llama3" },
	{ "llama-v3", "llama3" },
	{ "gpt2", "gpt-2" },
	{ "phi-2", "gpt-2" },
	{ "mpt", "gpt-neox" },
	{ "olmo", "gpt-neox" },
	{ "deepseek-r1-qwen", "qwen2" },
};

const struct preset *
preset_find(const char *name)
{
	for (int i = 0; i < N_PRESETS; i++)
		if (strcmp(presets[i].name, name) == 0)
			return &presets[i];
	return NULL;
}

static bool
is(const char *name, const char *text, size_t n)
{
	return strlen(name) == n && memcmp(name, text, n) == 0;
}

const struct preset *
preset_of_gguf(const char *pre, size_t n)
{
	for (size_t i = 0; i < sizeof(aliases) / sizeof(*aliases); i++)
		if (is(aliases[i].pre, pre, n))
			return preset_find(aliases[i].name);
	for (int i = 0; i < N_PRESETS; i++)
		if (is(presets[i].name, pre, n))
			return &presets[i];
	return NULL;
}
