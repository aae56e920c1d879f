/*
 * What only a completion has: the prompt, echo, suffix.
 */
#include "openai_request.h"

#include <stdint.h>

#include "decode.h"

enum { LOGPROBS_COMPLETION_MAX = 5 };

static int
set_ids(const json_t *ids, struct openai_request *q, struct err *e)
{
	size_t i;
	json_t *id;

	json_array_foreach((json_t *)(uintptr_t)ids, i, id)
		if (!json_is_integer(id) || json_integer_value(id) < 0 ||
		    json_integer_value(id) >= 1 << 20)
			return err_set_param(e, ERR_RANGE, "prompt",
			    "'prompt' has an element that is not a token id");
	q->prompt_ids = (json_t *)(uintptr_t)ids;
	json_object_set(q->generate, "prompt_ids", q->prompt_ids);
	return 0;
}

/* A string, ids, or a list with one of either. */
static int
parse_prompt(const json_t *body, struct openai_request *q, struct err *e)
{
	const json_t *v = openai_member(body, "prompt");
	const json_t *first = json_array_get(v, 0);

	if (json_is_string(first) || json_is_array(first)) {
		if (json_array_size(v) > 1)
			return err_set_param(e, ERR_UNSUPPORTED, "prompt",
			    "'prompt' has %zu prompts: one a request is "
			    "offered", json_array_size(v));
		v = first;
	}
	if (v == NULL)
		return err_set_param(e, ERR_BAD_MESSAGE, "prompt",
		    "'prompt' is missing");
	if (json_is_array(v) && json_array_size(v) > 0)
		return set_ids(v, q, e);
	if (!json_is_string(v) || json_string_length(v) == 0)
		return err_set_param(e, ERR_RANGE, "prompt",
		    "'prompt' is neither a text nor a list of token ids, or "
		    "it is empty");
	if (json_string_length(v) > DECODE_PROMPT_MAX)
		return err_set_param(e, ERR_RANGE, "prompt",
		    "'prompt' has %zu bytes, more than %d",
		    json_string_length(v), DECODE_PROMPT_MAX);
	q->prompt = json_string_value(v);
	json_object_set(q->generate, "prompt", (json_t *)(uintptr_t)v);
	return 0;
}

static int
parse_completion_logprobs(const json_t *body, struct openai_request *q,
    struct err *e)
{
	const json_t *v = openai_member(body, "logprobs");

	if (v == NULL)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    json_integer_value(v) > LOGPROBS_COMPLETION_MAX)
		return err_set_param(e, ERR_RANGE, "logprobs",
		    "'logprobs' is not an integer from 0 to %d",
		    LOGPROBS_COMPLETION_MAX);
	q->logprobs = true;
	json_object_set_new(q->generate, "logprobs",
	    json_integer(json_integer_value(v)));
	return 0;
}

int
openai_parse_completion(const json_t *body, struct openai_request *q,
    struct err *e)
{
	const json_t *v;
	int r;

	if ((r = openai_begin(body, false, q, e)) != 0 ||
	    (r = openai_parse_params(body, q, e)) != 0 ||
	    (r = parse_completion_logprobs(body, q, e)) != 0 ||
	    (r = parse_prompt(body, q, e)) != 0)
		goto fail;
	if ((v = openai_member(body, "echo")) != NULL && !json_is_boolean(v)) {
		r = err_set_param(e, ERR_RANGE, "echo",
		    "'echo' is neither true nor false");
		goto fail;
	}
	q->echo = json_is_true(v);
	if (q->echo && q->logprobs) {
		r = err_set_param(e, ERR_UNSUPPORTED, "echo",
		    "'echo' with logprobs is not offered");
		goto fail;
	}
	if ((v = openai_member(body, "suffix")) != NULL &&
	    !(json_is_string(v) && json_string_length(v) == 0)) {
		r = openai_not_offered(e, "suffix");
		goto fail;
	}
	return 0;
fail:
	openai_request_free(q);
	return r;
}
