/*
 * A prompt as one vector: the arithmetic, and in the engine the same vector
 * however the prompt was cut, in whatever company and whatever is in the cache,
 * which it leaves as it was.
 */
#include <math.h>

#include "base64.h"
#include "engine_world.h"

static const char prompt[] = "The quick brown fox jumps over the lazy dog, "
    "and over the next one, and then it is tired and sleeps.";

static void
decode(const char *b64, float *v, int n)
{
	struct buf raw = { 0 };

	ck_assert(base64_decode(b64, strlen(b64), &raw));
	ck_assert_uint_eq(raw.len, (size_t)n * sizeof(*v));
	memcpy(v, raw.data, raw.len);	/* tests run on little endian */
	buf_free(&raw);
}

START_TEST(the_mean_has_length_one_and_the_direction_of_the_sum)
{
	const float a[] = { 1, 2, -3 }, b[] = { 3, -2, 3 };
	struct pool p;
	float v[3];
	struct err e;

	ck_assert_int_eq(pool_init(&p, "mean", 3, &e), 0);
	ck_assert(pool_wants(&p, 0, 2) && pool_wants(&p, 1, 2));
	pool_add(&p, 0, b);	/* a run that was given up */
	pool_add(&p, 0, a);
	pool_add(&p, 1, b);
	ck_assert_int_eq(p.n_rows, 2);
	ck_assert(pool_finish(&p));
	decode(p.text.data, v, 3);
	ck_assert_float_eq(v[0], 1);
	ck_assert_float_eq(v[1], 0);
	ck_assert_float_eq(v[2], 0);
	pool_free(&p);
}
END_TEST

START_TEST(the_last_is_the_last)
{
	const float a[] = { 1, 2 }, b[] = { 3, 4 };
	struct pool p;
	float v[2];
	struct err e;

	ck_assert_int_eq(pool_init(&p, "last", 2, &e), 0);
	ck_assert(!pool_wants(&p, 0, 2) && pool_wants(&p, 1, 2));
	pool_add(&p, 1, a);
	pool_add(&p, 1, b);
	ck_assert(pool_finish(&p));
	decode(p.text.data, v, 2);
	ck_assert_float_eq(v[0], 0.6F);
	ck_assert_float_eq(v[1], 0.8F);
	pool_free(&p);
}
END_TEST

START_TEST(a_vector_without_length_is_none)
{
	const float zero[] = { 0, 0 }, wild[] = { INFINITY, 0 };
	struct pool p;
	struct err e;

	ck_assert_int_eq(pool_init(&p, "max", 2, &e), ERR_RANGE);
	ck_assert_str_eq(e.param, "pooling");
	ck_assert_int_eq(pool_init(&p, "mean", 2, &e), 0);
	pool_add(&p, 0, zero);
	ck_assert(!pool_finish(&p));
	pool_add(&p, 0, wild);
	ck_assert(!pool_finish(&p));
	pool_free(&p);
}
END_TEST

/* In an engine of its own. */
static void
alone(const char *members, char vector[64])
{
	world_open();
	world_add(1, prompt, members);
	world_run();
	ck_assert_str_eq(world_heard(1)->finish, "stop");
	ck_assert_int_eq(world_heard(1)->n_tokens, 0);
	ck_assert_str_ne(world_heard(1)->vector, "");
	strcpy(vector, world_heard(1)->vector);
}

static const char *const kinds[] = { "'pooling':'mean'", "'pooling':'last'" };

START_TEST(a_vector_does_not_depend_on_cuts_or_company)
{
	static const int32_t rows[] = { 4, 7, 33, 64 };
	char vector[64];

	alone(kinds[_i], vector);
	for (int k = 0; k < 4; k++) {
		int n = 10 + 3 * k;

		world.config.step_rows = world.config.prefill_rows = rows[k];
		world_open();
		world_add(n, "somebody else", "'max_tokens':30");
		world_add(n + 1, prompt, kinds[_i]);
		world_add(n + 2, prompt, "'max_tokens':3");
		world_run();
		ck_assert_str_eq(world_heard(n + 1)->vector, vector);
		ck_assert_int_eq(world_heard(n)->n_tokens, 30);
		ck_assert_int_eq(world_heard(n + 2)->n_tokens, 3);
	}
}
END_TEST

