/*
 * What llama-server's clients ask about a server: /props, which of its members
 * are fixed here, and /slots.  No text of a prompt is in either, and of a slot that
 * works for another key no more than that it does.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf.h"
#include "caller.h"
#include "gateway.h"
#include "openai_request.h"

enum { CALL_MS = 1000 };

/* Those of a request that says nothing else; a request may say each of them. */
static json_t *
default_params(void)
{
	return json_pack("{s:i, s:f, s:i, s:f, s:f, s:i, s:f, s:f, s:f, s:i, "
	    "s:i, s:b, s:[], s:{}, s:i, s:b, s:b, s:o}",
	    "seed", -1, "temperature", 1.0, "top_k", 0, "top_p", 1.0,
	    "min_p", 0.0, "repeat_last_n", 64, "repeat_penalty", 1.0,
	    "presence_penalty", 0.0, "frequency_penalty", 0.0,
	    "n_predict", -1, "min_keep", 0, "ignore_eos", 0,
	    "stop", "logit_bias", "n_probs", 0, "timings_per_token", 0,
	    "stream", 0, "samplers", openai_samplers());
}

/* template: Jinja, or the name of one of ours. */
static json_t *
props_json(const struct upstream_model *m, const char *template)
{
	json_t *v = json_pack("{s:{s:I, s:o}, s:I, s:s, s:s, s:s, "
	    "s:{s:b, s:b, s:b}, s:s, s:b, s:b, s:b}",
	    "default_generation_settings", "n_ctx", (json_int_t)m->n_ctx,
	    "params", default_params(), "total_slots", (json_int_t)m->n_slots,
	    "model_alias", m->id, "model_ftype", m->format,
	    "model_path", m->file, "modalities", "vision", 0, "video", 0,
	    "audio", 0, "media_marker", "", "endpoint_slots", 1,
	    "endpoint_props", 0, "endpoint_metrics", 1);

	json_object_update_new(v, json_pack("{s:s, s:{s:b, s:b, s:b, s:b, "
	    "s:b, s:b}, s:s, s:s, s:s, s:b, s:s}",
	    "chat_template", template, "chat_template_caps",
	    "supports_system_role", 1, "supports_string_content", 1,
	    "supports_typed_content", 0, "supports_tools", 0,
	    "supports_tool_calls", 0, "supports_parallel_tool_calls", 0,
	    "bos_token", m->bos_token, "eos_token", m->eos_token,
	    "build_info", "1bit-halo-" ONEBIT_VERSION, "is_sleeping", 0,
	    "selfcheck", m->selfcheck));
	return v;
}

/* What the model's file has for a template, as *reply says it; NULL if it is not
 * known, or not what is used. */
static const char *
ask_template(struct upstream *u, json_t **reply)
{
	struct decode_model_info_is i;
	struct err e;

	if (u == NULL || upstream_call(u, DECODE_TYPE_model_info, json_pack("{s:b}",
	    "with_template", 1), DECODE_TYPE_model_info_is, reply, CALL_MS, &e) != 0 ||
	    field_decode(decode_model_info_is_fields(), sizeof(i), *reply, &i, &e) != 0 ||
	    i.template_text[0] == '\0')
		return NULL;
	return i.template_text;
}

void
route_props(struct web_request *rq, void *arg)
{
	struct gateway *gw = arg;
	struct upstream_model m;
	char name[257];
	bool named = web_query_get(rq, "model", name, sizeof(name));
	const char *template;
	json_t *reply = NULL;
	struct err e;

	if (fleet_model(gw->fleet, named ? name : NULL, &m, &e) != 0) {
		web_reply_err(rq, &e);
		return;
	}
	template = ask_template(fleet_pick(gw->fleet, m.id, "", &e), &reply);
	web_reply_json(rq, 200, props_json(&m, template != NULL ? template :
	    m.chat_template));
	json_decref(reply);
}

static json_int_t
number(const json_t *v, const char *name)
{
	return json_integer_value(json_object_get(v, name));
}

/* May this caller know what runs there?  Of others it is told that one does. */
static bool
is_own(const json_t *s, const struct caller *c)
{
	return c->admin || (c->client != 0 && number(s, "client") == c->client);
}

