/*
 * Whether a model that can think is to think, and whether its thoughts are told
 * apart from its answer.  How hard it thinks is not ours to set: any effort is
 * as good as another, but none.
 */
#include <string.h>

#include "openai_request.h"

static bool
is_one_of(const json_t *v, const char *const *words)
{
	const char *s = json_string_value(v);

	for (; s != NULL && *words != NULL; words++)
		if (strcmp(*words, s) == 0)
			return true;
	return false;
}

static int
parse_effort(const json_t *body, bool *think, struct err *e)
{
	static const char *const efforts[] = { "none", "minimal", "low",
		"medium", "high", "xhigh", "max", NULL };
	const json_t *v = openai_member(body, "reasoning_effort");

	if (v != NULL && !is_one_of(v, efforts))
		return err_set_param(e, ERR_RANGE, "reasoning_effort",
		    "'reasoning_effort' is not none, minimal, low, medium, "
		    "high, xhigh or max");
	if (v != NULL && strcmp(json_string_value(v), "none") == 0)
		*think = false;
	return 0;
}

static int
parse_format(const json_t *body, bool *raw, struct err *e)
{
	/* Not deepseek-legacy: thoughts in both places. */
	static const char *const formats[] = { "none", "auto", "deepseek", NULL };
	const json_t *v = openai_member(body, "reasoning_format");

	if (v != NULL && !is_one_of(v, formats))
		return err_set_param(e, ERR_RANGE, "reasoning_format",
		    "'reasoning_format' is not none, auto or deepseek");
	*raw = v != NULL && strcmp(json_string_value(v), "none") == 0;
	return 0;
}

int
openai_parse_reasoning(const json_t *body, struct openai_request *q,
    struct err *e)
{
	const json_t *kwargs = openai_member(body, "chat_template_kwargs");
	bool think = true;
	int r;

	if ((r = parse_effort(body, &think, e)) != 0 ||
	    (r = parse_format(body, &q->raw_reasoning, e)) != 0)
		return r;
	if (kwargs != NULL && !json_is_object(kwargs))
		return err_set_param(e, ERR_RANGE, "chat_template_kwargs",
		    "'chat_template_kwargs' is not an object");
	/* The others are for templates that are not known here. */
	if ((r = openai_parse_bool(kwargs, "enable_thinking", &think, e)) != 0)
		return r;
	if (!think)
		json_object_set_new(q->generate, "think", json_false());
	return 0;
}
