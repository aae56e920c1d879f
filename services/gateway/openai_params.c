/*
 * Model, sampling, lengths, how many answers: the members that a chat and a
 * completion share.  Numbers are one table; the rest has a function each.
 */
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
	/* -1 as in llama-server and vLLM: all, which is 0 to the worker. */
	{ "repeat_last_n", "repeat_last_n", COUNT, -1, DECODE_CTX_MAX },
	{ "top_k", "top_k", COUNT, -1, 1 << 20 },
	{ "min_keep", "min_keep", COUNT, 0, 1 << 20 },
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
	json_decref(q->prompts);
	json_decref(q->generate);
	*q = (struct openai_request){ 0 };
}

int
openai_begin(const json_t *body, bool chat, struct openai_request *q,
    struct err *e)
{
	*q = (struct openai_request){ .chat = chat, .n = 1, .best_of = 1 };
	if (!json_is_object(body)) {
		*q = (struct openai_request){ 0 };
		return err_set(e, ERR_BAD_MESSAGE,
		    "the body is not a JSON object");
	}
	q->generate = json_object();
	q->prompts = json_array();
	if (q->generate == NULL || q->prompts == NULL) {
		openai_request_free(q);
		return err_set(e, ERR_NO_MEMORY, "no memory for a request");
	}
	return 0;
}

int
openai_not_offered(struct err *e, const char *name)
{
	return err_set_param(e, ERR_UNSUPPORTED, name, "'%s' is not offered",
	    name);
}

int
openai_parse_bool(const json_t *body, const char *name, bool *out,
    struct err *e)
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

int
openai_parse_model(const json_t *body, const char **out, struct err *e)
{
	const json_t *model = openai_member(body, "model");

	if (!json_is_string(model) || json_string_length(model) == 0)
		return err_set_param(e, ERR_BAD_MESSAGE, "model", model == NULL ?
		    "'model' is missing" : "'model' is not a name");
	*out = json_string_value(model);
	return 0;
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

/* llama-server: a window of no tokens is how the penalties are turned off. */
static void
end_penalties(const json_t *body, json_t *generate)
{
	const json_t *v = openai_member(body, "repeat_last_n");

	if (v == NULL || json_integer_value(v) != 0)
		return;
	json_object_set_new(generate, "repeat_penalty", json_real(1));
	json_object_set_new(generate, "presence_penalty", json_real(0));
	json_object_set_new(generate, "frequency_penalty", json_real(0));
}

/* -1 is no seed, as llama-server and vLLM have it. */
static int
parse_seed(const json_t *body, uint64_t *seed, struct err *e)
{
	const json_t *v = openai_member(body, "seed");

	if (v != NULL && !json_is_integer(v))
		return err_set_param(e, ERR_RANGE, "seed",
		    "'seed' is not an integer");
	if (v != NULL && json_integer_value(v) != -1)
		*seed = (uint64_t)json_integer_value(v);
	else if (getrandom(seed, sizeof(*seed), 0) != sizeof(*seed))
		return err_set(e, ERR_SYSTEM, "no random seed");
	return 0;
}

static int
parse_answers(const json_t *body, const char *name, int *out, struct err *e)
{
	const json_t *v = openai_member(body, name);

	if (v == NULL)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 1 ||
	    json_integer_value(v) > OPENAI_N_MAX)
		return err_set_param(e, ERR_RANGE, name,
		    "'%s' is not an integer from 1 to %d", name,
		    OPENAI_N_MAX);
	*out = (int)json_integer_value(v);
	return 0;
}

/* n answers of each prompt, the best ones of best_of. */
static int
parse_n(const json_t *body, struct openai_request *q, struct err *e)
{
	int r;

	if ((r = parse_answers(body, "n", &q->n, e)) != 0)
		return r;
	q->best_of = q->n;
	if (q->chat)
		return 0;
	if ((r = parse_answers(body, "best_of", &q->best_of, e)) != 0)
		return r;
	if (q->best_of < q->n)
		return err_set_param(e, ERR_RANGE, "best_of",
		    "'best_of' is %d, less than n, which is %d", q->best_of,
		    q->n);
	return 0;
}

/* 0: no limit. */
static int
parse_limit(const json_t *v, const char *name, json_int_t *n, struct err *e)
{
	/* llama-server: -1 is none. */
	bool none = strcmp(name, "n_predict") == 0 && json_is_integer(v) &&
	    json_integer_value(v) == -1;

	if (!none && (!json_is_integer(v) || json_integer_value(v) < 1))
		return err_set_param(e, ERR_RANGE, name,
		    "'%s' is not a positive integer", name);
	/* More than any context is as good as all of it. */
	*n = none || json_integer_value(v) > DECODE_CTX_MAX ? 0 :
	    json_integer_value(v);
	return 0;
}

/* The last of these that is there wins, and the others must be in order, too. */
static int
parse_max_tokens(const json_t *body, const struct openai_request *q,
    struct err *e)
{
	static const char *const names[] = {
		"n_predict", "max_tokens", "max_completion_tokens",
	};
	json_int_t n = q->chat ? 0 : OPENAI_COMPLETION_TOKENS;
	const json_t *v;
	int r;

	for (size_t i = 0; i < 3; i++)
		if ((v = openai_member(body, names[i])) != NULL &&
		    (r = parse_limit(v, names[i], &n, e)) != 0)
			return r;
	json_object_set_new(q->generate, "max_tokens", json_integer(n));
	return 0;
}

int
openai_parse_params(const json_t *body, struct openai_request *q,
    struct err *e)
{
	bool ignore_eos = false, cache_prompt = true;
	const json_t *v;
	int r;

	if ((r = openai_parse_model(body, &q->model, e)) != 0)
		return r;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if ((v = openai_member(body, numbers[i].name)) != NULL &&
		    (r = parse_number(v, &numbers[i], q->generate, e)) != 0)
			return r;
	end_penalties(body, q->generate);
	if ((r = parse_n(body, q, e)) != 0 ||
	    (r = parse_max_tokens(body, q, e)) != 0 ||
	    (r = parse_seed(body, &q->seed, e)) != 0 ||
	    (r = openai_parse_bool(body, "ignore_eos", &ignore_eos, e)) != 0 ||
	    (r = openai_parse_bool(body, "cache_prompt", &cache_prompt,
	    e)) != 0 ||
	    (r = openai_refuse(body, q->chat, e)) != 0 ||
	    (r = openai_parse_output(body, q, e)) != 0)
		return r;
	if (ignore_eos)
		json_object_set_new(q->generate, "ignore_eos", json_true());
	if (!cache_prompt)
		json_object_set_new(q->generate, "cache_prompt", json_false());
	return 0;
}

/* A member of the family of seeds that a request has; its own is the first. */
static uint64_t
seed_of(uint64_t seed, int k)
{
	const uint64_t mask = (1ULL << 53) - 1;	/* exact in every JSON number */
	uint64_t x = seed + (uint64_t)k * 0x9E3779B97F4A7C15;

	if (k == 0)
		return seed & mask;
	/* splitmix64 (Steele et al. 2014): near seeds have far answers. */
	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
	x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
	return (x ^ (x >> 31)) & mask;
}

json_t *
openai_generate(const struct openai_request *q, size_t p, int k)
{
	json_t *g = json_copy(q->generate);

	if (g == NULL || json_object_update(g, json_array_get(q->prompts,
	    p)) != 0 || json_object_set_new(g, "seed", json_integer(
	    (json_int_t)seed_of(q->seed, k))) != 0) {
		json_decref(g);
		return NULL;
	}
	return g;
}
