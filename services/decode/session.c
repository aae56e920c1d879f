#include <stdlib.h>
#include <string.h>

#include "session.h"

int
sessions_init(struct sessions *t, int max, size_t bytes_max, int64_t ttl_us,
    struct err *e)
{
	*t = (struct sessions){ .max = max, .bytes_max = bytes_max,
		.ttl_us = ttl_us };
	if (max > 0 && (t->v = calloc((size_t)max, sizeof(*t->v))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for %d sessions",
		    max);
	return 0;
}

void
sessions_finish(struct sessions *t)
{
	while (t->n > 0)
		sessions_remove(t, t->v[t->n - 1]);
	free(t->v);
	*t = (struct sessions){ 0 };
}

bool
session_is_key(const char *text)
{
	size_t n = strspn(text, "0123456789abcdef");

	return n > 0 && n <= DECODE_SESSION_LEN && text[n] == '\0';
}

int
sessions_after(const struct sessions *t, const char *key)
{
	int low = 0, high = t->n;

	while (low < high) {
		int mid = low + (high - low) / 2;

		if (strcmp(t->v[mid]->key, key) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct session *
sessions_find(const struct sessions *t, const char *key)
{
	int i = sessions_after(t, key);

	return i > 0 && strcmp(t->v[i - 1]->key, key) == 0 ? t->v[i - 1] : NULL;
}

struct session *
sessions_add(struct sessions *t, const char *key, int64_t now_us)
{
	int i = sessions_after(t, key);
	struct session *s;

	if (t->n >= t->max || (s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	memcpy(s->key, key, strlen(key) + 1);
	s->used_us = now_us;
	s->ttl_us = t->ttl_us;
	s->page = -1;
	memmove(t->v + i + 1, t->v + i, (size_t)(t->n - i) * sizeof(*t->v));
	t->v[i] = s;
	t->n++;
	return s;
}

void
transcript_unref(struct transcript *tr)
{
	if (tr != NULL && tr->refs-- == 0)
		transcript_free(tr);
}

void
sessions_say(struct sessions *t, struct session *s, struct transcript *said)
{
	if (s->said != NULL)
		t->bytes -= transcript_bytes(s->said);
	transcript_unref(s->said);
	s->said = said;
	if (said != NULL)
		t->bytes += transcript_bytes(said);
}

void
sessions_remove(struct sessions *t, struct session *s)
{
	int i = sessions_after(t, s->key) - 1;

	sessions_say(t, s, NULL);
	memmove(t->v + i, t->v + i + 1, (size_t)(t->n - i - 1) * sizeof(*t->v));
	t->n--;
	free(s);
}

static bool
is_idle(const struct session *s)
{
	return s->n_jobs == 0 && s->n_holds == 0;
}

bool
sessions_victim(const struct sessions *t, bool more, struct session **s)
{
	*s = NULL;
	if (t->n + more <= t->max && t->bytes <= t->bytes_max)
		return false;
	for (int i = 0; i < t->n; i++)
		if (is_idle(t->v[i]) && !t->v[i]->pinned &&
		    (*s == NULL || t->v[i]->used_us < (*s)->used_us))
			*s = t->v[i];
	return true;
}

int64_t
session_left(const struct session *s, int64_t now_us)
{
	int64_t left = s->used_us + s->ttl_us - now_us;

	return left > 0 ? left : 0;
}

struct session *
sessions_expired(const struct sessions *t, int64_t now_us)
{
	for (int i = 0; i < t->n; i++)
		if (is_idle(t->v[i]) && session_left(t->v[i], now_us) == 0 &&
		    (t->v[i]->said != NULL || t->v[i]->pinned ||
		    t->v[i]->snapshot_bytes == 0))
			return t->v[i];
	return NULL;
}
