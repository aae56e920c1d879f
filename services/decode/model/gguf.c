/*
 * One pass over the header with a cursor that never leaves the file.  A count is
 * believed only after the bytes that it needs at least have been found to be
 * there, so that what is allocated is at most a small multiple of the file.
 * Pairs and tensors are then sorted by name, which finds duplicates and makes
 * them quick to find; and tensors by place, which tells how long each can be.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "file.h"
#include "model/gguf_priv.h"

enum {
	KEY_MAX = 65535,		/* bytes, as the format says */
	TENSOR_NAME_MAX = 127,		/* ggml itself allows 63 */
	ALIGNMENT_DEFAULT = 32,
	ALIGNMENT_MAX = 65536,
	/* The least that a pair (empty key, a byte) and a tensor can take. */
	PAIR_MIN = 8 + 1 + 4 + 1,
	TENSOR_MIN = 8 + 1 + 4 + 8 + 4 + 8,
};

struct reader {
	const uint8_t *bytes;
	size_t n, at;
	const char *what;
	struct err *e;
};

#define ULL(x) ((unsigned long long)(x))
/* A name in a sentence: for "%.*s". */
#define SHOWN(name) gguf_shown(name), (name).s

static int __attribute__((format(printf, 2, 3)))
bad(const struct reader *r, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(r->e, ERR_BAD_FILE, "%.80s: %s", r->what, text);
}

/* n bytes, or NULL and a sentence that says what they should have been. */
static const uint8_t *
take(struct reader *r, uint64_t n, const char *of)
{
	const uint8_t *p = r->bytes + r->at;

	if (n > r->n - r->at) {
		bad(r, "%s at byte %zu takes %llu bytes, but %zu are left", of,
		    r->at, ULL(n), r->n - r->at);
		return NULL;
	}
	r->at += (size_t)n;
	return p;
}

static int
take_u32(struct reader *r, const char *of, uint32_t *out)
{
	const uint8_t *p = take(r, 4, of);

	if (p == NULL)
		return ERR_BAD_FILE;
	memcpy(out, p, 4);
	return 0;
}

static int
take_u64(struct reader *r, const char *of, uint64_t *out)
{
	const uint8_t *p = take(r, 8, of);

	if (p == NULL)
		return ERR_BAD_FILE;
	memcpy(out, p, 8);
	return 0;
}

static int
take_string(struct reader *r, const char *of, uint64_t max,
    struct gguf_string *out)
{
	size_t start = r->at;
	const uint8_t *p;
	uint64_t n;

	if (take_u64(r, of, &n) != 0)
		return ERR_BAD_FILE;
	if (n > max)
		return bad(r, "%s at byte %zu has %llu bytes, more than %llu",
		    of, start, ULL(n), ULL(max));
	if ((p = take(r, n, of)) == NULL)
		return ERR_BAD_FILE;
	*out = (struct gguf_string){ (const char *)p, (size_t)n };
	return 0;
}

static int
take_array(struct reader *r, struct gguf_pair *p)
{
	struct gguf_array *a = &p->array;
	struct gguf_string s;
	uint32_t kind;

	if (take_u32(r, "an array", &kind) != 0 ||
	    take_u64(r, "an array", &a->n) != 0)
		return ERR_BAD_FILE;
	if (kind != GGUF_STRING && gguf_kind_size(kind) == 0)
		return bad(r, "key '%.*s': an array of kind %u (%s), expected "
		    "numbers or strings", SHOWN(p->key), kind,
		    gguf_kind_name(kind));
	if (a->n > GGUF_ARRAY_MAX)
		return bad(r, "key '%.*s': an array of %llu elements, more than "
		    "%d", SHOWN(p->key), ULL(a->n), GGUF_ARRAY_MAX);
	a->kind = (enum gguf_kind)kind;
	a->data = r->bytes + r->at;
	if (kind != GGUF_STRING)
		return take(r, a->n * gguf_kind_size(kind), "an array") == NULL ?
		    ERR_BAD_FILE : 0;
	for (uint64_t i = 0; i < a->n; i++)
		if (take_string(r, "a string of an array", GGUF_STRING_MAX,
		    &s) != 0)
			return ERR_BAD_FILE;
	return 0;
}

static int
take_pair(struct reader *r, struct gguf_pair *p)
{
	struct gguf_string s;
	uint32_t kind;

	if (take_string(r, "a key", KEY_MAX, &p->key) != 0 ||
	    take_u32(r, "the kind of a value", &kind) != 0)
		return ERR_BAD_FILE;
	if (p->key.n == 0)
		return bad(r, "the key before byte %zu is empty", r->at);
	if (kind > GGUF_F64)
		return bad(r, "key '%.*s': kind %u, expected 0..%d",
		    SHOWN(p->key), kind, GGUF_F64);
	p->kind = (enum gguf_kind)kind;
	p->data = r->bytes + r->at;
	if (kind == GGUF_ARRAY)
		return take_array(r, p);
	if (kind == GGUF_STRING)
		return take_string(r, "a value", GGUF_STRING_MAX, &s);
	if (take(r, gguf_kind_size(kind), "a value") == NULL)
		return ERR_BAD_FILE;
	if (kind == GGUF_BOOL && *p->data > 1)
		return bad(r, "key '%.*s': a truth value of %d",
		    SHOWN(p->key), *p->data);
	return 0;
}

