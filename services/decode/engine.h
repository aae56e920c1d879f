#ifndef DECODE_ENGINE_H
#define DECODE_ENGINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "decode.h"
#include "job.h"
#include "metrics.h"
#include "pace.h"

/*
 * The requests in flight: accepted, queued, stepped together, their pieces kept
 * until they are acknowledged or their lease ends.  No sockets here, and the
 * time comes from a function, so a test plays a minute in a millisecond.
 *
 * Thread rule: one thread, the compute thread, calls engine_step and
 * engine_wait; everything else may be called by any thread.  One mutex guards
 * all state; it is not held while the backend runs or tokens are sampled.
 */
struct engine;
struct plan;

struct engine_config {
	struct job_context job;
	struct backend *backend;	/* borrowed */
	const char *boot;		/* borrowed */
	int n_slots;			/* requests that run at once */
	int queue_max;			/* requests that wait */
	int64_t queue_tokens;		/* and their tokens */
	int32_t n_pages;		/* at least those of one full context */
	int32_t step_rows;		/* n_slots..BACKEND_ROWS_MAX */
	int32_t prefill_rows;		/* of prompts, when somebody decodes */
	bool prefix_cache;		/* share pages, keep what is in them */
	int speculate;			/* SPECULATE_AUTO, 0: off, or guesses in
					 * every draft: see speculate.h */
	struct pace_start start;	/* how fast the backend is; zeros: not known */
	int sessions_max;	/* conversations that are remembered; 0: none */
	int64_t session_ttl_us;	/* idle time after which one is not; of those
				 * that do not say */
	int64_t (*clock_us)(void *arg);
	/* What the step is about to compute; may be NULL.  Compute thread. */
	void (*before_step)(void *arg, int64_t step, const struct plan *p);
	/* A turn of a pinned session is over.  With the engine's lock held; may
	 * be NULL. */
	void (*on_turn)(void *arg, const char *session);
	/* What was added, or a part of it, of which step is the number: an array of
	 * pieces, borrowed.  Compute thread. */
	void (*on_step)(void *arg, int64_t step, json_t *events);
	void *arg;
};

/* Counters since the start: member, metric, labels, meaning. */
#define ENGINE_COUNTERS(C)                                                    \
	C(accepted, "requests_accepted_total", "", "requests taken")          \
	C(repeated, "requests_repeated_total", "",                            \
	    "generate messages that were sent twice and ran once")            \
	C(busy, "requests_rejected_total", "reason=\"busy\"",                 \
	    "requests refused before they ran")                               \
	C(refused_draining, "requests_rejected_total", "reason=\"draining\"", \
	    "requests refused before they ran")                               \
	C(stop, "requests_total", "outcome=\"stop\"", "requests that ended")  \
	C(length, "requests_total", "outcome=\"length\"", "requests that ended") \
	C(cancel, "requests_total", "outcome=\"cancel\"", "requests that ended") \
	C(deadline, "requests_total", "outcome=\"deadline\"",                 \
	    "requests that ended")                                            \
	C(error, "requests_total", "outcome=\"error\"", "requests that ended") \
	C(lease_expired, "lease_expiries_total", "",                          \
	    "requests dropped since nobody acknowledged them")                \
	C(prompt_tokens, "prompt_tokens_total", "", "prompt tokens computed") \
	C(cached_tokens, "prefix_cache_tokens_total", "",                     \
	    "tokens that were found in the KV cache and not computed")        \
	C(cache_queries, "prefix_cache_queries_total", "",                    \
	    "requests that were looked up in the KV cache")                   \
	C(cache_hits, "prefix_cache_hits_total", "",                          \
	    "of these, some of whose tokens were there")                      \
	C(evictions, "kv_page_evictions_total", "",                           \
	    "pages that were forgotten since memory was needed")              \
	C(page_copies, "kv_page_copies_total", "",                            \
	    "pages that were copied, a part of them being known")             \
	C(preemptions, "preemptions_total", "",                               \
	    "times a request went back to the queue for want of pages")       \
	C(session_new, "session_lookups_total", "state=\"new\"",              \
	    "requests that named a session, by what was found of it")         \
	C(session_warm, "session_lookups_total", "state=\"warm\"",            \
	    "requests that named a session, by what was found of it")         \
	C(session_restored, "session_lookups_total", "state=\"restored\"",    \
	    "requests that named a session, by what was found of it")         \
	C(session_cold, "session_lookups_total", "state=\"cold\"",            \
	    "requests that named a session, by what was found of it")         \
	C(session_evicted, "session_lookups_total", "state=\"evicted\"",      \
	    "requests that named a session, by what was found of it")         \
	C(session_expired, "session_expiries_total", "",                      \
	    "sessions that were forgotten since their lease was over")        \
	C(session_kept_tokens, "session_kept_tokens_total", "",               \
	    "tokens of prompts that were not encoded again")                  \
	C(pins_refused, "session_pins_refused_total", "",                     \
	    "times that pages could not be pinned, too many being")           \
	C(generated_tokens, "generated_tokens_total", "", "tokens sampled")   \
	C(drafts, "drafts_total", "", "drafts that were verified")            \
	C(draft_tokens, "draft_tokens_total", "", "tokens in them")           \
	C(draft_accepted, "draft_accepted_total", "",                         \
	    "tokens of drafts that were right")                               \
	C(replays, "replays_total", "", "replay requests answered")           \
	C(replays_missed, "replays_missed_total", "",                         \
	    "replay requests for pieces that are not kept")                   \
	C(steps, "steps_total", "", "steps that computed something")

