/*
 * How long an answer lasts nobody knows.  One that has gone on for less than the
 * mean of lately will go on for the rest of that; one that is past it, for half
 * as long again as it has.  The n-th to be refused is told the n-th of those
 * ends, and a fifth more: who comes a little late is served, who comes a little
 * early waits.
 */
#include "places.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

static const double lately = 16, caution = 1.2;

void
places_init(struct places *p, int n_max)
{
	pthread_condattr_t attr;

	memset(p, 0, sizeof(*p));
	p->n_max = n_max < PLACES_MAX ? n_max : PLACES_MAX;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->freed, &attr);
	pthread_condattr_destroy(&attr);
}

int
places_used(struct places *p)
{
	int n;

	pthread_mutex_lock(&p->lock);
	n = p->n_used;
	pthread_mutex_unlock(&p->lock);
	return n;
}

static int
use(struct places *p, int64_t now_ms)
{
	int i = 0;

	while (p->since_ms[i] != 0)
		i++;
	p->since_ms[i] = now_ms > 0 ? now_ms : 1;
	p->n_used++;
	return i;
}

static int
by_time(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Milliseconds until the n-th from now on gets a place, if those before it get
 * theirs. */
static int64_t
until_free(struct places *p, int n, int64_t now_ms)
{
	double mean = p->lasts_ms > 0 ? p->lasts_ms : PLACES_FIRST_MS;
	double ms;

	for (int i = 0; i < p->n_max; i++) {
		double gone = (double)(now_ms - p->since_ms[i]);

		p->ends_ms[i] = p->since_ms[i] == 0 ? 0 :
		    (int64_t)(gone < mean ? mean - gone : gone / 2);
	}
	qsort(p->ends_ms, (size_t)p->n_max, sizeof(p->ends_ms[0]), by_time);
	/* Behind the last of them the next round begins. */
	ms = caution * ((double)p->ends_ms[(n - 1) % p->n_max] +
	    mean * ((n - 1) / p->n_max));
	return ms < PLACES_MIN_MS ? PLACES_MIN_MS : (int64_t)ms;
}

/* Places that those will want who were told to come now. */
static int
n_expected(struct places *p, int64_t now_ms)
{
	return p->n_waiting + promises_due(&p->told, now_ms);
}

/* Tell it when to come back, and expect it then. */
static int
refuse(struct places *p, uint64_t ticket, int64_t now_ms, int64_t *retry_ms)
{
	*retry_ms = until_free(p, p->told.n + p->n_waiting + 1, now_ms);
	promises_add(&p->told, ticket, now_ms + *retry_ms);
	return PLACES_NONE;
}

/* With the lock held. */
static int
try(struct places *p, uint64_t ticket, int64_t now_ms, int64_t *retry_ms)
{
	int n_free = p->n_max - p->n_used;
	bool expected = promises_came(&p->told, ticket, now_ms);

	if (n_free > (expected ? p->n_waiting : n_expected(p, now_ms)))
		return use(p, now_ms);
	if (expected && p->n_waiting < PLACES_WAITING_MAX)
		return PLACES_HOLD;
	return refuse(p, ticket, now_ms, retry_ms);
}

int
places_try(struct places *p, uint64_t ticket, int64_t now_ms,
    int64_t *retry_ms)
{
	int place;

	pthread_mutex_lock(&p->lock);
	place = try(p, ticket, now_ms, retry_ms);
	pthread_mutex_unlock(&p->lock);
	return place;
}

/* Sleep until a place is free or that time; the lock is let go meanwhile. */
static int64_t
sleep_until(struct places *p, int64_t until_ms)
{
	struct timespec t = { .tv_sec = until_ms / 1000,
		.tv_nsec = until_ms % 1000 * 1000000 };

	pthread_cond_timedwait(&p->freed, &p->lock, &t);
	return clock_ms();
}

/* For one that comes for the first time. */
static void
wait_briefly(struct places *p)
{
	int64_t now = clock_ms(), until = now + PLACES_BRIEF_MS;

	p->n_brief++;
	while (p->n_max - p->n_used <= n_expected(p, now) && now < until)
		now = sleep_until(p, until);
	p->n_brief--;
}

static int
hold(struct places *p, uint64_t ticket, int64_t *retry_ms)
{
	int64_t now = clock_ms(), until = now + PLACES_WAIT_MS;

	p->n_waiting++;
	while (p->n_used >= p->n_max && now < until)
		now = sleep_until(p, until);
	p->n_waiting--;
	return p->n_used < p->n_max ? use(p, now) :
	    refuse(p, ticket, now, retry_ms);
}

int
places_take(struct places *p, uint64_t ticket, int64_t *retry_ms)
{
	int64_t now = clock_ms();
	int place;

	pthread_mutex_lock(&p->lock);
	if (p->n_max - p->n_used <= n_expected(p, now) &&
	    p->n_brief < PLACES_WAITING_MAX &&
	    !promises_expects(&p->told, ticket, now))
		wait_briefly(p);
	place = try(p, ticket, clock_ms(), retry_ms);
	if (place == PLACES_HOLD)
		place = hold(p, ticket, retry_ms);
	pthread_mutex_unlock(&p->lock);
	return place;
}

bool
places_claim(struct places *p, int place, uint64_t session)
{
	bool other = false;

	pthread_mutex_lock(&p->lock);
	for (int i = 0; i < p->n_max; i++)
		other = other || p->session[i] == session;
	p->session[place] = session;
	pthread_mutex_unlock(&p->lock);
	return !other;
}

void
places_give(struct places *p, int place, bool ended, int64_t now_ms)
{
	double ms;

	pthread_mutex_lock(&p->lock);
	ms = (double)(now_ms - p->since_ms[place]);
	if (ended)
		p->lasts_ms += (ms - p->lasts_ms) /
		    (p->lasts_ms == 0 ? 1 : lately);
	p->since_ms[place] = 0;
	p->session[place] = 0;
	p->n_used--;
	pthread_cond_broadcast(&p->freed);	/* who is first: n_expected */
	pthread_mutex_unlock(&p->lock);
}

void
places_free(struct places *p, int place, bool ended)
{
	places_give(p, place, ended, clock_ms());
}
