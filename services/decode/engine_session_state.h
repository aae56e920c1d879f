#ifndef DECODE_ENGINE_SESSION_STATE_H
#define DECODE_ENGINE_SESSION_STATE_H

#include "engine_session.h"
#include "engine_state.h"

/* What the files engine_session*.c share.  With the lock held. */

/* The last page of what s says, and how many tokens are in the pages up to it;
 * KV_NONE and 0 if there is none. */
int32_t session_find_pages(struct engine *en, const struct session *s,
    int32_t *n);

/* Pin its pages in place of those that are pinned; KV_FULL as ERR_BUSY. */
int session_pin(struct engine *en, struct session *s, struct err *e);
void session_let_go(struct engine *en, struct session *s);	/* of its pin */

void session_forget(struct engine *en, struct session *s);
void session_make_room(struct engine *en, bool more);

/* That of key, made if there is none; NULL if there is no room. */
struct session *session_get(struct engine *en, const char *key);

#endif