/* And what is so now. */
#define ENGINE_GAUGES(G)                                                      \
	G(running, "running_requests", "", "requests in slots")               \
	G(queued, "queued_requests", "", "requests waiting for a slot")       \
	G(queued_tokens, "queued_tokens", "", "tokens of those")              \
	G(held, "held_requests", "", "running, queued, or not yet acknowledged") \
	G(paused, "paused_requests", "",                                      \
	    "running, but waiting for an acknowledgement")                    \
	G(slots, "slots", "", "requests that can run at once")                \
	G(kv_pages, "kv_pages", "", "pages of the KV cache")                  \
	G(kv_pages_free, "kv_pages_free", "", "pages that nobody needs")      \
	G(kv_pages_cached, "kv_pages_cached", "",                             \
	    "of these, pages with tokens that can be found")                  \
	G(kv_pages_pinned, "kv_pages_pinned", "", "pages that sessions keep") \
	G(sessions, "sessions", "", "conversations that are remembered")      \
	G(sessions_pinned, "sessions_pinned", "", "of these, pinned ones")    \
	G(session_bytes, "session_text_bytes", "", "memory of what they said")

struct engine_stats {
#define MEMBER(name, metric, labels, doc) int64_t name;
	ENGINE_COUNTERS(MEMBER)
	ENGINE_GAUGES(MEMBER)
#undef MEMBER
};

/* Takes all memory a step needs.  *c is copied. */
int engine_create(const struct engine_config *c, struct engine **out,
    struct err *e);
/* Only when no other thread uses it; NULL is fine. */
void engine_destroy(struct engine *en);

/*
 * Is (id, attempt) of g known?  Then *known and *a says what generate was
 * answered.  Otherwise: would it be taken now?  ERR_BUSY with retry_after_ms,
 * ERR_DRAINING.  To be asked before a prompt is tokenized.  ERR_EXISTS if a
 * later attempt of id is known.
 */
int engine_find(struct engine *en, const struct decode_generate *g,
    bool *known, struct decode_accepted *a, struct err *e);

/*
 * Take g with prompt [n_prompt], or find it: *a as it is to be answered, with
 * id of g and boot of the configuration.  A later attempt takes the place of an
 * earlier one.  The errors of engine_find and job_create.
 */
int engine_add(struct engine *en, const struct decode_generate *g,
    const int32_t *prompt, size_t n_prompt, struct decode_accepted *a,
    struct err *e);

/* What stands before a generation. */
struct engine_prompt {
	struct transcript *says;/* NULL afterwards if engine_add_prompt took it
				 * over */
	size_t n_kept;		/* of its ids are from the session */
	bool respelt;		/* they are not what its text is encoded to */
	bool refused;		/* the session has a snapshot that is unusable */
};

/* The same for a prompt whose text is known: a session of g remembers it, and
 * prompt_ids of *a are a new reference or NULL. */
int engine_add_prompt(struct engine *en, const struct decode_generate *g,
    struct engine_prompt *p, struct decode_accepted *a, struct err *e);

/* End it within one step; an unknown or finished one is left alone. */
void engine_cancel(struct engine *en, const char *id);

/* Pieces below next_seq are not needed any more; renews the lease.  False if id
 * is not known. */
bool engine_ack(struct engine *en, const char *id, int64_t next_seq);

/*
 * *events: a new array of the pieces of id from from_seq on, at most
 * DECODE_REPLAY_MAX, maybe none.  ERR_NOT_FOUND if the request or the piece is
 * no longer kept, ERR_RANGE if the piece is not made yet.
 */
int engine_replay(struct engine *en, const char *id, int64_t from_seq,
    json_t **events, struct err *e);

/* *s with held, waiting and prefill new references, or NULL when memory is
 * short. */
void engine_status(struct engine *en, struct decode_status *s);

/* What each slot does, as slots_are says; a new array, or NULL. */
json_t *engine_slots(struct engine *en);

void engine_stats(struct engine *en, struct engine_stats *st);
/* Seconds of a forward pass and of the waiting for a slot; borrowed. */
const struct metrics_histogram *engine_step_times(const struct engine *en);
const struct metrics_histogram *engine_queue_times(const struct engine *en);

/* From now on nothing new is taken.  Ends an engine_wait, also when it is called
 * again. */
void engine_drain(struct engine *en);

/*
 * One step: end what is over its time, give out slots, run the backend, sample,
 * publish.  *worked is false if there was nothing to do.  ERR_SYSTEM if the
 * backend is dead; then so is the engine.
 */
int engine_step(struct engine *en, bool *worked, struct err *e);

/* Sleep until there may be work: at most timeout_ms, or idle_ms when no request is
 * held, of which a lease or a deadline could end. */
void engine_wait(struct engine *en, int timeout_ms, int idle_ms);

/* Grows whenever the compute thread begins a step and, where the backend counts them,
 * an operation in it: for the watchdog.  With a large model or a slow processor a step
 * takes longer than any watchdog waits. */
uint64_t engine_beats(const struct engine *en);

#endif
