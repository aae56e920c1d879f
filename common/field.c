#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"

enum { FIELD_SIZE_MAX = 2048 };		/* largest struct, in bytes */

static const char *
kind_name(enum field_kind kind)
{
	switch (kind) {
	case FIELD_STR:
		return "a string";
	case FIELD_INT:
		return "an integer";
	case FIELD_REAL:
		return "a number";
	case FIELD_BOOL:
		return "a boolean";
	case FIELD_JSON:
		return "an array or object";
	}
	return "?";
}

/* Does v have the kind f declares?  An integer is also a number. */
static bool
kind_matches(const struct field *f, const json_t *v)
{
	switch (f->kind) {
	case FIELD_STR:
		return json_is_string(v);
	case FIELD_INT:
		return json_is_integer(v);
	case FIELD_REAL:
		return json_is_number(v);
	case FIELD_BOOL:
		return json_is_boolean(v);
	case FIELD_JSON:
		return json_is_array(v) || json_is_object(v);
	}
	return false;
}

/* What min and max of f are compared with. */
static double
measure(const struct field *f, const json_t *v)
{
	switch (f->kind) {
	case FIELD_STR:
		return (double)json_string_length(v);
	case FIELD_INT:
	case FIELD_REAL:
		return json_number_value(v);
	case FIELD_BOOL:
		return f->min;
	case FIELD_JSON:
		return json_is_array(v) ? (double)json_array_size(v)
		    : (double)json_object_size(v);
	}
	return 0;
}

static void
store(const struct field *f, json_t *v, unsigned char *out)
{
	unsigned char *p = out + f->offset;

	switch (f->kind) {
	case FIELD_STR:
		memcpy(p, &(const char *){ json_string_value(v) },
		    sizeof(const char *));
		break;
	case FIELD_INT:
		memcpy(p, &(int64_t){ json_integer_value(v) },
		    sizeof(int64_t));
		break;
	case FIELD_REAL:
		memcpy(p, &(double){ json_number_value(v) }, sizeof(double));
		break;
	case FIELD_BOOL:
		memcpy(p, &(bool){ json_is_true(v) }, sizeof(bool));
		break;
	case FIELD_JSON:
		memcpy(p, &v, sizeof(v));
		break;
	}
}

/* Put f's default into obj, so that obj owns it like the rest. */
static int
add_default(const struct field *f, json_t *obj, struct err *e)
{
	json_t *v;

	if (f->dflt == NULL)
		return err_set_param(e, ERR_BAD_MESSAGE, f->name,
		    "'%s' is missing", f->name);
	if ((v = json_loads(f->dflt, JSON_DECODE_ANY, NULL)) == NULL ||
	    json_object_set_new(obj, f->name, v) != 0)
		return err_set(e, ERR_NO_MEMORY, "no memory for '%s'", f->name);
	return 0;
}

static int
decode_one(const struct field *f, json_t *obj, unsigned char *out,
    struct err *e)
{
	json_t *v = json_object_get(obj, f->name);
	double m;

	if (!kind_matches(f, v))
		return err_set_param(e, ERR_BAD_MESSAGE, f->name,
		    "'%s' is not %s", f->name, kind_name(f->kind));
	m = measure(f, v);
	if (!isfinite(m) || m < f->min || m > f->max)
		return err_set_param(e, ERR_RANGE, f->name,
		    "'%s' is %.16g, not in %.16g..%.16g%s%s", f->name, m,
		    f->min, f->max, *f->unit ? " " : "", f->unit);
	if (f->kind == FIELD_STR && memchr(json_string_value(v), '\0',
	    json_string_length(v)) != NULL)
		return err_set_param(e, ERR_BAD_MESSAGE, f->name,
		    "'%s' has a NUL in it", f->name);
	store(f, v, out);
	return 0;
}