/* The dimensions are multiplied once here, so that nobody's sizes wrap. */
static int
take_dims(struct reader *r, struct gguf_tensor *t)
{
	uint64_t n = 1;
	uint32_t n_dims;

	if (take_u32(r, "a tensor", &n_dims) != 0)
		return ERR_BAD_FILE;
	if (n_dims < 1 || n_dims > GGUF_DIMS_MAX)
		return bad(r, "tensor '%.*s': %u dimensions, expected 1..%d",
		    SHOWN(t->name), n_dims, GGUF_DIMS_MAX);
	t->n_dims = (int)n_dims;
	for (int i = 0; i < t->n_dims; i++) {
		if (take_u64(r, "a tensor", &t->dims[i]) != 0)
			return ERR_BAD_FILE;
		if (t->dims[i] == 0 || t->dims[i] > INT64_MAX)
			return bad(r, "tensor '%.*s': dimension %d is %lld, "
			    "expected at least 1", SHOWN(t->name), i,
			    (long long)t->dims[i]);
		if (__builtin_mul_overflow(n, t->dims[i], &n) ||
		    n > INT64_MAX / 8)
			return bad(r, "tensor '%.*s': more elements than 64 "
			    "bits count", SHOWN(t->name));
	}
	for (int i = t->n_dims; i < GGUF_DIMS_MAX; i++)
		t->dims[i] = 1;
	return 0;
}

static int
take_tensor(struct reader *r, struct gguf_tensor *t)
{
	if (take_string(r, "a tensor's name", TENSOR_NAME_MAX, &t->name) != 0 ||
	    take_dims(r, t) != 0 || take_u32(r, "a tensor", &t->type) != 0 ||
	    take_u64(r, "a tensor", &t->offset) != 0)
		return ERR_BAD_FILE;
	if (t->name.n == 0)
		return bad(r, "the tensor before byte %zu has no name", r->at);
	return 0;
}

static int
by_key(const void *a, const void *b)
{
	return gguf_string_compare(((const struct gguf_pair *)a)->key,
	    ((const struct gguf_pair *)b)->key);
}

static int
by_name(const void *a, const void *b)
{
	return gguf_string_compare(((const struct gguf_tensor *)a)->name,
	    ((const struct gguf_tensor *)b)->name);
}

static int
by_place(const void *a, const void *b)
{
	const struct gguf_tensor *x = a, *y = b;

	return (x->offset > y->offset) - (x->offset < y->offset);
}

static int
read_pairs(struct reader *r, uint64_t n, struct gguf *g)
{
	if ((g->pairs = calloc((size_t)n + 1, sizeof(*g->pairs))) == NULL)
		return err_set(r->e, ERR_NO_MEMORY, "no memory for metadata");
	for (; g->n_pairs < n; g->n_pairs++)
		if (take_pair(r, &g->pairs[g->n_pairs]) != 0)
			return ERR_BAD_FILE;
	qsort(g->pairs, g->n_pairs, sizeof(*g->pairs), by_key);
	for (size_t i = 1; i < g->n_pairs; i++)
		if (by_key(&g->pairs[i - 1], &g->pairs[i]) == 0)
			return bad(r, "key '%.*s' is there twice",
			    SHOWN(g->pairs[i].key));
	return 0;
}

static int
get_alignment(const struct reader *r, struct gguf *g)
{
	int64_t v = ALIGNMENT_DEFAULT;
	struct err e = { 0 };

	gguf_get_int(g, "general.alignment", &v, &e);
	if (e.code != 0)
		return err_set(r->e, e.code, "%s", e.text);
	if (v < 8 || v > ALIGNMENT_MAX || (v & (v - 1)) != 0)
		return bad(r, "general.alignment is %lld, expected a power of "
		    "two in 8..%d", (long long)v, ALIGNMENT_MAX);
	g->alignment = (uint64_t)v;
	return 0;
}

/* From offsets in the data, which begins at byte start, to places. */
static int
place_tensors(const struct reader *r, struct gguf *g)
{
	uint64_t start = (r->at + g->alignment - 1) & ~(g->alignment - 1);

	for (size_t i = 0; i < g->n_tensors; i++) {
		struct gguf_tensor *t = &g->tensors[i];
		uint64_t offset;

		if (t->offset % g->alignment != 0)
			return bad(r, "tensor '%.*s' begins at %llu, which is no "
			    "multiple of %llu", SHOWN(t->name),
			    ULL(t->offset), ULL(g->alignment));
		if (__builtin_add_overflow(t->offset, start, &offset) ||
		    offset >= r->n)
			return bad(r, "tensor '%.*s' begins %llu bytes into the "
			    "data, but the file ends after %llu",
			    SHOWN(t->name), ULL(t->offset),
			    ULL(r->n > start ? r->n - start : 0));
		t->offset = offset;
		t->data = r->bytes + offset;
	}
	qsort(g->tensors, g->n_tensors, sizeof(*g->tensors), by_place);
	for (size_t i = 0; i < g->n_tensors; i++) {
		struct gguf_tensor *t = &g->tensors[i];
		uint64_t end = i + 1 < g->n_tensors ? t[1].offset : r->n;

		t->size = end - t->offset;
		if (t->size == 0)
			return bad(r, "tensors '%.*s' and '%.*s' both begin at "
			    "byte %llu", SHOWN(t->name),
			    SHOWN(t[1].name), ULL(t->offset));
	}
	return 0;
}

