#ifndef GATEWAY_PARKED_H
#define GATEWAY_PARKED_H

#include <pthread.h>

#include "openai.h"

/*
 * Streams whose client went away, or has been told the end: what it takes to send
 * the rest of the text to one that comes back, and to make it if it was not made
 * (the request and the tokens so far: they are a forced prefix).  Kept for a while,
 * within a number of bytes, the oldest go first; only the owner gets them.
 *
 * And those that run, since a client often knows before we do that its connection
 * is gone: one that asks for its stream ends the old connection.
 *
 * Any thread; a parked_stream belongs to who has it.
 */
enum { PARKED_MAX = 1024, PARKED_OWNER_LEN = 64 };

/* One answer of a request. */
struct parked_stream {
	struct parked_stream *next;	/* the table's */
	struct openai_answer a;		/* a.id is its name */
	int index;
	char owner[PARKED_OWNER_LEN + 1], session[PARKED_OWNER_LEN + 1];
	bool thinks;			/* its text may begin with thoughts */
	char *generate;			/* JSON; NULL: it has ended; owned */
	char *tokens;			/* JSON array of ids so far; owned */
	char *text;			/* [n_text] as the worker said; owned */
	size_t n_text;
	const char *finish;		/* if it has ended; static */
	struct openai_usage usage;
	int64_t kept_ms;
	size_t bytes;			/* the table's account */
};

/* One that runs; the caller's. */
struct parked_running {
	struct parked_running *next;
	const char *id, *owner;
	int index;			/* of the only answer; -1: all of them */
	void (*let_go)(void *arg);	/* called with the table's lock held; or NULL */
	void *arg;
};

struct parked {
	pthread_mutex_t lock;
	struct parked_stream *oldest, **last;
	struct parked_running *running;
	int64_t window_ms;		/* 0: nothing is kept */
	size_t bytes_max, bytes;
	int n;
};

void parked_init(struct parked *p, int64_t window_ms, size_t bytes_max);

/* Keep s, which is p's from here on; in the place of an older one of its name. */
void parked_put(struct parked *p, struct parked_stream *s, int64_t now_ms);

/* The caller's, or NULL: unknown, too old, or another's.  From the same moment on
 * until parked_end, r (if not NULL) says that somebody has it. */
struct parked_stream *parked_take(struct parked *p, const char *id, int index,
    const char *owner, int64_t now_ms, struct parked_running *r);

/* Forget all answers of id; were there any of owner's? */
bool parked_drop(struct parked *p, const char *id, const char *owner);

/* Forget what is too old. */
void parked_expire(struct parked *p, int64_t now_ms);

void parked_begin(struct parked *p, struct parked_running *r);
void parked_end(struct parked *p, struct parked_running *r);
/* If that answer (-1: any of id) runs and is owner's, tell who began with it last to
 * let go. */
bool parked_want(struct parked *p, const char *id, int index, const char *owner);

void parked_free(struct parked_stream *s);

#endif
