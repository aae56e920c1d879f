#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "file.h"
#include "half.h"
#include "json.h"
#include "model/safetensors.h"

static const struct {
	const char *name;
	unsigned size;
} dtypes[] = {
#define D(name, size) { #name, size },
	SAFETENSORS_DTYPES(D)
#undef D
};

#define N_DTYPES (sizeof(dtypes) / sizeof(dtypes[0]))

struct reader {
	const char *what;
	const uint8_t *data;	/* the bytes of all tensors [n_data] */
	uint64_t n_data;
	struct err *e;
};

#define BAD(r, ...) err_set((r)->e, ERR_BAD_FILE, "%.90s: " __VA_ARGS__)

const char *
safetensors_dtype_name(enum safetensors_dtype dtype)
{
	return dtypes[dtype].name;
}

/* A JSON integer that is not negative. */
static bool
get_u64(const json_t *v, uint64_t *out)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*out = (uint64_t)json_integer_value(v);
	return true;
}

static int
read_dtype(const struct reader *r, const char *name, const json_t *v,
    struct safetensors_tensor *t)
{
	const char *s = json_string_value(v);

	if (s == NULL)
		return BAD(r, "tensor '%.60s': dtype is not a string", r->what,
		    name);
	for (size_t i = 0; i < N_DTYPES; i++)
		if (strcmp(s, dtypes[i].name) == 0) {
			t->dtype = (enum safetensors_dtype)i;
			return 0;
		}
	return BAD(r, "tensor '%.60s': dtype '%.16s' is not known", r->what,
	    name, s);
}

static int
read_shape(const struct reader *r, const char *name, const json_t *v,
    struct safetensors_tensor *t)
{
	if (!json_is_array(v) || json_array_size(v) > SAFETENSORS_DIMS_MAX)
		return BAD(r, "tensor '%.60s': shape is not an array of at most "
		    "%d", r->what, name, SAFETENSORS_DIMS_MAX);
	t->n_dims = (int)json_array_size(v);
	t->n = 1;
	for (int i = 0; i < t->n_dims; i++) {
		if (!get_u64(json_array_get(v, (size_t)i), &t->dims[i]) ||
		    t->dims[i] == 0)
			return BAD(r, "tensor '%.60s': dimension %d is not a "
			    "positive integer", r->what, name, i);
		if (__builtin_mul_overflow(t->n, t->dims[i], &t->n))
			return BAD(r, "tensor '%.60s': the product of its shape "
			    "is more than 64 bits hold", r->what, name);
	}
	return 0;
}

static int
read_offsets(const struct reader *r, const char *name, const json_t *v,
    struct safetensors_tensor *t)
{
	uint64_t begin, end, size;

	if (json_array_size(v) != 2 ||
	    !get_u64(json_array_get(v, 0), &begin) ||
	    !get_u64(json_array_get(v, 1), &end))
		return BAD(r, "tensor '%.60s': data_offsets are not two "
		    "integers", r->what, name);
	if (begin > end || end > r->n_data)
		return BAD(r, "tensor '%.60s': bytes %llu..%llu, but there are "
		    "%llu", r->what, name, (unsigned long long)begin,
		    (unsigned long long)end, (unsigned long long)r->n_data);
	if (__builtin_mul_overflow(t->n, (uint64_t)dtypes[t->dtype].size,
	    &size) || size != end - begin)
		return BAD(r, "tensor '%.60s': %llu bytes, not what its shape "
		    "and dtype %s take", r->what, name,
		    (unsigned long long)(end - begin), dtypes[t->dtype].name);
	t->data = r->data + begin;
	return 0;
}

static int
read_tensor(const struct reader *r, const char *name, const json_t *v,
    struct safetensors_tensor *t)
{
	int rc;

	if (json_object_size(v) != 3)
		return BAD(r, "tensor '%.60s': not an object of dtype, shape "
		    "and data_offsets", r->what, name);
	if ((rc = read_dtype(r, name, json_object_get(v, "dtype"), t)) != 0 ||
	    (rc = read_shape(r, name, json_object_get(v, "shape"), t)) != 0 ||
	    (rc = read_offsets(r, name, json_object_get(v, "data_offsets"),
	    t)) != 0)
		return rc;
	if ((t->name = strdup(name)) == NULL)
		return err_set(r->e, ERR_NO_MEMORY, "no memory for a name");
	return 0;
}

static int
check_metadata(const struct reader *r, json_t *v)
{
	const char *key;
	json_t *value;

	if (!json_is_object(v))
		return BAD(r, "__metadata__ is not an object", r->what);
	json_object_foreach(v, key, value)
		if (!json_is_string(value))
			return BAD(r, "__metadata__: '%.60s' is not a string",
			    r->what, key);
	return 0;
}

static int
by_place(const void *a, const void *b)
{
	const struct safetensors_tensor *x = a, *y = b;

	return (x->data > y->data) - (x->data < y->data);
}