static int
reject_unknown(const struct field *fields, json_t *obj, struct err *e)
{
	const struct field *f;
	const char *name;
	json_t *v;

	json_object_foreach(obj, name, v) {
		for (f = fields; f->name != NULL; f++)
			if (strcmp(f->name, name) == 0)
				break;
		if (f->name == NULL)
			return err_set_param(e, ERR_BAD_MESSAGE, name,
			    "'%.64s' is not known here", name);
	}
	return 0;
}

int
field_decode(const struct field *fields, size_t size, json_t *obj, void *out,
    struct err *e)
{
	_Alignas(max_align_t) unsigned char tmp[FIELD_SIZE_MAX] = { 0 };
	const struct field *f;
	const json_t *v;
	int r;

	assert(size <= sizeof(tmp));
	if (!json_is_object(obj))
		return err_set(e, ERR_BAD_MESSAGE, "not an object");
	if ((r = reject_unknown(fields, obj, e)) != 0)
		return r;
	for (f = fields; f->name != NULL; f++) {
		v = json_object_get(obj, f->name);
		if ((v == NULL || json_is_null(v)) &&
		    (r = add_default(f, obj, e)) != 0)
			return r;
		if ((r = decode_one(f, obj, tmp, e)) != 0)
			return r;
	}
	memcpy(out, tmp, size);
	return 0;
}

static json_t *
encode_one(const struct field *f, const void *p)
{
	switch (f->kind) {
	case FIELD_STR:
		return json_string(*(const char *const *)p);
	case FIELD_INT:
		return json_integer(*(const int64_t *)p);
	case FIELD_REAL:
		return json_real(*(const double *)p);
	case FIELD_BOOL:
		return json_boolean(*(const bool *)p);
	case FIELD_JSON:
		return json_incref(*(json_t *const *)p);
	}
	return NULL;
}

/* A NULL string or json_t, which the reader may take for its default. */
static bool
is_left_out(const struct field *f, const void *p)
{
	const void *value = NULL;

	if (f->dflt == NULL ||
	    (f->kind != FIELD_STR && f->kind != FIELD_JSON))
		return false;
	memcpy(&value, p, sizeof(value));
	return value == NULL;
}

json_t *
field_encode(const struct field *fields, const void *in)
{
	const struct field *f;
	const void *p;
	json_t *obj = json_object();

	for (f = fields; f->name != NULL; f++) {
		p = (const unsigned char *)in + f->offset;
		if (!is_left_out(f, p) &&
		    json_object_set_new(obj, f->name, encode_one(f, p)) != 0)
			goto fail;
	}
	return obj;
fail:
	json_decref(obj);
	return NULL;
}

/* text, with what Markdown takes for the end of a cell made harmless. */
static void
print_cell(const char *text, FILE *fp)
{
	for (; *text != '\0'; text++)
		fprintf(fp, *text == '|' ? "\\%c" : "%c", *text);
}

static void
print_limits(const struct field *f, FILE *fp)
{
	if (f->kind == FIELD_BOOL)
		return;
	fprintf(fp, f->min < f->max ? "%.16g..%.16g" : "%.16g", f->min, f->max);
	if (*f->unit != '\0')
		fprintf(fp, " %s", f->unit);
	else if (f->kind == FIELD_STR)
		fprintf(fp, " bytes");
	else if (f->kind == FIELD_JSON)
		fprintf(fp, " elements");
}

void
field_print(const struct field *fields, FILE *fp)
{
	const struct field *f;

	fprintf(fp, "| member | kind | limits | default | meaning |\n"
	    "|---|---|---|---|---|\n");
	for (f = fields; f->name != NULL; f++) {
		fprintf(fp, "| `%s` | %s | ", f->name, kind_name(f->kind));
		print_limits(f, fp);
		if (f->dflt == NULL)
			fprintf(fp, " | required | ");
		else
			fprintf(fp, " | `%s` | ", f->dflt);
		print_cell(f->doc, fp);
		fprintf(fp, " |\n");
	}
}
