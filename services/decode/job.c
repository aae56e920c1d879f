#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "job.h"

enum { STOP_MAX = 256 };	/* bytes of one stop string */

const char *
job_finish_name(enum job_finish f)
{
	static const char *const names[] = {
		NULL,
#define F(name) #name,
		JOB_FINISHES(F)
#undef F
	};
	return names[f];
}

int32_t
job_n_generated(const struct job *j)
{
	return j->n_tokens - j->n_prompt;
}

bool
job_is_solo(const struct job *j)
{
	return job_n_generated(j) < j->solo_end;
}

static int
check_id(const json_t *v, const char *member, size_t i, int32_t n_vocab,
    int32_t *id, struct err *e)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 0 || n >= n_vocab)
		return err_set_param(e, ERR_RANGE, member,
		    "%s[%zu] is not a token id from 0 to %d", member, i,
		    (int)n_vocab - 1);
	*id = (int32_t)n;
	return 0;
}

static int
take_stops(struct job *j, const json_t *stop, struct err *e)
{
	size_t n = json_array_size(stop), size = 0, i;
	const json_t *v;
	char *at;

	if (!json_is_array(stop) || n > DECODE_STOPS_MAX)
		return err_set_param(e, ERR_RANGE, "stop",
		    "stop is not an array of at most %d strings",
		    DECODE_STOPS_MAX);
	json_array_foreach(stop, i, v) {
		size_t len = json_string_length(v);

		if (!json_is_string(v) || len == 0 || len > STOP_MAX)
			return err_set_param(e, ERR_RANGE, "stop",
			    "stop[%zu] is not a string of 1 to %d bytes", i,
			    STOP_MAX);
		size += len + 1;
	}
	if (n > 0 && (j->stop_text = malloc(size)) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for stop strings");
	at = j->stop_text;
	json_array_foreach(stop, i, v) {
		j->stops[i] = at;
		at = stpcpy(at, json_string_value(v)) + 1;
	}
	textstream_init(&j->text, j->stops, n);
	return 0;
}

/* "17" and nothing else: no sign, no blanks, no leading zero. */
static bool
parse_id(const char *key, int32_t n_vocab, int32_t *id)
{
	int64_t n = 0;

	if (*key == '\0' || (key[0] == '0' && key[1] != '\0'))
		return false;
	for (const char *c = key; *c != '\0'; c++) {
		if (*c < '0' || *c > '9')
			return false;
		n = n * 10 + (*c - '0');
		if (n >= n_vocab)
			return false;
	}
	*id = (int32_t)n;
	return true;
}

static int
take_bias(struct job *j, const struct job_context *c, json_t *bias,
    struct err *e)
{
	int32_t *n = &j->sampling.n_bias;
	const char *key;
	json_t *v;

	if (!json_is_object(bias))
		return err_set_param(e, ERR_RANGE, "logit_bias",
		    "logit_bias is not an object");
	if (json_object_size(bias) == 0)
		return 0;
	j->bias = calloc(json_object_size(bias), sizeof(*j->bias));
	if (j->bias == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for logit_bias");
	j->sampling.bias = j->bias;
	json_object_foreach(bias, key, v) {
		double b = json_number_value(v);

		if (!parse_id(key, c->model->vocab, &j->bias[*n].id))
			return err_set_param(e, ERR_RANGE, "logit_bias",
			    "logit_bias: '%.32s' is not a token id from 0 to %d",
			    key, (int)c->model->vocab - 1);
		if (!json_is_number(v) || b < -100 || b > 100)
			return err_set_param(e, ERR_RANGE, "logit_bias",
			    "logit_bias: the value of %s is not a number from "
			    "-100 to 100", key);
		j->bias[(*n)++].bias = (float)b;
	}
	return 0;
}

static int
take_parameters(struct job *j, const struct job_context *c,
    const struct decode_generate *g, int64_t now_us, struct err *e)
{
	int r;

	if ((r = pool_init(&j->pool, g->pooling, c->model->hidden, e)) != 0)
		return r;
	memcpy(j->id, g->id, DECODE_ID_LEN);
	j->attempt = g->attempt;
	j->sampling = (struct sampler_params){
		.temperature = (float)g->temperature, .top_k = (int32_t)g->top_k,
		.top_p = (float)g->top_p, .min_p = (float)g->min_p,
		.repeat_penalty = (float)g->repeat_penalty,
		.repeat_last_n = (int32_t)g->repeat_last_n,
		.frequency_penalty = (float)g->frequency_penalty,
		.presence_penalty = (float)g->presence_penalty,
		.min_keep = (int32_t)g->min_keep,
		.seed = (uint64_t)g->seed,
	};
	j->n_logprobs = (int)g->logprobs;
	j->ignore_eos = g->ignore_eos;
	j->client = g->client;
	j->solo_end = (int32_t)g->solo_seq + 1;
	j->kv.salt = (uint64_t)g->cache_salt;
	/* Of what is in the cache the states are not known. */
	j->kv.alone = !g->cache_prompt || j->pool.kind == POOL_MEAN ||
	    g->prompt_logprobs;
	j->lease_us = g->lease_ms * 1000;
	j->created_us = j->renewed_us = now_us;
	if (g->deadline_ms > 0)
		j->deadline_us = now_us + g->deadline_ms * 1000;
	if ((r = take_stops(j, g->stop, e)) != 0)
		return r;
	return take_bias(j, c, g->logit_bias, e);
}

/* what: the tokens of it do not fit. */
static int
too_long(const struct job_context *c, const struct decode_generate *g,
    const char *what, size_t n, struct err *e)
{
	int r = err_set_param(e, ERR_CONTEXT,
	    json_array_size(g->messages) > 0 ? "messages" : "prompt",
	    "%s %zu tokens and the context %d, of which one is for the answer",
	    what, n, (int)c->n_ctx);

	if (e != NULL) {
		e->n_prompt_tokens = (int64_t)n;
		e->n_ctx = c->n_ctx;
	}
	return r;
}

struct sampler_logprob *
job_score(struct job *j, int32_t pos)
{
	return j->scores + (size_t)(pos + 1) * (size_t)(j->n_logprobs + 1);
}

/* Room for the logprobs of the prompt. */
static int
take_scores(struct job *j, struct err *e)
{
	size_t per = (size_t)(j->n_logprobs + 1);
	size_t n = (size_t)j->n_prompt * per;

	if (per == 0 || n > DECODE_PROMPT_LOGPROBS_MAX)
		return err_set_param(e, ERR_RANGE, "logprobs",
		    "logprobs of a prompt of %d tokens with %d alternatives: at "
		    "most %d in all", (int)j->n_prompt, j->n_logprobs,
		    DECODE_PROMPT_LOGPROBS_MAX);
	if ((j->scores = calloc(n, sizeof(*j->scores))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for logprobs");
	j->scores[0].id = j->tokens[0];
	return 0;
}

/* The prompt and room for what follows it. */
static int
take_prompt(struct job *j, const struct job_context *c,
    const struct decode_generate *g, const int32_t *prompt, size_t n_prompt,
    struct err *e)
{
	size_t n_forced = json_array_size(g->forced), room;
	int r;

	if (n_prompt == 0)
		return err_set_param(e, ERR_RANGE, "prompt",
		    "the prompt has no tokens");
	if (n_prompt >= (size_t)c->n_ctx)
		return too_long(c, g, "the prompt has", n_prompt, e);
	room = (size_t)c->n_ctx - n_prompt;
	if (!json_is_array(g->forced) ||
	    (n_forced > 0 && j->pool.kind != POOL_NONE))
		return err_set_param(e, ERR_RANGE, "forced",
		    "forced is not an array, or the prompt alone is wanted");
	/* A worker with less context than the one that began the answer. */
	if (n_forced > room)
		return too_long(c, g, "prompt and answer so far have",
		    n_prompt + n_forced, e);
	if (g->max_tokens > 0 && (uint64_t)g->max_tokens < room)
		room = (size_t)g->max_tokens;
	if (j->pool.kind != POOL_NONE)
		room = 1;
	j->limit = (int32_t)room;
	if (room < n_forced)
		room = n_forced;
	j->kv.room = (int32_t)((n_prompt + room + KV_PAGE - 1) / KV_PAGE);
	j->tokens = calloc(n_prompt + room, sizeof(*j->tokens));
	j->kv.pages = calloc((size_t)j->kv.room, sizeof(*j->kv.pages));
	if (j->tokens == NULL || j->kv.pages == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for %zu tokens",
		    n_prompt + room);
	for (size_t i = 0; i < n_prompt; i++) {
		if (prompt[i] < 0 || prompt[i] >= c->model->vocab)
			return err_set_param(e, ERR_RANGE, "prompt_ids",
			    "prompt_ids[%zu] is not a token id from 0 to %d", i,
			    (int)c->model->vocab - 1);
		j->tokens[i] = prompt[i];
	}
	j->n_prompt = j->n_tokens = (int32_t)n_prompt;
	if (g->prompt_logprobs && (r = take_scores(j, e)) != 0)
		return r;
	return events_init(&j->events, (int64_t)n_forced,
	    (int)g->logprobs + 1, e);
}

/*
 * No text comes after this.  What was held back because a stop string might begin
 * there may have another one further on, and that is then the end.
 */
static void
end_text(struct job *j)
{
	if (j->text.stopped)
		return;
	textstream_flush(&j->text, &j->events.text);
	if (j->text.stopped && j->finish == JOB_FINISH_length)
		j->finish = JOB_FINISH_stop;
}

/* The last piece of a generation that the forced tokens ended. */
static void
say_finish(struct job *j)
{
	events_begin(&j->events, -1);
	end_text(j);
	events_end(&j->events);
}

int
job_create(const struct job_context *c, const struct decode_generate *g,
    const int32_t *prompt, size_t n_prompt, int64_t now_us, struct job **out,
    struct err *e)
{
	struct job *j = calloc(1, sizeof(*j));
	const json_t *v;
	size_t i;
	int r;

	if (j == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a request");
	textstream_init(&j->text, NULL, 0);
	if ((r = take_parameters(j, c, g, now_us, e)) != 0 ||
	    (r = take_prompt(j, c, g, prompt, n_prompt, e)) != 0)
		goto fail;
	json_array_foreach(g->forced, i, v) {
		int32_t id = 0;

		if ((r = check_id(v, "forced", i, c->model->vocab, &id, e)) != 0)
			goto fail;
		job_accept(j, c, id, false, NULL);
	}
	if (j->finish != JOB_RUNS)
		say_finish(j);
	*out = j;
	return 0;
fail:
	job_destroy(j);
	return r;
}

void
job_destroy(struct job *j)
{
	if (j == NULL)
		return;
	free(j->scores);
	pool_free(&j->pool);
	textstream_finish(&j->text);
	events_finish(&j->events);
	free(j->stop_text);
	free(j->bias);
	free(j->tokens);
	free(j->kv.pages);
	transcript_unref(j->prompt);
	free(j);
}

static bool
is_eos(const struct model_config *m, int32_t token)
{
	for (int32_t i = 0; i < m->n_eos; i++)
		if (m->eos[i] == token)
			return true;
	return false;
}

void
job_push_text(struct textstream *ts, const struct tokenizer *t, int32_t token,
    struct buf *out)
{
	size_t n = 0;
	const char *bytes = tokenizer_bytes(t, token, &n);

	if (!events_shows(t, token))
		return;
	while (n > 0) {
		size_t part = strnlen(bytes, n);

		if (part > 0)
			textstream_push(ts, bytes, part, out);
		bytes += part;
		n -= part;
		if (n > 0) {
			textstream_push(ts, "\xEF\xBF\xBD", 3, out);
			bytes++;
			n--;
		}
	}
}

void
job_accept(struct job *j, const struct job_context *c, int32_t token,
    bool publish, const struct sampler_logprob *lp)
{
	struct buf unseen = { 0 };
	struct buf *out = publish ? &j->events.text : &unseen;
	struct sampler_logprob *row;

	j->tokens[j->n_tokens++] = token;
	if (publish && (row = events_begin(&j->events, token)) != NULL &&
	    lp != NULL)
		memcpy(row, lp, (size_t)j->events.n_logprobs * sizeof(*row));
	job_push_text(&j->text, c->tokenizer, token, out);
	if (j->finish != JOB_RUNS)
		;	/* forced past its end: that end stands */
	else if (out->failed || j->text.held.failed)
		j->finish = JOB_FINISH_error;	/* no memory: not a gap */
	else if ((!j->ignore_eos && is_eos(c->model, token)) || j->text.stopped)
		j->finish = JOB_FINISH_stop;
	else if (job_n_generated(j) >= j->limit)
		j->finish = JOB_FINISH_length;
	if (publish) {
		if (j->finish != JOB_RUNS)
			end_text(j);
		events_end(&j->events);
	}
	buf_free(&unseen);
}

void
job_end(struct job *j, enum job_finish why)
{
	j->finish = why;
	say_finish(j);
}

struct events_outcome
job_outcome(const struct job *j)
{
	int64_t started = j->started_us > 0 ? j->started_us : j->done_us;
	int64_t first = j->first_us > 0 ? j->first_us : j->done_us;

	return (struct events_outcome){
		.finish = job_finish_name(j->finish),
		.scores = j->scores,
		.vector = j->pool.text.len > 0 ? j->pool.text.data : NULL,
		.n_prompt = j->n_prompt, .n_cached = j->n_cached,
		.n_generated = job_n_generated(j),
		.n_drafted = j->n_drafted, .n_accepted = j->n_accepted,
		.queue_ms = (double)(started - j->created_us) / 1000,
		.prefill_ms = (double)(first - started) / 1000,
		.decode_ms = (double)(j->done_us - first) / 1000,
	};
}
