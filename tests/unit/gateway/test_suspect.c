/*
 * Who ended the worker: RELIABILITY's rules as tables of what happened.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "poison.h"
#include "suspect.h"

#define N_ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

/*
 * One life after the other: how it ended (B: in the step with others, A: alone
 * by a fault, K: alone and killed, o: not in the step, c: stopped), the token of
 * the step, what is here of the request then; the verdict (f free, c charged, X
 * convicted, T too often) and until when it runs alone.
 */
struct life {
	char how;
	int seq, next;
	char verdict;
	int solo_end;
};

static const struct story {
	const char *name;
	struct life lives[12];
} stories[] = {
	{ "with others, then it passes, any number of times", {
	  { 'B', 5, 5, 'c', 6 }, { 'B', 9, 9, 'c', 10 }, { 'B', 12, 12, 'c', 13 },
	  { 'B', 15, 15, 'c', 16 }, { 'B', 18, 18, 'c', 19 },
	  { 'B', 21, 21, 'c', 22 }, { 'B', 24, 24, 'c', 25 },
	  { 'B', 27, 27, 'c', 28 }, { 'B', 30, 30, 'c', 31 },
	  { 'B', 33, 33, 'c', 34 } } },
	{ "alone, then it passes, any number of times", {
	  { 'K', 5, 5, 'c', 6 }, { 'A', 7, 7, 'c', 8 }, { 'K', 9, 9, 'c', 10 },
	  { 'A', 11, 11, 'c', 12 }, { 'K', 13, 13, 'c', 14 } } },
	{ "with others, then alone at the same place", {
	  { 'B', 5, 5, 'c', 6 }, { 'A', 5, 5, 'X', 6 } } },
	{ "alone twice", { { 'A', 0, 0, 'c', 1 }, { 'A', 0, 0, 'X', 1 } } },
	{ "it passed, but that was not heard of", {
	  { 'A', 5, 3, 'c', 6 }, { 'A', 6, 3, 'c', 7 } } },
	{ "it was heard that it passed", {
	  { 'A', 5, 3, 'c', 6 }, { 'A', 5, 6, 'c', 7 } } },
	{ "alone before the place at which it is suspected", {
	  { 'B', 9, 4, 'c', 10 }, { 'A', 6, 6, 'X', 10 } } },
	{ "killed while alone is no proof, nor the second time", {
	  { 'B', 5, 5, 'c', 6 }, { 'K', 5, 5, 'c', 6 }, { 'K', 5, 5, 'c', 6 },
	  { 'K', 6, 6, 'c', 7 } } },
	{ "killed while alone, each time a little further", {
	  { 'B', 9, 2, 'c', 10 }, { 'K', 3, 3, 'c', 10 }, { 'K', 4, 4, 'c', 10 },
	  { 'K', 4, 4, 'c', 10 }, { 'K', 5, 5, 'c', 10 }, { 'K', 6, 6, 'c', 10 },
	  { 'K', 7, 7, 'c', 10 }, { 'K', 7, 7, 'c', 10 }, { 'K', 8, 8, 'c', 10 },
	  { 'K', 9, 9, 'c', 10 }, { 'K', 10, 10, 'c', 11 } } },
	{ "killed while alone at the same place again and again", {
	  { 'B', 5, 5, 'c', 6 }, { 'K', 5, 5, 'c', 6 }, { 'K', 5, 5, 'c', 6 },
	  { 'K', 5, 5, 'X', 6 } } },
	{ "others' crashes and stops are nothing", {
	  { 'B', 5, 5, 'c', 6 }, { 'o', 0, 5, 'f', 6 }, { 'c', 0, 5, 'f', 6 },
	  { 'o', 0, 5, 'f', 6 }, { 'o', 0, 5, 'f', 6 }, { 'o', 0, 5, 'f', 6 },
	  { 'o', 0, 5, 'f', 6 }, { 'o', 0, 5, 'f', 6 }, { 'o', 0, 5, 'f', 6 },
	  { 'o', 0, 5, 'f', 6 }, { 'A', 5, 5, 'X', 6 } } },
	{ "a fault that needs company has a bound", {
	  { 'B', 5, 5, 'c', 6 }, { 'B', 5, 5, 'c', 6 }, { 'B', 5, 5, 'c', 6 },
	  { 'B', 5, 5, 'c', 6 }, { 'B', 5, 5, 'c', 6 }, { 'B', 5, 5, 'c', 6 },
	  { 'B', 5, 5, 'c', 6 }, { 'B', 5, 5, 'c', 6 },
	  { 'B', 5, 5, 'T', 6 } } },
};

