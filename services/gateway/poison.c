#include "poison.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* What differs between a request and the same request sent again: a seed is
 * drawn for one that has none. */
static const char *const ignored[] = {
	"seed", "client", "cache_salt", "lease_ms", "session", "session_owner",
	"session_name", "session_ttl_ms", "session_busy", "request", "trace",
};

void
poison_init(struct poison *p)
{
	memset(p, 0, sizeof(*p));
	pthread_mutex_init(&p->lock, NULL);
	if (getrandom(p->key, sizeof(p->key), 0) != (ssize_t)sizeof(p->key))
		abort();	/* there is none on this system */
}

static int
add(const char *data, size_t n, void *arg)
{
	sha256_add(arg, data, n);
	return 0;
}

static void
hash(const struct poison *p, const json_t *generate,
    uint8_t out[SHA256_SIZE])
{
	json_t *v = json_copy((json_t *)generate);
	struct sha256 h;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		json_object_del(v, ignored[i]);
	sha256_init(&h);
	sha256_add(&h, p->key, sizeof(p->key));
	json_dump_callback(v, add, &h, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(v);
	sha256_finish(&h, out);
}

void
poison_add(struct poison *p, const json_t *generate, int64_t now_ms)
{
	uint8_t h[SHA256_SIZE];
	unsigned i;

	hash(p, generate, h);
	pthread_mutex_lock(&p->lock);
	i = p->n++ % POISON_MAX;
	memcpy(p->entries[i].hash, h, sizeof(h));
	p->entries[i].until_ms = now_ms + POISON_MS;
	pthread_mutex_unlock(&p->lock);
}

bool
poison_has(struct poison *p, const json_t *generate, int64_t now_ms)
{
	uint8_t h[SHA256_SIZE];
	bool has = false, any = false;

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < POISON_MAX && i < p->n && !any; i++)
		any = p->entries[i].until_ms > now_ms;
	pthread_mutex_unlock(&p->lock);
	if (!any)
		return false;	/* as nearly always: nothing to be hashed */
	hash(p, generate, h);
	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < POISON_MAX && i < p->n && !has; i++)
		has = p->entries[i].until_ms > now_ms &&
		    sha256_equal(p->entries[i].hash, h);
	pthread_mutex_unlock(&p->lock);
	return has;
}
