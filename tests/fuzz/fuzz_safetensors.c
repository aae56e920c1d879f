/*
 * Any bytes as a .safetensors file.  The length before the header is made to
 * fit for most inputs; what is accepted is read to its last element, and covers
 * the file without a gap.
 */
#include <stdlib.h>
#include <string.h>

#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t *bytes = malloc(n + 1), sum = 0;
	struct safetensors st;
	const uint8_t *end;

	if (bytes == NULL)
		return 0;
	if (n > 0)
		memcpy(bytes, data, n);
	/* The header ends with the last '}', if the length has no opinion. */
	if (n > 10 && bytes[7] == 0xff && (end = memrchr(bytes, '}', n)) != NULL &&
	    end >= bytes + 8) {
		uint64_t length = (uint64_t)(end - bytes) - 7;

		memcpy(bytes, &length, 8);
	}
	if (safetensors_parse(bytes, n, "fuzz", &st, NULL) == 0) {
		for (size_t i = 0; i < st.n; i++) {
			const struct safetensors_tensor *t = &st.tensors[i];

			for (uint64_t k = 0; k < t->n; k++)
				sum ^= t->data[k];
			if (safetensors_find(&st, t->name) != t ||
			    t->data + t->n > bytes + n)
				abort();
		}
		safetensors_close(&st);
	}
	bytes[n] = sum;
	free(bytes);
	return 0;
}
