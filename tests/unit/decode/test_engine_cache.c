/*
 * Pages that are shared, copied, evicted and taken away: what a request gets is
 * what it would have got alone.  The backend of these tests reads all tokens
 * before a row through its pages, so any mistake with one changes the answer.
 */
#include "engine_world.h"

static int64_t
stat_of(int n, const char *member)
{
	return json_integer_value(json_object_get(world_heard(n)->stats,
	    member));
}

/* Tokens that are computed for prompt, and what is said, in an engine that has
 * said nothing before. */
static const struct heard *
alone(int n, const char *prompt, const char *members)
{
	bool was = world.config.prefix_cache;

	world.config.prefix_cache = false;
	world_open();
	world_add(n, prompt, members);
	world_run();
	world.config.prefix_cache = was;
	return world_heard(n);
}

static void
same(const struct heard *a, const struct heard *b)
{
	ck_assert_int_eq(a->n_tokens, b->n_tokens);
	ck_assert_mem_eq(a->tokens, b->tokens,
	    (size_t)a->n_tokens * sizeof(*a->tokens));
	ck_assert_str_eq(a->finish, b->finish);
}

/* Some text of n bytes, the same for the same seed. */
static const char *
text(char *to, int n, unsigned seed)
{
	for (int i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		to[i] = (char)('a' + (seed >> 16) % 26);
	}
	to[n] = '\0';
	return to;
}

/* Lengths of a first prompt; what a second shares of it, its own length, and
 * how many of its tokens are then found. */
static const struct {
	int first, shared, second, found;
} prefixes[] = {
	{ 100, 100, 100, 99 },	/* the last is computed, for its logits */
	{ 96, 96, 96, 95 },
	{ 97, 97, 97, 96 },
	{ 100, 100, 150, 100 },
	{ 100, 64, 150, 64 },
	{ 100, 70, 90, 70 },	/* in the middle of a full page */
	{ 100, 98, 99, 98 },	/* and of one that is not full */
	{ 100, 10, 200, 10 },
	{ 20, 20, 33, 20 },
	{ 1, 1, 1, 0 },
	{ 100, 0, 100, 0 },
};

START_TEST(what_was_computed_is_not_computed_again)
{
	const int n_first = prefixes[_i].first, n_second = prefixes[_i].second;
	static const char members[] = "'max_tokens':1,'temperature':0";
	static const char more[] = "'max_tokens':40,'seed':5";
	char first[WORLD_CTX], second[WORLD_CTX];
	int64_t computed;

	text(first, n_first, 1);
	text(second, n_second, 2);
	memcpy(second, first, (size_t)prefixes[_i].shared);
	alone(1, second, more);
	world_open();
	world_add(2, first, members);
	world_run();
	computed = world_stats().prompt_tokens;
	world_add(3, second, more);
	world_run();
	same(world_heard(3), world_heard(1));
	ck_assert_int_eq(stat_of(3, "n_cached"), prefixes[_i].found);
	ck_assert_int_eq(stat_of(2, "n_cached"), 0);
	ck_assert_int_eq(world_stats().prompt_tokens - computed,
	    n_second - prefixes[_i].found);
	ck_assert_int_eq(world_stats().cached_tokens, prefixes[_i].found);
	ck_assert_int_eq(world_stats().cache_queries, 2);
	ck_assert_int_eq(world_stats().cache_hits, prefixes[_i].found > 0);
	ck_assert_int_eq(world_stats().page_copies,
	    prefixes[_i].found % KV_PAGE > 0);
	ck_assert_int_eq(world_stats().kv_pages_free, world.config.n_pages);
}
END_TEST

START_TEST(the_second_turn_of_a_chat_finds_the_whole_first)
{
	static const char members[] = "'max_tokens':40,'seed':5";
	char prompt[WORLD_CTX];
	int n = 90;

	text(prompt, n, 1);
	world_open();
	world_add(1, prompt, members);
	world_run();
	for (int i = 0; i < world_heard(1)->n_tokens; i++)
		prompt[n++] = (char)world_heard(1)->tokens[i];
	prompt[n] = '\0';
	ck_assert_uint_eq(strlen(prompt), 90 + 40);
	strcat(prompt, "and the second question");
	world_add(2, prompt, members);
	world_run();
	/* All but the last token, which was sampled and never fed. */
	ck_assert_int_eq(stat_of(2, "n_cached"), 90 + 39);
	same(world_heard(2), alone(3, prompt, members));
}
END_TEST

