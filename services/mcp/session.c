#include <string.h>

#include "clock.h"
#include "session.h"

void
sessions_init(struct sessions *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
}

static bool
is_live(const struct session *x, int64_t now)
{
	return x->id[0] != '\0' && now - x->used_ms < SESSION_IDLE_MS;
}

/* s->lock is held. */
static struct session *
find(struct sessions *s, const char *id)
{
	int64_t now = clock_ms();

	for (int i = 0; i < SESSIONS_MAX; i++)
		if (is_live(&s->all[i], now) && strcmp(s->all[i].id, id) == 0)
			return &s->all[i];
	return NULL;
}

void
sessions_begin(struct sessions *s, char id[SESSION_ID_LEN + 1])
{
	int64_t now = clock_ms();
	struct session *x = &s->all[0];

	random_hex(id, SESSION_ID_LEN / 2);
	pthread_mutex_lock(&s->lock);
	for (int i = 0; i < SESSIONS_MAX && is_live(x, now); i++)
		if (!is_live(&s->all[i], now) ||
		    s->all[i].used_ms < x->used_ms)
			x = &s->all[i];
	memcpy(x->id, id, sizeof(x->id));
	x->used_ms = now;
	pthread_mutex_unlock(&s->lock);
}

bool
sessions_use(struct sessions *s, const char *id)
{
	struct session *x;

	pthread_mutex_lock(&s->lock);
	if ((x = find(s, id)) != NULL)
		x->used_ms = clock_ms();
	pthread_mutex_unlock(&s->lock);
	return x != NULL;
}

bool
sessions_end(struct sessions *s, const char *id)
{
	struct session *x;

	pthread_mutex_lock(&s->lock);
	if ((x = find(s, id)) != NULL)
		x->id[0] = '\0';
	pthread_mutex_unlock(&s->lock);
	return x != NULL;
}

int
sessions_count(struct sessions *s)
{
	int64_t now = clock_ms();
	int n = 0;

	pthread_mutex_lock(&s->lock);
	for (int i = 0; i < SESSIONS_MAX; i++)
		n += is_live(&s->all[i], now);
	pthread_mutex_unlock(&s->lock);
	return n;
}
