/*
 * Guesses from what was said before: found where they should be, never seen in
 * the output, and given up when they do not pay.
 */
#include "engine_state.h"
#include "engine_world.h"

/* The longest match that ends before n, the latest of those; by looking. */
static int32_t
look(const int32_t *tokens, int32_t n, int32_t *match)
{
	int32_t best = 0;

	*match = 0;
	for (int32_t at = n - 1; at > 0; at--) {
		int32_t k = 0;

		while (k < at && k < NGRAMS_LONGEST &&
		    tokens[at - 1 - k] == tokens[n - 1 - k])
			k++;
		if (k > *match) {
			*match = k;
			best = at;
		}
	}
	return best;
}

START_TEST(the_latest_of_the_longest_matches_is_found)
{
	static int32_t tokens[1500];
	struct ngrams g;
	struct err e;
	uint32_t bits = 1;
	int found = 0;

	ck_assert_int_eq(ngrams_init(&g, 4096, &e), 0);
	for (int round = 0; round < 2; round++) {
		ngrams_reset(&g);
		for (int32_t n = 1; n <= 1500; n++) {
			int32_t match, expected, at, most;

			bits = bits * 1664525 + 1013904223;
			tokens[n - 1] = (int32_t)(bits >> 16) % (8 + 40 * round);
			at = ngrams_find(&g, tokens, n, 0, &match);
			expected = look(tokens, n, &most);
			if (at != 0)
				ck_assert_int_ge(match, 1);
			/* A table may forget, but not often. */
			found += at == expected;
			ck_assert_int_eq(at == 0, match == 0);
		}
	}
	ck_assert_int_ge(found, 2900);
	ngrams_finish(&g);
}
END_TEST

START_TEST(a_place_that_is_followed_is_left_for_a_longer_match_alone)
{
	static const int32_t tokens[] = { 1, 2, 3, 4, 9, 2, 3, 4, 8, 1, 2, 3, 4 };
	struct ngrams g;
	int32_t match;
	struct err e;

	ck_assert_int_eq(ngrams_init(&g, 64, &e), 0);
	ck_assert_int_eq(ngrams_find(&g, tokens, 13, 0, &match), 8);
	ck_assert_int_eq(match, 3);
	ck_assert_int_eq(ngrams_find(&g, tokens, 13, 4, &match), 4);
	ck_assert_int_eq(match, 4);
	ck_assert_int_eq(ngrams_find(&g, tokens, 13, 6, &match), 8);
	ck_assert_int_eq(ngrams_find(&g, tokens, 13, 13, &match), 8);
	ngrams_finish(&g);
}
END_TEST

/* What the model is to say: some line again and again, the rest chance. */
static int32_t script[WORLD_CTX + 16];

static void
write_script(const char *line, int noise)
{
	size_t n = strlen(line);
	uint32_t bits = 7;

	for (size_t i = 0; i < WORLD_CTX + 16; i++) {
		bits = bits * 1664525 + 1013904223;
		script[i] = noise > 0 && (int)(bits >> 16) % noise == 0 ?
		    (int32_t)(bits >> 24) : (unsigned char)line[i % n];
	}
	world.script = script;
	world.n_prompt = 3;
}

static const char sampled[] = "'max_tokens':200,'seed':11,'temperature':1.5,"
    "'repeat_penalty':1.1,'frequency_penalty':0.3,'presence_penalty':0.2,"
    "'repeat_last_n':20,'logprobs':3";

static const char *const requests[] = {
	"'max_tokens':200,'temperature':0",
	"'max_tokens':199,'temperature':0,'logprobs':2",
	"'max_tokens':200,'temperature':0,'stop':['round t','zzz']",
	"'max_tokens':2,'temperature':0",
	"'max_tokens':1",
	sampled,
};
enum { N_REQUESTS = sizeof(requests) / sizeof(requests[0]) };

/* The script is likely, not certain, and a row costs time of its own. */
static int64_t row_us;

static int
soft_forward(struct backend *b, const struct backend_row *rows, int n,
    float *logits, struct err *e)
{
	int r = world_forward(b, rows, n, logits, e);

	world.now_us += n * row_us;
	for (int i = 0; i < n; i++)
		for (int k = 0; k < WORLD_VOCAB && rows[i].want_logits; k++)
			*logits++ /= 10;
	return r;
}

static void
same(const struct heard *a, const struct heard *b)
{
	ck_assert_int_eq(a->n_tokens, b->n_tokens);
	ck_assert_mem_eq(a->tokens, b->tokens,
	    (size_t)a->n_tokens * sizeof(*a->tokens));
	ck_assert_str_eq(a->text.len > 0 ? a->text.data : "",
	    b->text.len > 0 ? b->text.data : "");
	ck_assert_str_eq(a->finish, b->finish);
	ck_assert(json_equal(a->logprobs, b->logprobs));
}

