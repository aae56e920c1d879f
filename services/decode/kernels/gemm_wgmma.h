#ifndef DECODE_KERNELS_GEMM_WGMMA_H
#define DECODE_KERNELS_GEMM_WGMMA_H

/*
 * Ternary matrix times many rows by what sm_90 has for it: four waves together give 64
 * outputs of N rows to the matrix unit, which takes codes from registers and activations
 * from shared memory and works while the waves unpack the next codes.
 *
 * Activations come in stages of 128 columns, copied ahead by one thread.  gpu_quantise has
 * put them where the unit wants them, see wgmma_place.  A stage is full when its bytes have
 * come, and free when all waves have read it; between these two waves wait for nobody.
 */
#include "wgmma.h"

/* What is in shared memory for tiles of N rows. */
template<int N> struct wgmma_stages {
	enum { SIZE = 128 * N, COUNT = (GPU_WGMMA_SMEM - 1024) / SIZE };
	enum { STRIDE = GPU_WGMMA_OUT + 4 };	/* of the sums of a row, at the end */
	static_assert(STRIDE * N * 4 <= COUNT * SIZE);

	uint8_t *at;
	uint64_t *full, *free;	/* [COUNT] */
};

/* Units of block, of rows base.. of the matrix: as mma.sync has them. */
DEVICE void
wgmma_ask(const gpu_product &p, int base, int block, u4 *w)
{
	for (int j = 0; j < 2; j++) {
		size_t row = (size_t)(base + tid() % 32 / 4 + 8 * j);

		w[j] = load_u4(p.w.codes + 16 * (row * p.w.units + 4 * block + tid() % 4));
	}
}

/* By one thread: activations into stage t, at slot t % COUNT. */
template<int N> DEVICE void
wgmma_fetch(const gpu_product &p, int t, int slot, const wgmma_stages<N> &s)
{
	barrier_expect(&s.full[slot], s.SIZE);
	copy_ahead(s.at + slot * s.SIZE, p.q + 128 * ((size_t)t * p.q_rows + bx() * N), s.SIZE,
	    &s.full[slot]);
}

/* Where a wave is: stages have slots in turn, round after round. */
struct wgmma_turn {
	int slot, parity;	/* of the round */
};

/* When all waves have read the stage two before stage t, what comes next takes its slot. */
template<int N> DEVICE void
wgmma_refill(const gpu_product &p, int t, wgmma_turn at, const wgmma_stages<N> &s)
{
	int slot = at.slot < 2 ? at.slot - 2 + s.COUNT : at.slot - 2;

	if (tid() == 0 && t >= 2 && t - 2 + s.COUNT < p.w.units / 2) {
		barrier_wait(&s.free[slot], at.slot < 2 ? at.parity ^ 1 : at.parity);
		wgmma_fetch<N>(p, t - 2 + s.COUNT, slot, s);
	}
	sync_wave();
}

/*
 * 64 columns of each of the masks; two masks to a stage.  At most one group of instructions
 * is on its way when the registers of the one before are written, so in the second half
 * of a stage the one before has been read.
 */
template<int N> DEVICE void
wgmma_block(const gpu_product &p, int block, const u4 *w, const wgmma_stages<N> &s,
    wgmma_turn *turn, int *acc)
{
	u4 a[2][2];

	UNROLLED for (int i = 0; i < 4; i++) {
		u4 *c = a[i % 2];
		uint32_t at = shared_address(s.at) + (uint32_t)(turn->slot * s.SIZE + i % 2 * 64);

		if (i % 2 == 0)
			barrier_wait(&s.full[turn->slot], turn->parity);
		wgmma_wait<1>();
		if (i % 2 == 0)
			wgmma_refill<N>(p, 2 * block + i / 2, *turn, s);
		else if (block + i > 1 && tid() % 32 == 0)
			barrier_arrive(&s.free[(turn->slot > 0 ? turn->slot : s.COUNT) - 1]);
		c[0] = codes_of(w[0], i);
		c[1] = codes_of(w[1], i);
		wgmma_begin();
		wgmma_64x32<N>(acc, c[0].x, c[1].x, c[0].y, c[1].y, at, block + i);
		wgmma_64x32<N>(acc, c[0].z, c[1].z, c[0].w, c[1].w, at + 32, 1);
		wgmma_end();
		if (i % 2 == 1 && ++turn->slot == s.COUNT) {
			turn->slot = 0;
			turn->parity ^= 1;
		}
	}
}

/* Sums by way of shared memory, so that a wave writes whole rows. */
template<int N, int STRIDE> DEVICE void
wgmma_give(const int *acc, int *sums)
{
	int *to = sums + tid() % 4 * 2 * STRIDE + tid() / 32 * 16 + tid() % 32 / 4;

	UNROLLED for (int i = 0; i < N / 2; i++)
		to[(i / 4 * 8 + i % 2) * STRIDE + i % 4 / 2 * 8] = acc[i];
	sync();
}

DEVICE f4
wgmma_values(const int *sums, int sum, f4 w, float scale)
{
	const u4 v = load_u4(sums);
	f4 y = { (float)((int)v.x - sum) * (w.x * scale), (float)((int)v.y - sum) * (w.y * scale),
		(float)((int)v.z - sum) * (w.z * scale), (float)((int)v.w - sum) * (w.w * scale) };

	return y;
}

