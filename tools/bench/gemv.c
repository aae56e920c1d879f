/*
 * How fast the ternary kernels are, without the rest of a forward pass: the
 * matrices of the 2B4T shape, all 30 layers of them, distinct, so that they come
 * from memory each time as they do in decoding.
 *
 *	usage: gemv [ISA [THREADS [PAGES [ROUNDS]]]]	auto 1 2m 5
 *
 * `formats` instead of ISA compares denser formats: gemv_formats.h.
 *
 * PAGES is 4k or 2m.  What is compared runs in alternation; the best time counts,
 * for a neighbour only ever makes it slower.  Rows of activations 1..8: GB/s of
 * weights, and the time as a multiple of one row's.  More rows: products a second,
 * and the fraction of what the multiplier does when nothing else is to be done;
 * 256 outputs of each matrix are enough for these.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "backend/cpu_kernels.h"
#include "bench/gemv_formats.h"
#include "bench/gemv_peak.h"

enum { THREADS_MAX = 64, LAYERS = 30, ROWS_MAX = 512, ROUNDS = 64,
	MANY_OUTS = 256 };

static const int shapes[][2] = { { 2560, 2560 }, { 640, 2560 }, { 640, 2560 },
	{ 2560, 2560 }, { 6912, 2560 }, { 6912, 2560 }, { 2560, 6912 } };
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]), N = LAYERS * N_SHAPES };

static struct {
	struct cpu_kernels k;
	struct ternary w[N];
	size_t n_bytes;
	struct cpu_rows x;
	float *y;
	int n_threads;
	pthread_barrier_t begin, end;
	int rows;		/* 0: the weights are only read */
	int first, n;		/* matrices */
	volatile int64_t sink;
} g;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *
take(size_t n)
{
	void *p = aligned_alloc(64, (n + 63) / 64 * 64);

	if (p == NULL) {
		perror("gemv");
		exit(1);
	}
	return memset(p, 0, (n + 63) / 64 * 64);
}

