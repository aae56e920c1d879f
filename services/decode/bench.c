/*
 * One sequence, whose pages are the first of the cache, is read and decoded again
 * and again: what is stored at a position is always the same.  For several that
 * decode together its pages are copied, so that each reads memory of its own.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench_report.h"
#include "clock.h"
#include "memory.h"

struct bench {
	const struct bench_options *o;
	const struct model *m;
	struct backend *b;
	int32_t room;		/* positions of a sequence */
	int32_t n_pages;	/* of a sequence */
	int n_sequences;
	int32_t *pages;		/* [n_sequences, n_pages] */
	struct backend_row *rows;	/* [max_rows] */
	struct backend_top *top;	/* [max_rows] */
	float *logits;		/* [n_sequences, vocab] */
	float *own_logits;	/* the same, or NULL: they are of b */
	struct bench_report report;
};

/* What a row asks for. */
enum ask { ALL_LOGITS, ONLY_TOP };

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of v [n], which is sorted then; an even number has two in the middle. */
static struct bench_rate
rate_of(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return (struct bench_rate){ .median = (v[n / 2] + v[(n - 1) / 2]) / 2,
		.min = v[0], .max = v[n - 1] };
}

static struct backend_row
row_of(const struct bench *u, int sequence, int32_t pos)
{
	return (struct backend_row){
		.token = (int32_t)((pos + sequence) * INT64_C(7919) %
		    u->m->config.vocab),
		.pos = pos, .pages = u->pages + sequence * u->n_pages,
	};
}

/* Tokens 0..n-1 of the first sequence, the logits of the last; seconds, or -1. */
static double
prefill(struct bench *u, int32_t n, struct err *e)
{
	int64_t began = clock_ns();

	for (int32_t at = 0; at < n; ) {
		int32_t k = n - at < u->o->max_rows ? n - at : u->o->max_rows;

		for (int32_t i = 0; i < k; i++, at++)
			u->rows[i] = row_of(u, 0, at);
		u->rows[k - 1].want_logits = at == n;
		if (u->b->forward(u->b, u->rows, k, u->logits, e) != 0)
			return -1;
	}
	return (double)(clock_ns() - began) / 1e9;
}

/* n_tokens of each of n sequences from position start on; seconds, or -1. */
static double
decode(struct bench *u, int n, int32_t start, int32_t n_tokens, enum ask ask,
    struct err *e)
{
	int64_t began = clock_ns();

	for (int32_t at = start; at < start + n_tokens; at++) {
		for (int i = 0; i < n; i++) {
			u->rows[i] = row_of(u, i, at);
			u->rows[i].want_logits = ask == ALL_LOGITS;
			u->rows[i].n_top = ask == ONLY_TOP;
			u->rows[i].top = u->top + i;
		}
		if (u->b->forward(u->b, u->rows, n, u->logits, e) != 0)
			return -1;
	}
	return (double)(clock_ns() - began) / 1e9;
}

static int
read_ops(const struct bench *u, struct backend_op ops[BACKEND_OPS_MAX])
{
	return u->b->ops == NULL ? 0 : u->b->ops(u->b, ops);
}

/* Add what was done since before [n_before] to k. */
static void
add_ops(const struct bench *u, struct bench_kernels *k,
    const struct backend_op *before, int n_before, int64_t tokens)
{
	struct backend_op now[BACKEND_OPS_MAX];
	int n = read_ops(u, now);

	k->tokens += tokens;
	for (int i = 0; i < n; i++) {
		struct backend_op *sum = k->ops;

		for (int j = 0; j < n_before; j++)
			if (strcmp(before[j].name, now[i].name) == 0) {
				now[i].calls -= before[j].calls;
				now[i].ns -= before[j].ns;
				now[i].bytes -= before[j].bytes;
			}
		if (now[i].calls == 0)
			continue;
		while (sum < k->ops + k->n && strcmp(sum->name, now[i].name) != 0)
			sum++;
		if (sum == k->ops + k->n)
			k->ops[k->n++] = (struct backend_op){
				.name = now[i].name };
		sum->calls += now[i].calls;
		sum->ns += now[i].ns;
		sum->bytes += now[i].bytes;
	}
}

