#ifndef DECODE_KERNELS_WGMMA_H
#define DECODE_KERNELS_WGMMA_H

/*
 * Matrix instructions of a group of four waves, copies that say when they have come, and
 * the barriers they say it to: sm_90a alone has them.  Shared memory is named by its 32-bit
 * address there.  A barrier counts its rounds; who waits says the parity of the one meant.
 */
#if defined(__CUDACC__)

DEVICE uint32_t shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }
DEVICE void sync_wave() { __syncwarp(); }

/* A round of it ends with n arrivals, and when all bytes have come that were expected. */
DEVICE void
barrier_make(uint64_t *b, int n)
{
	asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::
	    "r"(shared_address(b)), "r"(n) : "memory");
}

/* By all threads, once all barriers are made. */
DEVICE void
barriers_made()
{
	asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
	asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
	sync();
}

/* Arrive, and expect so many bytes. */
DEVICE void
barrier_expect(uint64_t *b, int bytes)
{
	asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::
	    "r"(shared_address(b)), "r"(bytes) : "memory");
}

DEVICE void
barrier_arrive(uint64_t *b)
{
	asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::
	    "r"(shared_address(b)) : "memory");
}

DEVICE void
barrier_wait(uint64_t *b, int parity)
{
	asm volatile("{\n"
	    ".reg .pred done;\n"
	    "again:\n"
	    "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
	    "@done bra come;\n"
	    "bra again;\n"
	    "come:\n"
	    "}" :: "r"(shared_address(b)), "r"(parity) : "memory");
}

/* Bytes to shared memory, a multiple of 16; b is told. */
DEVICE void
copy_ahead(void *to, const void *from, int bytes, uint64_t *b)
{
	asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
	    "[%0], [%1], %2, [%3];" :: "r"(shared_address(to)),
	    "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(shared_address(b)) : "memory");
}

/* Before a group of instructions: registers that they take are written. */
DEVICE void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_end() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/* Until at most N groups are not done yet. */
template<int N> DEVICE void
wgmma_wait()
{
	asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory");
}

/*
 * acc = or (add) += 64 x 32 unsigned codes, of which each wave has 16 rows as mma_m16n8k32
 * takes them, times 32 columns of N rows of signed bytes at b: 128 bytes a row, of which
 * chunk c of row r stands at c ^ r % 8; the first of them at a multiple of 1024.
 */
