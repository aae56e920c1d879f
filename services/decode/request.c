#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "conf.h"
#include "decode.h"
#include "log.h"
#include "engine_session.h"
#include "prompt.h"
#include "request.h"
#include "request_parts.h"
#include "unit.h"

int
request_reply(struct frame *reply, uint32_t type, const struct field *fields,
    const void *m, struct err *e)
{
	reply->type = type;
	reply->obj = field_encode(fields, m);
	if (reply->obj == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the reply");
	return 0;
}

/* The prompt of g, with what its session said before in the ids it had. */
static int
make_prompt(struct service *sv, const struct decode_generate *g,
    struct engine_prompt *prompt, struct err *e)
{
	struct transcript *said = NULL;
	struct err why;
	bool want = false;
	int r;

	if (g->session[0] != '\0' && (r = engine_session_peek(sv->engine, g,
	    &said, &want, e)) != 0)
		return r;
	if (want && sv->store != NULL && (r = session_store_restore(sv->store,
	    g->session, &why)) != ERR_NOT_FOUND) {
		if (r != 0)
			log_warn("session %.12s… starts cold: %s", g->session,
			    why.text);
		prompt->refused = r != 0;
		engine_session_done(sv->engine, said);
		if ((r = engine_session_peek(sv->engine, g, &said, &want,
		    e)) != 0)
			return r;
	}
	r = prompt_make(sv, g, said, prompt, e);
	engine_session_done(sv->engine, said);
	return r;
}

/* Who asks may have seen the life before this one, which had another model. */
static int
check_weights(const struct service *sv, const struct decode_generate *g,
    struct err *e)
{
	int r;

	if (g->fingerprint[0] == '\0' ||
	    strcmp(g->fingerprint, sv->model.fingerprint) == 0)
		return 0;
	r = err_set_param(e, ERR_LOADING, "fingerprint",
	    "the worker serves another model now");
	if (e != NULL)
		e->retry_after_ms = 1000;
	return r;
}

static int
on_generate(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct engine_prompt prompt = { 0 };
	struct decode_generate g;
	struct decode_accepted a;
	bool known = false;
	int r;

	if (sv->selfcheck.state == SELFCHECK_FAILED)
		return err_set(e, ERR_UNAVAILABLE, "the model failed its "
		    "self-check: %s", sv->selfcheck.text);
	if ((r = REQUEST_DECODE(decode_generate, f, &g, e)) != 0 ||
	    (r = check_weights(sv, &g, e)) != 0 ||
	    (r = engine_find(sv->engine, &g, &known, &a, e)) != 0)
		return r;
	if (!known && (r = make_prompt(sv, &g, &prompt, e)) == 0)
		r = engine_add_prompt(sv->engine, &g, &prompt, &a, e);
	transcript_free(prompt.says);
	if (r != 0)
		return r;
	if (!known)
		log_info("accepted id=%s attempt=%lld request=%s trace=%s", g.id,
		    (long long)g.attempt, g.request[0] != '\0' ? g.request : "-",
		    g.trace[0] != '\0' ? g.trace : "-");
	r = request_reply(reply, DECODE_TYPE_accepted, decode_accepted_fields(),
	    &a, e);
	json_decref(a.prompt_ids);
	return r;
}

static int
on_cancel(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_cancel c;
	int r;

	if ((r = REQUEST_DECODE(decode_cancel, f, &c, e)) != 0)
		return r;
	engine_cancel(sv->engine, c.id);
	return request_reply(reply, DECODE_TYPE_cancelled,
	    decode_cancelled_fields(), &(struct decode_cancelled){ c.id }, e);
}

static int
check_boot(const struct service *sv, const char *boot, struct err *e)
{
	if (strcmp(boot, sv->boot) == 0)
		return 0;
	return err_set_param(e, ERR_NOT_FOUND, "boot",
	    "that was another life of the worker; this one is %s", sv->boot);
}

static int
on_replay(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_replay q;
	struct decode_replayed a;
	int r;

	if ((r = REQUEST_DECODE(decode_replay, f, &q, e)) != 0 ||
	    (r = check_boot(sv, q.boot, e)) != 0 ||
	    (r = engine_replay(sv->engine, q.id, q.from_seq, &a.events,
	    e)) != 0)
		return r;
	a.id = q.id;
	r = request_reply(reply, DECODE_TYPE_replayed, decode_replayed_fields(),
	    &a, e);
	json_decref(a.events);
	return r;
}

static int
on_ack(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_acked acked = { 0 };
	struct decode_ack a;
	const char *id;
	json_t *v;
	int r;

	if ((r = REQUEST_DECODE(decode_ack, f, &a, e)) != 0 ||
	    (r = check_boot(sv, a.boot, e)) != 0)
		return r;
	if (!json_is_object(a.acks))
		return err_set_param(e, ERR_BAD_MESSAGE, "acks",
		    "'acks' is not an object");
	json_object_foreach(a.acks, id, v)
		if (!json_is_integer(v) || json_integer_value(v) < 0)
			return err_set_param(e, ERR_RANGE, "acks",
			    "acks: %.40s has no seq", id);
	acked.unknown = json_array();
	json_object_foreach(a.acks, id, v)
		if (!engine_ack(sv->engine, id, json_integer_value(v)))
			json_array_append_new(acked.unknown, json_string(id));
	r = request_reply(reply, DECODE_TYPE_acked, decode_acked_fields(), &acked,
	    e);
	json_decref(acked.unknown);
	return r;
}

static int
on_last_step(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_last_step_is is;
	int r;

	(void)f;
	step_record_last(&sv->record, &is);
	r = request_reply(reply, DECODE_TYPE_last_step_is,
	    decode_last_step_is_fields(), &is, e);
	json_decref(is.requests);
	return r;
}

static int
on_slots(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_slots_are a = { engine_slots(sv->engine) };
	int r;

	(void)f;
	r = request_reply(reply, DECODE_TYPE_slots_are,
	    decode_slots_are_fields(), &a, e);
	json_decref(a.slots);
	return r;
}

static int
on_health(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct unit_health_is a = {
		.unit = "decode", .boot = sv->boot, .version = ONEBIT_VERSION,
		.uptime_ms = clock_ms() - sv->started_ms,
	};

	(void)f;
	a.ready = service_is_ready(sv, &a.reason);
	return request_reply(reply, UNIT_TYPE_health_is, unit_health_is_fields(),
	    &a, e);
}

/* What the backend counts, by kind. */
static json_t *
kernels(const struct service *sv)
{
	struct backend_op ops[BACKEND_OPS_MAX];
	json_t *list = json_array();
	int n = sv->backend.ops == NULL ? 0 : sv->backend.ops(&sv->backend, ops);

	for (int i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}",
		    "name", ops[i].name, "calls", (json_int_t)ops[i].calls,
		    "ns", (json_int_t)ops[i].ns,
		    "bytes", (json_int_t)ops[i].bytes));
	return list;
}

