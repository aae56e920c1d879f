/*
 * The compute thread: plan with the lock, compute and sample without it, take
 * the outcome in with it, publish without it.
 */
#include <time.h>

#include "engine_session.h"
#include "engine_state.h"

/* End those over their deadline, forget those whose client is gone.  Backwards,
 * since forgetting one moves the last into its place. */
static void
expire(struct engine *en, int64_t now)
{
	for (int i = en->n_jobs - 1; i >= 0; i--) {
		struct job *j = en->jobs[i];

		if (now - j->renewed_us > j->lease_us) {
			en->stats.lease_expired += j->events.n > 0 ||
			    j->state != JOB_DONE;
			engine_forget(en, j);
		} else if (j->deadline_us > 0 && now >= j->deadline_us &&
		    j->state != JOB_DONE) {
			job_end(j, JOB_FINISH_deadline);
			engine_retire(en, j);
		}
	}
}

/* Have the rows that are pooled tell their states. */
static void
ask_hidden(struct engine *en)
{
	struct plan *p = &en->plan;
	int at = 0;

	for (int i = 0; i < p->n_shares; at += p->shares[i++].n_rows) {
		const struct job *j = p->shares[i].job;

		for (int k = at; k < at + p->shares[i].n_rows; k++)
			if (pool_wants(&j->pool, p->rows[k].pos, j->n_prompt))
				p->rows[k].hidden = en->hidden + (size_t)k *
				    (size_t)en->c.job.model->hidden;
	}
}

/* Where the largest logits of a row are enough, have it tell no others. */
static void
ask_top(struct engine *en)
{
	struct plan *p = &en->plan;
	struct backend_top *top = en->top;
	int at = 0;

	for (int i = 0; i < p->n_shares; at += p->shares[i++].n_rows) {
		struct share *sh = &p->shares[i];
		int32_t n = sampler_top(&sh->job->sampling);

		n = n < en->c.job.model->vocab ? n : en->c.job.model->vocab;
		sh->n_top = sh->n_samples > 0 && sh->job->n_logprobs < 0 &&
		    n <= en->c.backend->top_max ? n : 0;
		for (int k = sh->n_rows - sh->n_samples; k < sh->n_rows; k++) {
			p->rows[at + k].want_logits = sh->n_top == 0;
			p->rows[at + k].n_top = sh->n_top;
			p->rows[at + k].top = top;
			top += BACKEND_TOP_MAX;
		}
	}
}

static void
begin(struct engine *en)
{
	struct plan *p = &en->plan;

	expire(en, engine_now(en));
	engine_session_expire(en, engine_now(en));
	scheduler_admit(&en->scheduler, engine_now(en));
	scheduler_plan(&en->scheduler, p);
	speculate_plan(&en->speculate, p, en->c.step_rows);
	plan_fill(p);
	ask_hidden(en);
	ask_top(en);
	for (int i = 0; i < p->n_shares; i++)
		p->shares[i].job->in_step = true;
}

static void
pool_rows(struct engine *en)
{
	struct plan *p = &en->plan;
	int at = 0;

	for (int i = 0; i < p->n_shares; at += p->shares[i++].n_rows)
		for (int k = at; k < at + p->shares[i].n_rows; k++)
			if (p->rows[k].hidden != NULL)
				pool_add(&p->shares[i].job->pool,
				    p->rows[k].pos, p->rows[k].hidden);
}

/* The token after row k of those that are sampled. */
static int32_t
choose(struct engine *en, const struct share *sh, int32_t k, const float *logits)
{
	const struct job *j = sh->job;
	int64_t pos = job_n_generated(j) + k;

	if (sh->n_top > 0)
		return sampler_choose_top(en->sampler, &j->sampling, en->top +
		    (size_t)(sh->first + k) * BACKEND_TOP_MAX, sh->n_top, pos);
	return sampler_choose(en->sampler, &j->sampling, logits, j->tokens,
	    j->n_tokens + k, j->n_prompt, pos);
}

/*
 * Sample the rows of one job, from the end of its sequence on, until one of them
 * is not what was guessed: the logits of a row count only if all tokens before
 * it are the ones that were sampled.  Position and context of each are those it
 * would have had alone, so what is sampled does not depend on the guesses.
 */
