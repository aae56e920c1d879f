/*
 * What only a chat has: the messages, and the members that would change the
 * answer and are not offered.
 */
#include "openai_request.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "decode.h"

enum { MESSAGES_MAX = 4096 };

/* What the template is asked for, by what the client wrote. */
static const struct { const char *name, *role; } roles[] = {
	{ "system", "system" },
	{ "developer", "system" },
	{ "user", "user" },
	{ "assistant", "assistant" },
};

static const char *
string_member(const json_t *obj, const char *name)
{
	return json_string_value(openai_member(obj, name));
}

/* The text of one part of a message. */
static int
add_part(const json_t *part, const char *where, struct buf *text,
    struct err *e)
{
	const char *type = string_member(part, "type"), *s = NULL;

	if (type != NULL && strcmp(type, "text") == 0)
		s = string_member(part, "text");
	else if (type != NULL && strcmp(type, "refusal") == 0)
		s = string_member(part, "refusal");
	else if (type != NULL)
		return err_set_param(e, ERR_UNSUPPORTED, where,
		    "a part of '%s' is of type '%.32s': only text is understood",
		    where, type);
	if (s == NULL)
		return err_set_param(e, ERR_RANGE, where,
		    "a part of '%s' has no text", where);
	buf_adds(text, s);
	return 0;
}

static int
parse_content(const json_t *message, const char *where, bool may_lack,
    struct buf *text, struct err *e)
{
	const json_t *v = openai_member(message, "content");
	size_t n = json_array_size(v);
	int r = 0;

	if (v == NULL && may_lack)
		return 0;
	if (v == NULL)
		return err_set_param(e, ERR_RANGE, where, "'%s' is missing",
		    where);
	if (json_is_string(v)) {
		buf_add(text, json_string_value(v), json_string_length(v));
		return 0;
	}
	if (!json_is_array(v) || n == 0)
		return err_set_param(e, ERR_RANGE, where,
		    "'%s' is neither a string nor a list of parts", where);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_part(json_array_get(v, i), where, text, e);
	return r;
}

static int
parse_role(const json_t *message, size_t i, const char **role, struct err *e)
{
	const char *name = string_member(message, "role");
	char where[40];

	snprintf(where, sizeof(where), "messages[%zu].role", i);
	for (size_t k = 0; name != NULL &&
	    k < sizeof(roles) / sizeof(roles[0]); k++)
		if (strcmp(roles[k].name, name) == 0) {
			*role = roles[k].role;
			return 0;
		}
	if (name != NULL && (strcmp(name, "tool") == 0 ||
	    strcmp(name, "function") == 0))
		return err_set_param(e, ERR_UNSUPPORTED, where,
		    "'%s' is %s: tools are not offered", where, name);
	return err_set_param(e, ERR_RANGE, where,
	    "'%s' is not system, developer, user or assistant", where);
}

/* *total: bytes of all contents so far. */
static int
parse_message(const json_t *message, size_t i, json_t *out, size_t *total,
    struct err *e)
{
	struct buf text = { 0 };
	const char *role = NULL;
	char where[40];
	int r;

	if (!json_is_object(message)) {
		snprintf(where, sizeof(where), "messages[%zu]", i);
		return err_set_param(e, ERR_RANGE, where,
		    "'%s' is not an object", where);
	}
	if ((r = parse_role(message, i, &role, e)) != 0)
		return r;
	snprintf(where, sizeof(where), "messages[%zu].tool_calls", i);
	if (json_array_size(openai_member(message, "tool_calls")) > 0 ||
	    openai_member(message, "function_call") != NULL)
		return err_set_param(e, ERR_UNSUPPORTED, where,
		    "'%s': tools are not offered", where);
	snprintf(where, sizeof(where), "messages[%zu].content", i);
	r = parse_content(message, where, strcmp(role, "assistant") == 0,
	    &text, e);
	*total += text.len;
	if (r == 0 && text.failed)
		r = err_set(e, ERR_NO_MEMORY, "no memory for the messages");
	if (r == 0 && *total > DECODE_PROMPT_MAX)
		r = err_set_param(e, ERR_RANGE, "messages",
		    "'messages' have more than %d bytes of text",
		    DECODE_PROMPT_MAX);
	if (r == 0)
		json_array_append_new(out, json_pack("{s:s, s:s#}",
		    "role", role, "content",
		    text.data != NULL ? text.data : "", (int)text.len));
	buf_free(&text);
	return r;
}

