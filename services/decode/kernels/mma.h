#ifndef DECODE_KERNELS_MMA_H
#define DECODE_KERNELS_MMA_H

/*
 * The matrix instructions.  Of 16 outputs and MMA_COLS rows of activations, what
 * mask i of a block of 256 columns contributes: 64 columns.  Which lane holds which
 * column is free as long as codes and activations agree, so a lane takes whole units
 * of 16 bytes as they come from memory and no codes are moved between lanes.
 *
 *		codes of a lane			activations of a lane
 *	sm_90	rows g, g + 8, unit t		row g, chunk t	(g = lane / 4, t = lane % 4)
 *	gfx11	row l, units 0..3		row l, chunks 0..3	(l = lane % 16)
 *	gfx12	row l, units h, 2 + h		row l, chunks h, 2 + h	(h = lane / 16)
 */
#if defined(TARGET_SM90)

enum { MMA_COLS = 8, MMA_ACC = 4, MMA_A = 2, MMA_B = 1, MMA_STRIDE = 256 + 64 };

DEVICE int mma_a_row(int j) { return tid() % 32 / 4 + 8 * j; }
DEVICE int mma_a_unit(int) { return tid() % 4; }
DEVICE int mma_b_row() { return tid() % 32 / 4; }
DEVICE int mma_b_chunk(int) { return tid() % 4; }
/* Whether the lane is the one that counts what it holds of b. */
DEVICE bool mma_b_once() { return true; }
DEVICE int mma_out(int e) { return tid() % 32 / 4 + 8 * (e / 2); }
DEVICE int mma_row(int e) { return tid() % 4 * 2 + e % 2; }

DEVICE void
mma(int *acc, const u4 *a, const u4 *b)
{
	mma_m16n8k32(acc, a[0].x, a[1].x, a[0].y, a[1].y, b[0].x, b[0].y);
	mma_m16n8k32(acc, a[0].z, a[1].z, a[0].w, a[1].w, b[0].z, b[0].w);
}

#elif defined(TARGET_GFX11)

enum { MMA_COLS = 16, MMA_ACC = 8, MMA_A = 4, MMA_B = 4, MMA_STRIDE = 256 + 16 };

DEVICE int mma_a_row(int) { return tid() % 16; }
DEVICE int mma_a_unit(int j) { return j; }
DEVICE int mma_b_row() { return tid() % 16; }
DEVICE int mma_b_chunk(int j) { return j; }
DEVICE bool mma_b_once() { return tid() % 32 < 16; }
DEVICE int mma_out(int e) { return 2 * e + tid() % 32 / 16; }
DEVICE int mma_row(int) { return tid() % 16; }

DEVICE void
mma(int *acc, const u4 *a, const u4 *b)
{
	for (int j = 0; j < 4; j++)
		wmma_iu8(acc, a[j], b[j]);
}

#else

enum { MMA_COLS = 16, MMA_ACC = 8, MMA_A = 2, MMA_B = 2, MMA_STRIDE = 256 + 16 };

DEVICE int mma_a_row(int) { return tid() % 16; }
DEVICE int mma_a_unit(int j) { return 2 * j + tid() % 32 / 16; }
DEVICE int mma_b_row() { return tid() % 16; }
DEVICE int mma_b_chunk(int j) { return 2 * j + tid() % 32 / 16; }
DEVICE bool mma_b_once() { return true; }
DEVICE int mma_out(int e) { return e + 8 * (tid() % 32 / 16); }
DEVICE int mma_row(int) { return tid() % 16; }

DEVICE void
mma(int *acc, const u4 *a, const u4 *b)
{
	for (int j = 0; j < 2; j++) {
		wmma_iu8(acc, a[j].x, a[j].y, b[j].x, b[j].y);
		wmma_iu8(acc, a[j].z, a[j].w, b[j].z, b[j].w);
	}
}

#endif

#endif
