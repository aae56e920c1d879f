/* Buckets under a clock of our own. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "rates.h"

static struct rates *l;

static void
setup(void)
{
	struct err e;

	ck_assert_int_eq(rates_create(&l, &e), 0);
}

static void
teardown(void)
{
	rates_destroy(l);
}

static struct rates_want
want(int id, int64_t rpm, int64_t tpm)
{
	struct rates_want w = { .rpm = rpm, .tpm = tpm };

	memcpy(w.id, &id, sizeof(id));
	return w;
}

static int64_t
take(struct rates_want w, int64_t n_tokens, uint64_t ticket, int64_t now_ms)
{
	return rates_take(l, &w, 1, n_tokens, ticket, now_ms);
}

START_TEST(a_minutes_worth_is_there_at_once_and_then_flows_evenly)
{
	struct rates_want w = want(1, 60, 0);

	for (int i = 0; i < 60; i++)
		ck_assert_int_eq(take(w, 0, 1, 1000), 0);
	ck_assert_int_eq(take(w, 0, 2, 1000), 1000);
	/* The first is there after a second, and not before. */
	ck_assert_int_eq(take(w, 0, 3, 1400), 1600);
	ck_assert_int_eq(take(w, 0, 2, 2000), 0);
	ck_assert_int_eq(take(w, 0, 3, 3000), 0);
	ck_assert_int_eq(take(w, 0, 4, 3000), 1000);
}
END_TEST

START_TEST(who_comes_back_as_told_is_served_whoever_came_in_between)
{
	struct rates_want w = want(1, 30, 0);
	int64_t told[20], late = 0;

	for (int i = 0; i < 30; i++)
		take(w, 0, 99, 0);
	for (int i = 0; i < 20; i++)
		told[i] = take(w, 0, (uint64_t)i, 10 * i) + 10 * i;
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(told[i], 2000 * (i + 1));
		/* A stranger just before it, who is told a later time. */
		late = take(w, 0, 1000 + (uint64_t)i, told[i] - 1);
		ck_assert_int_gt(late, 0);
		ck_assert_int_eq(take(w, 0, (uint64_t)i, told[i] + 900), 0);
	}
}
END_TEST

START_TEST(the_same_request_twice_at_once_has_two_places)
{
	struct rates_want w = want(1, 60, 0);

	for (int i = 0; i < 60; i++)
		take(w, 0, 99, 0);
	ck_assert_int_eq(take(w, 0, 7, 0), 1000);
	ck_assert_int_eq(take(w, 0, 7, 0), 2000);
	ck_assert_int_eq(take(w, 0, 7, 1000), 0);
	ck_assert_int_eq(take(w, 0, 7, 2000), 0);
}
END_TEST

START_TEST(those_who_do_not_come_back_do_not_hold_up_the_others)
{
	struct rates_want w = want(1, 60, 0);
	int n = 0;

	for (int i = 0; i < 60; i++)
		take(w, 0, 99, 0);
	for (int i = 0; i < 10; i++)
		take(w, 0, (uint64_t)i, 0);
	/* The tenth was due at 10 s.  From then on others of that key, who do
	 * not come back either, take what flows in. */
	for (int64_t now = 13000; now < 33000; now += 100)
		n += take(w, 0, 1000 + (uint64_t)now, now) == 0;
	ck_assert_int_ge(n, 30);
	ck_assert_int_le(n, 33);
}
END_TEST

START_TEST(tokens_are_estimated_and_corrected)
{
	struct rates_want w = want(1, 0, 6000);	/* 100 a second */
	struct rates_state requests, tokens;

	ck_assert_int_eq(take(w, 5000, 1, 0), 0);
	rates_correct(l, &w, 1, 5000, 1000, 0);
	rates_look(l, &w, 0, &requests, &tokens);
	ck_assert_int_eq(requests.limit, 0);
	ck_assert_int_eq(tokens.limit, 6000);
	ck_assert_int_eq(tokens.remaining, 5000);
	ck_assert_int_eq(tokens.reset_ms, 10000);
	/* An answer that was longer than thought is paid for by waiting. */
	ck_assert_int_eq(take(w, 5000, 1, 0), 0);
	rates_correct(l, &w, 1, 5000, 5500, 0);
	ck_assert_int_eq(take(w, 100, 1, 0), 6000);
	rates_look(l, &w, 1000, &requests, &tokens);
	ck_assert_int_eq(tokens.remaining, 0);
}
END_TEST

