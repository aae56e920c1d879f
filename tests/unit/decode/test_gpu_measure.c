/*
 * What the device is measured with, and what a measurement changes: kernels that read
 * and copy everything, attention of one block a head that is attention, and products with
 * fewer blocks than outputs, which have the same bits.
 */
#include <math.h>

#include "backend/gpu_driver.h"
#include "backend/gpu_module.h"
#include "backend_world.h"
#include "gpu_world.h"
#include "kernels/gpu_measure.h"
#include "random_model.h"

struct device {
	struct gpu_driver d;
	void *module;
};

static void
device_open(struct device *v)
{
	struct err e;

	ck_assert_msg(gpu_driver_open(&v->d, 0, &e) == 0, "%s", e.text);
	ck_assert_msg(gpu_module_load(&v->d, "device", &v->module, &e) == 0, "%s", e.text);
}

static void
device_close(struct device *v)
{
	v->d.module_unload(v->module);
	gpu_driver_close(&v->d);
}

/* Memory of the device with what from has. */
static void *
device_put(struct device *v, const void *from, size_t n)
{
	void *p = NULL;

	ck_assert_int_eq(v->d.mem_alloc(&p, n), 0);
	ck_assert_int_eq(v->d.to_device(p, from, n), 0);
	return p;
}

/* Run and wait; then n bytes of from come to to, and from is free. */
static void
device_run(struct device *v, const char *name, unsigned blocks, unsigned threads,
    unsigned shared, void *params, void *to, void *from, size_t n)
{
	const unsigned grid[3] = { blocks, 1, 1 };
	void *kernel = NULL;

	ck_assert_int_eq(gpu_module_kernel(&v->d, v->module, name, &kernel), 0);
	ck_assert_int_eq(gpu_driver_launch(&v->d, kernel, grid, threads, shared, NULL,
	    params), 0);
	ck_assert_int_eq(v->d.to_host_async(to, from, n, NULL), 0);
	ck_assert_int_eq(v->d.stream_wait(NULL), 0);
	v->d.mem_free(from);
}

/* 16 bytes of ones anywhere are seen by the thread that reads them. */
enum { UNITS = 3 * 8 * GPU_THREADS };

START_TEST(every_byte_is_read)
{
	static const int places[] = { 0, 1, UNITS / 2 + 77, UNITS - 1 };
	static uint8_t bytes[UNITS * 16];
	uint8_t out[16] = { 0 };
	struct device v;

	device_open(&v);
	for (size_t i = 0; i <= sizeof(places) / sizeof(places[0]); i++) {
		bool some = i < sizeof(places) / sizeof(places[0]);
		void *from, *to;

		memset(bytes, 0, sizeof(bytes));
		memset(out, 0, sizeof(out));
		if (some)
			memset(bytes + 16 * places[i], 255, 16);
		from = device_put(&v, bytes, sizeof(bytes));
		to = device_put(&v, out, sizeof(out));
		struct gpu_measure p = { .from = from, .to = to, .n = UNITS, .n_blocks = 2 };
		device_run(&v, "gpu_measure_read", 2, GPU_THREADS, 0, &p, out, to,
		    sizeof(out));
		ck_assert_int_eq(out[0], some ? 255 : 0);
		v.d.mem_free(from);
	}
	device_close(&v);
}
END_TEST

START_TEST(every_byte_is_copied)
{
	static uint8_t bytes[UNITS * 16], copied[UNITS * 16];
	struct device v;
	void *from, *to;

	device_open(&v);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 2654435761U >> 13);
	from = device_put(&v, bytes, sizeof(bytes));
	to = device_put(&v, copied, sizeof(copied));
	struct gpu_measure p = { .from = from, .to = to, .n = UNITS, .n_blocks = 2 };
	device_run(&v, "gpu_measure_copy", 2, GPU_THREADS, 0, &p, copied, to, sizeof(copied));
	ck_assert(memcmp(bytes, copied, sizeof(bytes)) == 0);
	v.d.mem_free(from);
	device_close(&v);
}
END_TEST

/* f16 bits of m / 16, 0 <= m < 16, and what they are worth. */
static uint16_t
half_of(unsigned m)
{
	unsigned e = 15;

	if (m == 0)
		return 0;
	for (m <<= 6; m < 1024; m <<= 1)
		e--;
	return (uint16_t)(e << 10 | (m & 1023));
}

enum { HEADS = 4, KV = 2, DIM = 128, N = 37 };

