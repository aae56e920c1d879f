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
		.n_drafted = json_integer_value(
		    json_object_get(stats, "n_drafted")),
		.n_accepted = json_integer_value(
		    json_object_get(stats, "n_accepted")),
	};
}

void
openai_usage_add(struct openai_usage *all, const struct openai_usage *one,
    bool with_prompt)
{
	if (with_prompt) {
		all->n_prompt += one->n_prompt;
		all->n_cached += one->n_cached;
	}
	all->n_generated += one->n_generated;
	all->n_reasoning += one->n_reasoning;
	all->n_drafted += one->n_drafted;
	all->n_accepted += one->n_accepted;
	/* They ran together: the longest is how long it took. */
	if (one->prefill_ms > all->prefill_ms)
		all->prefill_ms = one->prefill_ms;
	if (one->decode_ms > all->decode_ms)
		all->decode_ms = one->decode_ms;
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
	return json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:I}}",
	    "prompt_tokens", (json_int_t)u->n_prompt,
	    "completion_tokens", (json_int_t)u->n_generated,
	    "total_tokens", (json_int_t)(u->n_prompt + u->n_generated),
	    "prompt_tokens_details",
	    "cached_tokens", (json_int_t)u->n_cached,
	    "completion_tokens_details", "reasoning_tokens",
	    (json_int_t)u->n_reasoning);
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
	json_t *v = json_pack("{s:I, s:I, s:f, s:f, s:f, s:I, s:f, s:f, s:f}",
	    "cache_n", (json_int_t)u->n_cached,
	    "prompt_n", (json_int_t)(u->n_prompt - u->n_cached),
	    "prompt_ms", u->prefill_ms,
	    "prompt_per_token_ms", per(u->prefill_ms, n_prompt),
	    "prompt_per_second", per(n_prompt * 1e3, u->prefill_ms),
	    "predicted_n", (json_int_t)u->n_generated,
	    "predicted_ms", u->decode_ms,
	    "predicted_per_token_ms", per(u->decode_ms, n),
	    "predicted_per_second", per(n * 1e3, u->decode_ms));

	if (v != NULL && u->n_drafted > 0) {
		json_object_set_new(v, "draft_n", json_integer(u->n_drafted));
		json_object_set_new(v, "draft_n_accepted",
		    json_integer(u->n_accepted));
	}
	return v;
}

void
openai_add_timings(json_t *v, const struct openai_usage *u)
{
	json_object_set_new(v, "timings", timings_json(u));
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

static const char *
object_of_chunk(const struct openai_answer *a)
{
	return a->chat ? "chat.completion.chunk" : "text_completion";
}

/* content and logprobs are released; NULL logprobs: null. */
static json_t *
chunk(const struct openai_answer *a, int index, json_t *content,
    json_t *logprobs, const char *finish)
{
	json_t *choice = json_pack("{s:i, s:o, s:o, s:s?}", "index", index,
	    a->chat ? "delta" : "text", content,
	    "logprobs", logprobs != NULL ? logprobs : json_null(),
	    "finish_reason", finish);
	json_t *v = envelope(a, object_of_chunk(a), json_pack("[o]", choice));

	if (v != NULL && a->include_usage)
		json_object_set_new(v, "usage", json_null());
	return v;
}

static json_t *
nothing(const struct openai_answer *a)
{
	return a->chat ? json_object() : json_string("");
}

json_t *
openai_chunk_first(const struct openai_answer *a, int index)
{
	return chunk(a, index, a->chat ? json_pack("{s:s, s:s}", "role",
	    "assistant", "content", "") : json_string(""), NULL, NULL);
}

static json_t *
logprobs_json(const struct openai_answer *a, struct openai_choice *c,
    const json_t *logprobs)
{
	if (!a->logprobs || logprobs == NULL)
		return NULL;
	return a->chat ? openai_logprobs_chat(logprobs) :
	    openai_logprobs_completion(logprobs, c);
}

/* Both names that clients know for what was thought. */
static void
add_thought(json_t *v, const struct openai_part *text)
{
	json_t *s;

	if (v == NULL || text->n_thought == 0)
		return;
	s = json_stringn(text->thought, text->n_thought);
	json_object_set(v, "reasoning", s);
	json_object_set_new(v, "reasoning_content", s);
}

json_t *
openai_chunk_text(const struct openai_answer *a, struct openai_choice *c,
    const struct openai_part *text, const json_t *logprobs)
{
	json_t *content;

	if (!a->chat) {
		content = json_stringn(text->said, text->n_said);
	} else {
		content = json_object();
		add_thought(content, text);
		if (text->n_said > 0 || text->n_thought == 0)
			json_object_set_new(content, "content",
			    json_stringn(text->said, text->n_said));
	}
	return chunk(a, c->index, content, logprobs_json(a, c, logprobs),
	    NULL);
}

json_t *
openai_chunk_last(const struct openai_answer *a, int index, const char *finish,
    const struct openai_usage *u)
{
	json_t *v = chunk(a, index, nothing(a), NULL, finish);

	if (v != NULL && !a->include_usage)
		openai_add_timings(v, u);
	return v;
}

json_t *
openai_chunk_usage(const struct openai_answer *a, const struct openai_usage *u)
{
	json_t *v = envelope(a, object_of_chunk(a), json_array());

	if (v != NULL) {
		json_object_set_new(v, "usage", usage_json(u));
		openai_add_timings(v, u);
	}
	return v;
}

json_t *
openai_chunk_progress(const struct openai_answer *a, int index,
    const struct openai_progress *p)
{
	json_t *v = chunk(a, index, nothing(a), NULL, NULL);

	if (v != NULL)
		json_object_set_new(v, "prompt_progress",
		    json_pack("{s:I, s:I, s:I, s:f}",
		    "total", (json_int_t)p->n_prompt,
		    "cache", (json_int_t)p->n_cached,
		    "processed", (json_int_t)p->n_done, "time_ms", p->ms));
	return v;
}

json_t *
openai_whole_choice(const struct openai_answer *a, struct openai_choice *c,
    const struct openai_part *text, const json_t *logprobs,
    const char *finish)
{
	json_t *shown = logprobs_json(a, c, logprobs), *message;

	if (shown == NULL)
		shown = json_null();
	if (!a->chat)
		return json_pack("{s:s%, s:i, s:o, s:s}", "text", text->said,
		    text->n_said, "index", c->index, "logprobs", shown,
		    "finish_reason", finish);
	message = json_pack("{s:s, s:s%, s:n}", "role", "assistant", "content",
	    text->said, text->n_said, "refusal");
	add_thought(message, text);
	return json_pack("{s:i, s:o, s:o, s:s}", "index", c->index, "message",
	    message, "logprobs", shown, "finish_reason", finish);
}

json_t *
openai_whole(const struct openai_answer *a, json_t *choices,
    const struct openai_usage *u)
{
	json_t *v = envelope(a, a->chat ? "chat.completion" :
	    "text_completion", choices);

	if (v != NULL) {
		json_object_set_new(v, "usage", usage_json(u));
		openai_add_timings(v, u);
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
