#include "openai.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"

void
openai_answer_init(struct openai_answer *a, bool chat, const char *model,
    const char *fingerprint)
{
	char digits[29];

	*a = (struct openai_answer){ .chat = chat, .created = time(NULL) };
	random_hex(digits, 14);
	snprintf(a->id, sizeof(a->id), "%s-%s", chat ? "chatcmpl" : "cmpl",
	    digits);
	snprintf(a->model, sizeof(a->model), "%s", model);
	snprintf(a->fingerprint, sizeof(a->fingerprint), "fp_%.12s",
	    fingerprint);
}

void
openai_usage_read(const json_t *stats, struct openai_usage *u)
{
	*u = (struct openai_usage){
		.n_prompt = json_integer_value(
		    json_object_get(stats, "n_prompt")),
		.n_cached = json_integer_value(
		    json_object_get(stats, "n_cached")),
		.n_generated = json_integer_value(
		    json_object_get(stats, "n_generated")),
		.prefill_ms = json_number_value(
		    json_object_get(stats, "prefill_ms")),
		.decode_ms = json_number_value(
		    json_object_get(stats, "decode_ms")),
	};
}

const char *
openai_finish(const char *finish)
{
	if (strcmp(finish, "stop") == 0)
		return "stop";
	if (strcmp(finish, "length") == 0)
		return "length";
	return NULL;
}

static json_t *
usage_json(const struct openai_usage *u)
{
	return json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:i}}",
	    "prompt_tokens", (json_int_t)u->n_prompt,
	    "completion_tokens", (json_int_t)u->n_generated,
	    "total_tokens", (json_int_t)(u->n_prompt + u->n_generated),
	    "prompt_tokens_details",
	    "cached_tokens", (json_int_t)u->n_cached,
	    "completion_tokens_details", "reasoning_tokens", 0);
}

static double
per(double a, double b)
{
	return b > 0 ? a / b : 0;
}

/* llama-server's members. */
static json_t *
timings_json(const struct openai_usage *u)
{
	double n_prompt = (double)(u->n_prompt - u->n_cached);
	double n = (double)u->n_generated;

	return json_pack("{s:I, s:I, s:f, s:f, s:f, s:I, s:f, s:f, s:f}",
	    "cache_n", (json_int_t)u->n_cached,
	    "prompt_n", (json_int_t)(u->n_prompt - u->n_cached),
	    "prompt_ms", u->prefill_ms,
	    "prompt_per_token_ms", per(u->prefill_ms, n_prompt),
	    "prompt_per_second", per(n_prompt * 1e3, u->prefill_ms),
	    "predicted_n", (json_int_t)u->n_generated,
	    "predicted_ms", u->decode_ms,
	    "predicted_per_token_ms", per(u->decode_ms, n),
	    "predicted_per_second", per(n * 1e3, u->decode_ms));
}

/* Everything but usage and timings; choices is released. */
static json_t *
envelope(const struct openai_answer *a, const char *object, json_t *choices)
{
	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", a->id,
	    "object", object, "created", (json_int_t)a->created,
	    "model", a->model, "system_fingerprint", a->fingerprint,
	    "choices", choices);
}

/* content and logprobs are released; NULL logprobs: null. */
static json_t *
chunk(const struct openai_answer *a, json_t *content, json_t *logprobs,
    const char *finish)
{
	json_t *choice = json_pack("{s:i, s:o, s:o, s:s?}", "index", 0,
	    a->chat ? "delta" : "text", content,
	    "logprobs", logprobs != NULL ? logprobs : json_null(),
	    "finish_reason", finish);
	json_t *v = envelope(a,
	    a->chat ? "chat.completion.chunk" : "text_completion",
	    json_pack("[o]", choice));

	if (v != NULL && a->include_usage)
		json_object_set_new(v, "usage", json_null());
	return v;
}

json_t *
openai_chunk_first(const struct openai_answer *a)
{
	return chunk(a, a->chat ? json_pack("{s:s, s:s}", "role", "assistant",
	    "content", "") : json_string(""), NULL, NULL);
}

static json_t *
logprobs_json(struct openai_answer *a, const json_t *logprobs)
{
	if (!a->logprobs || logprobs == NULL)
		return NULL;
	return a->chat ? openai_logprobs_chat(logprobs) :
	    openai_logprobs_completion(logprobs, &a->text_offset);
}

json_t *
openai_chunk_text(struct openai_answer *a, const char *text,
    const json_t *logprobs)
{
	return chunk(a, a->chat ? json_pack("{s:s}", "content", text) :
	    json_string(text), logprobs_json(a, logprobs), NULL);
}

json_t *
openai_chunk_last(const struct openai_answer *a, const char *finish,
    const struct openai_usage *u)
{
	json_t *v = chunk(a, a->chat ? json_object() : json_string(""), NULL,
	    finish);

	if (v != NULL && !a->include_usage)
		json_object_set_new(v, "timings", timings_json(u));
	return v;
}

json_t *
openai_chunk_usage(const struct openai_answer *a, const struct openai_usage *u)
{
	json_t *v = envelope(a,
	    a->chat ? "chat.completion.chunk" : "text_completion",
	    json_array());

	if (v != NULL) {
		json_object_set_new(v, "usage", usage_json(u));
		json_object_set_new(v, "timings", timings_json(u));
	}
	return v;
}

json_t *
openai_whole(struct openai_answer *a, const char *text, size_t n_text,
    const json_t *logprobs, const char *finish, const struct openai_usage *u)
{
	json_t *shown = logprobs_json(a, logprobs), *choice, *v;

	if (shown == NULL)
		shown = json_null();
	if (a->chat)
		choice = json_pack("{s:i, s:{s:s, s:s%, s:n}, s:o, s:s}",
		    "index", 0, "message", "role", "assistant",
		    "content", text, n_text, "refusal",
		    "logprobs", shown, "finish_reason", finish);
	else
		choice = json_pack("{s:s%, s:i, s:o, s:s}", "text", text,
		    n_text, "index", 0, "logprobs", shown,
		    "finish_reason", finish);
	v = envelope(a, a->chat ? "chat.completion" : "text_completion",
	    json_pack("[o]", choice));
	if (v != NULL) {
		json_object_set_new(v, "usage", usage_json(u));
		json_object_set_new(v, "timings", timings_json(u));
	}
	return v;
}

static int
add_bytes(const char *bytes, size_t n, void *arg)
{
	buf_add(arg, bytes, n);
	return 0;
}

void
openai_event(struct buf *out, json_t *v)
{
	buf_adds(out, "data: ");
	if (v == NULL || json_dump_callback(v, add_bytes, out,
	    JSON_COMPACT | JSON_REAL_PRECISION(10)) != 0)
		out->failed = true;
	buf_adds(out, "\n\n");
	json_decref(v);
}
