/* What --bench refuses, and what it says; tests/process has the measuring. */
#include <check.h>
#include <stdio.h>

#include "bench_report.h"
#include "random_model.h"

/* 4 pages of 32 positions, a context of 96, 8 rows in a step. */
static const struct {
	int32_t depth;
	int batch;
	const char *sentence;
} refused[] = {
	{ 97, 0, "depth 97; 1 to 96 fit the context" },
	{ 0, 0, "depth 0; 1 to 96 fit the context" },
	{ 16, 9, "9 sequences together; a step has 8 rows (--step-rows)" },
	{ 16, 3, "3 sequences of 48 tokens do not fit the KV cache of 128 "
	    "(--kv-tokens)" },
};
enum { N_REFUSED = sizeof(refused) / sizeof(refused[0]) };

START_TEST(what_does_not_fit_is_refused_before_anything_is_measured)
{
	struct backend_options o = { .name = "cpu", .n_threads = 1,
		.n_pages = 4, .max_rows = 8, .n_ctx = 96 };
	struct bench_options b = { .depths = { refused[_i].depth },
		.n_depths = 1, .repeats = 1, .batch = refused[_i].batch,
		.n_threads = 1, .n_ctx = 96, .n_pages = 4, .max_rows = 8 };
	static struct model m;
	struct backend backend;
	struct err e;

	random_model(&random_shapes[0], &m);
	ck_assert_int_eq(backend_open(&m, &o, &backend, &e), 0);
	ck_assert_int_eq(bench_run(&b, &m, &backend, stdout, &e), ERR_RANGE);
	ck_assert_str_eq(e.text, refused[_i].sentence);
	backend.close(&backend);
}
END_TEST

static const struct bench_options options = { .repeats = 3, .batch = 8 };

/* 50 tokens a second, 100 MB each, of memory that gives 10 GB/s. */
static const struct bench_report report = {
	.model = "a \"model\"", .backend = "cpu", .o = &options, .huge = true,
	.one = { .n_threads = 1, .rate = 6e9 },
	.all = { .n_threads = 2, .rate = 10e9, .huge = true, .bytes = 1 << 30 },
	.n = 1, .results = { {
		.depth = 64, .prefill = { 200, 190, 210 },
		.decode = { 50, 45, 51 }, .batch = { 150, 140, 160 },
		.bytes = 100000000,
		.decode_kernels = { .n = 1, .tokens = 10,
			.ops = { { "head", 10, 40000, 80000 } } },
	} },
};

static double
number(const json_t *v, const char *name)
{
	v = json_object_get(v, name);
	ck_assert_msg(json_is_number(v), "%s", name);
	return json_number_value(v);
}

START_TEST(the_fraction_is_of_what_all_threads_read)
{
	json_t *v = bench_report_json(&report), *r, *k;

	ck_assert_ptr_nonnull(v);
	r = json_array_get(json_object_get(v, "results"), 0);
	ck_assert_double_eq_tol(number(r, "gb_per_s"), 5, 1e-9);
	ck_assert_double_eq_tol(number(r, "bandwidth_fraction"), 0.5, 1e-9);
	ck_assert_double_eq_tol(number(r, "batch_speedup"), 3, 1e-9);
	ck_assert_double_eq_tol(number(r, "decode_min_tok_s"), 45, 1e-9);
	ck_assert(json_is_null(json_object_get(r, "decode_top_tok_s")));
	ck_assert_uint_eq(json_array_size(json_object_get(r,
	    "prefill_kernels")), 0);
	k = json_array_get(json_object_get(r, "decode_kernels"), 0);
	ck_assert_double_eq_tol(number(k, "calls"), 1, 1e-9);
	ck_assert_double_eq_tol(number(k, "ns"), 4000, 1e-9);
	ck_assert_double_eq_tol(number(k, "gb_per_s"), 2, 1e-9);
	json_decref(v);
}
END_TEST

START_TEST(people_read_the_same)
{
	static const char *const parts[] = { "a \"model\", cpu, weights in pages of 2",
		"6.0 GB/s by one thread, 10.0 by 2", "50.0 (45.0-51.0)",
		"50%", "8 sequences together", "3.00 times one alone", "head" };
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	ck_assert_ptr_nonnull(out);
	bench_report_print(&report, out);
	fclose(out);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		ck_assert_msg(strstr(text, parts[i]) != NULL, "%s: %s", parts[i],
		    text);
	free(text);
}
END_TEST

/* The same on a device with memory of its own; 4 * 10^9 operations a token. */
START_TEST(a_device_has_memory_of_its_own)
{
	static struct bench_report device;
	json_t *v, *memory;
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	device = report;
	device.device = true;
	device.operations = 4000000000;
	device.one = (struct bench_memory){ 0 };
	v = bench_report_json(&device);
	memory = json_object_get(v, "memory");
	ck_assert(json_is_true(json_object_get(memory, "device")));
	ck_assert(json_is_null(json_object_get(memory, "gb_per_s_one_thread")));
	ck_assert_double_eq_tol(number(json_array_get(json_object_get(v, "results"), 0),
	    "prefill_int8_tops"), 0.8, 1e-9);
	json_decref(v);
	ck_assert_ptr_nonnull(out);
	bench_report_print(&device, out);
	fclose(out);
	ck_assert_msg(strstr(text, "memory of the device (1024 MiB) is read at 10.0 GB/s") !=
	    NULL, "%s", text);
	ck_assert_msg(strstr(text, "depth 64, prefill: 0.800 int8 TOP/s") != NULL, "%s", text);
	free(text);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("bench");
	TCase *t = tcase_create("bench");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t,
	    what_does_not_fit_is_refused_before_anything_is_measured, 0,
	    N_REFUSED);
	tcase_add_test(t, the_fraction_is_of_what_all_threads_read);
	tcase_add_test(t, people_read_the_same);
	tcase_add_test(t, a_device_has_memory_of_its_own);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
