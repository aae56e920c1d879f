/*
 * What can be asked about the engine.
 */
#include "engine_state.h"

void
engine_status(struct engine *en, struct decode_status *s)
{
	json_t *held = json_object();

	pthread_mutex_lock(&en->lock);
	for (int i = 0; i < en->n_jobs; i++)
		json_object_set_new(held, en->jobs[i]->id,
		    json_integer(events_next(&en->jobs[i]->events)));
	*s = (struct decode_status){
		.boot = en->c.boot, .ready = !en->draining, .step = en->step,
		.running = en->scheduler.n_running,
		.queued = en->scheduler.n_queued, .n_slots = en->c.n_slots,
		.held = held,
	};
	pthread_mutex_unlock(&en->lock);
}

static void
count_pages(const struct scheduler *s, struct engine_stats *st)
{
	st->queued_tokens = s->queued_tokens;
	st->cached_tokens = s->counts.found_tokens;
	st->cache_queries = s->counts.queries;
	st->cache_hits = s->counts.hits;
	st->page_copies = s->counts.copies;
	st->preemptions = s->counts.preempted;
	st->evictions = s->cache.tree.n_evictions;
	st->kv_pages = s->cache.tree.n;
	st->kv_pages_free = kv_cache_available(&s->cache);
	st->kv_pages_cached = s->cache.tree.n_cached;
	st->kv_pages_pinned = s->cache.tree.n_pinned;
}

void
engine_stats(struct engine *en, struct engine_stats *st)
{
	pthread_mutex_lock(&en->lock);
	*st = en->stats;
	st->running = en->scheduler.n_running;
	st->queued = en->scheduler.n_queued;
	st->held = en->n_jobs;
	st->slots = en->c.n_slots;
	count_pages(&en->scheduler, st);
	st->paused = 0;
	for (int i = 0; i < en->n_jobs; i++)
		st->paused += en->jobs[i]->state == JOB_RUNNING &&
		    events_full(&en->jobs[i]->events);
	pthread_mutex_unlock(&en->lock);
}

const struct metrics_histogram *
engine_step_times(const struct engine *en)
{
	return &en->step_times;
}

const struct metrics_histogram *
engine_queue_times(const struct engine *en)
{
	return &en->queue_times;
}

uint64_t
engine_beats(const struct engine *en)
{
	return atomic_load(&en->beats);
}
