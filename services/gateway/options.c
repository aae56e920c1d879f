#include "options.h"

#include <netinet/in.h>
#include <string.h>

#include "discover.h"

FIELD_TABLE(gateway_options, GATEWAY_OPTIONS)

int
gateway_options_check(const struct gateway_options *o, struct err *e)
{
	size_t n = json_array_size(o->upstream);
	struct sockaddr_in at;
	const char *url;
	int r;

	if (!json_is_array(o->upstream))
		return err_set(e, ERR_RANGE, "upstream is not a list");
	if (n > 1)
		return err_set(e, ERR_RANGE, "upstream is given %zu times: "
		    "this version serves one worker", n);
	if (n == 1) {
		url = json_string_value(json_array_get(o->upstream, 0));
		if (url == NULL)
			return err_set(e, ERR_RANGE, "upstream is not a URL");
		if ((r = discover_address(url, &at, e)) != 0)
			return r;
	}
	if (strcmp(o->log_format, "text") != 0 &&
	    strcmp(o->log_format, "json") != 0)
		return err_set(e, ERR_RANGE,
		    "log_format '%s' is neither text nor json", o->log_format);
	return 0;
}

bool
gateway_options_loopback(const char *bind)
{
	return strncmp(bind, "127.", 4) == 0 ||
	    strncmp(bind, "localhost:", 10) == 0;
}
