/*
 * Candidates are (logit, id) in one total order: larger logit first, lower id
 * on a tie; so every selection below has one outcome.  Nothing sorts the whole
 * vocabulary: top_k is a quickselect, and top_p takes from a heap only what the
 * nucleus needs.  What a small top_k leaves is sorted, as a backend gives it, so
 * that the sums below are the same wherever it was found.
 */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "sampler.h"

#define LOGPROB_MIN (-9999.0)	/* OpenAI's floor; JSON has no infinity */

struct cand {
	float logit;
	int32_t id;
	double p;		/* not normalised */
};

struct sampler {
	int32_t n_vocab;
	float *logits;		/* [n_vocab] the modified ones */
	struct cand *cand;	/* [n_vocab] */
	int32_t *counts;	/* [n_vocab] occurrences in the generation, else 0 */
	bool *seen;		/* [n_vocab] all false between two calls */
};

int
sampler_create(int32_t n_vocab, struct sampler **out, struct err *e)
{
	struct sampler *s = calloc(1, sizeof(*s));
	size_t n = (size_t)n_vocab;

	if (s != NULL) {
		s->n_vocab = n_vocab;
		s->logits = calloc(n, sizeof(*s->logits));
		s->cand = calloc(n, sizeof(*s->cand));
		s->counts = calloc(n, sizeof(*s->counts));
		s->seen = calloc(n, sizeof(*s->seen));
	}
	if (s == NULL || s->logits == NULL || s->cand == NULL ||
	    s->counts == NULL || s->seen == NULL) {
		sampler_destroy(s);
		return err_set(e, ERR_NO_MEMORY,
		    "no memory for a sampler of %d tokens", (int)n_vocab);
	}
	*out = s;
	return 0;
}

void
sampler_destroy(struct sampler *s)
{
	if (s == NULL)
		return;
	free(s->logits);
	free(s->cand);
	free(s->counts);
	free(s->seen);
	free(s);
}

