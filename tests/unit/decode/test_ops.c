/*
 * What a backend says of its kinds of work.  Times are not compared with
 * anything: another process may run.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "random_model.h"

enum { N_PAGES = 8, N_CTX = 256 };

static void
open_cpu(const struct model *m, int threads, struct backend *b)
{
	struct backend_options o = { .name = "cpu", .n_threads = threads,
		.n_pages = N_PAGES, .max_rows = 64, .n_ctx = N_CTX };
	struct err e;

	ck_assert_msg(backend_open(m, &o, b, &e) == 0, "%s", e.text);
}

/* Rows from..to-1 of one sequence, the logits of the last one. */
static void
feed(struct backend *b, const struct model *m, int from, int to)
{
	static const int32_t pages[N_PAGES] = { 3, 0, 1, 2, 4, 5, 6, 7 };
	static float logits[256];
	struct backend_row rows[64];
	struct err e;

	for (int i = from; i < to; i++)
		rows[i - from] = (struct backend_row){
			.token = i % m->config.vocab, .pos = i, .pages = pages,
			.want_logits = i == to - 1 };
	ck_assert_int_eq(b->forward(b, rows, to - from, logits, &e), 0);
}

static const struct backend_op *
find(const struct backend_op *ops, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(ops[i].name, name) == 0)
			return &ops[i];
	return NULL;
}

START_TEST(a_token_reads_what_bytes_per_token_says)
{
	struct backend_op ops[BACKEND_OPS_MAX];
	static struct model m;
	struct backend b;
	int64_t bytes = 0, kv;
	int n;

	random_model(&random_shapes[_i], &m);
	open_cpu(&m, 1, &b);
	kv = (int64_t)b.kv_bytes / (N_PAGES * KV_PAGE);
	ck_assert_int_eq(b.ops(&b, ops), 0);
	feed(&b, &m, 0, 1);
	n = b.ops(&b, ops);
	for (int i = 0; i < n; i++) {
		ck_assert_int_ge(ops[i].ns, 0);
		if (strcmp(ops[i].name, "embed") != 0)
			bytes += ops[i].bytes;
	}
	ck_assert_int_eq(bytes, b.bytes_per_token + kv);
	ck_assert_int_eq(find(ops, n, "attention")->bytes, kv);
	ck_assert_int_eq(find(ops, n, "down")->calls, m.config.n_layers);
	b.close(&b);
}
END_TEST

START_TEST(a_prompt_is_counted_by_kind)
{
	static const char *const kinds[] = { "embed", "quantise", "qkv", "store",
		"attention", "o", "gate_up", "down", "head" };
	enum { N = sizeof(kinds) / sizeof(kinds[0]) };
	struct backend_op ops[BACKEND_OPS_MAX];
	static struct model m;
	struct backend b;

	random_model(&random_shapes[0], &m);
	open_cpu(&m, 2, &b);
	feed(&b, &m, 0, 40);
	ck_assert_int_eq(b.ops(&b, ops), N);
	for (int i = 0; i < N; i++)
		ck_assert_str_eq(ops[i].name, kinds[i]);
	ck_assert_int_eq(find(ops, N, "head")->calls, 1);
	ck_assert_int_eq(find(ops, N, "gate_up")->calls, m.config.n_layers);
	b.close(&b);
}
END_TEST

/* Looks at the counters until told to stop: none of them may ever go back. */
struct watcher {
	struct backend *b;
	atomic_bool stop;
	atomic_int seen;	/* how often it looked */
	int64_t back;
};

static void *
watch(void *arg)
{
	struct watcher *w = arg;
	struct backend_op old[BACKEND_OPS_MAX], now[BACKEND_OPS_MAX];
	int n_old = 0;

	while (!atomic_load(&w->stop)) {
		int n = w->b->ops(w->b, now);

		for (int i = 0; i < n_old; i++) {
			const struct backend_op *op = find(now, n, old[i].name);

			w->back += op == NULL || op->calls < old[i].calls ||
			    op->ns < old[i].ns || op->bytes < old[i].bytes;
		}
		memcpy(old, now, sizeof(old));
		n_old = n;
		atomic_fetch_add(&w->seen, 1);
	}
	return NULL;
}

START_TEST(anybody_may_look_while_it_works_and_nothing_goes_back)
{
	static struct model m;
	struct backend_op before[BACKEND_OPS_MAX], after[BACKEND_OPS_MAX];
	struct backend b;
	struct watcher w = { .b = &b };
	pthread_t thread;
	int n;

	random_model(&random_shapes[0], &m);
	open_cpu(&m, 2, &b);
	feed(&b, &m, 0, 8);
	n = b.ops(&b, before);
	ck_assert_int_eq(pthread_create(&thread, NULL, watch, &w), 0);
	while (atomic_load(&w.seen) == 0)
		sched_yield();
	for (int i = 8; i < N_CTX - 8; i++)
		feed(&b, &m, i, i + 1);
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	ck_assert_int_eq(w.back, 0);
	ck_assert_int_eq(b.ops(&b, after), n);
	for (int i = 0; i < n; i++)
		if (strcmp(after[i].name, "quantise") != 0 &&
		    strcmp(after[i].name, "store") != 0)
			ck_assert_int_gt(after[i].calls, before[i].calls);
	b.close(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ops");
	TCase *t = tcase_create("ops");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, a_token_reads_what_bytes_per_token_says, 0,
	    N_RANDOM_SHAPES);
	tcase_add_test(t, a_prompt_is_counted_by_kind);
	tcase_add_test(t, anybody_may_look_while_it_works_and_nothing_goes_back);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
