#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/cpu_team.h"
#include "bench.h"
#include "clock.h"

enum { REPEATS = 5, BANDWIDTH_BYTES = 256 << 20, READ_PIECES = 256 };

struct bench {
	const struct bench_options *o;
	const struct model *m;
	struct backend *b;
	int32_t room;		/* positions */
	int32_t *pages;		/* [room / KV_PAGE] */
	struct backend_row *rows;	/* [max_rows] */
	float *logits;		/* [vocab] */
	double bandwidth;	/* bytes a second */
};

struct result {
	int32_t depth;
	double prefill, decode;	/* tokens a second */
	int64_t bytes;		/* of one token */
};

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

/* What the members of a team read. */
struct reading {
	const char *bytes;
	size_t n;
	uint64_t sums[CPU_TEAM_MAX];	/* so that reading is not left out */
};

typedef uint64_t u64x2 __attribute__((vector_size(16)));

static int
plan_reading(void *arg, int step)
{
	(void)arg;
	return step == 0 ? READ_PIECES : -1;
}

static void
read_piece(void *arg, int number, int step, int piece)
{
	struct reading *r = arg;
	size_t part = r->n / READ_PIECES / 64 * 64;
	const u64x2 *p = (const void *)(r->bytes + part * (size_t)piece);
	u64x2 a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

	(void)step;
	for (size_t i = 0; i < part / sizeof(*p); i += 4) {
		a += p[i];
		b += p[i + 1];
		c += p[i + 2];
		d += p[i + 3];
	}
	a += b + c + d;
	r->sums[number] += a[0] + a[1];
}

/* Bytes a second that the threads read from memory, the median. */
static int
measure_bandwidth(struct bench *u, struct err *e)
{
	static const struct cpu_team_job job = { plan_reading, read_piece };
	long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
	struct reading r = { .n = BANDWIDTH_BYTES };
	double v[REPEATS];
	struct cpu_team *t;
	void *bytes;
	int code;

	if (cache > 0 && (size_t)cache * 4 > r.n)
		r.n = (size_t)cache * 4;
	bytes = mmap(NULL, r.n, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bytes == MAP_FAILED)
		return err_set(e, ERR_NO_MEMORY, "no %zu MiB of memory to "
		    "measure the bandwidth", r.n >> 20);
	madvise(bytes, r.n, MADV_HUGEPAGE);
	for (size_t i = 0; i < r.n; i += 4096)
		((char *)bytes)[i] = 1;		/* a page of its own for each */
	r.bytes = bytes;
	code = cpu_team_create(u->o->n_threads, &t, e);
	if (code == 0) {
		for (int i = 0; i < REPEATS; i++) {
			int64_t began = clock_ns();

			cpu_team_run(t, &job, &r);
			v[i] = (double)r.n * 1e9 / (double)(clock_ns() - began);
		}
		u->bandwidth = median(v, REPEATS);
		cpu_team_destroy(t);
	}
	munmap(bytes, r.n);
	return code;
}

/* Tokens from..to-1, n at a time, the logits of the last; seconds, or -1. */
static double
feed(struct bench *u, int32_t from, int32_t to, int32_t n, struct err *e)
{
	int64_t began = clock_ns();

	while (from < to) {
		int32_t k = to - from < n ? to - from : n;

		for (int32_t i = 0; i < k; i++, from++)
			u->rows[i] = (struct backend_row){
				.token = (int32_t)(from * INT64_C(7919) %
				    u->m->config.vocab),
				.pos = from, .pages = u->pages,
				.want_logits = n == 1 || from == to - 1,
			};
		if (u->b->forward(u->b, u->rows, k, u->logits, e) != 0)
			return -1;
	}
	return (double)(clock_ns() - began) / 1e9;
}

