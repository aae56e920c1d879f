#ifndef TESTS_FAKE_DECODE_H
#define TESTS_FAKE_DECODE_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"

/*
 * A decode worker that does what a test tells it: the real sockets and
 * messages, no model.  Token n of a request is the id 1000 + n.  One per
 * process; it lives to its end.  The status event goes out every 100 ms.
 */
void fake_open(const char *dir);

/* Another life: what it held is gone.  ready: does it take requests? */
void fake_restart(const char *boot, bool ready);

/* It is not ready because the model failed its self-check; till it restarts. */
void fake_fails_selfcheck(void);

/* From the next life on its model has <think> and </think>. */
void fake_thinks(void);

/* From now on status says that id waits at this place of the queue (0: it does
 * not), or that n_done of the 5 tokens of its prompt are computed (-1: nothing
 * of it). */
void fake_stands(const char *id, int place, int n_done);

/* While false nothing is published, neither steps nor status. */
void fake_publishes(bool yes);

/* While true it answers nothing that it is asked, nor publishes. */
void fake_hangs(bool yes);

/* Answer the next generate with this error, once; or the next n. */
void fake_refuse(enum err_code code, const char *text, int64_t retry_after_ms);
void fake_refuse_times(int n);
int fake_refusals_left(void);

/* From now on its model has another fingerprint than in the lives before, or not. */
void fake_changes_model(bool yes);

/* The next generate that was accepted: its object, to be released.  Fails the
 * test after 10 s without one. */
json_t *fake_generate(void);

/*
 * Add a piece of n tokens (0 with a finish alone) to id.  lost: keep it for
 * replay but do not publish it.
 */
void fake_piece(const char *id, int64_t seq, int n, const char *text,
    const char *finish, bool lost);

/* Publish what is kept of id from seq on, as one step event again. */
void fake_again(const char *id, int64_t seq);

/* Forget id, as after a lease. */
void fake_forget(const char *id);

/* What was acknowledged of id, -1: nothing yet; and how often it was asked to
 * be cancelled.  Both wait up to 10 s for at least that much. */
int64_t fake_acked(const char *id, int64_t at_least);
bool fake_cancelled(const char *id);

/* From now on a life tells that the one before was stopped, not what it was at
 * work on; else it knows nothing of it. */
void fake_stops(bool yes);

/* From now on it says that it takes the ids 7, 8, 9 for every prompt. */
void fake_takes_ids(bool yes);

int fake_replays(void);	/* answered so far */

#endif
