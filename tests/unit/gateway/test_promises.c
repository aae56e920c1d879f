#include <check.h>
#include <stdlib.h>

#include "promises.h"

static struct promises p;

static void
setup(void)
{
	p = (struct promises){ 0 };
}

START_TEST(who_comes_as_told_is_known_once)
{
	promises_add(&p, 7, 1000);
	ck_assert(!promises_came(&p, 7, 999));
	ck_assert(!promises_came(&p, 8, 1000));
	ck_assert(promises_came(&p, 7, 1000));
	ck_assert(!promises_came(&p, 7, 1000));
}
END_TEST

START_TEST(the_same_ticket_may_be_told_twice)
{
	promises_add(&p, 7, 1000);
	promises_add(&p, 7, 2000);
	ck_assert(promises_came(&p, 7, 1500));
	ck_assert(!promises_came(&p, 7, 1500));
	ck_assert(promises_came(&p, 7, 2000 + PROMISES_GRACE_MS));
}
END_TEST

START_TEST(those_who_are_due_are_counted)
{
	promises_add(&p, 7, 1000);
	promises_add(&p, 8, 5000);
	ck_assert_int_eq(promises_due(&p, 1000 - PROMISES_SOON_MS - 1), 0);
	ck_assert_int_eq(promises_due(&p, 1000 - PROMISES_SOON_MS), 1);
	ck_assert_int_eq(promises_due(&p, 1000 + PROMISES_GRACE_MS), 1);
	/* One did not come: nothing is held back for the other. */
	ck_assert_int_eq(promises_due(&p, 5000), 0);
	ck_assert(promises_came(&p, 8, 5000));
	promises_add(&p, 9, 50000);
	ck_assert_int_eq(promises_due(&p, 50000), 1);
}
END_TEST

START_TEST(they_are_bounded)
{
	for (uint64_t i = 0; i < 3 * PROMISES_MAX; i++)
		promises_add(&p, i, 1000);
	ck_assert_int_eq(promises_due(&p, 1000), PROMISES_MAX);
	ck_assert(promises_came(&p, 5, 1000));
	ck_assert(!promises_came(&p, 2 * PROMISES_MAX, 1000));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("promises");
	TCase *t = tcase_create("promises");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, who_comes_as_told_is_known_once);
	tcase_add_test(t, the_same_ticket_may_be_told_twice);
	tcase_add_test(t, those_who_are_due_are_counted);
	tcase_add_test(t, they_are_bounded);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