void
philox4x32(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
	uint32_t k0 = key[0], k1 = key[1];
	uint32_t c0 = counter[0], c1 = counter[1];
	uint32_t c2 = counter[2], c3 = counter[3];

	for (int round = 0; round < 10; round++) {
		uint64_t a = (uint64_t)0xD2511F53 * c0;
		uint64_t b = (uint64_t)0xCD9E8D57 * c2;

		c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
		c1 = (uint32_t)b;
		c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
		c3 = (uint32_t)a;
		k0 += 0x9E3779B9;
		k1 += 0xBB67AE85;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

/* Uniform in [0, 1), 53 bits: draw 0 of position pos. */
static double
uniform(uint64_t seed, int64_t pos)
{
	uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
	uint32_t counter[4] = { (uint32_t)pos, (uint32_t)((uint64_t)pos >> 32) };
	uint32_t word[4];
	uint64_t bits;

	philox4x32(key, counter, word);
	bits = ((uint64_t)word[0] << 32 | word[1]) >> 11;
	return (double)bits * 0x1p-53;
}

static void
add_bias(struct sampler *s, const struct sampler_params *p)
{
	for (int32_t i = 0; i < p->n_bias; i++) {
		const struct sampler_bias *b = &p->bias[i];

		if (b->id < 0 || b->id >= s->n_vocab)
			continue;
		if (b->bias <= -100)
			s->logits[b->id] = -INFINITY;
		else
			s->logits[b->id] += b->bias;
	}
}

/* The window is walked twice, so counts and seen need no clearing in full. */
static void
add_penalties(struct sampler *s, const struct sampler_params *p,
    const int32_t *context, int32_t n_context, int32_t n_prompt)
{
	int32_t first = 0;

	if (p->repeat_last_n > 0 && p->repeat_last_n < n_context)
		first = n_context - p->repeat_last_n;
	for (int32_t i = first; i < n_context; i++) {
		s->seen[context[i]] = true;
		s->counts[context[i]] += i >= n_prompt;
	}
	for (int32_t i = first; i < n_context; i++) {
		float *l = &s->logits[context[i]];
		int32_t *count = &s->counts[context[i]];

		if (!s->seen[context[i]])
			continue;
		*l = *l > 0 ? *l / p->repeat_penalty : *l * p->repeat_penalty;
		*l -= (float)*count * p->frequency_penalty;
		*l -= *count > 0 ? p->presence_penalty : 0;
		s->seen[context[i]] = false;
		*count = 0;
	}
}

/* The largest, the lowest id on a tie; a NaN never wins. */
static int32_t
argmax(const float *logits, int32_t n)
{
	float best = -INFINITY;
	int32_t id = 0;

	for (int32_t i = 0; i < n; i++)
		if (logits[i] > best) {
			best = logits[i];
			id = i;
		}
	return id;
}

static bool
before(const struct cand *a, const struct cand *b)
{
	return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static void
swap(struct cand *a, struct cand *b)
{
	struct cand t = *a;

	*a = *b;
	*b = t;
}

/* Bring the k first of c [n] to its front, in any order: quickselect with the
 * median of three as the pivot. */
static void
select_first(struct cand *c, int32_t n, int32_t k)
{
	int32_t lo = 0, hi = n - 1;

	while (lo < hi) {
		int32_t mid = lo + (hi - lo) / 2, i = lo, j = hi;
		struct cand pivot;

		if (before(&c[mid], &c[lo]))
			swap(&c[mid], &c[lo]);
		if (before(&c[hi], &c[lo]))
			swap(&c[hi], &c[lo]);
		if (before(&c[hi], &c[mid]))
			swap(&c[hi], &c[mid]);
		pivot = c[mid];
		while (i <= j) {
			while (before(&c[i], &pivot))
				i++;
			while (before(&pivot, &c[j]))
				j--;
			if (i <= j)
				swap(&c[i++], &c[j--]);
		}
		if (k - 1 <= j)
			hi = j;
		else if (k - 1 >= i)
			lo = i;
		else
			return;
	}
}

static void
sift_down(struct cand *c, int32_t n, int32_t i)
{
	for (;;) {
		int32_t best = i, l = 2 * i + 1, r = l + 1;

		if (l < n && before(&c[l], &c[best]))
			best = l;
		if (r < n && before(&c[r], &c[best]))
			best = r;
		if (best == i)
			return;
		swap(&c[i], &c[best]);
		i = best;
	}
}

/*
 * Keep the fewest most likely ones whose sum reaches top_p of all, or min_keep
 * of them; they end at the back of c, the heap in front of them.  *kept is the first of them.
 */
static int32_t
nucleus(struct cand *c, int32_t n, const struct sampler_params *p, double sum,
    struct cand **kept)
{
	double reached = 0;
	int32_t left = n;

	for (int32_t i = n / 2 - 1; i >= 0; i--)
		sift_down(c, n, i);
	do {
		reached += c[0].p;
		swap(&c[0], &c[--left]);
		sift_down(c, left, 0);
	} while (left > 0 && (reached < (double)p->top_p * sum ||
	    n - left < p->min_keep));
	*kept = c + left;
	return n - left;
}

/* All candidates that can be drawn at all; NaN and excluded ones cannot. */
static int32_t
collect(struct sampler *s)
{
	int32_t n = 0;

	for (int32_t i = 0; i < s->n_vocab; i++)
		if (s->logits[i] > -INFINITY)
			s->cand[n++] = (struct cand){ s->logits[i], i, 0 };
	return n;
}

static double
below_max(const struct cand *c, float max)
{
	return max == c->logit ? 0 : (double)c->logit - max;
}

/* Where min_p would leave fewer than min_keep: bring those to the front that
 * stay whatever it says, and return how many. */
static int32_t
keep_best(struct cand *c, int32_t n, const struct sampler_params *p, float max)
{
	int32_t keep = p->min_keep < n ? p->min_keep : n, likely = 0;

	if (p->min_p <= 0 || keep <= 1)
		return 0;
	for (int32_t i = 0; i < n; i++)
		likely += below_max(&c[i], max) >= log((double)p->min_p);
	if (likely >= keep)
		return 0;
	select_first(c, n, keep);
	return keep;
}

/* Few of them, the first before the others. */
static void
sort(struct cand *c, int32_t n)
{
	for (int32_t i = 1; i < n; i++)
		for (int32_t k = i; k > 0 && before(&c[k], &c[k - 1]); k--)
			swap(&c[k], &c[k - 1]);
}

/* Apply top_k to the n of s->cand; returns how many are left. */
static int32_t
keep_top(struct sampler *s, const struct sampler_params *p, int32_t n)
{
	if (p->top_k <= 0)
		return n;
	if (p->top_k < n) {
		select_first(s->cand, n, p->top_k);
		n = p->top_k;
	}
	if (p->top_k <= BACKEND_TOP_MAX)
		sort(s->cand, n);
	return n;
}

/* One of the n of s->cand, which top_k has left. */
static int32_t
draw(struct sampler *s, const struct sampler_params *p, int32_t n, int64_t pos)
{
	struct cand *c = s->cand;
	int32_t kept = 0, n_best;
	float max = -INFINITY;
	double sum = 0, target;

	if (n == 0)
		return 0;
	for (int32_t i = 0; i < n; i++)
		max = c[i].logit > max ? c[i].logit : max;
	n_best = keep_best(c, n, p, max);
	for (int32_t i = 0; i < n; i++) {
		double below = below_max(&c[i], max);

		if (i >= n_best && p->min_p > 0 &&
		    below < log((double)p->min_p))
			continue;
		c[kept] = c[i];
		c[kept].p = exp(below / p->temperature);
		sum += c[kept++].p;
	}
	n = kept;
	if (p->top_p < 1) {
		n = nucleus(c, n, p, sum, &c);
		sum = 0;
		for (int32_t i = 0; i < n; i++)
			sum += c[i].p;
	}
	target = uniform(p->seed, pos) * sum;
	for (int32_t i = 0; i < n && target >= 0; i++)
		if (c[i].p > 0) {	/* the last one takes what rounding leaves */
			target -= c[i].p;
			kept = c[i].id;
		}
	return kept;
}

static bool
has_penalties(const struct sampler_params *p)
{
	return p->repeat_penalty != 1 || p->frequency_penalty != 0 ||
	    p->presence_penalty != 0;
}

int32_t
sampler_choose(struct sampler *s, const struct sampler_params *p,
    const float *logits, const int32_t *context, int32_t n_context,
    int32_t n_prompt, int64_t pos)
{
	bool penalties = has_penalties(p);

	if (p->temperature <= 0 && p->n_bias == 0 && !penalties)
		return argmax(logits, s->n_vocab);
	memcpy(s->logits, logits, (size_t)s->n_vocab * sizeof(*logits));
	add_bias(s, p);
	if (penalties)
		add_penalties(s, p, context, n_context, n_prompt);
	if (p->temperature <= 0)
		return argmax(s->logits, s->n_vocab);
	return draw(s, p, keep_top(s, p, collect(s)), pos);
}

int32_t
sampler_top(const struct sampler_params *p)
{
	if (p->n_bias > 0 || has_penalties(p))
		return 0;
	if (p->temperature <= 0)
		return 1;
	return p->top_k > 0 && p->top_k <= BACKEND_TOP_MAX ? p->top_k : 0;
}

int32_t
sampler_choose_top(struct sampler *s, const struct sampler_params *p,
    const struct backend_top *top, int32_t n, int64_t pos)
{
	int32_t n_cand = 0;

	for (int32_t i = 0; i < n; i++)
		if (top[i].logit > -INFINITY)
			s->cand[n_cand++] = (struct cand){ top[i].logit, top[i].id, 0 };
	if (p->temperature <= 0)
		return n_cand > 0 ? s->cand[0].id : 0;
	return draw(s, p, n_cand, pos);
}

float
sampler_logprobs(struct sampler *s, const float *logits, int32_t id,
    struct sampler_logprob *top, int32_t n)
{
	float max = logits[argmax(logits, s->n_vocab)];
	int32_t n_top = 0;
	double sum = 0, log_sum;

	for (int32_t i = 0; i < s->n_vocab; i++) {
		float l = isnan(logits[i]) ? -INFINITY : logits[i];
		int32_t at = n_top;

		sum += l == max ? 1 : exp((double)l - max);
		while (at > 0 && l > top[at - 1].logprob)
			at--;
		if (at == n)
			continue;
		n_top += n_top < n;
		memmove(&top[at + 1], &top[at],
		    (size_t)(n_top - 1 - at) * sizeof(*top));
		top[at] = (struct sampler_logprob){ i, l };
	}
	log_sum = (double)max + log(sum);
	for (int32_t i = 0; i < n_top; i++) {
		double lp = (double)top[i].logprob - log_sum;

		top[i].logprob = (float)(lp > LOGPROB_MIN ? lp : LOGPROB_MIN);
	}
	for (int32_t i = n_top; i < n; i++)	/* n > n_vocab */
		top[i] = (struct sampler_logprob){ 0, (float)LOGPROB_MIN };
	log_sum = (double)logits[id] - log_sum;
	return (float)(log_sum > LOGPROB_MIN ? log_sum : LOGPROB_MIN);
}