START_TEST(one_block_a_head_attends)
{
	static uint16_t q[HEADS * DIM], kv[2][KV * N * DIM];
	static unsigned mq[HEADS * DIM], mkv[2][KV * N * DIM];
	static float out[HEADS * DIM];
	struct device v;
	unsigned u = 1;

	for (int i = 0; i < HEADS * DIM; i++)
		q[i] = half_of(mq[i] = (u = u * 1664525 + 1013904223) >> 28);
	for (int w = 0; w < 2; w++)
		for (int i = 0; i < KV * N * DIM; i++)
			kv[w][i] = half_of(mkv[w][i] = (u = u * 1664525 + 1013904223) >> 28);
	device_open(&v);
	void *pq = device_put(&v, q, sizeof(q)), *pk = device_put(&v, kv[0], sizeof(kv[0]));
	void *pv = device_put(&v, kv[1], sizeof(kv[1])), *po = device_put(&v, out, sizeof(out));
	struct gpu_measure_attention p = { .q = pq, .keys = pk, .values = pv, .out = po,
		.n_heads = HEADS, .n_kv_heads = KV, .n = N, .n_threads = 128, .factor = 0.25F };
	device_run(&v, "gpu_measure_attend", HEADS, 128, (40 + 8 * DIM) * sizeof(float), &p,
	    out, po, sizeof(out));
	for (int h = 0; h < HEADS; h++) {
		const unsigned *k = mkv[0] + h / (HEADS / KV) * N * DIM;
		const unsigned *val = mkv[1] + h / (HEADS / KV) * N * DIM;
		double sum = 0, want_out[DIM] = { 0 };

		for (int i = 0; i < N; i++) {
			double s = 0;

			for (int d = 0; d < DIM; d++)
				s += mq[h * DIM + d] / 16.0 * (k[i * DIM + d] / 16.0);
			s = exp2(0.25 * (s - 30));
			sum += s;
			for (int d = 0; d < DIM; d++)
				want_out[d] += s * (val[i * DIM + d] / 16.0);
		}
		for (int d = 0; d < DIM; d++)
			ck_assert_double_eq_tol((double)out[h * DIM + d], want_out[d] / sum,
			    1e-4);
	}
	v.d.mem_free(pq);
	v.d.mem_free(pk);
	v.d.mem_free(pv);
	device_close(&v);
}
END_TEST

/* 3 blocks' worth of outputs of a gate, by as many blocks and by one. */
enum { GATE_OUT = 96, GATE_IN = 512, GATE_ROWS = 2 };

static void
gate_with(struct device *v, unsigned blocks, struct gpu_product p, float *y, size_t n)
{
	memset(y, 0, n);
	p.y = device_put(v, y, n);
	device_run(v, "gpu_gemv_gate_2", blocks, GPU_THREADS, GATE_ROWS * GATE_IN, &p, y, p.y,
	    n);
}

START_TEST(fewer_blocks_give_the_same_product)
{
	static uint8_t codes[2 * GATE_OUT * GATE_IN / 4];
	static float scales[2 * GATE_OUT], x[GATE_ROWS * GATE_IN];
	static float all[GATE_ROWS * GATE_OUT], few[GATE_ROWS * GATE_OUT];
	struct device v;
	unsigned u = 7;

	for (size_t i = 0; i < sizeof(codes); i++) {
		u = u * 1664525 + 1013904223;
		codes[i] = (uint8_t)(u >> 24 & ~(u >> 25 & u >> 24 & 0x55));
	}
	for (int i = 0; i < 2 * GATE_OUT; i++)
		scales[i] = 1 + (float)i / 64;
	for (int i = 0; i < GATE_ROWS * GATE_IN; i++)
		x[i] = (float)(i * 37 % 255 - 127);
	device_open(&v);
	void *pc = device_put(&v, codes, sizeof(codes)), *ps = device_put(&v, scales,
	    sizeof(scales)), *px = device_put(&v, x, sizeof(x));
	struct gpu_product p = { .w = { .codes = pc, .scales = ps, .n_out = GATE_OUT,
		.units = GATE_IN / 64, .group = GATE_IN, .n_groups = 1, .lanes = 8 },
		.x = px, .x_stride = GATE_IN, .y_stride = GATE_OUT, .n_in = GATE_IN,
		.n_rows = GATE_ROWS, .eps = 1e-5F };
	gate_with(&v, 3, p, all, sizeof(all));
	gate_with(&v, 1, p, few, sizeof(few));
	ck_assert(all[GATE_OUT - 1] != 0 || all[GATE_OUT - 2] != 0);
	ck_assert(memcmp(all, few, sizeof(all)) == 0);
	v.d.mem_free(pc);
	v.d.mem_free(ps);
	v.d.mem_free(px);
	device_close(&v);
}
END_TEST

START_TEST(the_backend_says_how_fast_its_memory_is)
{
	struct backend_options o = { .name = "gpu", .n_pages = 4, .max_rows = 8, .n_ctx = 64 };
	static struct model m;
	struct backend b;
	struct err e;
	double rate = 0;

	random_model(&random_shapes[0], &m);
	ck_assert_msg(backend_open(&m, &o, &b, &e) == 0, "%s", e.text);
	ck_assert_msg(b.memory_rate(&b, 1 << 18, &rate, &e) == 0, "%s", e.text);
	ck_assert(rate > 0 && isfinite(rate));
	ck_assert_int_gt(b.bytes_per_token, backend_dense_bytes(&m.head));
	/* It asks for memory, of which there may be none. */
	ck_assert_int_eq(b.memory_rate(&b, 1, &rate, &e), ERR_NO_MEMORY);
	b.close(&b);
}
END_TEST

static int
run_tests(void)
{
	TCase *t = tcase_create("gpu_measure");

	tcase_add_test(t, every_byte_is_read);
	tcase_add_test(t, every_byte_is_copied);
	tcase_add_test(t, one_block_a_head_attends);
	tcase_add_test(t, fewer_blocks_give_the_same_product);
	tcase_add_test(t, the_backend_says_how_fast_its_memory_is);
	return gpu_world_run(t, "gpu_measure");
}

int
main(int argc, char **argv)
{
	(void)argc;
	return gpu_world_main(argv[0], run_tests);
}
