/*
 * Perplexity: the arithmetic on a backend whose logits are known, then the demo
 * model on the text of its reference.  38.7563 is transformers' in float32 by the
 * same protocol (golden.json); within 0.5 % of it, and ref and cpu within 0.1 %
 * of each other on the same windows.
 *
 * Measured over all 64 windows (32704 tokens), where ref takes minutes:
 *
 *	head		ref	cpu
 *	int8 (the file)	38.7753	38.7779
 *	bf16		38.7586	38.7522
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/cpu_kernels.h"
#include "model/model.h"
#include "ppl.h"
#include "tokenizer/tokenizer.h"

#define MODEL "models/halo-demo.h1b"
#define TEXT "../shared/models/halo-demo/reference/heldout.txt"
static const double reference = 38.75627047702921;

enum { N_CTX = 512, N_WINDOWS = 64, N_FEW = 3 };

static struct model model;
static struct tokenizer *tokenizer;

/* A backend of 4 tokens that gives the right one logit 1 and the others 0. */
static int n_rows_seen, n_batches;

static int
fake_forward(struct backend *b, const struct backend_row *rows, int n_rows,
    float *logits, struct err *e)
{
	(void)b;
	(void)e;
	for (int i = 0; i < n_rows; i++) {
		ck_assert(rows[i].want_logits);
		ck_assert_int_eq(rows[i].pages[rows[i].pos / KV_PAGE],
		    rows[i].pos / KV_PAGE);
		memset(logits + 4 * i, 0, 4 * sizeof(*logits));
		logits[4 * i + (rows[i].token + 1) % 4] = 1;
	}
	n_rows_seen += n_rows;
	n_batches++;
	return 0;
}

START_TEST(windows_do_not_overlap_and_a_rest_is_left_out)
{
	static const struct {
		int n, context, windows, max_rows, tokens, batches;
	} cases[] = {
		{ 100, 40, 0, 64, 78, 2 },	/* two windows of 39, 20 left */
		{ 100, 40, 1, 64, 39, 1 },
		{ 100, 40, 9, 64, 78, 2 },
		{ 100, 40, 0, 10, 78, 8 },	/* in pieces of 10, 10, 10, 9 */
		{ 30, 40, 0, 64, 29, 1 },	/* less than a window counts */
		{ 2, 2, 0, 1, 1, 1 },
	};
	struct backend b = { .forward = fake_forward };
	struct model m = { .config = { .vocab = 4, .bos = -1 } };
	int32_t ids[100];

	for (int i = 0; i < 100; i++)
		ids[i] = i % 4;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ppl_options o = { .context = cases[i].context,
			.n_windows = cases[i].windows, .n_ctx = 64, .n_pages = 2,
			.max_rows = cases[i].max_rows };
		struct ppl_result r;
		struct err e;

		n_rows_seen = n_batches = 0;
		ck_assert_int_eq(ppl_measure(&o, &m, ids, cases[i].n, &b, &r, &e),
		    0);
		ck_assert_int_eq(r.tokens, cases[i].tokens);
		ck_assert_int_eq(n_rows_seen, cases[i].tokens);
		ck_assert_int_eq(n_batches, cases[i].batches);
		/* -log(e / (e + 3)) */
		ck_assert_double_eq_tol(r.nll_mean, log(exp(1) + 3) - 1, 1e-12);
		ck_assert_double_eq_tol(r.ppl, (exp(1) + 3) / exp(1), 1e-12);
	}
}
END_TEST

START_TEST(what_cannot_be_measured_says_why)
{
	static const struct {
		int n, context;
		const char *text;
	} cases[] = {
		{ 9, 1, "windows of 1 tokens; 2 to 64 fit the context" },
		{ 9, 65, "windows of 65 tokens; 2 to 64 fit the context" },
		{ 9, 0, "windows of 512 tokens; 2 to 64 fit the context" },
		{ 1, 8, "the text has 1 token; a perplexity needs 2" },
		{ 0, 8, "the text has 0 tokens; a perplexity needs 2" },
	};
	struct backend b = { .forward = fake_forward };
	struct model m = { .config = { .vocab = 4, .bos = -1 } };
	struct ppl_options o = { .path = "tests/no-such-file", .context = 8,
		.n_ctx = 100, .n_pages = 2, .max_rows = 8 };
	struct ppl_result r = { .tokens = -7 };
	int32_t ids[9] = { 0 };
	struct err e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		o.context = cases[i].context;
		ck_assert_int_eq(ppl_measure(&o, &m, ids, cases[i].n, &b, &r, &e),
		    ERR_RANGE);
		ck_assert_str_eq(e.text, cases[i].text);
		ck_assert_int_eq(r.tokens, -7);
	}
	ck_assert_int_eq(ppl_run(&o, &m, NULL, &b, stdout, &e), ERR_NOT_FOUND);
	ck_assert_str_eq(e.text,
	    "tests/no-such-file: No such file or directory");
}
END_TEST

