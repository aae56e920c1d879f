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

enum { STACK = 64 << 10, SHARED_MAX = 101 << 10, WAVE = 32 };
enum { WAVES_MAX = EMULATED_THREADS_MAX / WAVE, SPINS_MAX = 1000 };
enum state { READY, SPINNING, AT_WAVE, AT_BLOCK, DONE };

struct thread {
	jmp_buf at;
	state is;
	bool made;		/* and waits, at the latest for the next block */
	int n_given;		/* times it gave something to its wave */
};

/* A block that is running. */
struct block {
	int place[3];
	int turn;		/* which of its waves is first */
	thread threads[EMULATED_THREADS_MAX];
	uint32_t given[WAVES_MAX][2][WAVE][EMULATED_WORDS];
	alignas(64) uint8_t shared[SHARED_MAX];
	uint8_t *stacks;
};

emulated_place emulated_at;
const emulated_kernel *emulated_kernels;

static block *blocks[EMULATED_PROCESSORS];
static block *now;		/* that runs */
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
	return now->shared;
}

/* Let the others go on. */
static void
wait_as(state s)
{
	thread *t = &now->threads[emulated_at.thread];

	t->is = s;
	if (_setjmp(t->at) == 0)
		_longjmp(scheduler, 1);
}

void
emulated_sync()
{
	wait_as(AT_BLOCK);
}

void
emulated_spin()
{
	wait_as(SPINNING);
}

/* Two buffers in turn: whoever gives again has read what was given before. */
const uint32_t *
emulated_gather(const uint32_t *mine, int n)
{
	int i = emulated_at.thread, turn = now->threads[i].n_given++ % 2;
	uint32_t (*all)[EMULATED_WORDS] = now->given[i / WAVE][turn];

	memcpy(all[i % WAVE], mine, (size_t)n * sizeof(*mine));
	wait_as(AT_WAVE);
	return all[0];
}

const float *
emulated_gather_floats(const float *mine, int n)
{
	uint32_t words[EMULATED_WORDS];

	memcpy(words, mine, (size_t)n * sizeof(*mine));
	return (const float *)emulated_gather(words, n);
}

/* Of block after block: to make a context takes longer than most threads do. */
static void
body()
{
	for (;;) {
		kernel->run(params);
		wait_as(DONE);
	}
}

static void
begin(int i)
{
	ucontext_t context;

	getcontext(&context);
	context.uc_stack.ss_sp = now->stacks + (size_t)i * STACK;
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
	if (now->threads[i].made)
		_longjmp(now->threads[i].at, 1);
	now->threads[i].made = true;
	begin(i);
}

/* A wave until it has ended, waits for the block or spins. */
static void
run_wave(int first)
{
	int n_waiting, n_spinning = 0;

	do {
		int n_live = 0;

		n_waiting = n_spinning = 0;
		for (int i = first; i < first + WAVE; i++) {
			thread *t = &now->threads[i];

			if (t->is == READY)
				go_on(i);
			n_live += t->is != DONE;
			n_waiting += t->is == AT_WAVE;
			n_spinning += t->is == SPINNING;
		}
		if (n_waiting == 0 || n_spinning > 0)
			break;
		if (n_waiting != WAVE)
			stop("a wave shuffles without all of its lanes");
		for (int i = first; i < first + WAVE; i++)
			now->threads[i].is = READY;
	} while (n_waiting > 0);
}

static void
make_block(int i)
{
	void *p = mmap(nullptr, (size_t)EMULATED_THREADS_MAX * STACK, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		abort();
	blocks[i] = new block();
	blocks[i]->stacks = (uint8_t *)p;
}

static void
begin_block(int slot, const int place[3], int turn)
{
	if (blocks[slot] == nullptr)
		make_block(slot);
	now = blocks[slot];
	memcpy(now->place, place, sizeof(now->place));
	now->turn = turn;
	for (int i = 0; i < n_threads; i++) {
		now->threads[i].is = READY;
		now->threads[i].n_given = 0;
	}
	memset(now->shared, 0xa5, sizeof(now->shared));
}

/* All of its waves once; whether anybody did more than spin. */
static bool
run_block(int slot)
{
	int n_waves = n_threads / WAVE, n_live = 0, n_waiting = 0, n_spinning = 0;
	bool moved = false;

	now = blocks[slot];
	memcpy(emulated_at.block, now->place, sizeof(now->place));
	for (int i = 0; i < n_threads; i++)
		if (now->threads[i].is == SPINNING)
			now->threads[i].is = READY;
		else
			moved |= now->threads[i].is == READY;
	for (int w = 0; w < n_waves; w++)
		run_wave((w + now->turn) % n_waves * WAVE);
	for (int i = 0; i < n_threads; i++) {
		n_live += now->threads[i].is != DONE;
		n_waiting += now->threads[i].is == AT_BLOCK;
		n_spinning += now->threads[i].is == SPINNING;
	}
	if (n_spinning > 0)
		return moved;
	if (n_waiting != n_live)
		stop("threads wait for others that do not come");
	if (n_waiting != 0 && n_waiting != n_threads)
		stop("a barrier that not all threads reach");
	for (int i = 0; i < n_threads; i++)
		if (now->threads[i].is == AT_BLOCK)
			now->threads[i].is = READY;
	return true;
}

static bool
is_done(const block *b)
{
	for (int i = 0; i < n_threads; i++)
		if (b->threads[i].is != DONE)
			return false;
	return true;
}

/* Blocks 0..n-1 of slots, until all have ended. */
static void
run_slots(int n)
{
	int n_done, n_spins = 0;

	do {
		bool moved = false;

		n_done = 0;
		for (int i = 0; i < n; i++)
			if (is_done(blocks[i]))
				n_done++;
			else
				moved |= run_block(i);
		n_spins = moved ? 0 : n_spins + 1;
		if (n_spins > SPINS_MAX)
			stop("all blocks wait for something that nobody does");
	} while (n_done < n);
}

void
emulated_launch(const emulated_kernel *k, const int grid[3], int n, size_t n_shared,
    const void *p)
{
	bool together = strstr(k->name, EMULATED_TOGETHER) != nullptr;
	int turn = 0, slot = 0, at[3];

	kernel = k;
	params = p;
	n_threads = n;
	emulated_at.grid = grid[0];
	if (n > k->threads || n % WAVE != 0 || n_shared > SHARED_MAX)
		stop("launched with what it was not made for");
	if (together && grid[0] * grid[1] * grid[2] > EMULATED_PROCESSORS)
		stop("more blocks than can run together");
	for (at[2] = 0; at[2] < grid[2]; at[2]++)
		for (at[1] = 0; at[1] < grid[1]; at[1]++)
			for (at[0] = 0; at[0] < grid[0]; at[0]++) {
				begin_block(slot, at, turn++);
				if (together)
					slot++;
				else
					run_slots(1);
			}
	if (together)
		run_slots(slot);
}

static float
half_float(uint16_t h)
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

/* Products of halves ask for them often. */
float
emulated_half_float(uint16_t h)
{
	static float *all;

	if (all == nullptr) {
		all = (float *)malloc(65536 * sizeof(*all));
		if (all == nullptr)
			abort();
		for (int i = 0; i < 65536; i++)
			all[i] = half_float((uint16_t)i);
	}
	return all[h];
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
