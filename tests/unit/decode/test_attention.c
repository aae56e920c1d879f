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
#include "kv_world.h"
#include "random_model.h"
#include "slow.h"

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
	static const int cuts[] = { 15, 64 + 1, 127 };
	static struct model m;
	struct backend b;

	random_model(&random_shapes[_i], &m);
	for (int i = 0; i < N_BACKENDS; i++) {
		if (!open_one(&m, i, 2, N_PAGES, &b))
			continue;
		for (size_t k = 0; k < sizeof(cuts) / sizeof(cuts[0]); k++)
			check_copy(&b, m.config.vocab, cuts[k],
			    random_shapes[_i].what);
		b.close(&b);
	}
}
END_TEST

/*
 * Far positions: spans of a context are longer from 4096 on, and angles of RoPE
 * are large.  Tokens there are in batches of 64 up to N_DEEP, then one by one, in
 * threes, and all at once, with a short sequence beside them; pages are in order
 * or not.  What the oracle says is computed once, before the tests are forked.
 */
enum { N_DEEP = 4000, N_END = 4160, N_DEEP_PAGES = N_END / KV_PAGE + 2 };

/* Of one layer, so that the oracle ends today. */
static const struct random_shape deep_shape = { "GQA 4:1", 64, 64, 1, 8, 2, 32,
	64, MODEL_RELU2, false, true, true, .type = DENSE_F32 };

static struct model deep_model;
static float deep_oracle[(N_END - N_DEEP) * 64];
static float deep_want[(N_END - N_DEEP) * 64], deep_got[(N_END - N_DEEP) * 64];

static void
deep_pages(bool permuted, int32_t *pages)
{
	for (int p = 0; p < N_END / KV_PAGE; p++)
		pages[p] = permuted ? (p * 7 + 3) % (N_END / KV_PAGE) : p;
}

static void
feed_deep(struct backend *b, bool permuted)
{
	int32_t pages[N_END / KV_PAGE];
	static float ignored[64 * 64];

	deep_pages(permuted, pages);
	for (int i = 0; i < N_DEEP; i += 64)
		feed(b, 64, pages, 1, i, i + 64 < N_DEEP ? i + 64 : N_DEEP, 64,
		    ignored);
}

/* The rest; before that other tokens, so that nothing is left there of the last
 * time. */
static void
feed_end(struct backend *b, bool permuted, int chunk, float *out)
{
	int32_t pages[N_END / KV_PAGE];

	deep_pages(permuted, pages);
	feed(b, 64, pages, 2, N_DEEP, N_END, 64, out);
	feed(b, 64, pages, 1, N_DEEP, N_END, chunk, out);
}

static void
ask_oracle(void)
{
	struct backend b;

	random_model(&deep_shape, &deep_model);
	ck_assert(open_one(&deep_model, 0, 1, N_DEEP_PAGES, &b));
	feed_deep(&b, false);
	feed_end(&b, false, 64, deep_oracle);
	b.close(&b);
}

/* The last position once more, together with sequences of 1 and 40 tokens. */
static void
check_company(struct backend *b)
{
	static const int32_t other[] = { N_DEEP_PAGES - 2, N_DEEP_PAGES - 1 };
	int32_t pages[N_END / KV_PAGE];
	static float ignored[40 * 64], logits[3 * 64];
	struct backend_row rows[3];
	struct err e;

	deep_pages(true, pages);
	feed(b, 64, other, 3, 0, 40, 40, ignored);
	for (int i = 0; i < 3; i++)
		rows[i] = (struct backend_row){ .token = 3, .want_logits = true,
			.pos = i == 0 ? 39 : N_END - 3 + i,
			.pages = i == 0 ? other : pages };
	for (int i = 1; i < 3; i++) {
		int pos = rows[i].pos;

		rows[i].token = (1 + pos * (pos + 7)) % 64;
	}
	ck_assert_int_eq(b->forward(b, rows, 3, logits, &e), 0);
	ck_assert_int_eq(memcmp(logits + 64, deep_want + (N_END - 2 - N_DEEP) * 64,
	    2 * 64 * sizeof(float)), 0);
}

/* Rounding to 8 bits here and there; an angle that is off by 2^-11 of itself would
 * be wrong by a radian. */
static void
check_oracle(int which)
{
	double d = 0, all = 0;

	for (int k = 0; k < (N_END - N_DEEP) * 64; k++) {
		d += pow((double)deep_want[k] - (double)deep_oracle[k], 2);
		all += pow((double)deep_oracle[k], 2);
	}
	printf("%s %s: distance %.2e\n", backends[which].isa,
	    backends[which].kv != NULL ? backends[which].kv : "f16",
	    sqrt(d / all));
	ck_assert_msg(sqrt(d / all) < 0.03, "%s: %g", backends[which].isa,
	    sqrt(d / all));
}

START_TEST(far_positions_are_the_oracles_and_the_same_however_they_came)
{
	static const int chunks[] = { 1, 3, 64 };
	struct backend b;

	if (!open_one(&deep_model, _i, 1, N_DEEP_PAGES, &b))
		return;
	feed_deep(&b, false);
	feed_end(&b, false, 64, deep_want);
	b.close(&b);
	check_oracle(_i);
	for (int threads = 2; threads <= (SLOW ? 2 : 3); threads++) {
		ck_assert(open_one(&deep_model, _i, threads, N_DEEP_PAGES, &b));
		feed_deep(&b, true);
		for (int k = threads == 2 ? 0 : 2; k < 3; k++) {
			feed_end(&b, true, chunks[k], deep_got);
			ck_assert_msg(memcmp(deep_got, deep_want,
			    sizeof(deep_want)) == 0, "%s, %d threads, %d at once",
			    b.name, threads, chunks[k]);
		}
		check_company(&b);
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
	tcase_add_unchecked_fixture(t, ask_oracle, NULL);
	tcase_add_loop_test(t,
	    far_positions_are_the_oracles_and_the_same_however_they_came, 1,
	    N_BACKENDS);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
