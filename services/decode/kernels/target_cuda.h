#ifndef DECODE_KERNELS_TARGET_CUDA_H
#define DECODE_KERNELS_TARGET_CUDA_H

/* sm_90 by nvcc: the device on which the kernels are validated. */
#include <cuda_fp16.h>

#define KERNEL(threads, name, type) KERNEL_BLOCKS(threads, 1, name, type)
/* One of which a processor is to have so many blocks at once. */
#define KERNEL_BLOCKS(threads, blocks, name, type)                           \
	DEVICE void name##_body(const type &p);                              \
	extern "C" __global__ void __launch_bounds__(threads, blocks)        \
	name(const __grid_constant__ type p)                                 \
	{                                                                    \
		let_next_begin();                                            \
		mark(p.mark);                                                \
		name##_body(p);                                              \
	}                                                                    \
	DEVICE void name##_body(const type &p)
#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
#define SHARED __shared__
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) uint8_t name[]

DEVICE int tid() { return (int)threadIdx.x; }
DEVICE int wave() { return tid() / 32; }
DEVICE int bx() { return (int)blockIdx.x; }
DEVICE int by() { return (int)blockIdx.y; }
DEVICE int bz() { return (int)blockIdx.z; }
DEVICE void sync() { __syncthreads(); }
/* The same number, of which the compiler knows nothing: what is made of it stays in a loop. */
DEVICE int opaque(int v) { asm volatile("" : "+r"(v)); return v; }
DEVICE float xor_f(float v, int m) { return __shfl_xor_sync(~0u, v, m); }
DEVICE int xor_i(int v, int m) { return __shfl_xor_sync(~0u, v, m); }

/* Unsigned by signed bytes. */
DEVICE int
dot4(uint32_t u, uint32_t s, int c)
{
	asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(c) : "r"(u), "r"(s));
	return c;
}

DEVICE int dot4s(uint32_t a, uint32_t b, int c) { return __dp4a((int)a, (int)b, c); }
DEVICE float fma_(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE float div_(float a, float b) { return __fdiv_rn(a, b); }
DEVICE float sqrt_(float a) { return __fsqrt_rn(a); }
DEVICE float
rsqrt_(float a)
{
	float r;

	asm("rsqrt.approx.f32 %0, %1;" : "=f"(r) : "f"(a));
	return r;
}

DEVICE float rint_(float a) { return rintf(a); }
DEVICE float abs_(float a) { return fabsf(a); }
DEVICE float max_(float a, float b) { return fmaxf(a, b); }
DEVICE float min_(float a, float b) { return fminf(a, b); }

DEVICE float
exp2_(float a)
{
	float r;

	asm("ex2.approx.f32 %0, %1;" : "=f"(r) : "f"(a));
	return r;
}

DEVICE float half_float(uint16_t h) { return __half2float(__ushort_as_half(h)); }
DEVICE uint16_t float_half(float f) { return __half_as_ushort(__float2half_rn(f)); }
/* What target_amd.h needs: here the compiler counts registers itself. */
DEVICE void keep_order() { }

DEVICE uint32_t
pack_half(float a, float b)
{
	uint32_t v;

	asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(b), "f"(a));
	return v;
}

DEVICE float bits_float(uint32_t b) { return __uint_as_float(b); }
DEVICE uint32_t float_bits(float f) { return __float_as_uint(f); }

/* Past the first cache: weights are read once a step. */
DEVICE u4
load_once(const void *p)
{
	u4 v;

	asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
	    : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
	return v;
}

/* One more of a set of blocks is done; what they wrote is seen by who sees it. */
DEVICE uint32_t
count_up(uint32_t *p)
{
	uint32_t n;

	__threadfence();
	n = atomicAdd(p, 1u);
	__threadfence();
	return n;
}

/* Returns what was there. */
DEVICE int add_shared(int *p, int v) { return atomicAdd(p, v); }

/* Packets: eight bytes that are seen by all blocks at once, value and flag. */
DEVICE void
packet_put(uint64_t *to, uint32_t value, uint32_t flag)
{
	asm volatile("st.relaxed.gpu.global.u64 [%0], %1;"
	    :: "l"(to), "l"((uint64_t)flag << 32 | value) : "memory");
}

/* Two of them: value, flag, value, flag.  Each is whole. */
DEVICE u4
packets_get(const uint64_t *from)
{
	uint64_t a, b;

	asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];"
	    : "=l"(a), "=l"(b) : "l"(from) : "memory");
	return { (uint32_t)a, (uint32_t)(a >> 32), (uint32_t)b, (uint32_t)(b >> 32) };
}

/* Nothing new has come.  What never comes ends in a fault, not in a wait. */
DEVICE void
spin(int tries)
{
	if (tries > SPINS_MAX)
		asm volatile("trap;");
}

DEVICE int grid_size() { return (int)gridDim.x; }

/* Sixteen bytes from memory to shared memory, while the thread goes on; all that it has
 * asked for are there after copies_wait. */
#define HAS_COPIES
DEVICE void
copy_ahead(u4 *to, const void *from)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
	    :: "r"((uint32_t)__cvta_generic_to_shared(to)), "l"(from) : "memory");
}

DEVICE void copies_wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/* What will be read soon is brought near; n: a multiple of 16. */
DEVICE void
fetch_ahead(const void *p, uint32_t n)
{
	asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" :: "l"(p), "r"(n));
}

/*
 * Programmatic launches: the next kernel may begin while this one runs, as far as it
 * needs nothing of it; wait_for_last is where it does.
 */
DEVICE void let_next_begin() { asm volatile("griddepcontrol.launch_dependents;"); }
DEVICE void wait_for_last() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

#define TARGET_SM90

/* acc += 16 x 32 unsigned codes times 32 x 8 signed bytes. */
DEVICE void
mma_m16n8k32(int *acc, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
    uint32_t b1)
{
	asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, "
	    "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
	    : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3])
	    : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/* acc += 16 x 16 halves times 16 x 8 halves. */
DEVICE void
mma_m16n8k16(float *acc, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
    uint32_t b1)
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
	    "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
	    : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
	    : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

#endif
