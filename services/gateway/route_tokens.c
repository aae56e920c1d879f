/*
 * Text to tokens and back, and a chat as the text that its model is given:
 * llama-server's three routes, with the worker's own tokenizer.
 */
#include <string.h>

#include "base64.h"
#include "gateway.h"
#include "openai_request.h"
#include "utf8.h"

enum { CALL_MS = 10000 };	/* 1 MiB of text is tokenized in less */

/* An error of no member is one of the answer's size, which the bus bounds. */
static int
too_large(uint32_t type, struct err *e)
{
	const char *param = type == DECODE_TYPE_tokenize ? "content" :
	    type == DECODE_TYPE_detokenize ? "tokens" : "messages";

	return err_set_param(e, ERR_RANGE, param, "what '%s' becomes does not fit "
	    "into one answer: send it in parts", param);
}

/* Ask the worker of the model that body names, or of any. */
static int
ask(struct gateway *gw, const json_t *body, uint32_t type, json_t *obj,
    uint32_t reply_type, json_t **reply, struct err *e)
{
	const json_t *model = openai_member(body, "model");
	struct upstream *u = NULL;
	int r;

	if (model != NULL && !json_is_string(model))
		err_set_param(e, ERR_RANGE, "model", "'model' is not a name");
	else
		u = fleet_pick(gw->fleet, json_string_value(model), "", e);
	if (u == NULL) {
		json_decref(obj);
		return (int)e->code;
	}
	if ((r = upstream_call(u, type, obj, reply_type, reply, CALL_MS,
	    e)) != 0 && strcmp(e->param, "ids") == 0)
		strcpy(e->param, "tokens");	/* as the client calls it */
	return r == ERR_RANGE && e->param[0] == '\0' ? too_large(type, e) : r;
}

/* Not UTF-8 as a whole: its bytes, as numbers. */
static json_t *
bytes_json(const struct buf *raw)
{
	json_t *list = json_array();

	for (size_t i = 0; i < raw->len; i++)
		json_array_append_new(list,
		    json_integer((unsigned char)raw->data[i]));
	return list;
}

static json_t *
piece_json(const json_t *b64)
{
	struct buf raw = { 0 };
	size_t i = 0, n = 1;
	json_t *v;

	base64_decode(json_string_value(b64), json_string_length(b64), &raw);
	while (i < raw.len && (n = utf8_char(raw.data + i, raw.len - i)) > 0)
		i += n;
	v = n == 0 || raw.failed ? bytes_json(&raw) :
	    json_stringn(raw.len > 0 ? raw.data : "", raw.len);
	buf_free(&raw);
	return v;
}

/* The ids, or {id, piece} for each. */
static json_t *
tokens_json(const json_t *reply)
{
	json_t *ids = json_object_get(reply, "ids"), *id, *list;
	const json_t *pieces = json_object_get(reply, "pieces");
	size_t i;

	if (pieces == NULL)
		return json_pack("{s:O}", "tokens", ids);
	list = json_array();
	json_array_foreach(ids, i, id)
		json_array_append_new(list, json_pack("{s:O, s:o}", "id", id,
		    "piece", piece_json(json_array_get(pieces, i))));
	return json_pack("{s:o}", "tokens", list);
}

static int
tokenize(struct gateway *gw, const json_t *body, json_t **out, struct err *e)
{
	const json_t *content = openai_member(body, "content");
	bool special = false, parse = true, pieces = false;
	json_t *reply = NULL;
	int r;

	if (!json_is_string(content))
		return err_set_param(e, content == NULL ? ERR_BAD_MESSAGE :
		    ERR_RANGE, "content", content == NULL ?
		    "'content' is missing" : "'content' is not a text");
	if (json_string_length(content) > DECODE_PROMPT_MAX)
		return err_set_param(e, ERR_RANGE, "content",
		    "'content' has %zu bytes, more than %d",
		    json_string_length(content), DECODE_PROMPT_MAX);
	if ((r = openai_parse_bool(body, "add_special", &special, e)) != 0 ||
	    (r = openai_parse_bool(body, "parse_special", &parse, e)) != 0 ||
	    (r = openai_parse_bool(body, "with_pieces", &pieces, e)) != 0 ||
	    (r = ask(gw, body, DECODE_TYPE_tokenize,
	    json_pack("{s:O, s:b, s:b, s:b}", "text", content, "add_special",
	    special, "parse_special", parse, "with_pieces", pieces),
	    DECODE_TYPE_tokens, &reply, e)) != 0)
		return r;
	*out = tokens_json(reply);
	json_decref(reply);
	return 0;
}

static int
detokenize(struct gateway *gw, const json_t *body, json_t **out,
    struct err *e)
{
	const json_t *tokens = openai_member(body, "tokens");
	json_t *reply = NULL, *prompts = json_array();
	int r = 0;

	/* One list of ids, by the rules of a prompt. */
	if (tokens == NULL || (json_is_array(tokens) &&
	    json_array_size(tokens) > 0 &&
	    json_is_integer(json_array_get(tokens, 0))))
		r = openai_parse_prompts(body, "tokens", 1, prompts, e);
	else if (!json_is_array(tokens) || json_array_size(tokens) > 0)
		r = err_set_param(e, ERR_RANGE, "tokens",
		    "'tokens' is not a list of token ids");
	json_decref(prompts);
	if (r != 0 || (r = ask(gw, body, DECODE_TYPE_detokenize,
	    json_pack("{s:O}", "ids", tokens), DECODE_TYPE_text, &reply,
	    e)) != 0)
		return r;
	*out = json_pack("{s:O}", "content", json_object_get(reply, "text"));
	json_decref(reply);
	return 0;
}

static int
apply_template(struct gateway *gw, const json_t *body, json_t **out,
    struct err *e)
{
	json_t *messages = NULL, *reply = NULL;
	struct openai_request q;
	int r;

	if ((r = openai_begin(body, true, &q, e)) != 0)
		return r;
	if ((r = openai_refuse(body, true, e)) == 0 &&
	    (r = openai_parse_reasoning(body, &q, e)) == 0 &&
	    (r = openai_parse_messages(body, &messages, e)) == 0)
		r = ask(gw, body, DECODE_TYPE_render,
		    json_pack("{s:o, s:b}", "messages", messages, "think",
		    json_object_get(q.generate, "think") == NULL),
		    DECODE_TYPE_text, &reply, e);
	if (r == 0)
		*out = json_pack("{s:O}", "prompt",
		    json_object_get(reply, "text"));
	json_decref(reply);
	openai_request_free(&q);
	return r;
}

static void
reply(struct web_request *rq, struct gateway *gw,
    int (*fn)(struct gateway *, const json_t *, json_t **, struct err *))
{
	json_t *body, *out = NULL;
	struct err e;

	if (web_body_json(rq, &body) != 0)
		return;
	if (!json_is_object(body)) {
		err_set(&e, ERR_BAD_MESSAGE, "the body is not a JSON object");
		web_reply_err(rq, &e);
	} else if (fn(gw, body, &out, &e) != 0) {
		web_reply_err(rq, &e);
	} else {
		web_reply_json(rq, 200, out);
	}
	json_decref(body);
}

void
route_tokenize(struct web_request *rq, void *arg)
{
	reply(rq, arg, tokenize);
}

void
route_detokenize(struct web_request *rq, void *arg)
{
	reply(rq, arg, detokenize);
}

void
route_apply_template(struct web_request *rq, void *arg)
{
	reply(rq, arg, apply_template);
}
