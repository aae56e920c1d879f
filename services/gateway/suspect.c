#include "suspect.h"

static int64_t
later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

void
suspect_passed(struct suspect *s, int64_t next)
{
	if (s->solo_end > 0 && next >= s->solo_end)
		*s = (struct suspect){ 0 };
}

enum suspect_verdict
suspect_judge(struct suspect *s, const struct suspect_crash *c, int64_t next)
{
	int64_t at = later(c->seq, next);

	if (c->clean || !c->in_step)
		return SUSPECT_FREE;
	/* It made the tokens before seq, also if they did not arrive. */
	suspect_passed(s, at);
	if (at > s->at)
		s->n_charged = s->n_killed = 0;
	s->at = at;
	if (s->solo_end > 0 && c->alone &&
	    (c->fault || ++s->n_killed >= SUSPECT_KILLS_MAX))
		return SUSPECT_CONVICTED;
	if (++s->n_charged > SUSPECT_CHARGES_MAX)
		return SUSPECT_TOO_OFTEN;
	s->solo_end = later(s->solo_end, at + 1);
	return SUSPECT_CHARGED;
}

void
breaker_crash(struct breaker *b, int64_t now_ms)
{
	b->at_ms[b->n++ % BREAKER_CRASHES] = now_ms;
}

bool
breaker_open(const struct breaker *b, int64_t now_ms)
{
	int64_t first, last;

	if (b->n < BREAKER_CRASHES)
		return false;
	first = b->at_ms[b->n % BREAKER_CRASHES];
	last = b->at_ms[(b->n - 1) % BREAKER_CRASHES];
	return last - first <= BREAKER_MS && now_ms - last < BREAKER_UP_MS;
}
