/*
 * Who is in the next step.  Those who decode have a row each: their weights are
 * read anyway.  Prompts share what is left; while somebody decodes, that is less
 * than a step could hold, for it is what the others wait for between two tokens.
 *
 * Half of it is shared equally between clients, so that a short prompt is not
 * stuck behind a long one, nor one client behind another's many; the rest goes
 * to the oldest, so that of several long prompts one is ready soon instead of
 * all late.
 */
#include <stdlib.h>
#include <string.h>

#include "scheduler.h"

int
scheduler_init(struct scheduler *s, const struct scheduler_config *c,
    struct err *e)
{
	*s = (struct scheduler){ .c = *c };
	s->slots = calloc((size_t)c->n_slots, sizeof(*s->slots));
	s->copies = calloc((size_t)c->n_slots, sizeof(*s->copies));
	if (s->slots == NULL || s->copies == NULL) {
		scheduler_finish(s);
		return err_set(e, ERR_NO_MEMORY, "no memory for %d slots",
		    c->n_slots);
	}
	return kv_cache_init(&s->cache, c->n_pages,
	    (c->n_ctx + KV_PAGE - 1) / KV_PAGE, c->sharing, e);
}

void
scheduler_finish(struct scheduler *s)
{
	free(s->slots);
	free(s->copies);
	kv_cache_finish(&s->cache);
	*s = (struct scheduler){ 0 };
}

static void
add_share(struct plan *p, struct job *j, int32_t n)
{
	p->shares[p->n_shares++] = (struct share){ .job = j, .n_rows = n };
	p->n_rows += n;
}

static bool
is_decoding(const struct job *j)
{
	return j->n_tokens - j->n_fed == 1;
}

/*
 * Does i compute the page that j needs next?  Then j need not: many requests
 * with one long prompt cost little more than one.
 */
static bool
is_computing_for(const struct job *i, const struct job *j)
{
	int32_t k = j->kv.n_shared, n = (k + 1) * KV_PAGE;

	return !i->kv.alone && !j->kv.alone && i->kv.salt == j->kv.salt &&
	    i->kv.n_shared == k && j->n_fed == k * KV_PAGE &&
	    i->n_tokens > n && j->n_tokens > n &&
	    (k == 0 || i->kv.pages[k - 1] == j->kv.pages[k - 1]) &&
	    memcmp(i->tokens + k * KV_PAGE, j->tokens + k * KV_PAGE,
	    KV_PAGE * sizeof(*j->tokens)) == 0;
}

/* May j be in a step of only's, or, if that is NULL, of those who share one? */
static bool
takes_turn(const struct job *j, const struct job *only)
{
	return j != NULL && !events_full(&j->events) &&
	    (only != NULL ? j == only : !job_is_solo(j));
}

/* Are its next rows scored? */
static bool
is_scored(const struct job *j)
{
	return j->scores != NULL && j->n_fed < j->n_prompt - 1;
}

/* Shares without rows for the prompts, oldest first, from p->n_shares on, but
 * not for those who wait for a page of another.  Returns how many. */
static int
prompts(struct scheduler *s, const struct job *only, struct share *to)
{
	int n = 0, n_kept = 0;

	for (int i = 0; i < s->c.n_slots; i++) {
		struct job *j = s->slots[i];
		int k = n;

		if (!takes_turn(j, only) || is_decoding(j))
			continue;
		for (; k > 0 && to[k - 1].job->rank > j->rank; k--)
			to[k] = to[k - 1];
		to[k] = (struct share){ .job = j };
		n++;
	}
	for (int i = 0; i < n; i++) {
		struct job *j = to[i].job;
		int32_t fed = kv_cache_match(&s->cache, &j->kv, j->tokens,
		    j->n_fed, j->n_tokens - 1);
		bool waits = false;

		s->counts.found_tokens += fed - j->n_fed;
		if (j->n_preempted == 0 && j->n_fed < j->n_prompt)
			j->n_cached += (fed < j->n_prompt ? fed : j->n_prompt) -
			    j->n_fed;
		j->n_fed = fed;
		for (int k = 0; k < n_kept && !waits; k++)
			waits = (s->c.sharing &&
			    is_computing_for(to[k].job, j)) ||
			    (is_scored(j) && is_scored(to[k].job));
		if (!waits)
			to[n_kept++] = to[i];
	}
	return n_kept;
}

