#ifndef TESTS_GPU_EMULATOR_H
#define TESTS_GPU_EMULATOR_H

#include <stddef.h>
#include <stdint.h>

/*
 * Runs kernels on the CPU, for tests of what cannot be run here otherwise: each
 * thread of a block is a coroutine that goes on until it waits for its wave or
 * its block.  It finds what a device would not tell: waves that part ways before
 * a shuffle, barriers that not everybody reaches, halves of a wave that differ
 * where they must not.  It says nothing about time.
 */
enum { EMULATED_WORDS = 32, EMULATED_THREADS_MAX = 1024 };

/* Multiprocessors of the device: so many blocks may run together. */
enum { EMULATED_PROCESSORS = 3 };
#define EMULATED_TOGETHER "whole"	/* in the name of a kernel whose blocks wait */

struct emulated_kernel {
	const char *name;
	void (*run)(const void *params);
	int threads;		/* of a block, at most */
	size_t size;		/* bytes of params */
	const emulated_kernel *next;

	emulated_kernel(const char *name, void (*run)(const void *), int threads,
	    size_t size);
};

struct emulated_place {
	int thread;
	int block[3];
	int grid;		/* blocks along the first */
};

extern emulated_place emulated_at;
extern const emulated_kernel *emulated_kernels;

/* What a thread of a kernel may do. */
uint8_t *emulated_shared();
void emulated_sync();
/* What every lane of the wave gave, [32][EMULATED_WORDS]; good until the next. */
const uint32_t *emulated_gather(const uint32_t *mine, int n);
const float *emulated_gather_floats(const float *mine, int n);
void emulated_check(bool good, const char *what);
float emulated_half_float(uint16_t h);
uint16_t emulated_float_half(float f);

/* It has seen nothing new: the others go on.  If all of them only spin, it is an end. */
void emulated_spin();

/* All blocks, one after another, or together if the kernel's name says that they wait for
 * each other (EMULATED_TOGETHER).  shared: bytes of dynamic shared memory. */
void emulated_launch(const emulated_kernel *k, const int grid[3], int threads,
    size_t shared, const void *params);

#endif
