#ifndef GATEWAY_UPSTREAM_H
#define GATEWAY_UPSTREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "decode.h"
#include "pieces.h"
#include "poison.h"

/*
 * A decode worker as the gateway sees it: requests go in, pieces come out in
 * order and without gaps, whatever the bus loses and however often the worker
 * is started again (proto/decode.h; docs/http-api.md says what a client sees).
 *
 * Threads: the bus's one subscriber thread copies pieces into the requests they
 * belong to and wakes whoever waits; a keeper thread acknowledges what clients
 * have taken, asks which model it is and looks for the worker; every other
 * thread may call what is declared here.  An upstream_request belongs to one
 * thread, that of its client's connection, on which replays and resumptions run
 * too.  One lock guards everything; it is never held across a call on the bus.
 */
struct upstream;
struct upstream_request;

struct upstream_config {
	const char *name;	/* as it is called in logs and metrics */
	const char *dir;	/* of the sockets, if url is NULL */
	const char *url;	/* or where to ask for it */
	int64_t request_ms;	/* deadline of a request */
	int64_t resume_ms;	/* how long one waits for a lost worker */
	struct poison *poison;	/* what is not run again; or NULL */
	/* A ready worker but own with these weights, or NULL; may be NULL. */
	struct upstream *(*replica)(void *arg, const struct upstream *own,
	    const char *fingerprint);
	void *arg;
};

enum upstream_state { UPSTREAM_DOWN, UPSTREAM_LOADING, UPSTREAM_READY };

struct upstream_health {
	enum upstream_state state;
	int64_t since_ms;	/* it is in this state, clock_ms() */
	char reason[240];	/* why it is not ready, or "" */
	char boot[DECODE_BOOT_LEN + 1];
	int64_t running, queued, n_slots;	/* requests, as last told */
	int64_t retry_after_ms;	/* when to ask again, if it is not ready */
	int64_t load;		/* of them, running or queued, or more if more
				 * were sent since */
};

/* What model_info says; the strings are copies. */
struct upstream_model {
	char id[257], architecture[65], format[65], backend[65];
	char fingerprint[65];
	char selfcheck[17];	/* passed, failed or absent */
	char file[257], chat_template[65], bos_token[257], eos_token[257];
	bool thinks;		/* it knows <think> and </think> */
	int64_t n_ctx, n_ctx_train, n_vocab, n_params, size_bytes, created;
	int64_t n_embd, n_slots;
};

/* Name and meaning. */
#define UPSTREAM_COUNTERS(C)                                                  \
	C(gaps, "Times that an event did not follow the one before.")         \
	C(replays, "Times that a worker was asked for pieces again.")         \
	C(resumes, "Requests that went on in another life of a worker.")      \
	C(moved, "Requests that went on at a replica of their worker.")       \
	C(crashes, "Lives of a worker that ended without being stopped.")     \
	C(convicted, "Requests that ended the worker each time they ran.")    \
	C(cancelled, "Requests that ended because their client left.")        \
	C(lost, "Requests given up because their worker did not come back.")  \
	C(diverged, "Pieces that came twice and not the same; 0 unless a "    \
	    "worker is wrong.")                                               \
	C(bad_events, "Events that were not what was declared, or of a "      \
	    "worker that is gone.")

struct upstream_counters {
#define MEMBER(name, doc) atomic_uint_fast64_t name;
	UPSTREAM_COUNTERS(MEMBER)
#undef MEMBER
};

/* The same of one moment. */
struct upstream_counts {
#define MEMBER(name, doc) uint64_t name;
	UPSTREAM_COUNTERS(MEMBER)
#undef MEMBER
};

/* c and its strings must outlive *u, which lives until the process ends. */
int upstream_create(struct upstream **u, const struct upstream_config *c,
    struct err *e);

void upstream_health(struct upstream *u, struct upstream_health *h);

/* 0, or ERR_UNAVAILABLE, ERR_LOADING with a sentence and retry_after_ms. */
int upstream_ready(struct upstream *u, struct err *e);

/* The model served, also while the worker is away; before it was ever ready
 * the error of upstream_ready. */
int upstream_model(struct upstream *u, struct upstream_model *m, struct err *e);

