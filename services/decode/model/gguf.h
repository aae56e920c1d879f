#ifndef DECODE_GGUF_H
#define DECODE_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/*
 * The GGUF container, versions 2 and 3, little-endian (ggml docs/gguf.md):
 * typed metadata by name, tensors by name.  It knows nothing of models.  The
 * file is mapped and not copied; every count, length and offset is checked
 * against it before it is used.  Read-only after opening: any thread.
 */
enum {
	GGUF_STRING_MAX = 1 << 20,	/* bytes */
	GGUF_KEYS_MAX = 1 << 16,
	GGUF_TENSORS_MAX = 1 << 16,
	GGUF_ARRAY_MAX = 1 << 24,	/* elements */
	GGUF_DIMS_MAX = 4,
};

enum gguf_kind {		/* of a value; numbers as in the file */
	GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32,
	GGUF_BOOL, GGUF_STRING, GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64,
};

struct gguf_string {
	const char *s;		/* borrowed, not NUL-terminated */
	size_t n;		/* bytes */
};

/* An array of numbers or strings; arrays of arrays are refused. */
struct gguf_array {
	enum gguf_kind kind;	/* of its elements */
	uint64_t n;
	const uint8_t *data;	/* the first element in the file */
};

struct gguf_tensor {
	struct gguf_string name;
	uint32_t type;		/* ggml's number */
	int n_dims;
	uint64_t dims[GGUF_DIMS_MAX];	/* dims[0] runs fastest (columns) */
	uint64_t offset;	/* in the file */
	uint64_t size;		/* bytes to the next tensor or the end: an upper
				 * bound; types tell the exact size */
	const uint8_t *data;
};

struct gguf;

int gguf_open(const char *path, struct gguf **g, struct err *e);
/* From memory: bytes [n], borrowed until gguf_close. */
int gguf_parse(const void *bytes, size_t n, const char *what, struct gguf **g,
    struct err *e);
void gguf_close(struct gguf *g);	/* NULL is fine */

/*
 * The value of key.  false and *out untouched if it is absent; a value of
 * another kind (or an integer out of range) is an error of the file: *e is set
 * and the function returns false with e->code != 0.  Set e->code = 0 before; e is
 * not NULL.
 */
bool gguf_get_int(const struct gguf *g, const char *key, int64_t *out,
    struct err *e);		/* any integer kind */
bool gguf_get_float(const struct gguf *g, const char *key, double *out,
    struct err *e);		/* F32 or F64 */
bool gguf_get_bool(const struct gguf *g, const char *key, bool *out,
    struct err *e);
bool gguf_get_string(const struct gguf *g, const char *key,
    struct gguf_string *out, struct err *e);
bool gguf_get_array(const struct gguf *g, const char *key,
    struct gguf_array *out, struct err *e);

/*
 * Element i of a; the caller has checked a->kind and i < a->n.  Strings are
 * found by walking, so ask in rising order: *at is the cursor, 0 at first.
 */
int64_t gguf_array_int(const struct gguf_array *a, uint64_t i);
double gguf_array_float(const struct gguf_array *a, uint64_t i);
struct gguf_string gguf_array_string(const struct gguf_array *a, size_t *at);

const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name);
size_t gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
/* Of a string, the bytes that a sentence shows: for "%.*s". */
enum { GGUF_SHOWN_MAX = 64 };
int gguf_shown(struct gguf_string s);

/* All keys, in the order of their bytes. */
size_t gguf_n_keys(const struct gguf *g);
struct gguf_string gguf_key_at(const struct gguf *g, size_t i);

/* Between two tensors there are less than `alignment` bytes of padding. */
uint64_t gguf_alignment(const struct gguf *g);
uint64_t gguf_size(const struct gguf *g);	/* of the file, bytes */
/* Give back the memory of what was read; it is read again when needed. */
void gguf_drop(const struct gguf *g);
const char *gguf_what(const struct gguf *g);	/* the file's name, for sentences */

#endif
