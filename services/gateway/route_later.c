/*
 * Dialects of other servers that are not spoken yet: a sentence that says so and
 * names the route to use is worth more than "no such URL".
 */
#include <stdio.h>

#include "gateway.h"

void
route_later(struct web_request *rq, void *arg)
{
	char text[200];

	(void)arg;
	snprintf(text, sizeof(text), "%.80s is not offered yet: use "
	    "/v1/chat/completions", web_path(rq));
	web_reply_error(rq, 400, "invalid_request_error", "unsupported_api",
	    NULL, text);
}
