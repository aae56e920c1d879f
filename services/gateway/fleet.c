/*
 * Which worker.  A new session goes where rendezvous hashing of its key and the
 * workers' names puts it, so that a gateway that is started again finds it
 * there; one that had to go elsewhere is remembered.  Anything else goes to the
 * replica with the least to do for its slots, counting also what was sent since
 * the worker's last status.
 */
#include "fleet.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4, SETS = FLEET_SESSIONS_MAX / WAYS };

struct seat {
	uint64_t key;		/* hash of a session's; 0: free */
	uint64_t used;		/* when, of n_seatings */
	int worker;
};

struct fleet {
	int n;
	struct upstream *u[FLEET_MAX];
	struct upstream_config config[FLEET_MAX];
	struct poison poison;	/* has its own */
	pthread_mutex_t lock;	/* guards what follows */
	struct seat seats[SETS][WAYS];
	uint64_t n_seatings;
	unsigned turn;		/* among equals */
};

const char *
fleet_is_directory(const char *name)
{
	if (strncmp(name, "unix:", 5) == 0)
		return name + 5;
	return name[0] == '/' || name[0] == '.' ? name : NULL;
}

/* upstream_config's: the one with the least to do for its slots. */
static struct upstream *
replica(void *arg, const struct upstream *own, const char *fingerprint)
{
	struct fleet *f = arg;
	struct upstream_model is;
	struct upstream_health h;
	struct upstream *best = NULL;
	int64_t load = 0, n_slots = 1;

	for (int i = 0; i < f->n; i++) {
		upstream_health(f->u[i], &h);
		if (f->u[i] == own || h.state != UPSTREAM_READY ||
		    upstream_model(f->u[i], &is, NULL) != 0 ||
		    strcmp(is.fingerprint, fingerprint) != 0)
			continue;
		if (best == NULL || h.load * n_slots < load * h.n_slots) {
			best = f->u[i];
			load = h.load;
			n_slots = h.n_slots;
		}
	}
	return best;
}

int
fleet_create(struct fleet **out, const struct fleet_config *c, struct err *e)
{
	size_t n = json_array_size(c->upstreams);
	struct fleet *f = calloc(1, sizeof(*f));
	int r;

	if (f == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the workers");
	pthread_mutex_init(&f->lock, NULL);
	poison_init(&f->poison);
	f->n = n == 0 ? 1 : n < FLEET_MAX ? (int)n : FLEET_MAX;
	for (int i = 0; i < f->n; i++) {
		const char *name = n == 0 ? NULL : json_string_value(
		    json_array_get(c->upstreams, (size_t)i));
		const char *dir = n == 0 ? c->dir : fleet_is_directory(name);

		f->config[i] = (struct upstream_config){
			.name = n == 0 ? c->dir : name, .dir = dir,
			.url = dir == NULL ? name : NULL,
			.request_ms = c->request_ms, .resume_ms = c->resume_ms,
			.poison = &f->poison,
			.replica = f->n > 1 ? replica : NULL, .arg = f,
		};
		if ((r = upstream_create(&f->u[i], &f->config[i], e)) != 0)
			return r;	/* f stays: sockets may be open */
	}
	*out = f;
	return 0;
}

int
fleet_size(const struct fleet *f)
{
	return f->n;
}

struct upstream *
fleet_at(const struct fleet *f, int i)
{
	return f->u[i];
}

void
fleet_health(struct fleet *f, struct upstream_health *h)
{
	struct upstream_health one;

	upstream_health(f->u[0], h);
	for (int i = 1; i < f->n; i++) {
		upstream_health(f->u[i], &one);
		if (one.state > h->state)
			*h = one;
	}
}

void
fleet_counters(const struct fleet *f, struct upstream_counts *sum)
{
	*sum = (struct upstream_counts){ 0 };
	for (int i = 0; i < f->n; i++) {
		struct upstream_counters *c = upstream_counters(f->u[i]);

#define ADD(name, doc) sum->name += c->name;
		UPSTREAM_COUNTERS(ADD)
#undef ADD
	}
}

/* Those who serve model, a bit each; *silent: one that has not said what it
 * serves, or -1. */
static unsigned
serving(struct fleet *f, const char *model, int *silent)
{
	struct upstream_model m;
	unsigned set = 0;

	*silent = -1;
	for (int i = 0; i < f->n; i++) {
		if (upstream_model(f->u[i], &m, NULL) != 0)
			*silent = *silent < 0 ? i : *silent;
		else if (model == NULL || strcmp(m.id, model) == 0)
			set |= 1u << i;
	}
	return set;
}

/* There is no such model: which ones there are. */
static int
no_model(struct fleet *f, const char *model, struct err *e)
{
	struct upstream_model m;
	char names[160] = "";

	for (int i = 0; i < f->n; i++) {
		size_t len = strlen(names);

		if (upstream_model(f->u[i], &m, NULL) == 0 &&
		    strstr(names, m.id) == NULL)
			snprintf(names + len, sizeof(names) - len, "%s'%.100s'",
			    len > 0 ? ", " : "", m.id);
	}
	return err_set_param(e, ERR_MODEL, "model",
	    "there is no model '%.100s' here: it is %s", model, names);
}

static int
candidates(struct fleet *f, const char *model, unsigned *set, struct err *e)
{
	struct upstream_model m;
	int silent;

	*set = serving(f, model, &silent);
	if (*set != 0)
		return 0;
	if (silent >= 0)
		return upstream_model(f->u[silent], &m, e) != 0 ? (int)e->code :
		    err_set(e, ERR_LOADING, "the model is loading");
	return no_model(f, model, e);
}

int
fleet_model(struct fleet *f, const char *id, struct upstream_model *m,
    struct err *e)
{
	unsigned set;
	int r;

	if ((r = candidates(f, id, &set, e)) != 0)
		return r;
	return upstream_model(f->u[__builtin_ctz(set)], m, e);
}

/* FNV-1a with a finish that spreads: two strings, one after the other. */
static uint64_t
hash(const char *a, const char *b)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *a != '\0'; a++)
		h = (h ^ (unsigned char)*a) * 0x100000001b3u;
	for (h *= 0x100000001b3u; *b != '\0'; b++)
		h = (h ^ (unsigned char)*b) * 0x100000001b3u;
	h ^= h >> 31;
	h *= 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

