#ifndef DECODE_KERNELS_GPU_H
#define DECODE_KERNELS_GPU_H

/*
 * One source for three compilers: clang for gfx11 and gfx12; nvcc for sm_90, on
 * which the kernels are validated; and any C++ compiler, for the emulator that
 * the tests run them on (tests/gpu).  A wave has 32 lanes on all.  Contraction is
 * off on all, so a sum is the same wherever a function is inlined: where a fused
 * multiply-add is meant, fma_ is written.
 */
#include "gpu_params.h"

struct alignas(16) u4 { uint32_t x, y, z, w; };
struct alignas(16) f4 { float x, y, z, w; };

enum { SPINS_MAX = 1 << 24 };	/* seconds: more than any pass takes */

#if defined(__CUDACC__)
#include "target_cuda.h"
#elif defined(__AMDGCN__)
#include "target_amd.h"
#elif defined(__HIP__)
/* clang looks at device code once for the host, too, and emits nothing. */
#else
#include "target_emulator.h"
#endif

/* The host sees how far a step got. */
DEVICE void
mark(const gpu_mark &m)
{
	if (m.at != nullptr && tid() == 0 && bx() == 0 && by() == 0 && bz() == 0)
		*(volatile uint32_t *)m.at = m.id;
}

/*
 * Every launch finds the caches for instructions cold, and what is fetched once costs
 * more than what is computed: code is kept short.  This stands before a loop that is not
 * to be unrolled, and UNROLLED before one whose arrays have to be registers.
 */
#if defined(__CUDACC__) || defined(__clang__)
#define ROLLED _Pragma("unroll 1")
#define UNROLLED _Pragma("unroll")
#define UNROLLED_4 _Pragma("unroll 4")
#else
#define ROLLED
#define UNROLLED
#define UNROLLED_4
#endif

/* Butterflies over n lanes, a power of two: every lane has the result, and the
 * order is fixed. */
DEVICE float
sum_f(float v, int n)
{
	ROLLED for (int m = n / 2; m > 0; m /= 2)
		v += xor_f(v, m);
	return v;
}

DEVICE float
top_f(float v, int n)
{
	ROLLED for (int m = n / 2; m > 0; m /= 2)
		v = max_(v, xor_f(v, m));
	return v;
}

DEVICE int
sum_i(int v, int n)
{
	ROLLED for (int m = n / 2; m > 0; m /= 2)
		v += xor_i(v, m);
	return v;
}

DEVICE u4 load_u4(const void *p) { return *(const u4 *)p; }
DEVICE int min_i(int a, int b) { return a < b ? a : b; }

/* Half to even, in -128..127. */
DEVICE int
to_i8(float v)
{
	return (int)max_(-128.0f, min_(127.0f, rint_(v)));
}

DEVICE uint32_t
pack4(int a, int b, int c, int d)
{
	return ((uint32_t)a & 255) | ((uint32_t)b & 255) << 8 |
	    ((uint32_t)c & 255) << 16 | (uint32_t)d << 24;
}

#endif
