#ifndef COMMON_FIELD_H
#define COMMON_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "err.h"

/*
 * A struct declared once, as a list, and everything that must agree with it:
 * its members, its JSON form, its options, its documentation.
 *
 *	#define POINT(F)                                             \
 *		F(INT, x,    0, 1919, NULL,   "px", "from the left") \
 *		F(STR, name, 0, 64,   "\"\"", "",   "shown to users")
 *
 *	FIELD_STRUCT(point, POINT);	in the header: struct point, point_fields()
 *	FIELD_TABLE(point, POINT)	in one .c file: the table itself
 *
 * Columns: kind, member, min, max, default, unit, meaning.
 *
 *	kind	C member	min and max are
 *	STR	const char *	bytes, without the NUL; a NUL inside is refused
 *	INT	int64_t		the value; at most 2^53 either way
 *	REAL	double		the value; NaN and infinity are refused
 *	BOOL	bool		unused
 *	JSON	json_t *	elements of the array or members of the object
 *
 * The default is JSON text; NULL makes the member mandatory.  A JSON null in a
 * message is as good as absent.
 */
enum field_kind { FIELD_STR, FIELD_INT, FIELD_REAL, FIELD_BOOL, FIELD_JSON };

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;
	double min, max;
	const char *dflt;
	const char *unit;
	const char *doc;
};

#define FIELD_C_STR const char *
#define FIELD_C_INT int64_t
#define FIELD_C_REAL double
#define FIELD_C_BOOL bool
#define FIELD_C_JSON json_t *

#define FIELD_MEMBER(kind, name, min, max, dflt, unit, doc) \
	FIELD_C_##kind name;
#define FIELD_STRUCT(tag, LIST)            \
	struct tag { LIST(FIELD_MEMBER) }; \
	const struct field *tag##_fields(void)

#define FIELD_ROW(kind, name, min, max, dflt, unit, doc)                \
	{ #name, FIELD_##kind, offsetof(field_self, name), min, max, \
	  dflt, unit, doc },
#define FIELD_TABLE(tag, LIST)                                 \
	const struct field *tag##_fields(void)                 \
	{                                                      \
		typedef struct tag field_self;                 \
		static const struct field fields[] = {         \
			LIST(FIELD_ROW) { 0 }                  \
		};                                             \
		return fields;                                 \
	}

/*
 * Fill *out (size bytes) from obj.  Members that obj lacks are added to obj
 * with their default; names that the table lacks are an error, so a misspelt
 * name is never ignored.  Strings and json_t of *out are borrowed from obj:
 * they live until obj is released.  On failure *out is unchanged and e names
 * the member, also in e->param.
 */
int field_decode(const struct field *fields, size_t size, json_t *obj,
    void *out, struct err *e);

/*
 * The reverse; a new reference, NULL if memory is short or text not UTF-8.  A
 * NULL string or json_t is left out where the table has a default.
 */
json_t *field_encode(const struct field *fields, const void *in);

/* Print the table as Markdown, for the reference pages. */
void field_print(const struct field *fields, FILE *fp);

#endif
