/*
 * Pages that leave a KV cache and enter another one: a snapshot is made of them.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "backend/cpu_kernels.h"
#include "kv_world.h"
#include "random_model.h"

/* A sequence whose first n positions were taken out of one backend's cache and
 * put into another one's, which is full of noise. */
static void
check_moved(struct backend *b, struct backend *to, int vocab, int n)
{
	static const int32_t one[] = { 3, 7, 1, 12 }, other[] = { 5, 0, 9, 2 };
	char *page = malloc(b->page_bytes), *again = malloc(b->page_bytes);
	struct err e;

	ck_assert_str_eq(b->kv_format, to->kv_format);
	ck_assert_uint_gt(b->page_bytes, 0);
	feed(b, vocab, one, 1, 0, N_LONG, 40, want);
	feed(to, vocab, other, 2, 0, N_LONG, 40, got);
	for (int i = 0; i * KV_PAGE < n; i++) {
		int left = n - i * KV_PAGE;

		left = left < KV_PAGE ? left : KV_PAGE;
		ck_assert_int_eq(b->read_page(b, one[i], left, page, &e), 0);
		ck_assert_int_eq(to->write_page(to, other[i], page, &e), 0);
		/* What stands behind its end is not in it. */
		ck_assert_int_eq(to->read_page(to, other[i], KV_PAGE, again,
		    &e), 0);
		ck_assert_int_eq(memcmp(page, again, b->page_bytes), 0);
		ck_assert_int_eq(b->read_page(b, one[i], KV_PAGE, again, &e), 0);
		ck_assert(left == KV_PAGE ||
		    memcmp(page, again, b->page_bytes) != 0);
	}
	feed(to, vocab, other, 1, n, N_LONG, 13, got);
	ck_assert_int_eq(memcmp(got, want + n * vocab, (size_t)((N_LONG - n) *
	    vocab) * sizeof(float)), 0);
	free(page);
	free(again);
}

START_TEST(pages_go_from_one_cache_to_another_and_give_the_same_logits)
{
	static const int cuts[] = { 31, 64, 64 + 1 };
	static struct model m;
	struct backend b, to;

	random_model(&random_shapes[_i], &m);
	for (int i = 0; i < N_BACKENDS; i++) {
		if (!open_one(&m, i, 2, N_PAGES, &b))
			continue;
		ck_assert(open_one(&m, i, 1, N_PAGES - 2, &to));
		for (size_t k = 0; k < sizeof(cuts) / sizeof(cuts[0]); k++)
			check_moved(&b, &to, m.config.vocab, cuts[k]);
		b.close(&b);
		to.close(&to);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("pages");
	TCase *tc = tcase_create("pages");
	SRunner *r = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 0);
	tcase_add_loop_test(tc,
	    pages_go_from_one_cache_to_another_and_give_the_same_logits, 0,
	    sizeof(random_shapes) / sizeof(random_shapes[0]));
	suite_add_tcase(suite, tc);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