static void
setup(void)
{
	struct err e;

	ck_assert_msg(model_open(MODEL, false, &model, &e) == 0, "%s", e.text);
	ck_assert_msg(tokenizer_load(model.tokenizer, model.n_tokenizer,
	    &tokenizer, &e) == 0, "%s", e.text);
}

static void
teardown(void)
{
	tokenizer_destroy(tokenizer);
	model_close(&model);
}

/* What --ppl --json prints for the text, n_windows of it. */
static double
measure(const char *name, const char *isa, int n_windows, int64_t *tokens)
{
	struct backend_options o = { .name = name, .isa = isa, .n_threads = 2,
		.n_pages = N_CTX / KV_PAGE, .max_rows = 256, .n_ctx = N_CTX };
	struct ppl_options p = { .path = TEXT, .n_windows = n_windows,
		.n_ctx = N_CTX, .n_pages = N_CTX / KV_PAGE, .max_rows = 256,
		.json = true };
	double nll = 0, ppl = 0;
	long long n = 0;
	char line[200] = "";
	struct backend b;
	struct err e;
	FILE *fp = tmpfile();

	ck_assert_ptr_nonnull(fp);
	ck_assert_msg(backend_open(&model, &o, &b, &e) == 0, "%s", e.text);
	ck_assert_msg(ppl_run(&p, &model, tokenizer, &b, fp, &e) == 0, "%s",
	    e.text);
	rewind(fp);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), fp));
	fclose(fp);
	ck_assert_int_eq(sscanf(line,
	    "{\"tokens\":%lld,\"nll_mean\":%lf,\"ppl\":%lf}", &n, &nll, &ppl), 3);
	ck_assert_double_eq_tol(exp(nll), ppl, 1e-6 * ppl);
	printf("%s: %lld tokens, perplexity %.4f\n", b.name, n, ppl);
	b.close(&b);
	*tokens = n;
	return ppl;
}

START_TEST(perplexity_is_the_references_on_the_cpu)
{
	int64_t n;
	double ppl;

	if (access(TEXT, R_OK) != 0) {
		printf("skipped: there is no %s\n", TEXT);
		return;
	}
	ppl = measure("cpu", "auto", N_WINDOWS, &n);
	ck_assert_int_eq(n, N_WINDOWS * (N_CTX - 1));
	ck_assert_double_lt(fabs(ppl / reference - 1), 0.005);
}
END_TEST

START_TEST(ref_and_cpu_have_the_same_perplexity)
{
	int64_t n, m;
	double cpu, ref;

	if (access(TEXT, R_OK) != 0) {
		printf("skipped: there is no %s\n", TEXT);
		return;
	}
	ref = measure("ref", NULL, N_FEW, &n);
	cpu = measure("cpu", "auto", N_FEW, &m);
	ck_assert_int_eq(n, m);
	ck_assert_double_lt(fabs(ref / cpu - 1), 0.001);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ppl");
	TCase *t = tcase_create("arithmetic"), *d = tcase_create("demo model");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, windows_do_not_overlap_and_a_rest_is_left_out);
	tcase_add_test(t, what_cannot_be_measured_says_why);
	tcase_set_timeout(d, 300);
	tcase_add_checked_fixture(d, setup, teardown);
	tcase_add_test(d, perplexity_is_the_references_on_the_cpu);
	tcase_add_test(d, ref_and_cpu_have_the_same_perplexity);
	suite_add_tcase(s, t);
	suite_add_tcase(s, d);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
