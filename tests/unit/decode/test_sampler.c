#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "sampler.h"
#include "top_rows.h"

enum { N = 8, N_DRAWS = 4000, LARGE = 5000 };

static const float logits[N] = { 1, 3, 2, 0, -1, -2, 2.5F, -3 };
static const struct sampler_params plain = {
	.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 42,
};
static struct sampler *s;

static void
setup(void)
{
	struct err e;

	ck_assert_int_eq(sampler_create(N, &s, &e), 0);
}

static void
teardown(void)
{
	sampler_destroy(s);
}

static int32_t
choose(const struct sampler_params *p, int64_t pos)
{
	return sampler_choose(s, p, logits, NULL, 0, 0, pos);
}

/* How often each id is drawn, positions 0..N_DRAWS-1. */
static void
count_draws(const struct sampler_params *p, int counts[N])
{
	memset(counts, 0, N * sizeof(*counts));
	for (int64_t pos = 0; pos < N_DRAWS; pos++)
		counts[choose(p, pos)]++;
}

/* Known answers of Random123 1.14, kat_vectors. */
static const struct {
	uint32_t counter[4], key[2], out[4];
} philox[] = {
	{ { 0, 0, 0, 0 }, { 0, 0 },
	    { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
	{ { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
	    { 0xffffffff, 0xffffffff },
	    { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
	{ { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
	    { 0xa4093822, 0x299f31d0 },
	    { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
};

START_TEST(philox_gives_its_authors_vectors)
{
	uint32_t out[4];

	philox4x32(philox[_i].key, philox[_i].counter, out);
	ck_assert_mem_eq(out, philox[_i].out, sizeof(out));
}
END_TEST

START_TEST(temperature_zero_takes_the_largest_and_the_lowest_id_of_equals)
{
	static const float ties[N] = { 0, 2, 7, 7, 1, 7, NAN, 6 };
	struct sampler_params p = plain;

	p.temperature = 0;
	ck_assert_int_eq(choose(&p, 0), 1);
	ck_assert_int_eq(sampler_choose(s, &p, ties, NULL, 0, 0, 0), 2);
}
END_TEST

START_TEST(draws_follow_the_softmax)
{
	int counts[N];
	double sum = 0;

	for (int i = 0; i < N; i++)
		sum += exp(logits[i]);
	count_draws(&plain, counts);
	for (int i = 0; i < N; i++) {
		double p = exp(logits[i]) / sum;
		double sigma = sqrt(N_DRAWS * p * (1 - p));

		ck_assert(fabs(counts[i] - N_DRAWS * p) < 4 * sigma + 1);
	}
}
END_TEST

START_TEST(a_draw_depends_on_seed_and_position_alone)
{
	struct sampler_params other = plain;
	int n_differ = 0;

	other.seed = 43;
	for (int64_t pos = 0; pos < 100; pos++) {
		int32_t id = choose(&plain, pos);

		choose(&plain, 77);	/* something in between */
		ck_assert_int_eq(choose(&plain, pos), id);
		n_differ += choose(&other, pos) != id;
	}
	ck_assert_int_gt(n_differ, 20);
}
END_TEST

/* Which ids can be drawn at all, from the most likely on: 1 6 2 0 3 4 5 7. */
static const struct {
	struct sampler_params p;
	const char *ids;
} filters[] = {
	{ { .temperature = 2, .top_p = 1, .top_k = 1 }, "1" },
	{ { .temperature = 2, .top_p = 1, .top_k = 3 }, "126" },
	{ { .temperature = 2, .top_p = 1, .top_k = 100 }, "01234567" },
	{ { .temperature = 1, .top_p = 0 }, "1" },
	/* .434 .264 .160 .059 .022 …: */
	{ { .temperature = 1, .top_p = 0.42F }, "1" },
	{ { .temperature = 1, .top_p = 0.60F }, "16" },
	{ { .temperature = 1, .top_p = 0.80F }, "126" },
	/* min_p is of the distribution before the temperature: e^-1 = .37 */
	{ { .temperature = 2, .top_p = 1, .min_p = 0.36F }, "126" },
	{ { .temperature = 0.5F, .top_p = 1, .min_p = 0.36F }, "126" },
	{ { .temperature = 1, .top_p = 1, .min_p = 1 }, "1" },
	/* top_p counts what top_k left: .506 .307 .186 */
	{ { .temperature = 1, .top_p = 0.5F, .top_k = 3 }, "1" },
};

START_TEST(filters_leave_exactly_these)
{
	struct sampler_params p = filters[_i].p;
	int counts[N];
	char ids[N + 1] = "";

	p.repeat_penalty = 1;
	count_draws(&p, counts);
	for (int i = 0; i < N; i++)
		if (counts[i] > 0)
			ids[strlen(ids)] = (char)('0' + i);
	ck_assert_str_eq(ids, filters[_i].ids);
}
END_TEST

START_TEST(top_k_and_top_p_are_right_in_a_large_vocabulary)
{
	static float large[LARGE];
	struct sampler_params p = plain;
	struct sampler *big;
	struct err e;

	ck_assert_int_eq(sampler_create(LARGE, &big, &e), 0);
	/* 7919 is prime to 5000, so this is a permutation of 0..4999. */
	for (int i = 0; i < LARGE; i++)
		large[i] = (float)(i * 7919 % LARGE) * 1e-4F;
	p.top_k = 10;
	for (int64_t pos = 0; pos < 500; pos++) {
		int id = sampler_choose(big, &p, large, NULL, 0, 0, pos);

		ck_assert_int_ge(id * 7919 % LARGE, LARGE - 10);
	}
	p.top_k = 0;
	p.top_p = 0.01F;	/* nearly flat: less than 1 % of the ids */
	for (int64_t pos = 0; pos < 500; pos++) {
		int id = sampler_choose(big, &p, large, NULL, 0, 0, pos);

		ck_assert_int_ge(id * 7919 % LARGE, LARGE - LARGE / 100);
	}
	sampler_destroy(big);
}
END_TEST

START_TEST(a_bias_of_minus_100_excludes_and_others_add)
{
	static const struct sampler_bias bias[] = {
		{ 1, -100 }, { 7, 6 }, { -1, 50 }, { N, 50 },
	};
	struct sampler_params p = plain;
	int counts[N];

	p.bias = bias;
	p.n_bias = 4;
	count_draws(&p, counts);
	ck_assert_int_eq(counts[1], 0);
	ck_assert_int_gt(counts[7], counts[6]);
	p.temperature = 0;
	ck_assert_int_eq(choose(&p, 0), 7);
}
END_TEST

/* Context: prompt 1 6 6, generation 2 2; greedy choice under penalties. */
static const struct {
	float repeat, frequency, presence;
	int32_t last_n, id;
} penalties[] = {
	{ 1, 0, 0, 0, 1 },
	{ 2, 0, 0, 0, 1 },		/* 1.5, 1.25, 1: still the largest */
	{ 4, 0, 0, 0, 0 },		/* .75 .625 .5 and 1 untouched */
	{ 4, 0, 0, 2, 1 },		/* the window has 2 alone */
	{ 4, 0, 0, 4, 1 },		/* 6 6 2 2 */
	{ 1, 2, 2, 0, 1 },		/* the prompt does not count */
	{ 1, -1, 0, 0, 2 },		/* 2 + 2 */
	{ 1, 0, -2, 0, 2 },		/* 2 + 2, once */
	{ 1, 0, -1, 0, 1 },		/* 3 and 3: the lower id */
};

START_TEST(penalties_count_what_they_should)
{
	static const int32_t context[] = { 1, 6, 6, 2, 2 };
	struct sampler_params p = plain;

	p.temperature = 0;
	p.repeat_penalty = penalties[_i].repeat;
	p.frequency_penalty = penalties[_i].frequency;
	p.presence_penalty = penalties[_i].presence;
	p.repeat_last_n = penalties[_i].last_n;
	for (int again = 0; again < 2; again++)	/* nothing is left over */
		ck_assert_int_eq(sampler_choose(s, &p, logits, context, 5, 3, 2),
		    penalties[_i].id);
}
END_TEST

START_TEST(a_negative_logit_is_made_smaller_by_repetition)
{
	static const float below[N] = { -1, -1.5F, -9, -9, -9, -9, -9, -9 };
	static const int32_t context[] = { 0 };
	struct sampler_params p = plain;

	p.temperature = 0;
	p.repeat_penalty = 2;
	ck_assert_int_eq(sampler_choose(s, &p, below, context, 1, 1, 0), 1);
}
END_TEST

START_TEST(logprobs_are_those_of_the_raw_logits)
{
	struct sampler_logprob top[10];
	double sum = 0, total = 0;

	for (int i = 0; i < N; i++)
		sum += exp(logits[i]);
	ck_assert_float_eq_tol(sampler_logprobs(s, logits, 3, top, 3),
	    (float)log(exp(0) / sum), 1e-5F);
	ck_assert_int_eq(top[0].id, 1);
	ck_assert_int_eq(top[1].id, 6);
	ck_assert_int_eq(top[2].id, 2);
	ck_assert_float_eq_tol(top[1].logprob, (float)log(exp(2.5) / sum), 1e-5F);
	sampler_logprobs(s, logits, 3, top, 10);	/* more than there are */
	for (int i = 0; i < N; i++)
		total += exp(top[i].logprob);
	ck_assert_double_eq_tol(total, 1, 1e-5);
	ck_assert_float_eq(top[9].logprob, -9999);
}
END_TEST

START_TEST(logits_that_are_no_numbers_do_no_harm)
{
	static const float odd[N] = { NAN, -INFINITY, NAN, 1, -INFINITY, NAN,
		-INFINITY, NAN };
	static const float none[N] = { NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN };
	struct sampler_logprob top[2];

	for (int64_t pos = 0; pos < 100; pos++)
		ck_assert_int_eq(sampler_choose(s, &plain, odd, NULL, 0, 0,
		    pos), 3);
	ck_assert_int_eq(sampler_choose(s, &plain, none, NULL, 0, 0, 0), 0);
	ck_assert(isfinite(sampler_logprobs(s, odd, 0, top, 2)));
	ck_assert(isfinite(top[1].logprob));
	ck_assert(isfinite(sampler_logprobs(s, none, 0, top, 2)));
}
END_TEST

static uint32_t
random_below(uint32_t n)
{
	static uint32_t u = 1;

	u = u * 1664525 + 1013904223;
	return (u >> 8) % n;
}

/* Few values, so that many are equal, and some that are no numbers. */
static void
random_logits(float *x, int n)
{
	static const float odd[] = { NAN, -INFINITY, -0.0F, 0 };
	uint32_t steps = 2 + random_below(1000);

	for (int i = 0; i < n; i++)
		x[i] = random_below(20) == 0 ? odd[random_below(4)] :
		    (float)random_below(steps) / 100 - 3;
}

/* Parameters of which each may be off. */
static struct sampler_params
random_params(void)
{
	return (struct sampler_params){
		.temperature = (float)random_below(5) / 2,
		.top_k = (int32_t)random_below(BACKEND_TOP_MAX + 2),
		.top_p = 1 - (float)random_below(3) / 3,
		.min_p = (float)random_below(3) / 10,
		.min_keep = (int32_t)random_below(4),
		.repeat_penalty = random_below(8) == 0 ? 1.1F : 1,
		.seed = random_below(1000),
	};
}

START_TEST(the_largest_logits_are_enough_where_it_says_so)
{
	static const int sizes[] = { 3, 50, LARGE };
	static float x[LARGE];
	struct backend_top top[BACKEND_TOP_MAX];
	struct sampler *large;
	struct err e;
	int n = sizes[_i], n_enough = 0;

	ck_assert_int_eq(sampler_create(n, &large, &e), 0);
	for (int i = 0; i < 2000; i++) {
		struct sampler_params p = random_params();
		int32_t k = sampler_top(&p);

		ck_assert_int_le(k, BACKEND_TOP_MAX);
		if (k == 0) {
			ck_assert(p.repeat_penalty > 1 || (p.temperature > 0 &&
			    (p.top_k == 0 || p.top_k > BACKEND_TOP_MAX)));
			continue;
		}
		n_enough++;
		k = k < n ? k : n;
		random_logits(x, n);
		top_rows_find(x, n, k, top);
		for (int64_t pos = 0; pos < 4; pos++)
			ck_assert_int_eq(sampler_choose_top(large, &p, top, k, pos),
			    sampler_choose(large, &p, x, NULL, 0, 0, pos));
	}
	ck_assert_int_gt(n_enough, 1000);
	sampler_destroy(large);
}
END_TEST

START_TEST(what_changes_logits_needs_all_of_them)
{
	const struct sampler_bias bias = { 3, 1 };
	struct sampler_params p = plain;

	p.top_k = 5;
	ck_assert_int_eq(sampler_top(&p), 5);
	p.frequency_penalty = 0.1F;
	ck_assert_int_eq(sampler_top(&p), 0);
	p.frequency_penalty = 0;
	p.presence_penalty = -0.1F;
	ck_assert_int_eq(sampler_top(&p), 0);
	p.presence_penalty = 0;
	p.bias = &bias;
	p.n_bias = 1;
	p.temperature = 0;
	ck_assert_int_eq(sampler_top(&p), 0);
	p.n_bias = 0;
	ck_assert_int_eq(sampler_top(&p), 1);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("sampler");
	TCase *t = tcase_create("sampler");
	SRunner *r = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, philox_gives_its_authors_vectors, 0,
	    COUNT(philox));
	tcase_add_test(t,
	    temperature_zero_takes_the_largest_and_the_lowest_id_of_equals);
	tcase_add_test(t, draws_follow_the_softmax);
	tcase_add_test(t, a_draw_depends_on_seed_and_position_alone);
	tcase_add_loop_test(t, filters_leave_exactly_these, 0, COUNT(filters));
	tcase_add_test(t, top_k_and_top_p_are_right_in_a_large_vocabulary);
	tcase_add_test(t, a_bias_of_minus_100_excludes_and_others_add);
	tcase_add_loop_test(t, penalties_count_what_they_should, 0,
	    COUNT(penalties));
	tcase_add_test(t, a_negative_logit_is_made_smaller_by_repetition);
	tcase_add_test(t, logprobs_are_those_of_the_raw_logits);
	tcase_add_test(t, logits_that_are_no_numbers_do_no_harm);
	tcase_add_loop_test(t, the_largest_logits_are_enough_where_it_says_so, 0, 3);
	tcase_add_test(t, what_changes_logits_needs_all_of_them);
	suite_add_tcase(suite, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
