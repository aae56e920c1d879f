/*
 * Messages about sessions.  What needs a file is done by the store, on the thread
 * that asks; all else by the engine.
 */
#include <string.h>

#include "engine_session.h"
#include "request_parts.h"

int
request_session(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_session q;
	json_t *is = NULL;
	int r;

	if ((r = REQUEST_DECODE(decode_session, f, &q, e)) != 0)
		return r;
	if (!session_is_key(q.key))
		return err_set_param(e, ERR_RANGE, "key",
		    "'key' is not lower-case hex");
	if ((r = engine_session(sv->engine, &q, &is, e)) != 0)
		return r;
	reply->type = DECODE_TYPE_session_is;
	reply->obj = is;
	return 0;
}

int
request_sessions(struct service *sv, const struct frame *f,
    struct frame *reply, struct err *e)
{
	struct decode_sessions_are a = { 0 };
	struct decode_sessions q;
	int r;

	if ((r = REQUEST_DECODE(decode_sessions, f, &q, e)) != 0 ||
	    (r = engine_sessions(sv->engine, &q, &a.sessions, &a.more, e)) != 0)
		return r;
	r = request_reply(reply, DECODE_TYPE_sessions_are,
	    decode_sessions_are_fields(), &a, e);
	json_decref(a.sessions);
	return r;
}
