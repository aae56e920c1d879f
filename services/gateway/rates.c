/*
 * Levels are computed when somebody looks: what has flowed in since, up to a
 * minute's worth.  A level below zero is what is kept for others, or tokens that
 * an answer took beyond its estimate.
 */
#include "rates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double minute_ms = 60000;
/* Of a request or token, that nobody has to wait for. */
static const double rounding = 1e-4;

int
rates_create(struct rates **out, struct err *e)
{
	struct rates *l = calloc(1, sizeof(*l));

	if (l != NULL) {
		l->owners = calloc(RATES_OWNERS_MAX, sizeof(*l->owners));
		l->kept = calloc(RATES_KEPT_MAX, sizeof(*l->kept));
	}
	if (l == NULL || l->owners == NULL || l->kept == NULL) {
		rates_destroy(l);
		return err_set(e, ERR_NO_MEMORY, "no memory for the limits");
	}
	pthread_mutex_init(&l->lock, NULL);
	*out = l;
	return 0;
}

void
rates_destroy(struct rates *l)
{
	if (l == NULL)
		return;
	free(l->owners);
	free(l->kept);
	free(l);
}

static double
filled(double level, int64_t a_minute, int64_t ms)
{
	return fmin((double)a_minute,
	    level + (double)a_minute * (double)ms / minute_ms);
}

/* Bring o's levels to now, under the limits of w. */
static void
refresh(struct rates_owner *o, const struct rates_want *w, int64_t now_ms)
{
	int64_t ms = now_ms > o->at_ms ? now_ms - o->at_ms : 0;

	/* A limit that is new begins with a full bucket. */
	if (o->rpm == 0)
		o->requests = (double)w->rpm;
	if (o->tpm == 0)
		o->tokens = (double)w->tpm;
	o->requests = filled(o->requests, w->rpm, ms);
	o->tokens = filled(o->tokens, w->tpm, ms);
	o->rpm = w->rpm;
	o->tpm = w->tpm;
	o->at_ms = now_ms;
}

static struct rates_owner *
set_of(struct rates *l, const uint8_t id[SHA256_SIZE])
{
	uint64_t h;

	memcpy(&h, id, sizeof(h));	/* a digest: any bytes of it will do */
	return l->owners + h % (RATES_OWNERS_MAX / RATES_WAYS) * RATES_WAYS;
}

/* NULL if it is not there. */
static struct rates_owner *
lookup(struct rates *l, const struct rates_want *w, int64_t now_ms)
{
	struct rates_owner *o = set_of(l, w->id);

	for (int i = 0; i < RATES_WAYS; i++, o++)
		if (o->used && memcmp(o->id, w->id, SHA256_SIZE) == 0) {
			refresh(o, w, now_ms);
			return o;
		}
	return NULL;
}

/* NULL if room is kept for others in all of its set. */
static struct rates_owner *
find(struct rates *l, const struct rates_want *w, int64_t now_ms)
{
	struct rates_owner *o = lookup(l, w, now_ms), *set, *oldest = NULL;

	if (o != NULL)
		return o;
	set = set_of(l, w->id);
	for (o = set; o < set + RATES_WAYS; o++)
		if (o->n_kept == 0 && (oldest == NULL || (oldest->used &&
		    (!o->used || o->at_ms < oldest->at_ms))))
			oldest = o;
	if (oldest == NULL)
		return NULL;
	*oldest = (struct rates_owner){ .used = true };
	memcpy(oldest->id, w->id, SHA256_SIZE);
	refresh(oldest, w, now_ms);
	return oldest;
}

/* Tokens that count against w: a request may be larger than a bucket. */
static double
need(const struct rates_want *w, int64_t n_tokens)
{
	return (double)(n_tokens < w->tpm ? n_tokens : w->tpm);
}

static double
wait_ms(double level, double wanted, int64_t a_minute)
{
	return a_minute == 0 || level >= wanted - rounding ? 0 :
	    (wanted - level) * minute_ms / (double)a_minute;
}

/* Until o has a request and these tokens. */
static int64_t
until_room(const struct rates_owner *o, double tokens)
{
	double ms = fmax(wait_ms(o->requests, 1, o->rpm),
	    wait_ms(o->tokens, tokens, o->tpm));

	return ms == 0 ? 0 : (int64_t)fmax(1, ceil(ms - 1e-3));
}

static void
charge(struct rates_owner *o, double requests, double tokens)
{
	o->requests = fmin(o->requests - requests, (double)o->rpm);
	o->tokens = fmin(o->tokens - tokens, (double)o->tpm);
}

/* Not taken: given back.  Taken: what was kept has served its purpose. */
static void
release(struct rates *l, struct rates_kept *k, bool taken, int64_t now_ms)
{
	for (int i = 0; i < k->n; i++) {
		struct rates_owner *o = lookup(l, &k->wants[i], now_ms);

		if (o == NULL)
			continue;
		o->n_kept--;
		o->distrust_ms = taken ? 0 : now_ms + RATES_DISTRUST_MS;
		if (!taken)
			charge(o, -1, -k->tokens[i]);
	}
	k->n = 0;
	l->n_kept--;
}

static void
expire(struct rates *l, int64_t now_ms)
{
	for (int i = 0; i < RATES_KEPT_MAX && l->n_kept > 0; i++)
		if (l->kept[i].n > 0 &&
		    now_ms > l->kept[i].due_ms + RATES_GRACE_MS)
			release(l, &l->kept[i], false, now_ms);
}