START_TEST(the_first_piece_says_what_was_found)
{
	const json_t *stats;
	json_t *events;
	struct err e;

	world_open();
	world_add(1, "a prompt", "'max_tokens':5");
	world_run();
	world.deaf = true;
	world_add(2, "a prompt, again", "'max_tokens':5");
	world_run();
	ck_assert_int_eq(engine_replay(world.en, world_id(2), 0, &events, &e),
	    0);
	stats = json_object_get(json_array_get(events, 0), "stats");
	ck_assert_int_eq(json_integer_value(json_object_get(stats,
	    "n_prompt")), 15);
	ck_assert_int_eq(json_integer_value(json_object_get(stats,
	    "n_cached")), 8);
	ck_assert_ptr_null(json_object_get(stats, "n_generated"));
	stats = json_object_get(json_array_get(events, 1), "stats");
	ck_assert_uint_eq(json_object_size(stats), 0);
	json_decref(events);
}
END_TEST

START_TEST(requests_with_one_prompt_compute_it_once)
{
	char prompt[WORLD_CTX];

	text(prompt, 200, 1);
	alone(9, prompt, "'max_tokens':5");
	world.config.n_slots = 8;
	world_open();
	for (int i = 0; i < 8; i++)
		world_add(i, prompt, "'max_tokens':5");
	world_run();
	for (int i = 0; i < 8; i++)
		same(world_heard(i), world_heard(9));
	/* The last page, 8 tokens, is not full: each has its own. */
	ck_assert_int_eq(world_stats().prompt_tokens, 200 + 7 * 8);
	ck_assert_int_eq(stat_of(0, "n_cached"), 0);
	ck_assert_int_eq(stat_of(7, "n_cached"), 192);
}
END_TEST

/* Who asks for it, or has another salt, shares nothing. */
START_TEST(strangers_share_nothing)
{
	char prompt[WORLD_CTX];

	text(prompt, 100, 1);
	world_open();
	world_add(1, prompt, "'max_tokens':1,'cache_salt':1");
	world_run();
	world_add(2, prompt, "'max_tokens':1,'cache_salt':2");
	world_run();
	world_add(3, prompt, "'max_tokens':1");
	world_run();
	world_add(4, prompt, "'max_tokens':1,'cache_salt':1,"
	    "'cache_prompt':false");
	world_run();
	for (int i = 2; i <= 4; i++)
		ck_assert_int_eq(stat_of(i, "n_cached"), 0);
	world_add(5, prompt, "'max_tokens':1,'cache_salt':2");
	world_run();
	ck_assert_int_eq(stat_of(5, "n_cached"), 99);
	same(world_heard(5), world_heard(1));
}
END_TEST

START_TEST(without_a_prefix_cache_all_is_computed)
{
	world.config.prefix_cache = false;
	world_open();
	for (int i = 0; i < 2; i++) {
		world_add(i, "abcdefgh", "'max_tokens':1");
		world_run();
		ck_assert_int_eq(stat_of(i, "n_cached"), 0);
	}
	ck_assert_int_eq(world_stats().prompt_tokens, 16);
	ck_assert_int_eq(world_stats().kv_pages_cached, 0);
}
END_TEST

static void
cancel_2(void)
{
	engine_cancel(world.en, world_id(2));
}

/* What a cancelled request has computed is known; what it has not, is not. */
START_TEST(a_request_that_is_cut_leaves_what_it_has)
{
	char prompt[WORLD_CTX];

	text(prompt, 200, 1);
	world.config.step_rows = 50;
	world_open();
	world_add(2, prompt, "'max_tokens':5");
	world_step();
	world_step();
	if (_i == 0)
		cancel_2();
	else
		world.in_forward = cancel_2;
	world_run();
	world.in_forward = NULL;
	ck_assert_str_eq(world_heard(2)->finish, "cancel");
	world_add(3, prompt, "'max_tokens':5");
	world_run();
	ck_assert_int_eq(stat_of(3, "n_cached"), 100 + 50 * _i);
	same(world_heard(3), alone(4, prompt, "'max_tokens':5"));
}
END_TEST

