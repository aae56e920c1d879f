/*
 * The demo model against the float32 logits of transformers (golden.json, and
 * golden_logits.npz where it is at hand).
 *
 * What differs: the file's head is int8 per row where the reference's is bf16
 * (alone a KL of 3e-4 nats); keys and values are f16 on the CPU (2e-4); sums are
 * added in another order (2e-5).  The last one counts at all because activations
 * are rounded to 8 bits: one near the middle goes either way, and every later
 * layer rounds again.  So no two correct programs agree better than this:
 *
 *	measured		ref	cpu	limit
 *	largest of top 20	0.62	0.51	1
 *	rms of top 20		0.11	0.12	0.2
 *	KL, mean of 78 rows	3.3e-4	3.0e-4	1e-3
 *	margin of a tie		0.22	0.29	0.5
 *
 * A model that is wrong in one head, norm or position misses them by far.
 */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "backend/cpu_kernels.h"
#include "model/model.h"
#include "slow.h"

#define MODEL "models/halo-demo.h1b"
#define GOLDEN "tests/data/halo-demo/golden.json"
#define SOURCE "../shared/models/halo-demo"
#define LOGITS "../shared/models/halo-demo/reference/golden_logits.npz"

enum { N_CTX = 128, N_VOCAB = 8192, N_TOP = 20, N_CASES = 13 };

static const double top_limit = 1, top_rms_limit = 0.2, kl_limit = 1e-3;
static const double exact_limit = 1e-3;
/* Two candidates nearer than this may change places. */
static const double tie = 0.5;

static const char *const backends[][2] = {
	{ "ref", NULL }, { "cpu", "avx512" }, { "cpu", "avx2" },
	{ "cpu", "scalar" },
};
enum { N_BACKENDS = sizeof(backends) / sizeof(backends[0]) };

static struct model model;
static json_t *golden;
static float logits[N_CTX * N_VOCAB];
static const int32_t pages[N_CTX / KV_PAGE] = { 2, 0, 3, 1 };

static void
setup(void)
{
	struct err e;
	json_error_t je;

	ck_assert_msg(model_open(MODEL, false, &model, &e) == 0, "%s", e.text);
	ck_assert_int_eq(model.config.vocab, N_VOCAB);
	golden = json_load_file(GOLDEN, JSON_ALLOW_NUL, &je);
	ck_assert_msg(golden != NULL, "%s: %s", GOLDEN, je.text);
	ck_assert_uint_eq(json_array_size(json_object_get(golden, "cases")),
	    N_CASES);
}

static void
teardown(void)
{
	json_decref(golden);
	model_close(&model);
}

/* False if this machine lacks the variant. */
static bool
open_one(int i, struct backend *b)
{
	struct backend_options o = { .name = backends[i][0],
		.isa = backends[i][1], .n_threads = 2, .n_pages = N_CTX / KV_PAGE,
		.max_rows = N_CTX, .n_ctx = N_CTX };
	struct cpu_kernels k;
	struct err e;

	if (o.isa != NULL && cpu_kernels_open(o.isa, &k, &e) != 0) {
		ck_assert_int_eq(e.code, ERR_NOT_FOUND);
		return false;
	}
	ck_assert_msg(backend_open(&model, &o, b, &e) == 0, "%s", e.text);
	return true;
}

static int
ids_of(const json_t *list, int32_t *ids)
{
	int n = (int)json_array_size(list);

	for (int i = 0; i < n; i++)
		ids[i] = (int32_t)json_integer_value(
		    json_array_get(list, (size_t)i));
	return n;
}

static json_t *
part(int i, const char *name)
{
	json_t *c = json_array_get(json_object_get(golden, "cases"), (size_t)i);

	ck_assert_ptr_nonnull(json_object_get(c, name));
	return json_object_get(c, name);
}

/* ids [n] from position pos; logits of all rows, or of the last. */
static void
feed(struct backend *b, const int32_t *ids, int n, int pos, bool all)
{
	static struct backend_row rows[N_CTX];
	struct err e;

	ck_assert_int_le(pos + n, N_CTX);
	for (int i = 0; i < n; i++)
		rows[i] = (struct backend_row){ .token = ids[i], .pos = pos + i,
			.pages = pages, .want_logits = all || i == n - 1 };
	ck_assert_int_eq(b->forward(b, rows, n, logits, &e), 0);
}