/* What is kept for this ticket and due.  What is not due yet is another's: a
 * request may be sent twice at once. */
static struct rates_kept *
find_kept(struct rates *l, const struct rates_want *wants, int n,
    uint64_t ticket, int64_t now_ms)
{
	for (int i = 0; i < RATES_KEPT_MAX && l->n_kept > 0; i++) {
		struct rates_kept *k = &l->kept[i];

		if (k->n == n && k->ticket == ticket && k->due_ms <= now_ms &&
		    memcmp(k->wants[0].id, wants[0].id, SHA256_SIZE) == 0)
			return k;
	}
	return NULL;
}

static void
keep(struct rates *l, const struct rates_want *wants, int n,
    struct rates_owner *const *owners, int64_t n_tokens, uint64_t ticket,
    int64_t now_ms, int64_t wait)
{
	struct rates_kept *k = NULL;

	if (wait > RATES_WAIT_MS || l->n_kept == RATES_KEPT_MAX)
		return;
	for (int i = 0; i < n; i++)
		if (owners[i]->distrust_ms > now_ms)
			return;
	for (k = l->kept; k->n > 0; k++)
		;
	*k = (struct rates_kept){ .ticket = ticket, .n = n,
		.due_ms = now_ms + wait };
	for (int i = 0; i < n; i++) {
		k->wants[i] = wants[i];
		k->tokens[i] = need(&wants[i], n_tokens);
		charge(owners[i], 1, k->tokens[i]);
		owners[i]->n_kept++;
	}
	l->n_kept++;
}

static int64_t
take(struct rates *l, const struct rates_want *wants, int n,
    int64_t n_tokens, uint64_t ticket, int64_t now_ms)
{
	struct rates_owner *owners[RATES_WANTS_MAX];
	struct rates_kept *k;
	int64_t wait = 0, more;
	int n_found = 0;

	expire(l, now_ms);
	if ((k = find_kept(l, wants, n, ticket, now_ms)) != NULL) {
		release(l, k, true, now_ms);
		return 0;
	}
	for (; n_found < n; n_found++) {
		struct rates_owner *o = find(l, &wants[n_found], now_ms);

		if (o == NULL)
			break;
		owners[n_found] = o;
		o->n_kept++;	/* not to be forgotten for the next */
		more = until_room(o, need(&wants[n_found], n_tokens));
		wait = more > wait ? more : wait;
	}
	for (int i = 0; i < n_found; i++)
		owners[i]->n_kept--;
	if (n_found < n)
		return RATES_GRACE_MS;	/* then something is given back */
	if (wait > 0)
		keep(l, wants, n, owners, n_tokens, ticket, now_ms, wait);
	for (int i = 0; i < n && wait == 0; i++)
		charge(owners[i], 1, need(&wants[i], n_tokens));
	return wait;
}

int64_t
rates_take(struct rates *l, const struct rates_want *wants, int n,
    int64_t n_tokens, uint64_t ticket, int64_t now_ms)
{
	int64_t wait;

	if (n == 0)
		return 0;
	pthread_mutex_lock(&l->lock);
	wait = take(l, wants, n, n_tokens, ticket, now_ms);
	pthread_mutex_unlock(&l->lock);
	return wait;
}

/* Charge all wants as many tokens more, or fewer; one who was forgotten in
 * between owes nothing. */
static void
charge_all(struct rates *l, const struct rates_want *wants, int n,
    double requests, int64_t before, int64_t after, int64_t now_ms)
{
	struct rates_owner *o;

	pthread_mutex_lock(&l->lock);
	for (int i = 0; i < n; i++)
		if ((o = lookup(l, &wants[i], now_ms)) != NULL)
			charge(o, requests, (double)after -
			    need(&wants[i], before));
	pthread_mutex_unlock(&l->lock);
}

void
rates_correct(struct rates *l, const struct rates_want *wants, int n,
    int64_t estimated, int64_t n_tokens, int64_t now_ms)
{
	charge_all(l, wants, n, 0, estimated, n_tokens, now_ms);
}

void
rates_give_back(struct rates *l, const struct rates_want *wants, int n,
    int64_t n_tokens, int64_t now_ms)
{
	charge_all(l, wants, n, -1, n_tokens, 0, now_ms);
}

static void
look(struct rates_state *s, double level, int64_t a_minute)
{
	*s = (struct rates_state){ .limit = a_minute };
	if (a_minute == 0)
		return;
	s->remaining = level < 0 ? 0 : (int64_t)level;
	s->reset_ms = (int64_t)ceil(wait_ms(level, (double)a_minute, a_minute));
}

void
rates_look(struct rates *l, const struct rates_want *w, int64_t now_ms,
    struct rates_state *requests, struct rates_state *tokens)
{
	struct rates_owner full = { .requests = (double)w->rpm,
		.tokens = (double)w->tpm };
	const struct rates_owner *o;

	pthread_mutex_lock(&l->lock);
	if ((o = lookup(l, w, now_ms)) == NULL)
		o = &full;
	look(requests, o->requests, w->rpm);
	look(tokens, o->tokens, w->tpm);
	pthread_mutex_unlock(&l->lock);
}
