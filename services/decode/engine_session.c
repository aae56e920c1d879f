/*
 * Sessions in the engine: from the acceptance of a request to the end of its
 * turn, and the pins of their pages.  What is pinned is a chain of pages of the
 * tree; a turn makes it longer, so it is pinned again when the turn is over.
 */
#include <stdlib.h>
#include <string.h>

#include "engine_session.h"
#include "engine_state.h"
#include "engine_session_state.h"

static struct kv_cache *
cache_of(struct engine *en)
{
	return &en->scheduler.cache;
}

int32_t
session_find_pages(struct engine *en, const struct session *s, int32_t *n)
{
	*n = 0;
	if (s->said == NULL || !cache_of(en)->sharing)
		return KV_NONE;
	return kv_cache_find(cache_of(en), s->salt, s->said->ids.v,
	    (int32_t)s->said->ids.n, n);
}

void
session_let_go(struct engine *en, struct session *s)
{
	if (s->page != KV_NONE)
		kv_cache_unpin(cache_of(en), s->page);
	s->page = KV_NONE;
}

int
session_pin(struct engine *en, struct session *s, struct err *e)
{
	int32_t n, page = session_find_pages(en, s, &n), old = s->page;
	int r;

	session_let_go(en, s);
	if (page == KV_NONE)
		return 0;
	if ((r = kv_cache_pin(cache_of(en), page, e)) == 0) {
		s->page = page;
		return 0;
	}
	/* Nothing has changed since it was pinned. */
	if (old != KV_NONE && kv_cache_pin(cache_of(en), old, NULL) == 0)
		s->page = old;
	en->stats.pins_refused++;
	return r;
}

void
session_forget(struct engine *en, struct session *s)
{
	session_let_go(en, s);
	if (s->n_jobs > 0)
		for (int i = 0; i < en->n_jobs; i++)
			if (en->jobs[i]->session == s)
				en->jobs[i]->session = NULL;
	sessions_remove(&en->sessions, s);
}

/* Room for one more session, if more, and for what all of them say. */
void
session_make_room(struct engine *en, bool more)
{
	struct session *s;

	while (sessions_victim(&en->sessions, more, &s) && s != NULL)
		session_forget(en, s);
}

struct session *
session_get(struct engine *en, const char *key)
{
	struct session *s = sessions_find(&en->sessions, key);

	if (s == NULL) {
		session_make_room(en, true);
		s = sessions_add(&en->sessions, key, engine_now(en));
	}
	return s;
}

int
engine_session_peek(struct engine *en, const struct decode_generate *g,
    struct transcript **said, bool *want, struct err *e)
{
	struct session *s;
	int32_t n;
	int r = 0;

	*said = NULL;
	*want = false;
	if (!session_is_key(g->session))
		return err_set_param(e, ERR_RANGE, "session",
		    "session is not lower-case hex");
	if (g->session_busy[0] != '\0' && strcmp(g->session_busy, "fail") != 0)
		return err_set_param(e, ERR_RANGE, "session_busy",
		    "session_busy is neither empty nor 'fail'");
	pthread_mutex_lock(&en->lock);
	s = sessions_find(&en->sessions, g->session);
	if (s != NULL && s->n_jobs > 0 && g->session_busy[0] != '\0') {
		r = err_set_param(e, ERR_SESSION_BUSY, "session",
		    "a request of this session is not done");
	} else if (s == NULL) {
		*want = true;
	} else {
		if ((*said = s->said) != NULL)
			s->said->refs++;
		*want = s->n_jobs == 0 &&
		    session_find_pages(en, s, &n) == KV_NONE;
	}
	pthread_mutex_unlock(&en->lock);
	return r;
}

void
engine_session_done(struct engine *en, struct transcript *said)
{
	pthread_mutex_lock(&en->lock);
	transcript_unref(said);
	pthread_mutex_unlock(&en->lock);
}

