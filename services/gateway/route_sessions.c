/*
 * Sessions live in the workers; here their names become keys (caller.h), and the
 * lists of all workers one.  A key's owner goes along with each question, so a
 * worker tells nobody of another's; an administrator asks for nobody's, which is
 * everybody's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "caller.h"
#include "gateway.h"

enum { LIST_DEFAULT = 100, CALL_MS = 5000,
	SNAPSHOT_MS = 60000 };		/* to disk and back */

static json_t *
session_json(const struct decode_session_is *s, bool show_owner)
{
	time_t now = time(NULL);
	json_t *v = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:b, "
	    "s:I, s:b, s:I, s:I, s:o}", "id", s->name, "object", "session",
	    "key", s->key, "state", s->state,
	    "tokens", (json_int_t)s->n_tokens,
	    "cached_tokens", (json_int_t)s->n_resident,
	    "cached_bytes", (json_int_t)s->n_bytes,
	    "pinned", s->pinned, "saved", s->saved,
	    "snapshot_bytes", (json_int_t)s->snapshot_bytes, "busy", s->busy,
	    "turns", (json_int_t)s->turns,
	    "last_used", (json_int_t)(now - s->idle_ms / 1000),
	    "expires_at", s->lease_ms == 0 ? json_null() :
	    json_integer(now + s->lease_ms / 1000));

	if (v != NULL && show_owner)
		json_object_set_new(v, "owner", json_string(s->owner));
	return v;
}

/* A worker's answer about one session, as an object for the client. */
static int
read_session(json_t *reply, bool show_owner, json_t **v, struct err *e)
{
	struct decode_session_is s;
	int r = field_decode(decode_session_is_fields(), sizeof(s), reply, &s,
	    e);

	if (r == 0 && (*v = session_json(&s, show_owner)) == NULL)
		r = err_set(e, ERR_NO_MEMORY, "no memory for a session");
	return r;
}

/* obj is borrowed. */
static int
ask(struct upstream *u, json_t *obj, json_t **reply, struct err *e)
{
	const char *op = json_string_value(json_object_get(obj, "op"));
	bool slow = strcmp(op, "get") != 0 && strcmp(op, "drop") != 0;

	return upstream_call(u, DECODE_TYPE_session, json_copy(obj),
	    DECODE_TYPE_session_is, reply, slow ? SNAPSHOT_MS : CALL_MS, e);
}

/* It may have the session, and does not say. */
static bool
is_away(int code)
{
	return code == ERR_UNAVAILABLE || code == ERR_TIMEOUT || code == ERR_LOADING ||
	    code == ERR_DRAINING;
}

/*
 * The worker that a request of this session would go to, and if it does not have
 * it, the others: it may have moved while one was away.  drop is for all.  *at:
 * the one that has it.  While one is away nobody can say that there is no such
 * session, or that nothing of it is left.
 */
static int
ask_workers(struct gateway *gw, const char *key, json_t *obj,
    struct upstream **at, json_t **reply, struct err *e)
{
	struct upstream *first = fleet_pick(gw->fleet, NULL, key, e);
	bool drop = strcmp(json_string_value(json_object_get(obj, "op")),
	    "drop") == 0, found = false, away = false;

	for (int i = -1; i < fleet_size(gw->fleet); i++) {
		struct upstream *u = i < 0 ? first : fleet_at(gw->fleet, i);
		json_t *more = NULL;
		struct err why;
		int r;

		if (u == NULL || (i >= 0 && u == first) || (found && !drop))
			continue;
		if ((r = ask(u, obj, &more, &why)) == 0 && !found) {
			*reply = more;
			*at = u;
			found = true;
			continue;
		}
		json_decref(more);
		if (is_away(r)) {
			away = true;
			err_set(e, r, "a worker that may have this session does "
			    "not answer");
			e->retry_after_ms = why.retry_after_ms;
		} else if (r != 0 && r != ERR_SESSION) {
			*e = why;
			return r;
		}
	}
	if (away && (drop || !found))
		return (int)e->code;
	return found ? 0 : err_set_param(e, ERR_SESSION, "session",
	    "there is no such session");
}

static bool
is_key(const char *id)
{
	return strlen(id) == CALLER_HEX_LEN &&
	    strspn(id, "0123456789abcdef") == CALLER_HEX_LEN;
}

