/*
 * One layer of the 2B4T shape is made, of weights that every format can hold (one
 * of four is 0); its products are computed by a plain loop over those weights, and
 * each format must give the same floats.  Copies of it, LAYERS of them, are what
 * is timed, so that weights come from memory as they do in decoding; and beside
 * it one matrix over and over, from the second cache, which shows what a format
 * costs where memory is not what it waits for.  All run in alternation.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bench/gemv_dense.h"
#include "bench/gemv_formats.h"

static const int shapes[][2] = { { 2560, 2560 }, { 640, 2560 }, { 640, 2560 },
	{ 2560, 2560 }, { 6912, 2560 }, { 6912, 2560 }, { 2560, 6912 } };

enum {
	SHAPES = sizeof(shapes) / sizeof(shapes[0]), LAYERS = 30, OUTS = 22784,
	N_MAX = 6912, PADDED = 7168, AGAIN = 200, ROUNDS = 64,
	SMALL = 1,		/* the matrix that is small enough for the cache */
	TWO_BITS = 0, BASE3, BASE3_TABLES, SPARSE, FORMATS,
};

enum where { ONE_THREAD, ALL_THREADS, CACHE, WHERES };

static struct {
	struct cpu_kernels k;
	struct ternary w[FORMATS][SHAPES];	/* of layer 0 */
	size_t layer_bytes[FORMATS];
	float *want;
	float *y;
	struct cpu_rows x[SHAPES];
	int n_threads, n_active;
	pthread_barrier_t begin, end;
	int format;
	bool cached;
	double t[FORMATS][WHERES][ROUNDS];
} g;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *
take(size_t n, bool huge)
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
	return p;
}

static int
stride(int format, int n_in)
{
	if (format == SPARSE)
		return n_in / GEMV_SPARSE_COLUMNS * GEMV_SPARSE_BYTES;
	if (format == TWO_BITS)
		return n_in / TERNARY_BLOCK * (TERNARY_BLOCK / 4);
	return (n_in + GEMV_BASE3_COLUMNS - 1) / GEMV_BASE3_COLUMNS *
	    GEMV_BASE3_BYTES;
}

/* n weights of a row, and their five bits as they are packed. */
static void
make_row(int8_t *w, uint8_t *packed, int n)
{
	static uint64_t state = 1;

	memset(packed, 0, (size_t)stride(SPARSE, n));
	for (int group = 0; group < n / 4; group++) {
		int8_t *to = w + group / 64 * 256 + group % 64;
		unsigned five, signs;

		state = state * 6364136223846793005U + 1442695040888963407U;
		five = (unsigned)(state >> 40) & 31;
		signs = five >> 2;
		for (unsigned i = 0; i < 4; i++, to += 64) {
			*to = 0;
			if (i == (five & 3))
				continue;
			*to = signs & 1 ? 1 : -1;
			signs >>= 1;
		}
		for (int i = 0; i < 5; i++)
			if (five >> i & 1)
				packed[(5 * group + i) / 8] |= (uint8_t)(1U <<
				    (5 * group + i) % 8);
	}
}

static void
pack_row(const int8_t *w, int n, uint8_t *two, uint8_t *three)
{
	for (int i = 0; i < n / 4; i++) {
		const int8_t *p = w + i / 64 * 256 + i % 64;

		two[i] = (uint8_t)((p[0] + 1) | (p[64] + 1) << 2 |
		    (p[128] + 1) << 4 | (p[192] + 1) << 6);
	}
	for (int i = 0; i < stride(BASE3, n); i++) {
		const int8_t *p = w + i / 64 * 320 + i % 64;
		int v = 0;

		for (int j = 0; j < 5; j++)
			v = 3 * v + p[64 * j] + 1;
		three[i] = (uint8_t)((256 * v + 242) / 243);
	}
}

