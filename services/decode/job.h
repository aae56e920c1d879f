#ifndef DECODE_JOB_H
#define DECODE_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "decode.h"
#include "events.h"
#include "kv_cache.h"
#include "model/model.h"
#include "pool.h"
#include "sampler.h"
#include "session.h"
#include "tokenizer/textstream.h"
#include "tokenizer/tokenizer.h"

/*
 * One request from its acceptance until nobody needs its pieces any more.  What
 * a client sees is a pure function of its tokens: forced ones pass through the
 * same job_accept as sampled ones, so a request that goes on in another life of
 * the worker goes on at the same byte.
 */
enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE };

/* Each may end a request; its name is what the piece says. */
#define JOB_FINISHES(F) F(stop) F(length) F(cancel) F(deadline) F(error)
enum job_finish {
	JOB_RUNS,
#define F(name) JOB_FINISH_##name,
	JOB_FINISHES(F)
#undef F
	JOB_N_FINISHES
};

struct job {
	char id[DECODE_ID_LEN + 1];
	int64_t attempt;
	enum job_state state;
	enum job_finish finish;

	int32_t *tokens;	/* [n_tokens] prompt, then generation; owned */
	int32_t n_prompt, n_tokens;
	int32_t limit;		/* tokens it may generate */
	int32_t n_fed;		/* tokens whose rows are in the KV cache */
	int32_t n_cached;	/* of the prompt: found, not computed */
	int64_t n_drafted, n_accepted;	/* guesses fed, and right ones */
	struct kv_seq kv;	/* its pages while it runs; owned */

	struct sampler_params sampling;
	struct sampler_bias *bias;	/* owned; sampling borrows it */
	struct textstream text;
	char *stop_text;	/* owned; stops point into it */
	const char *stops[DECODE_STOPS_MAX];
	int n_logprobs;		/* alternatives; -1: none wanted */
	struct sampler_logprob *scores;	/* [n_prompt, n_logprobs + 1] of the
					 * prompt's tokens; NULL: not wanted; owned */
	bool ignore_eos;
	struct pool pool;	/* if its prompt alone is wanted, as a vector */
	struct events events;

	struct transcript *prompt;	/* what it says; owned, or NULL */
	struct session *session;	/* whose turn it is, or NULL; until it ends */
	const char *session_state;	/* what accepted said; static */
	int32_t n_known;	/* of the prompt, in the KV cache when accepted */
	int32_t n_kept;		/* of the prompt, as the session had them */
	bool respelt;		/* prompt is not what its text is encoded to */

	/* The engine's.  Microseconds of its clock; 0: not yet, or never. */
	struct job *next;	/* in the queue */
	int64_t order;		/* of arrival */
	int64_t rank;		/* of its first slot; 0: it never had one */
	int64_t client;		/* whose it is; 0: nobody's but its own */
	int32_t solo_end;	/* until it has this many tokens it runs alone */
	int n_preempted;	/* how often it lost its slot */
	bool in_step;		/* the step in progress reads it */
	bool dropped;		/* free it when that step is over */
	enum job_finish pending;/* end it when that step is over */
	int64_t lease_us, renewed_us, deadline_us;
	int64_t created_us, started_us, first_us, done_us;
};

/* What every job of a service shares; borrowed. */
struct job_context {
	const struct model_config *model;
	const struct tokenizer *tokenizer;
	int32_t n_ctx;		/* of a request: prompt and generation */
};

/*
 * Check g and prepare it.  prompt: [n_prompt] ids.  Ids of prompt and of
 * g->forced, biases and stops are checked here; ERR_RANGE names the member,
 * ERR_CONTEXT has both sizes.  g is not needed afterwards.  If the forced tokens
 * end the generation already, the job is finished when it is made.
 */
int job_create(const struct job_context *c, const struct decode_generate *g,
    const int32_t *prompt, size_t n_prompt, int64_t now_us, struct job **out,
    struct err *e);
void job_destroy(struct job *j);

/*
 * Take token as the next one of the generation; sets j->finish if it ends it.
 * publish: make its piece; lp: [n_logprobs + 1] its logprobs, or NULL.
 */
void job_accept(struct job *j, const struct job_context *c, int32_t token,
    bool publish, const struct sampler_logprob *lp);

/*
 * Push the bytes of token to ts; a special token has none, but for <think> and
 * </think>.  A NUL cannot stand
 * in a JSON string that C code reads, so it is shown as U+FFFD.
 */
void job_push_text(struct textstream *ts, const struct tokenizer *t,
    int32_t token, struct buf *out);

/* End it for another reason: a piece without a token says so. */
void job_end(struct job *j, enum job_finish why);

/* Row pos of its prompt has been computed: what it says of the token behind it. */
struct sampler_logprob *job_score(struct job *j, int32_t pos);

const char *job_finish_name(enum job_finish f);	/* NULL for JOB_RUNS */
int32_t job_n_generated(const struct job *j);	/* forced ones included */
bool job_is_solo(const struct job *j);		/* nobody else in its steps */

/* What its last piece says. */
struct events_outcome job_outcome(const struct job *j);

#endif
