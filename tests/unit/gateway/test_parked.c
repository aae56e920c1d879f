/*
 * What is kept of streams: for whom, how long and how much.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parked.h"

enum { WINDOW_MS = 1000, ROOM = 100000 };

static struct parked p;

static void
reset(void)
{
	parked_init(&p, WINDOW_MS, ROOM);
}

static void
put(const char *id, int index, const char *owner, size_t n_text, int64_t now)
{
	struct parked_stream *s = calloc(1, sizeof(*s));

	strcpy(s->a.id, id);
	strcpy(s->owner, owner);
	s->index = index;
	s->n_text = n_text;
	s->text = calloc(1, n_text + 1);
	s->generate = strdup("{}");
	s->tokens = strdup("[1,2]");
	parked_put(&p, s, now);
}

static bool
take(const char *id, int index, const char *owner, int64_t now)
{
	struct parked_stream *s = parked_take(&p, id, index, owner, now, NULL);
	bool found = s != NULL;

	ck_assert(!found || (strcmp(s->a.id, id) == 0 && s->index == index));
	parked_free(s);
	return found;
}

START_TEST(its_owner_takes_it_once)
{
	put("a", 0, "me", 5, 0);
	ck_assert(!take("a", 0, "you", 1));
	ck_assert(!take("b", 0, "me", 1));
	ck_assert(!take("a", 1, "me", 1));
	ck_assert(take("a", 0, "me", 1));
	ck_assert(!take("a", 0, "me", 1));
	ck_assert_int_eq(p.n, 0);
	ck_assert_uint_eq(p.bytes, 0);
}
END_TEST

START_TEST(it_is_kept_for_a_while)
{
	put("a", 0, "me", 5, 0);
	put("b", 0, "me", 5, 10);
	parked_expire(&p, WINDOW_MS);
	ck_assert_int_eq(p.n, 1);
	ck_assert(!take("a", 0, "me", WINDOW_MS));
	ck_assert(take("b", 0, "me", WINDOW_MS));
}
END_TEST

START_TEST(a_newer_one_takes_the_place_of_an_older)
{
	put("a", 0, "me", 5, 0);
	put("a", 1, "me", 5, 0);
	put("a", 0, "me", 7, 500);
	ck_assert_int_eq(p.n, 2);
	ck_assert(take("a", 0, "me", WINDOW_MS + 1));
	ck_assert(!take("a", 1, "me", WINDOW_MS + 1));
}
END_TEST

START_TEST(the_oldest_go_when_there_is_no_room)
{
	char id[16];

	for (int i = 0; i < 8; i++) {
		snprintf(id, sizeof(id), "s%d", i);
		put(id, 0, "me", ROOM / 4, i);
		ck_assert_uint_le(p.bytes, ROOM);
	}
	ck_assert_int_eq(p.n, 3);
	ck_assert(!take("s4", 0, "me", 10));
	ck_assert(take("s5", 0, "me", 10));
	ck_assert(take("s7", 0, "me", 10));	/* the last of the list */
	put("s8", 0, "me", 1, 20);
	ck_assert(take("s8", 0, "me", 20));
	put("big", 0, "me", ROOM, 30);
	ck_assert_int_eq(p.n, 0);
}
END_TEST

START_TEST(there_is_a_number_of_them_at_most)
{
	char id[16];

	parked_init(&p, WINDOW_MS, (size_t)1 << 30);
	for (int i = 0; i <= PARKED_MAX; i++) {
		snprintf(id, sizeof(id), "s%d", i);
		put(id, 0, "me", 0, 0);
	}
	ck_assert_int_eq(p.n, PARKED_MAX);
	ck_assert(!take("s0", 0, "me", 0));
	ck_assert(take("s1", 0, "me", 0));
	parked_expire(&p, WINDOW_MS);
	ck_assert_int_eq(p.n, 0);
}
END_TEST

