#ifndef DECODE_SAFETENSORS_H
#define DECODE_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/*
 * One file of tensors (huggingface/safetensors, README "Format"): a length, a
 * JSON object that names the tensors, their bytes.  The file is mapped and not
 * copied.  Read-only after opening, so any thread may use it.
 *
 * Stricter than the reference where no model needs the freedom: no tensor
 * without elements, at most four dimensions, no holes, no overlap.
 */
enum {
	SAFETENSORS_HEADER_MAX = 100 << 20,	/* bytes, as the reference */
	SAFETENSORS_TENSORS_MAX = 1 << 16,
	SAFETENSORS_DIMS_MAX = 4,
};

/* name, bytes of an element */
#define SAFETENSORS_DTYPES(D) \
	D(U8, 1) D(I8, 1) D(I16, 2) D(I32, 4) D(I64, 8) \
	D(F16, 2) D(BF16, 2) D(F32, 4) D(F64, 8) D(BOOL, 1)

enum safetensors_dtype {
#define D(name, size) SAFETENSORS_##name,
	SAFETENSORS_DTYPES(D)
#undef D
};

struct safetensors_tensor {
	char *name;		/* owned */
	enum safetensors_dtype dtype;
	int n_dims;		/* 0: a single number */
	uint64_t dims[SAFETENSORS_DIMS_MAX];
	uint64_t n;		/* elements */
	const uint8_t *data;	/* [n] of dtype, row-major; borrowed */
};

struct safetensors {
	struct safetensors_tensor *tensors;	/* [n], by name; owned */
	size_t n;
	void *map;		/* owned; NULL after safetensors_parse */
	size_t map_size;
};

/* ERR_BAD_FILE names the file, the tensor, what was found and expected. */
int safetensors_open(const char *path, struct safetensors *st, struct err *e);

/* From memory: bytes [n], borrowed until safetensors_close. */
int safetensors_parse(const void *bytes, size_t n, const char *what,
    struct safetensors *st, struct err *e);
void safetensors_close(struct safetensors *st);

/* Borrowed from st; NULL if it has none of that name. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *st,
    const char *name);

/* Give back the memory of a mapped file; what is read again is mapped again. */
void safetensors_drop(const struct safetensors *st);

/* Bytes of t. */
size_t safetensors_size(const struct safetensors_tensor *t);

const char *safetensors_dtype_name(enum safetensors_dtype dtype);

/*
 * Elements first .. first + n - 1 of t as f32.  t->dtype must be F16, BF16 or
 * F32 and the elements must exist.
 */
void safetensors_f32(const struct safetensors_tensor *t, uint64_t first,
    size_t n, float *out);

#endif
