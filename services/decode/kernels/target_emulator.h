#ifndef DECODE_KERNELS_TARGET_EMULATOR_H
#define DECODE_KERNELS_TARGET_EMULATOR_H

/*
 * The kernels as plain C++, for tests/gpu/emulator.cpp, which runs each thread of a
 * block in turn until it waits for others.  Blocks run one after another, so what they
 * share is static.  The matrix instructions are those of one real target, chosen by
 * EMULATE_GFX11, EMULATE_GFX12 or EMULATE_SM90.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "emulator.h"

#define KERNEL(threads, name, type)                                          \
	static void name##_body(const type &p);                              \
	static void name##_run(const void *v)                                \
	{                                                                    \
		const type &p = *(const type *)v;                            \
                                                                             \
		mark(p.mark);                                                \
		name##_body(p);                                              \
	}                                                                    \
	static const emulated_kernel name##_entry(#name, name##_run, threads, \
	    sizeof(type));                                                   \
	static void name##_body(const type &p)
#define KERNEL_BLOCKS(threads, blocks, name, type) KERNEL(threads, name, type)
#define DEVICE static inline
#define DEVICE_MEMBER inline
#define SHARED static
#define DYNAMIC_SHARED(name) uint8_t *name = emulated_shared()

DEVICE int tid() { return emulated_at.thread; }
DEVICE int bx() { return emulated_at.block[0]; }
DEVICE int by() { return emulated_at.block[1]; }
DEVICE int bz() { return emulated_at.block[2]; }
DEVICE void sync() { emulated_sync(); }

DEVICE float
bits_float(uint32_t b)
{
	float f;

	memcpy(&f, &b, sizeof(f));
	return f;
}

DEVICE uint32_t
float_bits(float f)
{
	uint32_t b;

	memcpy(&b, &f, sizeof(b));
	return b;
}

DEVICE int
xor_i(int v, int m)
{
	uint32_t u = (uint32_t)v;

	return (int)emulated_gather(&u, 1)[((tid() % 32) ^ m) * EMULATED_WORDS];
}

DEVICE float xor_f(float v, int m) { return bits_float((uint32_t)xor_i((int)float_bits(v), m)); }

DEVICE int
dot4(uint32_t u, uint32_t s, int c)
{
	for (int i = 0; i < 32; i += 8)
		c += (int)(u >> i & 255) * (int8_t)(s >> i);
	return c;
}

DEVICE int
dot4s(uint32_t a, uint32_t b, int c)
{
	for (int i = 0; i < 32; i += 8)
		c += (int8_t)(a >> i) * (int8_t)(b >> i);
	return c;
}

DEVICE float fma_(float a, float b, float c) { return fmaf(a, b, c); }
DEVICE float div_(float a, float b) { return a / b; }
DEVICE float sqrt_(float a) { return sqrtf(a); }
DEVICE float rsqrt_(float a) { return 1.0f / sqrtf(a); }
DEVICE float rint_(float a) { return rintf(a); }
DEVICE float abs_(float a) { return fabsf(a); }
DEVICE float max_(float a, float b) { return fmaxf(a, b); }
DEVICE float min_(float a, float b) { return fminf(a, b); }
DEVICE float exp2_(float a) { return exp2f(a); }
DEVICE float half_float(uint16_t h) { return emulated_half_float(h); }
DEVICE uint16_t float_half(float f) { return emulated_float_half(f); }
DEVICE u4 load_once(const void *p) { return *(const u4 *)p; }
DEVICE uint32_t count_up(uint32_t *p) { return (*p)++; }
/* Returns what was there. */
DEVICE int
add_shared(int *p, int v)
{
	int was = *p;

	*p += v;
	return was;
}

DEVICE void
packet_put(uint64_t *to, uint32_t value, uint32_t flag)
{
	*to = (uint64_t)flag << 32 | value;
}

DEVICE u4
packets_get(const uint64_t *from)
{
	return { (uint32_t)from[0], (uint32_t)(from[0] >> 32), (uint32_t)from[1],
		(uint32_t)(from[1] >> 32) };
}

DEVICE void spin(int) { emulated_spin(); }
DEVICE int grid_size() { return emulated_at.grid; }
DEVICE void fetch_ahead(const void *, uint32_t) { }

/* A kernel begins when all of the last one is done: there is nothing to wait for. */
DEVICE void wait_for_last() { }

/* Byte k of the word array that a lane gave. */
DEVICE int
given(const uint32_t *all, int lane, int word, int k)
{
	return (int)(all[lane * EMULATED_WORDS + word + k / 4] >> k % 4 * 8 & 255);
}

#if defined(EMULATE_SM90)

#define TARGET_SM90
/* PTX ISA, mma.m16n8k32: fragments of u8, s8 and s32. */
DEVICE void
mma_m16n8k32(int *acc, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
    uint32_t b1)
{
	uint32_t mine[6] = { a0, a1, a2, a3, b0, b1 };
	const uint32_t *all = emulated_gather(mine, 6);
	int g = tid() % 32 / 4, t = tid() % 4;

	for (int e = 0; e < 4; e++)
		for (int k = 0; k < 32; k++) {
			int lane = k % 16 / 4, col = 2 * t + e % 2;
			int a = given(all, 4 * g + lane, e / 2 + (k < 16 ? 0 : 2), k % 4);
			int b = given(all, 4 * col + lane, k < 16 ? 4 : 5, k % 4);

			acc[e] += a * (int8_t)b;
		}
}

#elif defined(EMULATE_GFX11)

#define TARGET_GFX11
/* RDNA 3 ISA, V_WMMA_I32_16X16X16_IU8: both halves of a wave give the same. */
DEVICE void
wmma_iu8(int *acc, u4 a, u4 b)
{
	uint32_t mine[8] = { a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w };
	const uint32_t *all = emulated_gather(mine, 8);
	int col = tid() % 16;

	for (int i = 0; i < 8; i++)
		emulated_check(all[col * EMULATED_WORDS + i] ==
		    all[(col + 16) * EMULATED_WORDS + i], "halves of a wave differ");
	for (int e = 0; e < 8; e++)
		for (int k = 0; k < 16; k++)
			acc[e] += given(all, 2 * e + tid() % 32 / 16, 0, k) *
			    (int8_t)given(all, col, 4, k);
}

#else

#define TARGET_GFX12
/* RDNA 4 ISA, V_WMMA_I32_16X16X16_IU8: each half of a wave has 8 of 16 columns. */
DEVICE void
wmma_iu8(int *acc, uint32_t a0, uint32_t a1, uint32_t b0, uint32_t b1)
{
	uint32_t mine[4] = { a0, a1, b0, b1 };
	const uint32_t *all = emulated_gather(mine, 4);
	int half = tid() % 32 / 16, col = tid() % 16;

	for (int e = 0; e < 8; e++)
		for (int k = 0; k < 16; k++)
			acc[e] += given(all, e + 8 * half + k / 8 * 16, 0, k % 8) *
			    (int8_t)given(all, col + k / 8 * 16, 2, k % 8);
}

#endif

#endif
