/*
 * Draws against the exact distribution of random parameters, which is computed here
 * from what sampler.h promises, by sorting everything.
 */
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "sampler.h"

enum { N = 12, N_DRAWS = 5000, N_CASES = 400, N_CONTEXT = 9, N_PROMPT = 4 };

struct one {
	float logit;
	int32_t id;
	double p;
};

static uint32_t
random_below(uint32_t n)
{
	static uint64_t u = 7;

	u = u * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(u >> 33) % n;
}

static float
one_of(const float *v, uint32_t n)
{
	return v[random_below(n)];
}
#define ONE_OF(...) one_of((const float[]){ __VA_ARGS__ }, \
	sizeof((float[]){ __VA_ARGS__ }) / sizeof(float))

static struct sampler_params
random_params(const struct sampler_bias *bias)
{
	return (struct sampler_params){
		.temperature = ONE_OF(0.05F, 0.3F, 0.7F, 1, 1.3F, 2),
		.top_k = (int32_t)ONE_OF(0, 0, 1, 3, 5, 11, 12, 100),
		.top_p = ONE_OF(1, 1, 0.95F, 0.7F, 0.3F, 0.01F, 0),
		.min_p = ONE_OF(0, 0, 0.001F, 0.05F, 0.4F, 1),
		.min_keep = (int32_t)ONE_OF(0, 0, 1, 2, 4, 20),
		.repeat_penalty = ONE_OF(1, 1, 1.3F, 0.5F, 10, 0.01F),
		.repeat_last_n = (int32_t)ONE_OF(0, 1, 3, 64),
		.frequency_penalty = ONE_OF(0, 0, 2, -2, 0.4F),
		.presence_penalty = ONE_OF(0, 0, 2, -2, 0.7F),
		.bias = bias, .n_bias = (int32_t)random_below(4),
		.seed = random_below(1000),
	};
}

/* Few values, so that some are equal. */
static void
random_case(float *logits, int32_t *context, struct sampler_bias *bias)
{
	for (int i = 0; i < N; i++)
		logits[i] = (float)random_below(60) / 8 - 4;
	for (int i = 0; i < N_CONTEXT; i++)
		context[i] = (int32_t)random_below(N);
	for (int i = 0; i < 3; i++)
		bias[i] = (struct sampler_bias){ (int32_t)random_below(N / 3) * 3 +
		    i, ONE_OF(-100, 100, 3, -3, 0.25F) };
}

