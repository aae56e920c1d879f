/*
 * What a request for embeddings says.
 */
#include <string.h>

#include "openai_request.h"

static bool
is_word(const json_t *v, const char *word)
{
	return json_is_string(v) && strcmp(json_string_value(v), word) == 0;
}

static int
parse_format(const json_t *body, bool *base64, struct err *e)
{
	const json_t *v = openai_member(body, "encoding_format");

	if (v != NULL && !is_word(v, "float") && !is_word(v, "base64"))
		return err_set_param(e, ERR_RANGE, "encoding_format",
		    "'encoding_format' is neither float nor base64");
	*base64 = v != NULL && is_word(v, "base64");
	return 0;
}

static int
parse_dimensions(const json_t *body, int64_t *n, struct err *e)
{
	const json_t *v = openai_member(body, "dimensions");

	if (v != NULL && (!json_is_integer(v) || json_integer_value(v) < 1))
		return err_set_param(e, ERR_RANGE, "dimensions",
		    "'dimensions' is not a positive integer");
	*n = json_integer_value(v);
	return 0;
}

static int
parse_pooling(const json_t *body, json_t *generate, struct err *e)
{
	const json_t *v = openai_member(body, "pooling");
	bool last = is_word(v, "last");

	if (v != NULL && !last && !is_word(v, "mean"))
		return err_set_param(e, ERR_RANGE, "pooling",
		    "'pooling' is neither mean nor last");
	json_object_set_new(generate, "pooling",
	    json_string(last ? "last" : "mean"));
	return 0;
}

void
openai_embedding_free(struct openai_embedding *q)
{
	json_decref(q->inputs);
	json_decref(q->generate);
	*q = (struct openai_embedding){ 0 };
}

int
openai_parse_embedding(const json_t *body, struct openai_embedding *q,
    struct err *e)
{
	int r;

	*q = (struct openai_embedding){ 0 };
	if (!json_is_object(body))
		return err_set(e, ERR_BAD_MESSAGE,
		    "the body is not a JSON object");
	q->inputs = json_array();
	q->generate = json_object();
	if ((r = openai_parse_model(body, &q->model, e)) != 0 ||
	    (r = parse_format(body, &q->base64, e)) != 0 ||
	    (r = parse_dimensions(body, &q->dimensions, e)) != 0 ||
	    (r = parse_pooling(body, q->generate, e)) != 0 ||
	    (r = openai_parse_prompts(body, "input", OPENAI_INPUTS_MAX,
	    q->inputs, e)) != 0)
		openai_embedding_free(q);
	return r;
}
