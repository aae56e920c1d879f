/*
 * Any bytes as a GGUF whose vocabulary is asked for.  What is accepted can be
 * saved, loaded and saved again, and encodes without a fault.
 */
#include <stdlib.h>
#include <string.h>

#include "model/gguf.h"
#include "tokenizer/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
try_encode(const struct tokenizer *t)
{
	static const char text[] = "The 12  \xe2\x96\x81<x> e\xcc\x81\xff\n";
	struct ids a = { 0 };
	size_t len;

	tokenizer_encode(t, text, sizeof(text) - 1, true, &a, NULL);
	for (size_t i = 0; i < a.n; i++)
		if (tokenizer_bytes(t, a.v[i], &len) == NULL || len == 0)
			abort();
	ids_free(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct tokenizer *t, *loaded;
	struct buf first = { 0 }, second = { 0 };
	struct gguf *g;
	int rc;

	if (gguf_parse(data, n, "f", &g, NULL) != 0)
		return 0;
	rc = tokenizer_from_gguf(g, &t, NULL);
	gguf_close(g);
	if (rc != 0)
		return 0;
	if (tokenizer_save(t, &first, NULL) != 0 ||
	    tokenizer_load(first.data, first.len, &loaded, NULL) != 0 ||
	    tokenizer_save(loaded, &second, NULL) != 0 ||
	    first.len != second.len ||
	    memcmp(first.data, second.data, first.len) != 0)
		abort();
	try_encode(loaded);
	buf_free(&first);
	buf_free(&second);
	tokenizer_destroy(t);
	tokenizer_destroy(loaded);
	return 0;
}
