/*
 * The kernels of attention without a model around them: against sums in double, and a row
 * alone (gpu_attend), with few others and among many (gpu_attend_rows) bit for bit, at and
 * around the ends of tiles and pages.
 */
#include <math.h>

#include "backend/gpu_driver.h"
#include "backend/gpu_module.h"
#include "gpu_world.h"
#include "kernels/gpu_params.h"

enum { DEPTH = 300, PAGES = DEPTH / GPU_PAGE + 1, TILES = DEPTH / GPU_TILE + 1, FEW = 5 };

struct shape {
	int heads, kv_heads, dim;
	bool interleaved;
	int depth;
};

static const struct shape shapes[] = {
	{ 4, 1, 64, false, DEPTH },
	{ 5, 1, 40, true, 130 },	/* a second chunk, of one head; a block cut short */
	{ 4, 2, 256, false, 140 },	/* more dimensions than are summed at once */
	{ 3, 1, 2, true, 129 },
};

/* Of one sequence in a cache of its own. */
struct sequence {
	struct gpu_driver d;
	void *module;
	const struct shape *s;
	struct gpu_attention p;
	int32_t *table;
	struct gpu_row *rows;
	struct gpu_group *groups;
	size_t n_qkv, n_out;
};

static float qkv[DEPTH * 16 * 256], out_many[DEPTH * 8 * 256], out_one[DEPTH * 8 * 256];

static float
random_value(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return (float)(*state >> 8) / (1 << 23) - 1;
}

static void *
put(struct sequence *q, const void *from, size_t n, unsigned char fill)
{
	void *p = NULL;

	ck_assert_int_eq(q->d.mem_alloc(&p, n), 0);
	if (from != NULL)
		ck_assert_int_eq(q->d.to_device(p, from, n), 0);
	else
		ck_assert_int_eq(q->d.fill_async(p, fill, n, NULL), 0);
	return p;
}

static const void *
rotary_of(struct sequence *q)
{
	static float r[DEPTH * 256];
	int half = q->s->dim / 2;

	for (int i = 0; i < DEPTH * half; i++) {
		double angle = i / half * pow(10000, -(double)(i % half) / half);

		r[2 * i] = (float)cos(angle);
		r[2 * i + 1] = (float)sin(angle);
	}
	return put(q, r, (size_t)(DEPTH * half) * 2 * sizeof(float), 0);
}

/* fill: what is in the cache before: 0, or 0x7b for large numbers. */
static void
sequence_open(struct sequence *q, const struct shape *s, unsigned char fill, int step)
{
	int group = s->heads / s->kv_heads, chunks = (group + GPU_HEADS - 1) / GPU_HEADS;
	int stride = (s->heads + 2 * s->kv_heads) * s->dim, dims = (s->dim + 31) / 32 * 32;
	size_t parts = (size_t)(FEW * s->kv_heads * chunks * TILES * GPU_HEADS * (dims + 2));
	int32_t table[PAGES];
	struct err e;

	*q = (struct sequence){ .s = s };
	ck_assert_msg(gpu_driver_open(&q->d, 0, &e) == 0, "%s", e.text);
	for (const struct gpu_code *c = gpu_codes; c->name != NULL; c++)
		if (c->cuda == q->d.cuda && q->d.module_load(&q->module, c->begin) == 0)
			break;
	for (int i = 0; i < PAGES; i++)
		table[i] = i * step % PAGES;
	q->n_qkv = (size_t)(s->depth * stride) * sizeof(float);
	q->n_out = (size_t)(s->depth * s->heads * s->dim) * sizeof(float);
	q->table = put(q, table, sizeof(table), 0);
	q->rows = put(q, NULL, DEPTH * sizeof(struct gpu_row), 0);
	q->groups = put(q, NULL, DEPTH * sizeof(struct gpu_group), 0);
	q->p = (struct gpu_attention){
		.batch = { .rows = q->rows, .tables = q->table, .groups = q->groups },
		.qkv = put(q, qkv, q->n_qkv, 0), .rotary = rotary_of(q),
		.cache = put(q, NULL, (size_t)(PAGES * s->kv_heads * 2 * GPU_PAGE * dims) *
		    sizeof(uint16_t), fill),
		.part = put(q, NULL, parts * sizeof(float), 0xff),
		.done = put(q, NULL, (size_t)(FEW * s->kv_heads * chunks) *
		    sizeof(uint32_t), 0),
		.out = put(q, NULL, q->n_out, 0), .qkv_stride = stride,
		.out_stride = s->heads * s->dim, .n_heads = s->heads,
		.n_kv_heads = s->kv_heads, .head_dim = s->dim, .dim_stride = dims,
		.group = group, .chunks = chunks, .chunk_part = 65536 / chunks + 1,
		.n_tiles = TILES, .interleaved = s->interleaved, .eps = 1e-5F,
		.factor = (float)(1.4426950408889634 / sqrt(s->dim)),
	};
}

