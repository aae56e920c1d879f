/*
 * Any text as a tokenizer.json.  What is accepted can be saved, loaded and
 * saved again, and encodes without a fault.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char text[] = "The 12 quick  foxes' <x> e\xcc\x81\xff\n";
	struct tokenizer *t, *loaded;
	struct buf first = { 0 }, second = { 0 };
	struct ids a = { 0 }, b = { 0 };
	int rc;

	if (tokenizer_from_json((const char *)data, n, &t, NULL) != 0)
		return 0;
	if (tokenizer_save(t, &first, NULL) != 0 ||
	    tokenizer_load(first.data, first.len, &loaded, NULL) != 0 ||
	    tokenizer_save(loaded, &second, NULL) != 0 ||
	    first.len != second.len ||
	    memcmp(first.data, second.data, first.len) != 0)
		abort();
	rc = tokenizer_encode(t, text, sizeof(text) - 1, true, &a, NULL);
	if (rc != tokenizer_encode(loaded, text, sizeof(text) - 1, true, &b,
	    NULL) || a.n != b.n ||
	    (a.n > 0 && memcmp(a.v, b.v, a.n * sizeof(*a.v)) != 0))
		abort();
	ids_free(&a);
	ids_free(&b);
	buf_free(&first);
	buf_free(&second);
	tokenizer_destroy(t);
	tokenizer_destroy(loaded);
	return 0;
}
