/*
 * Logprobs of a prompt: those that its tokens have when they are generated,
 * however the prompt is cut, in whatever company and whatever is in the cache.
 */
#include "engine_world.h"

enum { N_FIRST = 7, N_MADE = 60 };

/* A prompt, and what is said to it with logprobs: together a longer prompt. */
static char prompt[N_FIRST + N_MADE + 1];
static json_t *made;

/* The first story that can stand in a C string. */
static void
make(void)
{
	const struct heard *h;
	bool ok = false;

	strcpy(prompt, "a story");
	for (int k = 33; !ok && k < WORLD_IDS; k++, prompt[0]++) {
		prompt[N_FIRST] = '\0';
		world_open();
		world_add(k, prompt, "'max_tokens':60,'logprobs':2,"
		    "'temperature':0");
		world_run();
		h = world_heard(k);
		ck_assert_int_eq(h->n_tokens, N_MADE);
		ok = true;
		for (int i = 0; i < N_MADE; i++) {
			ok = ok && h->tokens[i] > 0 && h->tokens[i] < 256;
			prompt[N_FIRST + i] = (char)h->tokens[i];
		}
		prompt[N_FIRST + N_MADE] = '\0';
		json_decref(made);
		made = json_incref(h->logprobs);
	}
	ck_assert(ok);
	prompt[0]--;
}

static void
check(const struct heard *h)
{
	json_t *v = h->scores;

	ck_assert_uint_eq(json_array_size(v), N_FIRST + N_MADE);
	ck_assert_ptr_null(json_object_get(json_array_get(v, 0), "logprob"));
	ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(v,
	    0), "id")), prompt[0]);
	for (size_t i = 0; i < N_MADE; i++)
		ck_assert_msg(json_equal(json_array_get(v, N_FIRST + i),
		    json_array_get(made, i)), "token %zu", i);
}

START_TEST(the_logprobs_of_a_prompt_are_those_of_its_generation)
{
	static const int32_t rows[] = { 4, 7, 16, 33, 64 };

	make();
	for (int k = 0; k < 5; k++) {
		int n = 2 + 6 * k;

		world.config.step_rows = world.config.prefill_rows = rows[k];
		world_open();
		world_add(n, prompt, "'max_tokens':1");
		world_add(n + 1, "somebody", "'max_tokens':5");
		world_add(n + 2, prompt, "'max_tokens':3,'logprobs':2,"
		    "'prompt_logprobs':true");
		world_add(n + 3, prompt, "'max_tokens':2,'logprobs':2,"
		    "'prompt_logprobs':true");
		world_run();
		check(world_heard(n + 2));
		check(world_heard(n + 3));
		ck_assert_ptr_null(world_heard(n)->scores);
		ck_assert_int_eq(world_heard(n + 1)->n_tokens, 5);
		/* Known by now, and computed all the same. */
		world_add(n + 4, prompt, "'max_tokens':1,'logprobs':2,"
		    "'prompt_logprobs':true");
		world_run();
		check(world_heard(n + 4));
	}
	json_decref(made);
}
END_TEST

START_TEST(they_survive_preemption_and_speculation)
{
	make();
	world.config.n_pages = WORLD_CTX / KV_PAGE;
	world.config.step_rows = world.config.prefill_rows = 8;
	world.config.speculate = 4;
	world_open();
	for (int n = 10; n < 13; n++)
		world_add(n, "abcdefgh", "'max_tokens':200");
	for (int i = 0; i < 60; i++)
		world_step();
	world_add(2, prompt, "'max_tokens':40,'logprobs':2,"
	    "'prompt_logprobs':true");
	world_run();
	check(world_heard(2));
	json_decref(made);
}
END_TEST

START_TEST(what_cannot_be_told_is_refused)
{
	char long_prompt[WORLD_CTX];
	struct decode_accepted a;
	struct err e;

	world_open();
	ck_assert_int_eq(world_try(1, "a", "'prompt_logprobs':true", NULL, &a,
	    &e), ERR_RANGE);
	ck_assert_str_eq(e.param, "logprobs");
	memset(long_prompt, 'a', sizeof(long_prompt));
	long_prompt[WORLD_CTX - 2] = '\0';
	ck_assert_int_eq(world_try(1, long_prompt, "'prompt_logprobs':true,"
	    "'logprobs':20,'max_tokens':1", NULL, &a, &e), 0);
	world_run();
	ck_assert_uint_eq(json_array_size(world_heard(1)->scores),
	    WORLD_CTX - 2);
}
END_TEST

int
main(void)
{
	TCase *t = tcase_create("scores");

	tcase_add_test(t, the_logprobs_of_a_prompt_are_those_of_its_generation);
	tcase_add_test(t, they_survive_preemption_and_speculation);
	tcase_add_test(t, what_cannot_be_told_is_refused);
	return world_main(suite_create("scores"), t);
}
