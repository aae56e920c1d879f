/*
 * Coroutines by ucontext, which makes a stack, and _setjmp, which is fast.  The
 * order in which waves run is turned with each block, so that a race between two
 * of them does not always end the same way.
 */
#include "emulator.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { STACK = 64 << 10, SHARED_MAX = 64 << 10, WAVE = 32 };
enum state { READY, AT_WAVE, AT_BLOCK, DONE };

struct thread {
	jmp_buf at;
	state is;
	bool begun;
	int n_given;		/* times it gave something to its wave */
};

emulated_place emulated_at;
const emulated_kernel *emulated_kernels;

static thread threads[EMULATED_THREADS_MAX];
static uint32_t given[EMULATED_THREADS_MAX / WAVE][2][WAVE][EMULATED_WORDS];
alignas(64) static uint8_t shared[SHARED_MAX];
static uint8_t *stacks;
static jmp_buf scheduler;
static const emulated_kernel *kernel;
static const void *params;
static int n_threads;

emulated_kernel::emulated_kernel(const char *n, void (*r)(const void *), int t, size_t s) :
    name(n), run(r), threads(t), size(s), next(emulated_kernels)
{
	emulated_kernels = this;
}

static void
stop(const char *what)
{
	fprintf(stderr, "emulator: %s, block %d %d %d, thread %d: %s\n",
	    kernel->name, emulated_at.block[0], emulated_at.block[1],
	    emulated_at.block[2], emulated_at.thread, what);
	abort();
}

void
emulated_check(bool good, const char *what)
{
	if (!good)
		stop(what);
}

uint8_t *
emulated_shared()
{
	return shared;
}

/* Let the others go on. */
static void
wait_as(state s)
{
	thread *t = &threads[emulated_at.thread];

	t->is = s;
	if (_setjmp(t->at) == 0)
		_longjmp(scheduler, 1);
}

void
emulated_sync()
{
	wait_as(AT_BLOCK);
}

/* Two buffers in turn: whoever gives again has read what was given before. */
const uint32_t *
emulated_gather(const uint32_t *mine, int n)
{
	int i = emulated_at.thread, turn = threads[i].n_given++ % 2;
	uint32_t (*all)[EMULATED_WORDS] = given[i / WAVE][turn];

	memcpy(all[i % WAVE], mine, (size_t)n * sizeof(*mine));
	wait_as(AT_WAVE);
	return all[0];
}

static void
body()
{
	kernel->run(params);
	threads[emulated_at.thread].is = DONE;
	_longjmp(scheduler, 1);
}

static void
begin(int i)
{
	ucontext_t context;

	getcontext(&context);
	context.uc_stack.ss_sp = stacks + (size_t)i * STACK;
	context.uc_stack.ss_size = STACK;
	context.uc_link = nullptr;
	makecontext(&context, body, 0);
	setcontext(&context);
}

static void
go_on(int i)
{
	emulated_at.thread = i;
	if (_setjmp(scheduler) != 0)
		return;
	if (threads[i].begun)
		_longjmp(threads[i].at, 1);
	threads[i].begun = true;
	begin(i);
}

/* A wave until it has ended or waits for the block. */
static void
run_wave(int first)
{
	int n_waiting;

	do {
		int n_live = 0;

		n_waiting = 0;
		for (int i = first; i < first + WAVE; i++) {
			if (threads[i].is == READY)
				go_on(i);
			n_live += threads[i].is != DONE;
			n_waiting += threads[i].is == AT_WAVE;
		}
		if (n_waiting == 0)
			break;
		if (n_waiting != WAVE)
			stop("a wave shuffles without all of its lanes");
		for (int i = first; i < first + WAVE; i++)
			threads[i].is = READY;
	} while (n_waiting > 0);
}

static void
run_block(int turn)
{
	int n_waves = n_threads / WAVE, n_live, n_waiting;

	for (int i = 0; i < n_threads; i++)
		threads[i] = thread();
	memset(shared, 0xa5, sizeof(shared));
	do {
		n_live = n_waiting = 0;
		for (int w = 0; w < n_waves; w++)
			run_wave((w + turn) % n_waves * WAVE);
		for (int i = 0; i < n_threads; i++) {
			n_live += threads[i].is != DONE;
			n_waiting += threads[i].is == AT_BLOCK;
		}
		if (n_waiting != n_live)
			stop("threads wait for others that do not come");
		if (n_waiting != 0 && n_waiting != n_threads)
			stop("a barrier that not all threads reach");
		for (int i = 0; i < n_threads; i++)
			if (threads[i].is == AT_BLOCK)
				threads[i].is = READY;
	} while (n_live > 0);
}

void
emulated_launch(const emulated_kernel *k, const int grid[3], int n, size_t n_shared,
    const void *p)
{
	int turn = 0;

	kernel = k;
	params = p;
	n_threads = n;
	if (stacks == nullptr) {
		stacks = (uint8_t *)mmap(nullptr, (size_t)EMULATED_THREADS_MAX * STACK,
		    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (stacks == MAP_FAILED)
			abort();
	}
	if (n > k->threads || n % WAVE != 0 || n_shared > sizeof(shared))
		stop("launched with what it was not made for");
	for (emulated_at.block[2] = 0; emulated_at.block[2] < grid[2]; emulated_at.block[2]++)
		for (emulated_at.block[1] = 0; emulated_at.block[1] < grid[1];
		    emulated_at.block[1]++)
			for (emulated_at.block[0] = 0; emulated_at.block[0] < grid[0];
			    emulated_at.block[0]++)
				run_block(turn++);
}

float
emulated_half_float(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 1023, b;
	float f;

	if (e == 0) {
		f = (float)m * 5.9604644775390625e-8f;	/* 2^-24 */
		return sign != 0 ? -f : f;
	}
	b = sign | (e == 31 ? 255u << 23 : (e + 112) << 23) | m << 13;
	memcpy(&f, &b, sizeof(f));
	return f;
}

/* Half to even; too large is infinite. */
uint16_t
emulated_float_half(float f)
{
	uint32_t b, sign, m, rest, half;
	int e, shift;

	memcpy(&b, &f, sizeof(b));
	sign = b >> 16 & 0x8000;
	e = (int)(b >> 23 & 255) - 112;
	m = b & 0x7fffff;
	if (e > 30 + 0x7f)
		return (uint16_t)(sign | 0x7c00 | (m != 0 ? 0x200 : 0));
	if (e > 30)
		return (uint16_t)(sign | 0x7c00);
	shift = e > 0 ? 13 : 14 - e;
	if (shift > 24)
		return (uint16_t)sign;
	m |= e > 0 ? 0 : 0x800000;
	rest = m & ((1u << shift) - 1);
	half = 1u << (shift - 1);
	m >>= shift;
	m += e > 0 ? (uint32_t)e << 10 : 0;
	m += rest > half || (rest == half && (m & 1) != 0);
	return (uint16_t)(sign | m);
}
