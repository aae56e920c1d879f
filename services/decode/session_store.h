#ifndef DECODE_SESSION_STORE_H
#define DECODE_SESSION_STORE_H

#include "engine.h"
#include "snapshot.h"

/*
 * The directory of snapshots: a file for each session, <key>.kv, bounded in all;
 * the one used longest ago goes first, but none of a pinned session.  Pinned
 * sessions are saved at the end of each turn by a thread of the store, beside the
 * steps: pages are read while others are written to.
 *
 * Any thread, but for open and close.  At most SESSION_STORE_OPS of save and
 * restore go on at once, others are BUSY, so that they never hold all threads
 * that answer messages.
 */
enum { SESSION_STORE_OPS = 2 };

struct session_store;

struct session_store_config {
	const char *dir;	/* made if it is not there */
	int64_t max_bytes;
	struct engine *engine;	/* borrowed, as is the backend */
	struct backend *backend;
	struct snapshot_identity id;
	/* What the thread of the store could not do; any thread. */
	void (*on_error)(void *arg, const char *key, const struct err *e);
	void *arg;
};

struct session_store_stats {
	int64_t written, restored, refused, failed, deleted;	/* files */
	int64_t bytes_written, bytes_restored;
	int64_t bytes;		/* on disk, when last looked at */
};

/* The engine knows the sessions of the directory afterwards.  ERR_SYSTEM if it
 * cannot be used. */
int session_store_open(const struct session_store_config *c,
    struct session_store **out, struct err *e);

/* Write a snapshot of what is in memory of key's session. */
int session_store_save(struct session_store *st, const char *key,
    struct err *e);

/*
 * Read it back.  NOT_FOUND if there is none; BAD_FILE or UNSUPPORTED if it is of
 * no use here (it is deleted if it is damaged); BUSY if there is no room for it.
 */
int session_store_restore(struct session_store *st, const char *key,
    struct err *e);
void session_store_drop(struct session_store *st, const char *key);

/* A turn of it is over: save it soon.  Never waits for a file. */
void session_store_turn(struct session_store *st, const char *key);

void session_store_stats(struct session_store *st,
    struct session_store_stats *s);

/*
 * The engine does nothing any more: end the thread, save what is pinned and not
 * saved, and of the rest the last used ones, for budget_ms.  Returns how many
 * could not be saved though they were pinned.  alive is called now and then.
 */
int session_store_stop(struct session_store *st, int64_t budget_ms,
    void (*alive)(void));

/* When nobody else uses it, after session_store_stop; NULL is fine. */
void session_store_close(struct session_store *st);

#endif
