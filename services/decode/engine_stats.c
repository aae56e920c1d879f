/*
 * What can be asked about the engine.
 */
#include "engine_state.h"

/* {id: place in the queue}.  A client with few slots may overtake one with many,
 * so it may go up again. */
static json_t *
waiting(const struct scheduler *s)
{
	json_t *v = json_object();
	json_int_t place = 0;

	for (const struct job *j = s->head; j != NULL; j = j->next)
		json_object_set_new(v, j->id, json_integer(++place));
	return v;
}

/* {id: [n_prompt, n_cached, n_done, ms]} */
static json_t *
prefill(const struct engine *en)
{
	int64_t now = engine_now(en);
	json_t *v = json_object();

	for (int i = 0; i < en->n_jobs; i++) {
		const struct job *j = en->jobs[i];

		if (j->state == JOB_RUNNING && j->n_fed < j->n_prompt)
			json_object_set_new(v, j->id, json_pack("[i, i, i, f]",
			    (int)j->n_prompt, (int)j->n_cached, (int)j->n_fed,
			    (double)(now - j->started_us) / 1000));
	}
	return v;
}

static json_t *
slot_json(const struct engine *en, const struct job *j, int i)
{
	const struct sampler_params *p = j != NULL ? &j->sampling : NULL;
	const struct session *s = j != NULL ? j->session : NULL;
	json_t *v = json_pack("{s:i, s:i, s:b}", "id", i,
	    "n_ctx", (int)en->c.job.n_ctx, "is_processing", j != NULL);

	if (j == NULL)
		return v;
	json_object_update_new(v, json_pack("{s:s, s:I, s:i, s:i, s:i, s:i, "
	    "s:i}", "request", j->id, "client", (json_int_t)j->client,
	    "n_prompt", (int)j->n_prompt, "n_cached", (int)j->n_cached,
	    "n_fed", (int)j->n_fed, "n_generated", (int)job_n_generated(j),
	    "limit", (int)j->limit));
	json_object_set_new(v, "params", json_pack("{s:I, s:f, s:i, s:f, s:f, "
	    "s:f, s:i, s:f, s:f, s:b}", "seed", (json_int_t)p->seed,
	    "temperature", (double)p->temperature, "top_k", (int)p->top_k,
	    "top_p", (double)p->top_p, "min_p", (double)p->min_p,
	    "repeat_penalty", (double)p->repeat_penalty,
	    "repeat_last_n", (int)p->repeat_last_n,
	    "presence_penalty", (double)p->presence_penalty,
	    "frequency_penalty", (double)p->frequency_penalty,
	    "ignore_eos", j->ignore_eos));
	if (s != NULL)
		json_object_set_new(v, "session", json_pack("{s:s, s:s, s:b, s:I}",
		    "key", s->key, "name", s->name, "pinned", s->pinned,
		    "lease_ms", (json_int_t)(session_left(s, engine_now(en)) / 1000)));
	return v;
}

json_t *
engine_slots(struct engine *en)
{
	json_t *list = json_array();

	pthread_mutex_lock(&en->lock);
	for (int i = 0; i < en->c.n_slots; i++)
		json_array_append_new(list, slot_json(en,
		    en->scheduler.slots[i], i));
	pthread_mutex_unlock(&en->lock);
	return list;
}

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
		.held = held, .waiting = waiting(&en->scheduler),
		.prefill = prefill(en),
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
	st->sessions = en->sessions.n;
	st->session_bytes = (int64_t)en->sessions.bytes;
	st->sessions_pinned = 0;
	for (int i = 0; i < en->sessions.n; i++)
		st->sessions_pinned += en->sessions.v[i]->pinned;
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
	const struct backend *b = en->c.backend;
	struct backend_op ops[BACKEND_OPS_MAX];
	uint64_t n = atomic_load(&en->beats);

	for (int i = b->ops != NULL ? b->ops(b, ops) : 0; i > 0; i--)
		n += (uint64_t)ops[i - 1].calls;
	return n;
}
