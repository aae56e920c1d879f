/*
 * What the GPU backend has beside logits, each against what is known without it: the
 * largest logits of a row, hidden states, pages that leave the cache and come back.
 */
#include <math.h>

#include "backend/gpu_driver.h"
#include "backend_world.h"
#include "gpu_world.h"
#include "kernels/gpu_params.h"
#include "random_model.h"

/* One kernel of the build on the device, without the backend. */
struct device {
	struct gpu_driver d;
	void *module, *function;
};

static void
device_open(struct device *v, const char *kernel)
{
	struct err e;

	ck_assert_msg(gpu_driver_open(&v->d, 0, &e) == 0, "%s", e.text);
	v->module = NULL;
	for (const struct gpu_code *c = gpu_codes; c->name != NULL; c++)
		if (c->cuda == v->d.cuda && v->d.module_load(&v->module, c->begin) == 0)
			break;
	ck_assert_int_eq(v->d.module_function(&v->function, v->module, kernel), 0);
}

/* Memory of the device with what from has, or zeros. */
static void *
device_put(struct device *v, const void *from, size_t n)
{
	void *zeros = calloc(1, n), *p = NULL;

	ck_assert_int_eq(v->d.mem_alloc(&p, n), 0);
	ck_assert_int_eq(v->d.to_device(p, from != NULL ? from : zeros, n), 0);
	free(zeros);
	return p;
}

enum { TOP_ROWS = 2, TOP_LARGEST = 140001 };

/* Some of everything that a float can be. */
static float
odd_float(uint32_t u)
{
	static const float odd[] = { 0.0F, -0.0F, INFINITY, -INFINITY, NAN, -NAN, 1, -1 };

	return u % 3 == 0 ? odd[u / 3 % 8] : (float)(u >> 8) - 8e6F;
}

static float
falling_float(uint32_t u, int i)
{
	return u % 16 == 0 ? 1 : -(float)i;
}

/* How the logits of a case lie. */
static void
fill_logits(float *x, int n, const char *kind)
{
	uint32_t u = 12345;

	for (int i = 0; i < n; i++) {
		u = u * 1664525 + 1013904223;
		x[i] = strcmp(kind, "equal") == 0 ? 0.25F :
		    strcmp(kind, "odd") == 0 ? odd_float(u) :
		    strcmp(kind, "falling") == 0 ? falling_float(u, i) :
		    strcmp(kind, "rising") == 0 ? (float)i :
		    (float)(int32_t)u * 1e-8F;
	}
}

/* Is a before b among the largest?  A NaN is behind all. */
static bool
is_before(const float *x, int a, int b)
{
	if (isnan(x[a]) || isnan(x[b]))
		return !isnan(x[a]) || (isnan(x[b]) && a < b);
	return x[a] > x[b] || (x[a] == x[b] && a < b);
}

/* Ids of the k largest; place by place. */
static int
largest(const float *x, int n, int k, int *ids)
{
	int m = 0;

	for (int i = 0; i < n; i++) {
		int at = m;

		while (at > 0 && is_before(x, i, ids[at - 1]))
			at--;
		if (at == k)
			continue;
		m += m < k;
		memmove(ids + at + 1, ids + at, (size_t)(m - 1 - at) * sizeof(*ids));
		ids[at] = i;
	}
	return m;
}

static const struct {
	const char *kind;
	int n, k;
} top_cases[] = {
	{ "random", 5, 64 }, { "random", 64, 64 }, { "random", 2049, 40 },
	{ "random", TOP_LARGEST, 64 }, { "random", TOP_LARGEST, 1 }, { "random", 6000, 2 },
	{ "equal", 6000, 64 }, { "equal", 6000, 1 }, { "equal", 300, 64 },
	{ "odd", 6000, 64 }, { "odd", 100, 64 }, { "falling", 6000, 64 },
	{ "rising", 6000, 64 }, { "rising", 2048, 1 },
};

