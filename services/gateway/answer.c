/*
 * A client's request becomes one request at the worker for each answer; one
 * thread waits for all of them.  All are accepted before anything is sent, so
 * errors keep their status until then.
 */
#include <stdlib.h>
#include <string.h>

#include "answer_run.h"
#include "clock.h"
#include "log.h"

static double
seconds_since(int64_t ns)
{
	return (double)(clock_ns() - ns) / 1e9;
}

int
answer_wait(struct run *run, struct piece **lists, struct err *e)
{
	struct upstream_request *up[OPENAI_CHOICES_MAX];
	struct piece *got[OPENAI_CHOICES_MAX] = { 0 };
	int n = 0, r;

	for (int i = 0; i < run->n_choices; i++)
		if (run->choices[i].up != NULL)
			up[n++] = run->choices[i].up;
	r = upstream_wait_any(up, n, ANSWER_WAIT_MS, got, e);
	n = 0;
	for (int i = 0; i < run->n_choices; i++)
		lists[i] = run->choices[i].up != NULL ? got[n++] : NULL;
	return r;
}

/* A finish that is no end of a text. */
static int
ended_badly(const struct piece *p, struct err *e)
{
	if (strcmp(p->finish, "deadline") == 0)
		return err_set(e, ERR_TIMEOUT,
		    "the answer was not complete in time");
	return err_set(e, ERR_SYSTEM, "the worker ended the request: %s",
	    p->finish);
}

/* What the worker says; which tokens were thoughts was counted here, also on the
 * connection that a stream had before. */
static void
read_usage(struct choice *c, const json_t *stats)
{
	int64_t n_reasoning = c->usage.n_reasoning;

	openai_usage_read(stats, &c->usage);
	c->usage.n_reasoning = n_reasoning;
}

/* The last piece told us how it ended. */
static int
take_finish(struct run *run, struct choice *c, const struct piece *p,
    struct err *e)
{
	int k = (int)(c - run->choices) % run->q->best_of;

	if ((c->finish = openai_finish(p->finish)) == NULL)
		return ended_badly(p, e);
	reasoning_end(&c->reasoning, &c->thought, &c->said);
	read_usage(c, p->stats);
	openai_usage_add(&run->total, &c->usage, k == 0);
	if (k == 0)
		run->gw->stats.n_prompt += (uint64_t)c->usage.n_prompt;
	run->gw->stats.n_generated += (uint64_t)c->usage.n_generated;
	return 0;
}

/* The first piece says what its prompt took; from then on it decodes. */
static void
take_first(struct run *run, struct choice *c, const struct piece *p)
{
	c->first_ns = clock_ns();
	read_usage(c, p->stats);
	if (run->first_ns != 0)
		return;
	run->first_ns = c->first_ns;
	metrics_observe(&run->gw->stats.first_token,
	    seconds_since(run->start_ns));
}

int
answer_take(struct run *run, struct choice *c, const struct piece *p,
    struct err *e)
{
	bool thinks = reasoning_thinks(&c->reasoning);
	int r = 0;

	if (c->first_ns == 0 && p->n_tokens > 0)
		take_first(run, c, p);
	reasoning_push(&c->reasoning, p->text, p->n_text, &c->thought,
	    &c->said);
	c->n_tokens += p->n_tokens;
	if (thinks || reasoning_thinks(&c->reasoning))
		c->usage.n_reasoning += p->n_tokens;
	for (size_t i = 0; i < json_array_size(p->logprobs); i++)
		c->logprob += json_number_value(json_object_get(
		    json_array_get(p->logprobs, i), "logprob"));
	if (p->finish[0] != '\0')
		r = take_finish(run, c, p, e);
	if (r == 0 && (c->said.failed || c->thought.failed))
		r = err_set(e, ERR_NO_MEMORY, "no memory for the answer");
	return r;
}

void
answer_taken(struct run *run, struct choice *c, const struct piece *list)
{
	while (list->next != NULL)
		list = list->next;
	upstream_taken(c->up, list->seq +
	    (list->n_tokens > 0 ? list->n_tokens : 1));
	if (c->finish == NULL)
		return;
	answer_keep(run, c);
	if (run->n_open == 1)
		answer_unlist(run);
	upstream_close(c->up);
	c->up = NULL;
	run->n_open--;
}