static int
parse_messages(const json_t *body, json_t *generate, struct err *e)
{
	const json_t *v = openai_member(body, "messages");
	size_t n = json_array_size(v), total = 0;
	json_t *out;
	int r = 0;

	if (v == NULL)
		return err_set_param(e, ERR_BAD_MESSAGE, "messages",
		    "'messages' is missing");
	if (!json_is_array(v) || n == 0 || n > MESSAGES_MAX)
		return err_set_param(e, ERR_RANGE, "messages",
		    "'messages' is not a list of 1 to %d messages",
		    MESSAGES_MAX);
	out = json_array();
	for (size_t i = 0; r == 0 && i < n; i++)
		r = parse_message(json_array_get(v, i), i, out, &total, e);
	if (r == 0)
		json_object_set(generate, "messages", out);
	json_decref(out);
	return r;
}

static bool
is_word(const json_t *v, const char *a, const char *b)
{
	const char *s = json_string_value(v);

	return s != NULL && (strcmp(s, a) == 0 || strcmp(s, b) == 0);
}

/* What would change the answer if it were ignored. */
static int
refuse_chat(const json_t *body, struct err *e)
{
	static const char *const lists[] = { "tools", "functions" };
	static const char *const choices[] = { "tool_choice", "function_call" };
	static const char *const others[] = {
		"audio", "web_search_options", "grammar", "json_schema",
	};
	const json_t *v;
	size_t i;
	json_t *m;

	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if ((v = openai_member(body, lists[i])) != NULL &&
		    !(json_is_array(v) && json_array_size(v) == 0))
			return openai_not_offered(e, lists[i]);
	for (i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
		if ((v = openai_member(body, choices[i])) != NULL &&
		    !is_word(v, "none", "auto"))
			return openai_not_offered(e, choices[i]);
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (openai_member(body, others[i]) != NULL)
			return openai_not_offered(e, others[i]);
	if ((v = openai_member(body, "response_format")) != NULL &&
	    !is_word(json_object_get(v, "type"), "text", "text"))
		return err_set_param(e, ERR_UNSUPPORTED, "response_format",
		    "'response_format' other than text is not offered");
	if ((v = openai_member(body, "modalities")) != NULL) {
		if (!json_is_array(v))
			return openai_not_offered(e, "modalities");
		json_array_foreach((json_t *)(uintptr_t)v, i, m)
			if (!is_word(m, "text", "text"))
				return openai_not_offered(e, "modalities");
	}
	return 0;
}

static int
parse_chat_logprobs(const json_t *body, struct openai_request *q,
    struct err *e)
{
	const json_t *v = openai_member(body, "logprobs");
	const json_t *top = openai_member(body, "top_logprobs");

	if (v != NULL && !json_is_boolean(v))
		return err_set_param(e, ERR_RANGE, "logprobs",
		    "'logprobs' is neither true nor false");
	q->logprobs = json_is_true(v);
	if (top != NULL && (!json_is_integer(top) ||
	    json_integer_value(top) < 0 ||
	    json_integer_value(top) > DECODE_LOGPROBS_MAX))
		return err_set_param(e, ERR_RANGE, "top_logprobs",
		    "'top_logprobs' is not an integer from 0 to %d",
		    DECODE_LOGPROBS_MAX);
	if (top != NULL && !q->logprobs)
		return err_set_param(e, ERR_RANGE, "top_logprobs",
		    "'top_logprobs' needs logprobs true");
	if (q->logprobs)
		json_object_set_new(q->generate, "logprobs",
		    json_integer(json_integer_value(top)));
	return 0;
}

int
openai_parse_chat(const json_t *body, struct openai_request *q, struct err *e)
{
	int r;

	if ((r = openai_begin(body, true, q, e)) != 0 ||
	    (r = openai_parse_params(body, q, e)) != 0 ||
	    (r = refuse_chat(body, e)) != 0 ||
	    (r = parse_chat_logprobs(body, q, e)) != 0 ||
	    (r = parse_messages(body, q->generate, e)) != 0)
		openai_request_free(q);
	return r;
}