static void
sample_share(struct engine *en, struct share *sh, const float *logits)
{
	const struct job *j = sh->job;
	int32_t k = 0, id;

	do {
		int at = sh->first + k;
		struct sampler_logprob *row = en->logprobs + at * LOGPROBS_ROW;

		id = choose(en, sh, k, logits);
		en->chosen[at] = id;
		if (j->n_logprobs >= 0) {
			row[0].id = id;
			row[0].logprob = sampler_logprobs(en->sampler, logits,
			    id, row + 1, j->n_logprobs);
		}
		logits += en->c.job.model->vocab;
	} while (++k < sh->n_samples && id == j->tokens[j->n_tokens + k - 1]);
	sh->n_chosen = k;
}

/* What the rows of a prompt say of its next tokens. */
static void
score_share(struct engine *en, const struct share *sh, const float *logits)
{
	struct job *j = sh->job;

	for (int32_t k = 0; k < sh->n_scored; k++) {
		int32_t pos = j->n_fed + k, id = j->tokens[pos + 1];
		struct sampler_logprob *to = job_score(j, pos);

		to[0].id = id;
		to[0].logprob = sampler_logprobs(en->sampler, logits, id,
		    to + 1, j->n_logprobs);
		logits += en->c.job.model->vocab;
	}
}

/* Nobody else touches the tokens and parameters of a job in a step. */
static void
sample(struct engine *en)
{
	const float *logits = en->logits;
	int first = 0;

	for (int i = 0; i < en->plan.n_shares; i++) {
		struct share *sh = &en->plan.shares[i];
		const size_t vocab = (size_t)en->c.job.model->vocab;

		score_share(en, sh, logits);
		logits += (size_t)sh->n_scored * vocab;
		sh->first = first;
		if (sh->n_samples > 0)
			sample_share(en, sh, logits);
		logits += sh->n_top > 0 ? 0 : (size_t)sh->n_samples * vocab;
		first += sh->n_samples;
	}
}

/* Take what was sampled for j, until it ends. */
static void
accept(struct engine *en, const struct share *sh)
{
	struct job *j = sh->job;

	if (j->first_us == 0) {
		j->first_us = engine_now(en);
		metrics_observe(&en->queue_times,
		    (double)(j->started_us - j->created_us) / 1e6);
	}
	speculate_learn(&en->speculate, j, en->chosen + sh->first,
	    sh->n_chosen);
	en->stats.drafts += sh->n_drafts > 0;
	en->stats.draft_tokens += sh->n_drafts;
	j->n_drafted += sh->n_drafts;
	for (int k = 0; k < sh->n_chosen && j->finish == JOB_RUNS; k++) {
		int at = sh->first + k;

		en->stats.generated_tokens++;
		en->stats.draft_accepted += k > 0;	/* and guessed before */
		j->n_accepted += k > 0;
		job_accept(j, &en->c.job, en->chosen[at], true,
		    en->logprobs + at * LOGPROBS_ROW);
	}
	/* Rows past the last token that was taken are as if never fed. */
	j->n_fed = j->n_tokens - 1;
}

static void
end_pooled(struct engine *en, struct job *j)
{
	j->first_us = engine_now(en);
	job_end(j, pool_finish(&j->pool) ? JOB_FINISH_stop : JOB_FINISH_error);
}

/* Take in what the step did to one job, which may be gone afterwards. */
static void
settle(struct engine *en, const struct share *sh)
{
	struct job *j = sh->job;
	int32_t left = j->n_prompt - j->n_fed;

	j->in_step = false;
	if (left > 0)
		en->stats.prompt_tokens += left < sh->n_rows ? left : sh->n_rows;
	j->n_fed += sh->n_rows - sh->n_drafts;
	if (j->dropped) {
		scheduler_remove(&en->scheduler, j);
		job_destroy(j);
		return;
	}
	if (j->pending != JOB_RUNS)
		job_end(j, j->pending);
	else if (sh->n_samples > 0)
		accept(en, sh);
	else if (j->pool.kind != POOL_NONE && j->n_fed == j->n_prompt)
		end_pooled(en, j);
	scheduler_fed(&en->scheduler, j);
	if (j->finish != JOB_RUNS)
		engine_retire(en, j);
}