START_TEST(what_is_said_is_the_same_with_guesses)
{
	static const int modes[] = { 1, 2, 5, 16, SPECULATE_AUTO };
	int noise = _i % 3 * 12, alone;
	const char *members = requests[_i / 3];

	write_script("round and round the ragged rock ", noise);
	world.forward_us = 1000;
	world.backend.forward = soft_forward;
	world_open();
	world_add(1, "abc", members);
	world_run();
	alone = world.n_forwards;
	for (int i = 0; i < 5; i++) {
		world.n_forwards = 0;
		world.config.speculate = modes[i];
		world_open();
		world_add(2 + i, "abc", members);
		world_run();
		same(world_heard(2 + i), world_heard(1));
		ck_assert_int_le(world.n_forwards, alone);
		if (alone >= 199 && noise == 0 && members != sampled)
			ck_assert_int_lt(world.n_forwards, alone * 2 / 3);
		ck_assert_int_eq(world_stats().kv_pages_free,
		    world.config.n_pages);
		ck_assert_int_eq(world_stats().generated_tokens,
		    world_heard(1)->n_tokens);
	}
}
END_TEST

START_TEST(guesses_are_the_same_in_company_and_stay_in_the_step)
{
	write_script("she sells ", 20);
	for (int i = 0; i < 2; i++) {
		world.config.speculate = i == 0 ? 0 : 16;
		world.config.step_rows = i == 0 ? 64 : 7;
		world.rows_max = 0;
		world.backend.forward = soft_forward;
		world_open();
		for (int k = 0; k < 4; k++) {
			world_add(10 * i + k, "abc", sampled);
			for (int s = 0; s < k; s++)
				world_step();
		}
		world_run();
	}
	ck_assert_int_eq(world.rows_max, 7);
	for (int k = 0; k < 4; k++)
		same(world_heard(10 + k), world_heard(k));
	ck_assert_int_gt(world_stats().draft_accepted, 0);
}
END_TEST

START_TEST(guesses_leave_room_for_the_pieces_that_may_be_kept)
{
	write_script("na", 0);
	world.config.speculate = 16;
	world_open();
	world_add(1, "abc", "'temperature':0,'lease_ms':60000");
	while (world_step())
		;
	ck_assert_int_eq(world_heard(1)->n_tokens, DECODE_UNACKED_MAX);
	engine_ack(world.en, world_id(1), 5);
	while (world_step())
		;
	ck_assert_int_eq(world_heard(1)->n_tokens, DECODE_UNACKED_MAX + 5);
}
END_TEST

START_TEST(what_was_guessed_right_is_counted)
{
	struct engine_stats st;

	write_script("na", 0);
	world.config.speculate = 4;
	world_open();
	world_add(1, "abc", "'temperature':0,'max_tokens':100");
	world_run();
	st = world_stats();
	ck_assert_int_gt(st.drafts, 15);
	ck_assert_int_le(st.draft_tokens, 4 * st.drafts);
	ck_assert_int_gt(st.draft_accepted, 70);
	ck_assert_int_le(st.draft_accepted, st.draft_tokens);
	ck_assert_int_eq(st.generated_tokens, 100);
}
END_TEST

/* Microseconds of 400 tokens after abc. */
static int64_t
duration(int id, int mode)
{
	int64_t began;

	world.backend.forward = soft_forward;
	world.config.speculate = mode;
	world_open();
	began = world.now_us;
	world_add(id, "abc", "'max_tokens':400,'temperature':0,"
	    "'lease_ms':60000");
	world_run();
	return world.now_us - began;
}

START_TEST(guesses_that_are_right_pay_where_rows_are_cheap)
{
	int64_t off, with;

	write_script("peter piper picked a peck of pickled peppers ", 0);
	world.forward_us = 10000;
	row_us = 500;
	off = duration(1, 0);
	with = duration(2, SPECULATE_AUTO);
	same(world_heard(2), world_heard(1));
	ck_assert_int_lt(with, off / 3);
}
END_TEST

START_TEST(guesses_are_given_up_where_rows_cost_as_much_as_steps)
{
	int64_t off, with;

	write_script("peter piper picked a peck of pickled peppers ", 0);
	world.forward_us = 0;
	row_us = 10000;
	off = duration(1, 0);
	with = duration(2, SPECULATE_AUTO);
	same(world_heard(2), world_heard(1));
	ck_assert_int_lt(with, off + off * 3 / 100);
	ck_assert_int_le(world_stats().draft_tokens, 20);
}
END_TEST

START_TEST(guesses_that_are_wrong_are_given_up)
{
	int64_t off, with;

	write_script("x", 1);	/* by chance, each byte as likely as the others */
	world.forward_us = 10000;
	row_us = 2000;
	off = duration(1, 0);
	with = duration(2, SPECULATE_AUTO);
	same(world_heard(2), world_heard(1));
	ck_assert_int_lt(with, off + off * 3 / 100);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("speculate");
	TCase *t = tcase_create("speculate");

	tcase_add_test(t, the_latest_of_the_longest_matches_is_found);
	tcase_add_test(t,
	    a_place_that_is_followed_is_left_for_a_longer_match_alone);
	tcase_add_loop_test(t, what_is_said_is_the_same_with_guesses, 0,
	    3 * N_REQUESTS);
	tcase_add_test(t, guesses_are_the_same_in_company_and_stay_in_the_step);
	tcase_add_test(t, guesses_leave_room_for_the_pieces_that_may_be_kept);
	tcase_add_test(t, what_was_guessed_right_is_counted);
	tcase_add_test(t, guesses_that_are_right_pay_where_rows_are_cheap);
	tcase_add_test(t,
	    guesses_are_given_up_where_rows_cost_as_much_as_steps);
	tcase_add_test(t, guesses_that_are_wrong_are_given_up);
	return world_main(s, t);
}
