/*
 * The promise of backend.h, through the engine: a request gets the same tokens,
 * from the same logits bit for bit, whatever runs beside it, however many
 * threads there are, however its prompt is cut, whether it was seen before and
 * whether its tokens were guessed.  It holds for one instruction set and one
 * type of KV cache; between two of them float sums are taken in another order.
 */
#include "backend/cpu_kernels.h"
#include "exact_world.h"
#include "random_model.h"
#include "slow.h"

#define DEMO "models/halo-demo.h1b"

static const char *const isas[] = { "avx512", "avxvnni", "avx2", "neon", "scalar" };
enum { N_ISAS = sizeof(isas) / sizeof(isas[0]) };

static const char greedy[] = "'temperature':0,'max_tokens':40,"
    "'ignore_eos':true";
static const char sampled[] = "'temperature':0.9,'seed':7,'max_tokens':30,"
    "'top_p':0.95,'top_k':50,'ignore_eos':true";
static const char penalised[] = "'temperature':1.1,'seed':3,'max_tokens':24,"
    "'repeat_penalty':1.2,'frequency_penalty':0.3,'presence_penalty':0.1,"
    "'repeat_last_n':16,'logit_bias':{'1':2,'2':-100},'min_p':0.01";
static const char alternatives[] = "'temperature':0,'max_tokens':20,"
    "'logprobs':5";

/* What each request begins with, how much of it, and what is asked.  The text
 * is ids of the model that runs: some say again what they said before. */
static const struct {
	int text, n_prompt;
	const char *members;
} asked[EXACT_REQUESTS] = {
	{ 0, 3, greedy },
	{ 1, 71, greedy },
	{ 1, 100, sampled },		/* begins as the one before */
	{ 2, 33, penalised },
	{ 1, 71, sampled },		/* asked before, sampled now */
	{ 3, 96, greedy },		/* pages that are just full */
	{ 4, 50, greedy },		/* a loop */
	{ 2, 65, alternatives },
};

static int32_t
token(int text, int pos, int vocab)
{
	uint32_t h = (uint32_t)(text * 7919 + pos * pos * 31 + pos * 17);

	if (text == 4)
		return (pos % 7 * 5 + 1) % vocab;
	return (int32_t)(h % (uint32_t)vocab);
}

static void
use_model(const struct model *m, int n_requests)
{
	exact.model = m;
	exact.n_requests = n_requests;
	exact.bits = 1;
	exact.opened[0] = '\0';
	for (int i = 0; i < n_requests; i++) {
		struct exact_request *rq = &exact.requests[i];

		rq->n_prompt = asked[i].n_prompt;
		rq->members = asked[i].members;
		for (int p = 0; p < rq->n_prompt; p++)
			rq->prompt[p] = token(asked[i].text, p,
			    m->config.vocab);
	}
}

static bool
have(const char *isa)
{
	struct cpu_kernels k;
	struct err e;

	return cpu_kernels_open(isa, &k, &e) == 0;
}

