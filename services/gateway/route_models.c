#include <string.h>

#include "gateway.h"

static json_t *
model_json(const struct upstream_model *m)
{
	return json_pack("{s:s, s:s, s:I, s:s, s:{s:I, s:I, s:I, s:I, s:I, "
	    "s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s}}", "id", m->id,
	    "object", "model",
	    "created", (json_int_t)m->created, "owned_by", "1bit", "meta",
	    "n_ctx", (json_int_t)m->n_ctx,
	    "n_ctx_train", (json_int_t)m->n_ctx_train,
	    "n_vocab", (json_int_t)m->n_vocab,
	    "n_params", (json_int_t)m->n_params,
	    "n_embd", (json_int_t)m->n_embd, "n_slots", (json_int_t)m->n_slots,
	    "size", (json_int_t)m->size_bytes,
	    "architecture", m->architecture, "format", m->format,
	    "chat_template", m->chat_template,
	    "backend", m->backend, "fingerprint", m->fingerprint,
	    "selfcheck", m->selfcheck);
}

/* Each model once, however many serve it. */
static int
list_models(struct fleet *f, json_t **data, struct err *e)
{
	struct upstream_model m, other;
	int r;

	if ((r = fleet_model(f, NULL, &m, e)) != 0)
		return r;
	*data = json_array();
	for (int i = 0; i < fleet_size(f); i++) {
		bool known = upstream_model(fleet_at(f, i), &m, NULL) == 0;

		for (int k = 0; known && k < i; k++)
			known = upstream_model(fleet_at(f, k), &other,
			    NULL) != 0 || strcmp(other.id, m.id) != 0;
		if (known)
			json_array_append_new(*data, model_json(&m));
	}
	return 0;
}

void
route_models(struct web_request *rq, void *arg)
{
	struct gateway *gw = arg;
	json_t *data;
	struct err e;

	if (list_models(gw->fleet, &data, &e) != 0)
		web_reply_err(rq, &e);
	else
		web_reply_json(rq, 200, json_pack("{s:s, s:o}", "object",
		    "list", "data", data));
}

void
route_model(struct web_request *rq, void *arg)
{
	struct gateway *gw = arg;
	struct upstream_model m;
	struct err e;

	if (fleet_model(gw->fleet, web_path_tail(rq), &m, &e) != 0)
		web_reply_err(rq, &e);
	else
		web_reply_json(rq, 200, model_json(&m));
}
