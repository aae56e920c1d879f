#ifndef DECODE_ENGINE_STATE_H
#define DECODE_ENGINE_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine.h"
#include "scheduler.h"
#include "session.h"
#include "speculate.h"

/* What engine.c and engine_step.c share. */
struct engine {
	struct engine_config c;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool woken, draining;
	struct scheduler scheduler;
	struct sessions sessions;
	int64_t expire_us;	/* when leases of sessions are looked at again */
	struct job *jobs[DECODE_REQUESTS_MAX];	/* [n_jobs] all that are held */
	int n_jobs;
	int64_t n_orders, step;
	struct pace pace;
	struct engine_stats stats;	/* counters only */
	struct metrics_histogram step_times, queue_times;
	atomic_uint_fast64_t beats;

	/* The compute thread's: one step. */
	struct plan plan;
	struct speculate speculate;
	int n_logits;		/* rows that may be sampled in one step */
	float *logits;		/* [n_logits + SCHEDULER_SCORED_MAX, vocab] */
	float *own_logits;	/* the same, or NULL: they are the backend's */
	struct backend_top *top;/* [n_logits, BACKEND_TOP_MAX] */
	float *hidden;		/* [step_rows, hidden] of rows that are pooled */
	struct sampler *sampler;
	int32_t *chosen;	/* [n_logits] */
	struct sampler_logprob *logprobs;	/* [n_logits, LOGPROBS_ROW] */
};

enum { LOGPROBS_ROW = DECODE_LOGPROBS_MAX + 1 };

/* With the lock held. */
int64_t engine_now(const struct engine *en);
void engine_wake(struct engine *en);
void engine_forget(struct engine *en, struct job *j);	/* frees j, or will */
void engine_retire(struct engine *en, struct job *j);	/* it has finished */

#endif
