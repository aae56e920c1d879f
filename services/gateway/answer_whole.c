/*
 * An answer that is given whole: everything is collected first.  Of best_of
 * answers to a prompt the n with the highest mean logprob of a token are shown,
 * best first.
 */
#include <string.h>

#include "answer_run.h"
#include "log.h"

static int
collect(struct run *run, struct choice *c, const struct piece *list,
    struct err *e)
{
	int r = 0;

	for (const struct piece *p = list; r == 0 && p != NULL; p = p->next) {
		r = answer_take(run, c, p, e);
		if (p->prompt_logprobs != NULL)
			json_array_extend(c->logprobs, p->prompt_logprobs);
		if (run->a.logprobs && p->logprobs != NULL)
			json_array_extend(c->logprobs, p->logprobs);
	}
	if (r == 0)
		answer_taken(run, c, list);
	return r;
}

/* 0; 1: the client is gone; or an error. */
static int
collect_all(struct run *run, struct err *e)
{
	struct piece *lists[OPENAI_CHOICES_MAX];
	int r = 0;

	for (int i = 0; i < run->n_choices; i++)
		run->choices[i].logprobs = json_array();
	while (r == 0 && run->n_open > 0) {
		if ((r = answer_wait(run, lists, e)) != 0)
			return r;
		for (int i = 0; i < run->n_choices; i++) {
			if (r == 0 && lists[i] != NULL)
				r = collect(run, &run->choices[i], lists[i], e);
			piece_list_free(lists[i]);
		}
		/* Nothing is written to it, so it has to be looked at. */
		if (r == 0 && run->n_open > 0 && web_client_gone(run->rq))
			r = 1;
		if (r == 0 && run->n_open > 0)
			r = gateway_cut(run->gw, e);
	}
	return r;
}

static double
mean_logprob(const struct choice *c)
{
	return c->n_tokens > 0 ? c->logprob / (double)c->n_tokens : 0;
}

/* Of the answers to one prompt, the best that was not shown yet; the first of
 * those that are as good. */
static struct choice *
next_best(struct choice *c, int n, const bool *shown)
{
	struct choice *best = NULL;

	for (int i = 0; i < n; i++)
		if (!shown[i] && (best == NULL ||
		    mean_logprob(&c[i]) > mean_logprob(best)))
			best = &c[i];
	return best;
}

static json_t *
choice_json(struct run *run, struct choice *c, int index)
{
	const char *echo = run->echoes != NULL ? run->echoes[c->prompt] : "";
	struct openai_part text = {
		.thought = c->thought.len > 0 ? c->thought.data : "",
		.n_thought = c->thought.len,
	};
	struct buf said = { 0 };
	json_t *v = NULL;

	buf_adds(&said, echo);
	buf_add(&said, c->said.len > 0 ? c->said.data : "", c->said.len);
	text.said = said.len > 0 ? said.data : "";
	text.n_said = said.len;
	c->shown.index = index;
	if (!said.failed)
		v = openai_whole_choice(&run->a, &c->shown, &text, c->logprobs,
		    c->finish);
	buf_free(&said);
	return v;
}

/* NULL if memory is short. */
static json_t *
choices_json(struct run *run)
{
	int n = run->q->n, made = run->q->best_of, index = 0;
	json_t *list = json_array();

	for (int at = 0; at < run->n_choices; at += made) {
		bool shown[OPENAI_N_MAX] = { false };

		for (int k = 0; k < n; k++) {
			/* In the order of their seeds, if all are shown. */
			struct choice *c = made == n ? &run->choices[at + k] :
			    next_best(run->choices + at, made, shown);
			json_t *v = choice_json(run, c, index++);

			shown[c - run->choices - at] = true;
			if (v == NULL || json_array_append_new(list, v) != 0) {
				json_decref(list);
				return NULL;
			}
		}
	}
	return list;
}

void
answer_whole(struct run *run)
{
	json_t *v = NULL, *choices;
	struct err e;
	int r = collect_all(run, &e);

	if (r == 0 && (choices = choices_json(run)) != NULL)
		v = openai_whole(&run->a, choices, &run->total);
	if (v != NULL) {
		web_reply_json(run->rq, 200, v);
		return;
	}
	/* To a client that is gone it goes nowhere. */
	if (r > 0)
		err_set(&e, ERR_TIMEOUT, "the client went away");
	else if (r == 0)
		err_set(&e, ERR_NO_MEMORY, "no memory for the answer");
	if (r <= 0)
		log_warn("answer request=%s: %s", web_request_id(run->rq),
		    e.text);
	web_reply_err(run->rq, &e);
}
