#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "utf8.h"

/*
 * The sentence is composed beside *e, so that its arguments may be the old
 * sentence, and made clean UTF-8, since it may quote what came from outside and
 * ends in JSON and in a log.
 */
static void __attribute__((format(printf, 4, 0)))
fill(struct err *e, enum err_code code, const char *param, const char *fmt,
    va_list ap)
{
	int saved = errno;
	struct err new = { .code = code };

	vsnprintf(new.text, sizeof(new.text), fmt, ap);
	utf8_clean(new.text);
	snprintf(new.param, sizeof(new.param), "%s", param);
	utf8_clean(new.param);
	*e = new;
	errno = saved;
}

int
err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return code;
	va_start(ap, fmt);
	fill(e, code, "", fmt, ap);
	va_end(ap);
	return code;
}

int
err_set_param(struct err *e, enum err_code code, const char *param,
    const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return code;
	va_start(ap, fmt);
	fill(e, code, param, fmt, ap);
	va_end(ap);
	return code;
}

struct row {
	int code, http;
	const char *name, *type, *tag;
};

/* The row of code; that of SYSTEM if this build lacks it. */
static const struct row *
find(int code)
{
	static const struct row rows[] = {
		{ ERR_NONE, 200, "NONE", "", "" },
#define E(name, code, http, type, tag, doc) { code, http, #name, type, tag },
		ERR_LIST(E)
#undef E
	};
	size_t n = sizeof(rows) / sizeof(rows[0]);

	for (size_t i = 0; i < n; i++)
		if (rows[i].code == code)
			return &rows[i];
	return code == ERR_SYSTEM ? &rows[0] : find(ERR_SYSTEM);
}

const char *
err_name(int code)
{
	return find(code)->name;
}

int
err_http_status(int code)
{
	return find(code)->http;
}

const char *
err_type(int code)
{
	return find(code)->type;
}

const char *
err_tag(int code)
{
	return find(code)->tag;
}
