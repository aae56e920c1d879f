/*
 * Any bytes as the tokenizer of a .h1b.  What is accepted is saved as the same
 * bytes, if it is of the version that is written, and encodes without a fault.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char text[] = "The 12 quick  foxes' <x> e\xcc\x81\xff\n";
	struct tokenizer *t;
	struct buf again = { 0 };
	struct ids ids = { 0 };
	size_t len;

	if (tokenizer_load(data, n, &t, NULL) != 0)
		return 0;
	if (tokenizer_save(t, &again, NULL) != 0 || again.len != n ||
	    (data[0] == 2 && memcmp(again.data, data, n) != 0))
		abort();
	tokenizer_encode(t, text, sizeof(text) - 1, true, &ids, NULL);
	for (size_t i = 0; i < ids.n; i++)
		if (tokenizer_bytes(t, ids.v[i], &len) == NULL || len == 0)
			abort();
	tokenizer_special(t, "<x>");
	ids_free(&ids);
	buf_free(&again);
	tokenizer_destroy(t);
	return 0;
}