static int
on_stats(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct unit_stats_are a = { "decode", json_object(), kernels(sv) };
	struct engine_stats st;
	int r;

	(void)f;
	engine_stats(sv->engine, &st);
#define VALUE(name, metric, labels, doc) \
	json_object_set_new(a.values, #name, json_integer(st.name));
	ENGINE_COUNTERS(VALUE)
	ENGINE_GAUGES(VALUE)
#undef VALUE
	if (atomic_load(&sv->loaded))
		json_object_set_new(a.values, "relistens",
		    json_integer(bus_server_relistens(sv->requests) +
		    bus_publisher_relistens(sv->events)));
	r = request_reply(reply, UNIT_TYPE_stats_are, unit_stats_are_fields(), &a,
	    e);
	json_decref(a.values);
	json_decref(a.kernels);
	return r;
}

static const struct {
	uint32_t type;
	int (*fn)(struct service *sv, const struct frame *f,
	    struct frame *reply, struct err *e);
} handlers[] = {
	{ DECODE_TYPE_generate, on_generate },
	{ DECODE_TYPE_cancel, on_cancel },
	{ DECODE_TYPE_replay, on_replay },
	{ DECODE_TYPE_ack, on_ack },
	{ DECODE_TYPE_tokenize, request_tokenize },
	{ DECODE_TYPE_detokenize, request_detokenize },
	{ DECODE_TYPE_render, request_render },
	{ DECODE_TYPE_model_info, request_model_info },
	{ DECODE_TYPE_slots, on_slots },
	{ DECODE_TYPE_session, request_session },
	{ DECODE_TYPE_sessions, request_sessions },
	{ DECODE_TYPE_last_step, on_last_step },
	{ UNIT_TYPE_health, on_health },
	{ UNIT_TYPE_stats, on_stats },
};

void
request_answer(void *arg, const struct frame *request, struct frame *reply)
{
	struct service *sv = arg;
	struct err e = { 0 };
	int r = ERR_BAD_MESSAGE;
	size_t i;

	for (i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		if (handlers[i].type == request->type) {
			r = handlers[i].fn(sv, request, reply, &e);
			break;
		}
	if (i == sizeof(handlers) / sizeof(handlers[0]))
		err_set(&e, ERR_BAD_MESSAGE, "message type %u is not a request",
		    (unsigned)request->type);
	if (r != 0) {
		frame_free(reply);
		frame_set_error(reply, &e);
	}
}
