/*
 * Any bytes as a .htok, and without its magic as tiktoken's ranks.  What is
 * accepted can be saved and loaded, and encodes the same then.
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
	struct buf blob = { 0 };
	struct ids a = { 0 }, b = { 0 };
	int rc;

	if (n >= 4 && memcmp(data, "HTOK", 4) == 0)
		rc = tokenizer_from_htok(data, n, "f", NULL, &t, NULL);
	else
		rc = tokenizer_from_ranks((const char *)data, n, "f", "gpt-2",
		    &t, NULL);
	if (rc != 0)
		return 0;
	if (tokenizer_save(t, &blob, NULL) != 0 ||
	    tokenizer_load(blob.data, blob.len, &loaded, NULL) != 0)
		abort();
	rc = tokenizer_encode(t, text, sizeof(text) - 1, true, &a, NULL);
	if (rc != tokenizer_encode(loaded, text, sizeof(text) - 1, true, &b,
	    NULL) || a.n != b.n ||
	    (a.n > 0 && memcmp(a.v, b.v, a.n * sizeof(*a.v)) != 0))
		abort();
	ids_free(&a);
	ids_free(&b);
	buf_free(&blob);
	tokenizer_destroy(t);
	tokenizer_destroy(loaded);
	return 0;
}
