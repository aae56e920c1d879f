#include <string.h>

#include "gateway.h"

static json_t *
model_json(const struct upstream_model *m)
{
	return json_pack("{s:s, s:s, s:I, s:s, s:{s:I, s:I, s:I, s:I, s:I, "
	    "s:s, s:s, s:s, s:s, s:s}}", "id", m->id, "object", "model",
	    "created", (json_int_t)m->created, "owned_by", "1bit", "meta",
	    "n_ctx", (json_int_t)m->n_ctx,
	    "n_ctx_train", (json_int_t)m->n_ctx_train,
	    "n_vocab", (json_int_t)m->n_vocab,
	    "n_params", (json_int_t)m->n_params,
	    "size", (json_int_t)m->size_bytes,
	    "architecture", m->architecture, "format", m->format,
	    "backend", m->backend, "fingerprint", m->fingerprint,
	    "selfcheck", m->selfcheck);
}

void
route_models(struct web_request *rq, void *arg)
{
	struct gateway *gw = arg;
	struct upstream_model m;
	struct err e;

	if (upstream_model(gw->upstream, &m, &e) != 0)
		web_reply_err(rq, &e);
	else
		web_reply_json(rq, 200, json_pack("{s:s, s:[o]}", "object",
		    "list", "data", model_json(&m)));
}

void
route_model(struct web_request *rq, void *arg)
{
	struct gateway *gw = arg;
	struct upstream_model m;
	struct err e;

	if (upstream_model(gw->upstream, &m, &e) != 0) {
		web_reply_err(rq, &e);
	} else if (strcmp(web_path_tail(rq), m.id) != 0) {
		err_set_param(&e, ERR_MODEL, "model",
		    "there is no model '%.100s' here: it is '%.100s'",
		    web_path_tail(rq), m.id);
		web_reply_err(rq, &e);
	} else {
		web_reply_json(rq, 200, model_json(&m));
	}
}
