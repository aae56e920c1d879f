/*
 * Streams that outlive their connection.  What the client has of the text it says
 * in bytes: of thoughts and answer together, in the order in which they were sent.
 * The worker's text so far is told apart into both once more from its beginning,
 * and that many bytes are left out.
 */
#include <stdlib.h>
#include <string.h>

#include "answer_run.h"
#include "clock.h"
#include "log.h"

static void
let_go(void *arg)
{
	struct run *run = arg;

	run->let_go = true;
	/* Of several, each wait ends by itself: none of them has a sink. */
	if (run->n_choices == 1)
		upstream_nudge(run->choices[0].up);
}

void
answer_list(struct run *run)
{
	if (run->n_open == 0)
		return;
	run->running = (struct parked_running){ .id = run->a.id,
		.owner = run->caller->owner, .let_go = let_go, .arg = run,
		.index = run->resumed ? run->choices[0].shown.index : -1 };
	run->listed = true;
	parked_begin(&run->gw->parked, &run->running);
}

void
answer_unlist(struct run *run)
{
	if (run->listed)
		parked_end(&run->gw->parked, &run->running);
	run->listed = false;
}

/* An echo is no part of what the worker said, so there is no place in it. */
void
answer_keep(struct run *run, struct choice *c)
{
	struct upstream_parts parts;
	struct parked_stream *s;
	struct err e;

	if (!run->q->stream || run->echoes != NULL ||
	    run->gw->parked.window_ms == 0 ||
	    (s = calloc(1, sizeof(*s))) == NULL)
		return;
	if (upstream_park(c->up, c->finish != NULL, &parts, &e) != 0) {
		log_warn("answer id=%s: %s", upstream_id(c->up), e.text);
		free(s);
		return;
	}
	s->a = run->a;
	s->index = c->shown.index;
	s->thinks = run->thinks;
	strcpy(s->owner, run->caller->owner);
	strcpy(s->session, run->caller->session);
	s->generate = parts.generate;
	s->tokens = parts.tokens;
	s->text = parts.text;
	s->n_text = parts.n_text;
	s->finish = c->finish;
	s->usage = c->usage;
	parked_put(&run->gw->parked, s, clock_ms());
}

/* Leave out the first n bytes, or all of it; what is left of n. */
static size_t
leave_out(struct buf *b, size_t n)
{
	size_t k = n < b->len ? n : b->len;

	if (k > 0) {
		memmove(b->data, b->data + k, b->len - k);
		b->data[b->len -= k] = '\0';
	}
	return n - k;
}

static bool
splits_character(const struct buf *b)
{
	return b->len > 0 && ((unsigned char)b->data[0] & 0xC0) == 0x80;
}

/* c->thought and c->said become what the client has not. */
static int
tell_apart(struct run *run, struct choice *c, const struct parked_stream *s,
    struct err *e)
{
	size_t left;

	reasoning_init(&c->reasoning, s->thinks);
	reasoning_push(&c->reasoning, s->text != NULL ? s->text : "",
	    s->n_text, &c->thought, &c->said);
	if (s->finish != NULL)
		reasoning_end(&c->reasoning, &c->thought, &c->said);
	if (c->thought.failed || c->said.failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for the answer");
	left = leave_out(&c->said, leave_out(&c->thought, run->from));
	if (left > 0)
		return err_set_param(e, ERR_RANGE, "from",
		    "the text has %zu bytes so far", run->from - left);
	if (splits_character(&c->thought) || splits_character(&c->said))
		return err_set_param(e, ERR_RANGE, "from",
		    "byte %zu is inside a character", run->from);
	return 0;
}

/* The same weights, and the worker takes it. */
static int
go_on(struct run *run, struct choice *c, const struct parked_stream *s,
    struct err *e)
{
	struct upstream_begun begun = { .text = s->text != NULL ? s->text : "",
		.n_text = s->n_text };
	struct openai_answer now;
	struct upstream_model m;
	json_t *generate, *tokens;
	int r;

