/*
 * The engine on the GPU backend: a request gets the same tokens, from the same logits bit
 * for bit, whatever runs beside it, however its prompt is cut, whether it was seen before and
 * whether its tokens were guessed; with all logits and with the largest alone.
 */
#include "exact_world.h"
#include "gpu_world.h"
#include "random_model.h"

static const char greedy[] = "'temperature':0,'max_tokens':10,'ignore_eos':true";
static const char sampled[] = "'temperature':0.9,'seed':7,'max_tokens':8,"
    "'top_p':0.95,'top_k':20,'ignore_eos':true";
static const char penalised[] = "'temperature':1.1,'seed':3,'max_tokens':6,"
    "'repeat_penalty':1.2,'logprobs':2,'ignore_eos':true";

/* What each request begins with, how much of it, and what is asked. */
static const struct {
	int text, n_prompt;
	const char *members;
} asked[] = {
	{ 0, 3, greedy },
	{ 1, 34, sampled },
	{ 1, 40, greedy },	/* begins as the one before */
	{ 4, 12, greedy },	/* a loop */
	{ 2, 5, penalised },
};
enum { N_ASKED = sizeof(asked) / sizeof(asked[0]) };

static const struct exact_way ways[] = {
	{ .what = "7 rows a step", .n_slots = 3, .step_rows = 7, .together = true },
	{ .what = "guesses, largest logits only", .speculate = 5, .top = true,
	    .together = true },
	{ .what = "a cache with few pages", .n_pages = 10, .prefix_cache = true,
	    .twice = true, .together = true, .speculate = SPECULATE_AUTO, .top = true },
};

static int32_t
token(int text, int pos, int vocab)
{
	if (text == 4)
		return (pos % 5 * 5 + 1) % vocab;
	return (text * 79 + pos * pos * 31 + pos * 17) % vocab;
}

START_TEST(requests_get_the_same_in_every_way)
{
	static struct model m;

	random_model(&random_shapes[0], &m);
	exact.model = &m;
	exact.n_requests = N_ASKED;
	exact.bits = 1;
	for (int i = 0; i < N_ASKED; i++) {
		struct exact_request *rq = &exact.requests[i];

		rq->n_prompt = asked[i].n_prompt;
		rq->members = asked[i].members;
		for (int p = 0; p < rq->n_prompt; p++)
			rq->prompt[p] = token(asked[i].text, p, m.config.vocab);
	}
	exact_baseline("gpu", NULL);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct exact_way w = ways[i];

		w.isa = "gpu";
		exact_check(&w);
	}
	/* What is tested did happen, and the backend itself gave the largest. */
	ck_assert_int_eq(exact.inner.top_max, BACKEND_TOP_MAX);
	ck_assert_int_gt(exact.topped, 0);
	ck_assert_int_gt(exact.accepted, 0);
	ck_assert_int_gt(exact.cached, 0);
	exact_close();
}
END_TEST

static int
run_tests(void)
{
	TCase *t = tcase_create("gpu engine");

	/* It is the host's side that is tested; on sm_90 few rows are one launch. */
	if (strcmp(getenv("GPU_TARGET"), "gfx12") == 0)
		return EXIT_SUCCESS;
	tcase_add_checked_fixture(t, world_reset, world_close);
	tcase_add_test(t, requests_get_the_same_in_every_way);
	return gpu_world_run(t, "gpu engine");
}

int
main(int argc, char **argv)
{
	(void)argc;
	return gpu_world_main(argv[0], run_tests);
}
