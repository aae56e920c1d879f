/*
 * The messages of a chat, each to a role and one text.  What an assistant
 * thought goes along under a name of its own: the model's template decides
 * whether it is said again.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "decode.h"
#include "openai_request.h"

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

	/* What an assistant said instead. */
	if (v == NULL && may_lack &&
	    (v = openai_member(message, "refusal")) == NULL)
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
		    "'%s' is %s: tools are not offered yet", where, name);
	return err_set_param(e, ERR_RANGE, where,
	    "'%s' is not system, developer, user or assistant", where);
}

/* What an assistant thought, by either name; NULL: nothing. */
static int
parse_thought(const json_t *message, size_t i, const json_t **thought,
    struct err *e)
{
	static const char *const names[] = { "reasoning", "reasoning_content" };
	char where[40];

	*thought = NULL;
	for (size_t k = 0; k < 2 && *thought == NULL; k++) {
		const json_t *v = openai_member(message, names[k]);

		snprintf(where, sizeof(where), "messages[%zu].%s", i, names[k]);
		if (v != NULL && !json_is_string(v))
			return err_set_param(e, ERR_RANGE, where,
			    "'%s' is not a string", where);
		if (json_string_length(v) > 0)
			*thought = v;
	}
	return 0;
}

static int
refuse_tool_calls(const json_t *message, size_t i, struct err *e)
{
	char where[40];

	snprintf(where, sizeof(where), "messages[%zu].tool_calls", i);
	if (json_array_size(openai_member(message, "tool_calls")) == 0 &&
	    openai_member(message, "function_call") == NULL)
		return 0;
	return err_set_param(e, ERR_UNSUPPORTED, where,
	    "'%s': tools are not offered yet", where);
}

/* *total: bytes of all texts so far. */
static int
parse_message(const json_t *message, size_t i, json_t *out, size_t *total,
    struct err *e)
{
	struct buf text = { 0 };
	const json_t *thought = NULL;
	const char *role = NULL;
	char where[40];
	json_t *one;
	int r;

	if (!json_is_object(message)) {
		snprintf(where, sizeof(where), "messages[%zu]", i);
		return err_set_param(e, ERR_RANGE, where,
		    "'%s' is not an object", where);
	}
	if ((r = parse_role(message, i, &role, e)) != 0 ||
	    (r = refuse_tool_calls(message, i, e)) != 0 ||
	    (r = parse_thought(message, i, &thought, e)) != 0)
		return r;
	if (strcmp(role, "assistant") != 0)
		thought = NULL;
	snprintf(where, sizeof(where), "messages[%zu].content", i);
	r = parse_content(message, where, strcmp(role, "assistant") == 0,
	    &text, e);
	*total += text.len + json_string_length(thought);
	if (r == 0 && text.failed)
		r = err_set(e, ERR_NO_MEMORY, "no memory for the messages");
	if (r == 0 && *total > DECODE_PROMPT_MAX)
		r = err_set_param(e, ERR_RANGE, "messages",
		    "'messages' have more than %d bytes of text",
		    DECODE_PROMPT_MAX);
	if (r == 0) {
		one = json_pack("{s:s, s:s#}", "role", role, "content",
		    text.data != NULL ? text.data : "", (int)text.len);
		if (thought != NULL)
			json_object_set(one, "reasoning",
			    (json_t *)(uintptr_t)thought);
		json_array_append_new(out, one);
	}
	buf_free(&text);
	return r;
}

int
openai_parse_messages(const json_t *body, json_t **list, struct err *e)
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
		*list = out;
	else
		json_decref(out);
	return r;
}