static int
by_name(const void *a, const void *b)
{
	const struct safetensors_tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* No byte belongs to two tensors or to none. */
static int
check_places(const struct reader *r, struct safetensors *st)
{
	const uint8_t *end = r->data;

	qsort(st->tensors, st->n, sizeof(*st->tensors), by_place);
	for (size_t i = 0; i < st->n; i++) {
		const struct safetensors_tensor *t = &st->tensors[i];

		if (t->data != end)
			return BAD(r, "tensor '%.60s': begins at %llu, expected "
			    "%llu: %s", r->what, t->name,
			    (unsigned long long)(t->data - r->data),
			    (unsigned long long)(end - r->data),
			    t->data < end ? "it overlaps another" :
			    "there is a hole before it");
		end = t->data + t->n * dtypes[t->dtype].size;
	}
	if ((uint64_t)(end - r->data) != r->n_data)
		return BAD(r, "%llu bytes belong to no tensor", r->what,
		    (unsigned long long)(r->n_data - (uint64_t)(end - r->data)));
	qsort(st->tensors, st->n, sizeof(*st->tensors), by_name);
	return 0;
}

static int
read_header(const struct reader *r, json_t *header, struct safetensors *st)
{
	const char *name;
	json_t *v;
	int rc;

	if (!json_is_object(header))
		return BAD(r, "the header is not a JSON object", r->what);
	if (json_object_size(header) > SAFETENSORS_TENSORS_MAX)
		return BAD(r, "%zu tensors, more than %d", r->what,
		    json_object_size(header), SAFETENSORS_TENSORS_MAX);
	st->tensors = calloc(json_object_size(header) + 1,
	    sizeof(*st->tensors));
	if (st->tensors == NULL)
		return err_set(r->e, ERR_NO_MEMORY, "no memory for tensors");
	json_object_foreach(header, name, v) {
		if (strcmp(name, "__metadata__") == 0)
			rc = check_metadata(r, v);
		else
			rc = read_tensor(r, name, v, &st->tensors[st->n++]);
		if (rc != 0)
			return rc;
	}
	return check_places(r, st);
}

/* The JSON between the length and the data. */
static int
parse_json(const struct reader *r, const char *text, size_t n, json_t **v)
{
	json_error_t je;
	struct err why;

	if (json_scan(text, n, 4, SAFETENSORS_TENSORS_MAX * 16, &why) != 0)
		return BAD(r, "header: %.130s", r->what, why.text);
	if ((*v = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je)) == NULL)
		return BAD(r, "header: %.110s at byte %d", r->what, je.text,
		    je.position);
	return 0;
}

int
safetensors_parse(const void *bytes, size_t n, const char *what,
    struct safetensors *st, struct err *e)
{
	struct reader r = { .what = what, .e = e };
	struct safetensors parsed = { 0 };
	json_t *header = NULL;
	uint64_t length;
	int rc;

	if (n < 8)
		return BAD(&r, "%zu bytes, too short for safetensors", what, n);
	memcpy(&length, bytes, 8);
	if (length > n - 8 || length < 2 || length > SAFETENSORS_HEADER_MAX)
		return BAD(&r, "a header of %llu bytes, expected 2..%llu", what,
		    (unsigned long long)length, (unsigned long long)(n - 8 <
		    SAFETENSORS_HEADER_MAX ? n - 8 : SAFETENSORS_HEADER_MAX));
	r.data = (const uint8_t *)bytes + 8 + length;
	r.n_data = n - 8 - length;
	rc = parse_json(&r, (const char *)bytes + 8, length, &header);
	if (rc != 0)
		return rc;
	rc = read_header(&r, header, &parsed);
	json_decref(header);
	if (rc != 0) {
		safetensors_close(&parsed);
		return rc;
	}
	*st = parsed;
	return 0;
}

int
safetensors_open(const char *path, struct safetensors *st, struct err *e)
{
	void *map;
	size_t n;
	int rc;

	if ((rc = file_map(path, &map, &n, e)) != 0)
		return rc;
	if ((rc = safetensors_parse(map, n, path, st, e)) != 0) {
		munmap(map, n);
		return rc;
	}
	st->map = map;
	st->map_size = n;
	return 0;
}

void
safetensors_close(struct safetensors *st)
{
	for (size_t i = 0; i < st->n; i++)
		free(st->tensors[i].name);
	free(st->tensors);
	if (st->map != NULL)
		munmap(st->map, st->map_size);
	*st = (struct safetensors){ 0 };
}

size_t
safetensors_size(const struct safetensors_tensor *t)
{
	return t->n * dtypes[t->dtype].size;
}

void
safetensors_drop(const struct safetensors *st)
{
	/* Never written to, so nothing is lost; advice that fails costs memory. */
	if (st->map != NULL)
		(void)madvise(st->map, st->map_size, MADV_DONTNEED);
}

const struct safetensors_tensor *
safetensors_find(const struct safetensors *st, const char *name)
{
	size_t lo = 0, hi = st->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strcmp(st->tensors[mid].name, name);

		if (c == 0)
			return &st->tensors[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

void
safetensors_f32(const struct safetensors_tensor *t, uint64_t first, size_t n,
    float *out)
{
	const uint8_t *p = t->data + first * dtypes[t->dtype].size;

	assert(first <= t->n && n <= t->n - first);
	if (t->dtype == SAFETENSORS_F32) {
		memcpy(out, p, n * sizeof(float));
		return;
	}
	assert(t->dtype == SAFETENSORS_BF16 || t->dtype == SAFETENSORS_F16);
	for (size_t i = 0; i < n; i++) {
		uint32_t u;
		uint16_t v;

		memcpy(&v, p + 2 * i, 2);
		u = (uint32_t)v << 16;
		if (t->dtype == SAFETENSORS_BF16)
			memcpy(&out[i], &u, 4);
		else
			out[i] = half_to_f32(v);
	}
}