static int32_t
least(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

static bool
same_client(const struct job *a, const struct job *b)
{
	return a == b || (a->client != 0 && a->client == b->client);
}

/* Rows that j could have in a step. */
static int32_t
wants_rows(const struct job *j)
{
	int32_t n = j->n_tokens - j->n_fed;

	return is_scored(j) ? least(n, SCHEDULER_SCORED_MAX) : n;
}

/* Up to budget rows for the n shares at sh. */
static void
divide(struct share *sh, int n, int32_t budget)
{
	int32_t half = (budget + 1) / 2, quota, n_clients = 0;

	for (int i = 0; i < n; i++) {
		bool first = true;

		for (int k = 0; k < i && first; k++)
			first = !same_client(sh[k].job, sh[i].job);
		n_clients += first;
	}
	quota = n_clients > 0 && half > n_clients ? half / n_clients : 1;
	for (int i = 0; i < n; i++) {
		int32_t left = quota, wants = wants_rows(sh[i].job);

		for (int k = 0; k < i; k++)
			if (same_client(sh[k].job, sh[i].job))
				left -= sh[k].n_rows;
		sh[i].n_rows = least(least(left, wants), budget);
		budget -= sh[i].n_rows;
	}
	for (int i = 0; i < n; i++) {
		int32_t more = least(budget, wants_rows(sh[i].job) -
		    sh[i].n_rows);

		sh[i].n_rows += more;
		budget -= more;
	}
}

static void
plan_turn(struct scheduler *s, const struct job *only, struct plan *p)
{
	struct share *sh;
	int32_t budget;
	int n;

	p->n_rows = p->n_shares = 0;
	for (int i = 0; i < s->c.n_slots; i++)
		if (takes_turn(s->slots[i], only) && is_decoding(s->slots[i]))
			add_share(p, s->slots[i], 1);
	budget = s->c.step_rows - p->n_rows;
	if (p->n_rows > 0)
		budget = least(budget, s->c.prefill_rows);
	sh = p->shares + p->n_shares;
	n = prompts(s, only, sh);
	divide(sh, n, budget);
	for (int i = 0; i < n; i++)
		if (sh[i].n_rows > 0)
			add_share(p, sh[i].job, sh[i].n_rows);
}

/* Of those who are to run alone the next one after the last, by rank. */
static const struct job *
next_solo(const struct scheduler *s)
{
	const struct job *first = NULL, *next = NULL;

	for (int i = 0; i < s->c.n_slots; i++) {
		const struct job *j = s->slots[i];

		if (j == NULL || !job_is_solo(j) || events_full(&j->events))
			continue;
		if (first == NULL || j->rank < first->rank)
			first = j;
		if (j->rank > s->solo_rank && (next == NULL ||
		    j->rank < next->rank))
			next = j;
	}
	return next != NULL ? next : first;
}

void
scheduler_plan(struct scheduler *s, struct plan *p)
{
	const struct job *solo = next_solo(s);
	bool shared = solo == NULL || s->solo_last;

	if (shared)
		plan_turn(s, NULL, p);
	if (solo != NULL && (!shared || p->n_rows == 0)) {
		plan_turn(s, solo, p);
		s->solo_rank = solo->rank;
		shared = false;
	}
	s->solo_last = !shared;
}

void
scheduler_fed(struct scheduler *s, struct job *j)
{
	kv_cache_commit(&s->cache, &j->kv, j->tokens, j->n_fed);
}

void
plan_fill(struct plan *p)
{
	struct backend_row *row = p->rows;

	p->n_samples = 0;
	for (int i = 0; i < p->n_shares; i++) {
		struct share *sh = &p->shares[i];
		const struct job *j = sh->job;
		int32_t end = j->n_fed + sh->n_rows;

		sh->n_samples = end - sh->n_drafts == j->n_tokens &&
		    j->pool.kind == POOL_NONE ? 1 + sh->n_drafts : 0;
		sh->n_scored = !is_scored(j) ? 0 :
		    least(end, j->n_prompt - 1) - j->n_fed;
		for (int32_t pos = j->n_fed; pos < end; pos++)
			*row++ = (struct backend_row){
				.token = j->tokens[pos], .pos = pos,
				.pages = j->kv.pages,
				.want_logits = pos >= end - sh->n_samples ||
				    pos < j->n_fed + sh->n_scored,
			};
		p->n_samples += sh->n_samples;
	}
}