static int
read_tensors(struct reader *r, uint64_t n, struct gguf *g)
{
	int rc;

	if ((g->tensors = calloc((size_t)n + 1, sizeof(*g->tensors))) == NULL)
		return err_set(r->e, ERR_NO_MEMORY, "no memory for tensors");
	for (; g->n_tensors < n; g->n_tensors++)
		if (take_tensor(r, &g->tensors[g->n_tensors]) != 0)
			return ERR_BAD_FILE;
	if ((rc = get_alignment(r, g)) != 0 || (rc = place_tensors(r, g)) != 0)
		return rc;
	qsort(g->tensors, g->n_tensors, sizeof(*g->tensors), by_name);
	for (size_t i = 1; i < g->n_tensors; i++)
		if (by_name(&g->tensors[i - 1], &g->tensors[i]) == 0)
			return bad(r, "tensor '%.*s' is there twice",
			    SHOWN(g->tensors[i].name));
	return 0;
}

/* A count against what a program keeps and what the file can hold. */
static int
check_count(const struct reader *r, const char *of, uint64_t n, uint64_t max,
    size_t least)
{
	uint64_t room = (r->n - r->at) / least;

	if (n > max || n > room)
		return bad(r, "%llu %s, expected at most %llu: %s", ULL(n), of,
		    ULL(max < room ? max : room),
		    n > room ? "the file is too short for more" : "our limit");
	return 0;
}

static int
read_file(struct reader *r, struct gguf *g)
{
	uint64_t n_tensors, n_pairs;
	uint32_t version;
	int rc;

	if (r->n < 4 || memcmp(r->bytes, "GGUF", 4) != 0)
		return bad(r, "not a GGUF file: it does not begin with 'GGUF'");
	r->at = 4;
	if (take_u32(r, "the version", &version) != 0)
		return ERR_BAD_FILE;
	if (version == 0x02000000 || version == 0x03000000)
		return err_set(r->e, ERR_UNSUPPORTED, "%.80s: a GGUF file with "
		    "its bytes in big-endian order, expected little-endian",
		    r->what);
	if (version != 2 && version != 3)
		return err_set(r->e, ERR_UNSUPPORTED,
		    "%.80s: GGUF version %u, expected 2 or 3", r->what, version);
	if (take_u64(r, "the number of tensors", &n_tensors) != 0 ||
	    take_u64(r, "the number of keys", &n_pairs) != 0)
		return ERR_BAD_FILE;
	if ((rc = check_count(r, "keys", n_pairs, GGUF_KEYS_MAX,
	    PAIR_MIN)) != 0 || (rc = read_pairs(r, n_pairs, g)) != 0 ||
	    (rc = check_count(r, "tensors", n_tensors, GGUF_TENSORS_MAX,
	    TENSOR_MIN)) != 0)
		return rc;
	return read_tensors(r, n_tensors, g);
}

int
gguf_parse(const void *bytes, size_t n, const char *what, struct gguf **g,
    struct err *e)
{
	struct reader r = { .bytes = bytes, .n = n, .what = what, .e = e };
	struct gguf *parsed = calloc(1, sizeof(*parsed));
	int rc;

	if (parsed == NULL || (parsed->what = strdup(what)) == NULL)
		rc = err_set(e, ERR_NO_MEMORY, "no memory for a GGUF file");
	else {
		parsed->size = n;
		rc = read_file(&r, parsed);
	}
	if (rc != 0) {
		gguf_close(parsed);
		return rc;
	}
	*g = parsed;
	return 0;
}

int
gguf_open(const char *path, struct gguf **g, struct err *e)
{
	void *map;
	size_t n;
	int rc;

	if ((rc = file_map(path, &map, &n, e)) != 0)
		return rc;
	if ((rc = gguf_parse(map, n, path, g, e)) != 0) {
		munmap(map, n);
		return rc;
	}
	(*g)->map = map;
	(*g)->map_size = n;
	return 0;
}

void
gguf_drop(const struct gguf *g)
{
	if (g->map != NULL)
		(void)madvise(g->map, g->map_size, MADV_DONTNEED);
}

void
gguf_close(struct gguf *g)
{
	if (g == NULL)
		return;
	if (g->map != NULL)
		munmap(g->map, g->map_size);
	free(g->pairs);
	free(g->tensors);
	free(g->what);
	free(g);
}
