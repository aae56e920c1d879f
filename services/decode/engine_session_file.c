/*
 * Sessions on their way to a file and from one.  The files are the store's; here
 * is what needs the lock: the pages that are read are held, so nobody writes to
 * them, and those that are written to are nobody else's until they are in the
 * tree.
 */
#include <stdlib.h>
#include <string.h>

#include "engine_session_state.h"

static void
describe(const struct session *s, int64_t now_us, struct session_copy *c)
{
	memcpy(c->key, s->key, sizeof(c->key));
	memcpy(c->owner, s->owner, sizeof(c->owner));
	memcpy(c->name, s->name, sizeof(c->name));
	c->salt = s->salt;
	c->turns = s->turns;
	c->ttl_us = s->ttl_us;
	c->left_us = session_left(s, now_us);
	c->pinned = s->pinned;
}

/* The reverse. */
static void
remember(struct session *s, const struct session_copy *c, int64_t now_us,
    int64_t bytes)
{
	memcpy(s->owner, c->owner, sizeof(s->owner));
	memcpy(s->name, c->name, sizeof(s->name));
	s->salt = c->salt;
	s->turns = s->saved_turns = c->turns;
	s->ttl_us = c->ttl_us;
	s->used_us = now_us;
	s->snapshot_bytes = bytes;
	s->n_saved = c->n_tokens;
}

void
engine_session_know(struct engine *en, const struct session_copy *c,
    int64_t bytes)
{
	struct session *s;

	pthread_mutex_lock(&en->lock);
	if (sessions_find(&en->sessions, c->key) == NULL &&
	    (s = sessions_add(&en->sessions, c->key, engine_now(en))) != NULL) {
		remember(s, c, engine_now(en) - c->ttl_us + c->left_us, bytes);
		s->pinned = c->pinned && c->left_us > 0;
	}
	pthread_mutex_unlock(&en->lock);
}

/* c->kv is the chain of pages up to the last one, which is held. */
static int
hold_pages(struct engine *en, struct session_copy *c, int32_t page,
    struct err *e)
{
	const struct kv_node *nodes = en->scheduler.cache.tree.nodes;
	int32_t n = (c->n_tokens + KV_PAGE - 1) / KV_PAGE;

	c->kv = (struct kv_seq){ .room = n, .n_pages = n, .salt = c->salt,
		.pages = calloc((size_t)n, sizeof(*c->kv.pages)) };
	if (c->kv.pages == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory to copy a session");
	c->held = page;
	kv_cache_hold(&en->scheduler.cache, page);
	for (; page != KV_NONE; page = nodes[page].parent)
		c->kv.pages[--n] = page;
	return 0;
}

int
engine_session_copy(struct engine *en, const char *key,
    struct session_copy *c, struct err *e)
{
	struct session *s;
	int32_t page;
	int r = 0;

