#include "embed.h"

void
route_embeddings(struct web_request *rq, void *arg)
{
	struct openai_embedding q;
	struct caller caller;
	json_t *body;
	struct err e;

	if (web_body_json(rq, &body) != 0)
		return;
	if (caller_begin(arg, rq, body, &caller, &e) != 0 ||
	    openai_parse_embedding(body, &q, &e) != 0) {
		web_reply_err(rq, &e);
	} else {
		embed(arg, rq, &q, &caller);
		openai_embedding_free(&q);
	}
	json_decref(body);
}
