/*
 * Limits first, then a place: who has no place gets back what was taken from the
 * limits.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "clock.h"
#include "gateway.h"

enum {
	BYTES_PER_TOKEN = 4,		/* of a prompt, roughly */
	ANSWER_TOKENS = 256,		/* if the request does not say */
};

static int64_t
n_bytes(const json_t *messages)
{
	const json_t *m, *v;
	int64_t n = 0;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)messages, i, m) {
		v = json_object_get(m, "content");
		n += (int64_t)json_string_length(v);
	}
	return n;
}

static int64_t
estimate(const json_t *prompts, int n_answers, int64_t max_tokens)
{
	int64_t n = n_answers * (max_tokens == 0 ? ANSWER_TOKENS :
	    max_tokens < 0 ? 0 : max_tokens), sum = 0, bytes;
	const json_t *p;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)prompts, i, p) {
		bytes = n_bytes(json_object_get(p, "messages")) + (int64_t)
		    json_string_length(json_object_get(p, "prompt"));
		sum += n + bytes / BYTES_PER_TOKEN + (int64_t)
		    json_array_size(json_object_get(p, "prompt_ids"));
	}
	return sum;
}

/* One of requests and tokens: limit, remaining, reset. */
static void
show(struct web_request *rq, const char *what, const struct rates_state *s)
{
	char name[48], text[32];

	if (s->limit == 0)
		return;
	snprintf(name, sizeof(name), "x-ratelimit-limit-%s", what);
	snprintf(text, sizeof(text), "%" PRId64, s->limit);
	web_set_header(rq, name, text);
	snprintf(name, sizeof(name), "x-ratelimit-remaining-%s", what);
	snprintf(text, sizeof(text), "%" PRId64, s->remaining);
	web_set_header(rq, name, text);
	snprintf(name, sizeof(name), "x-ratelimit-reset-%s", what);
	snprintf(text, sizeof(text), "%" PRId64 ".%03" PRId64 "s",
	    s->reset_ms / 1000, s->reset_ms % 1000);
	web_set_header(rq, name, text);
}

static void
show_want(struct gateway *gw, struct web_request *rq,
    const struct rates_want *w)
{
	struct rates_state requests, tokens;

	rates_look(gw->rates, w, clock_ms(), &requests, &tokens);
	show(rq, "requests", &requests);
	show(rq, "tokens", &tokens);
}

void
caller_show_limits(struct gateway *gw, struct web_request *rq,
    const struct auth_key *key)
{
	struct rates_want w = caller_want(gw, key);

	if (w.rpm > 0 || w.tpm > 0)
		show_want(gw, rq, &w);
}

/* FNV-1a, and who asks: what is sent again has the same. */
static uint64_t
ticket_of(const struct caller *c, struct web_request *rq)
{
	uint64_t h = 0xcbf29ce484222325;
	const char *data;
	size_t n;

	for (int i = 0; i < SHA256_SIZE; i++)
		h = (h ^ c->key.digest[i]) * 0x100000001b3;
	if (web_body(rq, &data, &n) == 0)
		for (size_t i = 0; i < n; i++)
			h = (h ^ (unsigned char)data[i]) * 0x100000001b3;
	return h;
}

static int
too_many(const struct caller *c, int64_t wait_ms, struct err *e)
{
	c->gw->stats.limited[STATS_RATE]++;
	err_set(e, ERR_RATE, "this is more than this key or session may ask "
	    "for in a minute: there is room in %.1f s",
	    (double)wait_ms / 1e3);
	e->retry_after_ms = wait_ms;
	return ERR_RATE;
}

static int
no_place(const struct caller *c, int64_t wait_ms, struct err *e)
{
	c->gw->stats.limited[STATS_PLACES]++;
	err_set(e, ERR_BUSY, "%lld requests are being answered, which is the "
	    "limit: one is likely to have ended in %.1f s",
	    (long long)c->gw->options.max_streams, (double)wait_ms / 1e3);
	e->retry_after_ms = wait_ms;
	return ERR_BUSY;
}

/*
 * A prompt_cache_key may be one conversation's or all of a program's.  Requests
 * of a session wait for each other, so of those by such a key only the first at
 * a time is the session's.
 */
static void
claim_session(struct caller *c)
{
	char head[17];

	if (c->session[0] == '\0')
		return;
	snprintf(head, sizeof(head), "%.16s", c->session);
	if (!places_claim(&c->gw->places, c->place,
	    strtoull(head, NULL, 16) | 1) && c->by_cache_key)
		c->session[0] = '\0';
}

int
caller_admit(struct caller *c, struct web_request *rq, const json_t *prompts,
    int n_answers, int64_t max_tokens, struct err *e)
{
	int64_t wait;
	int r;

	c->ticket = ticket_of(c, rq);
	c->estimated = estimate(prompts, n_answers, max_tokens);
	wait = rates_take(c->gw->rates, c->wants, c->n_wants, c->estimated,
	    c->ticket, clock_ms());
	if (c->n_wants > 0)
		show_want(c->gw, rq, &c->wants[0]);
	if (wait > 0)
		return too_many(c, wait, e);
	c->place = places_take(&c->gw->places, c->ticket, &wait);
	if (c->place >= 0) {
		if ((r = queue_await(&c->gw->queue, c->gw->fleet, c->ticket,
		    e)) != 0)
			caller_leave(c, -1);
		else
			claim_session(c);
		return r;
	}
	rates_give_back(c->gw->rates, c->wants, c->n_wants, c->estimated,
	    clock_ms());
	return no_place(c, wait, e);
}

int
caller_submit(const struct caller *c, const char *model, bool more,
    json_t *generate, struct upstream_request **up, struct err *e)
{
	int r = queue_submit(&c->gw->queue, c->gw->fleet, model, c->session,
	    c->ticket, more, generate, up, e);

	if (r == ERR_BUSY)
		c->gw->stats.limited[STATS_QUEUE]++;
	return r;
}

void
caller_leave(struct caller *c, int64_t n_tokens)
{
	int64_t now = clock_ms();

	if (n_tokens < 0)
		rates_give_back(c->gw->rates, c->wants, c->n_wants,
		    c->estimated, now);
	else
		rates_correct(c->gw->rates, c->wants, c->n_wants,
		    c->estimated, n_tokens, now);
	places_free(&c->gw->places, c->place, n_tokens >= 0);
	c->place = -1;
}
