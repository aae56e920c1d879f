#include "answer.h"

void
route_completions(struct web_request *rq, void *arg)
{
	struct openai_request q;
	struct caller caller;
	json_t *body;
	struct err e;

	if (web_body_json(rq, &body) != 0)
		return;
	if (caller_begin(arg, rq, body, &caller, &e) != 0 ||
	    openai_parse_completion(body, &q, &e) != 0) {
		web_reply_err(rq, &e);
	} else {
		answer(arg, rq, &q, &caller);
		openai_request_free(&q);
	}
	json_decref(body);
}
