#ifndef DECODE_KERNELS_TARGET_AMD_H
#define DECODE_KERNELS_TARGET_AMD_H

/*
 * gfx11 and gfx12 by clang alone, without ROCm's headers and device library:
 * what they would offer stands here as the compiler's own builtins.
 */
#define KERNEL(threads, name, type)                                          \
	DEVICE void name##_body(const type &p);                              \
	extern "C" __attribute__((global, amdgpu_flat_work_group_size(1, threads))) \
	void name(const type p) { mark(p.mark); name##_body(p); }            \
	DEVICE void name##_body(const type &p)
/* The compiler finds for itself how many blocks are to run at once. */
#define KERNEL_BLOCKS(threads, blocks, name, type) KERNEL(threads, name, type)
#define DEVICE static inline __attribute__((device, always_inline))
#define DEVICE_MEMBER inline __attribute__((device, always_inline))
#define SHARED __attribute__((shared))
#define DYNAMIC_SHARED(name) extern __attribute__((shared, aligned(16))) uint8_t name[]

DEVICE int tid() { return (int)__builtin_amdgcn_workitem_id_x(); }
/* The wave's number, known to be the same in all of its lanes. */
DEVICE int wave() { return __builtin_amdgcn_readfirstlane(tid() / 32); }
DEVICE int bx() { return (int)__builtin_amdgcn_workgroup_id_x(); }
DEVICE int by() { return (int)__builtin_amdgcn_workgroup_id_y(); }
DEVICE int bz() { return (int)__builtin_amdgcn_workgroup_id_z(); }
/* The same number, of which the compiler knows nothing: what is made of it stays in a loop. */
DEVICE int opaque(int v) { asm volatile("" : "+v"(v)); return v; }

DEVICE void
sync()
{
	__builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
	__builtin_amdgcn_s_barrier();
	__builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}

DEVICE int
xor_i(int v, int m)
{
	int lane = (int)__builtin_amdgcn_mbcnt_lo(~0u, 0);

	return __builtin_amdgcn_ds_bpermute((lane ^ m) << 2, v);
}

DEVICE float bits_float(uint32_t b) { return __builtin_bit_cast(float, b); }
DEVICE uint32_t float_bits(float f) { return __builtin_bit_cast(uint32_t, f); }
DEVICE float xor_f(float v, int m) { return bits_float((uint32_t)xor_i((int)float_bits(v), m)); }

/* Unsigned by signed bytes. */
DEVICE int
dot4(uint32_t u, uint32_t s, int c)
{
	return __builtin_amdgcn_sudot4(false, (int)u, true, (int)s, c, false);
}

DEVICE int
dot4s(uint32_t a, uint32_t b, int c)
{
	return __builtin_amdgcn_sudot4(true, (int)a, true, (int)b, c, false);
}

DEVICE float fma_(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DEVICE float div_(float a, float b) { return a / b; }
DEVICE float sqrt_(float a) { return __builtin_sqrtf(a); }
DEVICE float rsqrt_(float a) { return __builtin_amdgcn_rsqf(a); }
DEVICE float rint_(float a) { return __builtin_rintf(a); }
DEVICE float abs_(float a) { return __builtin_fabsf(a); }
DEVICE float max_(float a, float b) { return __builtin_fmaxf(a, b); }
DEVICE float min_(float a, float b) { return __builtin_fminf(a, b); }
DEVICE float exp2_(float a) { return __builtin_amdgcn_exp2f(a); }
DEVICE float half_float(uint16_t h) { return (float)__builtin_bit_cast(_Float16, h); }
DEVICE uint16_t float_half(float f) { return __builtin_bit_cast(uint16_t, (_Float16)f); }

/* What stands before is not mixed with what comes after: it would take more registers than
 * there are. */
DEVICE void keep_order() { __builtin_amdgcn_sched_barrier(0); }

DEVICE uint32_t
pack_half(float a, float b)
{
	return float_half(a) | (uint32_t)float_half(b) << 16;
}

/* Past the caches: weights are read once a step. */
typedef uint32_t u4_vector __attribute__((ext_vector_type(4)));
DEVICE u4
load_once(const void *p)
{
	return __builtin_bit_cast(u4, __builtin_nontemporal_load((const u4_vector *)p));
}

/* One more of a set of blocks is done; what they wrote is seen by who sees it. */
DEVICE uint32_t
count_up(uint32_t *p)
{
	return __hip_atomic_fetch_add(p, 1u, __ATOMIC_ACQ_REL, __HIP_MEMORY_SCOPE_AGENT);
}

/* Returns what was there. */
DEVICE int
add_shared(int *p, int v)
{
	return __hip_atomic_fetch_add(p, v, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_WORKGROUP);
}

/* Packets: eight bytes that are seen by all blocks at once, value and flag. */
DEVICE void
packet_put(uint64_t *to, uint32_t value, uint32_t flag)
{
	__hip_atomic_store(to, (uint64_t)flag << 32 | value, __ATOMIC_RELAXED,
	    __HIP_MEMORY_SCOPE_AGENT);
}

/* Two of them: value, flag, value, flag.  Each is whole. */
DEVICE u4
packets_get(const uint64_t *from)
{
	uint64_t a = __hip_atomic_load(from, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
	uint64_t b = __hip_atomic_load(from + 1, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);

	return { (uint32_t)a, (uint32_t)(a >> 32), (uint32_t)b, (uint32_t)(b >> 32) };
}

/* Nothing new has come.  What never comes ends in a fault, not in a wait. */
DEVICE void
spin(int tries)
{
	if (tries > SPINS_MAX)
		__builtin_trap();
	__builtin_amdgcn_s_sleep(1);
}

DEVICE int
grid_size()
{
	return (int)__builtin_amdgcn_grid_size_x() / (int)__builtin_amdgcn_workgroup_size_x();
}

/* There is no instruction for it. */
DEVICE void fetch_ahead(const void *, uint32_t) { }

/* A kernel begins when all of the last one is done: there is nothing to wait for. */
DEVICE void wait_for_last() { }

typedef float f8_vector __attribute__((ext_vector_type(8), aligned(4)));

#if defined(__GFX11__)

#define TARGET_GFX11
typedef _Float16 h16_vector __attribute__((ext_vector_type(16)));
typedef int i4_vector __attribute__((ext_vector_type(4)));
typedef int i8_vector __attribute__((ext_vector_type(8), aligned(4)));

/* acc += 16 x 16 unsigned codes times 16 x 16 signed bytes. */
DEVICE void
wmma_iu8(int *acc, u4 a, u4 b)
{
	i8_vector c = *(i8_vector *)acc;

	*(i8_vector *)acc = __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32(false,
	    __builtin_bit_cast(i4_vector, a), true, __builtin_bit_cast(i4_vector, b), c, false);
}

struct two_u4 { u4 a, b; };

/* That of the lane 16 further. */
DEVICE uint32_t
other_half(uint32_t v)
{
	return __builtin_amdgcn_permlanex16(v, v, 0x76543210, 0xfedcba98, false, false);
}

/* Byte i of the result is byte sel[i] of b, or of a if that is 4 or more. */
DEVICE uint32_t
pick_bytes(uint32_t a, uint32_t b, uint32_t sel)
{
	return __builtin_amdgcn_perm(a, b, sel);
}

/* acc += 16 x 16 halves times 16 x 16 halves. */
DEVICE void
wmma_f16(float *acc, u4 a0, u4 a1, u4 b0, u4 b1)
{
	two_u4 a = { a0, a1 }, b = { b0, b1 };
	f8_vector c = *(f8_vector *)acc;

	*(f8_vector *)acc = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(
	    __builtin_bit_cast(h16_vector, a), __builtin_bit_cast(h16_vector, b), c);
}

#else

#define TARGET_GFX12
typedef _Float16 h8_vector __attribute__((ext_vector_type(8)));
typedef int i2_vector __attribute__((ext_vector_type(2)));
typedef int i8_vector __attribute__((ext_vector_type(8), aligned(4)));

DEVICE void
wmma_iu8(int *acc, uint32_t a0, uint32_t a1, uint32_t b0, uint32_t b1)
{
	i2_vector a = { (int)a0, (int)a1 }, b = { (int)b0, (int)b1 };
	i8_vector c = *(i8_vector *)acc;

	*(i8_vector *)acc = __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32_gfx12(false, a, true, b,
	    c, false);
}

/* acc += 16 x 16 halves times 16 x 16 halves. */
DEVICE void
wmma_f16(float *acc, u4 a, u4 b)
{
	f8_vector c = *(f8_vector *)acc;

	*(f8_vector *)acc = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12(
	    __builtin_bit_cast(h8_vector, a), __builtin_bit_cast(h8_vector, b), c);
}

#endif

#endif
