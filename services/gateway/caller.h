#ifndef GATEWAY_CALLER_H
#define GATEWAY_CALLER_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "auth.h"
#include "rates.h"
#include "web.h"

/*
 * Who asks: the key, the session, and what follows from them.  Names that go to
 * the worker, or to its disk, are digests, and none of them is the key's own:
 * two keys never have a session, an owner or a cache in common.  Belongs to the
 * connection's thread.
 */
struct gateway;
struct upstream_request;

enum {
	CALLER_HEX_LEN = 64,		/* of owner and session */
	CALLER_SESSION_MAX = 128,	/* bytes of a session's name */
	CALLER_TTL_MAX_S = 2592000,	/* 30 days */
};

struct caller {
	struct gateway *gw;
	const char *request;		/* its id; borrowed from the request */
	const char *trace;		/* its W3C traceparent, or NULL; likewise */
	struct auth_key key;		/* without a name: no keys are asked for */
	bool admin;
	char owner[CALLER_HEX_LEN + 1];	/* of this key; one for all without */
	char session[CALLER_HEX_LEN + 1];	/* for the worker; "": none */
	char session_name[CALLER_SESSION_MAX + 1];	/* as the client says */
	bool by_cache_key;		/* not a conversation's name, maybe */
	int64_t ttl_ms;			/* 0: not said */
	bool busy_fails;		/* do not wait for one's own session */
	int64_t client, salt;		/* 0: no keys; salt: or shared */
	/* Between caller_admit and caller_leave. */
	uint64_t ticket;		/* of the request: the same if it comes again */
	int place;			/* -1: none */
	int64_t estimated;		/* tokens taken from the limits */
	int n_wants;
	struct rates_want wants[RATES_WANTS_MAX];
};

/*
 * From the headers of rq and its body (may be NULL).  Returns 0, ERR_KEY, or
 * ERR_RANGE with the header or member that is at fault.
 */
int caller_begin(struct gateway *gw, struct web_request *rq,
    const json_t *body, struct caller *c, struct err *e);

/* The session that a name of this caller's stands for; key [CALLER_HEX_LEN +
 * 1]. */
void caller_session_key(const struct caller *c, const char *name, char *key);

/* Is it a name that our own header may have? */
bool caller_is_name(const char *name);

/*
 * May it be answered now?  Takes it from the limits, as many tokens as
 * n_answers answers of max_tokens (0: not said; -1: none are made) to each of
 * prompts ([{messages, prompt or prompt_ids}]) may need, and gives it one of the
 * places; sets the x-ratelimit headers.  ERR_RATE or ERR_BUSY, with when to come
 * back.  Then caller_leave is not called.
 */
int caller_admit(struct caller *c, struct web_request *rq,
    const json_t *prompts, int n_answers, int64_t max_tokens, struct err *e);

/* It was answered, with so many tokens, of the prompt and new; -1: it was not. */
void caller_leave(struct caller *c, int64_t n_tokens);

/* Add who asks, and what the request is called, to a generate.  Of several for one
 * request only the first is the session's: they would wait for each other. */
void caller_generate(const struct caller *c, bool first, json_t *generate);

/* fleet_submit, with the caller's session; who was told to come back when the
 * worker has room goes first.  more: one of several answers, and not the first. */
int caller_submit(const struct caller *c, const char *model, bool more,
    json_t *generate, struct upstream_request **up, struct err *e);

/* What the worker said of the session, as headers of the answer. */
void caller_accepted(const struct caller *c, struct web_request *rq,
    const char *session_state, int64_t n_cached);

/* The buckets of a key; its limits are 0 if it has none. */
struct rates_want caller_want(const struct gateway *gw,
    const struct auth_key *key);

/* The x-ratelimit headers of a key, if it has limits; in place of those that
 * are set already. */
void caller_show_limits(struct gateway *gw, struct web_request *rq,
    const struct auth_key *key);

#endif
