/* Places under a clock of our own; those who wait, under the real one. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "places.h"

static struct places p;
static int64_t retry_ms;

START_TEST(as_many_as_there_are_and_no_more)
{
	places_init(&p, 2);
	ck_assert_int_eq(places_try(&p, 1, 1000, &retry_ms), 0);
	ck_assert_int_eq(places_try(&p, 2, 1000, &retry_ms), 1);
	ck_assert_int_eq(places_used(&p), 2);
	ck_assert_int_eq(places_try(&p, 3, 1000, &retry_ms), PLACES_NONE);
	places_give(&p, 0, true, 1400);
	ck_assert_int_eq(places_try(&p, 4, 1400, &retry_ms), 0);
}
END_TEST

/* Answers of 4 s that began a second apart: the next ends in 1 s, then 2 s... */
START_TEST(each_is_told_another_end)
{
	places_init(&p, 4);
	for (int i = 0; i < 4; i++)
		places_try(&p, 99, 1000, &retry_ms);
	for (int i = 0; i < 4; i++)
		places_give(&p, i, true, 5000);
	for (int i = 0; i < 4; i++)
		places_try(&p, 99, 5000 + 1000 * i, &retry_ms);
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(places_try(&p, (uint64_t)i, 8000, &retry_ms),
		    PLACES_NONE);
		ck_assert_int_eq(retry_ms, i < 4 ? 1200 * (i + 1) :
		    1200 + 4800);
	}
}
END_TEST

START_TEST(who_comes_as_told_goes_before_who_comes_first)
{
	places_init(&p, 1);
	places_try(&p, 99, 1000, &retry_ms);
	places_give(&p, 0, true, 2000);
	ck_assert_int_eq(places_try(&p, 1, 2000, &retry_ms), 0);
	ck_assert_int_eq(places_try(&p, 7, 2000, &retry_ms), PLACES_NONE);
	ck_assert_int_eq(retry_ms, 1200);
	places_give(&p, 0, true, 3000);
	/* It is free, and in 200 ms somebody comes: it may be had until then,
	 * but not when that one is due. */
	ck_assert_int_eq(places_try(&p, 8, 3150, &retry_ms), PLACES_NONE);
	ck_assert_int_eq(retry_ms, 1200);
	ck_assert_int_eq(places_try(&p, 7, 3900, &retry_ms), 0);
	/* Not free, but it was told so: it may wait. */
	ck_assert_int_eq(places_try(&p, 8, 4400, &retry_ms), PLACES_HOLD);
	/* Once. */
	ck_assert_int_eq(places_try(&p, 8, 4400, &retry_ms), PLACES_NONE);
}
END_TEST

START_TEST(who_does_not_come_is_not_waited_for)
{
	places_init(&p, 1);
	places_try(&p, 99, 1000, &retry_ms);
	places_try(&p, 7, 1000, &retry_ms);
	places_give(&p, 0, true, 2000);
	ck_assert_int_le(retry_ms, 2400);
	ck_assert_int_eq(places_try(&p, 8, 3500, &retry_ms), PLACES_NONE);
	ck_assert_int_eq(places_try(&p, 9, 10000, &retry_ms), 0);
	places_give(&p, 0, true, 10001);
	ck_assert_int_eq(p.told.n, 0);
}
END_TEST

START_TEST(one_that_failed_says_nothing_of_how_long_answers_take)
{
	places_init(&p, 1);
	places_try(&p, 99, 1000, &retry_ms);
	places_give(&p, 0, true, 9000);
	places_try(&p, 99, 9000, &retry_ms);
	places_give(&p, 0, false, 9001);
	places_try(&p, 99, 9001, &retry_ms);
	ck_assert_int_eq(places_try(&p, 1, 9001, &retry_ms), PLACES_NONE);
	ck_assert_int_eq(retry_ms, 9600);
}
END_TEST

START_TEST(a_session_is_claimed_once_at_a_time)
{
	places_init(&p, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(places_try(&p, 1, 1000, &retry_ms), i);
	ck_assert(places_claim(&p, 0, 77));
	ck_assert(places_claim(&p, 1, 78));
	ck_assert(!places_claim(&p, 2, 77));
	places_give(&p, 0, true, 2000);
	places_give(&p, 2, true, 2000);
	ck_assert_int_eq(places_try(&p, 1, 2000, &retry_ms), 0);
	ck_assert(places_claim(&p, 0, 77));
}
END_TEST

static void *
come_as_told(void *arg)
{
	int64_t ms;
	int *place = arg;

	usleep((useconds_t)(retry_ms * 1000 + 1000));
	*place = places_take(&p, 7, &ms);
	return NULL;
}

START_TEST(who_comes_as_told_waits_until_there_is_room)
{
	pthread_t thread;
	int place = -9;
	int64_t ms;

	places_init(&p, 1);
	ck_assert_int_eq(places_take(&p, 1, &retry_ms), 0);
	ck_assert_int_eq(places_take(&p, 7, &retry_ms), PLACES_NONE);
	ck_assert_int_ge(retry_ms, PLACES_MIN_MS);
	ck_assert_int_eq(pthread_create(&thread, NULL, come_as_told, &place), 0);
	for (bool waits = false; !waits; usleep(1000)) {
		pthread_mutex_lock(&p.lock);
		waits = p.n_waiting == 1;
		pthread_mutex_unlock(&p.lock);
	}
	places_free(&p, 0, true);
	/* Somebody new does not get in between. */
	ck_assert_int_eq(places_take(&p, 8, &ms) >= 0 && place >= 0, 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(place, 0);
}
END_TEST

static void *
free_it(void *arg)
{
	(void)arg;
	usleep(10000);
	places_free(&p, 0, true);
	return NULL;
}

START_TEST(a_place_that_is_about_to_be_free_is_waited_for)
{
	pthread_t thread;

	places_init(&p, 1);
	ck_assert_int_eq(places_take(&p, 1, &retry_ms), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, free_it, NULL), 0);
	/* Once it has begun to wait it is woken. */
	while (places_take(&p, 2, &retry_ms) < 0)
		;
	pthread_join(thread, NULL);
	ck_assert_int_eq(places_used(&p), 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("places");
	TCase *t = tcase_create("places");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 30);
	tcase_add_test(t, as_many_as_there_are_and_no_more);
	tcase_add_test(t, each_is_told_another_end);
	tcase_add_test(t, who_comes_as_told_goes_before_who_comes_first);
	tcase_add_test(t, who_does_not_come_is_not_waited_for);
	tcase_add_test(t, one_that_failed_says_nothing_of_how_long_answers_take);
	tcase_add_test(t, a_session_is_claimed_once_at_a_time);
	tcase_add_test(t, who_comes_as_told_waits_until_there_is_room);
	tcase_add_test(t, a_place_that_is_about_to_be_free_is_waited_for);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