START_TEST(the_20_largest_logits_of_every_case_are_the_references)
{
	int32_t ids[N_CTX], top[N_TOP];
	struct backend b;
	double worst = 0, sum = 0;

	if (!open_one(_i, &b))
		return;
	for (int i = 0; i < N_CASES; i += SLOW ? 4 : 1) {
		const json_t *values = part(i, "last_top20_logits");

		feed(&b, ids, ids_of(part(i, "ids"), ids), 0, false);
		ck_assert_int_eq(ids_of(part(i, "last_top20_ids"), top), N_TOP);
		for (int j = 0; j < N_TOP; j++) {
			double want = json_number_value(
			    json_array_get(values, (size_t)j));
			double d = fabs((double)logits[top[j]] - want);

			sum += d * d;
			worst = d > worst ? d : worst;
			ck_assert_msg(d < top_limit, "%s, case %d: the logit of "
			    "%d is %g and should be %g", b.name, i, (int)top[j],
			    (double)logits[top[j]], want);
		}
	}
	sum = sqrt(sum / (N_CASES * N_TOP));
	printf("%s: logits differ by %.3f at most, %.4f rms\n", b.name, worst,
	    sum);
	ck_assert_double_lt(sum, top_rms_limit);
	b.close(&b);
}
END_TEST

static int32_t
largest(void)
{
	int32_t best = 0;

	for (int32_t i = 1; i < N_VOCAB; i++)
		best = logits[i] > logits[best] ? i : best;
	return best;
}

/* True if all of the continuation was the same. */
static bool
follow(struct backend *b, int i)
{
	int32_t ids[N_CTX], want[N_CTX];
	int n = ids_of(part(i, "ids"), ids), k, pos;

	k = ids_of(part(i, "greedy_ids"), want);
	k = SLOW && k > 4 ? 4 : k;
	feed(b, ids, n, 0, false);
	pos = n;
	for (int j = 0; j < k; j++) {
		int32_t got = largest();
		double margin = (double)(logits[got] - logits[want[j]]);

		if (got != want[j]) {
			printf("%s, case %d: token %d of %d is %d and not %d, "
			    "by a margin of %.3f\n", b->name, i, j, k, (int)got,
			    (int)want[j], margin);
			ck_assert_msg(margin < tie, "no tie");
			return false;
		}
		feed(b, &got, 1, pos++, false);
	}
	return true;
}

START_TEST(greedy_continuations_are_the_references_up_to_a_tie)
{
	struct backend b;
	int same = 0;

	if (!open_one(_i, &b))
		return;
	for (int i = 0; i < N_CASES; i += SLOW ? 4 : 1)
		same += follow(&b, i);
	printf("%s: %d of %d continuations are the same to the end\n", b.name,
	    same, N_CASES);
	b.close(&b);
}
END_TEST

/* The logits of case i, [n, N_VOCAB], into out; false if they are not there. */
static bool
read_logits(int i, int n, float *out)
{
	char command[400], header[10];
	unsigned skip;
	size_t got;
	FILE *fp;

	fp = fopen(LOGITS, "rb");
	if (fp == NULL) {
		printf("skipped: there is no %s\n", LOGITS);
		return false;
	}
	fclose(fp);
	snprintf(command, sizeof(command), "python3 -c 'import sys, zipfile; "
	    "sys.stdout.buffer.write(zipfile.ZipFile(\"%s\")"
	    ".read(\"logits_case%d.npy\"))' 2>/dev/null", LOGITS, i);
	fp = popen(command, "r");
	ck_assert_ptr_nonnull(fp);
	got = fread(header, 1, sizeof(header), fp);
	if (got == 0) {
		pclose(fp);
		printf("skipped: python3 is needed to unpack %s\n", LOGITS);
		return false;
	}
	/* NPY 1.0: magic, version, u16 length of the text that follows. */
	ck_assert_uint_eq(got, sizeof(header));
	ck_assert_mem_eq(header, "\x93NUMPY\x01\x00", 8);
	skip = (unsigned char)header[8] | (unsigned)(unsigned char)header[9] << 8;
	while (skip-- > 0)
		ck_assert_int_ne(fgetc(fp), EOF);
	got = fread(out, sizeof(*out) * N_VOCAB, (size_t)n, fp);
	ck_assert_uint_eq(got, (size_t)n);
	ck_assert_int_eq(fgetc(fp), EOF);
	pclose(fp);
	return true;
}

