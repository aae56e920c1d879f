/*
 * What other kernels are measured against: how fast memory is read and copied, what a
 * launch costs, and attention with one block for each head.
 */
#include "gpu_measure.h"

enum { MEASURE_AHEAD = 8 };	/* loads of 16 bytes that a thread has asked for */

/* Read once, and written nowhere: what comes out decides about a write that never is. */
KERNEL(GPU_THREADS, gpu_measure_read, gpu_measure)
{
	const uint64_t step = (uint64_t)p.n_blocks * MEASURE_AHEAD * GPU_THREADS;
	u4 sum = { 0, 0, 0, 0 };

	wait_for_last();
	ROLLED for (uint64_t i = (uint64_t)bx() * MEASURE_AHEAD * GPU_THREADS + tid(); i < p.n;
	    i += step) {
		u4 v[MEASURE_AHEAD];

		UNROLLED for (int a = 0; a < MEASURE_AHEAD; a++)
			v[a] = load_once(p.from + 16 * (i + (uint64_t)a * GPU_THREADS));
		UNROLLED for (int a = 0; a < MEASURE_AHEAD; a++)
			sum.x ^= v[a].x, sum.y ^= v[a].y, sum.z ^= v[a].z, sum.w ^= v[a].w;
	}
	if ((sum.x & sum.y & sum.z & sum.w) == 0xffffffffu)
		*(u4 *)p.to = sum;
}

KERNEL(GPU_THREADS, gpu_measure_copy, gpu_measure)
{
	const uint64_t step = (uint64_t)p.n_blocks * MEASURE_AHEAD * GPU_THREADS;

	wait_for_last();
	ROLLED for (uint64_t i = (uint64_t)bx() * MEASURE_AHEAD * GPU_THREADS + tid(); i < p.n;
	    i += step) {
		u4 v[MEASURE_AHEAD];

		UNROLLED for (int a = 0; a < MEASURE_AHEAD; a++)
			v[a] = load_once(p.from + 16 * (i + (uint64_t)a * GPU_THREADS));
		UNROLLED for (int a = 0; a < MEASURE_AHEAD; a++)
			*(u4 *)(p.to + 16 * (i + (uint64_t)a * GPU_THREADS)) = v[a];
	}
}

/* Bits of no pattern; those outside of keep are those of set. */
DEVICE uint32_t
noise(uint32_t at, const gpu_measure &p)
{
	at = (at ^ at >> 16) * 0x7feb352du;
	at = (at ^ at >> 15) * 0x846ca68bu;
	return ((at ^ at >> 16) & p.keep) | p.set;
}

KERNEL(GPU_THREADS, gpu_measure_fill, gpu_measure)
{
	const uint64_t step = (uint64_t)p.n_blocks * GPU_THREADS;

	wait_for_last();
	ROLLED for (uint64_t i = (uint64_t)bx() * GPU_THREADS + tid(); i < p.n; i += step) {
		uint32_t at = (uint32_t)i * 4;
		u4 v = { noise(at, p), noise(at + 1, p), noise(at + 2, p), noise(at + 3, p) };

		*(u4 *)(p.to + 16 * i) = v;
	}
}

/* A launch that does nothing but wait for the one before. */
KERNEL(GPU_THREADS, gpu_measure_empty, gpu_measure)
{
	if (p.n != 0)
		wait_for_last();
}

/* Eight dimensions of a key with those of a query, both as f16. */
DEVICE float
measure_dot(u4 k, u4 q)
{
	uint32_t a[4] = { k.x, k.y, k.z, k.w }, b[4] = { q.x, q.y, q.z, q.w };
	float sum = 0;

	UNROLLED for (int i = 0; i < 4; i++) {
		sum = fma_(half_float((uint16_t)(a[i] & 0xffff)),
		    half_float((uint16_t)(b[i] & 0xffff)), sum);
		sum = fma_(half_float((uint16_t)(a[i] >> 16)),
		    half_float((uint16_t)(b[i] >> 16)), sum);
	}
	return sum;
}

/* The sum or the maximum of what all threads have. */
template<bool MAX> DEVICE float
measure_all(float v, float *room, int n_threads)
{
	v = MAX ? top_f(v, 32) : sum_f(v, 32);
	sync();
	if (tid() % 32 == 0)
		room[tid() / 32] = v;
	sync();
	v = room[0];
	ROLLED for (int i = 1; i < n_threads / 32; i++)
		v = MAX ? max_(v, room[i]) : v + room[i];
	return v;
}

/*
 * What attention was before positions were split among blocks: a block for each query
 * head goes through all of them, scores in shared memory.  Keys and values lie one after
 * another, [n_kv_heads, n, 128] each, and 16 lanes read one with 16 bytes each.
 */
KERNEL(GPU_THREADS, gpu_measure_attend, gpu_measure_attention)
{
	enum { DIM = 128, LANES = DIM / 8 };
	DYNAMIC_SHARED(smem);
	SHARED float room[GPU_WAVES];
	float *score = (float *)smem, *out = score + (p.n + 3) / 4 * 4;
	int kv = bx() / (p.n_heads / p.n_kv_heads), lane = tid() % LANES;
	int n_parts = p.n_threads / LANES, part = tid() / LANES;
	const uint16_t *keys = p.keys + (size_t)kv * p.n * DIM + 8 * lane;
	const uint16_t *values = p.values + (size_t)kv * p.n * DIM + 8 * lane;
	float top = -3e38f, sum = 0, o[8] = { 0, 0, 0, 0, 0, 0, 0, 0 };

	wait_for_last();
	u4 q = load_u4(p.q + bx() * DIM + 8 * lane);
	for (int first = 0; first < p.n; first += n_parts) {
		int i = min_i(first + part, p.n - 1);
		float s = sum_f(measure_dot(load_u4(keys + (size_t)i * DIM), q), LANES) *
		    p.factor;

		if (lane == 0)
			score[i] = s;
		top = max_(top, s);
	}
	top = measure_all<true>(top, room, p.n_threads);
	for (int i = tid(); i < p.n; i += p.n_threads) {
		score[i] = exp2_(score[i] - top);
		sum += score[i];
	}
	sum = measure_all<false>(sum, room, p.n_threads);
	for (int i = part; i < p.n; i += n_parts) {
		u4 v = load_u4(values + (size_t)i * DIM);
		uint32_t two[4] = { v.x, v.y, v.z, v.w };

		UNROLLED for (int d = 0; d < 8; d++)
			o[d] = fma_(score[i], half_float((uint16_t)(two[d / 2] >>
			    d % 2 * 16 & 0xffff)), o[d]);
	}
	for (int d = 0; d < 8; d++)
		out[part * DIM + 8 * lane + d] = o[d];
	sync();
	if (tid() < DIM) {
		float all = 0;

		for (int i = 0; i < n_parts; i++)
			all += out[i * DIM + tid()];
		p.out[bx() * DIM + tid()] = div_(all, sum);
	}
}
