/*
 * What only a completion has: the prompts, echo, suffix.
 */
#include "openai_request.h"

static int
parse_prompts(const json_t *body, struct openai_request *q, struct err *e)
{
	size_t n;
	int r;

	if ((r = openai_parse_prompts(body, "prompt", OPENAI_CHOICES_MAX,
	    q->prompts, e)) != 0)
		return r;
	n = json_array_size(q->prompts);
	if (n * (size_t)q->best_of > OPENAI_CHOICES_MAX)
		return err_set_param(e, ERR_RANGE,
		    q->best_of > q->n ? "best_of" : "n",
		    "%zu prompts with %d answers each are more than %d "
		    "answers", n, q->best_of, OPENAI_CHOICES_MAX);
	return 0;
}

static int
parse_rest(const json_t *body, struct openai_request *q, struct err *e)
{
	const json_t *suffix = openai_member(body, "suffix");
	int r;

	if ((r = openai_parse_bool(body, "echo", &q->echo, e)) != 0)
		return r;
	if (q->echo && q->logprobs)
		json_object_set_new(q->generate, "prompt_logprobs",
		    json_true());
	if (suffix != NULL && !(json_is_string(suffix) &&
	    json_string_length(suffix) == 0))
		return openai_not_offered(e, "suffix");
	return 0;
}

int
openai_parse_completion(const json_t *body, struct openai_request *q,
    struct err *e)
{
	int r;

	if ((r = openai_begin(body, false, q, e)) != 0)
		return r;
	if ((r = openai_parse_params(body, q, e)) != 0 ||
	    (r = parse_prompts(body, q, e)) != 0 ||
	    (r = parse_rest(body, q, e)) != 0)
		openai_request_free(q);
	return r;
}
