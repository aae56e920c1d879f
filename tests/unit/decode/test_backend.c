/*
 * Every backend and CPU variant that this machine has, on models of odd shapes.
 *
 * Against the oracle with a tolerance: keys and values are f16 on the CPU, sums
 * are float, and where an activation lies near the middle between two integers
 * either rounding is right; one step of 1/127 there moves everything after it.
 * A model with float activations is 8 bits away from the oracle everywhere, and
 * by measurement no further than one step here and there moves the others.
 * Against itself without one: the logits of a row are the same bits whatever
 * the number of threads, the rows beside it, the cuts of a prompt and the pages.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "backend/cpu_kernels.h"
#include "backend_world.h"
#include "random_model.h"
#include "slow.h"

static const char *const isas[] = { "avx512", "avxvnni", "avx2", "neon", "scalar" };
enum { N_ISAS = sizeof(isas) / sizeof(isas[0]) };
static void
open_one(const struct model *m, const char *name, const char *isa, int threads,
    struct backend *b)
{
	struct backend_options o = { .name = name, .isa = isa,
		.n_threads = threads, .n_pages = N_PAGES,
		.max_rows = BACKEND_ROWS_MAX, .n_ctx = 512 };
	struct err e;

	ck_assert_msg(backend_open(m, &o, b, &e) == 0, "%s", e.text);
}

static bool
have(const char *isa)
{
	struct cpu_kernels k;
	struct err e;

	if (cpu_kernels_open(isa, &k, &e) == 0)
		return true;
	ck_assert_int_eq(e.code, ERR_NOT_FOUND);
	ck_assert_str_ne(isa, "scalar");
	return false;		/* this machine lacks it */
}

START_TEST(cpu_logits_are_the_oracles_within_rounding)
{
	static const struct plan plan = { .chunk = 32, .together = true };
	struct backend ref, b;
	static struct model m;
	int vocab;

	random_model(&random_shapes[_i], &m);
	vocab = m.config.vocab;
	open_one(&m, "ref", NULL, 1, &ref);
	run(&ref, &plan, vocab, want);
	ref.close(&ref);
	for (int i = 0; i < N_ISAS; i++) {
		double d;

		if (!have(isas[i]))
			continue;
		open_one(&m, "cpu", isas[i], 2, &b);
		run(&b, &plan, vocab, got);
		ck_assert_int_eq(b.approximates, m.config.act_float);
		b.close(&b);
		d = distance(vocab);
		printf("%s, %s: distance %.2e\n", random_shapes[_i].what,
		    isas[i], d);
		/* A wrong sign, head, page or norm gives 0.3 and more. */
		ck_assert_msg(d < 0.03, "%s, %s: %g", random_shapes[_i].what,
		    isas[i], d);
	}
}
END_TEST

/* A quarter of the matrix, such that every value meets every other. */
static void
check_matrix(const struct model *m, const char *isa)
{
	static const struct plan base = { .chunk = N_MAX };
	const int n_chunks = sizeof(chunks) / sizeof(chunks[0]);
	int vocab = m->config.vocab;
	struct backend b;

	open_one(m, "cpu", isa, 1, &b);
	run(&b, &base, vocab, want);
	b.close(&b);
	for (int threads = 1 + SLOW; threads <= 3 - SLOW; threads++) {
		open_one(m, "cpu", isa, threads, &b);
		for (int i = 0; i < n_chunks; i++) {
			struct plan p = { .chunk = chunks[i],
				.together = (i + threads) & 1,
				.permuted = (i / 2 + threads) & 1,
				.last_only = ((i + 1) / 2 + (threads == 2)) & 1 };

			run(&b, &p, vocab, got);
			compare(&p, vocab, isa, threads);
		}
		b.close(&b);
	}
}

START_TEST(logits_do_not_depend_on_threads_company_cuts_or_pages)
{
	static struct model m;

	random_model(&random_shapes[_i], &m);
	for (int i = 0; i < N_ISAS; i++)
		if (have(isas[i]))
			check_matrix(&m, isas[i]);
}
END_TEST

