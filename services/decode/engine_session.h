#ifndef DECODE_ENGINE_SESSION_H
#define DECODE_ENGINE_SESSION_H

#include "engine.h"
#include "session.h"

/*
 * What the bus and the store of snapshots ask about sessions.  Any thread.
 */

/*
 * Before the prompt of g, which names a session, is encoded: *said is what the
 * session said, to be given back with engine_session_done, NULL if nothing.
 * *want: nothing of it is in memory, so a snapshot would help.  SESSION_BUSY if
 * g will not wait for the request that it has; ERR_RANGE for a key that is none.
 */
int engine_session_peek(struct engine *en, const struct decode_generate *g,
    struct transcript **said, bool *want, struct err *e);
void engine_session_done(struct engine *en, struct transcript *said);

/* get, pin, unpin, fork and drop of q, but nothing about files: *is is what
 * session_is says, new.  The errors of DECODE_SESSION. */
int engine_session(struct engine *en, const struct decode_session *q,
    json_t **is, struct err *e);

/* *list: a new array of what session_is says, as q wants it. */
int engine_sessions(struct engine *en, const struct decode_sessions *q,
    json_t **list, bool *more, struct err *e);

/*
 * A session that a file has, from its start on: it is listed, and nothing of it
 * is in memory.  Nothing happens if it is known, or if there is no room.  c->said
 * is not looked at.
 */
void engine_session_know(struct engine *en, const struct session_copy *c,
    int64_t bytes);

/*
 * *c is a copy of a session and holds the pages of all that is in memory of it,
 * until engine_session_copied: these may be read on any thread.  wrote: bytes of
 * the snapshot, -1 if there is none; false if the session was dropped in the
 * meantime.  NOT_FOUND if nothing is in memory.
 */
int engine_session_copy(struct engine *en, const char *key,
    struct session_copy *c, struct err *e);
bool engine_session_copied(struct engine *en, struct session_copy *c,
    int64_t wrote);

/*
 * Memory for the pages of *c, which says all but kv and is from a file: those
 * from kv.n_shared on are to be written to by the caller.  BUSY if there is not
 * enough that nobody needs.  engine_session_put then makes the session known, if
 * ok; *c owns nothing any more.  False: a later turn is known, which stays.
 */
int engine_session_room(struct engine *en, struct session_copy *c,
    struct err *e);
bool engine_session_put(struct engine *en, struct session_copy *c,
    int64_t bytes, bool ok);

bool engine_session_is_pinned(struct engine *en, const char *key);

/* The snapshot of it is gone. */
void engine_session_unsaved(struct engine *en, const char *key);

/* Keys worth a snapshot at the end: pinned first, then the last used first;
 * only of those whose last turn is not saved.  At most max; how many. */
int engine_session_unsaved_keys(struct engine *en,
    char (*keys)[DECODE_SESSION_LEN + 1], int max, int *n_pinned);

/* With the lock held: for the rest of the engine. */
struct job;
void engine_session_attach(struct engine *en, struct job *j,
    const struct decode_generate *g, bool refused);
void engine_session_turn(struct engine *en, struct job *j);	/* j's is over */
void engine_session_leave(struct engine *en, struct job *j);	/* it is no turn */
void engine_session_expire(struct engine *en, int64_t now_us);

#endif