START_TEST(the_kernel_finds_the_largest_in_their_order)
{
	static float x[TOP_ROWS * TOP_LARGEST];
	static uint64_t out[TOP_ROWS * GPU_TOP];
	int n = top_cases[_i].n, k = top_cases[_i].k, ids[GPU_TOP + 1], m;
	struct device v;
	struct gpu_top p = { .n = n, .k = k, .slice = n < 64 * 2048 ? 2048 : 2200 };
	unsigned slices = (unsigned)((n + p.slice - 1) / p.slice);
	void *list[] = { &p };

	device_open(&v, "gpu_top_keys");
	fill_logits(x, n, "random");
	fill_logits(x + n, n, top_cases[_i].kind);
	p.logits = device_put(&v, x, TOP_ROWS * (size_t)n * sizeof(float));
	p.keys = device_put(&v, NULL, sizeof(uint64_t) * TOP_ROWS * GPU_TOP * GPU_TOP);
	p.done = device_put(&v, NULL, sizeof(uint32_t) * TOP_ROWS);
	ck_assert_int_eq(v.d.host_alloc((void **)&p.out, sizeof(out), 0), 0);
	for (int again = 0; again < (n < TOP_LARGEST ? 2 : 1); again++) {
		memset(p.out, 0xee, sizeof(out));
		ck_assert_int_eq(v.d.launch(v.function, slices, TOP_ROWS, 1, GPU_THREADS,
		    1, 1, 0, NULL, list, NULL), 0);
		ck_assert_int_eq(v.d.stream_wait(NULL), 0);
		for (int row = 0; row < TOP_ROWS; row++) {
			const uint64_t *keys = p.out + row * GPU_TOP;

			m = largest(x + row * n, n, k, ids);
			for (int i = 0; i < k; i++)
				ck_assert_int_eq((int32_t)~(uint32_t)keys[i],
				    i < m ? ids[i] : -1);
		}
	}
}
END_TEST

/* Row i of a batch wants, by turns, everything, one, a few, all that can be, nothing. */
static void
ask(struct backend_row *row, int i, struct backend_top *top)
{
	static const int32_t n_top[] = { 0, 1, 0, 7, BACKEND_TOP_MAX };

	row->want_logits = i % 5 == 0;
	row->n_top = n_top[i % 5];
	row->top = top;
}

/* Largest logits instead of all, in any company, are the very same ones. */
START_TEST(rows_get_their_largest_logits)
{
	enum { N = 60, FEW = 8 };
	static struct backend_top top[N][BACKEND_TOP_MAX];
	static const int cuts[] = { N, FEW };
	static struct backend_row rows[N];
	static struct model m;
	struct backend_options o = { .name = "gpu", .n_pages = N_PAGES, .max_rows = 256,
		.n_ctx = 128 };
	struct backend b;
	struct err e;
	int vocab, ids[BACKEND_TOP_MAX + 1];

	random_model(&random_shapes[0], &m);
	vocab = m.config.vocab;
	ck_assert_msg(backend_open(&m, &o, &b, &e) == 0, "%s", e.text);
	ck_assert_int_eq(b.top_max, BACKEND_TOP_MAX);
	for (int i = 0; i < N; i++)
		rows[i] = (struct backend_row){ .token = token_at(0, i, vocab), .pos = i,
			.pages = pages_of(0, false), .want_logits = true };
	ck_assert_int_eq(b.forward(&b, rows, N, logits, &e), 0);
	memcpy(want[0], logits, (size_t)(N * vocab) * sizeof(float));
	/* The backend's own memory has the same. */
	ck_assert_int_ge(b.logits_rows, N);
	memset(b.logits, 0, (size_t)(N * vocab) * sizeof(float));
	ck_assert_int_eq(b.forward(&b, rows, N, b.logits, &e), 0);
	ck_assert_mem_eq(b.logits, want[0], (size_t)(N * vocab) * sizeof(float));
	for (int c = 0; c < 2; c++) {
		memset(top, 0xee, sizeof(top));
		for (int i = 0; i < N; i++)
			ask(&rows[i], i, top[i]);
		for (int i = 0; i < N; i += cuts[c]) {
			int n = N - i < cuts[c] ? N - i : cuts[c], k = 0;

			ck_assert_int_eq(b.forward(&b, rows + i, n, logits, &e), 0);
			for (int r = i; r < i + n; r++)
				if (rows[r].want_logits)
					ck_assert_mem_eq(want[0] + r * vocab, logits + k++ *
					    vocab, (size_t)vocab * sizeof(float));
		}
		for (int i = 0; i < N; i++) {
			ck_assert_int_eq(largest(want[0] + i * vocab, vocab, rows[i].n_top,
			    ids), rows[i].n_top);
			for (int k = 0; k < rows[i].n_top; k++) {
				ck_assert_int_eq(top[i][k].id, ids[k]);
				ck_assert(top[i][k].logit == want[0][i * vocab + ids[k]]);
			}
		}
	}
	b.close(&b);
}
END_TEST

