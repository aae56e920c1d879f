/*
 * The compute thread: plan with the lock, compute and sample without it, take
 * the outcome in with it, publish without it.
 */
#include <time.h>

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

static void
begin(struct engine *en)
{
	struct plan *p = &en->plan;

	expire(en, engine_now(en));
	scheduler_admit(&en->scheduler, engine_now(en));
	scheduler_plan(&en->scheduler, p);
	for (int i = 0; i < p->n_shares; i++)
		p->shares[i].job->in_step = true;
}

/* Nobody else touches the tokens and parameters of a job in a step. */
static void
sample(struct engine *en)
{
	const float *logits = en->logits;
	int k = 0;

	for (int i = 0; i < en->plan.n_shares; i++) {
		const struct job *j = en->plan.shares[i].job;
		struct sampler_logprob *row = en->logprobs + k * LOGPROBS_ROW;

		if (!en->plan.shares[i].sample)
			continue;
		en->chosen[k] = sampler_choose(en->sampler, &j->sampling,
		    logits, j->tokens, j->n_tokens, j->n_prompt,
		    job_n_generated(j));
		if (j->n_logprobs >= 0) {
			row[0].id = en->chosen[k];
			row[0].logprob = sampler_logprobs(en->sampler, logits,
			    en->chosen[k], row + 1, j->n_logprobs);
		}
		logits += en->c.job.model->vocab;
		k++;
	}
}

/* Take in what the step did to one job, which may be gone afterwards. */
static void
settle(struct engine *en, const struct share *sh, int k)
{
	struct job *j = sh->job;
	int32_t left = j->n_prompt - j->n_fed;

	j->in_step = false;
	if (left > 0)
		en->stats.prompt_tokens += left < sh->n_rows ? left : sh->n_rows;
	j->n_fed += sh->n_rows;
	if (j->dropped) {
		scheduler_remove(&en->scheduler, j);
		job_destroy(j);
		return;
	}
	if (j->pending != JOB_RUNS) {
		job_end(j, j->pending);
	} else if (sh->sample) {
		if (j->first_us == 0) {
			j->first_us = engine_now(en);
			metrics_observe(&en->queue_times,
			    (double)(j->started_us - j->created_us) / 1e6);
		}
		en->stats.generated_tokens++;
		job_accept(j, &en->c.job, en->chosen[k], true,
		    en->logprobs + k * LOGPROBS_ROW);
	}
	if (j->finish != JOB_RUNS)
		engine_retire(en, j);
}

/* Everything that was made and not published; NULL if there is nothing.  What
 * memory is too short for can still be replayed. */
static json_t *
collect(struct engine *en)
{
	json_t *array = NULL;

	for (int i = 0; i < en->n_jobs; i++) {
		struct job *j = en->jobs[i];
		int room = DECODE_REQUESTS_MAX - (int)json_array_size(array);
		struct events_outcome out;

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
	return array;
}

int
engine_step(struct engine *en, bool *worked, struct err *e)
{
	struct plan *p = &en->plan;
	json_t *events;
	int64_t step;
	int r = 0, k = 0;

	atomic_fetch_add(&en->beats, 1);
	pthread_mutex_lock(&en->lock);
	begin(en);
	pthread_mutex_unlock(&en->lock);
	if (p->n_rows > 0) {
		int64_t t = engine_now(en);

		r = en->c.backend->forward(en->c.backend, p->rows, p->n_rows,
		    en->logits, e);
		if (r != 0)
			return r;
		sample(en);
		metrics_observe(&en->step_times,
		    (double)(engine_now(en) - t) / 1e6);
	}
	pthread_mutex_lock(&en->lock);
	en->stats.steps += p->n_rows > 0;
	for (int i = 0; i < p->n_shares; i++) {
		const struct share sh = p->shares[i];

		settle(en, &sh, k);
		k += sh.sample;
	}
	events = collect(en);
	if (events != NULL)
		en->step++;
	step = en->step;
	pthread_mutex_unlock(&en->lock);
	if (events != NULL)
		en->c.on_step(en->c.arg, step, events);
	*worked = p->n_rows > 0 || events != NULL;
	json_decref(events);
	return 0;
}

void
engine_wait(struct engine *en, int timeout_ms)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	pthread_mutex_lock(&en->lock);
	while (!en->woken && r == 0)
		r = pthread_cond_timedwait(&en->wake, &en->lock, &until);
	en->woken = false;
	pthread_mutex_unlock(&en->lock);
}
