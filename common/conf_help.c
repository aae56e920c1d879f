#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "conf_help.h"

enum { HELP_WIDTH = 78, HELP_INDENT = 14 };

void
conf_env_name(const struct conf_program *p, const char *name, char *out,
    size_t n)
{
	snprintf(out, n, "%s%s", p->env_prefix, name);
	for (; *out != '\0'; out++)
		*out = (char)toupper((unsigned char)*out);
}

/* text in lines of HELP_WIDTH, indented. */
static void
print_wrapped(const char *text, FILE *fp)
{
	int column = 0, len;

	while (*(text += strspn(text, " ")) != '\0') {
		len = (int)strcspn(text, " ");
		if (column == 0 || column + 1 + len > HELP_WIDTH) {
			fprintf(fp, "%s%*s%.*s", column == 0 ? "" : "\n",
			    HELP_INDENT, "", len, text);
			column = HELP_INDENT + len;
		} else {
			fprintf(fp, " %.*s", len, text);
			column += 1 + len;
		}
		text += len;
	}
	fputc('\n', fp);
}

static const char *
placeholder(enum field_kind kind)
{
	switch (kind) {
	case FIELD_STR:
		return " TEXT";
	case FIELD_INT:
		return " N";
	case FIELD_REAL:
		return " X";
	case FIELD_BOOL:
		return "";
	case FIELD_JSON:
		return " VALUE ...";
	}
	return "";
}

static void
add_limits(struct buf *b, const struct field *f)
{
	const char *blank = *f->unit != '\0' ? " " : "";

	switch (f->kind) {
	case FIELD_STR:
		if (f->min > 0)
			buf_printf(b, "%.16g to %.16g bytes", f->min, f->max);
		else
			buf_printf(b, "At most %.16g bytes", f->max);
		break;
	case FIELD_INT:
	case FIELD_REAL:
		buf_printf(b, "%.16g to %.16g%s%s", f->min, f->max, blank,
		    f->unit);
		break;
	case FIELD_JSON:
		if (f->min > 0)
			buf_printf(b, "May be given %.16g to %.16g times",
			    f->min, f->max);
		else
			buf_printf(b, "May be given up to %.16g times", f->max);
		break;
	case FIELD_BOOL:
		buf_printf(b, "true or false");
		break;
	}
}

static void
add_default(struct buf *b, const struct field *f)
{
	size_t n;

	if (f->dflt == NULL) {
		buf_adds(b, "; required");
		return;
	}
	if (strcmp(f->dflt, "\"\"") == 0 || strcmp(f->dflt, "[]") == 0)
		return;
	n = strlen(f->dflt);
	if (f->kind == FIELD_STR && n >= 2)	/* without the quotes */
		buf_printf(b, "; default %.*s", (int)n - 2, f->dflt + 1);
	else
		buf_printf(b, "; default %s", f->dflt);
}

static void
print_option(const struct conf_program *p, const struct field *f, FILE *fp)
{
	struct buf b = { 0 };
	char env[128];

	conf_env_name(p, f->name, env, sizeof(env));
	fputs("       --", fp);
	for (const char *c = f->name; *c != '\0'; c++)
		fputc(*c == '_' ? '-' : *c, fp);
	fprintf(fp, "%s\n", placeholder(f->kind));
	buf_printf(&b, "%c%s. ", toupper((unsigned char)f->doc[0]), f->doc + 1);
	add_limits(&b, f);
	add_default(&b, f);
	buf_printf(&b, ". %s", env);
	if (!b.failed)
		print_wrapped(b.data, fp);
	fputc('\n', fp);
	buf_free(&b);
}

void
conf_help(const struct conf_program *p, const struct field *fields, FILE *fp)
{
	char env[128];

	fprintf(fp, "NAME\n       %s - %s\n\n", p->name, p->summary);
	fprintf(fp, "SYNOPSIS\n       %s [--config FILE] [-n] "
	    "[--OPTION [VALUE]]...\n       %s --help | --version\n\n",
	    p->name, p->name);
	fprintf(fp, "OPTIONS\n");
	for (const struct field *f = fields; f->name != NULL; f++)
		print_option(p, f, fp);
	conf_env_name(p, "config", env, sizeof(env));
	fprintf(fp, "       --config FILE\n"
	    "              Read options from FILE: lines of a name and a value."
	    " %s\n\n"
	    "       -n\n"
	    "              Check all options, print the values in force as such "
	    "lines, and\n              exit.\n\n"
	    "       -h, --help\n"
	    "              Print this page and exit.\n\n"
	    "       --version\n"
	    "              Print the version and exit.\n\n"
	    "       A value is given as --option VALUE or --option=VALUE; true "
	    "or false may\n"
	    "       be left out and then is true. The command line counts more "
	    "than the\n"
	    "       environment (the names in capitals above; several values "
	    "with commas\n"
	    "       between), the environment more than FILE, FILE more than "
	    "the default.\n"
	    "       In FILE, '#' at the start of a line or after a blank begins "
	    "a comment.\n", env);
	if (p->details != NULL && *p->details != '\0')
		fprintf(fp, "\n%s%s", p->details,
		    p->details[strlen(p->details) - 1] == '\n' ? "" : "\n");
}

static void
print_value(const char *name, const json_t *v, FILE *fp)
{
	char *text;

	if (json_is_string(v)) {
		fprintf(fp, json_string_length(v) > 0 ? "%s %s\n" : "%s\n",
		    name, json_string_value(v));
		return;
	}
	/* 15 digits give back any number that a person writes. */
	text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT |
	    JSON_REAL_PRECISION(15));
	fprintf(fp, "%s %s\n", name, text != NULL ? text : "?");
	free(text);
}

void
conf_print(const struct field *fields, const json_t *obj, FILE *fp)
{
	const json_t *v, *element;
	size_t i;

	for (const struct field *f = fields; f->name != NULL; f++) {
		v = json_object_get(obj, f->name);
		if (!json_is_array(v)) {
			print_value(f->name, v, fp);
			continue;
		}
		json_array_foreach(v, i, element)
			print_value(f->name, element, fp);
	}
}
