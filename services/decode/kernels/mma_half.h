#ifndef DECODE_KERNELS_MMA_HALF_H
#define DECODE_KERNELS_MMA_HALF_H

/*
 * The matrix instructions for f16, which sum in f32.  Both products of attention are of one
 * kind: 16 rows (queries, or their weights) times HALF_COLS columns (positions, or dimensions
 * of the values), summed over a depth of 32 (dimensions, or positions).  In memory columns
 * stand in blocks of 32 x 32, a column being 64 bytes: four parts of 16 bytes.  A lane takes
 * whole parts as they come from memory, of columns
 *
 *		columns of a lane		rows of a lane		sums of a lane
 *	sm_90	8 (g / 2) + 2 sub + g % 2: t	g, g + 8: part t	rows g, g + 8, columns
 *								8 t + 2 sub + 0..1
 *	gfx11	16 sub + l: parts 0..3		l: parts 0..3		row l, columns
 *								16 sub + 2 e + h
 *	gfx12	16 sub + l: parts h, 2 + h	l: parts h, 2 + h	row l, columns
 *								16 sub + 8 h + e
 *
 * (g = lane / 4, t = lane % 4; l = lane % 16, h = lane / 16), so that the sums of a block's
 * columns are in the lanes that have them as depth of the next product.  What is summed in
 * which order is the same for every row and column, wherever it stands.
 */
#if defined(TARGET_SM90)

/* Parts that a lane has of columns and of rows; its sums, and rows that these belong to;
 * parts that these become as halves. */
enum { HALF_COLS = 8, HALF_C = 1, HALF_R = 2, HALF_ACC = 4, HALF_ROWS = 2, HALF_T = 2 };

DEVICE int half_col(int sub) { return tid() % 32 / 8 * 8 + 2 * sub + tid() / 4 % 2; }
DEVICE int half_part(int) { return tid() % 4; }
DEVICE int half_row(int r) { return tid() % 32 / 4 + 8 * r; }
DEVICE int half_slot(int e) { return e / 2; }
DEVICE int half_out_base() { return tid() % 4 * 8; }
DEVICE constexpr int half_out_step(int sub, int e) { return 2 * sub + e % 2; }
DEVICE bool half_first() { return tid() % 4 == 0; }

/* Over the lanes that have sums of the same row. */
DEVICE float
half_top(float v)
{
	v = max_(v, xor_f(v, 1));
	return max_(v, xor_f(v, 2));
}

DEVICE void
half_mma(float *acc, const u4 *rows, const u4 *cols)
{
	mma_m16n8k16(acc, rows[0].x, rows[1].x, rows[0].y, rows[1].y, cols[0].x, cols[0].y);
	mma_m16n8k16(acc, rows[0].z, rows[1].z, rows[0].w, rows[1].w, cols[0].z, cols[0].w);
}

/* Sums of a block of 32 columns, rounded; half_turned makes rows of them, whose depth is
 * these columns. */
DEVICE void
half_turn(const float (*c)[HALF_ACC], u4 *turned)
{
	UNROLLED for (int r = 0; r < 2; r++)
		turned[r] = { pack_half(c[0][2 * r], c[0][2 * r + 1]),
		    pack_half(c[1][2 * r], c[1][2 * r + 1]),
		    pack_half(c[2][2 * r], c[2][2 * r + 1]),
		    pack_half(c[3][2 * r], c[3][2 * r + 1]) };
}

#else

DEVICE int half_col(int sub) { return 16 * sub + tid() % 16; }
DEVICE int half_row(int) { return tid() % 16; }
DEVICE int half_slot(int) { return 0; }
DEVICE bool half_first() { return tid() % 32 < 16; }
DEVICE float half_top(float v) { return max_(v, xor_f(v, 16)); }

#if defined(TARGET_GFX11)

enum { HALF_COLS = 16, HALF_C = 4, HALF_R = 4, HALF_ACC = 8, HALF_ROWS = 1, HALF_T = 2 };

DEVICE int half_part(int i) { return i; }
DEVICE int half_out_base() { return tid() % 32 / 16; }
DEVICE constexpr int half_out_step(int sub, int e) { return 16 * sub + 2 * e; }

DEVICE void
half_mma(float *acc, const u4 *rows, const u4 *cols)
{
	wmma_f16(acc, cols[0], cols[1], rows[0], rows[1]);
	wmma_f16(acc, cols[2], cols[3], rows[2], rows[3]);
}