/* The conversation whose turn it is, as /v1/sessions calls it; null: of none. */
static json_t *
slot_session(const json_t *s)
{
	const json_t *is = json_object_get(s, "session");
	json_t *v;

	if (!json_is_object(is))
		return json_null();
	v = json_pack("{s:O, s:O, s:O}", "id", json_object_get(is, "name"),
	    "key", json_object_get(is, "key"), "pinned", json_object_get(is, "pinned"));
	json_object_set_new(v, "expires_at", json_integer(time(NULL) +
	    number(is, "lease_ms") / 1000));
	return v;
}

/* llama-server's members of one slot and its session; its number here is id. */
static json_t *
slot_json(const json_t *s, json_int_t id, const char *model)
{
	const char *request = json_string_value(
	    json_object_get(s, "request"));
	json_int_t left = number(s, "limit") - number(s, "n_generated");
	json_t *params = json_object_get(s, "params");
	char task[8] = "";
	json_t *v;

	strncat(task, request != NULL ? request : "", 7);
	v = json_pack("{s:I, s:s, s:I, s:b, s:b, s:I, s:I, s:I, s:I, s:I}",
	    "id", id, "model", model, "n_ctx", number(s, "n_ctx"),
	    "speculative", 0, "is_processing", request != NULL,
	    "id_task", request != NULL ?
	    (json_int_t)strtol(task, NULL, 16) : (json_int_t)-1,
	    "n_prompt_tokens", number(s, "n_prompt"),
	    "n_prompt_tokens_processed", number(s, "n_fed"),
	    "n_prompt_tokens_cache", number(s, "n_cached"),
	    "cached_tokens", number(s, "n_cached"));
	json_object_set(v, "params", params != NULL ? params : json_null());
	json_object_set_new(v, "session", slot_session(s));
	json_object_set_new(v, "next_token", json_pack("[{s:b, s:b, s:I, "
	    "s:I}]", "has_next_token", request != NULL && left > 0,
	    "has_new_line", 0, "n_remain", request != NULL ? left : -1,
	    "n_decoded", number(s, "n_generated")));
	return v;
}

/* Add those of u to list, and the free ones to *n_free. */
static int
add_slots(struct upstream *u, const struct caller *c, json_t *list,
    int *n_free, struct err *e)
{
	struct decode_slots_are a;
	struct upstream_model m;
	json_t *reply = NULL, *s;
	json_int_t id;
	size_t i;
	int r;

	if ((r = upstream_model(u, &m, e)) != 0 ||
	    (r = upstream_call(u, DECODE_TYPE_slots, json_object(),
	    DECODE_TYPE_slots_are, &reply, CALL_MS, e)) != 0)
		return r;
	if ((r = field_decode(decode_slots_are_fields(), sizeof(a), reply, &a,
	    e)) == 0)
		json_array_foreach(a.slots, i, s) {
			*n_free += !json_is_true(
			    json_object_get(s, "is_processing"));
			id = (json_int_t)json_array_size(list);
			json_array_append_new(list, is_own(s, c) ?
			    slot_json(s, id, m.id) : json_pack(
			    "{s:I, s:s, s:I, s:O}", "id", id, "model", m.id,
			    "n_ctx", number(s, "n_ctx"), "is_processing",
			    json_object_get(s, "is_processing")));
		}
	json_decref(reply);
	return r;
}

void
route_slots(struct web_request *rq, void *arg)
{
	struct fleet *f = ((struct gateway *)arg)->fleet;
	json_t *list = json_array();
	int n_answered = 0, n_free = 0;
	struct caller c;
	char value[16];
	struct err e = { 0 };

	if (caller_begin(arg, rq, NULL, &c, &e) != 0) {
		json_decref(list);
		web_reply_err(rq, &e);
		return;
	}
	for (int i = 0; i < fleet_size(f); i++)
		n_answered += add_slots(fleet_at(f, i), &c, list,
		    &n_free, &e) == 0;
	if (n_answered > 0 && n_free == 0 && web_query_get(rq,
	    "fail_on_no_slot", value, sizeof(value))) {
		err_set(&e, ERR_UNAVAILABLE, "no slot is free");
		e.retry_after_ms = 1000;
		n_answered = 0;
	}
	if (n_answered > 0) {
		web_reply_json(rq, 200, list);
		return;
	}
	json_decref(list);
	web_reply_err(rq, &e);
}