DEVICE f4
wgmma_gate(f4 g, f4 u, bool silu)
{
	f4 y = { gate(g.x, u.x, silu), gate(g.y, u.y, silu), gate(g.z, u.z, silu),
		gate(g.w, u.w, silu) };

	return y;
}

/* To 4 outputs, of which n are meant. */
template<product_mode MODE> DEVICE void
wgmma_store(float *to, f4 y, int n)
{
	if (n >= 4) {
		f4 x = { 0, 0, 0, 0 };

		if (MODE == PRODUCT_ADD)
			x = *(f4 *)to;
		if (MODE == PRODUCT_ADD)
			y.x = x.x + y.x, y.y = x.y + y.y, y.z = x.z + y.z, y.w = x.w + y.w;
		*(f4 *)to = y;
		return;
	}
	to[0] = MODE == PRODUCT_ADD ? to[0] + y.x : y.x;
	if (n > 1)
		to[1] = MODE == PRODUCT_ADD ? to[1] + y.y : y.y;
	if (n > 2)
		to[2] = MODE == PRODUCT_ADD ? to[2] + y.z : y.z;
}

template<product_mode MODE, int N> DEVICE void
wgmma_put(const gpu_product &p, const int *sums)
{
	enum { LANES = (MODE == PRODUCT_GATE ? GPU_WGMMA_OUT / 2 : GPU_WGMMA_OUT) / 4 };
	enum { STEP = GPU_WGMMA_THREADS / LANES };
	int at = tid() % LANES * 4, out = by() * LANES * 4 + at, first = bx() * N;
	int col = MODE == PRODUCT_GATE ? at / 16 * 32 + at % 16 : at;
	int n_rows = min_i(N, p.n_rows - first);
	const float *scales = p.w.scales + by() * GPU_WGMMA_OUT + col;
	f4 w, up = { 0, 0, 0, 0 };

	if (out >= p.w.n_out)
		return;
	w = *(const f4 *)scales;
	if (MODE == PRODUCT_GATE)
		up = *(const f4 *)(scales + GPU_GATE_ROWS);
	UNROLLED_4 for (int r = tid() / LANES; r < n_rows; r += STEP) {
		const int *from = sums + r * wgmma_stages<N>::STRIDE + col;
		float scale = p.q_scale[first + r];
		int sum = p.q_sum[first + r];
		f4 y = wgmma_values(from, sum, w, scale);

		if (MODE == PRODUCT_GATE)
			y = wgmma_gate(y, wgmma_values(from + GPU_GATE_ROWS, sum, up, scale),
			    p.silu != 0);
		wgmma_store<MODE>(p.y + (size_t)(first + r) * p.y_stride + out, y,
		    p.w.n_out - out);
	}
}

template<product_mode MODE, int N> DEVICE void
wgmma(const gpu_product &p)
{
	DYNAMIC_SHARED(smem);
	SHARED uint64_t barriers[2][wgmma_stages<N>::COUNT];
	const wgmma_stages<N> s = { smem + (-shared_address(smem) & 1023), barriers[0],
		barriers[1] };
	int n = MODE == PRODUCT_GATE ? 2 * p.w.n_out : p.w.n_out;
	int base = by() * GPU_WGMMA_OUT + tid() / 32 * 16;
	int acc[N / 2];
	wgmma_turn turn = { 0, 0 };
	u4 w[2], next[2];

	if (base / 32 * 32 >= n)	/* its sums are thrown away */
		base = 0;
	if (tid() < s.COUNT) {
		barrier_make(&s.full[tid()], 1);
		barrier_make(&s.free[tid()], GPU_WGMMA_OUT / 16);
	}
	barriers_made();
	wgmma_ask(p, base, 0, next);
	wait_for_last();
	if (tid() == 0)
		for (int t = 0; t < s.COUNT && t < p.w.units / 2; t++)
			wgmma_fetch<N>(p, t, t, s);
	sync_wave();
	ROLLED for (int block = 0; block < p.w.units / 4; block++) {
		w[0] = next[0];
		w[1] = next[1];
		if (block + 1 < p.w.units / 4)
			wgmma_ask(p, base, block + 1, next);
		wgmma_block<N>(p, block, w, s, &turn, acc);
	}
	wgmma_wait<0>();
	sync();
	wgmma_give<N, s.STRIDE>(acc, (int *)s.at);
	wgmma_put<MODE, N>(p, (const int *)s.at);
}

/* Two blocks to a multiprocessor: one multiplies while the other begins or ends. */
#define WGMMA(name, MODE, rows)                                              \
	KERNEL_BLOCKS(GPU_WGMMA_THREADS, 2, name, gpu_product) { wgmma<MODE, rows>(p); }
WGMMA(gpu_wgmma_set, PRODUCT_SET, GPU_WGMMA_ROWS)
WGMMA(gpu_wgmma_add, PRODUCT_ADD, GPU_WGMMA_ROWS)
WGMMA(gpu_wgmma_gate, PRODUCT_GATE, GPU_WGMMA_ROWS)
WGMMA(gpu_wgmma160_add, PRODUCT_ADD, GPU_WGMMA_ROWS_MORE)
#undef WGMMA

#endif
