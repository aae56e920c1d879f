/*
 * What is asked for about sessions: to see, pin, copy or drop one, and the way
 * of their pages to a file and from one.
 */
#include <string.h>

#include "engine_session_state.h"

static int64_t
page_bytes(const struct engine *en)
{
	return (int64_t)en->c.backend->kv_bytes / en->c.n_pages;
}

static const char *
state_name(const struct session *s, int32_t n_resident)
{
	if (n_resident > 0)
		return "warm";
	if (s->snapshot_bytes > 0)
		return "saved";
	if (s->said == NULL)
		return "new";
	return s->resident ? "evicted" : "cold";
}

static json_t *
describe(struct engine *en, const struct session *s)
{
	int64_t now = engine_now(en);
	struct decode_session_is is = {
		.key = s->key, .owner = s->owner, .name = s->name,
		.n_tokens = s->said != NULL ? (int64_t)s->said->ids.n :
		    s->n_saved,
		.pinned = s->pinned,
		.saved = s->snapshot_bytes > 0 && s->saved_turns == s->turns,
		.snapshot_bytes = s->snapshot_bytes, .busy = s->n_jobs > 0,
		.turns = s->turns, .idle_ms = (now - s->used_us) / 1000,
		.lease_ms = session_left(s, now) / 1000,
	};
	int32_t n;

	session_find_pages(en, s, &n);
	is.state = state_name(s, n);
	is.n_resident = n;
	is.n_bytes = (n + KV_PAGE - 1) / KV_PAGE * page_bytes(en);
	return field_encode(decode_session_is_fields(), &is);
}

/* The session of key, if owner may see it. */
static int
look_up(struct engine *en, const char *key, const char *owner,
    struct session **s, struct err *e)
{
	*s = sessions_find(&en->sessions, key);
	if (*s != NULL && (owner[0] == '\0' ||
	    strcmp((*s)->owner, owner) == 0))
		return 0;
	return err_set_param(e, ERR_SESSION, "session",
	    "there is no such session");
}

/* When the first pin ends. */
static int64_t
next_lease_ms(const struct engine *en)
{
	int64_t now = engine_now(en), least = 0, left;

	for (int i = 0; i < en->sessions.n; i++) {
		const struct session *s = en->sessions.v[i];

		if (s->page == KV_NONE)
			continue;
		left = session_left(s, now) / 1000 + 1;
		least = least == 0 || left < least ? left : least;
	}
	return least;
}

static int
pin(struct engine *en, struct session *s, struct err *e)
{
	struct err why;

	if (!en->scheduler.cache.sharing)
		return err_set(e, ERR_UNSUPPORTED, "pages are not kept: the "
		    "worker runs with --prefix-cache=false");
	if (session_pin(en, s, &why) != 0) {
		err_set(e, ERR_KV_FULL, "%s", why.text);
		if (e != NULL)
			e->retry_after_ms = next_lease_ms(en);
		return ERR_KV_FULL;
	}
	s->pinned = true;
	return 0;
}

static int
fork_to(struct engine *en, struct session **s, const struct decode_session *q,
    struct err *e)
{
	struct session *from = *s, *to;

	if (!session_is_key(q->to))
		return err_set_param(e, ERR_RANGE, "to",
		    "'to' is not lower-case hex");
	if (sessions_find(&en->sessions, q->to) != NULL)
		return err_set_param(e, ERR_EXISTS, "to",
		    "a session of that name is known");
	from->n_holds++;	/* not to be the one that makes room */
	to = session_get(en, q->to);
	from->n_holds--;
	if (to == NULL)
		return err_set(e, ERR_BUSY, "all %d sessions are pinned or have "
		    "requests", en->sessions.max);
	memcpy(to->owner, from->owner, sizeof(to->owner));
	memcpy(to->name, q->to_name, strlen(q->to_name) + 1);
	to->salt = from->salt;
	to->turns = from->turns;
	to->ttl_us = from->ttl_us;
	to->resident = from->resident;
	to->saved_turns = -1;
	if (from->said != NULL)
		from->said->refs++;
	sessions_say(&en->sessions, to, from->said);
	*s = to;
	return 0;
}

/* How many tokens of s begin what another session says, too. */
static int32_t
n_shared(const struct engine *en, const struct session *s)
{
	int32_t most = 0;

	for (int i = 0; i < en->sessions.n && s->said != NULL; i++) {
		const struct session *o = en->sessions.v[i];
		const struct ids *a = &s->said->ids;
		int32_t n = 0;

		if (o == s || o->said == NULL || o->salt != s->salt)
			continue;
		while ((size_t)n < a->n && (size_t)n < o->said->ids.n &&
		    a->v[n] == o->said->ids.v[n])
			n++;
		most = n > most ? n : most;
	}
	return most;
}

static void
drop(struct engine *en, struct session *s)
{
	int32_t n, page, keep = (n_shared(en, s) + KV_PAGE - 1) / KV_PAGE;

	session_let_go(en, s);
	page = session_find_pages(en, s, &n);
	session_forget(en, s);
	kv_cache_forget(&en->scheduler.cache, page, keep);
}

/* op of q on *s, which is then what is described. */
static int
operate(struct engine *en, const struct decode_session *q, struct session **s,
    struct err *e)
{
	int r = 0;

	if (strcmp(q->op, "pin") == 0) {
		r = pin(en, *s, e);
	} else if (strcmp(q->op, "unpin") == 0) {
		session_let_go(en, *s);
		(*s)->pinned = false;
	} else if (strcmp(q->op, "fork") == 0) {
		r = fork_to(en, s, q, e);
	} else if (strcmp(q->op, "get") != 0 && strcmp(q->op, "drop") != 0) {
		r = err_set_param(e, ERR_RANGE, "op", "op: '%.8s' is not one of "
		    "get, pin, unpin, save, restore, fork, drop", q->op);
	}
	if (r == 0 && q->ttl_ms > 0) {
		(*s)->ttl_us = q->ttl_ms * 1000;
		(*s)->used_us = engine_now(en);
	}
	return r;
}

int
engine_session(struct engine *en, const struct decode_session *q, json_t **is,
    struct err *e)
{
	json_t *v = NULL;
	struct session *s;
	int r;

	pthread_mutex_lock(&en->lock);
	if ((r = look_up(en, q->key, q->owner, &s, e)) == 0 &&
	    (r = operate(en, q, &s, e)) == 0 &&
	    (v = describe(en, s)) == NULL)
		r = err_set(e, ERR_NO_MEMORY, "no memory for the reply");
	if (r == 0 && strcmp(q->op, "drop") == 0)
		drop(en, s);
	pthread_mutex_unlock(&en->lock);
	if (r == 0)
		*is = v;
	return r;
}

int
engine_sessions(struct engine *en, const struct decode_sessions *q,
    json_t **list, bool *more, struct err *e)
{
	json_t *array = json_array();
	int64_t left = q->limit;
	int r = 0;

	*more = false;
	pthread_mutex_lock(&en->lock);
	for (int i = sessions_after(&en->sessions, q->after);
	    i < en->sessions.n && r == 0 && !*more; i++) {
		const struct session *s = en->sessions.v[i];

		if (q->owner[0] != '\0' && strcmp(s->owner, q->owner) != 0)
			continue;
		if (left-- == 0)
			*more = true;
		else if (json_array_append_new(array, describe(en, s)) != 0)
			r = err_set(e, ERR_NO_MEMORY, "no memory for the reply");
	}
	pthread_mutex_unlock(&en->lock);
	if (r == 0)
		*list = array;
	else
		json_decref(array);
	return r;
}
