/*
 * The queue is played forward: each running request needs the time of the prompt
 * rows before and in it and of the tokens it has still to generate, then its slot
 * goes to the first in the queue, and so on.  How many tokens an answer will
 * have nobody knows: as many as answers had lately, within its limit.
 */
#include <math.h>

#include "pace.h"

enum {
	SLOTS_MAX = 256,
	LATELY = 10,			/* measurements a mean goes back */
	MS_MIN = 100, MS_MAX = 3600000,	/* an hour: we cannot see further */
};

/* Who comes a little late is served, who comes a little early is refused again:
 * better late. */
static const double caution = 1.2;

/* Nobody is refused before all slots are taken, so that is the step that counts:
 * a row costs there what each further one did in s. */
void
pace_init(struct pace *p, const struct pace_start *s, int n_slots)
{
	double more = 0;

	*p = (struct pace){ .prompt_us = { 5000, 0 }, .token_us = { 50000, 0 },
		.answer = { 128, 0 } };
	if (!(s->row_us > 0))
		return;
	if (s->n_rows > 1)
		more = fmax((s->rows_us - s->row_us) / (s->n_rows - 1), 0);
	p->prompt_us.x = s->n_rows > 1 ? s->rows_us / s->n_rows : s->row_us;
	p->token_us.x = s->row_us + more * (n_slots - 1);
}

static void
learn(struct pace_mean *m, double x)
{
	if (m->n < LATELY)
		m->n++;
	m->x += (x - m->x) / m->n;
}

void
pace_step(struct pace *pc, const struct plan *p, int64_t us)
{
	int32_t n_prompt = 0, n_decode = 0, n_tokens = 0;

	for (int i = 0; i < p->n_shares; i++) {
		const struct share *sh = &p->shares[i];

		if (sh->n_samples > 0 && sh->n_rows == 1 + sh->n_drafts) {
			n_decode++;
			n_tokens += sh->n_chosen;
		} else {
			n_prompt += sh->n_rows;
		}
	}
	if (n_prompt > 0)
		learn(&pc->prompt_us, (double)us / n_prompt);
	if (n_tokens > 0)
		learn(&pc->token_us, (double)us * n_decode / n_tokens);
}

void
pace_answer(struct pace *pc, int32_t n_generated)
{
	learn(&pc->answer, n_generated);
}

/* Tokens that j will still generate: past the usual number, some more. */
static double
rest(const struct pace *pc, const struct job *j)
{
	double limit = j->limit - job_n_generated(j);
	double usual = fmax(pc->answer.x - job_n_generated(j), pc->answer.x / 4);

	return fmin(limit, usual);
}

/* The end of a heap's top grew to end. */
static void
sift(double *heap, int n, double end)
{
	int i = 0, k;

	while ((k = 2 * i + 1) < n) {
		if (k + 1 < n && heap[k + 1] < heap[k])
			k++;
		if (heap[k] >= end)
			break;
		heap[i] = heap[k];
		i = k;
	}
	heap[i] = end;
}

static void
push(double *heap, int n, double end)
{
	int i = n;

	for (; i > 0 && heap[(i - 1) / 2] > end; i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = end;
}

double
pace_wait_us(const struct pace *pc, const struct scheduler *s, int n)
{
	double heap[SLOTS_MAX], prompts = 0, now = 0;
	const struct job *j = s->head;
	int k = 0;

	for (int i = 0; i < s->c.n_slots && k < SLOTS_MAX; i++) {
		const struct job *r = s->slots[i];

		if (r == NULL) {
			if (!s->short_of_pages)
				push(heap, k++, 0);
			continue;
		}
		if (r->n_tokens - r->n_fed > 1)
			prompts += pc->prompt_us.x * (r->n_tokens - r->n_fed);
		push(heap, k++, prompts + pc->token_us.x * rest(pc, r));
	}
	for (; n > 0 && k > 0; n--) {
		double takes = pc->token_us.x * (j != NULL ? rest(pc, j) :
		    pc->answer.x);

		now = heap[0];
		if (j != NULL) {
			takes += pc->prompt_us.x * j->n_tokens;
			j = j->next;
		}
		sift(heap, k, now + takes);
	}
	return now;
}

int64_t
pace_promise(struct pace *pc, const struct scheduler *s, int64_t now_us, int n)
{
	int n_before = 0;
	double us;

	for (int i = 0; i < pc->n_promises; i++)
		if (pc->due_us[i] > now_us)
			pc->due_us[n_before++] = pc->due_us[i];
	us = caution * pace_wait_us(pc, s, n + n_before);
	us = fmin(fmax(us, MS_MIN * 1e3), MS_MAX * 1e3);
	if (n_before < PACE_PROMISES)
		pc->due_us[n_before++] = now_us + (int64_t)us;
	pc->n_promises = n_before;
	return (int64_t)ceil(us / 1000);
}
