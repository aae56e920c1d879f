/*
 * What is counted, and that a client which tries everything loses no count.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"

START_TEST(the_same_is_counted_in_one_cell)
{
	static struct stats s;

	stats_init(&s);
	stats_count(&s, "GET", "/health", 200);
	stats_count(&s, "GET", "/health", 200);
	stats_count(&s, "GET", "/health", 503);
	ck_assert_uint_eq(s.cells[0].n, 2);
	ck_assert_uint_eq(s.cells[1].n, 1);
	ck_assert_ptr_null(s.cells[2].route);
}
END_TEST

START_TEST(a_full_table_goes_on_counting)
{
	enum { KINDS = 3 * STATS_CELLS };
	static struct stats s;
	struct buf out = { 0 };
	struct metrics m = { .out = &out };

	stats_init(&s);
	for (int i = 0; i < KINDS; i++)
		stats_count(&s, "GET", "/health", i);
	stats_count(&s, "GET", "/health", 0);
	ck_assert_uint_eq(stats_requests(&s), KINDS + 1);
	ck_assert_uint_eq(s.cells[0].n, 2);
	ck_assert_uint_eq(s.cells[STATS_CELLS - 1].n,
	    KINDS - STATS_CELLS + 1);
	stats_write(&s, &m);
	ck_assert(!out.failed);
	ck_assert_ptr_nonnull(strstr(out.data, "onebit_gateway_requests_total"
	    "{method=\"other\",route=\"other\",status=\"0\"} 257"));
	buf_free(&out);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway stats");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, the_same_is_counted_in_one_cell);
	tcase_add_test(t, a_full_table_goes_on_counting);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
