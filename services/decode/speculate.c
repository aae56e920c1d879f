/*
 * A plan is extended in three strokes: guess for every sequence that decodes,
 * rank all guesses by the chance that they and all before them are right, and
 * take the first m of them, where m gives the most tokens a second: (sequences
 * + sum of chances) / time of a step with so many rows.  m = 0 is one of the
 * choices, so it switches itself off.
 *
 * Times are measured by number of rows and forgotten after a while, so that what
 * lost once is tried again; a number that was not measured is put on the line
 * through its neighbours.
 */
#include <stdlib.h>
#include <string.h>

#include "speculate.h"

enum {
	FRESH = 512,		/* steps that a measured time is believed */
	REFRESH = 128,		/* steps after which the plain step is measured again */
	MEMORY = 48,		/* guesses of one sequence that count, about */
	MEMORY_ALL = 512,	/* and of all sequences */
	TRUST_ALL = 4,		/* guesses of all that count in one sequence */
};

static const double GAIN_MIN = 1.03;	/* less is noise */
static const double SLOPE = 0.08;	/* of one more row, until one is measured */
static const double CHANCE_MIN = 0.5;	/* beside prompts, where time is no guide */
static const double NOISE = 1.5;	/* longer than this times the mean is cut */
static const double WEIGHT = 0.125;	/* of a new time */

int
speculate_init(struct speculate *s, int mode, int n_seats, int32_t n_ctx,
    struct err *e)
{
	static const float first[SPECULATE_LEVELS] =
	    { 0.1F, 0.25F, 0.4F, 0.5F, 0.6F, 0.7F, 0.8F };
	int r = 0;