static void
open_gpu(const struct model *m, struct backend *b)
{
	struct backend_options o = { .name = "gpu", .n_pages = N_PAGES, .max_rows = 64,
		.n_ctx = 128 };
	struct err e;

	ck_assert_msg(backend_open(m, &o, b, &e) == 0, "%s", e.text);
}

/* Positions from..to-1 of a sequence in pages, the logits of all to out. */
static void
feed(struct backend *b, int vocab, const int32_t *pages, int sequence, int from, int to,
    float *out)
{
	struct backend_row rows[64];
	struct err e;

	for (int i = from; i < to; i++)
		rows[i - from] = (struct backend_row){ .pos = i, .pages = pages,
			.token = token_at(sequence, i, vocab), .want_logits = true };
	ck_assert_int_eq(b->forward(b, rows, to - from, out, &e), 0);
}

enum { FED = 60, CUT = 45 };

/* Into a cache that is full of something else. */
START_TEST(pages_go_to_another_cache_and_give_the_same_logits)
{
	static const int32_t one[] = { 3, 7 }, other[] = { 5, 0 };
	static struct model m;
	struct backend b, to;
	struct err e;
	char *page, *again;
	int vocab;

	random_model(&random_shapes[_i], &m);
	vocab = m.config.vocab;
	open_gpu(&m, &b);
	open_gpu(&m, &to);
	ck_assert_str_eq(b.kv_format, to.kv_format);
	page = malloc(b.page_bytes);
	again = malloc(b.page_bytes);
	feed(&b, vocab, one, 0, 0, FED, want[0]);
	feed(&to, vocab, other, 1, 0, FED, got[0]);
	for (int i = 0; i < 2; i++) {
		int n = i == 0 ? KV_PAGE : CUT - KV_PAGE;

		ck_assert_int_eq(b.read_page(&b, one[i], n, page, &e), 0);
		ck_assert_int_eq(to.write_page(&to, other[i], page, &e), 0);
		/* What stands behind its end is not in it. */
		ck_assert_int_eq(to.read_page(&to, other[i], KV_PAGE, again, &e), 0);
		ck_assert_int_eq(memcmp(page, again, b.page_bytes), 0);
		ck_assert_int_eq(b.read_page(&b, one[i], KV_PAGE, again, &e), 0);
		ck_assert((memcmp(page, again, b.page_bytes) == 0) == (n == KV_PAGE));
	}
	feed(&to, vocab, other, 0, CUT, FED, got[0]);
	ck_assert_mem_eq(got[0], want[0] + CUT * vocab,
	    (size_t)((FED - CUT) * vocab) * sizeof(float));
	free(page);
	free(again);
	b.close(&b);
	to.close(&to);
}
END_TEST

START_TEST(a_sequence_goes_on_in_a_copy_of_a_part_of_a_page)
{
	static const int32_t one[] = { 3, 7 }, copied[] = { 3, 9 }, noise[] = { 9, 3 };
	static struct model m;
	struct backend b;
	struct err e;
	int vocab;

	random_model(&random_shapes[_i], &m);
	vocab = m.config.vocab;
	open_gpu(&m, &b);
	feed(&b, vocab, noise, 1, 0, KV_PAGE, got[0]);
	feed(&b, vocab, one, 0, 0, FED, want[0]);
	ck_assert_int_eq(b.copy_page(&b, one[1], copied[1], CUT - KV_PAGE, &e), 0);
	feed(&b, vocab, copied, 0, CUT, FED, got[0]);
	ck_assert_mem_eq(got[0], want[0] + CUT * vocab,
	    (size_t)((FED - CUT) * vocab) * sizeof(float));
	b.close(&b);
}
END_TEST

