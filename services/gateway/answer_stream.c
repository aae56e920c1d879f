/*
 * A stream: the headers go out when the worker has accepted everything.  From
 * then on an error is an event of its own, and the stream ends without [DONE].
 *
 * What came for all answers is written together, in the order of the answers:
 * none waits for another, and many cost few writes.
 */
#include <string.h>

#include "answer_run.h"
#include "clock.h"
#include "log.h"

struct stream {
	struct run *run;
	struct piece *lists[OPENAI_CHOICES_MAX];
	int64_t written_ms;
};

static int
no_memory(struct err *e)
{
	return err_set(e, ERR_NO_MEMORY, "no memory for the answer");
}

/* 0, 1: the client is gone, or an error. */
static int
flush(struct stream *s, struct err *e)
{
	struct buf *out = &s->run->out;
	bool ok;

	if (out->failed)
		return no_memory(e);
	if (out->len == 0)
		return 0;
	ok = web_stream_write(s->run->rq, out->data, out->len);
	s->written_ms = clock_ms();
	buf_clear(out);
	return ok ? 0 : 1;
}

static void
add_text(struct run *run, struct choice *c, const struct piece *p)
{
	const struct openai_part text = {
		.said = c->said.len > 0 ? c->said.data : "",
		.n_said = c->said.len,
		.thought = c->thought.len > 0 ? c->thought.data : "",
		.n_thought = c->thought.len,
	};
	struct openai_usage so_far = c->usage;
	bool plain = !run->a.logprobs && !run->q->timings;
	json_t *v;

	if (text.n_said + text.n_thought == 0 && !(run->a.logprobs &&
	    json_array_size(p->logprobs) > 0))
		return;
	if (plain && text.n_thought == 0) {
		openai_text_event(&c->event, text.said, text.n_said, &run->out);
		buf_clear(&c->said);
		return;
	}
	v = openai_chunk_text(&run->a, &c->shown, &text, p->logprobs);
	if (v != NULL && run->q->timings) {
		so_far.n_generated = c->n_tokens;
		so_far.decode_ms = (double)(clock_ns() - c->first_ns) / 1e6;
		openai_add_timings(v, &so_far);
	}
	openai_event(&run->out, v);
	buf_clear(&c->said);
	buf_clear(&c->thought);
}

/* The prompt is done, also if no status said so. */
static void
end_progress(struct run *run, struct choice *c)
{
	struct openai_progress p = {
		.n_prompt = c->usage.n_prompt, .n_cached = c->usage.n_cached,
		.n_done = c->usage.n_prompt, .ms = c->usage.prefill_ms,
	};

	openai_event(&run->out, openai_chunk_progress(&run->a, c->shown.index,
	    &p));
}

static void
add_echo(struct run *run, struct choice *c, const json_t *logprobs)
{
	const char *echo = run->echoes[c->prompt];

	openai_event(&run->out, openai_chunk_text(&run->a, &c->shown,
	    &(struct openai_part){ .said = echo, .n_said = strlen(echo) },
	    logprobs));
}

/* What came for one answer, as events. */
static int
add_pieces(struct run *run, struct choice *c, const struct piece *list,
    struct err *e)
{
	bool first;
	int r = 0;

	for (const struct piece *p = list; r == 0 && p != NULL; p = p->next) {
		first = c->n_tokens == 0;
		if ((r = answer_take(run, c, p, e)) != 0)
			break;
		if (first && run->q->progress && p->stats != NULL)
			end_progress(run, c);
		if (first && run->echoes != NULL && p->prompt_logprobs != NULL)
			add_echo(run, c, p->prompt_logprobs);
		add_text(run, c, p);
	}
	if (r == 0 && c->finish != NULL)
		openai_event(&run->out, openai_chunk_last(&run->a,
		    c->shown.index, c->finish, &c->usage));
	return r;
}

static void
observe(struct run *run, const struct piece *list, int64_t now_us)
{
	for (const struct piece *p = list; p != NULL; p = p->next)
		if (p->time_us > 0 && p->n_text > 0)
			metrics_observe(&run->gw->stats.overhead,
			    (double)(now_us - p->time_us) / 1e6);
}

/*
 * upstream_set_sink: a client that reads takes them at once.  Only what leaves no
 * trace but a count if it cannot: plain text, after the first piece.
 */
static bool
write_at_once(void *arg, const struct piece *list)
{
	struct stream *s = arg;
	struct run *run = s->run;
	struct choice *c = &run->choices[0];

	if (run->a.logprobs || run->q->timings || c->n_tokens == 0 ||
	    gateway_is_over(run->gw) ||
	    (c->reasoning.state != REASONING_OFF &&
	    c->reasoning.state != REASONING_SAYS))
		return false;
	for (const struct piece *p = list; p != NULL; p = p->next)
		if (p->n_text > 0)
			openai_text_event(&c->event, p->text, p->n_text,
			    &run->out);
	if (run->out.failed || (run->out.len > 0 &&
	    !web_stream_try(run->rq, run->out.data, run->out.len))) {
		buf_clear(&run->out);
		return false;
	}
	buf_clear(&run->out);
	s->written_ms = clock_ms();
	for (const struct piece *p = list; p != NULL; p = p->next)
		c->n_tokens += p->n_tokens;
	observe(run, list, clock_ns() / 1000);
	return true;
}

