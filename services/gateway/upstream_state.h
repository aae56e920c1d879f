#ifndef GATEWAY_UPSTREAM_STATE_H
#define GATEWAY_UPSTREAM_STATE_H

#include <pthread.h>

#include "bus.h"
#include "step_text.h"
#include "suspect.h"
#include "upstream.h"

/*
 * What the files of upstream.h share: upstream.c (requests), upstream_events.c,
 * upstream_open.c (state), upstream_wait.c, upstream_crash.c (who ended the worker,
 * replicas), resume.c (replay, resumption), keeper.c (acks, model, finding the
 * worker).  Members are guarded by lock unless it says otherwise.
 */
enum {
	UPSTREAM_SILENT_MS = 500,	/* without an event: ask for pieces */
	UPSTREAM_DOWN_MS = 1000,	/* without an event: it is down */
	UPSTREAM_CALL_MS = 1000,	/* for an answer on the bus */
	UPSTREAM_SUBMIT_MS = 5000,	/* the same, when a prompt is tokenized */
	UPSTREAM_RETRY_MS = 100,	/* between two attempts to resume */
	UPSTREAM_KEEP_MS = 250,		/* the keeper looks, until all is known */
	UPSTREAM_ACK_MS = 500,		/* a quarter of a lease */
	UPSTREAM_ACK_TOKENS = 64,	/* taken and unacked: do not wait */
	UPSTREAM_FORGOTTEN_MAX = 8,	/* by one life, without a token between */
	UPSTREAM_MOVE_MS = 3000,	/* away: to a replica; no lease is longer */
	UPSTREAM_DOZE_MS = 10000,	/* while a sink takes all: look as seldom */
	UPSTREAM_LOST_MS = 5000,	/* to be asked again by the client */
	UPSTREAM_BUCKETS = 256,
	UPSTREAM_DEAD_BOOTS = 16,
};

/* What is known of the life before this one; see proto/decode.h. */
struct upstream_last {
	char boot[DECODE_BOOT_LEN + 1];	/* "": nothing */
	bool clean, fault;
	json_t *requests;		/* {id: seq} in its last step, or NULL */
};

struct upstream {
	const struct upstream_config *config;	/* constant */
	pthread_mutex_t lock;
	pthread_cond_t keep;		/* the keeper has something to do */
	struct bus_client *client;	/* set once; NULL: not found yet */
	struct bus_subscriber *sub;
	struct step_text text;		/* the subscriber's thread's */
	char why[240];			/* why client is NULL */
	char boot[DECODE_BOOT_LEN + 1];	/* of the last event; "" before */
	char dead[UPSTREAM_DEAD_BOOTS][DECODE_BOOT_LEN + 1];	/* a ring */
	unsigned n_dead;
	char before[DECODE_BOOT_LEN + 1];	/* the life before boot, or "" */
	int64_t n_before;		/* requests it had then */
	struct upstream_last last;
	char last_of[DECODE_BOOT_LEN + 1];	/* the life that told last */
	struct breaker breaker;
	int64_t event_ms;		/* when the last event came, or 0 */
	bool ready;			/* it said */
	int64_t running, queued, n_slots;
	enum upstream_state state;	/* as the keeper last saw it */
	int64_t since_ms;
	int64_t acked_ms;		/* when the last ack was made */
	int64_t away_ms;		/* not ready since then; 0: it is */
	int64_t outage_ms;		/* how long that was the last time, or 0 */
	struct upstream_model model;	/* id "": never known */
	char model_boot[DECODE_BOOT_LEN + 1];
	struct upstream_request *table[UPSTREAM_BUCKETS];
	json_t *farewell;		/* {id: next seq}: closed, to be acked */
	uint64_t n_requests;		/* started so far */
	uint64_t n_open;		/* in table */
	struct upstream_counters counters;	/* atomic */
};

/* Who waits for one or more requests.  Its lock is taken last and held for
 * nothing else. */
struct upstream_waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool woken;
	bool nudged;		/* see upstream_nudge */
};

