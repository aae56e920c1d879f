#ifndef DECODE_GGUF_PRIV_H
#define DECODE_GGUF_PRIV_H

#include "model/gguf.h"

/*
 * What gguf.c (reading) and gguf_get.c (asking) share.
 */
struct gguf_pair {
	struct gguf_string key;
	enum gguf_kind kind;
	struct gguf_array array;	/* if kind is an array */
	const uint8_t *data;		/* else the value; of a string its length */
};

struct gguf {
	char *what;
	uint64_t size, alignment;	/* bytes */
	struct gguf_pair *pairs;	/* sorted by key */
	size_t n_pairs;
	struct gguf_tensor *tensors;	/* sorted by name */
	size_t n_tensors;
	void *map;			/* owned, or NULL */
	size_t map_size;
};

/* Bytes of one value; 0 for strings and arrays, and for what is no kind. */
size_t gguf_kind_size(uint32_t kind);
const char *gguf_kind_name(uint32_t kind);	/* "U32", or "?" */

/* As memcmp, a shorter one before a longer one that begins with it. */
int gguf_string_compare(struct gguf_string a, struct gguf_string b);

#endif