/* The session's seat, or the one in its set that was used longest ago. */
static struct seat *
seat_of(struct fleet *f, uint64_t key)
{
	struct seat *set = f->seats[key % SETS], *oldest = set;

	for (int i = 0; i < WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
		if (set[i].used < oldest->used)
			oldest = &set[i];
	}
	return oldest;
}

static int
for_session(struct fleet *f, unsigned ready, const char *session)
{
	uint64_t key = hash(session, "") | 1, best = 0;
	struct seat *s;
	int w = -1;

	pthread_mutex_lock(&f->lock);
	s = seat_of(f, key);
	if (s->key == key && (ready >> s->worker & 1) != 0)
		w = s->worker;
	for (int i = 0; w < 0 && i < f->n; i++) {
		uint64_t h = hash(session, f->config[i].name);

		if ((ready >> i & 1) != 0 && h >= best)
			best = h;
	}
	for (int i = 0; w < 0 && i < f->n; i++)
		if ((ready >> i & 1) != 0 &&
		    hash(session, f->config[i].name) == best)
			w = i;
	*s = (struct seat){ .key = key, .used = ++f->n_seatings, .worker = w };
	pthread_mutex_unlock(&f->lock);
	return w;
}

void
fleet_seat(struct fleet *f, const char *session, const struct upstream *u)
{
	uint64_t key = hash(session, "") | 1;
	int w = 0;

	while (w < f->n - 1 && f->u[w] != u)
		w++;
	pthread_mutex_lock(&f->lock);
	*seat_of(f, key) = (struct seat){ .key = key,
		.used = ++f->n_seatings, .worker = w };
	pthread_mutex_unlock(&f->lock);
}

/* The least to do for its slots. */
static int
for_load(struct fleet *f, unsigned ready, const struct upstream_health *h)
{
	int best = -1, at;

	pthread_mutex_lock(&f->lock);
	at = (int)(f->turn++ % (unsigned)f->n);
	pthread_mutex_unlock(&f->lock);
	for (int k = 0; k < f->n; k++) {
		int i = (at + k) % f->n;

		if ((ready >> i & 1) != 0 && (best < 0 ||
		    h[i].load * h[best].n_slots < h[best].load * h[i].n_slots))
			best = i;
	}
	return best;
}

/* Of the workers in set, or -1 with *e. */
static int
choose(struct fleet *f, unsigned set, const char *session, struct err *e)
{
	struct upstream_health h[FLEET_MAX];
	unsigned ready = 0;
	int best = -1;

	for (int i = 0; i < f->n; i++) {
		if ((set >> i & 1) == 0)
			continue;
		upstream_health(f->u[i], &h[i]);
		if (h[i].state == UPSTREAM_READY)
			ready |= 1u << i;
		if (best < 0 || h[i].state > h[best].state)
			best = i;
	}
	if (ready == 0) {
		if (upstream_ready(f->u[best], e) == 0)
			return best;	/* just now */
		return -1;
	}
	/* A session is remembered also where it had no choice: it stays there. */
	if (f->n == 1 || (session[0] == '\0' && (ready & (ready - 1)) == 0))
		return __builtin_ctz(ready);
	return session[0] != '\0' ? for_session(f, ready, session) :
	    for_load(f, ready, h);
}

struct upstream *
fleet_pick(struct fleet *f, const char *model, const char *session,
    struct err *e)
{
	unsigned set;
	int i;

	if (candidates(f, model, &set, e) != 0 ||
	    (i = choose(f, set, session, e)) < 0)
		return NULL;
	return f->u[i];
}

static bool
may_pass_over(int code)
{
	return code == ERR_BUSY || code == ERR_UNAVAILABLE ||
	    code == ERR_LOADING || code == ERR_DRAINING;
}

int
fleet_submit(struct fleet *f, const char *model, const char *session,
    json_t *generate, struct upstream_request **q, struct err *e)
{
	return fleet_go_on(f, model, session, generate, NULL, q, e);
}

int
fleet_go_on(struct fleet *f, const char *model, const char *session,
    json_t *generate, const struct upstream_begun *begun,
    struct upstream_request **q, struct err *e)
{
	struct err why;
	unsigned set;
	int i, r;

	if ((r = candidates(f, model, &set, e)) != 0)
		return r;
	if ((i = choose(f, set, session, e)) < 0)
		return (int)e->code;
	r = upstream_go_on(f->u[i], generate, begun, q, e);
	while (may_pass_over(r)) {
		set &= ~(1u << i);
		if (set == 0 || (i = choose(f, set, session, &why)) < 0)
			break;	/* the first one's reason */
		r = upstream_go_on(f->u[i], generate, begun, q, &why);
		if (r != 0 && !may_pass_over(r))
			*e = why;
		else if (r != 0)
			r = (int)e->code;
	}
	return r;
}