static void
make_matrix(int m, float *want)
{
	static int8_t w[PADDED];
	int n = shapes[m][1];
	const int8_t *q = g.x[m].q;

	memset(w, 0, sizeof(w));
	for (int o = 0; o < shapes[m][0]; o++) {
		uint8_t *row[FORMATS];
		int32_t sum = 0;

		for (int f = 0; f < FORMATS; f++)
			row[f] = (uint8_t *)g.w[f][m].codes +
			    (size_t)o * (size_t)g.w[f][m].stride;
		make_row(w, row[SPARSE], n);
		pack_row(w, n, row[TWO_BITS], row[BASE3]);
		for (int i = 0; i < n; i++)
			sum += w[i] * q[i];
		want[o] = (float)sum * (g.w[0][m].scales[o] * g.x[m].scale[0]);
	}
}

/* A row of activations for each matrix. */
static void
make_rows(void)
{
	for (int m = 0; m < SHAPES; m++) {
		g.x[m] = (struct cpu_rows){ .q = take(PADDED, false),
			.scale = take(sizeof(float), false),
			.sum = take(sizeof(int32_t), false), .stride = shapes[m][1] };
		g.x[m].scale[0] = 0.37F;
		for (int i = 0; i < shapes[m][1]; i++) {
			g.x[m].q[i] = (int8_t)((i * 37 + i / 7 * m) % 255 - 127);
			g.x[m].sum[0] += g.x[m].q[i];
		}
	}
}

static void
make(bool huge)
{
	float *scales = take(N_MAX * sizeof(float), false), *want;
	uint8_t *at;

	for (int i = 0; i < N_MAX; i++)
		scales[i] = 1.0F + (float)i * 0.01F;
	want = g.want = take(OUTS * sizeof(float), false);
	g.y = take(N_MAX * sizeof(float), false);
	make_rows();
	for (int f = 0; f < FORMATS; f++) {
		for (int m = 0; m < SHAPES; m++) {
			g.w[f][m] = (struct ternary){ .n_out = shapes[m][0],
				.n_in = shapes[m][1], .group = shapes[m][1],
				.stride = stride(f, shapes[m][1]),
				.scales = scales };
			g.layer_bytes[f] += (size_t)shapes[m][0] *
			    (size_t)g.w[f][m].stride;
		}
		if (f == BASE3_TABLES) {
			memcpy(g.w[f], g.w[BASE3], sizeof(g.w[f]));
			continue;
		}
		at = take(LAYERS * g.layer_bytes[f] + GEMV_DENSE_PAST, huge);
		for (int m = 0; m < SHAPES; m++) {
			g.w[f][m].codes = at;
			at += (size_t)shapes[m][0] * (size_t)g.w[f][m].stride;
		}
	}
	for (int m = 0; m < SHAPES; want += shapes[m++][0])
		make_matrix(m, want);
	for (int f = 0; f < FORMATS; f++)
		for (size_t i = 1; i < LAYERS && f != BASE3_TABLES; i++)
			memcpy((uint8_t *)g.w[f][0].codes + i * g.layer_bytes[f],
			    g.w[f][0].codes, g.layer_bytes[f]);
}

static void
multiply(int f, int layer, int m, int from, int to)
{
	static void (*const dense[FORMATS])(const struct ternary *, int, int,
	    const struct cpu_rows *, float *) = { [BASE3] = gemv_dense_adds,
		[BASE3_TABLES] = gemv_dense_tables, [SPARSE] = gemv_dense_sparse };
	struct ternary w = g.w[f][m];

	w.codes += (size_t)layer * g.layer_bytes[f];
	if (f == TWO_BITS)
		g.k.ternary(&w, from, to, &g.x[m], 1, g.y, N_MAX, false);
	else
		dense[f](&w, from, to, &g.x[m], g.y);
}

static bool
right(int f, int layer)
{
	const float *want = g.want;

	for (int m = 0; m < SHAPES; want += shapes[m++][0]) {
		multiply(f, layer, m, 0, shapes[m][0]);
		if (memcmp(g.y, want, (size_t)shapes[m][0] * sizeof(*want)) != 0) {
			fprintf(stderr, "gemv: format %d, layer %d, matrix %d: "
			    "not what the plain loop gives\n", f, layer, m);
			return false;
		}
	}
	return true;
}

