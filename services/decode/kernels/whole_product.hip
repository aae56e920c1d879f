/*
 * A ternary product in the step of one launch.  Each block has tiles of 16 rows of the
 * matrix, the same in every layer, and its waves share their columns out: an item is a tile
 * and a block of 256 columns, for the matrix instructions.  A wave asks for its first items
 * while the product before is still being handed around, and adds what comes out to
 * integers in shared memory, so the order does not matter.
 */
#include "mma.h"

enum { WHOLE_AHEAD = 5 };

/* Of the block's tiles which, and which block of columns. */
struct whole_item {
	int local, block;
};

DEVICE whole_item
whole_item_of(const gpu_whole_product &w, int id)
{
	int local = (int)((uint32_t)id * w.block_part >> 20);

	return { local, id - local * (w.units / 4) };
}

/* The first row of one of the block's tiles: those of gate and up stay together. */
DEVICE int
whole_row(int product, int local)
{
	int pair = product == WHOLE_GATE ? 1 : 0;

	return ((((local >> pair) * grid_size() + bx()) << pair) + (local & pair)) * 16;
}

/*
 * Codes of a wave's items that are on their way, each lane its own: in registers, or, where
 * copies run by themselves and registers are few, in shared memory.  Then the items are a
 * loop, which counts: what is not in the cache for instructions is fetched at some five
 * bytes a cycle.
 */
#ifdef HAS_COPIES
#define EACH_AHEAD ROLLED
#else
#define EACH_AHEAD UNROLLED
#endif
struct whole_codes {
#ifdef HAS_COPIES
	static_assert(WHOLE_AHEAD * MMA_A * GPU_WHOLE_THREADS * sizeof(u4) == GPU_WHOLE_CODES,
	    "what the host leaves room for");
	u4 *room;		/* [WHOLE_AHEAD, MMA_A, threads] */

	DEVICE_MEMBER u4 *at(int i, int j)
	{
		return room + (i * MMA_A + j) * GPU_WHOLE_THREADS + tid();
	}
	DEVICE_MEMBER void ask(int i, int j, const uint8_t *from) { copy_ahead(at(i, j), from); }
	DEVICE_MEMBER u4 get(int i, int j) { return *at(i, j); }
	DEVICE_MEMBER void wait() { copies_wait(); }
#else
	u4 w[WHOLE_AHEAD][MMA_A];

	DEVICE_MEMBER void ask(int i, int j, const uint8_t *from) { w[i][j] = load_once(from); }
	DEVICE_MEMBER u4 get(int i, int j) { return w[i][j]; }
	DEVICE_MEMBER void wait() { }
#endif
};

/* And the factors of the output that the thread will finish. */
struct whole_asked {
	whole_codes codes;
	float scale[2];
};

DEVICE void
whole_ask_item(const gpu_whole_product &w, int product, const uint8_t *codes, int id, int i,
    whole_codes *to)
{
	whole_item at = whole_item_of(w, id);
	uint32_t row = (uint32_t)whole_row(product, at.local);

	for (int j = 0; j < MMA_A; j++)
		to->ask(i, j, codes + 16 * ((row + (uint32_t)mma_a_row(j)) *
		    (uint32_t)w.units + (uint32_t)(4 * at.block + mma_a_unit(j))));
}

/* The block's tiles of a product come near, long before a wave asks for them; and the norm
 * before it, for all blocks. */
DEVICE void
whole_fetch(const gpu_whole &p, const gpu_whole_layer *l, int product, const whole_shared *s)
{
	size_t row = 16 * (size_t)p.products[product].units;

	if (tid() < s->n_local[product])
		fetch_ahead(l->codes[product] + whole_row(product, tid()) * row,
		    (uint32_t)(16 * row));
	if (bx() == product && tid() == GPU_WHOLE_THREADS - 1 && l->norms[product] != nullptr)
		fetch_ahead(l->norms[product], (uint32_t)p.products[product].n_in * 4);
}

/* Where thread o of 64 finds its output of a tile, or pair of tiles: rows of the matrix. */
DEVICE int
whole_out_row(int product, int o)
{
	return product == WHOLE_GATE ? whole_row(product, o / 16 * 2) + o % 16 :
	    whole_row(product, o / 16) + o % 16;
}

DEVICE int
whole_outs(const whole_shared *s, int product)
{
	return s->n_local[product] * (product == WHOLE_GATE ? 8 : 16);
}

DEVICE void
whole_ask(const gpu_whole_product &w, const gpu_whole_layer *l, int product,
    const whole_shared *s, whole_asked *a)
{
	const uint8_t *codes = l->codes[product];
	const float *scales = l->scales[product];
	int o = tid() % 64;

	EACH_AHEAD for (int i = 0; i < WHOLE_AHEAD; i++) {
		int id = tid() / 32 + i * GPU_WHOLE_WAVES;

		if (id < s->n_items[product])
			whole_ask_item(w, product, codes, id, i, &a->codes);
	}
	a->scale[0] = a->scale[1] = 0;
	if (o < whole_outs(s, product)) {
		int row = whole_out_row(product, o);

		a->scale[0] = scales[row];
		a->scale[1] = product == WHOLE_GATE ? scales[row + 16] : 0;
	}
}

