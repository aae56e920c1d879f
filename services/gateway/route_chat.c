#include "answer.h"

void
route_chat(struct web_request *rq, void *arg)
{
	struct openai_request q;
	json_t *body;
	struct err e;

	if (web_body_json(rq, &body) != 0)
		return;
	if (openai_parse_chat(body, &q, &e) != 0) {
		web_reply_err(rq, &e);
	} else {
		answer(arg, rq, &q);
		openai_request_free(&q);
	}
	json_decref(body);
}
