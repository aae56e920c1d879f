/*
 * Who has a slot and pages.
 *
 * A request is admitted when there are pages for all of its tokens, and one more
 * for each that runs, since each will want one within KV_PAGE steps.  Later its
 * pages grow.  When there is none left, the newest that runs goes back to the
 * queue, before all who never ran.
 *
 * Why everybody gets through: rank is the order of first admission, and is kept.
 * Who needs a page takes it only from one of a higher rank, or goes back itself
 * if it has the highest.  So the lowest rank could lose its pages only if it ran
 * alone, and then it needs nobody's: pins leave pages for one full context
 * (kv_cache.h), and no request is longer.  So it goes on until it ends, with its
 * tokens, its deadline or its lease, and then another has the lowest rank.  Who
 * went back is admitted before any higher rank, and alone without the margin.
 *
 * Fair: the next slot goes to the client with the fewest, and to the first in
 * the queue of those.  Its pages are waited for; nobody overtakes.  A client
 * that is kept waiting by others has no slot in the end, and is then among the
 * first.  Only a request whose session runs another one is passed over; that one
 * has a rank, so it gets through, and nobody of its session has one until then.
 */
#include "scheduler.h"

/* Before next, or at the end. */
static void
insert(struct scheduler *s, struct job *j, const struct job *next)
{
	struct job **at = &s->head;

	while (*at != next)
		at = &(*at)->next;
	j->state = JOB_QUEUED;
	j->next = *at;
	*at = j;
	s->n_queued++;
	s->queued_tokens += j->n_tokens;
}

void
scheduler_enqueue(struct scheduler *s, struct job *j)
{
	insert(s, j, NULL);
}

static void
unqueue(struct scheduler *s, struct job *j)
{
	struct job **at = &s->head;

	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	j->next = NULL;
	s->n_queued--;
	s->queued_tokens -= j->n_tokens;
}

static void
leave_slot(struct scheduler *s, struct job *j)
{
	for (int i = 0; i < s->c.n_slots; i++)
		if (s->slots[i] == j)
			s->slots[i] = NULL;
	kv_cache_release(&s->cache, &j->kv, j->tokens, j->n_fed);
	j->n_fed = 0;
	s->n_running--;
}

void
scheduler_remove(struct scheduler *s, struct job *j)
{
	if (j->state == JOB_QUEUED)
		unqueue(s, j);
	if (j->state == JOB_RUNNING)
		leave_slot(s, j);
	j->state = JOB_DONE;
}

/* Back to the queue, whose head are others that were, in the order of rank. */
static void
preempt(struct scheduler *s, struct job *j)
{
	const struct job *next = s->head;

	while (next != NULL && next->rank != 0 && next->rank < j->rank)
		next = next->next;
	leave_slot(s, j);
	insert(s, j, next);
	j->n_preempted++;
	s->counts.preempted++;
}

static struct job *
newest(const struct scheduler *s)
{
	struct job *best = NULL;

	for (int i = 0; i < s->c.n_slots; i++)
		if (s->slots[i] != NULL && (best == NULL ||
		    s->slots[i]->rank > best->rank))
			best = s->slots[i];
	return best;
}

/* A page for the next token of everyone who runs, and for drafts if nobody has
 * to go for it. */
static void
grow(struct scheduler *s)
{
	for (int i = 0; i < s->c.n_slots; i++) {
		struct job *j = s->slots[i];

		if (j == NULL || kv_cache_grow(&s->cache, &j->kv, j->n_tokens +
		    s->c.ahead))
			continue;
		while (s->slots[i] == j && !kv_cache_grow(&s->cache, &j->kv,
		    j->n_tokens))
			preempt(s, newest(s));
	}
}

static int
n_slots_of(const struct scheduler *s, const struct job *j)
{
	int n = 0;

	for (int i = 0; j->client != 0 && i < s->c.n_slots; i++)
		n += s->slots[i] != NULL && s->slots[i]->client == j->client;
	return n;
}

/* The first from j on that need not wait for another of its session. */
static struct job *
first_free(struct job *j)
{
	while (j != NULL && !session_lets(j->session, j))
		j = j->next;
	return j;
}

/* Whose turn it is. */
static struct job *
next_to_run(const struct scheduler *s)
{
	struct job *best = first_free(s->head);
	int fewest;

	if (best == NULL || best->rank != 0)
		return best;
	fewest = n_slots_of(s, best);
	for (struct job *j = first_free(best->next); j != NULL && fewest > 0;
	    j = first_free(j->next)) {
		int n = n_slots_of(s, j);

		if (n < fewest) {
			fewest = n;
			best = j;
		}
	}
	return best;
}

/* Pages for j, those that are known already among them; all or none. */
static bool
take_pages(struct scheduler *s, struct job *j)
{
	struct kv_cache *c = &s->cache;
	int32_t margin = s->n_running * KV_PAGE, n = j->n_tokens - 1, n_same = 0;
	int32_t fed, from;

	/* The logits of the last token are needed: it is always computed. */
	fed = kv_cache_match(c, &j->kv, j->tokens, 0, n);
	from = kv_cache_hold_part(c, &j->kv, j->tokens + fed, n - fed, &n_same);
	if (!kv_cache_has(c, &j->kv, j->n_tokens + margin) && from != KV_NONE) {
		kv_cache_drop(c, from);	/* it may be what is in the way */
		from = KV_NONE;
		n_same = 0;
	}
	if (!kv_cache_has(c, &j->kv, j->n_tokens + margin)) {
		kv_cache_release(c, &j->kv, j->tokens, fed);
		return false;
	}
	kv_cache_grow(c, &j->kv, j->n_tokens);
	if (from != KV_NONE)
		s->copies[s->n_copies++] = (struct page_copy){ from,
			j->kv.pages[j->kv.n_shared], n_same };
	j->n_fed = fed + n_same;
	return true;
}

static void
count(struct scheduler *s, struct job *j)
{
	s->counts.found_tokens += j->n_fed;
	if (j->rank != 0)
		return;
	s->counts.queries++;
	s->counts.hits += j->n_fed > 0;
	j->n_cached = j->n_fed < j->n_prompt ? j->n_fed : j->n_prompt;
}

void
scheduler_admit(struct scheduler *s, int64_t now_us)
{
	grow(s);
	s->short_of_pages = false;
	for (int i = 0; i < s->c.n_slots && s->head != NULL; i++) {
		struct job *j = next_to_run(s);

		if (s->slots[i] != NULL)
			continue;
		if (j == NULL)
			return;
		s->short_of_pages = !take_pages(s, j);
		if (s->short_of_pages)
			return;
		count(s, j);
		unqueue(s, j);
		j->state = JOB_RUNNING;
		if (j->rank == 0) {
			j->rank = ++s->n_ranks;
			j->started_us = now_us;
			if (j->session != NULL)
				j->session->active = j;
		}
		s->slots[i] = j;
		s->n_running++;
	}
}

void
scheduler_copied(struct scheduler *s)
{
	s->counts.copies += s->n_copies;
	while (s->n_copies > 0)
		kv_cache_drop(&s->cache, s->copies[--s->n_copies].from);
}
