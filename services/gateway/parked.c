#include "parked.h"

#include <stdlib.h>
#include <string.h>

void
parked_init(struct parked *p, int64_t window_ms, size_t bytes_max)
{
	*p = (struct parked){ .window_ms = window_ms, .bytes_max = bytes_max };
	p->last = &p->oldest;
	pthread_mutex_init(&p->lock, NULL);
}

void
parked_free(struct parked_stream *s)
{
	if (s == NULL)
		return;
	free(s->generate);
	free(s->tokens);
	free(s->text);
	free(s);
}

/* With the lock held: take *at out of the list. */
static struct parked_stream *
unlink_at(struct parked *p, struct parked_stream **at)
{
	struct parked_stream *s = *at;

	*at = s->next;
	if (p->last == &s->next)
		p->last = at;
	s->next = NULL;
	p->bytes -= s->bytes;
	p->n--;
	return s;
}

/* With the lock held: the oldest come first. */
static void
expire(struct parked *p, int64_t now_ms)
{
	while (p->oldest != NULL &&
	    (now_ms - p->oldest->kept_ms >= p->window_ms ||
	    p->bytes > p->bytes_max || p->n > PARKED_MAX))
		parked_free(unlink_at(p, &p->oldest));
}

static bool
is_of(const struct parked_stream *s, const char *id, const char *owner)
{
	return strcmp(s->a.id, id) == 0 && strcmp(s->owner, owner) == 0;
}

static struct parked_stream *
take(struct parked *p, const char *id, int index, const char *owner)
{
	struct parked_stream **at = &p->oldest;

	while (*at != NULL && (!is_of(*at, id, owner) ||
	    (index >= 0 && (*at)->index != index)))
		at = &(*at)->next;
	return *at == NULL ? NULL : unlink_at(p, at);
}

static size_t
length(const char *s)
{
	return s == NULL ? 0 : strlen(s) + 1;
}

void
parked_put(struct parked *p, struct parked_stream *s, int64_t now_ms)
{
	s->kept_ms = now_ms;
	s->bytes = sizeof(*s) + length(s->generate) + length(s->tokens) +
	    s->n_text;
	pthread_mutex_lock(&p->lock);
	parked_free(take(p, s->a.id, s->index, s->owner));
	*p->last = s;
	p->last = &s->next;
	p->bytes += s->bytes;
	p->n++;
	expire(p, now_ms);
	pthread_mutex_unlock(&p->lock);
}

/* With the lock held. */
static void
list(struct parked *p, struct parked_running *r)
{
	r->next = p->running;
	p->running = r;
}

struct parked_stream *
parked_take(struct parked *p, const char *id, int index, const char *owner,
    int64_t now_ms, struct parked_running *r)
{
	struct parked_stream *s;

	pthread_mutex_lock(&p->lock);
	expire(p, now_ms);
	if ((s = take(p, id, index, owner)) != NULL && r != NULL)
		list(p, r);
	pthread_mutex_unlock(&p->lock);
	return s;
}

bool
parked_drop(struct parked *p, const char *id, const char *owner)
{
	struct parked_stream *s;
	bool any = false;

	pthread_mutex_lock(&p->lock);
	while ((s = take(p, id, -1, owner)) != NULL) {
		parked_free(s);
		any = true;
	}
	pthread_mutex_unlock(&p->lock);
	return any;
}

void
parked_expire(struct parked *p, int64_t now_ms)
{
	pthread_mutex_lock(&p->lock);
	expire(p, now_ms);
	pthread_mutex_unlock(&p->lock);
}

void
parked_begin(struct parked *p, struct parked_running *r)
{
	pthread_mutex_lock(&p->lock);
	list(p, r);
	pthread_mutex_unlock(&p->lock);
}

void
parked_end(struct parked *p, struct parked_running *r)
{
	struct parked_running **at = &p->running;

	pthread_mutex_lock(&p->lock);
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	pthread_mutex_unlock(&p->lock);
}

bool
parked_want(struct parked *p, const char *id, int index, const char *owner)
{
	struct parked_running *r;

	pthread_mutex_lock(&p->lock);
	r = p->running;
	while (r != NULL && (strcmp(r->id, id) != 0 ||
	    (index >= 0 && r->index >= 0 && r->index != index) ||
	    strcmp(r->owner, owner) != 0))
		r = r->next;
	if (r != NULL && r->let_go != NULL)
		r->let_go(r->arg);
	pthread_mutex_unlock(&p->lock);
	return r != NULL;
}