static uint8_t *
take_weights(size_t n, bool huge)
{
	const size_t page = 2 << 20;
	uint8_t *p = mmap(NULL, n + 2 * page, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("gemv");
		exit(1);
	}
	p += page - (uintptr_t)p % page;
	madvise(p, n, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	/* Two bits of anything but 3, and no byte of them as the one before. */
	for (size_t i = 0; i < n; i++) {
		unsigned v = (unsigned)((i * 2654435761U) >> 7 & 0xff);

		p[i] = (uint8_t)(v & ~(v >> 1 & v & 0x55));
	}
	return p;
}

static void
make(bool huge)
{
	float *scales = take(6912 * sizeof(float));
	uint8_t *at;

	for (int i = 0; i < 6912; i++)
		scales[i] = 1;
	for (int i = 0; i < N; i++) {
		const int *s = shapes[i % N_SHAPES];

		g.w[i] = (struct ternary){ .n_out = s[0], .n_in = s[1],
			.group = s[1], .stride = (s[1] + 255) / 256 * 64,
			.scales = scales };
		g.n_bytes += (size_t)s[0] * (size_t)g.w[i].stride;
	}
	at = take_weights(g.n_bytes, huge);
	for (int i = 0; i < N; i++) {
		g.w[i].codes = at;
		at += (size_t)g.w[i].n_out * (size_t)g.w[i].stride;
	}
	g.x = (struct cpu_rows){ .q = take((size_t)ROWS_MAX * 6912),
		.scale = take(ROWS_MAX * sizeof(float)),
		.sum = take(ROWS_MAX * sizeof(int32_t)) };
	for (int i = 0; i < ROWS_MAX * 6912; i++)
		g.x.q[i] = (int8_t)(i * 37 % 255 - 127);
	g.y = take((size_t)ROWS_MAX * 6912 * sizeof(float));
}

static void
read_rows(const struct ternary *w, int from, int to)
{
	typedef uint64_t v8 __attribute__((vector_size(64)));
	const uint8_t *p = w->codes + (size_t)from * (size_t)w->stride;
	size_t n = (size_t)(to - from) * (size_t)w->stride;
	v8 sum[4] = { { 0 } }, v;

	for (size_t i = 0; i + 256 <= n; i += 256)
		for (size_t j = 0; j < 4; j++) {
			memcpy(&v, p + i + 64 * j, sizeof(v));
			sum[j] += v;
		}
	g.sink += (int64_t)(sum[0][0] + sum[1][1] + sum[2][2] + sum[3][3]);
}

/* What thread t does of one round. */
static void
part(int t)
{
	for (int i = g.first; i < g.first + g.n; i++) {
		const struct ternary *w = &g.w[i];
		int units = (g.rows > 8 ? MANY_OUTS : w->n_out) / 32;
		int from = units * t / g.n_threads * 32;
		int to = units * (t + 1) / g.n_threads * 32;
		struct cpu_rows x = g.x;

		x.stride = 4 * w->stride;
		if (g.rows > 0)
			g.k.ternary(w, from, to, &x, g.rows, g.y, 6912, false);
		else
			read_rows(w, from, to);
	}
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

/*
 * The time of all layers, or for many rows of MANY_OUTS outputs of one: as if
 * each took as long as the fastest, which is not possible with several threads,
 * whose meeting would count too much.
 */
static double
measure(int rows)
{
	int step = g.n_threads == 1 ? N_SHAPES : N;
	double best = 1e9, from;

	g.rows = rows;
	g.n = step;
	for (g.first = 0; g.first < (rows > 8 ? 3 * N_SHAPES : N);
	    g.first += step) {
		from = now();
		pthread_barrier_wait(&g.begin);
		part(0);
		pthread_barrier_wait(&g.end);
		from = now() - from;
		best = from < best ? from : best;
	}
	return rows > 8 ? best / (step / N_SHAPES) : best * (N / step);
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
print(int rows, double t, double one, double peak)
{
	double bytes = (double)g.n_bytes;

	if (rows == 0) {
		printf("read         %6.1f GB/s\n", bytes / t * 1e-9);
	} else if (rows <= 8) {
		printf("%3d rows     %6.1f GB/s, %.2f times one row\n", rows,
		    bytes / t * 1e-9, t / one);
	} else {
		double products = 1e-9 * MANY_OUTS * (6 * 2560 + 6912) * rows / t;

		printf("%3d rows     %6.0f * 10^9 products/s", rows, products);
		if (peak > 0)
			printf(", %.0f %% of %.0f", 100 * products / peak, peak);
		putchar('\n');
	}
}

int
main(int argc, char **argv)
{
	static const int rows[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32, 64,
		128, 512 };
	enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };
	static double t[N_ROWS][ROUNDS], peak[ROUNDS];
	int n_rounds = argc > 4 ? atoi(argv[4]) : 5;
	bool huge = argc <= 3 || strcmp(argv[3], "4k") != 0;
	pthread_t thread;
	struct err e;

	g.n_threads = argc > 2 ? atoi(argv[2]) : 1;
	if (g.n_threads < 1 || g.n_threads > THREADS_MAX || n_rounds < 1 ||
	    n_rounds > ROUNDS) {
		fputs("usage: gemv [ISA|formats [THREADS [PAGES [ROUNDS]]]]\n",
		    stderr);
		return 1;
	}
	if (argc > 1 && strcmp(argv[1], "formats") == 0)
		return gemv_formats(g.n_threads, huge, n_rounds);
	if (cpu_kernels_open(argc > 1 ? argv[1] : "auto", &g.k, &e) != 0) {
		fprintf(stderr, "gemv: %s\n", e.text);
		return 1;
	}
	make(huge);
	pthread_barrier_init(&g.begin, NULL, (unsigned)g.n_threads);
	pthread_barrier_init(&g.end, NULL, (unsigned)g.n_threads);
	for (int i = 1; i < g.n_threads; i++)
		pthread_create(&thread, NULL, member, (void *)(intptr_t)i);
	for (int r = 0; r < n_rounds; r++) {
		peak[r] = gemv_peak() * g.n_threads;
		for (int i = 0; i < N_ROWS; i++)
			t[i][r] = measure(rows[i]);
	}
	qsort(peak, (size_t)n_rounds, sizeof(double), by_size);
	for (int i = 0; i < N_ROWS; i++)
		qsort(t[i], (size_t)n_rounds, sizeof(double), by_size);
	printf("%s, %d threads, %.0f MB of weights\n", g.k.title, g.n_threads,
	    (double)g.n_bytes * 1e-6);
	for (int i = 0; i < N_ROWS; i++)
		print(rows[i], t[i][0], t[1][0], peak[n_rounds - 1]);
	return 0;
}
