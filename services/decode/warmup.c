/*
 * The first pass of a process takes its pages and wakes its threads, which of a
 * small model is most of its time: that one is not believed.  What comes after it
 * costs a small model a millisecond.  A large one is not kept waiting: the passes
 * of its self-check are good enough, and one row is a fraction of them.
 */
#include <stdlib.h>

#include "clock.h"
#include "warmup.h"

enum {
	ROWS = 8,
	LARGE_US = 50000,	/* taking pages is little of such a self-check */
};

/* Microseconds of one pass of n rows; -1: an error. */
static double
pass(struct backend *b, int32_t n, float *logits, struct err *e)
{
	struct backend_row rows[ROWS];
	const int32_t page = 0;
	int64_t start;

	for (int32_t i = 0; i < n; i++)
		rows[i] = (struct backend_row){ .token = 0, .pos = i,
			.pages = &page, .want_logits = i == n - 1 };
	start = clock_ns();
	if (b->forward(b, rows, n, logits, e) != 0)
		return -1;
	return (double)(clock_ns() - start) / 1e3;
}

int
warmup_run(const struct model_config *m, struct backend *b,
    const struct backend_options *o, const struct selfcheck_result *check,
    struct pace_start *out, struct err *e)
{
	int32_t most = o->n_ctx < o->max_rows ? o->n_ctx : o->max_rows;
	float *logits = calloc((size_t)m->vocab, sizeof(*logits));
	struct pace_start s = { .n_rows = ROWS < most ? ROWS : most };

	if (logits == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the logits of "
		    "the first steps");
	if (check->us >= LARGE_US) {
		/* It was cut into passes of at most max_rows. */
		s.n_rows = check->n_tokens < most ? check->n_tokens : most;
		s.rows_us = (double)check->us * s.n_rows / check->n_tokens;
	} else {
		s.rows_us = check->n_tokens > 0 ? 0 : pass(b, 1, logits, e);
		if (s.rows_us >= 0)
			s.rows_us = pass(b, s.n_rows, logits, e);
	}
	s.row_us = s.rows_us < 0 ? -1 : pass(b, 1, logits, e);
	free(logits);
	if (s.row_us < 0)
		return ERR_SYSTEM;
	*out = s;
	return 0;
}