/* What op (its members are in obj, which is released) makes of session id. */
static int
operate(struct caller *c, const char *id, const char *op, json_t *obj,
    json_t **v, struct err *e)
{
	char key[CALLER_HEX_LEN + 1];
	struct fleet *f = c->gw->fleet;
	struct upstream *at;
	json_t *reply = NULL;
	int r;

	if (!caller_is_name(id) || obj == NULL) {
		json_decref(obj);
		return err_set(e, ERR_SESSION, "there is no such session");
	}
	caller_session_key(c, id, key);
	json_object_set_new(obj, "op", json_string(op));
	json_object_set_new(obj, "key", json_string(key));
	json_object_set_new(obj, "owner", json_string(c->owner));
	r = ask_workers(c->gw, key, obj, &at, &reply, e);
	if (r == 0 && fleet_size(f) > 1) {
		const char *to = json_string_value(json_object_get(obj, "to"));

		fleet_seat(f, to != NULL ? to : key, at);
	}
	if (r == ERR_SESSION && c->admin && is_key(id)) {
		json_object_set_new(obj, "key", json_string(id));
		json_object_set_new(obj, "owner", json_string(""));
		r = ask_workers(c->gw, id, obj, &at, &reply, e);
	}
	if (r == 0)
		r = read_session(reply, c->admin, v, e);
	json_decref(reply);
	json_decref(obj);
	return r;
}

static void
reply_to(struct web_request *rq, int r, json_t *v, const struct err *e)
{
	if (r == 0)
		web_reply_json(rq, 200, v);
	else
		web_reply_err(rq, e);
}

void
route_session(struct web_request *rq, void *arg)
{
	struct caller c;
	json_t *v = NULL;
	struct err e;
	int r;

	if ((r = caller_begin(arg, rq, NULL, &c, &e)) == 0)
		r = operate(&c, web_path_tail(rq), "get", json_object(), &v,
		    &e);
	reply_to(rq, r, v, &e);
}

void
route_session_delete(struct web_request *rq, void *arg)
{
	struct caller c;
	json_t *v = NULL;
	struct err e;
	int r;

	if ((r = caller_begin(arg, rq, NULL, &c, &e)) == 0)
		r = operate(&c, web_path_tail(rq), "drop", json_object(), &v,
		    &e);
	json_decref(v);
	reply_to(rq, r, r != 0 ? NULL : json_pack("{s:s, s:s, s:b}", "id",
	    web_path_tail(rq), "object", "session", "deleted", true), &e);
}

/* Its new name, of a fork. */
static int
read_to(struct caller *c, const json_t *body, json_t *obj, struct err *e)
{
	const char *to = json_string_value(json_object_get(body, "to"));
	char key[CALLER_HEX_LEN + 1];

	if (to == NULL || !caller_is_name(to))
		return err_set_param(e, to == NULL ? ERR_BAD_MESSAGE :
		    ERR_RANGE, "to", "'to' is not the name of a session: 1 to "
		    "%d of A-Z a-z 0-9 . _ : -", CALLER_SESSION_MAX);
	caller_session_key(c, to, key);
	json_object_set_new(obj, "to", json_string(key));
	json_object_set_new(obj, "to_name", json_string(to));
	return 0;
}

/* POST /v1/sessions/{id}/{op}: the op is the path's last word, of the table. */
void
route_session_op(struct web_request *rq, void *arg)
{
	const char *op = strrchr(web_path(rq), '/') + 1;
	bool fork = strcmp(op, "fork") == 0;
	json_t *v = NULL, *body = NULL, *obj;
	struct caller c;
	struct err e;
	int r;

	if (fork && web_body_json(rq, &body) != 0)
		return;
	obj = json_object();
	if ((r = caller_begin(arg, rq, NULL, &c, &e)) == 0 && fork)
		r = read_to(&c, body, obj, &e);
	if (r == 0 && strcmp(op, "pin") == 0 && c.ttl_ms > 0)
		json_object_set_new(obj, "ttl_ms", json_integer(c.ttl_ms));
	if (r == 0)
		r = operate(&c, web_path_tail(rq), op, json_incref(obj), &v,
		    &e);
	json_decref(obj);
	json_decref(body);
	reply_to(rq, r, v, &e);
}

/* What the list is made of, of all workers. */
struct list {
	json_t *all;		/* sessions as the client sees them */
	bool more, show_owner;
	int n_asked;		/* workers that answered */
};