	*s = (struct speculate){ .mode = mode };
	for (int i = 0; i < SPECULATE_LEVELS; i++)
		s->rates[i] = (struct speculate_rate){ first[i] * TRUST_ALL,
			TRUST_ALL };
	if (mode == 0)
		return 0;
	s->seats = calloc((size_t)n_seats, sizeof(*s->seats));
	if (s->seats == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for drafts");
	for (; s->n_seats < n_seats && r == 0; s->n_seats++)
		r = ngrams_init(&s->seats[s->n_seats].ngrams, n_ctx, e);
	if (r != 0)
		speculate_finish(s);
	return r;
}

void
speculate_finish(struct speculate *s)
{
	for (int i = 0; i < s->n_seats; i++)
		ngrams_finish(&s->seats[i].ngrams);
	free(s->seats);
	*s = (struct speculate){ 0 };
}

/* The class of a match of n tokens. */
static int
level(int32_t n)
{
	return n <= 1 ? 0 : n == 2 ? 1 : n == 3 ? 2 : n <= 5 ? 3 : n <= 8 ? 4 :
	    n < NGRAMS_MATCH_MAX ? 5 : 6;
}

static void
count(struct speculate_rate *r, bool right, float memory)
{
	float keep = 1 - 1 / memory;

	r->right = r->right * keep + (right ? 1 : 0);
	r->all = r->all * keep + 1;
}

/* The chance of a guess after a match of n tokens. */
static double
chance(const struct speculate *s, const struct speculate_seat *seat, int32_t n)
{
	const struct speculate_rate *own = &seat->rates[level(n)];
	const struct speculate_rate *all = &s->rates[level(n)];

	return ((double)own->right + TRUST_ALL * ((double)all->right /
	    (double)all->all)) / ((double)own->all + TRUST_ALL);
}

/* The seat of j, or NULL. */
static struct speculate_seat *
seat_of(const struct speculate *s, const struct job *j)
{
	for (int i = 0; i < s->n_seats; i++)
		if (s->seats[i].order == j->order)
			return &s->seats[i];
	return NULL;
}

/* Its own, or that of the sequence which was not in a step for longest. */
static struct speculate_seat *
seat_take(struct speculate *s, const struct job *j)
{
	struct speculate_seat *seat = seat_of(s, j);

	if (seat == NULL) {
		seat = &s->seats[0];
		for (int i = 1; i < s->n_seats; i++)
			if (s->seats[i].step < seat->step)
				seat = &s->seats[i];
		seat->order = j->order;
		seat->source = 0;
		memset(seat->rates, 0, sizeof(seat->rates));
		ngrams_reset(&seat->ngrams);
	}
	seat->step = s->step;
	return seat;
}

/* Guess what j says next: what came then, and when that ends, what was guessed
 * from there on: so a loop goes on around. */
static void
guess(struct speculate_seat *seat, const struct job *j)
{
	int32_t from = ngrams_find(&seat->ngrams, j->tokens, j->n_tokens,
	    seat->source, &seat->match);

	seat->source = from;
	seat->n_guess = from > 0 ? SPECULATE_DRAFTS : 0;
	for (int32_t i = 0; i < seat->n_guess; i++)
		seat->guess[i] = from + i < j->n_tokens ? j->tokens[from + i] :
		    seat->guess[from + i - j->n_tokens];
}

/* Guesses that j has room for: in its answer, its pieces, its pages. */
static int32_t
room(const struct job *j)
{
	int32_t answer = j->limit - job_n_generated(j) - 1;
	int32_t pieces = DECODE_UNACKED_MAX - j->events.n - 1;
	int32_t pages = j->kv.n_pages * KV_PAGE - j->n_fed - 1;
	int32_t n = answer < pieces ? answer : pieces;

	return n < pages ? n : pages;
}

static bool
decodes(const struct share *sh)
{
	return sh->job->n_tokens - sh->job->n_fed == 1;
}

static bool
is_fresh(const struct speculate *s, int rows, int64_t age)
{
	const struct speculate_cost *c = &s->costs[rows];

	return c->us > 0 && s->step - c->step <= age;
}

/* Microseconds of a step of rows, which are more than base, a measured one. */
static double
step_time(const struct speculate *s, int base, int rows)
{
	int lo = rows, hi = rows, lower;
	double slope;

	while (lo > base && !is_fresh(s, lo, FRESH))
		lo--;
	if (lo == rows)
		return s->costs[rows].us;
	while (hi < SPECULATE_ROWS && !is_fresh(s, hi, FRESH))
		hi++;
	if (is_fresh(s, hi, FRESH)) {
		slope = (s->costs[hi].us - s->costs[lo].us) / (hi - lo);
	} else {
		for (lower = lo - 1; lower > base && !is_fresh(s, lower, FRESH);
		    lower--)
			;
		slope = lower < base ? s->costs[base].us * SLOPE / base :
		    (s->costs[lo].us - s->costs[lower].us) / (lo - lower);
	}
	return s->costs[lo].us + (slope > 0 ? slope * (rows - lo) : 0);
}

/* A guess that may be fed. */
struct bet {
	int share;
	double chance;		/* that it and all before it are right */
};

/*
 * All guesses into bets, the best first, at most max; each share's stand in
 * their order, since a chance never grows along a draft.
 */
static int
rank(struct speculate *s, const struct plan *p, int max, struct bet *bets)
{
	int n = 0;

	for (int i = 0; i < p->n_shares; i++) {
		const struct job *j = p->shares[i].job;
		struct speculate_seat *seat;
		double right = 1;
		int32_t most;

		if (!decodes(&p->shares[i]))
			continue;
		seat = seat_take(s, j);
		guess(seat, j);
		most = room(j) < seat->n_guess ? room(j) : seat->n_guess;
		for (int32_t k = 0; k < most; k++) {
			int at = n;

			right *= chance(s, seat, seat->match + k);
			if (s->mode != SPECULATE_AUTO) {
				if (k >= s->mode)
					break;
				right = 1;	/* in the order of shares */
			}
			while (at > 0 && bets[at - 1].chance < right)
				at--;
			if (at == max)
				break;
			n += n < max;
			memmove(&bets[at + 1], &bets[at],
			    (size_t)(n - 1 - at) * sizeof(*bets));
			bets[at] = (struct bet){ i, right };
		}
	}
	return n;
}

/* Rows beyond base, a measured step, that may be tried: twice as many as ever
 * were, so that what it costs to find out is bounded. */
static int
reach(const struct speculate *s, int base)
{
	int rows = SPECULATE_ROWS;

	while (rows > base && !is_fresh(s, rows, FRESH))
		rows--;
	return rows > base ? 2 * (rows - base) : 1;
}

/* How many of the bets to take. */
static int
choose(const struct speculate *s, const struct plan *p, const struct bet *bets,
    int n, bool prompts)
{
	int best = 0, last;
	double tokens = p->n_rows, most;

	if (s->mode != SPECULATE_AUTO)
		return n;
	if (prompts) {
		while (best < n && bets[best].chance >= CHANCE_MIN)
			best++;
		return best;
	}
	if (p->n_rows >= SPECULATE_ROWS || !is_fresh(s, p->n_rows, REFRESH))
		return 0;
	most = tokens / s->costs[p->n_rows].us * GAIN_MIN;
	last = reach(s, p->n_rows) < n ? reach(s, p->n_rows) : n;
	for (int m = 1; m <= last && p->n_rows + m <= SPECULATE_ROWS; m++) {
		double rate;

		tokens += bets[m - 1].chance;
		rate = tokens / step_time(s, p->n_rows, p->n_rows + m);
		if (rate > most) {
			most = rate;
			best = m;
		}
	}
	return best;
}

void
speculate_plan(struct speculate *s, struct plan *p, int32_t max_rows)
{
	struct bet bets[SPECULATE_DRAFTS];
	int max = max_rows - p->n_rows, n;
	bool prompts = false;

	if (s->mode == 0 || p->n_rows == 0)
		return;
	s->step++;
	for (int i = 0; i < p->n_shares; i++)
		prompts = prompts || !decodes(&p->shares[i]);
	max = max < SPECULATE_DRAFTS ? max : SPECULATE_DRAFTS;
	n = rank(s, p, max > 0 ? max : 0, bets);
	n = choose(s, p, bets, n, prompts);
	for (int i = 0; i < n; i++) {
		struct share *sh = &p->shares[bets[i].share];

		sh->job->tokens[sh->job->n_tokens + sh->n_drafts] =
		    seat_of(s, sh->job)->guess[sh->n_drafts];
		sh->n_drafts++;
		sh->n_rows++;
		p->n_rows++;
	}
}

void
speculate_learn(struct speculate *s, const struct job *j,
    const int32_t *chosen, int32_t n)
{
	struct speculate_seat *seat = s->mode != 0 ? seat_of(s, j) : NULL;

	if (seat == NULL || seat->step != s->step || seat->n_guess == 0)
		return;
	for (int32_t i = 0; i < n && i < seat->n_guess; i++) {
		bool right = chosen[i] == seat->guess[i];
		int l = level(seat->match + i);

		count(&seat->rates[l], right, MEMORY);
		count(&s->rates[l], right, MEMORY_ALL);
		if (!right) {
			seat->source = 0;
			return;
		}
	}
	seat->source += n;
}

void
speculate_time(struct speculate *s, const struct plan *p, int64_t us)
{
	struct speculate_cost *c;
	double t = (double)us, weight;

	if (s->mode != SPECULATE_AUTO || p->n_rows != p->n_samples ||
	    p->n_rows > SPECULATE_ROWS || us <= 0)
		return;
	c = &s->costs[p->n_rows];
	if (s->step - c->step > FRESH)
		c->n = 0;	/* another load, another machine */
	c->n++;
	weight = 1 / (double)c->n > WEIGHT ? 1 / (double)c->n : WEIGHT;
	if (c->n > 1 && t > c->us * NOISE)
		t = c->us * NOISE;
	c->us = c->n == 1 ? t : c->us + weight * (t - c->us);
	c->step = s->step;
}
