/*
 * Could the largest logits be found in two stages: all rows with the upper bits of
 * their codes, then only those with all bits that can still be among them?  How many
 * rows that would be, on the hidden states of a model reading a text.
 *
 *	usage: head_stages MODEL TEXT [TOKENS [WIDTH]]
 *
 * A head of B bits is split into H coarse and B - H fine ones; a row stays if its
 * coarse product and the most that the fine bits can add reach the K-th largest
 * logit, which is taken as known: no procedure leaves fewer.  What they can add:
 *
 *	norms	the product of the norms of fine bits and hidden state
 *	blocks	likewise in blocks of 64 columns, added up
 *	sum	the largest fine level times the sum of |x|, which needs nothing of
 *		the row
 *
 * The error of a code grows with the root of the width beside logits that do not,
 * so for a model of WIDTH columns the bounds are made longer by that much.
 *
 * Hidden states come from a head that is the identity.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "backend/cpu_kernels.h"
#include "model/model.h"
#include "ppl.h"
#include "tokenizer/tokenizer.h"

enum { WINDOW = 256, TOGETHER = 8, BLOCK = 64, N_BOUNDS = 3 };

static const struct {
	int bits, coarse;
} splits[] = { { 8, 4 }, { 8, 5 }, { 8, 6 }, { 6, 4 } };
static const int ks[] = { 1, 40 };
enum { N_SPLITS = sizeof(splits) / sizeof(splits[0]),
	N_KS = sizeof(ks) / sizeof(ks[0]) };
static const char *const bounds[N_BOUNDS] = { "norms", "blocks", "sum" };

static struct {
	struct model m;
	struct cpu_kernels k;
	int vocab, width, n_blocks, n;
	float longer;		/* of the bounds */
	float *x;		/* [n, width] */
	struct dense full, coarse;	/* F32 [vocab, width]: what codes are worth */
	float *fine;		/* [vocab, n_blocks]: norms of the fine bits */
	float *step;		/* [vocab]: what a level is worth */
	float *logits, *rough;	/* [TOGETHER, vocab] */
} g;

static void *
take(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (p == NULL) {
		perror("head_stages");
		exit(1);
	}
	return p;
}

static int
fail(const struct err *e)
{
	fprintf(stderr, "head_stages: %s\n", e->text);
	return 1;
}

/* The model computes hidden states as if they were logits. */
static int
read_states(const int32_t *ids, struct err *e)
{
	const struct backend_options o = { .name = "cpu",
		.n_pages = WINDOW / KV_PAGE, .max_rows = WINDOW, .n_ctx = WINDOW };
	static struct backend_row rows[WINDOW];
	static int32_t pages[WINDOW / KV_PAGE];
	struct model m = g.m;
	float *one = take((size_t)g.width * (size_t)g.width, sizeof(float));
	struct backend b;
	int rc;

	for (int i = 0; i < g.width; i++)
		one[(size_t)i * (size_t)g.width + (size_t)i] = 1;
	m.config.vocab = g.width;
	m.head = (struct dense){ .type = DENSE_F32, .data = one,
		.n_out = g.width, .n_in = g.width, .group = g.width };
	for (int i = 0; i < WINDOW / KV_PAGE; i++)
		pages[i] = i;
	if ((rc = backend_open(&m, &o, &b, e)) == 0) {
		for (int at = 0; rc == 0 && at < g.n; at += WINDOW) {
			for (int i = 0; i < WINDOW; i++)
				rows[i] = (struct backend_row){
					.token = ids[at + i], .pos = i,
					.pages = pages, .want_logits = true };
			rc = b.forward(&b, rows, WINDOW, g.x + (size_t)at *
			    (size_t)g.width, e);
		}
		b.close(&b);
	}
	free(one);
	return rc;
}

/* The head's rows as codes of so many bits: levels of equal distance around 0. */
static void
split(int bits, int n_coarse)
{
	float *full = (float *)(uintptr_t)g.full.data;
	float *rough = (float *)(uintptr_t)g.coarse.data;
	float *row = take((size_t)g.width, sizeof(float));
	int top = (1 << bits) - 1, fine = 1 << (bits - n_coarse);

	memset(g.fine, 0, (size_t)g.vocab * (size_t)g.n_blocks * sizeof(float));
	for (int o = 0; o < g.vocab; o++) {
		float max = 1e-30F;
		size_t at = (size_t)o * (size_t)g.width;
		float *norm = g.fine + (size_t)o * (size_t)g.n_blocks;

		dense_row(&g.m.head, o, row);
		for (int i = 0; i < g.width; i++)
			max = fmaxf(max, fabsf(row[i]));
		g.step[o] = max / (float)top;
		for (int i = 0; i < g.width; i++) {
			int code = (int)lrintf((row[i] / g.step[o] + (float)top) / 2);
			int low;

			code = code < 0 ? 0 : code > top ? top : code;
			low = 2 * (code % fine) - (fine - 1);
			full[at + (size_t)i] = g.step[o] * (float)(2 * code - top);
			rough[at + (size_t)i] = full[at + (size_t)i] -
			    g.step[o] * (float)low;
			norm[i / BLOCK] += (float)(low * low);
		}
		for (int b = 0; b < g.n_blocks; b++)
			norm[b] = g.step[o] * sqrtf(norm[b]);
	}
	free(row);
}

