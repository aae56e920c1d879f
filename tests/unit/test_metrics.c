#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics.h"

START_TEST(samples_of_one_name_have_one_head)
{
	struct buf b = { 0 };
	struct metrics m = { .out = &b };

	metrics_counter(&m, "x_total", "What.", "a=\"1\"", 1);
	metrics_counter(&m, "x_total", "What.", "a=\"2\"", 0.1);
	metrics_gauge(&m, "y", "Why.", "", 9007199254740991.);
	metrics_gauge(&m, "z", "Zero.", "", INFINITY);
	ck_assert_str_eq(b.data,
	    "# HELP x_total What.\n# TYPE x_total counter\n"
	    "x_total{a=\"1\"} 1\nx_total{a=\"2\"} 0.1\n"
	    "# HELP y Why.\n# TYPE y gauge\ny 9007199254740991\n"
	    "# HELP z Zero.\n# TYPE z gauge\nz +Inf\n");
	buf_free(&b);
}
END_TEST

START_TEST(buckets_are_cumulative)
{
	static struct metrics_histogram h;
	struct buf b = { 0 };
	struct metrics m = { .out = &b };

	metrics_observe(&h, 0.0001);	/* a bound belongs to its bucket */
	metrics_observe(&h, 0.02);
	metrics_observe(&h, 1000);
	metrics_observe(&h, -1);
	metrics_histogram(&m, "t_seconds", "Time.", "u=\"d\"", &h);
	ck_assert_ptr_nonnull(strstr(b.data, "# TYPE t_seconds histogram\n"
	    "t_seconds_bucket{u=\"d\",le=\"0.0001\"} 2\n"));
	ck_assert_ptr_nonnull(strstr(b.data, "{u=\"d\",le=\"0.01\"} 2\n"));
	ck_assert_ptr_nonnull(strstr(b.data, "{u=\"d\",le=\"0.025\"} 3\n"));
	ck_assert_ptr_nonnull(strstr(b.data, "{u=\"d\",le=\"100\"} 3\n"
	    "t_seconds_bucket{u=\"d\",le=\"+Inf\"} 4\n"
	    "t_seconds_sum{u=\"d\"} 1000.0201\nt_seconds_count{u=\"d\"} 4\n"));
	buf_clear(&b);
	metrics_histogram(&m, "s_seconds", "Time.", "", &h);
	ck_assert_ptr_nonnull(strstr(b.data, "s_seconds_bucket{le=\"100\"} 3\n"));
	ck_assert_ptr_nonnull(strstr(b.data, "\ns_seconds_count 4\n"));
	buf_free(&b);
}
END_TEST

/* The value of the sample name. */
static double
value_of(const struct buf *b, const char *name)
{
	char start[80];
	const char *p;

	snprintf(start, sizeof(start), "\n%s ", name);
	p = strstr(b->data, start);
	ck_assert_msg(p != NULL, "%s", name);
	return strtod(p + strlen(start), NULL);
}

START_TEST(the_process_is_described)
{
	struct buf b = { 0 };
	struct metrics m = { .out = &b };

	metrics_process(&m, "decode");
	ck_assert_double_gt(value_of(&b, "process_resident_memory_bytes"), 1e5);
	ck_assert_double_ge(value_of(&b, "process_cpu_seconds_total"), 0);
	ck_assert_double_ge(value_of(&b, "process_open_fds"), 3);
	ck_assert_double_gt(value_of(&b, "process_start_time_seconds"), 1e9);
	ck_assert_ptr_nonnull(strstr(b.data,
	    "\nonebit_build_info{version=\"0.1.0\",unit=\"decode\"} 1\n"));
	buf_free(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("metrics");
	TCase *t = tcase_create("metrics");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, samples_of_one_name_have_one_head);
	tcase_add_test(t, buckets_are_cumulative);
	tcase_add_test(t, the_process_is_described);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