START_TEST(a_story_ends_as_it_must)
{
	static const char verdicts[] = "fcXT";
	const struct story *s = &stories[_i];
	struct suspect q = { 0 };

	for (const struct life *l = s->lives; l->how != 0; l++) {
		const struct suspect_crash c = {
			.clean = l->how == 'c',
			.in_step = strchr("BAK", l->how) != NULL,
			.alone = strchr("AK", l->how) != NULL,
			.fault = l->how == 'A' || l->how == 'B',
			.seq = l->seq,
		};
		enum suspect_verdict v;

		suspect_passed(&q, l->next);
		v = suspect_judge(&q, &c, l->next);
		ck_assert_msg(verdicts[v] == l->verdict &&
		    q.solo_end == l->solo_end, "%s: life %d: %c until %d",
		    s->name, (int)(l - s->lives), verdicts[v],
		    (int)q.solo_end);
	}
}
END_TEST

START_TEST(past_its_place_it_is_acquitted)
{
	struct suspect q = { .solo_end = 6, .at = 5, .n_charged = 8,
		.n_killed = 2 };

	suspect_passed(&q, 5);
	ck_assert_int_eq(q.solo_end, 6);
	suspect_passed(&q, 6);
	ck_assert_int_eq(q.solo_end, 0);
	ck_assert_int_eq(q.n_charged, 0);
	ck_assert_int_eq(q.n_killed, 0);
}
END_TEST

START_TEST(five_crashes_in_a_minute_open_the_breaker_for_ten_seconds)
{
	struct breaker b = { 0 };

	for (int i = 0; i < 5; i++) {
		ck_assert(!breaker_open(&b, 100000 + i * 15000));
		breaker_crash(&b, 100000 + i * 15000);
	}
	ck_assert(breaker_open(&b, 160000));
	ck_assert(breaker_open(&b, 169999));
	ck_assert(!breaker_open(&b, 170000));
	breaker_crash(&b, 175000);	/* 15, 30, 45, 60, 75: again five */
	ck_assert(breaker_open(&b, 175001));
	breaker_crash(&b, 300000);
	ck_assert(!breaker_open(&b, 300001));
}
END_TEST

static json_t *
request(const char *text, int seed)
{
	return json_pack("{s:[{s:s, s:s}], s:i, s:i}", "messages", "role",
	    "user", "content", text, "max_tokens", 5, "seed", seed);
}

START_TEST(the_same_request_is_known_for_a_quarter_of_an_hour)
{
	static struct poison p, other;
	json_t *a = request("a", 1), *again = request("a", 2);
	json_t *b = request("b", 1);

	poison_init(&p);
	poison_init(&other);
	ck_assert(!poison_has(&p, a, 1000));
	poison_add(&p, a, 1000);
	ck_assert(poison_has(&p, a, 1000));
	ck_assert(poison_has(&p, again, 1000 + POISON_MS - 1));
	ck_assert(!poison_has(&p, again, 1000 + POISON_MS));
	ck_assert(!poison_has(&p, b, 1000));
	ck_assert(!poison_has(&other, a, 1000));
	ck_assert_uint_eq(json_object_size(a), 3);	/* as it was */
	json_decref(a);
	json_decref(again);
	json_decref(b);
}
END_TEST

START_TEST(only_so_many_are_known)
{
	static struct poison p;
	json_t *v;

	poison_init(&p);
	for (int i = 0; i <= POISON_MAX; i++) {
		v = json_pack("{s:i}", "max_tokens", i);
		poison_add(&p, v, 1000);
		json_decref(v);
	}
	for (int i = 0; i <= 2; i++) {
		v = json_pack("{s:i}", "max_tokens", i);
		ck_assert_int_eq(poison_has(&p, v, 1000), i > 0);
		json_decref(v);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("suspect");
	TCase *t = tcase_create("suspect");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, a_story_ends_as_it_must, 0, N_ROWS(stories));
	tcase_add_test(t, past_its_place_it_is_acquitted);
	tcase_add_test(t,
	    five_crashes_in_a_minute_open_the_breaker_for_ten_seconds);
	tcase_add_test(t, the_same_request_is_known_for_a_quarter_of_an_hour);
	tcase_add_test(t, only_so_many_are_known);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