/* Weights, head and the KV cache in the middle of what is decoded. */
static int64_t
bytes_per_token(const struct bench *u, int32_t pos)
{
	int64_t kv = (int64_t)u->b->kv_bytes / ((int64_t)u->o->n_pages * KV_PAGE);

	return u->b->bytes_per_token + kv * pos;
}

/* Prefill and decode of one sequence, once; kept: not to warm up. */
static int
once(struct bench *u, int32_t start, int32_t n, struct bench_result *out,
    double *prefilled, double *decoded, bool kept, struct err *e)
{
	struct backend_op ops[BACKEND_OPS_MAX];
	int n_ops = read_ops(u, ops);
	double s = prefill(u, out->depth, e);

	if (s < 0)
		return e->code;
	*prefilled = out->depth / s;
	if (kept)
		add_ops(u, &out->prefill_kernels, ops, n_ops, out->depth);
	n_ops = read_ops(u, ops);
	s = decode(u, 1, start, n, ALL_LOGITS, e);
	if (s < 0)
		return e->code;
	*decoded = n / s;
	if (kept)
		add_ops(u, &out->decode_kernels, ops, n_ops, n);
	return 0;
}

/* Another way to decode: n_sequences, or with ask; the first time is not kept. */
static int
decode_rate(struct bench *u, int n_sequences, int32_t start, int32_t n,
    enum ask ask, struct bench_rate *out, struct err *e)
{
	double v[BENCH_REPEATS_MAX];

	for (int i = -1; i < u->o->repeats; i++) {
		double s = decode(u, n_sequences, start, n, ask, e);

		if (s < 0)
			return e->code;
		if (i >= 0)
			v[i] = n_sequences * n / s;
	}
	*out = rate_of(v, u->o->repeats);
	return 0;
}

/* The pages of the first sequence into those of the others. */
static int
copy_sequences(struct bench *u, int32_t n_positions, struct err *e)
{
	int32_t n = (n_positions + KV_PAGE - 1) / KV_PAGE;
	int r = 0;

	for (int s = 1; s < u->n_sequences; s++)
		for (int32_t p = 0; p < n && r == 0; p++)
			r = u->b->copy_page(u->b, u->pages[p],
			    u->pages[s * u->n_pages + p], KV_PAGE, e);
	return r;
}

static int
measure(struct bench *u, struct bench_result *out, struct err *e)
{
	int32_t n = u->room < BENCH_DECODE ? u->room : BENCH_DECODE;
	int32_t start = out->depth + n > u->room ? u->room - n : out->depth;
	double prefilled[BENCH_REPEATS_MAX + 1], decoded[BENCH_REPEATS_MAX + 1];
	int r = 0;

	/* The first time warms caches and clocks up, and is not kept. */
	for (int i = 0; i <= u->o->repeats && r == 0; i++)
		r = once(u, start, n, out, &prefilled[i], &decoded[i], i > 0, e);
	if (r != 0)
		return r;
	out->prefill = rate_of(prefilled + 1, u->o->repeats);
	out->decode = rate_of(decoded + 1, u->o->repeats);
	out->bytes = bytes_per_token(u, start + n / 2);
	if (u->b->top_max > 0)
		r = decode_rate(u, 1, start, n, ONLY_TOP, &out->top, e);
	if (r == 0 && u->n_sequences > 1) {
		r = copy_sequences(u, start + n, e);
		if (r == 0)
			r = decode_rate(u, u->n_sequences, start, n, ALL_LOGITS,
			    &out->batch, e);
	}
	return r;
}

/* Of one token in the ternary products. */
static int64_t
operations(const struct model *m)
{
	int64_t n = 0;

	for (int i = 0; i < m->config.n_layers; i++) {
		const struct model_layer *l = &m->layers[i];
		const struct ternary *all[] = { &l->q, &l->k, &l->v, &l->o, &l->gate,
			&l->up, &l->down };

		for (size_t j = 0; j < sizeof(all) / sizeof(all[0]); j++)
			n += 2 * (int64_t)all[j]->n_out * all[j]->n_in;
	}
	return n;
}