static int
write_pieces(struct stream *s, struct err *e)
{
	struct run *run = s->run;
	int64_t now_us;
	int n_over = 0, bad = 0, r = 0;
	struct err told;

	for (int i = 0; i < run->n_choices; i++)
		if (s->lists[i] != NULL) {
			/* What came before an error is still written. */
			bad = add_pieces(run, &run->choices[i], s->lists[i],
			    &told);
			n_over += run->choices[i].finish != NULL;
			if (bad != 0)
				break;
		}
	if (bad == 0 && n_over == run->n_open) {
		if (run->a.include_usage)
			openai_event(&run->out, openai_chunk_usage(&run->a,
			    &run->total));
		buf_adds(&run->out, "data: [DONE]\n\n");
	}
	if ((r = flush(s, e)) != 0)
		return r;
	if (bad != 0) {
		*e = told;
		return bad;
	}
	now_us = clock_ns() / 1000;
	for (int i = 0; i < run->n_choices; i++)
		if (s->lists[i] != NULL) {
			observe(run, s->lists[i], now_us);
			answer_taken(run, &run->choices[i], s->lists[i]);
		}
	return 0;
}

/* Where those stand that have said nothing yet. */
static void
add_news(struct run *run)
{
	for (int i = 0; i < run->n_choices; i++) {
		struct choice *c = &run->choices[i];
		struct upstream_progress p;

		if (c->up == NULL || c->n_tokens > 0)
			continue;
		upstream_progress(c->up, &p);
		if (p.place != c->told.place && p.place > 0)
			buf_printf(&run->out, ": queue %d\n\n", p.place);
		if (run->q->progress && p.n_prompt > 0 &&
		    p.n_done != c->told.n_done && p.n_done < p.n_prompt)
			openai_event(&run->out, openai_chunk_progress(&run->a,
			    c->shown.index, &(struct openai_progress){
			    .n_prompt = p.n_prompt, .n_cached = p.n_cached,
			    .n_done = p.n_done, .ms = p.ms }));
		c->told = p;
	}
}

static int
write_news(struct stream *s, struct err *e)
{
	struct run *run = s->run;

	if (run->let_go || web_client_gone(run->rq))
		return 1;
	add_news(run);
	if (run->out.len == 0 && clock_ms() - s->written_ms >= ANSWER_WAIT_MS)
		buf_adds(&run->out, ": ping\n\n");
	return flush(s, e);
}

/* With logprobs the prompt is said when they are there. */
static void
add_first(struct run *run, struct choice *c)
{
	if (run->a.chat)
		openai_event(&run->out, openai_chunk_first(&run->a,
		    c->shown.index));
	else if (run->echoes != NULL && !run->a.logprobs)
		add_echo(run, c, NULL);
}

/* 0: complete; 1: the client is gone; else an error, not told yet. */
static int
run_stream(struct stream *s, struct err *e)
{
	struct run *run = s->run;
	int r;

	web_stream_begin(run->rq, 200, "text/event-stream");
	s->written_ms = clock_ms();
	for (int i = 0; i < run->n_choices; i++) {
		struct choice *c = &run->choices[i];

		if ((r = openai_text_init(&c->event, &run->a, &c->shown,
		    e)) != 0)
			return r;
		if (run->resumed)
			answer_kept(run, c);
		else
			add_first(run, c);
	}
	/* Of several, two workers could write at once. */
	if ((r = flush(s, e)) == 0 && run->n_choices == 1 && run->n_open == 1)
		upstream_set_sink(run->choices[0].up, write_at_once, s);
	while (r == 0 && run->n_open > 0) {
		bool any = false;

		if ((r = answer_wait(run, s->lists, e)) != 0)
			break;
		for (int i = 0; i < run->n_choices; i++)
			any = any || s->lists[i] != NULL;
		r = any && !run->let_go ? write_pieces(s, e) :
		    write_news(s, e);
		if (r == 0 && run->n_open > 0)
			r = gateway_cut(run->gw, e);
		for (int i = 0; i < run->n_choices; i++)
			piece_list_free(s->lists[i]);
	}
	return r;
}

void
answer_stream(struct run *run)
{
	struct stream s = { .run = run };
	struct err e;
	int r;

	answer_list(run);
	r = run_stream(&s, &e);
	for (int i = 0; i < run->n_choices; i++)
		if (run->choices[i].up != NULL && (r == 1 || r == ERR_LOST))
			answer_keep(run, &run->choices[i]);
	answer_unlist(run);

	if (r < 0) {
		log_warn("answer request=%s: %s", web_request_id(run->rq),
		    e.text);
		buf_free(&run->out);
		openai_event(&run->out, web_error_json(&e));
		if (!run->out.failed)
			web_stream_write(run->rq, run->out.data, run->out.len);
	}
	web_stream_end(run->rq, r <= 0);
}