	*c = (struct session_copy){ .held = KV_NONE };
	pthread_mutex_lock(&en->lock);
	if ((s = sessions_find(&en->sessions, key)) == NULL) {
		r = err_set_param(e, ERR_SESSION, "session",
		    "there is no such session");
	} else if ((page = session_find_pages(en, s, &c->n_tokens)) == KV_NONE) {
		r = err_set_param(e, ERR_NOT_FOUND, "session",
		    "nothing of this session is in memory");
	} else {
		describe(s, engine_now(en), c);
		if ((r = hold_pages(en, c, page, e)) == 0) {
			c->said = s->said;
			c->said->refs++;
			s->n_holds++;
		}
	}
	pthread_mutex_unlock(&en->lock);
	return r;
}

bool
engine_session_copied(struct engine *en, struct session_copy *c, int64_t wrote)
{
	struct session *s;

	pthread_mutex_lock(&en->lock);
	kv_cache_drop(&en->scheduler.cache, c->held);
	transcript_unref(c->said);
	s = sessions_find(&en->sessions, c->key);
	if (s != NULL && s->n_holds > 0)
		s->n_holds--;
	if (s != NULL && wrote >= 0) {
		s->saved_turns = c->turns;
		s->snapshot_bytes = wrote;
		s->n_saved = c->n_tokens;
	}
	pthread_mutex_unlock(&en->lock);
	free(c->kv.pages);
	*c = (struct session_copy){ .held = KV_NONE };
	return s != NULL;
}

int
engine_session_room(struct engine *en, struct session_copy *c, struct err *e)
{
	struct kv_cache *cache = &en->scheduler.cache;
	int32_t n = (c->n_tokens + KV_PAGE - 1) / KV_PAGE;
	int r = 0;

	c->kv = (struct kv_seq){ .room = n, .salt = c->salt,
		.pages = calloc((size_t)n, sizeof(*c->kv.pages)) };
	if (c->kv.pages == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a session");
	pthread_mutex_lock(&en->lock);
	kv_cache_match(cache, &c->kv, c->said->ids.v, 0, c->n_tokens);
	/* Who runs needs a page more before long. */
	if (!cache->sharing)
		r = err_set(e, ERR_UNSUPPORTED, "pages are not kept");
	else if (!kv_cache_has(cache, &c->kv, c->n_tokens +
	    en->scheduler.n_running * KV_PAGE))
		r = err_set(e, ERR_BUSY, "%d tokens of a snapshot find no room in "
		    "the KV cache", (int)c->n_tokens);
	else
		kv_cache_grow(cache, &c->kv, c->n_tokens);
	if (r != 0)
		kv_cache_release(cache, &c->kv, c->said->ids.v,
		    c->kv.n_shared * KV_PAGE);
	pthread_mutex_unlock(&en->lock);
	if (r != 0) {
		free(c->kv.pages);
		c->kv = (struct kv_seq){ 0 };
	}
	return r;
}

/* The session is what *c says; its pages are in the tree. */
static bool
put(struct engine *en, struct session_copy *c, int64_t bytes)
{
	struct session *s = session_get(en, c->key);
	int64_t now = engine_now(en);

	if (s == NULL || s->turns > c->turns || s->n_jobs > 0)
		return false;
	remember(s, c, now, bytes);
	sessions_say(&en->sessions, s, c->said);
	c->said = NULL;
	s->resident = s->restored = true;
	s->pinned = s->pinned || (c->pinned && c->left_us > 0);
	if (s->pinned)
		session_pin(en, s, NULL);
	session_make_room(en, false);
	return true;
}

bool
engine_session_put(struct engine *en, struct session_copy *c, int64_t bytes,
    bool ok)
{
	struct kv_cache *cache = &en->scheduler.cache;

	pthread_mutex_lock(&en->lock);
	if (c->kv.pages != NULL)
		kv_cache_release(cache, &c->kv, c->said->ids.v, ok ?
		    c->n_tokens : c->kv.n_shared * KV_PAGE);
	ok = ok && put(en, c, bytes);
	transcript_unref(c->said);
	pthread_mutex_unlock(&en->lock);
	free(c->kv.pages);
	*c = (struct session_copy){ .held = KV_NONE };
	return ok;
}

bool
engine_session_is_pinned(struct engine *en, const char *key)
{
	const struct session *s;
	bool pinned;

	pthread_mutex_lock(&en->lock);
	s = sessions_find(&en->sessions, key);
	pinned = s != NULL && s->pinned;
	pthread_mutex_unlock(&en->lock);
	return pinned;
}

void
engine_session_unsaved(struct engine *en, const char *key)
{
	struct session *s;

	pthread_mutex_lock(&en->lock);
	if ((s = sessions_find(&en->sessions, key)) != NULL) {
		s->snapshot_bytes = 0;
		s->saved_turns = -1;
		if (s->said == NULL && s->n_jobs == 0 && s->n_holds == 0)
			session_forget(en, s);
	}
	pthread_mutex_unlock(&en->lock);
}

static bool
before(const struct session *a, const struct session *b)
{
	if (a->pinned != b->pinned)
		return a->pinned;
	return a->used_us != b->used_us ? a->used_us > b->used_us :
	    strcmp(a->key, b->key) < 0;
}

int
engine_session_unsaved_keys(struct engine *en,
    char (*keys)[DECODE_SESSION_LEN + 1], int max, int *n_pinned)
{
	const struct session *last = NULL;
	int n = 0;

	*n_pinned = 0;
	pthread_mutex_lock(&en->lock);
	for (; n < max; n++) {
		const struct session *next = NULL;

		for (int i = 0; i < en->sessions.n; i++) {
			const struct session *s = en->sessions.v[i];

			if (s->said != NULL && (s->snapshot_bytes == 0 ||
			    s->saved_turns != s->turns) &&
			    (last == NULL || before(last, s)) &&
			    (next == NULL || before(s, next)))
				next = s;
		}
		if (next == NULL)
			break;
		memcpy(keys[n], next->key, sizeof(next->key));
		*n_pinned += next->pinned;
		last = next;
	}
	pthread_mutex_unlock(&en->lock);
	return n;
}
