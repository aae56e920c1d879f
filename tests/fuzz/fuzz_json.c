/* json_guarded: what it accepts keeps the limits that it promises. */
#include <stdint.h>
#include <stdlib.h>

#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
count(json_t *v, int depth, size_t *values)
{
	const char *key;
	json_t *element;
	size_t i;

	if (json_is_array(v) || json_is_object(v))
		depth++;
	if (depth > JSON_DEPTH_MAX || ++*values > JSON_VALUES_MAX)
		abort();
	json_array_foreach(v, i, element)
		count(element, depth, values);
	json_object_foreach(v, key, element)
		count(element, depth, values);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t values = 0;
	struct err e;
	json_t *v;

	if (json_guarded((const char *)data, n, &v, &e) != 0)
		return 0;
	count(v, 0, &values);
	json_decref(v);
	return 0;
}
