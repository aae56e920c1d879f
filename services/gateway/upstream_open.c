/*
 * Opening an upstream, and what it says about the worker: state, model.
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "upstream_state.h"

enum { AWAY_MIN_MS = 1000, AWAY_MAX_MS = 15000 };	/* Retry-After */

int
upstream_create(struct upstream **out, const struct upstream_config *c,
    struct err *e)
{
	struct upstream *u = calloc(1, sizeof(*u));
	pthread_condattr_t attr;
	pthread_t keeper;
	int r;

	if (u == NULL || (u->farewell = json_object()) == NULL) {
		free(u);
		return err_set(e, ERR_NO_MEMORY, "no memory for an upstream");
	}
	u->config = c;
	u->since_ms = u->away_ms = clock_ms();
	pthread_mutex_init(&u->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&u->keep, &attr);
	pthread_condattr_destroy(&attr);
	if (c->url == NULL && (r = upstream_open_sockets(u, c->dir, e)) != 0)
		return r;	/* u stays: sockets of it may be open */
	if (pthread_create(&keeper, NULL, keeper_main, u) != 0)
		return err_set(e, ERR_NO_MEMORY, "no thread for the upstream");
	pthread_detach(keeper);
	*out = u;
	return 0;
}

enum upstream_state
upstream_state_now(const struct upstream *u, int64_t now)
{
	if (u->client == NULL || u->event_ms == 0 ||
	    now - u->event_ms > UPSTREAM_DOWN_MS)
		return UPSTREAM_DOWN;
	/* A chat names a model, so it is needed to answer one; and that of the life
	 * before may have been another. */
	return u->ready && strcmp(u->model_boot, u->boot) == 0 ?
	    UPSTREAM_READY : UPSTREAM_LOADING;
}

bool
upstream_has_weights(const struct upstream *u, const struct upstream_request *q)
{
	return strcmp(u->model.fingerprint, q->fingerprint) == 0;
}

/* The worker is up and takes no requests. */
static const char *
why_not_ready(const struct upstream *u)
{
	if (strcmp(u->model_boot, u->boot) == 0 &&
	    strcmp(u->model.selfcheck, "failed") == 0)
		return "the model failed its self-check";
	return "the model is loading";
}

/* It takes as long as the last time; if it does not, half as long again as it
 * has. */
static int64_t
until_ready(const struct upstream *u, int64_t now)
{
	int64_t gone = u->away_ms == 0 ? 0 : now - u->away_ms;
	int64_t usual = u->outage_ms + u->outage_ms / 5;
	int64_t ms = gone < usual ? usual - gone : gone / 2;

	return ms < AWAY_MIN_MS ? AWAY_MIN_MS :
	    ms < AWAY_MAX_MS ? ms : AWAY_MAX_MS;
}

void
upstream_health(struct upstream *u, struct upstream_health *h)
{
	int64_t now = clock_ms();

	*h = (struct upstream_health){ 0 };
	pthread_mutex_lock(&u->lock);
	h->state = upstream_state_now(u, now);
	h->since_ms = h->state == u->state ? u->since_ms : now;
	memcpy(h->boot, u->boot, sizeof(h->boot));
	h->running = u->running;
	h->queued = u->queued;
	h->n_slots = u->n_slots > 0 ? u->n_slots : 1;
	h->load = u->running + u->queued;
	if (h->load < (int64_t)u->n_open)
		h->load = (int64_t)u->n_open;
	if (u->client == NULL && u->why[0] != '\0')
		memcpy(h->reason, u->why, sizeof(h->reason));
	else if (h->state == UPSTREAM_DOWN)
		strcpy(h->reason, "the decode worker does not answer");
	else if (h->state == UPSTREAM_LOADING)
		strcpy(h->reason, why_not_ready(u));
	h->retry_after_ms = until_ready(u, now);
	/* What runs goes on; what is new waits until it stays up. */
	if (h->state == UPSTREAM_READY && breaker_open(&u->breaker, now)) {
		h->state = UPSTREAM_LOADING;
		strcpy(h->reason, "the decode worker crashed often in the last "
		    "minute");
		h->retry_after_ms = BREAKER_UP_MS;
	}
	pthread_mutex_unlock(&u->lock);
}

int
upstream_ready(struct upstream *u, struct err *e)
{
	struct upstream_health h;

	upstream_health(u, &h);
	if (h.state == UPSTREAM_READY)
		return 0;
	err_set(e, h.state == UPSTREAM_LOADING ? ERR_LOADING : ERR_UNAVAILABLE,
	    "%s", h.reason);
	if (e != NULL)
		e->retry_after_ms = h.retry_after_ms;
	return h.state == UPSTREAM_LOADING ? ERR_LOADING : ERR_UNAVAILABLE;
}

int
upstream_model(struct upstream *u, struct upstream_model *m, struct err *e)
{
	int r;

	pthread_mutex_lock(&u->lock);
	*m = u->model;
	pthread_mutex_unlock(&u->lock);
	if (m->id[0] != '\0')
		return 0;
	if ((r = upstream_ready(u, e)) != 0)
		return r;
	r = err_set(e, ERR_LOADING, "the worker has not said yet which model "
	    "it serves");
	if (e != NULL)
		e->retry_after_ms = 1000;
	return r;
}

struct upstream_counters *
upstream_counters(struct upstream *u)
{
	return &u->counters;
}

const char *
upstream_name(const struct upstream *u)
{
	return u->config->name;
}
