#ifndef DECODE_SESSION_H
#define DECODE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "decode.h"
#include "kv_cache.h"
#include "transcript.h"

/*
 * Conversations that are remembered by a key: what was said so far, with the ids
 * it was said in, and for how long.  A table of bounded size; when it is full,
 * the one that was idle longest goes, but none that is pinned or has a request.
 * KV pages are found by tokens (kv_cache.h), so a session holds none of them
 * unless it is pinned.  One thread at a time.
 */
struct job;

struct session {
	char key[DECODE_SESSION_LEN + 1];
	char owner[DECODE_SESSION_LEN + 1];
	char name[DECODE_SESSION_NAME + 1];
	struct transcript *said;	/* NULL: no turn ended, or a file has it */
	uint64_t salt;		/* of its pages */
	int64_t turns;		/* that ended */
	int64_t used_us, ttl_us;/* its lease ends ttl after its last use */
	const struct job *active;	/* of it runs, or has run and goes on */
	int n_jobs;		/* of it that wait or run */
	int n_holds;		/* it is being read from or written to a file */
	bool pinned;
	int32_t page;		/* the last one pinned, or -1 */
	bool resident;		/* pages of it were in memory, at least once */
	bool restored;		/* they came from a file, and nobody was told */
	int64_t saved_turns;	/* turns of the snapshot */
	int64_t snapshot_bytes;	/* 0: there is none */
	int64_t n_saved;	/* tokens in it */
};

/* A session outside of the engine, on its way to a file or from one. */
struct session_copy {
	char key[DECODE_SESSION_LEN + 1];
	char owner[DECODE_SESSION_LEN + 1];
	char name[DECODE_SESSION_NAME + 1];
	struct transcript *said;
	uint64_t salt;
	int64_t turns, ttl_us, left_us;	/* left: of its lease */
	bool pinned;
	int32_t n_tokens;	/* the first of said, whose keys and values are in */
	struct kv_seq kv;	/* these pages; the memory of kv.pages is owned */
	int32_t held;		/* the page that holds them, or -1 */
};

struct sessions {
	struct session **v;	/* [n] in the order of their keys; owned */
	int n, max;
	size_t bytes, bytes_max;/* of what was said */
	int64_t ttl_us;		/* of those that do not say */
};

int sessions_init(struct sessions *t, int max, size_t bytes_max,
    int64_t ttl_us, struct err *e);
void sessions_finish(struct sessions *t);

/* Is text a key: lower-case hex, not empty? */
bool session_is_key(const char *text);

struct session *sessions_find(const struct sessions *t, const char *key);
/* Index of the first one whose key is greater. */
int sessions_after(const struct sessions *t, const char *key);

/* A new one, used now; its key must not be known.  NULL if the table is full
 * (sessions_victim first) or memory is short. */
struct session *sessions_add(struct sessions *t, const char *key,
    int64_t now_us);
void sessions_remove(struct sessions *t, struct session *s);

/* It says this from now on; the reference is taken over (NULL: nothing). */
void sessions_say(struct sessions *t, struct session *s,
    struct transcript *said);
void transcript_unref(struct transcript *tr);	/* NULL is fine */

/* Does the table need one of its sessions to be given up: for one more, if
 * more?  *s is the idlest that can be, NULL if none can. */
bool sessions_victim(const struct sessions *t, bool more, struct session **s);

/* One whose lease is over, or NULL. */
struct session *sessions_expired(const struct sessions *t, int64_t now_us);

/* Microseconds its lease has left; at least 0. */
int64_t session_left(const struct session *s, int64_t now_us);

/* Does a job of s (NULL: of none) get a slot now?  One at a time does. */
static inline bool
session_lets(const struct session *s, const struct job *j)
{
	return s == NULL || s->active == NULL || s->active == j;
}

#endif
