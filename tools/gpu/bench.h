#ifndef TOOLS_GPU_BENCH_H
#define TOOLS_GPU_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/gpu_driver.h"
#include "err.h"
#include "kernels/gpu_measure.h"
#include "kernels/gpu_params.h"

/*
 * What the kernels take on a device, each for itself: build/bin/gpu_bench.  Work is
 * recorded as a graph and replayed between two events, so that the host does not count;
 * the median of b->runs replays is kept.  One line is printed for each measurement.
 */
enum { BENCH_PIECES_MAX = 64, BENCH_RUNS_MAX = 101, BENCH_DEPTHS_MAX = 16 };

struct bench {
	struct gpu_driver d;
	void *module, *stream;
	void *begin, *end;		/* events */
	int processors;			/* multiprocessors of the device */
	void *pieces[BENCH_PIECES_MAX];	/* memory of the device that is taken */
	int n_pieces;
	double read;			/* bytes a second; 0: not measured yet */

	/* From the command line. */
	int runs;
	bool small;			/* sizes for an emulator */
	size_t memory_bytes, weights_bytes;
	int depths[BENCH_DEPTHS_MAX], n_depths;
};

/* 0, or ERR_SYSTEM with what failed and the runtime's error. */
int bench_check(const struct bench *b, int code, const char *what, struct err *e);

/* A kernel of the module. */
int bench_kernel(struct bench *b, const char *name, void **kernel, struct err *e);

/* n bytes of the device, zeros; bench_free gives back all that was taken. */
int bench_take(struct bench *b, size_t n, void *p, struct err *e);
void bench_free(struct bench *b);

/* n bytes (a multiple of 16) at to become noise: of each 32 bits those of keep vary, and
 * the others are those of set. */
int bench_fill(struct bench *b, void *to, size_t n, uint32_t keep, uint32_t set,
    struct err *e);

/* The numbers 0.5..1 with any sign, as f32 and as f16; ternary codes. */
#define BENCH_F32 0x807fffffu, 0x3f000000u
#define BENCH_F16 0x83ff83ffu, 0x38003800u
#define BENCH_CODES 0x55555555u, 0u

/* One launch, as the backend does it. */
int bench_launch(struct bench *b, void *kernel, unsigned x, unsigned y, unsigned z,
    unsigned threads, size_t shared, void *params, struct err *e);

/* work(b, arg) launches what is timed; *seconds: the median of one replay of it all. */
int bench_time(struct bench *b, int (*work)(struct bench *b, void *arg, struct err *e),
    void *arg, double *seconds, struct err *e);

/* What can be asked for: print a table to stdout. */
int bench_device_memory(struct bench *b, struct err *e);
int bench_gemv(struct bench *b, struct err *e);
int bench_gemm(struct bench *b, struct err *e);
int bench_attention(struct bench *b, struct err *e);
int bench_top(struct bench *b, struct err *e);
int bench_launches(struct bench *b, struct err *e);

/* The products of a layer of 2B4T: name, mode, rows of the matrix (of gate and up together),
 * columns. */
#define BENCH_2B4T(set, add, gate)                                           \
	{ "qkv", set, 3840, 2560 }, { "o", add, 2560, 2560 },                \
	{ "gate and up", gate, 13824, 2560 }, { "down", add, 2560, 6912 }

#endif
