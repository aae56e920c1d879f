#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "conf.h"
#include "decode.h"
#include "request.h"
#include "unit.h"

/* Decode the object of f as tag into *m. */
#define DECODE(tag, f, m, e) \
	field_decode(tag##_fields(), sizeof(struct tag), (f)->obj, m, e)

static int
reply_with(struct frame *reply, uint32_t type, const struct field *fields,
    const void *m, struct err *e)
{
	reply->type = type;
	reply->obj = field_encode(fields, m);
	if (reply->obj == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the reply");
	return 0;
}

/* The ids of an array, for member; their range is the caller's business. */
static int
take_ids(const json_t *array, const char *member, int32_t n_vocab,
    struct ids *out, struct err *e)
{
	const json_t *v;
	size_t i;

	if (!json_is_array(array))
		return err_set_param(e, ERR_BAD_MESSAGE, member,
		    "'%s' is not an array", member);
	json_array_foreach(array, i, v) {
		json_int_t id = json_integer_value(v);

		if (!json_is_integer(v) || id < 0 || id >= n_vocab)
			return err_set_param(e, ERR_RANGE, member,
			    "%s[%zu] is not a token id from 0 to %d", member, i,
			    (int)n_vocab - 1);
		if (ids_add(out, (int32_t)id) != 0)
			return err_set(e, ERR_NO_MEMORY, "no memory for ids");
	}
	return 0;
}

/* One of messages: exactly a role and a content. */
static int
take_message(const json_t *v, size_t i, struct message *m, struct err *e)
{
	const char *key;
	json_t *member;

	if (!json_is_object(v))
		return err_set_param(e, ERR_BAD_MESSAGE, "messages",
		    "messages[%zu] is not an object", i);
	*m = (struct message){ 0 };
	json_object_foreach((json_t *)v, key, member) {
		const char **to = strcmp(key, "role") == 0 ? &m->role :
		    strcmp(key, "content") == 0 ? &m->content : NULL;

		if (to == NULL)
			return err_set_param(e, ERR_BAD_MESSAGE, "messages",
			    "messages[%zu].%.32s is not known here", i, key);
		*to = json_string_value(member);
		if (*to == NULL || strlen(*to) != json_string_length(member))
			return err_set_param(e, ERR_BAD_MESSAGE, "messages",
			    "messages[%zu].%s is not a string without NUL", i,
			    key);
	}
	if (m->role == NULL || m->content == NULL)
		return err_set_param(e, ERR_BAD_MESSAGE, "messages",
		    "messages[%zu] lacks its %s", i,
		    m->role == NULL ? "role" : "content");
	return 0;
}

static int
encode_chat(const struct service *sv, const json_t *messages, struct ids *out,
    struct err *e)
{
	size_t n = json_array_size(messages);
	struct message *m;
	int r = 0;

	if (!json_is_array(messages))
		return err_set_param(e, ERR_BAD_MESSAGE, "messages",
		    "'messages' is not an array");
	if ((m = calloc(n, sizeof(*m))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for %zu messages",
		    n);
	for (size_t i = 0; i < n && r == 0; i++)
		r = take_message(json_array_get(messages, i), i, &m[i], e);
	if (r == 0 && template_wants_bos(sv->template) &&
	    sv->model.config.bos >= 0 && tokenizer_add_bos(sv->tokenizer) &&
	    ids_add(out, sv->model.config.bos) != 0)
		r = err_set(e, ERR_NO_MEMORY, "no memory for ids");
	if (r == 0 && (r = template_encode(sv->template, sv->tokenizer, m, n,
	    true, out, e)) == ERR_RANGE && e->param[0] == '\0')
		snprintf(e->param, sizeof(e->param), "messages");
	free(m);
	return r;
}

static int
encode_text(const struct service *sv, const char *text, bool bos,
    bool parse_special, struct ids *out, struct err *e)
{
	if (bos && sv->model.config.bos >= 0 &&
	    tokenizer_add_bos(sv->tokenizer) &&
	    ids_add(out, sv->model.config.bos) != 0)
		return err_set(e, ERR_NO_MEMORY, "no memory for ids");
	return tokenizer_encode(sv->tokenizer, text, strlen(text),
	    parse_special, out, e);
}

static int
encode_prompt(const struct service *sv, const struct decode_generate *g,
    struct ids *out, struct err *e)
{
	bool chat = json_array_size(g->messages) > 0 ||
	    json_object_size(g->messages) > 0;
	bool ids = json_array_size(g->prompt_ids) > 0 ||
	    json_object_size(g->prompt_ids) > 0;

	if (chat + ids + (g->prompt[0] != '\0') != 1)
		return err_set_param(e, ERR_RANGE, "prompt", "exactly one of "
		    "messages, prompt and prompt_ids must not be empty");
	if (chat)
		return encode_chat(sv, g->messages, out, e);
	if (ids)
		return take_ids(g->prompt_ids, "prompt_ids",
		    sv->model.config.vocab, out, e);
	return encode_text(sv, g->prompt, true, false, out, e);
}

static int
on_generate(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_generate g;
	struct decode_accepted a;
	struct ids prompt = { 0 };
	bool known = false;
	int r;

	if (sv->selfcheck.state == SELFCHECK_FAILED)
		return err_set(e, ERR_UNAVAILABLE, "the model failed its "
		    "self-check: %s", sv->selfcheck.text);
	if ((r = DECODE(decode_generate, f, &g, e)) != 0 ||
	    (r = engine_find(sv->engine, &g, &known, &a, e)) != 0)
		return r;
	if (!known && (r = encode_prompt(sv, &g, &prompt, e)) == 0)
		r = engine_add(sv->engine, &g, prompt.v, prompt.n, &a, e);
	ids_free(&prompt);
	if (r != 0)
		return r;
	return reply_with(reply, DECODE_TYPE_accepted, decode_accepted_fields(),
	    &a, e);
}

static int
on_cancel(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_cancel c;
	int r;

	if ((r = DECODE(decode_cancel, f, &c, e)) != 0)
		return r;
	engine_cancel(sv->engine, c.id);
	return reply_with(reply, DECODE_TYPE_cancelled,
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

	if ((r = DECODE(decode_replay, f, &q, e)) != 0 ||
	    (r = check_boot(sv, q.boot, e)) != 0 ||
	    (r = engine_replay(sv->engine, q.id, q.from_seq, &a.events,
	    e)) != 0)
		return r;
	a.id = q.id;
	r = reply_with(reply, DECODE_TYPE_replayed, decode_replayed_fields(),
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

	if ((r = DECODE(decode_ack, f, &a, e)) != 0 ||
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
	r = reply_with(reply, DECODE_TYPE_acked, decode_acked_fields(), &acked,
	    e);
	json_decref(acked.unknown);
	return r;
}

static int
on_tokenize(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_tokenize t;
	struct decode_tokens a;
	struct ids ids = { 0 };
	int r;

	if ((r = DECODE(decode_tokenize, f, &t, e)) != 0)
		return r;
	if (json_array_size(t.messages) + json_object_size(t.messages) > 0) {
		if (t.text[0] != '\0')
			return err_set_param(e, ERR_RANGE, "text",
			    "one of text and messages, not both");
		r = encode_chat(sv, t.messages, &ids, e);
	} else {
		r = encode_text(sv, t.text, t.add_special, t.parse_special,
		    &ids, e);
	}
	if (r == 0) {
		a.ids = json_array();
		for (size_t i = 0; i < ids.n; i++)
			json_array_append_new(a.ids, json_integer(ids.v[i]));
		r = reply_with(reply, DECODE_TYPE_tokens,
		    decode_tokens_fields(), &a, e);
		json_decref(a.ids);
	}
	ids_free(&ids);
	return r;
}

static int
on_detokenize(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_detokenize d;
	struct textstream ts;
	struct buf text = { 0 };
	struct ids ids = { 0 };
	int r;

	if ((r = DECODE(decode_detokenize, f, &d, e)) != 0)
		return r;
	textstream_init(&ts, NULL, 0);
	r = take_ids(d.ids, "ids", sv->model.config.vocab, &ids, e);
	for (size_t i = 0; i < ids.n && r == 0; i++)
		job_push_text(&ts, sv->tokenizer, ids.v[i], &text);
	textstream_flush(&ts, &text);
	if (r == 0 && text.failed)
		r = err_set(e, ERR_NO_MEMORY, "no memory for the text");
	if (r == 0)
		r = reply_with(reply, DECODE_TYPE_text, decode_text_fields(),
		    &(struct decode_text){ text.len == 0 ? "" : text.data +
		    (tokenizer_adds_blank(sv->tokenizer) &&
		    text.data[0] == ' ') }, e);
	textstream_finish(&ts);
	buf_free(&text);
	ids_free(&ids);
	return r;
}

static int
on_model_info(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	const struct model *m = &sv->model;
	struct decode_model_info_is a = {
		.id = sv->model_id, .architecture = m->architecture,
		.format = "h1b", .backend = sv->backend.name,
		.chat_template = template_name(sv->template),
		.n_ctx = sv->n_ctx, .n_ctx_train = m->config.n_ctx,
		.n_vocab = m->config.vocab, .n_params = m->n_params,
		.size_bytes = (int64_t)m->map_size,
		.n_slots = sv->options.slots, .created = m->file_time,
		.fingerprint = m->fingerprint,
		.selfcheck = selfcheck_name(sv->selfcheck.state),
	};

	(void)f;
	return reply_with(reply, DECODE_TYPE_model_info_is,
	    decode_model_info_is_fields(), &a, e);
}

static int
on_last_step(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_last_step_is is;
	int r;

	(void)f;
	step_record_last(&sv->record, &is);
	r = reply_with(reply, DECODE_TYPE_last_step_is,
	    decode_last_step_is_fields(), &is, e);
	json_decref(is.requests);
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
	return reply_with(reply, UNIT_TYPE_health_is, unit_health_is_fields(),
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
	r = reply_with(reply, UNIT_TYPE_stats_are, unit_stats_are_fields(), &a,
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
	{ DECODE_TYPE_tokenize, on_tokenize },
	{ DECODE_TYPE_detokenize, on_detokenize },
	{ DECODE_TYPE_model_info, on_model_info },
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
