/*
 * Sampling, lengths, stops, streaming: the members that a chat and a completion
 * share.  Numbers are one table; the rest has a function each.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "decode.h"
#include "openai_request.h"

enum kind { REAL, COUNT };

static const struct number {
	const char *name;	/* in the request */
	const char *to;		/* in decode_generate */
	enum kind kind;
	double min, max;
} numbers[] = {
	{ "temperature", "temperature", REAL, 0, 2 },
	{ "top_p", "top_p", REAL, 0, 1 },
	{ "min_p", "min_p", REAL, 0, 1 },
	{ "presence_penalty", "presence_penalty", REAL, -2, 2 },
	{ "frequency_penalty", "frequency_penalty", REAL, -2, 2 },
	{ "repetition_penalty", "repeat_penalty", REAL, 0.01, 10 },
	{ "repeat_penalty", "repeat_penalty", REAL, 0.01, 10 },
	{ "repeat_last_n", "repeat_last_n", COUNT, 0, DECODE_CTX_MAX },
	{ "top_k", "top_k", COUNT, -1, 1 << 20 },	/* -1 as in vLLM: all */
};

const json_t *
openai_member(const json_t *body, const char *name)
{
	const json_t *v = json_object_get(body, name);

	return json_is_null(v) ? NULL : v;
}

void
openai_request_free(struct openai_request *q)
{
	json_decref(q->generate);
	*q = (struct openai_request){ 0 };
}

