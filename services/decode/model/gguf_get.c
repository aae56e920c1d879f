/*
 * Values are read where they lie in the file, which need not be aligned, so by
 * memcpy.
 */
#include <string.h>

#include "model/gguf_priv.h"

static const struct {
	const char *name;
	size_t size;
} kinds[] = {
	[GGUF_U8] = { "U8", 1 }, [GGUF_I8] = { "I8", 1 },
	[GGUF_U16] = { "U16", 2 }, [GGUF_I16] = { "I16", 2 },
	[GGUF_U32] = { "U32", 4 }, [GGUF_I32] = { "I32", 4 },
	[GGUF_F32] = { "F32", 4 }, [GGUF_BOOL] = { "BOOL", 1 },
	[GGUF_STRING] = { "STRING", 0 }, [GGUF_ARRAY] = { "ARRAY", 0 },
	[GGUF_U64] = { "U64", 8 }, [GGUF_I64] = { "I64", 8 },
	[GGUF_F64] = { "F64", 8 },
};
enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

size_t
gguf_kind_size(uint32_t kind)
{
	return kind < N_KINDS ? kinds[kind].size : 0;
}

const char *
gguf_kind_name(uint32_t kind)
{
	return kind < N_KINDS ? kinds[kind].name : "?";
}

int
gguf_shown(struct gguf_string s)
{
	return s.n > GGUF_SHOWN_MAX ? GGUF_SHOWN_MAX : (int)s.n;
}

int
gguf_string_compare(struct gguf_string a, struct gguf_string b)
{
	int c = memcmp(a.s, b.s, a.n < b.n ? a.n : b.n);

	return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

/* The first pair whose key is not before s. */
static size_t
lower_bound(const struct gguf *g, struct gguf_string s)
{
	size_t lo = 0, hi = g->n_pairs;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (gguf_string_compare(g->pairs[mid].key, s) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const struct gguf_pair *
find(const struct gguf *g, const char *key)
{
	struct gguf_string s = { key, strlen(key) };
	size_t i = lower_bound(g, s);

	if (i == g->n_pairs || gguf_string_compare(g->pairs[i].key, s) != 0)
		return NULL;
	return &g->pairs[i];
}

static bool
wrong_kind(const struct gguf *g, const struct gguf_pair *p, const char *want,
    struct err *e)
{
	err_set(e, ERR_BAD_FILE, "%.80s: key '%.*s' is %s, expected %s", g->what,
	    gguf_shown(p->key), p->key.s, gguf_kind_name(p->kind), want);
	return false;
}

/* Of a kind that is an integer or a truth value. */
static int64_t
read_int(enum gguf_kind kind, const uint8_t *p)
{
	union {
		int8_t i8;
		uint16_t u16;
		int16_t i16;
		uint32_t u32;
		int32_t i32;
		uint64_t u64;
	} v = { .u64 = 0 };

	memcpy(&v, p, gguf_kind_size(kind));
	switch (kind) {
	case GGUF_I8:
		return v.i8;
	case GGUF_U16:
		return v.u16;
	case GGUF_I16:
		return v.i16;
	case GGUF_U32:
		return v.u32;
	case GGUF_I32:
		return v.i32;
	case GGUF_U64:
		return v.u64 > INT64_MAX ? INT64_MAX : (int64_t)v.u64;
	case GGUF_I64:
		return (int64_t)v.u64;
	default:
		return *p;
	}
}

static double
read_float(enum gguf_kind kind, const uint8_t *p)
{
	double d;
	float f;

	if (kind == GGUF_F32) {
		memcpy(&f, p, 4);
		return f;
	}
	memcpy(&d, p, 8);
	return d;
}

static bool
is_int(enum gguf_kind kind)
{
	return kind <= GGUF_I32 || kind == GGUF_U64 || kind == GGUF_I64;
}

bool
gguf_get_int(const struct gguf *g, const char *key, int64_t *out,
    struct err *e)
{
	const struct gguf_pair *p = find(g, key);

	if (p == NULL)
		return false;
	if (!is_int(p->kind))
		return wrong_kind(g, p, "an integer", e);
	if (p->kind == GGUF_U64 && p->data[7] > INT8_MAX) {
		err_set(e, ERR_BAD_FILE, "%.80s: key '%s' is 2^63 or more",
		    g->what, key);
		return false;
	}
	*out = read_int(p->kind, p->data);
	return true;
}

bool
gguf_get_float(const struct gguf *g, const char *key, double *out,
    struct err *e)
{
	const struct gguf_pair *p = find(g, key);

	if (p == NULL)
		return false;
	if (p->kind != GGUF_F32 && p->kind != GGUF_F64)
		return wrong_kind(g, p, "F32 or F64", e);
	*out = read_float(p->kind, p->data);
	return true;
}

bool
gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct err *e)
{
	const struct gguf_pair *p = find(g, key);

	if (p == NULL)
		return false;
	if (p->kind != GGUF_BOOL)
		return wrong_kind(g, p, "BOOL", e);
	*out = *p->data != 0;
	return true;
}

bool
gguf_get_string(const struct gguf *g, const char *key, struct gguf_string *out,
    struct err *e)
{
	const struct gguf_pair *p = find(g, key);
	uint64_t n;

	if (p == NULL)
		return false;
	if (p->kind != GGUF_STRING)
		return wrong_kind(g, p, "STRING", e);
	memcpy(&n, p->data, 8);
	*out = (struct gguf_string){ (const char *)p->data + 8, (size_t)n };
	return true;
}

bool
gguf_get_array(const struct gguf *g, const char *key, struct gguf_array *out,
    struct err *e)
{
	const struct gguf_pair *p = find(g, key);

	if (p == NULL)
		return false;
	if (p->kind != GGUF_ARRAY)
		return wrong_kind(g, p, "ARRAY", e);
	*out = p->array;
	return true;
}

int64_t
gguf_array_int(const struct gguf_array *a, uint64_t i)
{
	return read_int(a->kind, a->data + i * gguf_kind_size(a->kind));
}

double
gguf_array_float(const struct gguf_array *a, uint64_t i)
{
	return read_float(a->kind, a->data + i * gguf_kind_size(a->kind));
}

struct gguf_string
gguf_array_string(const struct gguf_array *a, size_t *at)
{
	struct gguf_string s;
	uint64_t n;

	memcpy(&n, a->data + *at, 8);
	s = (struct gguf_string){ (const char *)a->data + *at + 8, (size_t)n };
	*at += 8 + s.n;
	return s;
}

const struct gguf_tensor *
gguf_tensor(const struct gguf *g, const char *name)
{
	struct gguf_string s = { name, strlen(name) };
	size_t lo = 0, hi = g->n_tensors;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = gguf_string_compare(g->tensors[mid].name, s);

		if (c == 0)
			return &g->tensors[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

size_t
gguf_n_tensors(const struct gguf *g)
{
	return g->n_tensors;
}

const struct gguf_tensor *
gguf_tensor_at(const struct gguf *g, size_t i)
{
	return &g->tensors[i];
}

size_t
gguf_n_keys(const struct gguf *g)
{
	return g->n_pairs;
}

struct gguf_string
gguf_key_at(const struct gguf *g, size_t i)
{
	return g->pairs[i].key;
}

uint64_t
gguf_alignment(const struct gguf *g)
{
	return g->alignment;
}

uint64_t
gguf_size(const struct gguf *g)
{
	return g->size;
}

const char *
gguf_what(const struct gguf *g)
{
	return g->what;
}
