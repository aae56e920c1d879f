#include "options.h"

#include <netinet/in.h>
#include <string.h>

#include "discover.h"
#include "web.h"

FIELD_TABLE(gateway_options, GATEWAY_OPTIONS)

/* It stands in logs and, quoted, in metrics. */
static bool
is_name(const char *s)
{
	size_t n = s == NULL ? 0 : strlen(s);

	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\')
			return false;
	return n > 0 && n <= 100;
}

int
gateway_options_check(const struct gateway_options *o, struct err *e)
{
	struct sockaddr_in at;
	json_t *v;
	size_t i;
	int r;

	if ((r = web_check_bind(o->bind, e)) != 0)
		return r;
	if (!json_is_array(o->upstream))
		return err_set(e, ERR_RANGE, "upstream is not a list");
	json_array_foreach(o->upstream, i, v) {
		const char *name = json_string_value(v);

		if (!is_name(name))
			return err_set(e, ERR_RANGE, "upstream is not a URL or "
			    "a path of at most 100 characters");
		for (size_t k = 0; k < i; k++)
			if (json_equal(json_array_get(o->upstream, k), v))
				return err_set(e, ERR_RANGE,
				    "upstream '%s' is given twice", name);
		if (fleet_is_directory(name) == NULL &&
		    (r = discover_address(name, &at, e)) != 0)
			return r;
	}
	if (strcmp(o->log_format, "text") != 0 &&
	    strcmp(o->log_format, "json") != 0)
		return err_set(e, ERR_RANGE,
		    "log_format '%s' is neither text nor json", o->log_format);
	return 0;
}