	if ((r = fleet_model(run->gw->fleet, s->a.model, &m, e)) != 0)
		return r;
	openai_answer_init(&now, s->a.chat, m.id, m.fingerprint);
	if (strcmp(now.fingerprint, s->a.fingerprint) != 0)
		return err_set_param(e, ERR_NOT_FOUND, "id",
		    "the model was another one when this stream began");
	generate = json_loads(s->generate, 0, NULL);
	tokens = json_loads(s->tokens, 0, NULL);
	begun.tokens = tokens;
	if (generate == NULL || tokens == NULL)
		r = err_set(e, ERR_NO_MEMORY, "no memory for a request");
	else
		r = fleet_go_on(run->gw->fleet, s->a.model, s->session,
		    generate, &begun, &c->up, e);
	json_decref(generate);
	json_decref(tokens);
	run->n_open = r == 0;
	return r;
}

void
answer_kept(struct run *run, struct choice *c)
{
	const struct openai_part rest = {
		.said = c->said.len > 0 ? c->said.data : "",
		.n_said = c->said.len,
		.thought = c->thought.len > 0 ? c->thought.data : "",
		.n_thought = c->thought.len,
	};

	if (run->from == 0 && run->a.chat)
		openai_event(&run->out, openai_chunk_first(&run->a,
		    c->shown.index));
	if (rest.n_said + rest.n_thought > 0)
		openai_event(&run->out, openai_chunk_text(&run->a, &c->shown,
		    &rest, NULL));
	buf_clear(&c->said);
	buf_clear(&c->thought);
	if (c->finish == NULL)
		return;
	openai_event(&run->out, openai_chunk_last(&run->a, c->shown.index,
	    c->finish, &c->usage));
	if (run->a.include_usage)
		openai_event(&run->out, openai_chunk_usage(&run->a,
		    &c->usage));
	buf_adds(&run->out, "data: [DONE]\n\n");
}

static int
prepare(struct run *run, struct choice *c, const struct parked_stream *s,
    struct err *e)
{
	int r;

	c->shown.index = s->index;
	c->usage = s->usage;
	c->finish = s->finish;
	if ((r = tell_apart(run, c, s, e)) != 0 || s->finish != NULL)
		return r;
	return go_on(run, c, s, e);
}

void
answer_resume(struct gateway *gw, struct web_request *rq,
    struct caller *caller, struct parked_stream *s, size_t from)
{
	struct openai_request q = { .chat = s->a.chat, .model = s->a.model,
		.stream = true, .include_usage = s->a.include_usage, .n = 1,
		.best_of = 1 };
	struct run run = { .gw = gw, .rq = rq, .q = &q, .caller = caller,
		.a = s->a, .thinks = s->thinks, .resumed = true, .from = from };
	struct choice *c = calloc(1, sizeof(*c));
	struct err e;
	int r;

	run.start_ns = clock_ns();
	run.a.logprobs = false;	/* those that were sent are not kept */
	run.choices = c;
	run.n_choices = c != NULL;
	if (c == NULL)
		r = err_set(&e, ERR_NO_MEMORY, "no memory for the answer");
	else if ((r = caller_admit(caller, rq, NULL, 1, -1, &e)) == 0) {
		if ((r = prepare(&run, c, s, &e)) == 0)
			answer_stream(&run);
		caller_leave(caller, r == 0 ? c->n_tokens : -1);
	}
	if (r != 0)
		web_reply_err(rq, &e);
	else
		log_info("answer request=%s took up stream=%s from=%zu "
		    "n_generated=%lld", web_request_id(rq), s->a.id, from,
		    (long long)c->n_tokens);
	/* What was not taken up stays; what has ended may be asked for again. */
	if (r != 0 || s->finish != NULL)
		parked_put(&gw->parked, s, r != 0 ? s->kept_ms : clock_ms());
	else
		parked_free(s);
	answer_end(&run);
}
