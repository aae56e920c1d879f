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
DEVICE int wave() { return tid() / 32; }
DEVICE int bx() { return emulated_at.block[0]; }
DEVICE int by() { return emulated_at.block[1]; }
DEVICE int bz() { return emulated_at.block[2]; }
DEVICE void sync() { emulated_sync(); }
DEVICE int opaque(int v) { return v; }

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
DEVICE void keep_order() { }

DEVICE uint32_t
pack_half(float a, float b)
{
	return float_half(a) | (uint32_t)float_half(b) << 16;
}

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

/* n halves as floats, which are what a lane gives for a product of them. */
DEVICE void
give_halves(float *to, const void *words, int n)
{
	uint16_t h[16];

	memcpy(h, words, (size_t)n * sizeof(*h));
	for (int i = 0; i < n; i++)
		to[i] = emulated_half_float(h[i]);
}

DEVICE float
sum_products(float sum, const float *a, const float *b, int n)
{
	for (int i = 0; i < n; i++)
		sum += a[i] * b[i];
	return sum;
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

/* The same, mma.m16n8k16: fragments of f16 and f32. */
DEVICE void
mma_m16n8k16(float *acc, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
    uint32_t b1)
{
	uint32_t words[6] = { a0, a1, a2, a3, b0, b1 };
	int g = tid() % 32 / 4, t = tid() % 4;
	const float *all;
	float mine[12];

	give_halves(mine, words, 12);
	all = emulated_gather_floats(mine, 12);
	for (int e = 0; e < 4; e++)
		for (int k = 0; k < 16; k += 2) {
			int lane = k % 8 / 2, col = 2 * t + e % 2;
			const float *a = all + (4 * g + lane) * EMULATED_WORDS;
			const float *b = all + (4 * col + lane) * EMULATED_WORDS;

			acc[e] = sum_products(acc[e], a + (k < 8 ? 0 : 4) + e / 2 * 2,
			    b + (k < 8 ? 8 : 10), 2);
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

DEVICE uint32_t other_half(uint32_t v) { return (uint32_t)xor_i((int)v, 16); }

DEVICE uint32_t
pick_bytes(uint32_t a, uint32_t b, uint32_t sel)
{
	uint64_t both = (uint64_t)a << 32 | b;
	uint32_t v = 0;

	for (int i = 0; i < 32; i += 8)
		v |= (uint32_t)(both >> 8 * (sel >> i & 7) & 255) << i;
	return v;
}

/* The same, V_WMMA_F32_16X16X16_F16. */
DEVICE void
wmma_f16(float *acc, u4 a0, u4 a1, u4 b0, u4 b1)
{
	u4 words[4] = { a0, a1, b0, b1 };
	int half = tid() % 32 / 16, col = tid() % 16;
	const float *all;
	float mine[32];

	give_halves(mine, words, 16);
	give_halves(mine + 16, words + 2, 16);
	all = emulated_gather_floats(mine, 32);
	emulated_check(memcmp(all + col * EMULATED_WORDS, all + (col + 16) *
	    EMULATED_WORDS, sizeof(mine)) == 0, "halves of a wave differ");
	for (int e = 0; e < 8; e++)
		acc[e] = sum_products(acc[e], all + (2 * e + half) * EMULATED_WORDS,
		    all + col * EMULATED_WORDS + 16, 16);
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

/* The same, V_WMMA_F32_16X16X16_F16. */
DEVICE void
wmma_f16(float *acc, u4 a, u4 b)
{
	int half = tid() % 32 / 16, col = tid() % 16;
	const float *all;
	float mine[16];

	give_halves(mine, &a, 8);
	give_halves(mine + 8, &b, 8);
	all = emulated_gather_floats(mine, 16);
	for (int e = 0; e < 8; e++)
		for (int k = 0; k < 32; k += 16)
			acc[e] = sum_products(acc[e], all + (e + 8 * half + k) *
			    EMULATED_WORDS, all + (col + k) * EMULATED_WORDS + 8, 8);
}

#endif

#endif