struct upstream_request {
	struct upstream_request *next;	/* in its bucket */
	struct upstream *u;		/* its thread's: resume_move changes it */
	char id[DECODE_ID_LEN + 1];
	json_t *generate;
	json_t *prompt_ids;		/* what the worker took for its prompt, or NULL;
					 * its thread's */
	int64_t deadline_ms;		/* clock_ms() */
	uint64_t order;			/* of arrival */
	int64_t n_prompt, n_cached;
	char session_state[17];
	char boot[DECODE_BOOT_LEN + 1];	/* whose events count; "": any */
	char fingerprint[65];	/* of the weights that began it */
	int64_t attempt;
	bool accepted;			/* that life said so */
	bool judged;			/* how that life ended was considered */
	struct suspect suspect;
	int n_forgotten;		/* by the life that had it, in a row */
	struct pieces pieces;
	int64_t taken, acked;		/* seq */
	int64_t told;			/* seq that the last status had */
	struct upstream_waiter own;	/* of its thread */
	struct upstream_waiter *waiter;	/* own, or that of one waited for with it */
	struct upstream_progress progress;
	bool news;			/* progress changed */
	bool waiting;			/* its thread is in upstream_wait */
	bool away;			/* no worker has it: to be resumed */
	int64_t heard_ms;		/* the last piece or answer */
	upstream_sink *sink;		/* or NULL */
	void *sink_arg;
	int64_t sunk_ms;		/* when it last took something, or 0 */
	int patience_ms;		/* its thread waits as long after that */
	bool dozes;			/* and is woken by the keeper then */
	int64_t lost_ms;		/* since when the worker is away, or 0 */
	int64_t retry_ms;		/* nothing is asked before */
	struct err failed;		/* code 0: it did not */
};

/* All of the following: with the lock held. */
struct upstream_request *upstream_find(struct upstream *u, const char *id);
void upstream_wake(struct upstream_request *q);
void upstream_wake_all(struct upstream *u);
void upstream_adopt_boot(struct upstream *u, const char *boot);
void upstream_table_add(struct upstream_request *q);
void upstream_table_remove(struct upstream_request *q);
/* Accepted by that life and not finished. */
int64_t upstream_count(const struct upstream *u, const char *boot);
/* Consider how the life that had q ended; false: not known yet. */
bool upstream_judged(struct upstream_request *q);
enum upstream_state upstream_state_now(const struct upstream *u, int64_t now);
/* Has the worker the weights that q began with? */
bool upstream_has_weights(const struct upstream *u,
    const struct upstream_request *q);

/* A piece of an event (time_us) or a replay (0). */
void upstream_add_piece(struct upstream_request *q, json_t *obj,
    int64_t time_us);

/*
 * What a waiting request needs now; RESUME_GIVE_UP with *e.  Then, without the
 * lock, do it.
 */
enum resume_step {
	RESUME_NONE, RESUME_REPLAY, RESUME_SUBMIT, RESUME_MOVE, RESUME_GIVE_UP
};
enum resume_step resume_next(struct upstream_request *q, int64_t now,
    struct err *e);
void resume_replay(struct upstream_request *q);
void resume_submit(struct upstream_request *q);
void resume_move(struct upstream_request *q);

/* Ask the life boot how the one before it ended. */
void upstream_ask_last_step(struct upstream *u, const char *boot);

/* generate as it is sent again: a new reference, with prompt_ids if there are. */
json_t *upstream_again(const struct upstream_request *q);
/* If the worker says what it took for the prompt. */
void upstream_keep_ids(struct upstream_request *q,
    const struct decode_accepted *a);

/* generate with id, attempt, forced and what is left of the deadline. */
int upstream_send(struct upstream_request *q, int64_t attempt, json_t *forced,
    struct decode_accepted *a, json_t **obj, struct err *e);

void upstream_events(void *arg, const struct frame *f);
int upstream_open_sockets(struct upstream *u, const char *dir, struct err *e);
void *keeper_main(void *arg);

#endif