static int
measure_bandwidth(struct bench *u, struct err *e)
{
	struct bench_report *p = &u->report;
	int r;

	if (u->b->memory_rate != NULL) {
		p->device = true;
		p->all = (struct bench_memory){ .bytes = BENCH_DEVICE_BYTES };
		return u->b->memory_rate(u->b, p->all.bytes, &p->all.rate, e);
	}
	p->huge = memory_huge(u->m->map, u->m->map_size) > u->m->map_size / 2;
	r = bench_memory(u->o->n_threads, u->o->pin, p->huge, &p->all, e);
	if (r == 0 && p->all.n_threads > 1)
		return bench_memory(1, u->o->pin, p->huge, &p->one, e);
	p->one = p->all;
	return r;
}

/* Do the depths fit, and as many sequences of the deepest? */
static int
check(struct bench *u, struct err *e)
{
	int64_t room = (int64_t)u->o->n_pages * KV_PAGE;
	int32_t deepest = 0;

	u->room = (int32_t)(room < u->o->n_ctx ? room : u->o->n_ctx);
	for (int i = 0; i < u->report.n; i++) {
		int32_t d = u->report.results[i].depth;

		if (d < 1 || d > u->room)
			return err_set(e, ERR_RANGE, "depth %d; 1 to %d fit the "
			    "context", (int)d, (int)u->room);
		deepest = d > deepest ? d : deepest;
	}
	deepest = deepest + BENCH_DECODE < u->room ? deepest + BENCH_DECODE :
	    u->room;
	u->n_sequences = u->o->batch > 1 ? u->o->batch : 1;
	u->n_pages = (deepest + KV_PAGE - 1) / KV_PAGE;
	if (u->n_sequences > u->o->max_rows)
		return err_set(e, ERR_RANGE, "%d sequences together; a step has "
		    "%d rows (--step-rows)", u->n_sequences,
		    (int)u->o->max_rows);
	if ((int64_t)u->n_sequences * u->n_pages > u->o->n_pages)
		return err_set(e, ERR_RANGE, "%d sequences of %d tokens do not fit "
		    "the KV cache of %lld (--kv-tokens)", u->n_sequences,
		    (int)deepest, (long long)room);
	return 0;
}

static int
take_memory(struct bench *u, struct err *e)
{
	size_t n = (size_t)u->n_sequences, rows = (size_t)u->o->max_rows;

	u->pages = calloc(n * (size_t)u->n_pages, sizeof(*u->pages));
	u->rows = calloc(rows, sizeof(*u->rows));
	u->top = calloc(rows, sizeof(*u->top));
	u->logits = u->b->logits;
	if (u->b->logits_rows < u->n_sequences)
		u->logits = u->own_logits = calloc(n * (size_t)u->m->config.vocab,
		    sizeof(*u->own_logits));
	if (u->pages == NULL || u->rows == NULL || u->top == NULL ||
	    u->logits == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the buffers");
	for (int32_t i = 0; i < (int32_t)n * u->n_pages; i++)
		u->pages[i] = i;
	return 0;
}

static int
print(const struct bench *u, FILE *out, struct err *e)
{
	json_t *v;
	int r;

	if (!u->o->json) {
		bench_report_print(&u->report, out);
		return 0;
	}
	v = bench_report_json(&u->report);
	r = v == NULL ? -1 : json_dumpf(v, out, JSON_REAL_PRECISION(7));
	json_decref(v);
	fputc('\n', out);
	return r == 0 ? 0 : err_set(e, ERR_NO_MEMORY, "no memory for the report");
}

int
bench_run(const struct bench_options *o, const struct model *m,
    struct backend *b, FILE *out, struct err *e)
{
	struct bench *u = calloc(1, sizeof(*u));
	int r;

	if (u == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory to measure");
	*u = (struct bench){ .o = o, .m = m, .b = b, .report = {
		.model = m->name, .backend = b->name, .o = o,
		.operations = operations(m),
		.n = o->n_depths > 0 ? o->n_depths : 1 } };
	for (int i = 0; i < u->report.n; i++)
		u->report.results[i].depth = o->n_depths > 0 ? o->depths[i] : 64;
	if ((r = check(u, e)) == 0 && (r = take_memory(u, e)) == 0)
		r = measure_bandwidth(u, e);
	for (int i = 0; i < u->report.n && r == 0; i++)
		r = measure(u, &u->report.results[i], e);
	if (r == 0)
		r = print(u, out, e);
	free(u->pages);
	free(u->rows);
	free(u->top);
	free(u->own_logits);
	free(u);
	return r;
}