/* The oldest goes on; the newest waits, and says nothing twice. */
START_TEST(the_newest_waits_when_pages_run_out)
{
	char prompt[3][WORLD_CTX];

	for (int i = 0; i < 3; i++)
		alone(10 + i, text(prompt[i], 100, (unsigned)i + 1),
		    "'max_tokens':300");
	world.config.n_pages = WORLD_CTX / KV_PAGE + 2;
	world_open();
	for (int i = 0; i < 3; i++)
		world_add(i, prompt[i], "'max_tokens':300");
	while (world_stats().preemptions == 0)
		ck_assert(world_step());
	ck_assert_int_eq(world_stats().running, 2);
	ck_assert_int_eq(world_stats().queued, 1);
	ck_assert_int_gt(world_heard(2)->n_tokens, 0);
	world_run();
	ck_assert_int_gt(world_stats().preemptions, 1);
	ck_assert_int_gt(world_stats().evictions, 0);
	for (int i = 0; i < 3; i++)
		same(world_heard(i), world_heard(10 + i));
}
END_TEST

enum { JOBS = 18 };

/*
 * Many requests on few pages, that come, go, are cut and begin alike.  All get
 * to their end, and what each says is what it says alone.
 */
START_TEST(under_pressure_everybody_gets_through_unchanged)
{
	unsigned r = (unsigned)_i * 77 + 1;
	static char prompt[JOBS][WORLD_CTX], members[JOBS][64];
	int n_added = 0, n_cut = 0;

	for (int i = 0; i < JOBS; i++) {
		int n = 1 + (int)((r = r * 1664525 + 1013904223) >> 16) % 300;

		text(prompt[i], n, 1 + (r >> 8) % 3);	/* one of three texts */
		if ((r >> 4) % 3 == 0)
			prompt[i][n / 2] = '!';
		snprintf(members[i], sizeof(members[i]), "'max_tokens':%u,"
		    "'seed':%d,'lease_ms':600000", 1 + (r >> 12) % 200, i % 5);
		alone(20 + i, prompt[i], members[i]);
	}
	world.config.n_slots = 2 + _i % 5;
	world.config.queue_max = JOBS;
	world.config.prefill_rows = 1 + _i * 7 % 64;
	world.config.speculate = _i % 3 * 4;	/* wrong, mostly */
	world.config.n_pages = WORLD_CTX / KV_PAGE + _i % 8;
	world_open();
	for (int step = 0; n_added < JOBS || world_stats().running +
	    world_stats().queued > 0; step++) {
		ck_assert_int_lt(step, 20000);
		r = r * 1664525 + 1013904223;
		if (n_added < JOBS && (r >> 16) % 4 == 0) {
			world_add(n_added, prompt[n_added], members[n_added]);
			n_added++;
		} else if ((r >> 16) % 100 == 1 && n_added > 0) {
			engine_cancel(world.en,
			    world_id((int)(r >> 8) % n_added));
		}
		world_step();
		for (int k = 0; k < world.n_heard; k++)
			engine_ack(world.en, world.heard[k].id,
			    world.heard[k].next);
	}
	for (int i = 0; i < JOBS; i++) {
		const struct heard *a = world_heard(i), *b = world_heard(20 + i);

		if (strcmp(a->finish, "cancel") != 0) {
			same(a, b);
			continue;
		}
		n_cut++;
		ck_assert_int_le(a->n_tokens, b->n_tokens);
		ck_assert_mem_eq(a->tokens, b->tokens,
		    (size_t)a->n_tokens * sizeof(*a->tokens));
	}
	ck_assert_int_lt(n_cut, JOBS / 2);
	ck_assert_int_eq(world_stats().kv_pages_free, world.config.n_pages);
	ck_assert_int_gt(world_stats().evictions, 0);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *s = suite_create("engine_cache");
	TCase *t = tcase_create("cache");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, what_was_computed_is_not_computed_again, 0,
	    COUNT(prefixes));
	tcase_add_test(t, the_second_turn_of_a_chat_finds_the_whole_first);
	tcase_add_test(t, the_first_piece_says_what_was_found);
	tcase_add_test(t, requests_with_one_prompt_compute_it_once);
	tcase_add_test(t, strangers_share_nothing);
	tcase_add_test(t, without_a_prefix_cache_all_is_computed);
	tcase_add_loop_test(t, a_request_that_is_cut_leaves_what_it_has, 0, 2);
	tcase_add_test(t, the_newest_waits_when_pages_run_out);
	tcase_add_loop_test(t, under_pressure_everybody_gets_through_unchanged,
	    0, 12);
	return world_main(s, t);
}