int
openai_begin(const json_t *body, bool chat, struct openai_request *q, struct err *e)
{
	*q = (struct openai_request){ .chat = chat };
	if (!json_is_object(body))
		return err_set(e, ERR_BAD_MESSAGE,
		    "the body is not a JSON object");
	if ((q->generate = json_object()) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a request");
	return 0;
}

int
openai_not_offered(struct err *e, const char *name)
{
	return err_set_param(e, ERR_UNSUPPORTED, name, "'%s' is not offered",
	    name);
}

static int
parse_number(const json_t *v, const struct number *n, json_t *generate,
    struct err *e)
{
	double x = json_number_value(v);

	if (!json_is_number(v) || (n->kind == COUNT && !json_is_integer(v)))
		return err_set_param(e, ERR_RANGE, n->name, "'%s' is not %s",
		    n->name, n->kind == COUNT ? "an integer" : "a number");
	/* Also false for a NaN, which JSON cannot have. */
	if (!(x >= n->min && x <= n->max))
		return err_set_param(e, ERR_RANGE, n->name,
		    "'%s' is %.10g, not in %g to %g", n->name, x, n->min,
		    n->max);
	json_object_set_new(generate, n->to, n->kind == REAL ? json_real(x) :
	    json_integer(x < 0 ? 0 : json_integer_value(v)));
	return 0;
}

static int
parse_bool(const json_t *body, const char *name, bool *out, struct err *e)
{
	const json_t *v = openai_member(body, name);

	if (v == NULL)
		return 0;
	if (!json_is_boolean(v))
		return err_set_param(e, ERR_RANGE, name,
		    "'%s' is neither true nor false", name);
	*out = json_is_true(v);
	return 0;
}

static int
parse_seed(const json_t *body, json_t *generate, struct err *e)
{
	const uint64_t mask = (1ULL << 53) - 1;	/* exact in every JSON number */
	const json_t *v = openai_member(body, "seed");
	uint64_t seed;

	if (v != NULL && !json_is_integer(v))
		return err_set_param(e, ERR_RANGE, "seed",
		    "'seed' is not an integer");
	if (v != NULL)
		seed = (uint64_t)json_integer_value(v);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return err_set(e, ERR_SYSTEM, "no random seed");
	json_object_set_new(generate, "seed",
	    json_integer((json_int_t)(seed & mask)));
	return 0;
}

static int
add_stop(const json_t *v, json_t *stops, struct err *e)
{
	size_t n = json_string_length(v);

	if (!json_is_string(v))
		return err_set_param(e, ERR_RANGE, "stop",
		    "'stop' is neither a string nor a list of strings");
	if (n == 0 || n > OPENAI_STOP_BYTES_MAX)
		return err_set_param(e, ERR_RANGE, "stop",
		    "a string of 'stop' has %zu bytes, not 1 to %d", n,
		    OPENAI_STOP_BYTES_MAX);
	json_array_append(stops, (json_t *)(uintptr_t)v);
	return 0;
}

static int
parse_stop(const json_t *body, json_t *generate, struct err *e)
{
	const json_t *v = openai_member(body, "stop");
	size_t n = json_array_size(v);
	json_t *stops;
	int r = 0;

	if (v == NULL)
		return 0;
	if (n > OPENAI_STOPS_MAX)
		return err_set_param(e, ERR_RANGE, "stop",
		    "'stop' has %zu strings, more than %d", n,
		    OPENAI_STOPS_MAX);
	stops = json_array();
	if (!json_is_array(v))
		r = add_stop(v, stops, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_stop(json_array_get(v, i), stops, e);
	if (r == 0)
		json_object_set(generate, "stop", stops);
	json_decref(stops);
	return r;
}

static int
parse_logit_bias(const json_t *body, json_t *generate, struct err *e)
{
	const json_t *v = openai_member(body, "logit_bias"), *bias;
	const char *id;

	if (v == NULL)
		return 0;
	if (!json_is_object(v))
		return err_set_param(e, ERR_RANGE, "logit_bias",
		    "'logit_bias' is not an object of token id and bias");
	if (json_object_size(v) > 1024)
		return err_set_param(e, ERR_RANGE, "logit_bias",
		    "'logit_bias' has %zu members, more than 1024",
		    json_object_size(v));
	json_object_foreach((json_t *)(uintptr_t)v, id, bias) {
		size_t n = strlen(id);
		double x = json_number_value(bias);

		if (n == 0 || n > 7 || strspn(id, "0123456789") != n)
			return err_set_param(e, ERR_RANGE, "logit_bias",
			    "a name in 'logit_bias' is not a token id");
		if (!json_is_number(bias) || !(x >= -100 && x <= 100))
			return err_set_param(e, ERR_RANGE, "logit_bias",
			    "the bias of token %s is not a number from -100 "
			    "to 100", id);
	}
	json_object_set(generate, "logit_bias", (json_t *)(uintptr_t)v);
	return 0;
}

/* n and best_of: one answer to a request. */
static int
parse_one(const json_t *body, const char *name, struct err *e)
{
	const json_t *v = openai_member(body, name);

	if (v == NULL || (json_is_integer(v) && json_integer_value(v) == 1))
		return 0;
	return err_set_param(e, ERR_UNSUPPORTED, name,
	    "'%s' other than 1 is not offered: send the request again", name);
}

static int
parse_max_tokens(const json_t *body, const struct openai_request *q,
    struct err *e)
{
	const char *name = "max_completion_tokens";
	const json_t *v = q->chat ? openai_member(body, name) : NULL;
	json_int_t n = q->chat ? 0 : OPENAI_COMPLETION_TOKENS;

	if (v == NULL) {
		name = "max_tokens";
		v = openai_member(body, name);
	}
	if (v != NULL) {
		if (!json_is_integer(v) || json_integer_value(v) < 1)
			return err_set_param(e, ERR_RANGE, name,
			    "'%s' is not a positive integer", name);
		n = json_integer_value(v);
	}
	/* More than any context is as good as all of it. */
	json_object_set_new(q->generate, "max_tokens",
	    json_integer(n > DECODE_CTX_MAX ? 0 : n));
	return 0;
}

static int
parse_stream(const json_t *body, struct openai_request *q, struct err *e)
{
	const json_t *options = openai_member(body, "stream_options");
	int r;

	if ((r = parse_bool(body, "stream", &q->stream, e)) != 0 ||
	    options == NULL)
		return r;
	if (!q->stream)
		return err_set_param(e, ERR_RANGE, "stream_options",
		    "'stream_options' is only for a request with stream true");
	if (!json_is_object(options))
		return err_set_param(e, ERR_RANGE, "stream_options",
		    "'stream_options' is not an object");
	return parse_bool(options, "include_usage", &q->include_usage, e);
}

int
openai_parse_params(const json_t *body, struct openai_request *q,
    struct err *e)
{
	const json_t *model = openai_member(body, "model"), *v;
	bool ignore_eos = false;
	int r;

	if (!json_is_string(model) || json_string_length(model) == 0)
		return err_set_param(e, ERR_BAD_MESSAGE, "model", model == NULL ?
		    "'model' is missing" : "'model' is not a name");
	q->model = json_string_value(model);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if ((v = openai_member(body, numbers[i].name)) != NULL &&
		    (r = parse_number(v, &numbers[i], q->generate, e)) != 0)
			return r;
	if ((r = parse_one(body, "n", e)) != 0 ||
	    (r = parse_max_tokens(body, q, e)) != 0 ||
	    (r = parse_seed(body, q->generate, e)) != 0 ||
	    (r = parse_stop(body, q->generate, e)) != 0 ||
	    (r = parse_logit_bias(body, q->generate, e)) != 0 ||
	    (r = parse_bool(body, "ignore_eos", &ignore_eos, e)) != 0 ||
	    (r = parse_stream(body, q, e)) != 0)
		return r;
	if (!q->chat)
		r = parse_one(body, "best_of", e);
	if (ignore_eos)
		json_object_set_new(q->generate, "ignore_eos", json_true());
	return r;
}
