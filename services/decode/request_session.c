/*
 * Messages about sessions.  What needs a file is done by the store, on the thread
 * that asks; all else by the engine.
 */
#include <string.h>

#include "engine_session.h"
#include "log.h"
#include "request_parts.h"

/* save and restore: what the session is afterwards is asked for with `get`. */
static int
move_file(struct service *sv, const struct decode_session *q, struct err *e)
{
	const struct decode_session get = { .key = q->key, .owner = q->owner,
		.op = "get", .to = "", .to_name = "" };
	json_t *is;
	int r;

	if (sv->store == NULL)
		return err_set(e, ERR_UNSUPPORTED, "sessions are not saved here: "
		    "see --session-dir");
	/* Only its owner may. */
	if ((r = engine_session(sv->engine, &get, &is, e)) != 0)
		return r;
	json_decref(is);
	return strcmp(q->op, "save") == 0 ?
	    session_store_save(sv->store, q->key, e) :
	    session_store_restore(sv->store, q->key, e);
}

/* What is to be pinned or copied is read back, if only a file has it; if it cannot be,
 * the session is there all the same, with nothing in memory. */
static int
fetch(struct service *sv, const struct decode_session *q, struct err *e)
{
	const struct decode_session get = { .key = q->key, .owner = q->owner,
		.op = "get", .to = "", .to_name = "" };
	struct err why;
	json_t *is;
	int r;

	if (sv->store == NULL || (strcmp(q->op, "pin") != 0 &&
	    strcmp(q->op, "fork") != 0))
		return 0;
	if ((r = engine_session(sv->engine, &get, &is, e)) != 0)
		return r;
	if (strcmp(json_string_value(json_object_get(is, "state")), "saved") == 0 &&
	    (r = session_store_restore(sv->store, q->key, &why)) != 0)
		log_warn("session %.12s… stays in its file: %s", q->key, why.text);
	json_decref(is);
	return 0;
}

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
	if (strcmp(q.op, "save") == 0 || strcmp(q.op, "restore") == 0) {
		if ((r = move_file(sv, &q, e)) != 0)
			return r;
		q.op = "get";
	}
	if ((r = fetch(sv, &q, e)) != 0 ||
	    (r = engine_session(sv->engine, &q, &is, e)) != 0)
		return r;
	if (sv->store != NULL && strcmp(q.op, "drop") == 0)
		session_store_drop(sv->store, q.key);
	reply->type = DECODE_TYPE_session_is;
	reply->obj = is;
	return 0;
}

int
request_sessions(struct service *sv, const struct frame *f,
    struct frame *reply, struct err *e)
{
	struct decode_sessions_are a = { .snapshots = sv->store != NULL };
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
