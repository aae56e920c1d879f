/*
 * How fast the head is, without the rest of a forward pass: one of the 2B4T shape,
 * which no cache holds, in each of its types.
 *
 *	usage: head [ISA [THREADS [ROUNDS]]]	auto 1 5
 *
 * The types run in alternation; the best time counts, for a neighbour only ever
 * makes it slower.  ms for 1, 2, 4 and 8 rows, and GB/s of one row.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "backend/cpu_kernels.h"
#include "model/packed.h"

enum { VOCAB = 128256, WIDTH = 2560, ROWS = 8, THREADS_MAX = 64 };

static const struct {
	const char *name;
	enum dense_type type;
	size_t row;
} heads[] = {
	{ "bf16", DENSE_BF16, 2 * WIDTH }, { "i8", DENSE_I8, WIDTH },
	{ "q6", DENSE_Q6, WIDTH * 3 / 4 }, { "q4", DENSE_Q4, WIDTH / 2 },
};
enum { N_HEADS = sizeof(heads) / sizeof(heads[0]) };

static const int rows[] = { 1, 2, 4, 8 };
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

static struct {
	struct cpu_kernels k;
	struct cpu_hidden x;
	struct dense w;
	float *y;
	int n_rows, n_threads;
	pthread_barrier_t begin, end;
} g;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Zeros, in large pages if there are any. */
static void *
take(size_t n)
{
	void *p = aligned_alloc(2 << 20, (n + (2 << 20) - 1) >> 21 << 21);

	if (p == NULL) {
		perror("head");
		exit(1);
	}
	madvise(p, n, MADV_HUGEPAGE);
	return memset(p, 0, n);
}

static void
make(void)
{
	const size_t n = (size_t)VOCAB * 2 * WIDTH;
	static float in[WIDTH], ones[WIDTH];
	float *scales = take(VOCAB * sizeof(float));
	uint32_t *w = take(n);

	for (size_t i = 0; i < n / 4; i++)	/* small enough to be any type */
		w[i] = (uint32_t)i * 2654435761U & 0x3f7f3f7f;
	for (int i = 0; i < VOCAB; i++)
		scales[i] = 0.01F;
	g.w = (struct dense){ .data = w, .scales = scales, .n_out = VOCAB,
		.n_in = WIDTH, .group = WIDTH };
	g.x = (struct cpu_hidden){ take(ROWS * WIDTH * sizeof(float)),
		take(ROWS * WIDTH * sizeof(int16_t)), take(ROWS * sizeof(float)),
		take(ROWS * sizeof(int64_t)), WIDTH, WIDTH };
	g.y = take((size_t)ROWS * VOCAB * sizeof(float));
	for (int r = 0; r < ROWS; r++) {
		for (int i = 0; i < WIDTH; i++) {
			in[i] = (float)((i * 37 + r) % 255 - 127);
			ones[i] = 1;
		}
		g.k.norm(in, ones, WIDTH, 1e-5F, &g.x, r);
	}
}

static void
part(int t)
{
	g.k.head(&g.w, VOCAB / 4 * t / g.n_threads * 4,
	    VOCAB / 4 * (t + 1) / g.n_threads * 4, &g.x, g.n_rows, g.y, VOCAB);
}

static void *
member(void *arg)
{
	for (;;) {
		pthread_barrier_wait(&g.begin);
		part((int)(intptr_t)arg);
		pthread_barrier_wait(&g.end);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	int n_rounds = argc > 3 ? atoi(argv[3]) : 5;
	double best[N_HEADS][N_ROWS], t;
	pthread_t thread;
	struct err e;

	g.n_threads = argc > 2 ? atoi(argv[2]) : 1;
	if (g.n_threads < 1 || g.n_threads > THREADS_MAX || n_rounds < 1) {
		fputs("usage: head [ISA [THREADS [ROUNDS]]]\n", stderr);
		return 1;
	}
	if (cpu_kernels_open(argc > 1 ? argv[1] : "auto", &g.k, &e) != 0) {
		fprintf(stderr, "head: %s\n", e.text);
		return 1;
	}
	make();
	pthread_barrier_init(&g.begin, NULL, (unsigned)g.n_threads);
	pthread_barrier_init(&g.end, NULL, (unsigned)g.n_threads);
	for (int i = 1; i < g.n_threads; i++)
		pthread_create(&thread, NULL, member, (void *)(intptr_t)i);
	for (int i = 0; i < n_rounds * N_HEADS * N_ROWS; i++) {
		int h = i % N_HEADS, r = i / N_HEADS % N_ROWS;

		g.w.type = heads[h].type;
		g.n_rows = rows[r];
		t = now();
		pthread_barrier_wait(&g.begin);
		part(0);
		pthread_barrier_wait(&g.end);
		t = now() - t;
		if (i < N_HEADS * N_ROWS || t < best[h][r])
			best[h][r] = t;
	}
	printf("%s, %d threads\n", g.k.title, g.n_threads);
	for (int h = 0; h < N_HEADS; h++)
		printf("%-5s 1 row %6.2f ms (%5.1f GB/s), 2 %6.2f, 4 %6.2f, "
		    "8 %6.2f\n", heads[h].name, best[h][0] * 1e3,
		    (double)(heads[h].row * VOCAB) / best[h][0] * 1e-9,
		    best[h][1] * 1e3, best[h][2] * 1e3, best[h][3] * 1e3);
	return 0;
}