/* What thread t does of one pass. */
static void
part(int t)
{
	if (t >= g.n_active)
		return;
	for (int i = 0; g.cached && i < AGAIN; i++)
		multiply(g.format, 0, SMALL, 0, shapes[SMALL][0]);
	for (int i = 0; !g.cached && i < LAYERS * SHAPES; i++) {
		int units = shapes[i % SHAPES][0] / 32;

		multiply(g.format, i / SHAPES, i % SHAPES,
		    units * t / g.n_active * 32,
		    units * (t + 1) / g.n_active * 32);
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

static double
pass(int f, enum where where)
{
	double from;

	g.format = f;
	g.cached = where == CACHE;
	g.n_active = where == ALL_THREADS ? g.n_threads : 1;
	from = now();
	pthread_barrier_wait(&g.begin);
	part(0);
	pthread_barrier_wait(&g.end);
	return now() - from;
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double
median(const double *t, int n)
{
	double sorted[ROUNDS];

	memcpy(sorted, t, (size_t)n * sizeof(*t));
	qsort(sorted, (size_t)n, sizeof(*t), by_size);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* The ratio is of passes that followed one another, then the median of these. */
static void
print(int n_rounds)
{
	static const char *const names[FORMATS] = { "2-bit", "base-3, arithmetic",
		"base-3, tables", "3:4" };
	static const char *const wheres[WHERES] = { "from memory, 1 thread",
		"from memory, all threads", "from L2, 1 thread" };
	double weights = 0;

	for (int m = 0; m < SHAPES; m++)
		weights += (double)shapes[m][0] * shapes[m][1];
	for (int w = 0; w < WHERES; w++) {
		printf("%s, medians of %d\n", wheres[w], n_rounds);
		for (int f = 0; f < FORMATS; f++) {
			double n = w == CACHE ? (double)AGAIN * shapes[SMALL][0] *
			    shapes[SMALL][1] : LAYERS * weights;
			double bits = 8 * (double)g.layer_bytes[f] / weights;
			double t = median(g.t[f][w], n_rounds), ratio[ROUNDS];

			for (int r = 0; r < n_rounds; r++)
				ratio[r] = g.t[0][w][r] / g.t[f][w][r];
			printf("  %-18s %.2f bits %6.1f G weights/s %6.1f GB/s "
			    "%5.2f x\n", names[f], bits, n / t * 1e-9,
			    n / t * 1e-9 * bits / 8, median(ratio, n_rounds));
		}
	}
}

int
gemv_formats(int n_threads, bool huge, int n_rounds)
{
	pthread_t thread;
	struct err e;

	if (cpu_kernels_open("avx512", &g.k, &e) != 0 || !gemv_dense_open()) {
		fputs("gemv: formats need AVX-512 with VNNI and VBMI\n", stderr);
		return 1;
	}
	g.n_threads = n_threads;
	make(huge);
	for (int f = 0; f < FORMATS; f++)
		if (!right(f, 0) || !right(f, LAYERS - 1))
			return 1;
	pthread_barrier_init(&g.begin, NULL, (unsigned)n_threads);
	pthread_barrier_init(&g.end, NULL, (unsigned)n_threads);
	for (int i = 1; i < n_threads; i++)
		pthread_create(&thread, NULL, member, (void *)(intptr_t)i);
	for (int r = 0; r < n_rounds; r++)
		for (int w = 0; w < WHERES; w++)
			for (int f = 0; f < FORMATS; f++)
				g.t[f][w][r] = pass(f, (enum where)w);
	printf("%s, %d threads, %.0f MB of 2-bit weights; every product as the "
	    "plain loop's\n", g.k.title, n_threads,
	    1e-6 * LAYERS * (double)g.layer_bytes[TWO_BITS]);
	print(n_rounds);
	return 0;
}