static int
down(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* What the fine bits of row o can add, by each bound; norms of x: [n_blocks]. */
static void
most(int o, int low_top, const float *norms, float norm, float sum,
    float out[N_BOUNDS])
{
	const float *fine = g.fine + (size_t)o * (size_t)g.n_blocks;
	float all = 0;

	out[1] = 0;
	for (int b = 0; b < g.n_blocks; b++) {
		out[1] += fine[b] * norms[b];
		all += fine[b] * fine[b];
	}
	out[0] = sqrtf(all) * norm;
	out[2] = g.step[o] * (float)low_top * sum;
}

/* Rows that stay for one hidden state, with each bound and K. */
static void
count(const float *x, const float *logits, const float *rough, int low_top,
    int stay[N_BOUNDS][N_KS])
{
	static float sorted[MODEL_VOCAB_MAX], norms[MODEL_HIDDEN_MAX / BLOCK + 1];
	float all = 0, sum = 0, add[N_BOUNDS];

	memset(norms, 0, sizeof(norms));
	for (int i = 0; i < g.width; i++) {
		norms[i / BLOCK] += x[i] * x[i];
		all += x[i] * x[i];
		sum += fabsf(x[i]);
	}
	for (int b = 0; b < g.n_blocks; b++)
		norms[b] = sqrtf(norms[b]);
	memcpy(sorted, logits, (size_t)g.vocab * sizeof(float));
	qsort(sorted, (size_t)g.vocab, sizeof(float), down);
	memset(stay, 0, sizeof(int) * N_BOUNDS * N_KS);
	for (int o = 0; o < g.vocab; o++) {
		most(o, low_top, norms, sqrtf(all), sum, add);
		for (int b = 0; b < N_BOUNDS; b++)
			for (int k = 0; k < N_KS; k++)
				stay[b][k] += rough[o] + g.longer * add[b] >=
				    sorted[ks[k] - 1];
	}
}

static void
measure(int bits, int n_coarse)
{
	double sum[N_BOUNDS][N_KS] = { { 0 } };
	int low_top = (1 << (bits - n_coarse)) - 1, stay[N_BOUNDS][N_KS];

	split(bits, n_coarse);
	for (int t = 0; t < g.n; t += TOGETHER) {
		const struct cpu_hidden x = { .f = g.x + (size_t)t *
			(size_t)g.width, .f_stride = g.width };

		g.k.head(&g.full, 0, g.vocab, &x, TOGETHER, g.logits,
		    (size_t)g.vocab);
		g.k.head(&g.coarse, 0, g.vocab, &x, TOGETHER, g.rough,
		    (size_t)g.vocab);
		for (int i = 0; i < TOGETHER; i++) {
			size_t at = (size_t)i * (size_t)g.vocab;

			count(g.x + (size_t)(t + i) * (size_t)g.width,
			    g.logits + at, g.rough + at, low_top, stay);
			for (int b = 0; b < N_BOUNDS; b++)
				for (int k = 0; k < N_KS; k++)
					sum[b][k] += stay[b][k];
		}
	}
	for (int b = 0; b < N_BOUNDS; b++)
		for (int k = 0; k < N_KS; k++) {
			double part = sum[b][k] / g.n / g.vocab;

			printf("%d = %d + %d, %-6s K %2d: %7.3f %% of the rows, "
			    "%3.0f %% of the bytes\n", bits, n_coarse,
			    bits - n_coarse, bounds[b], ks[k], 100 * part,
			    100 * (n_coarse + (bits - n_coarse) * part) / bits);
		}
	fflush(stdout);
}

static void
make(int width)
{
	size_t all;

	g.vocab = g.m.config.vocab;
	g.width = g.m.config.hidden;
	g.n_blocks = (g.width + BLOCK - 1) / BLOCK;
	g.longer = width > 0 ? sqrtf((float)width / (float)g.width) : 1;
	all = (size_t)g.vocab * (size_t)g.width;
	g.x = take((size_t)g.n * (size_t)g.width, sizeof(float));
	g.full = g.coarse = (struct dense){ .type = DENSE_F32,
		.n_out = g.vocab, .n_in = g.width, .group = g.width };
	g.full.data = take(all, sizeof(float));
	g.coarse.data = take(all, sizeof(float));
	g.fine = take((size_t)g.vocab * (size_t)g.n_blocks, sizeof(float));
	g.step = take((size_t)g.vocab, sizeof(float));
	g.logits = take((size_t)g.vocab * TOGETHER, sizeof(float));
	g.rough = take((size_t)g.vocab * TOGETHER, sizeof(float));
}

int
main(int argc, char **argv)
{
	struct tokenizer *t;
	struct ids ids = { 0 };
	int32_t bos;
	struct err e;

	g.n = argc > 3 ? atoi(argv[3]) / WINDOW * WINDOW : 2048;
	if (argc < 3 || g.n < WINDOW) {
		fputs("usage: head_stages MODEL TEXT [TOKENS [WIDTH]]\n", stderr);
		return 1;
	}
	if (model_open(argv[1], false, &g.m, &e) != 0 ||
	    tokenizer_load(g.m.tokenizer, g.m.n_tokenizer, &t, &e) != 0 ||
	    ppl_read(argv[2], &g.m, t, &ids, &bos, &e) != 0 ||
	    cpu_kernels_open("auto", &g.k, &e) != 0)
		return fail(&e);
	if (ids.n < (size_t)g.n || g.m.config.hidden % CPU_LANES != 0) {
		err_set(&e, ERR_RANGE, "%zu tokens, %d columns: %d and a "
		    "multiple of %d are needed", ids.n, g.m.config.hidden, g.n,
		    CPU_LANES);
		return fail(&e);
	}
	make(argc > 4 ? atoi(argv[4]) : 0);
	if (read_states(ids.v, &e) != 0)
		return fail(&e);
	for (int i = 0; i < N_SPLITS; i++)
		measure(splits[i].bits, splits[i].coarse);
	return 0;
}