/*
 * What was made and not published, or the next part of it; NULL if there is nothing.
 * A part of many requests is on its way to them while the next is made; of few parts,
 * since a subscriber may be late by so many events.  What memory is too short for
 * can still be replayed.
 */
static json_t *
collect(struct engine *en)
{
	int part = en->n_jobs / DECODE_STEP_PARTS + 1, room;
	json_t *array = NULL;

	if (part < DECODE_STEP_PIECES)
		part = DECODE_STEP_PIECES;
	for (int i = 0; i < en->n_jobs; i++) {
		struct job *j = en->jobs[i];
		struct events_outcome out;

		if ((room = part - (int)json_array_size(array)) == 0)
			break;
		if (j->events.published < j->events.first)
			j->events.published = j->events.first;
		if (j->events.published == events_next(&j->events))
			continue;
		if (array == NULL)
			array = json_array();
		out = job_outcome(j);
		events_encode(&j->events, j->id, j->events.published, room, &out,
		    en->c.job.tokenizer, array, &j->events.published, NULL);
	}
	if (json_array_size(array) == 0) {
		json_decref(array);	/* memory is short */
		return NULL;
	}
	return array;
}

/* All of that.  Without the lock; was there any? */
static bool
publish(struct engine *en)
{
	json_t *events;
	int64_t step;
	bool any = false;

	for (;; any = true) {
		pthread_mutex_lock(&en->lock);
		if ((events = collect(en)) != NULL)
			en->step++;
		step = en->step;
		pthread_mutex_unlock(&en->lock);
		if (events == NULL)
			return any;
		en->c.on_step(en->c.arg, step, events);
		json_decref(events);
	}
}

/* The part of a step without the lock; *us: how long, if there are rows. */
static int
compute(struct engine *en, int64_t *us, struct err *e)
{
	const struct scheduler *s = &en->scheduler;
	struct backend *b = en->c.backend;
	struct plan *p = &en->plan;
	int r = 0;

	for (int i = 0; i < s->n_copies && r == 0; i++)
		r = b->copy_page(b, s->copies[i].from, s->copies[i].to,
		    s->copies[i].n, e);
	if (r != 0 || p->n_rows == 0)
		return r;
	*us = -engine_now(en);
	if ((r = b->forward(b, p->rows, p->n_rows, en->logits, e)) != 0)
		return r;
	sample(en);
	pool_rows(en);
	*us += engine_now(en);
	speculate_time(&en->speculate, p, *us);
	metrics_observe(&en->step_times, (double)*us / 1e6);
	return 0;
}

int
engine_step(struct engine *en, bool *worked, struct err *e)
{
	struct plan *p = &en->plan;
	int64_t us = 0;
	int r;

	atomic_fetch_add(&en->beats, 1);
	pthread_mutex_lock(&en->lock);
	begin(en);
	pthread_mutex_unlock(&en->lock);
	if (p->n_rows > 0 && en->c.before_step != NULL)
		en->c.before_step(en->c.arg, en->stats.steps + 1, p);
	if ((r = compute(en, &us, e)) != 0)
		return r;
	pthread_mutex_lock(&en->lock);
	en->stats.steps += p->n_rows > 0;
	scheduler_copied(&en->scheduler);
	if (p->n_rows > 0)
		pace_step(&en->pace, p, us);
	for (int i = 0; i < p->n_shares; i++)
		settle(en, &p->shares[i]);
	pthread_mutex_unlock(&en->lock);
	*worked = publish(en) || p->n_rows > 0;
	return 0;
}

void
engine_wait(struct engine *en, int timeout_ms, int idle_ms)
{
	struct timespec until;
	int ms, r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	pthread_mutex_lock(&en->lock);
	ms = en->n_jobs > 0 ? timeout_ms : idle_ms;
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	while (!en->woken && r == 0)
		r = pthread_cond_timedwait(&en->wake, &en->lock, &until);
	en->woken = false;
	pthread_mutex_unlock(&en->lock);
}