static int
add_worker(struct upstream *u, json_t *ask_for, struct list *l, struct err *e)
{
	struct decode_sessions_are are;
	json_t *reply = NULL, *s, *v = NULL;
	size_t i;
	int r;

	if ((r = upstream_call(u, DECODE_TYPE_sessions, json_copy(ask_for),
	    DECODE_TYPE_sessions_are, &reply, CALL_MS, e)) != 0)
		return r;
	r = field_decode(decode_sessions_are_fields(), sizeof(are), reply,
	    &are, e);
	if (r == 0) {
		l->n_asked++;
		l->more = l->more || are.more;
		json_array_foreach(are.sessions, i, s) {
			if ((r = read_session(s, l->show_owner, &v, e)) != 0)
				break;
			json_array_append_new(l->all, v);
		}
	}
	json_decref(reply);
	return r;
}

static const char *
key_of(const json_t *session)
{
	return json_string_value(json_object_get(session, "key"));
}

/* Of two with one key, which a session has that moved, the last used comes first. */
static int
by_key(const void *a, const void *b)
{
	json_t *const *x = a, *const *y = b;
	int r = strcmp(key_of(*x), key_of(*y));
	json_int_t t = json_integer_value(json_object_get(*x, "last_used"));
	json_int_t u = json_integer_value(json_object_get(*y, "last_used"));

	return r != 0 ? r : (t < u) - (t > u);
}

/* The first limit of l->all, by their keys, each once; all of it is released. */
static json_t *
first_of(struct list *l, size_t limit)
{
	size_t n = json_array_size(l->all);
	json_t **sorted = calloc(n + 1, sizeof(*sorted));
	json_t *data = sorted == NULL ? NULL : json_array();

	for (size_t i = 0; sorted != NULL && i < n; i++)
		sorted[i] = json_array_get(l->all, i);
	if (sorted != NULL)
		qsort(sorted, n, sizeof(*sorted), by_key);
	for (size_t i = 0; data != NULL && i < n; i++) {
		if (i > 0 && strcmp(key_of(sorted[i]), key_of(sorted[i - 1])) == 0)
			continue;
		if (json_array_size(data) == limit) {
			l->more = true;
			break;
		}
		json_array_append(data, sorted[i]);
	}
	free(sorted);
	json_decref(l->all);
	return data;
}

static int
read_limit(struct web_request *rq, long *limit, struct err *e)
{
	char text[8];

	if (!web_query_get(rq, "limit", text, sizeof(text)))
		return 0;
	*limit = strspn(text, "0123456789") == strlen(text) ?
	    strtol(text, NULL, 10) : 0;
	if (*limit < 1 || *limit > DECODE_SESSIONS_MAX)
		return err_set_param(e, ERR_RANGE, "limit",
		    "'limit' is not a number from 1 to %d",
		    DECODE_SESSIONS_MAX);
	return 0;
}

void
route_sessions(struct web_request *rq, void *arg)
{
	struct gateway *gw = arg;
	char after[CALLER_HEX_LEN + 2] = "", value[8];
	bool all = web_query_get(rq, "all", value, sizeof(value));
	struct list l = { 0 };
	long limit = LIST_DEFAULT;
	json_t *ask_for = NULL;
	struct caller c;
	struct err e;
	int r;

	if ((r = caller_begin(gw, rq, NULL, &c, &e)) == 0)
		r = read_limit(rq, &limit, &e);
	if (r == 0 && all && !c.admin)
		r = err_set(&e, ERR_ADMIN, "only an administrator's key may "
		    "see the sessions of others");
	if (r == 0 && web_query_get(rq, "after", after, sizeof(after)) &&
	    !is_key(after))
		r = err_set_param(&e, ERR_RANGE, "after",
		    "'after' is not the key of a session");
	if (r == 0) {
		l = (struct list){ .all = json_array(), .show_owner = all };
		ask_for = json_pack("{s:s, s:s, s:I}", "owner",
		    all ? "" : c.owner, "after", after, "limit",
		    (json_int_t)limit);
	}
	/* Those of a worker that is away are missing, and it is said. */
	for (int i = 0; r == 0 && i < fleet_size(gw->fleet); i++)
		add_worker(fleet_at(gw->fleet, i), ask_for, &l, &e);
	json_decref(ask_for);
	if (r == 0 && l.n_asked > 0) {
		json_t *data = first_of(&l, (size_t)limit);

		web_reply_json(rq, 200, json_pack("{s:s, s:o, s:b, s:b}",
		    "object", "list", "data", data, "has_more", l.more,
		    "complete", l.n_asked == fleet_size(gw->fleet)));
		return;
	}
	json_decref(l.all);
	web_reply_err(rq, &e);
}
