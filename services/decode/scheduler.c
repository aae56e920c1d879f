#include <stdlib.h>

#include "scheduler.h"

int
scheduler_init(struct scheduler *s, int n_slots, int32_t n_pages,
    int32_t step_rows, struct err *e)
{
	*s = (struct scheduler){ .n_slots = n_slots, .step_rows = step_rows };
	s->slots = calloc((size_t)n_slots, sizeof(*s->slots));
	if (s->slots == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for %d slots",
		    n_slots);
	return kv_pages_init(&s->pages, n_pages, e);
}

void
scheduler_finish(struct scheduler *s)
{
	free(s->slots);
	kv_pages_finish(&s->pages);
	*s = (struct scheduler){ 0 };
}

void
scheduler_enqueue(struct scheduler *s, struct job *j)
{
	j->state = JOB_QUEUED;
	j->next = NULL;
	if (s->tail != NULL)
		s->tail->next = j;
	else
		s->head = j;
	s->tail = j;
	s->n_queued++;
}

static void
unqueue(struct scheduler *s, struct job *j)
{
	struct job **at = &s->head, *before = NULL;

	while (*at != j) {
		before = *at;
		at = &(*at)->next;
	}
	*at = j->next;
	if (s->tail == j)
		s->tail = before;
	j->next = NULL;
	s->n_queued--;
}

void
scheduler_remove(struct scheduler *s, struct job *j)
{
	if (j->state == JOB_QUEUED)
		unqueue(s, j);
	if (j->state == JOB_RUNNING) {
		for (int i = 0; i < s->n_slots; i++)
			if (s->slots[i] == j)
				s->slots[i] = NULL;
		kv_pages_give(&s->pages, j->pages, j->n_pages);
		s->n_running--;
	}
	j->state = JOB_DONE;
}

void
scheduler_admit(struct scheduler *s, int64_t now_us)
{
	for (int i = 0; i < s->n_slots && s->head != NULL; i++) {
		struct job *j = s->head;

		if (s->slots[i] != NULL)
			continue;
		if (!kv_pages_take(&s->pages, j->pages, j->n_pages))
			return;
		unqueue(s, j);
		j->state = JOB_RUNNING;
		j->started_us = now_us;
		s->slots[i] = j;
		s->n_running++;
	}
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

/* The oldest prompt that is not in the plan yet. */
static struct job *
oldest_prompt(const struct scheduler *s, const struct job *after)
{
	struct job *best = NULL;

	for (int i = 0; i < s->n_slots; i++) {
		struct job *j = s->slots[i];

		if (j == NULL || is_decoding(j) || (after != NULL &&
		    j->order <= after->order))
			continue;
		if (best == NULL || j->order < best->order)
			best = j;
	}
	return best;
}

void
scheduler_plan(const struct scheduler *s, struct plan *p)
{
	struct job *j = NULL;

	p->n_rows = p->n_shares = 0;
	for (int i = 0; i < s->n_slots; i++)
		if (s->slots[i] != NULL && is_decoding(s->slots[i]) &&
		    !events_full(&s->slots[i]->events))
			add_share(p, s->slots[i], 1);
	while (p->n_rows < s->step_rows && (j = oldest_prompt(s, j)) != NULL) {
		int32_t left = s->step_rows - p->n_rows;
		int32_t n = j->n_tokens - j->n_fed;

		add_share(p, j, n < left ? n : left);
	}
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

		sh->n_samples = end - sh->n_drafts == j->n_tokens ?
		    1 + sh->n_drafts : 0;
		for (int32_t pos = j->n_fed; pos < end; pos++)
			*row++ = (struct backend_row){
				.token = j->tokens[pos], .pos = pos,
				.pages = j->pages,
				.want_logits = pos >= end - sh->n_samples,
			};
		p->n_samples += sh->n_samples;
	}
}
