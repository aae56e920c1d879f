/*
 * What only a chat has: its messages, and what is to become of thoughts.
 */
#include "openai_request.h"

int
openai_parse_chat(const json_t *body, struct openai_request *q, struct err *e)
{
	json_t *messages = NULL;
	int r;

	if ((r = openai_begin(body, true, q, e)) != 0)
		return r;
	if ((r = openai_parse_params(body, q, e)) != 0 ||
	    (r = openai_parse_reasoning(body, q, e)) != 0 ||
	    (r = openai_parse_messages(body, &messages, e)) != 0)
		openai_request_free(q);
	else
		json_array_append_new(q->prompts,
		    json_pack("{s:o}", "messages", messages));
	return r;
}