/* Hidden states of rows 0..FED-1, cut rows at a time, every third with its logits; those of
 * every other row are asked for, or all. */
static void
feed_hidden(struct backend *b, int vocab, int hidden, int cut, bool all, float *out)
{
	static const int32_t pages[] = { 3, 7 };
	struct backend_row rows[FED];
	struct err e;

	for (int from = 0; from < FED; from += cut) {
		int n = FED - from < cut ? FED - from : cut;

		for (int i = from; i < from + n; i++)
			rows[i - from] = (struct backend_row){ .pos = i, .pages = pages,
				.token = token_at(0, i, vocab), .want_logits = i % 3 == 0,
				.hidden = all || i % 2 == 0 ? out + i * hidden : NULL };
		ck_assert_int_eq(b->forward(b, rows, n, logits, &e), 0);
	}
}

START_TEST(hidden_states_are_the_oracles_and_do_not_depend_on_cuts)
{
	enum { HIDDEN_MAX = 1024 };
	static float oracle[FED * HIDDEN_MAX], base[FED * HIDDEN_MAX], some[FED * HIDDEN_MAX];
	static struct model m;
	struct backend_options o = { .name = "ref", .n_pages = N_PAGES, .max_rows = 64,
		.n_ctx = 128 };
	int vocab, hidden;
	double d = 0, all = 0;
	struct backend b;
	struct err e;

	random_model(&random_shapes[_i], &m);
	vocab = m.config.vocab;
	hidden = m.config.hidden;
	ck_assert_int_eq(backend_open(&m, &o, &b, &e), 0);
	feed_hidden(&b, vocab, hidden, FED, true, oracle);
	b.close(&b);
	open_gpu(&m, &b);
	ck_assert(b.has_hidden);
	feed_hidden(&b, vocab, hidden, FED, true, base);
	feed_hidden(&b, vocab, hidden, 7, false, some);
	for (int i = 0; i < FED * hidden; i++) {
		double x = (double)base[i] - (double)oracle[i];

		d += x * x;
		all += (double)oracle[i] * (double)oracle[i];
	}
	ck_assert_msg(sqrt(d / all) < 0.03, "%g", sqrt(d / all));
	for (int i = 0; i < FED; i++)
		ck_assert_int_eq(memcmp(base + i * hidden, some + i * hidden,
		    (size_t)hidden * sizeof(float)) == 0, i % 2 == 0);
	b.close(&b);
}
END_TEST

static int
run_tests(void)
{
	TCase *t = tcase_create("gpu features");
	int shape;

	tcase_add_loop_test(t, the_kernel_finds_the_largest_in_their_order, 0,
	    gpu_world_first() ? (int)(sizeof(top_cases) / sizeof(top_cases[0])) : 3);
	if (!gpu_world_first())
		return gpu_world_run(t, "gpu features");
	/* The rest is the host's side: on an emulator the shape with an odd head_dim does. */
	shape = strcmp(getenv("GPU_TARGET"), "device") == 0 ? 0 : 1;
	tcase_add_test(t, rows_get_their_largest_logits);
	tcase_add_loop_test(t, pages_go_to_another_cache_and_give_the_same_logits,
	    shape, 2);
	tcase_add_loop_test(t, a_sequence_goes_on_in_a_copy_of_a_part_of_a_page, shape, 2);
	tcase_add_loop_test(t, hidden_states_are_the_oracles_and_do_not_depend_on_cuts, 0, 2);
	return gpu_world_run(t, "gpu features");
}

int
main(int argc, char **argv)
{
	(void)argc;
	return gpu_world_main(argv[0], run_tests);
}