START_TEST(a_request_larger_than_a_minute_waits_for_a_full_bucket)
{
	struct rates_want w = want(1, 0, 600);

	ck_assert_int_eq(take(w, 100000, 1, 0), 0);
	rates_correct(l, &w, 1, 100000, 100, 0);
	ck_assert_int_eq(take(w, 100000, 2, 0), 10000);
	ck_assert_int_eq(take(w, 100000, 2, 10000), 0);
}
END_TEST

START_TEST(nothing_is_kept_for_more_than_a_minute)
{
	struct rates_want w = want(1, 0, 600);

	ck_assert_int_eq(take(w, 600, 1, 0), 0);
	rates_correct(l, &w, 1, 600, 700, 0);
	ck_assert_int_eq(take(w, 600, 2, 0), 70000);
	/* It is not charged for having asked. */
	ck_assert_int_eq(take(w, 300, 3, 0), 40000);
}
END_TEST

START_TEST(a_request_needs_room_in_the_key_and_in_the_session)
{
	struct rates_want both[2] = { want(1, 60, 0), want(2, 6, 0) };
	struct rates_state requests, tokens;

	for (int i = 0; i < 6; i++)
		ck_assert_int_eq(rates_take(l, both, 2, 0, 1, 0), 0);
	ck_assert_int_eq(rates_take(l, both, 2, 0, 2, 0), 10000);
	/* What is kept is kept in both. */
	rates_look(l, &both[0], 0, &requests, &tokens);
	ck_assert_int_eq(requests.remaining, 53);
	/* Not served: as if it had not asked. */
	ck_assert_int_eq(rates_take(l, both, 2, 0, 2, 10000), 0);
	rates_give_back(l, both, 2, 0, 10000);
	ck_assert_int_eq(rates_take(l, both, 2, 0, 3, 10000), 0);
}
END_TEST

START_TEST(a_limit_that_changes_counts_at_once)
{
	struct rates_state requests, tokens;
	struct rates_want w = want(1, 60, 0), less = want(1, 6, 0),
	    more = want(1, 600, 100);

	ck_assert_int_eq(take(w, 0, 1, 0), 0);
	rates_look(l, &less, 0, &requests, &tokens);
	ck_assert_int_eq(requests.remaining, 6);
	rates_look(l, &more, 60000, &requests, &tokens);
	ck_assert_int_eq(requests.remaining, 600);
	ck_assert_int_eq(tokens.remaining, 100);
}
END_TEST

START_TEST(the_table_is_bounded_and_forgets_the_oldest)
{
	struct rates_want w = want(1, 1000000, 0), other;
	struct rates_state requests, tokens;
	int n = 20 * RATES_OWNERS_MAX;

	for (int i = 2; i < n; i++) {
		other = want(i, 1, 0);
		ck_assert_int_eq(take(other, 0, 1, i / 1000), 0);
		ck_assert_int_eq(take(w, 0, 1, i / 1000), 0);
	}
	/* One that goes on asking is not forgotten; 17 come back in a ms. */
	rates_look(l, &w, n / 1000, &requests, &tokens);
	ck_assert_int_lt(requests.remaining, 1000000 - n + 17 * n / 1000);
	other = want(3, 1, 0);
	ck_assert_int_eq(take(other, 0, 1, n / 1000), 0);
}
END_TEST

START_TEST(without_a_limit_everybody_may)
{
	struct rates_want w = want(1, 0, 0);

	for (int i = 0; i < 10000; i++)
		ck_assert_int_eq(take(w, 1 << 20, 1, 0), 0);
	ck_assert_int_eq(rates_take(l, NULL, 0, 5, 1, 0), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("rates");
	TCase *t = tcase_create("rates");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_minutes_worth_is_there_at_once_and_then_flows_evenly);
	tcase_add_test(t, who_comes_back_as_told_is_served_whoever_came_in_between);
	tcase_add_test(t, the_same_request_twice_at_once_has_two_places);
	tcase_add_test(t, those_who_do_not_come_back_do_not_hold_up_the_others);
	tcase_add_test(t, tokens_are_estimated_and_corrected);
	tcase_add_test(t, a_request_larger_than_a_minute_waits_for_a_full_bucket);
	tcase_add_test(t, nothing_is_kept_for_more_than_a_minute);
	tcase_add_test(t, a_request_needs_room_in_the_key_and_in_the_session);
	tcase_add_test(t, a_limit_that_changes_counts_at_once);
	tcase_add_test(t, the_table_is_bounded_and_forgets_the_oldest);
	tcase_add_test(t, without_a_limit_everybody_may);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