/* The text of each prompt, to be said before its answers. */
static int
find_echoes(struct run *run, struct upstream *u, struct err *e)
{
	size_t n = json_array_size(run->q->prompts);
	int r = 0;

	if (!run->q->echo)
		return 0;
	if ((run->echoes = calloc(n, sizeof(*run->echoes))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the echo");
	for (size_t i = 0; r == 0 && i < n; i++) {
		const json_t *v = json_array_get(run->q->prompts, i);
		json_t *ids = json_object_get(v, "prompt_ids");

		if (ids != NULL)
			r = upstream_detokenize(u, ids, &run->echoes[i], e);
		else if ((run->echoes[i] = strdup(json_string_value(
		    json_object_get(v, "prompt")))) == NULL)
			r = err_set(e, ERR_NO_MEMORY, "no memory for the echo");
	}
	return r;
}

static int
submit(struct run *run, struct choice *c, int k, struct err *e)
{
	json_t *generate = openai_generate(run->q, c->prompt, k);
	int r;

	if (generate == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a request");
	caller_generate(run->caller, c == run->choices, generate);
	r = caller_submit(run->caller, run->q->model, run->n_open > 0, generate,
	    &c->up, e);
	json_decref(generate);
	if (r != 0 && strcmp(e->param, "prompt_ids") == 0)
		strcpy(e->param, "prompt");	/* as the client calls it */
	if (r == 0)
		run->n_open++;
	return r;
}

/* One that is refused takes the others with it: answer() closes them. */
static int
submit_all(struct run *run, bool thinks, struct err *e)
{
	const struct openai_request *q = run->q;
	int n = (int)json_array_size(q->prompts) * q->best_of, r = 0;

	run->choices = calloc((size_t)n, sizeof(*run->choices));
	if (run->choices == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the answers");
	run->n_choices = n;
	run->thinks = thinks && q->chat && !q->raw_reasoning;
	for (int i = 0; r == 0 && i < n; i++) {
		struct choice *c = &run->choices[i];

		c->prompt = (size_t)(i / q->best_of);
		c->shown.index = i;
		reasoning_init(&c->reasoning, run->thinks);
		r = submit(run, c, i % q->best_of, e);
	}
	return r;
}

static int
prepare(struct run *run, struct err *e)
{
	const struct openai_request *q = run->q;
	struct upstream_health h;
	struct upstream_model m;
	struct upstream *u;
	int r;

	if ((r = fleet_model(run->gw->fleet, q->model, &m, e)) != 0)
		return r;
	if ((u = fleet_pick(run->gw->fleet, q->model, run->caller->session,
	    e)) == NULL)
		return (int)e->code;
	upstream_health(u, &h);
	if (q->best_of > h.n_slots)
		return err_set_param(e, ERR_RANGE,
		    q->best_of > q->n ? "best_of" : "n",
		    "%d answers at once are more than the worker's %lld slots",
		    q->best_of, (long long)h.n_slots);
	openai_answer_init(&run->a, q->chat, m.id, m.fingerprint);
	run->a.logprobs = q->logprobs;
	run->a.include_usage = q->include_usage;
	if ((r = find_echoes(run, u, e)) != 0)
		return r;
	return submit_all(run, m.thinks, e);
}

/* Of its prompts and answers, as far as they got. */
static int64_t
count_tokens(const struct run *run)
{
	int64_t n = 0;

	for (int i = 0; i < run->n_choices; i++) {
		const struct choice *c = &run->choices[i];

		n += c->n_tokens;
		if (i % run->q->best_of == 0)
			n += c->up != NULL ? upstream_n_prompt(c->up) :
			    c->usage.n_prompt;
	}
	return n;
}

/* The tokens it took; -1: none, it was refused. */
static int64_t
admitted(struct run *run)
{
	char first_id[DECODE_ID_LEN + 1];
	struct err e;

	if (prepare(run, &e) != 0) {
		web_reply_err(run->rq, &e);
		return -1;
	}
	strcpy(first_id, upstream_id(run->choices[0].up));
	caller_accepted(run->caller, run->rq,
	    upstream_session_state(run->choices[0].up),
	    upstream_n_cached(run->choices[0].up));
	if (run->q->stream)
		answer_stream(run);
	else
		answer_whole(run);
	metrics_observe(&run->gw->stats.duration,
	    seconds_since(run->start_ns));
	log_info("answer id=%s request=%s n=%d n_prompt=%lld n_generated=%lld "
	    "first_ms=%.1f ms=%.1f finish=%s trace=%s", first_id,
	    web_request_id(run->rq), run->n_choices,
	    (long long)run->total.n_prompt, (long long)run->total.n_generated,
	    run->first_ns == 0 ? 0.0 :
	    (double)(run->first_ns - run->start_ns) / 1e6,
	    seconds_since(run->start_ns) * 1e3,
	    run->n_open == 0 ? run->choices[0].finish : "none",
	    run->caller->trace != NULL ? run->caller->trace : "-");
	return count_tokens(run);
}

void
answer_end(struct run *run)
{
	for (int i = 0; i < run->n_choices; i++) {
		struct choice *c = &run->choices[i];

		upstream_close(c->up);
		buf_free(&c->said);
		buf_free(&c->thought);
		openai_text_free(&c->event);
		json_decref(c->logprobs);
	}
	free(run->choices);
	for (size_t i = 0; run->echoes != NULL &&
	    i < json_array_size(run->q->prompts); i++)
		free(run->echoes[i]);
	free(run->echoes);
	buf_free(&run->out);
}

void
answer(struct gateway *gw, struct web_request *rq,
    const struct openai_request *q, struct caller *caller)
{
	struct run run = { .gw = gw, .rq = rq, .q = q, .caller = caller };
	int64_t n_tokens;
	struct err e;

	run.start_ns = clock_ns();
	if (caller_admit(caller, rq, q->prompts, q->best_of,
	    json_integer_value(json_object_get(q->generate, "max_tokens")),
	    &e) != 0) {
		web_reply_err(rq, &e);
		return;
	}
	n_tokens = admitted(&run);
	answer_end(&run);
	caller_leave(caller, n_tokens);
}