/* KL divergence of q from p, both logits [N_VOCAB]; nats. */
static double
divergence(const float *p, const float *q)
{
	double sp = 0, sq = 0, kl = 0, mp = -INFINITY, mq = -INFINITY;

	for (int i = 0; i < N_VOCAB; i++) {
		mp = fmax(mp, (double)p[i]);
		mq = fmax(mq, (double)q[i]);
	}
	for (int i = 0; i < N_VOCAB; i++) {
		sp += exp((double)p[i] - mp);
		sq += exp((double)q[i] - mq);
	}
	for (int i = 0; i < N_VOCAB; i++) {
		double lp = (double)p[i] - mp - log(sp);
		double lq = (double)q[i] - mq - log(sq);

		kl += exp(lp) * (lp - lq);
	}
	return kl;
}

START_TEST(whole_logits_diverge_little_from_the_references)
{
	static const int cases[] = { 0, 4, 11, 12 };
	static float want[N_CTX * N_VOCAB];
	double worst = 0, sum = 0, kl = 0;
	int32_t ids[N_CTX];
	struct backend b;
	int rows = 0;

	if (!open_one(_i, &b))
		return;
	for (int c = 0; c < (SLOW ? 2 : 4); c++) {
		int n = ids_of(part(cases[c], "ids"), ids);

		if (!read_logits(cases[c], n, want))
			goto out;
		feed(&b, ids, n, 0, true);
		for (int i = 0; i < n * N_VOCAB; i++) {
			double d = fabs((double)logits[i] - (double)want[i]);

			sum += d * d;
			worst = d > worst ? d : worst;
		}
		for (int r = 0; r < n; r++, rows++)
			kl += divergence(want + r * N_VOCAB,
			    logits + r * N_VOCAB);
	}
	printf("%s: over %d rows KL %.2e, differences %.3f rms, %.3f at most\n",
	    b.name, rows, kl / rows, sqrt(sum / rows / N_VOCAB), worst);
	ck_assert_double_lt(kl / rows, kl_limit);
out:
	b.close(&b);
}
END_TEST

/*
 * How exact the oracle is, with the head that the reference has (bf16).  The
 * other differences above come from roundings that went the other way: an
 * activation times 127 / max lies so near a half that the order of a float sum
 * decides, and one step of 1/127 in one layer is many in the next.  Up to the
 * first such one the oracle does what the reference does, to the last digits of
 * a float; after it, logits differ by up to 0.45, in any program that adds in
 * another order than PyTorch.  So rows are compared up to there: whole case 0
 * and the first rows of others (measured: 1e-4 at most; the row after them is
 * 0.05 and more off).
 */
START_TEST(the_oracle_is_exact_up_to_the_first_rounding_that_may_go_either_way)
{
	static const struct {
		int i, rows;
	} cases[] = { { 0, 10 }, { 4, 6 }, { 11, 10 }, { 12, 4 } };
	struct backend_options o = { .name = "ref", .n_pages = N_CTX / KV_PAGE,
		.max_rows = N_CTX, .n_ctx = N_CTX };
	static float want[N_CTX * N_VOCAB];
	static struct model exact;
	int32_t ids[N_CTX];
	struct backend b;
	struct err e;

	for (int c = 0; c < 4; c++) {
		int n = ids_of(part(cases[c].i, "ids"), ids);
		double worst = 0;

		if (!read_logits(cases[c].i, n, want))
			return;
		if (c == 0) {
			ck_assert_msg(model_open(SOURCE, false, &exact, &e) == 0,
			    "%s", e.text);
			ck_assert_int_eq(exact.head.type, DENSE_BF16);
			ck_assert_msg(backend_open(&exact, &o, &b, &e) == 0,
			    "%s", e.text);
		}
		ck_assert_int_le(cases[c].rows, n);
		feed(&b, ids, cases[c].rows, 0, true);
		for (int i = 0; i < cases[c].rows * N_VOCAB; i++)
			worst = fmax(worst, fabs((double)logits[i] -
			    (double)want[i]));
		printf("ref, bf16 head, case %d: %d rows differ by %.1e at "
		    "most\n", cases[c].i, cases[c].rows, worst);
		ck_assert_double_lt(worst, exact_limit);
	}
	b.close(&b);
	model_close(&exact);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("reference");
	TCase *t = tcase_create("reference");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t,
	    the_20_largest_logits_of_every_case_are_the_references, 0,
	    N_BACKENDS);
	tcase_add_loop_test(t,
	    greedy_continuations_are_the_references_up_to_a_tie, 0, N_BACKENDS);
	tcase_add_loop_test(t, whole_logits_diverge_little_from_the_references,
	    0, N_BACKENDS);
	tcase_add_test(t,
	    the_oracle_is_exact_up_to_the_first_rounding_that_may_go_either_way);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
