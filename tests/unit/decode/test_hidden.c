/*
 * Hidden states that rows ask for: those the logits are made of, the same bits
 * whatever the number of threads, the rows beside them, the cuts of a prompt and
 * who else wants what; and logits are as they are without.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random_model.h"
#include "slow.h"

enum { N = 70, N_OTHER = 5, HIDDEN_MAX = 1024, VOCAB_MAX = 130, PAGES = 8 };

static float want[N * HIDDEN_MAX], got[N * HIDDEN_MAX];
static float want_logits[VOCAB_MAX], logits[(N + N_OTHER) * VOCAB_MAX];
static const int32_t pages[] = { 3, 1, 2 }, other_pages[] = { 0 };

struct plan {
	const char *backend;
	int threads, chunk;
	bool together;		/* with the rows of another sequence */
	bool all_logits;	/* every row wants them, too */
};

static void
open_one(const struct model *m, const struct plan *p, struct backend *b)
{
	struct backend_options o = { .name = p->backend, .isa = "auto",
		.n_threads = p->threads, .n_pages = PAGES,
		.max_rows = BACKEND_ROWS_MAX, .n_ctx = 512 };
	struct err e;

	ck_assert_msg(backend_open(m, &o, b, &e) == 0, "%s", e.text);
	ck_assert(b->has_hidden);
}

static int
add_other(struct backend_row *rows)
{
	for (int i = 0; i < N_OTHER; i++)
		rows[i] = (struct backend_row){ .token = i, .pos = i,
			.pages = other_pages, .want_logits = i % 2 == 0 };
	return N_OTHER;
}

/* All of the sequence; its last logits into last. */
static void
run(const struct model *m, const struct plan *p, float *out, float *last)
{
	struct backend_row rows[N + N_OTHER];
	int hidden = m->config.hidden, vocab = m->config.vocab;
	struct backend b;
	struct err e;

	open_one(m, p, &b);
	for (int done = 0; done < N;) {
		int n = p->together ? add_other(rows) : 0, n_logits = 0;

		for (int i = 0; i < p->chunk && done < N; i++, done++)
			rows[n++] = (struct backend_row){
				.token = (done * 7 + done * done) % vocab,
				.pos = done, .pages = pages,
				.want_logits = p->all_logits || done == N - 1,
				.hidden = out + done * hidden };
		ck_assert_int_eq(b.forward(&b, rows, n, logits, &e), 0);
		for (int i = 0; i < n; i++)
			n_logits += rows[i].want_logits;
		if (done == N)
			memcpy(last, logits + (n_logits - 1) * vocab,
			    (size_t)vocab * sizeof(*last));
	}
	b.close(&b);
}

START_TEST(the_logits_of_the_oracle_are_made_of_its_hidden_states)
{
	static const struct plan plan = { "ref", 1, 32, false, false };
	static struct model m;
	float row[HIDDEN_MAX];

	random_model(&random_shapes[_i], &m);
	run(&m, &plan, want, want_logits);
	for (int o = 0; o < m.config.vocab; o++) {
		double sum = 0;

		dense_row(&m.head, o, row);
		for (int i = 0; i < m.config.hidden; i++)
			sum += (double)row[i] *
			    (double)want[(N - 1) * m.config.hidden + i];
		ck_assert_double_eq_tol(sum, (double)want_logits[o], 1e-4);
	}
}
END_TEST

START_TEST(hidden_states_do_not_depend_on_threads_company_or_cuts)
{
	static const struct plan plans[] = {
		{ "cpu", 1, N, false, false }, { "cpu", 1, 1, false, false },
		{ "cpu", 2, 7, true, false }, { "cpu", 3 - SLOW, 32, true, true },
		{ "cpu", 2, N, true, true }, { "cpu", 1, 9, true, false },
	};
	static const struct plan oracle = { "ref", 1, 32, false, false };
	float last[VOCAB_MAX], ref_logits[VOCAB_MAX];
	static struct model m;
	double d = 0, all = 0;
	size_t size;

	random_model(&random_shapes[_i], &m);
	size = (size_t)(N * m.config.hidden) * sizeof(*want);
	run(&m, &plans[0], want, want_logits);
	for (size_t i = 1; i < sizeof(plans) / sizeof(plans[0]); i++) {
		memset(got, 0, size);
		run(&m, &plans[i], got, last);
		ck_assert_msg(memcmp(got, want, size) == 0, "plan %zu", i);
		ck_assert_mem_eq(last, want_logits,
		    (size_t)m.config.vocab * sizeof(*last));
	}
	run(&m, &oracle, got, ref_logits);
	for (size_t i = 0; i < size / sizeof(*want); i++) {
		double x = (double)got[i] - (double)want[i];

		d += x * x;
		all += (double)got[i] * (double)got[i];
	}
	ck_assert_double_lt(sqrt(d / all), 0.03);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("hidden");
	TCase *t = tcase_create("hidden");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t,
	    the_logits_of_the_oracle_are_made_of_its_hidden_states, 0, 3);
	tcase_add_loop_test(t,
	    hidden_states_do_not_depend_on_threads_company_or_cuts, 0, 3);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