#define ACC_4(i) "+r"(acc[i]), "+r"(acc[i + 1]), "+r"(acc[i + 2]), "+r"(acc[i + 3])
#define ACC_16(i) ACC_4(i), ACC_4(i + 4), ACC_4(i + 8), ACC_4(i + 12)
template<int N> DEVICE void
wgmma_64x32(int *acc, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b, int add)
{
	/* Address in 16 bytes; 1024 bytes from 8 rows to the next 8; turned in 128 bytes. */
	uint64_t at = (uint64_t)((b & 0x3ffff) >> 4) | (uint64_t)1 << 16 |
	    (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;

	if constexpr (N == 128)
		asm volatile("{\n"
		    ".reg .pred add;\n"
		    "setp.ne.b32 add, %69, 0;\n"
		    "wgmma.mma_async.sync.aligned.m64n128k32.s32.u8.s8 {"
		    "%0, %1, %2, %3, %4, %5, %6, %7, "
		    "%8, %9, %10, %11, %12, %13, %14, %15, "
		    "%16, %17, %18, %19, %20, %21, %22, %23, "
		    "%24, %25, %26, %27, %28, %29, %30, %31, "
		    "%32, %33, %34, %35, %36, %37, %38, %39, "
		    "%40, %41, %42, %43, %44, %45, %46, %47, "
		    "%48, %49, %50, %51, %52, %53, %54, %55, "
		    "%56, %57, %58, %59, %60, %61, %62, %63}, "
		    "{%64, %65, %66, %67}, %68, add;\n"
		    "}" : ACC_16(0), ACC_16(16), ACC_16(32), ACC_16(48) :
		    "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(at), "r"(add));
	else
		asm volatile("{\n"
		    ".reg .pred add;\n"
		    "setp.ne.b32 add, %85, 0;\n"
		    "wgmma.mma_async.sync.aligned.m64n160k32.s32.u8.s8 {"
		    "%0, %1, %2, %3, %4, %5, %6, %7, "
		    "%8, %9, %10, %11, %12, %13, %14, %15, "
		    "%16, %17, %18, %19, %20, %21, %22, %23, "
		    "%24, %25, %26, %27, %28, %29, %30, %31, "
		    "%32, %33, %34, %35, %36, %37, %38, %39, "
		    "%40, %41, %42, %43, %44, %45, %46, %47, "
		    "%48, %49, %50, %51, %52, %53, %54, %55, "
		    "%56, %57, %58, %59, %60, %61, %62, %63, "
		    "%64, %65, %66, %67, %68, %69, %70, %71, "
		    "%72, %73, %74, %75, %76, %77, %78, %79}, "
		    "{%80, %81, %82, %83}, %84, add;\n"
		    "}" : ACC_16(0), ACC_16(16), ACC_16(32), ACC_16(48), ACC_16(64) :
		    "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(at), "r"(add));
}
#undef ACC_16
#undef ACC_4

#else

/* The emulator: instructions and copies are done at once. */
DEVICE uint32_t
shared_address(const void *p)
{
	return (uint32_t)((const uint8_t *)p - emulated_shared());
}

DEVICE void sync_wave() { }

/* Arrivals of a round in the lowest bits, those that it takes above, then rounds. */
DEVICE void barrier_make(uint64_t *b, int n) { *b = (uint64_t)n << 16; }
DEVICE void barriers_made() { sync(); }

DEVICE void
barrier_arrive(uint64_t *b)
{
	++*b;
	if ((*b & 0xffff) == (*b >> 16 & 0xffff))
		*b = (*b & ~(uint64_t)0xffff) + ((uint64_t)1 << 32);
}

DEVICE void barrier_expect(uint64_t *b, int) { barrier_arrive(b); }

DEVICE void
barrier_wait(uint64_t *b, int parity)
{
	while ((int)(*(volatile uint64_t *)b >> 32 & 1) == parity)
		spin(0);
}
DEVICE void wgmma_begin() { }
DEVICE void wgmma_end() { }
template<int N> DEVICE void wgmma_wait() { }

DEVICE void
copy_ahead(void *to, const void *from, int bytes, uint64_t *)
{
	emulated_check((((uintptr_t)to | (uintptr_t)from | (uintptr_t)bytes) & 15) == 0,
	    "a copy of what is not aligned");
	memcpy(to, from, (size_t)bytes);
}

/* PTX ISA, asynchronous warpgroup instructions: fragments, and matrices in shared memory. */
template<int N> DEVICE void
wgmma_64x32(int *acc, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b, int add)
{
	uint32_t mine[4] = { a0, a1, a2, a3 };
	const uint32_t *all = emulated_gather(mine, 4);
	const int8_t *shared = (const int8_t *)emulated_shared();
	int a[2][32];

	for (int k = 0; k < 64; k++)
		a[k / 32][k % 32] = given(all, tid() % 32 / 4 * 4 + k % 16 / 4,
		    k / 32 + k % 32 / 16 * 2, k % 4);
	for (int i = 0; i < N / 2; i++) {
		acc[i] = add != 0 ? acc[i] : 0;
		for (uint32_t c = 0; c < 32; c += 16) {
			uint32_t at = b + (uint32_t)(i / 4 * 8 + tid() % 4 * 2 + i % 2) * 128 + c;

			at ^= (at >> 7 & 7) << 4;
			for (uint32_t k = 0; k < 16; k++)
				acc[i] += a[i % 4 / 2][c + k] * shared[at + k];
		}
	}
}

#endif

#endif