static int
by_logit(const void *a, const void *b)
{
	const struct one *x = a, *y = b;

	if (x->logit != y->logit)
		return x->logit > y->logit ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

/* What bias and penalties make of a logit; -INFINITY: it is excluded. */
static float
changed(const struct sampler_params *p, float logit, int32_t id,
    const int32_t *context)
{
	int32_t first = p->repeat_last_n > 0 && p->repeat_last_n < N_CONTEXT ?
	    N_CONTEXT - p->repeat_last_n : 0;
	int n_seen = 0, n_generated = 0;

	for (int32_t i = 0; i < p->n_bias; i++)
		if (p->bias[i].id == id && p->bias[i].bias <= -100)
			return -INFINITY;
		else if (p->bias[i].id == id)
			logit += p->bias[i].bias;
	for (int32_t i = first; i < N_CONTEXT; i++) {
		n_seen += context[i] == id;
		n_generated += context[i] == id && i >= N_PROMPT;
	}
	if (n_seen > 0 && logit > 0)
		logit /= p->repeat_penalty;
	else if (n_seen > 0)
		logit *= p->repeat_penalty;
	logit -= (float)n_generated * p->frequency_penalty;
	return n_generated > 0 ? logit - p->presence_penalty : logit;
}

/* The chance of each id. */
static void
exact(const struct sampler_params *p, const float *logits,
    const int32_t *context, double chance[N])
{
	struct one c[N];
	double sum = 0, reached = 0;
	int n = 0, kept = 0;

	memset(chance, 0, N * sizeof(*chance));
	for (int32_t i = 0; i < N; i++) {
		float l = changed(p, logits[i], i, context);

		if (l > -INFINITY)
			c[n++] = (struct one){ l, i, 0 };
	}
	qsort(c, (size_t)n, sizeof(*c), by_logit);
	if (p->top_k > 0 && p->top_k < n)
		n = p->top_k;
	while (kept < n && (kept < p->min_keep || kept == 0 || p->min_p == 0 ||
	    (double)c[kept].logit - (double)c[0].logit >= log((double)p->min_p)))
		kept++;
	for (int i = 0; i < kept; i++) {
		c[i].p = exp(((double)c[i].logit - (double)c[0].logit) /
		    (double)p->temperature);
		sum += c[i].p;
	}
	for (n = 0; n < kept && (n == 0 || n < p->min_keep || p->top_p >= 1 ||
	    reached < (double)p->top_p * sum); n++)
		reached += c[n].p;
	for (int i = 0; i < n; i++)
		chance[c[i].id] = c[i].p / reached;
}

/* Chi square of counts, and how many ids it is of; ids that are rare are one. */
static double
chi_square(const int *counts, const double *chance, int *n_bins)
{
	double sum = 0, rare = 0;
	int n_rare = 0;

	*n_bins = 0;
	for (int i = 0; i < N; i++) {
		double want = chance[i] * N_DRAWS;

		if (want < 5) {
			rare += want;
			n_rare += counts[i];
			continue;
		}
		sum += (counts[i] - want) * (counts[i] - want) / want;
		(*n_bins)++;
	}
	if (rare >= 1) {
		sum += (n_rare - rare) * (n_rare - rare) / rare;
		(*n_bins)++;
	} else
		ck_assert_int_le(n_rare, 6);
	return sum;
}

START_TEST(draws_have_the_exact_distribution)
{
	struct sampler_bias bias[3];
	int32_t context[N_CONTEXT];
	float logits[N];
	struct sampler *s;
	struct err e;
	int n_spread = 0;

	ck_assert_int_eq(sampler_create(N, &s, &e), 0);
	for (int k = 0; k < N_CASES; k++) {
		struct sampler_params p = random_params(bias);
		int counts[N] = { 0 }, n_bins;
		double chance[N], chi;

		random_case(logits, context, bias);
		exact(&p, logits, context, chance);
		for (int64_t pos = 0; pos < N_DRAWS; pos++)
			counts[sampler_choose(s, &p, logits, context, N_CONTEXT,
			    N_PROMPT, pos)]++;
		for (int i = 0; i < N; i++)
			ck_assert_msg(counts[i] == 0 || chance[i] > 0,
			    "case %d: id %d", k, i);
		chi = chi_square(counts, chance, &n_bins);
		n_spread += n_bins > 2;
		/* Five deviations: no seed here is that unlucky. */
		ck_assert_msg(chi <= n_bins + 5 * sqrt(2.0 * n_bins),
		    "case %d: chi square %g of %d", k, chi, n_bins);
	}
	ck_assert_int_gt(n_spread, N_CASES / 4);
	sampler_destroy(s);
}
END_TEST

/* The first token that a seed gives is as good as any other. */
START_TEST(seeds_are_as_good_as_positions)
{
	struct sampler_params p = { .temperature = 1, .top_p = 1,
		.repeat_penalty = 1 };
	static const float logits[N] = { 1, 0, -1, 0.5F, 0, 0, 0, 2, 0, 0, 0, 0 };
	int counts[N] = { 0 }, n_bins;
	double chance[N];
	struct sampler *s;
	struct err e;

	ck_assert_int_eq(sampler_create(N, &s, &e), 0);
	exact(&p, logits, (const int32_t[N_CONTEXT]){ 0 }, chance);
	for (int k = 0; k < N_DRAWS; k++) {
		p.seed = _i == 0 ? (uint64_t)k : (uint64_t)k << 32;
		counts[sampler_choose(s, &p, logits, NULL, 0, 0, 0)]++;
	}
	ck_assert_double_lt(chi_square(counts, chance, &n_bins), N + 5 * sqrt(2.0 * N));
	ck_assert_int_eq(n_bins, N);
	sampler_destroy(s);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("sampler exact");
	TCase *t = tcase_create("exact");
	SRunner *r = srunner_create(suite);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, draws_have_the_exact_distribution);
	tcase_add_loop_test(t, seeds_are_as_good_as_positions, 0, 2);
	suite_add_tcase(suite, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
