#ifndef TESTS_BACKEND_WORLD_H
#define TESTS_BACKEND_WORLD_H

#include <check.h>
#include <math.h>
#include <string.h>

#include "backend/backend.h"

/* Three sequences through a backend, cut and put together in any way, and their
 * logits compared: with the oracle's, or bit for bit. */
enum { N_SEQ = 3, N_MAX = 100, N_PAGES = 24, N_VOCAB_MAX = 130 };

/* A test may make them shorter. */
static int lengths[N_SEQ] = { N_MAX, 40, 5 };
static const int chunks[] = { 1, 7, 32, N_MAX };

/* logits[sequence][position * vocab + id] */
static float want[N_SEQ][N_MAX * N_VOCAB_MAX], got[N_SEQ][N_MAX * N_VOCAB_MAX];
static float logits[N_SEQ * N_MAX * N_VOCAB_MAX];

struct plan {
	int chunk;		/* rows of a sequence in one batch */
	bool together;		/* all sequences in one batch */
	bool permuted;		/* pages are not in order */
	bool last_only;		/* want the logits of each piece's last row only */
};

static inline int32_t
token_at(int sequence, int pos, int vocab)
{
	return (pos * 7 + sequence * 31 + pos * pos) % vocab;
}

static inline int32_t *
pages_of(int sequence, bool permuted)
{
	static int32_t pages[N_SEQ][N_PAGES / N_SEQ];

	for (int p = 0; p < N_PAGES / N_SEQ; p++) {
		int page = sequence * (N_PAGES / N_SEQ) + p;

		pages[sequence][p] = permuted ? (page * 7 + 5) % N_PAGES : page;
	}
	return pages[sequence];
}

/* The next rows of a sequence; returns how many. */
static inline int
next_rows(const struct plan *p, int sequence, int done, int vocab,
    struct backend_row *rows)
{
	int n = lengths[sequence] - done;

	n = n > p->chunk ? p->chunk : n;
	for (int i = 0; i < n; i++)
		rows[i] = (struct backend_row){
			.token = token_at(sequence, done + i, vocab),
			.pos = done + i,
			.pages = pages_of(sequence, p->permuted),
			.want_logits = !p->last_only || i == n - 1,
		};
	return n;
}

static inline void
run_batch(struct backend *b, const struct backend_row *rows, int n,
    const int *sequence, int vocab, float (*out)[N_MAX * N_VOCAB_MAX])
{
	struct err e;
	int k = 0;

	ck_assert_int_eq(b->forward(b, rows, n, logits, &e), 0);
	for (int i = 0; i < n; i++)
		if (rows[i].want_logits)
			memcpy(out[sequence[i]] + rows[i].pos * vocab,
			    logits + k++ * vocab, (size_t)vocab * sizeof(float));
}

/* All sequences through b as p says, into out. */
static inline void
run(struct backend *b, const struct plan *p, int vocab,
    float (*out)[N_MAX * N_VOCAB_MAX])
{
	static struct backend_row rows[N_SEQ * N_MAX];
	static int sequence[N_SEQ * N_MAX];
	int done[N_SEQ] = { 0 }, n, left;

	do {
		n = left = 0;
		for (int s = 0; s < N_SEQ; s++) {
			int k = next_rows(p, s, done[s], vocab, rows + n);

			for (int i = 0; i < k; i++)
				sequence[n + i] = s;
			done[s] += k;
			left += lengths[s] - done[s];
			n += k;
			if (n > 0 && (!p->together || s == N_SEQ - 1)) {
				run_batch(b, rows, n, sequence, vocab, out);
				n = 0;
			}
		}
	} while (left > 0);
}

/* Root of the mean square of the difference, by that of the logits. */
static inline double
distance(int vocab)
{
	double d = 0, all = 0;

	for (int s = 0; s < N_SEQ; s++)
		for (int i = 0; i < lengths[s] * vocab; i++) {
			double x = (double)got[s][i] - (double)want[s][i];

			d += x * x;
			all += (double)want[s][i] * (double)want[s][i];
		}
	return sqrt(d / all);
}

static inline void
compare(const struct plan *p, int vocab, const char *what, int threads)
{
	for (int s = 0; s < N_SEQ; s++)
		for (int pos = 0; pos < lengths[s]; pos++) {
			size_t at = (size_t)(pos * vocab);

			if (p->last_only && pos != lengths[s] - 1)
				continue;
			ck_assert_msg(memcmp(got[s] + at, want[s] + at,
			    (size_t)vocab * sizeof(float)) == 0,
			    "%s, %d threads, chunk %d, together %d, permuted %d: "
			    "sequence %d differs at %d", what, threads, p->chunk,
			    p->together, p->permuted, s, pos);
		}
}

#endif