static void
launch(struct sequence *q, const char *kernel, int x, int z, unsigned threads, size_t shared,
    struct gpu_attention p)
{
	const unsigned grid[3] = { (unsigned)x, strcmp(kernel, "gpu_store") == 0 ? 1 :
		(unsigned)(p.n_kv_heads * p.chunks), (unsigned)z };
	void *function;

	ck_assert_int_eq(gpu_module_kernel(&q->d, q->module, kernel, &function), 0);
	ck_assert_int_eq(gpu_driver_launch(&q->d, function, grid, threads,
	    (unsigned)shared, NULL, &p), 0);
	ck_assert_int_eq(q->d.stream_wait(NULL), 0);
}

/* Rows first to first + n - 1 through kernels: many, or few; stored: others stand by them. */
static void
attend(struct sequence *q, int first, int n, bool many, bool stored)
{
	struct gpu_attention p = q->p;
	struct gpu_row rows[DEPTH];
	struct gpu_group groups[DEPTH];
	int n_groups = 0;

	for (int i = 0; i < n; i++) {
		rows[i] = (struct gpu_row){ .pos = first + i };
		if (i % GPU_GROUP_ROWS == 0)
			groups[n_groups++] = (struct gpu_group){ .first = i };
		groups[n_groups - 1].n++;
	}
	ck_assert_int_eq(q->d.to_device(q->rows, rows, (size_t)n * sizeof(*rows)), 0);
	ck_assert_int_eq(q->d.to_device(q->groups, groups, (size_t)n_groups *
	    sizeof(*groups)), 0);
	p.qkv += (size_t)first * (size_t)p.qkv_stride;
	p.out += (size_t)first * (size_t)p.out_stride;
	p.stored = stored;
	if (stored)
		launch(q, "gpu_store", n, 1, GPU_THREADS, 0, p);
	if (many)
		launch(q, "gpu_attend_rows", n_groups, (p.dim_stride + GPU_GROUP_DIMS - 1) /
		    GPU_GROUP_DIMS, GPU_GROUP_THREADS, sizeof(uint16_t) * (2 * GPU_TILE * 32 +
		    GPU_GROUP_ROWS * GPU_HEADS * (size_t)(p.dim_stride | 32)), p);
	else
		launch(q, "gpu_attend", n, TILES, GPU_ATTEND_THREADS, 0, p);
}

/* A head of a row as the model means it. */
static void
turned(const struct shape *s, const float *x, int pos, double *to)
{
	int half = s->dim / 2;

	for (int i = 0; i < half; i++) {
		int a = s->interleaved ? 2 * i : i, b = s->interleaved ? 2 * i + 1 : i + half;
		double angle = pos * pow(10000, -(double)i / half);

		to[a] = (double)x[a] * cos(angle) - (double)x[b] * sin(angle);
		to[b] = (double)x[b] * cos(angle) + (double)x[a] * sin(angle);
	}
}

