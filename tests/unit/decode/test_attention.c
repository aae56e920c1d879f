/*
 * The KV cache and attention of whole backends: what a sequence reads of it does
 * not depend on how it got there.  test_backend.c has the same for everything
 * else; here contexts are longer than a tile of the softmax and a page is shared.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "backend/cpu_kernels.h"
#include "random_model.h"

enum { N_PAGES = 16, N_VOCAB_MAX = 130, N_LONG = 4 * KV_PAGE };

static const struct {
	const char *name, *isa;
} backends[] = {
	{ "ref", NULL }, { "cpu", "avx512" }, { "cpu", "avx2" },
	{ "cpu", "scalar" },
};
enum { N_BACKENDS = sizeof(backends) / sizeof(backends[0]) };

static float want[N_LONG * N_VOCAB_MAX], got[N_LONG * N_VOCAB_MAX];

/* False if this machine lacks it. */
static bool
open_one(const struct model *m, int which, struct backend *b)
{
	struct backend_options o = { .name = backends[which].name,
		.isa = backends[which].isa, .n_threads = 2, .n_pages = N_PAGES,
		.max_rows = 64, .n_ctx = 512 };
	struct err e;
	int r = backend_open(m, &o, b, &e);

	ck_assert_msg(r == 0 || (r == ERR_NOT_FOUND && which > 0), "%s", e.text);
	return r == 0;
}

/* Positions from..to-1, at most n rows at a time, logits of all into out. */
static void
feed(struct backend *b, int vocab, const int32_t *pages, int seed, int from,
    int to, int n, float *out)
{
	struct backend_row rows[64];
	struct err e;

	while (from < to) {
		int k = to - from < n ? to - from : n;

		for (int i = 0; i < k; i++)
			rows[i] = (struct backend_row){
				.token = (seed + (from + i) * (from + i + 7)) % vocab,
				.pos = from + i, .pages = pages,
				.want_logits = true,
			};
		ck_assert_int_eq(b->forward(b, rows, k, out, &e), 0);
		out += k * vocab;
		from += k;
	}
}

/* One sequence, and one that has its first n positions and then other tokens:
 * on pages of its own, or sharing all whole pages and a copy of the last one. */
static void
check_copy(struct backend *b, int vocab, int n, const char *what)
{
	static const int32_t one[] = { 3, 7, 1, 12 }, other[] = { 4, 8, 2, 13 };
	static const int32_t fresh[] = { 9, 10, 11, 14 };
	int32_t shared[] = { 3, 7, 1, 12 };
	int last = n / KV_PAGE;
	struct err e;

	feed(b, vocab, one, 1, 0, N_LONG, 40, got);
	feed(b, vocab, other, 1, 0, n, 40, want);
	feed(b, vocab, other, 2, n, N_LONG, 13, want);
	/* What the copy does not write is left from others: noise. */
	for (int i = last; i < 4; i++)
		shared[i] = fresh[i];
	feed(b, vocab, &shared[last], 5, 0, KV_PAGE, 40, got);
	ck_assert_int_eq(b->copy_page(b, one[last], shared[last], n % KV_PAGE, &e), 0);
	feed(b, vocab, shared, 2, n, N_LONG, 13, got);
	ck_assert_msg(memcmp(got, want, (size_t)((N_LONG - n) * vocab) *
	    sizeof(float)) == 0, "%s: other logits after %d positions", what, n);
	/* And the one that was copied goes on as if nothing had happened. */
	feed(b, vocab, other, 1, n, N_LONG, 11, want);
	feed(b, vocab, one, 1, N_LONG - 1, N_LONG, 1, got);
	ck_assert_int_eq(memcmp(got, want + (N_LONG - 1 - n) * vocab,
	    (size_t)vocab * sizeof(float)), 0);
}

START_TEST(a_sequence_goes_on_from_a_copied_page_to_the_same_logits)
{
	static const int cuts[] = { 1, 15, 31, 33, 64 + 17, 127 };
	static struct model m;
	struct backend b;

	random_model(&random_shapes[_i], &m);
	for (int i = 0; i < N_BACKENDS; i++) {
		if (!open_one(&m, i, &b))
			continue;
		for (size_t k = 0; k < sizeof(cuts) / sizeof(cuts[0]); k++)
			check_copy(&b, m.config.vocab, cuts[k],
			    random_shapes[_i].what);
		b.close(&b);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("attention");
	TCase *t = tcase_create("attention");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t,
	    a_sequence_goes_on_from_a_copied_page_to_the_same_logits, 0,
	    N_RANDOM_SHAPES);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
