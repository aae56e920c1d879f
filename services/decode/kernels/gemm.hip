/*
 * Ternary matrix times many rows.  A wave makes 32 outputs of 64 rows, a block four
 * times the outputs: codes go from memory to the matrix instructions as they are, each
 * wave its own, and activations through shared memory, a block of 256 columns at a
 * time; while one is multiplied the next is on its way.  The sums are of integers, so
 * a row has the same result here as from a GEMV.
 */
#include "mma.h"

enum {
	GEMM_TILES = 2,				/* of 16 outputs, of a wave */
	GEMM_COLS = GPU_GEMM_ROWS / MMA_COLS,
	GEMM_COPY = GPU_GEMM_ROWS * 16 / GPU_GEMM_THREADS,	/* chunks a thread moves */
};

/* What is on its way: codes of a wave, activations of a block. */
struct gemm_ahead {
	u4 w[GEMM_TILES][MMA_A];
	u4 x[GEMM_COPY];
};

DEVICE void
gemm_ask(const gpu_product &p, int base, int first, int block, gemm_ahead *a)
{
	const u4 zero = { 0, 0, 0, 0 };

	for (int m = 0; m < GEMM_TILES; m++)
		for (int j = 0; j < MMA_A; j++) {
			size_t row = (size_t)(base + 16 * m + mma_a_row(j));

			a->w[m][j] = load_u4(p.w.codes + 16 * (row * p.w.units +
			    4 * block + mma_a_unit(j)));
		}
	for (int i = 0; i < GEMM_COPY; i++) {
		int at = tid() + i * GPU_GEMM_THREADS, r = first + at / 16;

		a->x[i] = r < p.n_rows ? load_u4(p.q + 64 * ((size_t)r * p.w.units +
		    4 * block) + 16 * (at % 16)) : zero;
	}
}

DEVICE void
gemm_block(const u4 (*w)[MMA_A], const uint8_t *x, int acc[][GEMM_COLS][MMA_ACC])
{
	for (int i = 0; i < 4; i++) {
		u4 a[GEMM_TILES][MMA_A], b[MMA_B];

		for (int m = 0; m < GEMM_TILES; m++)
			for (int j = 0; j < MMA_A; j++)
				a[m][j] = codes_of(w[m][j], i);
		for (int n = 0; n < GEMM_COLS; n++) {
			const uint8_t *row = x + (n * MMA_COLS + mma_b_row()) * MMA_STRIDE;

			for (int j = 0; j < MMA_B; j++)
				b[j] = load_u4(row + 16 * (4 * i + mma_b_chunk(j)));
			for (int m = 0; m < GEMM_TILES; m++)
				mma(acc[m][n], a[m], b);
		}
	}
}

template<product_mode MODE> DEVICE void
gemm_put(const gpu_product &p, int base, int first, int acc[][GEMM_COLS][MMA_ACC])
{
	for (int n = 0; n < GEMM_COLS; n++)
		for (int e = 0; e < MMA_ACC; e++) {
			int r = first + n * MMA_COLS + mma_row(e);
			float y[GEMM_TILES], scale;
			int sum, out;

			if (r >= p.n_rows)
				continue;
			scale = p.q_scale[r];
			sum = p.q_sum[r];
			for (int m = 0; m < GEMM_TILES; m++)
				y[m] = (float)(acc[m][n][e] - sum) *
				    (p.w.scales[base + 16 * m + mma_out(e)] * scale);
			float *to = p.y + (size_t)r * p.y_stride;

			if (MODE == PRODUCT_GATE) {
				out = base / 2 + mma_out(e);
				if (out < p.w.n_out)
					to[out] = gate(y[0], y[1], p.silu != 0);
			} else for (int m = 0; m < GEMM_TILES; m++) {
				out = base + 16 * m + mma_out(e);
				if (out < p.w.n_out)
					to[out] = MODE == PRODUCT_ADD ? to[out] + y[m] : y[m];
			}
		}
}

template<product_mode MODE> DEVICE void
gemm(const gpu_product &p)
{
	SHARED u4 shared[2][GPU_GEMM_ROWS * MMA_STRIDE / 16];
	int n_blocks = p.w.units / 4, first = bx() * GPU_GEMM_ROWS;
	int n = MODE == PRODUCT_GATE ? 2 * p.w.n_out : p.w.n_out;
	int base = by() * GPU_GEMM_OUT + tid() / 32 * 32;
	int acc[GEMM_TILES][GEMM_COLS][MMA_ACC];
	bool idle = base >= n;
	gemm_ahead next;

	if (idle)		/* but it moves activations like the others */
		base = 0;
	for (int m = 0; m < GEMM_TILES; m++)
		for (int i = 0; i < GEMM_COLS; i++)
			for (int e = 0; e < MMA_ACC; e++)
				acc[m][i][e] = 0;
	wait_for_last();
	gemm_ask(p, base, first, 0, &next);
	for (int block = 0; block < n_blocks; block++) {
		uint8_t *to = (uint8_t *)shared[block % 2];
		u4 w[GEMM_TILES][MMA_A];

		for (int i = 0; i < GEMM_COPY; i++) {
			int at = tid() + i * GPU_GEMM_THREADS;

			*(u4 *)(to + at / 16 * MMA_STRIDE + 16 * (at % 16)) = next.x[i];
		}
		for (int m = 0; m < GEMM_TILES; m++)
			for (int j = 0; j < MMA_A; j++)
				w[m][j] = next.w[m][j];
		sync();
		if (block + 1 < n_blocks)
			gemm_ask(p, base, first, block + 1, &next);
		gemm_block(w, to, acc);
	}
	if (!idle)
		gemm_put<MODE>(p, base, first, acc);
}

KERNEL(GPU_GEMM_THREADS, gpu_gemm_set, gpu_product) { gemm<PRODUCT_SET>(p); }
KERNEL(GPU_GEMM_THREADS, gpu_gemm_add, gpu_product) { gemm<PRODUCT_ADD>(p); }
KERNEL(GPU_GEMM_THREADS, gpu_gemm_gate, gpu_product) { gemm<PRODUCT_GATE>(p); }