static int
measure(struct bench *u, int32_t depth, struct result *out, struct err *e)
{
	int32_t n = u->room < BENCH_DECODE ? u->room : BENCH_DECODE;
	int32_t start = depth + n > u->room ? u->room - n : depth;
	double prefill[REPEATS], decode[REPEATS];
	int64_t kv = (int64_t)u->b->kv_bytes / ((int64_t)u->o->n_pages * KV_PAGE);

	/* The first time around warms caches and clocks up, and is not kept. */
	for (int i = -1; i < REPEATS; i++) {
		double a = feed(u, 0, depth, u->o->max_rows, e);
		double b = a < 0 ? a : feed(u, start, start + n, 1, e);

		if (b < 0)
			return e->code;
		if (i >= 0) {
			prefill[i] = depth / a;
			decode[i] = n / b;
		}
	}
	*out = (struct result){ .depth = depth,
		.prefill = median(prefill, REPEATS),
		.decode = median(decode, REPEATS),
		.bytes = u->b->bytes_per_token + kv * (start + n / 2) };
	return 0;
}

static void
print_json(const struct bench *u, const struct result *r, int n, FILE *out)
{
	fputs("{\"results\":[", out);
	for (int i = 0; i < n; i++) {
		double rate = (double)r[i].bytes * r[i].decode;

		fprintf(out, "%s{\"depth\":%d,\"prefill_tok_s\":%.1f,"
		    "\"decode_tok_s\":%.1f,\"bytes_per_token\":%" PRId64 ","
		    "\"gb_per_s\":%.3f,\"bandwidth_gb_per_s\":%.3f,"
		    "\"bandwidth_fraction\":%.4f}", i > 0 ? "," : "",
		    (int)r[i].depth, r[i].prefill, r[i].decode, r[i].bytes,
		    rate / 1e9, u->bandwidth / 1e9, rate / u->bandwidth);
	}
	fputs("]}\n", out);
}

static void
print_table(const struct bench *u, const struct result *r, int n, FILE *out)
{
	fprintf(out, "%s, %s\nmemory is read at %.1f GB/s\n\n", u->m->name,
	    u->b->name, u->bandwidth / 1e9);
	fprintf(out, "%7s %14s %13s %9s %7s %9s\n", "depth", "prefill tok/s",
	    "decode tok/s", "MB/token", "GB/s", "of memory");
	for (int i = 0; i < n; i++) {
		double rate = (double)r[i].bytes * r[i].decode;

		fprintf(out, "%7d %14.1f %13.1f %9.2f %7.1f %8.0f%%\n",
		    (int)r[i].depth, r[i].prefill, r[i].decode,
		    (double)r[i].bytes / 1e6, rate / 1e9,
		    100 * rate / u->bandwidth);
	}
	if (n > 0 && (double)r[0].bytes * r[0].decode > u->bandwidth)
		fputs("\nMore than all of it: the model sits in the last "
		    "cache.\n", out);
}

int
bench_run(const struct bench_options *o, const struct model *m,
    struct backend *b, FILE *out, struct err *e)
{
	static const int32_t usual[] = { 64 };
	const int32_t *depths = o->n_depths > 0 ? o->depths : usual;
	int n = o->n_depths > 0 ? o->n_depths : 1, r = 0;
	struct result results[BENCH_DEPTHS_MAX];
	struct bench u = { .o = o, .m = m, .b = b };
	int64_t room = (int64_t)o->n_pages * KV_PAGE;

	u.room = (int32_t)(room < o->n_ctx ? room : o->n_ctx);
	for (int i = 0; i < n; i++)
		if (depths[i] < 1 || depths[i] > u.room)
			return err_set(e, ERR_RANGE, "depth %d; 1 to %d fit the "
			    "context", (int)depths[i], (int)u.room);
	u.pages = calloc((size_t)(u.room / KV_PAGE + 1), sizeof(*u.pages));
	u.rows = calloc((size_t)o->max_rows, sizeof(*u.rows));
	u.logits = calloc((size_t)m->config.vocab, sizeof(*u.logits));
	if (u.pages == NULL || u.rows == NULL || u.logits == NULL)
		r = err_set(e, ERR_NO_MEMORY, "no memory for the buffers");
	for (int32_t p = 0; r == 0 && p * KV_PAGE < u.room; p++)
		u.pages[p] = p;
	if (r == 0)
		r = measure_bandwidth(&u, e);
	for (int i = 0; i < n && r == 0; i++)
		r = measure(&u, depths[i], &results[i], e);
	if (r == 0)
		(o->json ? print_json : print_table)(&u, results, n, out);
	free(u.pages);
	free(u.rows);
	free(u.logits);
	return r;
}