START_TEST(all_answers_of_a_request_are_dropped)
{
	put("a", 0, "me", 5, 0);
	put("a", 1, "me", 5, 0);
	put("a", 0, "you", 5, 0);
	ck_assert(!parked_drop(&p, "a", "them"));
	ck_assert(parked_drop(&p, "a", "me"));
	ck_assert(!parked_drop(&p, "a", "me"));
	ck_assert(take("a", 0, "you", 1));
}
END_TEST

static void
count(void *arg)
{
	++*(int *)arg;
}

START_TEST(who_runs_is_told_to_let_go_by_its_owner)
{
	int n = 0, m = 0;
	struct parked_running a = { .id = "a", .owner = "me", .index = -1,
		.let_go = count, .arg = &n };
	struct parked_running b = { .id = "b", .owner = "me", .index = -1,
		.let_go = count, .arg = &m };

	parked_begin(&p, &a);
	parked_begin(&p, &b);
	ck_assert(!parked_want(&p, "a", 0, "you"));
	ck_assert(parked_want(&p, "a", 0, "me"));
	parked_end(&p, &a);
	ck_assert(!parked_want(&p, "a", 0, "me"));
	ck_assert(parked_want(&p, "b", 0, "me"));
	parked_end(&p, &b);
	ck_assert_int_eq(n, 1);
	ck_assert_int_eq(m, 1);
}
END_TEST

/* Each has its own connection by then. */
START_TEST(answers_that_were_taken_up_one_by_one_let_go_one_by_one)
{
	int n[2] = { 0, 0 };
	struct parked_running a[2];

	for (int i = 0; i < 2; i++) {
		a[i] = (struct parked_running){ .id = "a", .owner = "me",
			.index = i, .let_go = count, .arg = &n[i] };
		parked_begin(&p, &a[i]);
	}
	ck_assert(!parked_want(&p, "a", 2, "me"));
	ck_assert(parked_want(&p, "a", 0, "me"));
	ck_assert_int_eq(n[0], 1);
	ck_assert_int_eq(n[1], 0);
	ck_assert(parked_want(&p, "a", 1, "me"));
	ck_assert_int_eq(n[0], 1);
	ck_assert_int_eq(n[1], 1);
	for (int i = 0; i < 2; i++)
		parked_end(&p, &a[i]);
}
END_TEST

/* Nobody is told that there is no such stream while another connection has it. */
START_TEST(one_that_is_taken_is_still_there)
{
	struct parked_running r = { .id = "a", .owner = "me", .index = 0 };
	struct parked_stream *s;

	ck_assert_ptr_null(parked_take(&p, "a", 0, "me", 1, &r));
	ck_assert(!parked_want(&p, "a", 0, "me"));
	put("a", 0, "me", 5, 0);
	ck_assert_ptr_nonnull(s = parked_take(&p, "a", 0, "me", 1, &r));
	ck_assert(parked_want(&p, "a", 0, "me"));
	ck_assert(!parked_want(&p, "a", 0, "you"));
	parked_put(&p, s, 2);
	parked_end(&p, &r);
	ck_assert(!parked_want(&p, "a", 0, "me"));
	ck_assert(take("a", 0, "me", 2));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("parked");
	TCase *t = tcase_create("parked");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, reset, NULL);
	tcase_add_test(t, its_owner_takes_it_once);
	tcase_add_test(t, it_is_kept_for_a_while);
	tcase_add_test(t, a_newer_one_takes_the_place_of_an_older);
	tcase_add_test(t, the_oldest_go_when_there_is_no_room);
	tcase_add_test(t, there_is_a_number_of_them_at_most);
	tcase_add_test(t, all_answers_of_a_request_are_dropped);
	tcase_add_test(t, who_runs_is_told_to_let_go_by_its_owner);
	tcase_add_test(t, one_that_is_taken_is_still_there);
	tcase_add_test(t, answers_that_were_taken_up_one_by_one_let_go_one_by_one);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