/*
 * One item.  Codes are masked where they stand, so of the four sums all but the first are
 * 4, 16 and 64 times too large.  The first tile's items count the activations, too: what
 * is subtracted from every sum.
 */
DEVICE void
whole_multiply_item(whole_codes *codes, int slot, const uint8_t *q, int stride, int n_rows,
    whole_item at, int *acc, int *sum)
{
	const u4 ones = { 0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u };
	int c[4][MMA_ACC], x = 0;
	bool has = mma_b_row() < n_rows;

	for (int i = 0; i < 4; i++)
		for (int e = 0; e < MMA_ACC; e++)
			c[i][e] = 0;
	UNROLLED for (int i = 0; i < 4; i++) {
		uint32_t mask = 0x03030303u << 2 * i;
		u4 a[MMA_A], b[MMA_B];

		for (int j = 0; j < MMA_A; j++) {
			u4 w = codes->get(slot, j);

			a[j] = { w.x & mask, w.y & mask, w.z & mask, w.w & mask };
		}
		for (int j = 0; j < MMA_B; j++) {
			b[j] = { 0, 0, 0, 0 };
			if (has)
				b[j] = load_u4(q + mma_b_row() * stride + 256 * at.block +
				    16 * (4 * i + mma_b_chunk(j)));
			if (at.local == 0)
				x = dot16(ones, b[j], x);
		}
		mma(c[i], a, b);
	}
	if (at.local == 0 && has && mma_b_once())
		add_shared(sum + mma_b_row(), x);
	acc += at.local * 16 * GPU_FEW;
	for (int e = 0; e < MMA_ACC; e++)
		if (mma_row(e) < n_rows)
			add_shared(acc + mma_out(e) * GPU_FEW + mma_row(e), c[0][e] +
			    (c[1][e] >> 2) + (c[2][e] >> 4) + (c[3][e] >> 6));
}

/* All of a wave's items, into acc [16 * tiles of the block, GPU_FEW] and sum [GPU_FEW]. */
DEVICE void
whole_multiply(const gpu_whole_product &w, const gpu_whole_layer *l, int product, int n_rows,
    const whole_shared *s, whole_asked *a, const uint8_t *q, int *acc, int *sum)
{
	enum { STEP = WHOLE_AHEAD * GPU_WHOLE_WAVES };
	int n = s->n_items[product], stride = w.units * 64 + 64;

	ROLLED for (int first = tid() / 32; first < n; first += STEP) {
		a->codes.wait();
		EACH_AHEAD for (int i = 0; i < WHOLE_AHEAD; i++) {
			int id = first + i * GPU_WHOLE_WAVES;

			if (id >= n)
				break;
			whole_multiply_item(&a->codes, i, q, stride, n_rows,
			    whole_item_of(w, id), acc, sum);
			if (id + STEP < n)
				whole_ask_item(w, product, l->codes[product], id + STEP, i,
				    &a->codes);
		}
	}
}

/* Takes a sum out of acc and leaves 0. */
DEVICE float
whole_take(int *acc, int out, int r, int sum, float scale)
{
	int *at = acc + out * GPU_FEW + r;
	float y = (float)(*at - sum) * scale;

	*at = 0;
	return y;
}

/*
 * Sums to values, and to whoever waits for them: 64 threads have a row.  residual
 * [tiles * 16, GPU_FEW] is this block's part of the state that layers add to.
 */
DEVICE void
whole_finish(const gpu_whole &p, const gpu_whole_product &w, const gpu_whole_layer *l,
    int product, const whole_shared *s, const float *factors, int turn, int layer,
    uint32_t flag, int *acc, float *residual)
{
	int r = tid() / 64;
	bool last = product == WHOLE_DOWN && layer + 1 == p.n_layers;

	if (r >= p.n_rows)
		return;
	ROLLED for (int o = tid() % 64; o < whole_outs(s, product); o += 64) {
		int row = whole_out_row(product, o), sum = s->sum[turn][r], out = row;
		float x = s->scale[turn][r], y, scale = factors[0], up = factors[1];

		if (o >= 64) {
			scale = l->scales[product][row];
			up = product == WHOLE_GATE ? l->scales[product][row + 16] : 0;
		}
		if (product == WHOLE_GATE) {
			int at = o / 16 * 32 + o % 16;

			y = whole_take(acc, at, r, sum, scale * x);
			y = gate(y, whole_take(acc, at + 16, r, sum, up * x), p.silu != 0);
			out = row / 32 * 16 + o % 16;
		} else {
			y = whole_take(acc, o, r, sum, scale * x);
		}
		if (product == WHOLE_O || product == WHOLE_DOWN)
			residual[o * GPU_FEW + r] = y += residual[o * GPU_FEW + r];
		if (out >= w.n_out)
			continue;
		if (last)
			p.x[(size_t)r * p.x_stride + out] = y;
		else
			packet_put(w.out + (size_t)r * w.n_out + out, float_bits(y),
			    product == WHOLE_DOWN ? flag + 1 : flag);
	}
}