DEVICE void
half_turn(const float (*c)[HALF_ACC], u4 *turned)
{
	UNROLLED for (int sub = 0; sub < 2; sub++)
		turned[sub] = { pack_half(c[sub][0], c[sub][1]),
		    pack_half(c[sub][2], c[sub][3]), pack_half(c[sub][4], c[sub][5]),
		    pack_half(c[sub][6], c[sub][7]) };
}

/* A lane has every second column, that 16 lanes further the others. */
DEVICE void
half_turned(const u4 *turned, u4 *rows)
{
	uint32_t low = tid() % 32 >= 16 ? 0x01000504 : 0x05040100, high = low + 0x02020202;

	UNROLLED for (int i = 0; i < 4; i++) {
		uint32_t a = i % 2 == 0 ? turned[i / 2].x : turned[i / 2].z;
		uint32_t b = i % 2 == 0 ? turned[i / 2].y : turned[i / 2].w;
		uint32_t other_a = other_half(a), other_b = other_half(b);

		rows[i] = { pick_bytes(other_a, a, low), pick_bytes(other_a, a, high),
		    pick_bytes(other_b, b, low), pick_bytes(other_b, b, high) };
	}
}

#else

enum { HALF_COLS = 16, HALF_C = 2, HALF_R = 2, HALF_ACC = 8, HALF_ROWS = 1, HALF_T = 2 };

DEVICE int half_part(int i) { return 2 * i + tid() % 32 / 16; }
DEVICE int half_out_base() { return 8 * (tid() % 32 / 16); }
DEVICE constexpr int half_out_step(int sub, int e) { return 16 * sub + e; }

DEVICE void
half_mma(float *acc, const u4 *rows, const u4 *cols)
{
	wmma_f16(acc, cols[0], rows[0]);
	wmma_f16(acc, cols[1], rows[1]);
}

DEVICE void
half_turn(const float (*c)[HALF_ACC], u4 *turned)
{
	UNROLLED for (int sub = 0; sub < 2; sub++)
		turned[sub] = { pack_half(c[sub][0], c[sub][1]), pack_half(c[sub][2], c[sub][3]),
		    pack_half(c[sub][4], c[sub][5]), pack_half(c[sub][6], c[sub][7]) };
}

#endif

#endif

#if !defined(TARGET_GFX11)

DEVICE void
half_turned(const u4 *turned, u4 *rows)
{
	rows[0] = turned[0];
	rows[1] = turned[1];
}

#endif

enum { HALF_SUBS = 32 / HALF_COLS };	/* of a block */

/* The column of a lane's sum e: the first is a matter of the lane, the rest of e. */
DEVICE int half_out_col(int sub, int e) { return half_out_base() + half_out_step(sub, e); }

/* Columns whose sums are those of the rows. */
DEVICE void
half_ones(u4 *cols)
{
	UNROLLED for (int i = 0; i < HALF_C; i++)
		cols[i] = { 0x3c003c00, 0x3c003c00, 0x3c003c00, 0x3c003c00 };
}

/* Of a block in memory. */
DEVICE void
half_cols(const uint16_t *block, int sub, u4 *cols)
{
	UNROLLED for (int i = 0; i < HALF_C; i++)
		cols[i] = load_u4(block + 32 * half_col(sub) + 8 * half_part(i));
}

/* Where part of a column is in a block in shared memory: lanes that read together meet
 * different banks. */
DEVICE int
half_swizzle(int col, int part)
{
	return 32 * col + 8 * (part ^ (col / 2 % 4));
}

DEVICE void
half_cols_shared(const uint16_t *block, int sub, u4 *cols)
{
	UNROLLED for (int i = 0; i < HALF_C; i++)
		cols[i] = load_u4(block + half_swizzle(half_col(sub), half_part(i)));
}

/* 32 of depth of n rows in shared memory; those behind are zeros. */
DEVICE void
half_rows(const uint16_t *x, int stride, int n, u4 *rows)
{
	const u4 zero = { 0, 0, 0, 0 };

	UNROLLED for (int i = 0; i < HALF_R; i++) {
		int r = half_row(i);

		rows[i] = r < n ? load_u4(x + r * stride + 8 * half_part(i)) : zero;
	}
}

#endif