START_TEST(what_cannot_be_opened_says_why)
{
	static const struct {
		struct backend_options o;
		int code;
		const char *text;
	} cases[] = {
		{ { .name = "abacus", .n_pages = 1, .max_rows = 1, .n_ctx = 1 },
		    ERR_NOT_FOUND, "no backend is called 'abacus'; there are "
		    "auto, gpu, cpu and ref" },
		{ { .name = "cpu", .isa = "mmx", .n_pages = 1, .max_rows = 1,
		    .n_ctx = 1 },
		    ERR_NOT_FOUND, "no CPU variant is called 'mmx'" },
		{ { .name = "cpu", .n_threads = 257, .n_pages = 1, .max_rows = 1,
		    .n_ctx = 1 },
		    ERR_RANGE, "257 threads; 1 to 256 are possible" },
		{ { .name = "cpu", .n_threads = -1, .n_pages = 1, .max_rows = 1,
		    .n_ctx = 1 },
		    ERR_RANGE, "-1 threads; 1 to 256 are possible" },
		{ { .name = "cpu", .n_pages = 1, .max_rows = 2049, .n_ctx = 1 },
		    ERR_RANGE, "a batch of 2049 rows; 1 to 2048 are possible" },
		{ { .name = "ref", .n_pages = 1, .max_rows = 1, .n_ctx = 0 },
		    ERR_RANGE,
		    "a context of 0 positions; 1 to 1048576 are possible" },
		{ { .name = "ref", .n_pages = 0, .max_rows = 1, .n_ctx = 1 },
		    ERR_RANGE, "0 pages of KV cache; 1 is the least" },
	};
	struct backend b = { .name = "untouched" };
	static struct model m;
	struct err e;

	random_model(&random_shapes[0], &m);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(backend_open(&m, &cases[i].o, &b, &e),
		    cases[i].code);
		ck_assert_int_eq(e.code, cases[i].code);
		ck_assert_str_eq(e.text, cases[i].text);
		ck_assert_str_eq(b.name, "untouched");
	}
}
END_TEST

START_TEST(memory_that_is_not_there_is_an_error_with_its_size)
{
	/* 2^31 pages of 2 layers, 4096 heads of 256: more than addresses. */
	struct backend_options o = { .name = "cpu", .n_threads = 1,
		.n_pages = INT32_MAX, .max_rows = 1, .n_ctx = 512 };
	struct backend b = { .name = "untouched" };
	static struct model m;
	struct err e;

	random_model(&random_shapes[2], &m);
	m.config.n_kv_heads = 4096;
	m.config.head_dim = 256;
	ck_assert_int_eq(backend_open(&m, &o, &b, &e), ERR_NO_MEMORY);
	ck_assert_ptr_nonnull(strstr(e.text, "MiB of memory for the KV cache"));
	ck_assert_str_eq(b.name, "untouched");
}
END_TEST

START_TEST(auto_takes_the_cpu_where_no_gpu_can_be_used)
{
	struct backend_options o = { .name = "gpu", .n_threads = 2,
		.n_pages = 1, .max_rows = 1, .n_ctx = 32 };
	struct backend b;
	static struct model m;
	struct err e;

	random_model(&random_shapes[0], &m);
	if (backend_open(&m, &o, &b, &e) == 0) {
		b.close(&b);
		return;
	}
	ck_assert_int_eq(e.code, ERR_NOT_FOUND);
	ck_assert_ptr_eq(strstr(e.text, "no GPU: "), e.text);
	o.name = "auto";
	ck_assert_int_eq(backend_open(&m, &o, &b, &e), 0);
	ck_assert_ptr_eq(strstr(b.name, "cpu "), b.name);
	/* And says why. */
	ck_assert_str_eq(b.instead, e.text);
	ck_assert_ptr_nonnull(strstr(b.name, ", 2 threads"));
	/* head 101 x 256 i8 and a scale each, and more for two layers */
	ck_assert_int_gt(b.bytes_per_token, 101 * 260);
	ck_assert_uint_eq(b.kv_bytes, 2 * 2 * 2 * 64 * KV_PAGE * 2);
	b.close(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backend");
	TCase *t = tcase_create("backend");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, cpu_logits_are_the_oracles_within_rounding, 0,
	    N_RANDOM_SHAPES);
	tcase_add_loop_test(t,
	    logits_do_not_depend_on_threads_company_cuts_or_pages, 0,
	    N_RANDOM_SHAPES);
	tcase_add_test(t, what_cannot_be_opened_says_why);
	tcase_add_test(t, memory_that_is_not_there_is_an_error_with_its_size);
	tcase_add_test(t, auto_takes_the_cpu_where_no_gpu_can_be_used);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