/* What accepted says, and counts. */
static const char *
lookup(struct engine *en, struct session *s, const struct job *j, bool is_new,
    bool refused)
{
	int32_t n = 0;

	if (is_new && !refused) {
		en->stats.session_new++;
		return "new";
	}
	if (s->resident && session_find_pages(en, s, &n) == KV_NONE) {
		en->stats.session_evicted++;
		return "evicted";
	}
	if (j->n_known > 0 && s->restored) {
		s->restored = false;
		en->stats.session_restored++;
		return "restored";
	}
	if (j->n_known > 0 && !is_new) {
		en->stats.session_warm++;
		return "warm";
	}
	en->stats.session_cold++;
	return "cold";
}

void
engine_session_attach(struct engine *en, struct job *j,
    const struct decode_generate *g, bool refused)
{
	const struct kv_cache *c = cache_of(en);
	struct session *s = NULL;
	bool is_new;

	j->session_state = "";
	if (c->sharing && !j->kv.alone)
		j->n_known = kv_cache_known(c, j->kv.salt, j->tokens,
		    j->n_tokens - 1);
	if (j->n_known > j->n_prompt)
		j->n_known = j->n_prompt;
	if (g->session[0] == '\0' || j->finish != JOB_RUNS)
		return;
	s = sessions_find(&en->sessions, g->session);
	is_new = s == NULL;
	if (is_new && (s = session_get(en, g->session)) == NULL) {
		j->session_state = "new";	/* and not remembered */
		return;
	}
	j->session = s;
	j->session_state = lookup(en, s, j, is_new, refused);
	en->stats.session_kept_tokens += j->n_kept;
	s->n_jobs++;
	s->used_us = engine_now(en);
	if (g->session_ttl_ms > 0)
		s->ttl_us = g->session_ttl_ms * 1000;
	memcpy(s->owner, g->session_owner, strlen(g->session_owner) + 1);
	memcpy(s->name, g->session_name, strlen(g->session_name) + 1);
}

/* What j said is what its session says now. */
static void
take_turn(struct engine *en, struct session *s, struct job *j)
{
	int32_t n;

	if (!transcript_answer(j->prompt, j->tokens + j->n_prompt,
	    (size_t)job_n_generated(j), en->c.job.tokenizer))
		return;		/* no memory: what it said before stands */
	sessions_say(&en->sessions, s, j->prompt);
	j->prompt = NULL;
	s->salt = j->kv.salt;
	s->turns++;
	s->restored = false;
	if (session_find_pages(en, s, &n) != KV_NONE)
		s->resident = true;
	if (s->pinned)
		session_pin(en, s, NULL);
	session_make_room(en, false);
}

void
engine_session_leave(struct engine *en, struct job *j)
{
	struct session *s = j->session;

	if (s == NULL)
		return;
	j->session = NULL;
	s->n_jobs--;
	if (s->active == j)
		s->active = NULL;
	s->used_us = engine_now(en);
}

void
engine_session_turn(struct engine *en, struct job *j)
{
	struct session *s = j->session;

	engine_session_leave(en, j);
	if (s == NULL || j->rank == 0 || j->prompt == NULL)
		return;
	s->n_holds++;		/* not to be the one that makes room */
	take_turn(en, s, j);
	s->n_holds--;
	if (s->pinned && en->c.on_turn != NULL)
		en->c.on_turn(en->c.arg, s->key);
}

void
engine_session_expire(struct engine *en, int64_t now_us)
{
	struct session *s;

	if (now_us < en->expire_us)
		return;
	en->expire_us = now_us + 1000000;
	while ((s = sessions_expired(&en->sessions, now_us)) != NULL) {
		en->stats.session_expired++;
		if (s->snapshot_bytes == 0) {
			session_forget(en, s);
			continue;
		}
		/* The snapshot stands for it. */
		session_let_go(en, s);
		s->pinned = s->resident = false;
		sessions_say(&en->sessions, s, NULL);
	}
}
