/*
 * What an answer looks like: where it stops, which tokens are favoured, what is
 * said besides the text, and whether it comes in pieces.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "decode.h"
#include "openai_request.h"

enum { BIASES_MAX = 1024, LOGPROBS_COMPLETION_MAX = 5 };

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

/* One token and its bias; false, as llama-server has it, bans the token. */
static int
add_bias(const char *id, const json_t *bias, json_t *out, struct err *e)
{
	size_t n = strlen(id);
	double x = json_number_value(bias);

	if (n == 0 || n > 7 || strspn(id, "0123456789") != n)
		return err_set_param(e, ERR_RANGE, "logit_bias",
		    "a name in 'logit_bias' is not a token id");
	if (json_is_false(bias))
		x = -100;
	else if (!json_is_number(bias) || !(x >= -100 && x <= 100))
		return err_set_param(e, ERR_RANGE, "logit_bias",
		    "the bias of token %s is not a number from -100 to 100",
		    id);
	json_object_set_new(out, id, json_is_integer(bias) ?
	    json_integer(json_integer_value(bias)) : json_real(x));
	return 0;
}

/* [[id, bias], …] */
static int
add_pairs(const json_t *list, json_t *out, struct err *e)
{
	size_t i;
	json_t *pair;
	int r = 0;

	json_array_foreach((json_t *)(uintptr_t)list, i, pair) {
		const json_t *id = json_array_get(pair, 0);
		char name[24];

		if (json_array_size(pair) != 2 || !json_is_integer(id) ||
		    json_integer_value(id) < 0)
			return err_set_param(e, ERR_RANGE, "logit_bias",
			    "logit_bias[%zu] is not a pair of token id and "
			    "bias", i);
		snprintf(name, sizeof(name), "%lld",
		    (long long)json_integer_value(id));
		if ((r = add_bias(name, json_array_get(pair, 1), out, e)) != 0)
			return r;
	}
	return 0;
}

static int
parse_logit_bias(const json_t *body, json_t *generate, struct err *e)
{
	const json_t *v = openai_member(body, "logit_bias"), *bias;
	size_t n = json_object_size(v) + json_array_size(v);
	const char *id;
	json_t *out;
	int r = 0;

	if (v == NULL)
		return 0;
	if (!json_is_object(v) && !json_is_array(v))
		return err_set_param(e, ERR_RANGE, "logit_bias",
		    "'logit_bias' is not an object of token id and bias");
	if (n > BIASES_MAX)
		return err_set_param(e, ERR_RANGE, "logit_bias",
		    "'logit_bias' has %zu members, more than %d", n,
		    BIASES_MAX);
	out = json_object();
	if (json_is_array(v))
		r = add_pairs(v, out, e);
	json_object_foreach((json_t *)(uintptr_t)v, id, bias)
		if (r == 0)
			r = add_bias(id, bias, out, e);
	if (r == 0)
		json_object_set(generate, "logit_bias", out);
	json_decref(out);
	return r;
}

static int
parse_count(const json_t *v, const char *name, int max, int *n, struct err *e)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    json_integer_value(v) > max)
		return err_set_param(e, ERR_RANGE, name,
		    "'%s' is not an integer from 0 to %d", name, max);
	*n = (int)json_integer_value(v);
	return 0;
}

/* A bool and how many alternatives. */
static int
parse_chat_logprobs(const json_t *body, bool *show, int *n_top,
    struct err *e)
{
	const json_t *top = openai_member(body, "top_logprobs");
	int r;

	if ((r = openai_parse_bool(body, "logprobs", show, e)) != 0 ||
	    top == NULL)
		return r;
	if ((r = parse_count(top, "top_logprobs", DECODE_LOGPROBS_MAX, n_top,
	    e)) == 0 && !*show)
		r = err_set_param(e, ERR_RANGE, "top_logprobs",
		    "'top_logprobs' needs logprobs true");
	return r;
}

static int
parse_logprobs(const json_t *body, struct openai_request *q, struct err *e)
{
	const json_t *probs = openai_member(body, "n_probs");
	const json_t *v = openai_member(body, "logprobs");
	int n_top = 0, more = 0, r = 0;

	if (q->chat) {
		r = parse_chat_logprobs(body, &q->logprobs, &n_top, e);
	} else if (v != NULL) {
		r = parse_count(v, "logprobs", LOGPROBS_COMPLETION_MAX, &n_top,
		    e);
		q->logprobs = true;
	}
	/* llama-server's name: the larger one wins. */
	if (r == 0 && probs != NULL)
		r = parse_count(probs, "n_probs", DECODE_LOGPROBS_MAX, &more,
		    e);
	if (more > 0)
		q->logprobs = true;
	if (more > n_top)
		n_top = more;
	/* The best of several is the most probable. */
	if (r == 0 && (q->logprobs || q->best_of > q->n))
		json_object_set_new(q->generate, "logprobs",
		    json_integer(n_top));
	return r;
}

static int
parse_stream(const json_t *body, struct openai_request *q, struct err *e)
{
	const json_t *options = openai_member(body, "stream_options");
	bool ignored = false;
	int r;

	if ((r = openai_parse_bool(body, "stream", &q->stream, e)) != 0 ||
	    (r = openai_parse_bool(body, "timings_per_token", &q->timings,
	    e)) != 0 ||
	    (r = openai_parse_bool(body, "return_progress", &q->progress,
	    e)) != 0)
		return r;
	if (q->stream && q->best_of > q->n)
		return err_set_param(e, ERR_RANGE, "best_of",
		    "'best_of' above n cannot be streamed: which answers are "
		    "the best is known at their end");
	if (options == NULL)
		return 0;
	if (!q->stream)
		return err_set_param(e, ERR_RANGE, "stream_options",
		    "'stream_options' is only for a request with stream true");
	if (!json_is_object(options))
		return err_set_param(e, ERR_RANGE, "stream_options",
		    "'stream_options' is not an object");
	/* Nothing is obfuscated, which is what false asks for; true is about
	 * somebody between us and the client. */
	if ((r = openai_parse_bool(options, "include_obfuscation", &ignored,
	    e)) != 0)
		return r;
	return openai_parse_bool(options, "include_usage", &q->include_usage,
	    e);
}

int
openai_parse_output(const json_t *body, struct openai_request *q,
    struct err *e)
{
	int r;

	if ((r = parse_stop(body, q->generate, e)) != 0 ||
	    (r = parse_logit_bias(body, q->generate, e)) != 0 ||
	    (r = parse_logprobs(body, q, e)) != 0)
		return r;
	return parse_stream(body, q, e);
}
