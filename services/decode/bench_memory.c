/*
 * The members of a team take pieces of the buffer, as they take pieces of a
 * matrix, and each reads its piece from end to end.  Not the median but the best
 * pass counts: what disturbs a pass makes it slower and never faster, and a
 * fraction of a figure that is too low would be too high.
 */
#include <stdint.h>
#include <unistd.h>

#include "backend/cpu_team.h"
#include "bench_memory.h"
#include "clock.h"
#include "memory.h"

enum {
	PASSES = 3,		/* of each way */
	PIECES = 256,
	LEAST = 512 << 20,	/* bytes of the buffer */
	LINE = 64,
};

static const struct way {
	int n_streams, ahead;
} ways[] = {
	{ 1, 0 }, { 2, 0 }, { 4, 0 },
	{ 1, 4096 }, { 1, 8192 }, { 2, 4096 }, { 2, 8192 }, { 4, 4096 },
};
enum { N_WAYS = sizeof(ways) / sizeof(ways[0]) };

/* What the members of a team read. */
struct reading {
	const char *bytes;
	size_t part;		/* bytes of a piece */
	const struct way *way;
	uint64_t sums[CPU_TEAM_MAX];	/* so that reading is not left out */
};

typedef uint64_t u64x8 __attribute__((vector_size(64)));

static int
plan_reading(void *arg, int step)
{
	(void)arg;
	return step == 0 ? PIECES : -1;
}

/* The sum of p [n_streams, n], a line of each stream in turn. */
static inline __attribute__((always_inline)) uint64_t
read_streams(const char *p, size_t n, int n_streams, int ahead)
{
	u64x8 sum[4] = { 0 };

	for (size_t i = 0; i < n; i += LINE)
		for (int s = 0; s < n_streams; s++) {
			const char *line = p + (size_t)s * n + i;

			if (ahead > 0)
				__builtin_prefetch(line + ahead);
			sum[s] += *(const u64x8 *)(const void *)line;
		}
	sum[0] += sum[1] + sum[2] + sum[3];
	return sum[0][0] + sum[0][1] + sum[0][2] + sum[0][3] + sum[0][4] +
	    sum[0][5] + sum[0][6] + sum[0][7];
}

static void
read_piece(void *arg, int number, int step, int piece)
{
	struct reading *r = arg;
	const char *p = r->bytes + r->part * (size_t)piece;
	size_t n = r->part / (size_t)r->way->n_streams;
	int ahead = r->way->ahead;

	(void)step;
	/* With constants, so that the loops are unrolled. */
	r->sums[number] +=
	    r->way->n_streams == 1 ? (ahead > 0 ?
	    read_streams(p, n, 1, ahead) : read_streams(p, n, 1, 0)) :
	    r->way->n_streams == 2 ? (ahead > 0 ?
	    read_streams(p, n, 2, ahead) : read_streams(p, n, 2, 0)) :
	    ahead > 0 ? read_streams(p, n, 4, ahead) : read_streams(p, n, 4, 0);
}

static void
measure(struct cpu_team *t, struct reading *r, struct bench_memory *out)
{
	static const struct cpu_team_job job = { plan_reading, read_piece };

	for (int i = 0; i < N_WAYS * PASSES; i++) {
		int64_t began = clock_ns();
		double rate;

		r->way = &ways[i % N_WAYS];
		cpu_team_run(t, &job, r);
		rate = (double)(r->part * PIECES) * 1e9 /
		    (double)(clock_ns() - began);
		if (rate > out->rate) {
			out->rate = rate;
			out->n_streams = r->way->n_streams;
			out->ahead = r->way->ahead;
		}
	}
}

/* Four times the last cache, if there is as much. */
static size_t
buffer_size(void)
{
	long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
	size_t n = cache > 0 ? (size_t)cache * 4 : 0, half = memory_available() / 2;

	n = n > half ? half : n;
	return n > LEAST ? n : LEAST;
}

int
bench_memory(int n_threads, bool pin, bool huge, struct bench_memory *out,
    struct err *e)
{
	struct memory m = { 0 };
	struct reading r = { 0 };
	struct cpu_team *t;
	size_t n = buffer_size();
	int code;

	if ((code = cpu_team_create(n_threads, &t, e)) != 0)
		return code;
	if (pin)
		cpu_team_pin(t);
	code = memory_take(n, huge, cpu_team_nodes(t),
	    "measuring how fast memory is read", &m, e);
	if (code == 0) {
		r.bytes = m.p;
		r.part = n / PIECES / (4 * LINE) * (4 * LINE);
		/* A page of its own for each: else all would be one of zeros. */
		for (size_t i = 0; i < n; i += 4096)
			((volatile char *)m.p)[i] = 1;
		*out = (struct bench_memory){ .n_threads = cpu_team_size(t),
			.bytes = r.part * PIECES,
			.huge = memory_huge(m.p, n) > n / 2 };
		measure(t, &r, out);
	}
	memory_free(&m);
	cpu_team_destroy(t);
	return code;
}