static int64_t
stat_of(int n, const char *member)
{
	return json_integer_value(json_object_get(world_heard(n)->stats,
	    member));
}

START_TEST(a_mean_computes_all_of_a_prompt_that_is_known)
{
	const int64_t len = (int64_t)strlen(prompt);
	char vector[64];
	int64_t computed;

	alone(kinds[_i], vector);
	world_open();
	world_add(2, prompt, "'max_tokens':1");
	world_run();
	computed = world_stats().prompt_tokens;
	world_add(3, prompt, kinds[_i]);
	world_run();
	ck_assert_str_eq(world_heard(3)->vector, vector);
	ck_assert_int_eq(stat_of(3, "n_cached"), _i == 0 ? 0 : len - 1);
	ck_assert_int_eq(world_stats().prompt_tokens - computed,
	    _i == 0 ? len : 1);
	/* What was known is known still, and nothing else. */
	world_add(4, prompt, "'max_tokens':1");
	world_run();
	ck_assert_int_eq(stat_of(4, "n_cached"), len - 1);
	ck_assert_int_eq(world_stats().kv_pages_free, world.config.n_pages);
}
END_TEST

START_TEST(a_vector_survives_preemption)
{
	char vector[64];

	alone(kinds[_i], vector);
	world.config.n_pages = WORLD_CTX / KV_PAGE;
	world.config.step_rows = world.config.prefill_rows = 8;
	world_open();
	for (int n = 10; n < 13; n++)
		world_add(n, "abcdefgh", "'max_tokens':200");
	for (int i = 0; i < 90; i++)
		world_step();
	world_add(2, prompt, kinds[_i]);
	world_run();
	ck_assert_str_eq(world_heard(2)->vector, vector);
}
END_TEST

START_TEST(a_backend_without_states_refuses)
{
	struct decode_accepted a;
	struct err e;

	world.backend.has_hidden = false;
	world_open();
	ck_assert_int_eq(world_try(1, prompt, kinds[0], NULL, &a, &e),
	    ERR_UNSUPPORTED);
	ck_assert_str_eq(e.param, "pooling");
	ck_assert_int_eq(world_try(1, prompt, "", NULL, &a, &e), 0);
}
END_TEST

START_TEST(the_vector_is_kept_for_replay)
{
	json_t *events;
	char vector[64];
	struct err e;

	alone(kinds[0], vector);
	world_open();
	world.deaf = true;
	world_add(5, prompt, kinds[0]);
	while (world_step())
		;
	world.deaf = false;
	ck_assert_int_eq(engine_replay(world.en, world_id(5), 0, &events, &e),
	    0);
	world_take(events);
	json_decref(events);
	ck_assert_str_eq(world_heard(5)->vector, vector);
}
END_TEST

int
main(void)
{
	TCase *t = tcase_create("pool");

	tcase_add_test(t,
	    the_mean_has_length_one_and_the_direction_of_the_sum);
	tcase_add_test(t, the_last_is_the_last);
	tcase_add_test(t, a_vector_without_length_is_none);
	tcase_add_loop_test(t, a_vector_does_not_depend_on_cuts_or_company, 0,
	    2);
	tcase_add_loop_test(t, a_mean_computes_all_of_a_prompt_that_is_known,
	    0, 2);
	tcase_add_loop_test(t, a_vector_survives_preemption, 0, 2);
	tcase_add_test(t, a_backend_without_states_refuses);
	tcase_add_test(t, the_vector_is_kept_for_replay);
	return world_main(suite_create("pool"), t);
}