/* Token ids as text; *text is the caller's. */
int upstream_detokenize(struct upstream *u, json_t *ids, char **text,
    struct err *e);

/* Any other request of proto/decode.h: obj is released, *reply is the caller's. */
int upstream_call(struct upstream *u, uint32_t type, json_t *obj,
    uint32_t reply_type, json_t **reply, int timeout_ms, struct err *e);

struct upstream_counters *upstream_counters(struct upstream *u);
const char *upstream_name(const struct upstream *u);

/*
 * Start a request.  generate: an object of decode_generate's members, without
 * id, attempt, forced, deadline_ms; borrowed, and not to be changed until
 * upstream_close.  Returns 0 once the worker has accepted it, with *q, which
 * upstream_close frees; else the worker's error, upstream_ready's, or
 * ERR_CRASHED.
 */
int upstream_submit(struct upstream *u, json_t *generate,
    struct upstream_request **q, struct err *e);

/* The same for one that was begun elsewhere: only what follows tokens and their
 * text comes out. */
struct upstream_begun {
	const json_t *tokens;
	const char *text;
	size_t n_text;
};
int upstream_go_on(struct upstream *u, json_t *generate,
    const struct upstream_begun *begun, struct upstream_request **q,
    struct err *e);

/* What upstream_go_on needs to go on with it: JSON, and all of its text, each to be
 * freed; ERR_NO_MEMORY.  ended: its text is all. */
struct upstream_parts {
	char *generate, *tokens, *text;
	size_t n_text;
};
int upstream_park(struct upstream_request *q, bool ended,
    struct upstream_parts *parts, struct err *e);

/* End upstream_wait of the thread that is in it for q, without pieces.  Any
 * thread. */
void upstream_nudge(struct upstream_request *q);

/* Its id, 32 hex digits, and the length of its prompt; borrowed. */
const char *upstream_id(const struct upstream_request *q);
int64_t upstream_n_prompt(const struct upstream_request *q);

/* How much of its prompt was cached, and what the worker said of its session,
 * or "". */
int64_t upstream_n_cached(const struct upstream_request *q);
const char *upstream_session_state(const struct upstream_request *q);

/*
 * Wait up to timeout_ms (a second more if the worker has to be asked; counted from
 * what a sink took last) for pieces.  Returns 0 with *list, to be freed with
 * piece_list_free, or NULL when none came; the last piece of a request has a finish,
 * after which only upstream_close may follow.  ERR_LOST, ERR_CRASHED, ERR_TIMEOUT or the worker's
 * error when it cannot be completed.
 */
int upstream_wait(struct upstream_request *q, int timeout_ms,
    struct piece **list, struct err *e);

/*
 * A way around the thread of a request, which costs a wake-up a token: while that
 * thread is in upstream_wait, pieces without a finish are given to fn first, on the
 * thread that reads the events, with the upstream's lock held.  fn may not block nor
 * call anything of this header.  True: the client has taken them, and nobody is
 * woken.  False: upstream_wait returns them, as ever.
 */
typedef bool upstream_sink(void *arg, const struct piece *list);
void upstream_set_sink(struct upstream_request *q, upstream_sink *fn, void *arg);

/*
 * The same for q [n], n > 0, that belong to one thread and may have different
 * workers: lists [n], each as above.  Returns as soon as one of them has pieces
 * or news; on failure of one all lists are NULL.
 */
int upstream_wait_any(struct upstream_request *const *q, int n, int timeout_ms,
    struct piece **lists, struct err *e);

/* Where a request stands before its first token, as the worker last said. */
struct upstream_progress {
	int place;		/* in the queue, from 1; 0: not in it */
	int64_t n_prompt, n_cached, n_done;	/* tokens; 0: not begun */
	double ms;		/* since it has a slot */
};
void upstream_progress(struct upstream_request *q,
    struct upstream_progress *p);

/* The client has taken the tokens before next_seq: the worker may forget them
 * and go on. */
void upstream_taken(struct upstream_request *q, int64_t next_seq);

/* Cancels the request unless its finish was taken, and frees it; NULL is fine. */
void upstream_close(struct upstream_request *q);

#endif