/* The square of the distance to what attention is, and of that, of a head of a row. */
static void
compare_head(const struct shape *s, int pos, int head, const float *got, double *d, double *all)
{
	int stride = (s->heads + 2 * s->kv_heads) * s->dim;
	int kv = head / (s->heads / s->kv_heads);
	static double w[DEPTH];
	double q[256], k[256], out[256] = { 0 }, sum = 0, max = -1e300;

	turned(s, qkv + pos * stride + head * s->dim, pos, q);
	for (int i = 0; i <= pos; i++) {
		turned(s, qkv + i * stride + (s->heads + kv) * s->dim, i, k);
		w[i] = 0;
		for (int j = 0; j < s->dim; j++)
			w[i] += q[j] * k[j] / sqrt(s->dim);
		max = fmax(max, w[i]);
	}
	for (int i = 0; i <= pos; i++) {
		const float *v = qkv + i * stride + (s->heads + s->kv_heads + kv) * s->dim;

		w[i] = exp(w[i] - max);
		sum += w[i];
		for (int j = 0; j < s->dim; j++)
			out[j] += w[i] * (double)v[j];
	}
	for (int j = 0; j < s->dim; j++) {
		double x = (double)got[j] - out[j] / sum;

		*d += x * x;
		*all += out[j] / sum * (out[j] / sum);
	}
}

static const int positions[] = { 0, 1, 31, 32, 126, 127, 128, 129, 255, 256, DEPTH - 1 };

/* f16 has 11 bits: a query, a key, a weight and a value are rounded to it, each score is off
 * by about 2^-11 of a typical one, so an output by little more than 2^-11. */
START_TEST(attention_is_what_it_is_in_double)
{
	const struct shape *s = &shapes[_i];
	double d = 0, all = 0;
	struct sequence q;

	sequence_open(&q, s, 0, 7);
	attend(&q, 0, s->depth, true, true);
	ck_assert_int_eq(q.d.to_host(out_many, q.p.out, q.n_out), 0);
	for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++)
		for (int h = 0; h < s->heads && positions[i] < s->depth; h++)
			compare_head(s, positions[i], h, out_many + (positions[i] * s->heads +
			    h) * s->dim, &d, &all);
	ck_assert_msg(sqrt(d / all) < 1e-3, "%g", sqrt(d / all));
}
END_TEST

START_TEST(a_row_has_the_same_bits_alone_with_few_and_among_many)
{
	const struct shape *s = &shapes[_i];
	size_t row = (size_t)(s->heads * s->dim);
	struct sequence many, one;
	int done = 0;

	sequence_open(&many, s, 0, 7);
	sequence_open(&one, s, 0x7b, 3);
	attend(&many, 0, s->depth, true, true);
	ck_assert_int_eq(many.d.to_host(out_many, many.p.out, many.n_out), 0);
	for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
		int pos = positions[i];

		if (pos >= s->depth)
			break;
		for (; pos - done > 1; done += pos - done > FEW ? FEW : pos - done - 1)
			attend(&one, done, pos - done > FEW ? FEW : pos - done - 1, false, true);
		for (; done <= pos; done++)
			attend(&one, done, 1, false, false);
	}
	ck_assert_int_eq(one.d.to_host(out_one, one.p.out, one.n_out), 0);
	for (int i = 0; i < done; i++)
		ck_assert_msg(memcmp(out_one + (size_t)i * row, out_many + (size_t)i * row,
		    row * sizeof(float)) == 0, "position %d", i);
}
END_TEST

static int
run_tests(void)
{
	TCase *t = tcase_create("gpu attention");
	int n = gpu_world_first() ? (int)(sizeof(shapes) / sizeof(shapes[0])) : 2;
	uint32_t state = 1;

	for (size_t i = 0; i < sizeof(qkv) / sizeof(qkv[0]); i++)
		qkv[i] = 2 * random_value(&state);
	tcase_add_loop_test(t, attention_is_what_it_is_in_double, 0, n);
	tcase_add_loop_test(t, a_row_has_the_same_bits_alone_with_few_and_among_many, 0, n);
	return gpu_world_run(t, "gpu attention");
}

int
main(int argc, char **argv)
{
	(void)argc;
	return gpu_world_main(argv[0], run_tests);
}