/* Every way in which nothing may change, on the best instructions there are. */
static const struct exact_way ways[] = {
	{ .what = "2 threads, one by one", .threads = 2, .n_slots = 1 },
	{ .what = "3 threads, a row a step", .threads = 3, .n_slots = 1,
	    .step_rows = 1 },
	{ .what = "together", .threads = 2, .together = true },
	{ .what = "7 rows a step", .threads = 2, .n_slots = 3, .step_rows = 7,
	    .together = true },
	{ .what = "32 rows a step, 5 threads", .threads = 5, .n_slots = 5,
	    .step_rows = 32, .together = true },
	{ .what = "512 rows a step, 1 thread", .threads = 1, .step_rows = 512,
	    .together = true },
	{ .what = "guesses", .threads = 2, .speculate = SPECULATE_AUTO,
	    .together = true },
	{ .what = "a guess each", .threads = 1, .n_slots = 1, .speculate = 1 },
	{ .what = "5 guesses each, together", .threads = 2, .speculate = 5,
	    .together = true },
	{ .what = "16 guesses each, 32 rows", .threads = 3, .speculate = 16,
	    .step_rows = 32, .n_slots = 4, .together = true },
	{ .what = "few pages", .threads = 2, .n_slots = 8, .n_pages = 10,
	    .together = true, .speculate = 3 },
	{ .what = "a warm cache", .threads = 2, .prefix_cache = true,
	    .together = true, .twice = true },
	{ .what = "a warm cache, one by one", .threads = 1, .n_slots = 1,
	    .prefix_cache = true, .twice = true, .speculate = 4 },
	{ .what = "a cache with few pages", .threads = 2, .n_pages = 11,
	    .prefix_cache = true, .twice = true, .together = true,
	    .speculate = SPECULATE_AUTO },
	{ .what = "few rows of prompts", .threads = 2, .prefill_rows = 5,
	    .prefix_cache = true, .together = true, .speculate = 2 },
	{ .what = "largest logits only", .threads = 2, .top = true,
	    .together = true, .speculate = 4 },
};
enum { N_WAYS = sizeof(ways) / sizeof(ways[0]) };

/* Those among ways that a slow build goes, and every small model. */
static bool
is_short(int way)
{
	return way == 3 || way == 9 || way == 13;
}

static void
check_ways(const char *isa, const char *kv, bool all)
{
	exact_baseline(isa, kv);
	for (int i = 0; i < N_WAYS; i++) {
		struct exact_way w = ways[i];

		if (!all && !is_short(i))
			continue;
		w.isa = isa;
		w.kv = kv;
		exact_check(&w);
	}
	/* What is tested did happen. */
	ck_assert_int_gt(exact.accepted, 0);
	ck_assert_int_gt(exact.cached, 0);
	ck_assert_int_gt(exact.copied, 0);
	/* With 8 bits a model may say something shorter. */
	ck_assert(!all || kv != NULL || exact.preempted > 0);
	ck_assert(!all || exact.evicted > 0);
	ck_assert(!all || exact.topped > 0);
	exact_close();
}

START_TEST(the_demo_says_the_same_in_every_way)
{
	struct model m;
	struct err e;

	ck_assert_msg(model_open(DEMO, false, &m, &e) == 0, "%s", e.text);
	use_model(&m, SLOW ? 4 : EXACT_REQUESTS);
	if (SLOW)
		exact.requests[3] = exact.requests[0];
	check_ways("auto", NULL, !SLOW);
	model_close(&m);
}
END_TEST

START_TEST(models_of_every_shape_say_the_same)
{
	struct model m;

	random_model(&random_shapes[_i], &m);
	use_model(&m, EXACT_REQUESTS);
	check_ways("auto", NULL, !SLOW && _i % 3 == 0);
}
END_TEST

START_TEST(each_instruction_set_says_the_same)
{
	struct model m;

	if (!have(isas[_i]))
		return;
	random_model(&random_shapes[SLOW ? 4 : 0], &m);
	use_model(&m, EXACT_REQUESTS);
	check_ways(isas[_i], NULL, !SLOW);
	if (strcmp(isas[_i], "scalar") == 0)
		return;		/* slow, and the other shapes differ by kernels */
	random_model(&random_shapes[6], &m);
	use_model(&m, EXACT_REQUESTS);
	check_ways(isas[_i], NULL, false);
}
END_TEST

START_TEST(a_cache_of_8_bits_says_the_same)
{
	struct model m;

	random_model(&random_shapes[_i * 3], &m);
	use_model(&m, EXACT_REQUESTS);
	check_ways("auto", "i8", !SLOW);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("exactness");
	TCase *t = tcase_create("exactness");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, the_demo_says_the_same_in_every_way);
	tcase_add_loop_test(t, models_of_every_shape_say_the_same, 0,
	    N_RANDOM_SHAPES);
	tcase_add_loop_test(t, each_instruction_set_says_the_same, 0, N_ISAS);
	tcase_add_loop_test(t, a_cache_of_8_bits_says_the_same, 0, 2);
	return world_main(s, t);
}
