#ifndef DECODE_CPU_TERNARY_H
#define DECODE_CPU_TERNARY_H

/*
 * The ternary products of every variant with vectors, written once over `vi`, a
 * vector of VI_LANES sums in 32 bits.
 *
 * Direct, for few rows (decode): bound by reading the weights.  A tile of
 * outputs is a contiguous piece of them; while it is read, the prefetch runs in
 * the order of the addresses AHEAD of it, on into the next tile.  Activations are
 * loaded as the codes stand, and lanes are added up at the end of a tile.
 *
 * Turned, for many rows (prefill) and for groups: bound by the multiplications,
 * so nothing else may be in their way.  The codes of TURN_OUTS outputs are turned
 * once, so that a vector holds the same four columns of VI_LANES outputs: no sum
 * across lanes is left, and the factors of a group of columns are one
 * multiplication.  Activations are given to all lanes, four columns at a time.
 *
 * Layout B3 (base3.h) becomes T2 first: the outputs of a tile, once for all rows.
 * The copy stays in the first cache.
 *
 * A variant defines, before it includes this, TARGET, INLINE and
 *
 *	VI_LANES, vi, vi_zero, vi_load (unaligned), vi_add, vi_store
 *	vi_base3(v, first)	digits 1..4 of bytes of B3 as bytes of T2; *first:
 *				64 times digit 0 and 1
 *	vi_or, vi_down(v, n), vi_bytes(x), vi_add8	to put digits 0 together: shifts
 *				of 16 bits in which no bit leaves its byte; bytes
 *	vi_codes(v, part)	the two bits of part of each byte
 *	vi_masked(v, part)	the same where they stand: times 1, 4, 16, 64
 *	vi_word(p)		4 activations, in every lane
 *	vi_dot(acc, c, x)	acc + products of codes and activations, by fours
 *	vi_open(sum)		sum, ready for vi_dot with RUN_BLOCKS blocks …
 *	vi_close(sum, acc)	… and what it is after them
 *	vi_shift(v, n)		v >> n, arithmetic
 *	vi_sums(v)		lane i: the sum of the lanes of v[i], i < 4
 *	vi_turn(from, stride, to, step)	VI_LANES rows of VI_BYTES, turned: word i
 *				of all is the vector at to + i * step
 *	vs, vs_zero, vs_set1, vs_of(vi), vs_mul, vs_add, vs_load, vs_load_n,
 *	vs_store_n, vs_step(p, step)	floats
 *	OWN_BASE3		if it has a few_rows_base3 of its own
 *	MASKED			1: vi_masked exists, and is used for one row
 *	TILE_ROWS		of a direct tile, 2 or 4
 *	DIRECT_ROWS		more of them are multiplied turned
 *	TURN_ROWS		of a turned one, a power of 2, at most 8
 */
#include <string.h>

#include "backend/cpu_kernels.h"

enum {
	AHEAD = 10240,		/* bytes; measured: docs/kernels.md */
	TILE_OUTS = 4,
	VI_BYTES = 4 * VI_LANES,
	TURN_OUTS = 2 * VI_LANES,
	TURN_BLOCK = 16 * 2 * VI_BYTES,	/* bytes of a block of all of them */
	TURN_BLOCKS = CPU_SCRATCH / TURN_BLOCK,
	T2_BLOCK = 64,		/* bytes */
	SPAN_GROUPS = 4, SPAN_BLOCKS = 5,	/* layout B3: groups to blocks */
};

#define UNROLL(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)

typedef int32_t i4 __attribute__((vector_size(16)));
typedef float f4 __attribute__((vector_size(16)));

/* n groups of layout B3 at p as blocks of T2; of a whole span its last one, too. n
 * is a constant after inlining. */
INLINE void
unpack_groups(const uint8_t *p, const int n, uint8_t *to)
{
	for (int at = 0; at < T2_BLOCK; at += VI_BYTES) {
		vi all = vi_zero(), first;

		UNROLL(g, n) {
			if (at == 0)
				__builtin_prefetch(p + T2_BLOCK * g + AHEAD);
			vi_store(to + T2_BLOCK * g + at, vi_base3(vi_load(p +
			    T2_BLOCK * g + at), &first));
			all = vi_or(all, vi_down(first, 6 - 2 * g));
		}
		if (n == SPAN_GROUPS)
			vi_store(to + T2_BLOCK * n + at, vi_add8(all,
			    vi_bytes(-0x55)));
	}
}

/* The next n blocks of T2 of a row of B3, whose groups begin at p. */
INLINE void
unpack_blocks(const uint8_t *p, int n, uint8_t *to)
{
	for (; n >= SPAN_BLOCKS; n -= SPAN_BLOCKS) {
		unpack_groups(p, SPAN_GROUPS, to);
		p += T2_BLOCK * SPAN_GROUPS;
		to += T2_BLOCK * SPAN_BLOCKS;
	}
	for (; n > 0; n--, p += T2_BLOCK, to += T2_BLOCK)
		unpack_groups(p, 1, to);
}

INLINE f4
load4(const float *p, int n)
{
	f4 v = { 0 };

	if (n == 4)
		memcpy(&v, p, sizeof(v));
	else
		memcpy(&v, p, (size_t)n * sizeof(*p));
	return v;
}

INLINE void
store4(float *p, f4 v, int n)
{
	if (n == 4)
		memcpy(p, &v, sizeof(v));
	else
		memcpy(p, &v, (size_t)n * sizeof(*p));
}

/* y[0..n_o] (+)= (sums - offset * sum of the row) * scales; codes are weights and
 * offset. */
INLINE void
finish(i4 sums, const struct cpu_rows *x, int r, int offset, const float *scales,
    int n_o, float *y, bool add)
{
	f4 v = __builtin_convertvector(sums - offset * x->sum[r], f4) *
	    (load4(scales, n_o) * x->scale[r]);

	if (add)
		v = load4(y, n_o) + v;
	store4(y, v, n_o);
}

#if MASKED
/*
 * One row: codes are masked where they stand, each part has a sum of its own and
 * is shifted back at the end, which spares the shifts.
 */
INLINE void
direct_1(const struct ternary *w, int o, int n_o, const struct cpu_rows *x, int r,
    float *y, bool add)
{
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	const uint8_t *codes = w->codes + (size_t)o * (size_t)w->stride;
	const uint8_t *next = codes + AHEAD;
	vi acc[TILE_OUTS][4], sum[TILE_OUTS], v;

	UNROLL(i, TILE_OUTS)
		UNROLL(part, 4)
			acc[i][part] = vi_zero();
	for (int at = 0; at < w->stride; at += 64, q += TERNARY_BLOCK)
		UNROLL(h, 64 / VI_BYTES)
			UNROLL(i, TILE_OUTS) {
				if (h == 0)
					__builtin_prefetch(next + 64 * i);
				if (h == 0 && i == TILE_OUTS - 1)
					next += 64 * TILE_OUTS;
				v = vi_load(codes + (size_t)(i < n_o ? i : 0) *
				    (size_t)w->stride + at + h * VI_BYTES);
				UNROLL(part, 4)
					acc[i][part] = vi_dot(acc[i][part],
					    vi_masked(v, part), vi_load(q +
					        64 * part + h * VI_BYTES));
			}
	UNROLL(i, TILE_OUTS)
		sum[i] = vi_add(vi_add(acc[i][0], vi_shift(acc[i][1], 2)),
		    vi_add(vi_shift(acc[i][2], 4), vi_shift(acc[i][3], 6)));
	finish(vi_sums(sum), x, r, 1, w->scales + o, n_o, y + o, add);
}
#endif

/* The same for n_r rows; n_r and fetch are constants after inlining. */
INLINE void
direct_n(const struct ternary *w, int o, int n_o, const struct cpu_rows *x, int r,
    const int n_r, const bool fetch, float *y, int y_stride, bool add)
{
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	const uint8_t *codes = w->codes + (size_t)o * (size_t)w->stride;
	const uint8_t *next = codes + AHEAD;
	vi acc[TILE_ROWS][TILE_OUTS], sum[TILE_ROWS][TILE_OUTS], v[TILE_OUTS];
	vi a[TILE_ROWS], c;

	UNROLL(j, n_r)
		UNROLL(i, TILE_OUTS)
			sum[j][i] = vi_zero();
	for (int run = 0, end; run < w->stride; run = end) {
		end = run + 64 * RUN_BLOCKS < w->stride ? run + 64 * RUN_BLOCKS :
		    w->stride;
		UNROLL(j, n_r)
			UNROLL(i, TILE_OUTS)
				acc[j][i] = vi_open(sum[j][i]);
		for (int at = run; at < end; at += VI_BYTES) {
			const int8_t *p = q + at / 64 * TERNARY_BLOCK + at % 64;

			UNROLL(i, TILE_OUTS) {
				if (fetch && i % (64 / VI_BYTES) == 0) {
					__builtin_prefetch(next);
					next += 64;
				}
				v[i] = vi_load(codes + (size_t)(i < n_o ? i : 0) *
				    (size_t)w->stride + at);
			}
			UNROLL(part, 4) {
				UNROLL(j, n_r)
					a[j] = vi_load(p + 64 * part + (size_t)j *
					    (size_t)x->stride);
				UNROLL(i, TILE_OUTS) {
					c = vi_codes(v[i], part);
					UNROLL(j, n_r)
						acc[j][i] = vi_dot(acc[j][i], c,
						    a[j]);
				}
			}
		}
		UNROLL(j, n_r)
			UNROLL(i, TILE_OUTS)
				sum[j][i] = vi_close(sum[j][i], acc[j][i]);
	}
	UNROLL(j, n_r)
		finish(vi_sums(sum[j]), x, r + j, 1, w->scales + o, n_o,
		    y + (size_t)(r + j) * (size_t)y_stride + o, add);
}

/* n_o outputs from o of all rows; fetch is a constant after inlining. */
INLINE void
direct_tile(const struct ternary *w, int o, int n_o, const struct cpu_rows *x,
    int n_rows, const bool fetch, float *y, int y_stride, bool add)
{
	int r = 0;

	for (; r + TILE_ROWS <= n_rows; r += TILE_ROWS)
		if (r == 0 && fetch)
			direct_n(w, o, n_o, x, r, TILE_ROWS, true, y, y_stride,
			    add);
		else
			direct_n(w, o, n_o, x, r, TILE_ROWS, false, y, y_stride,
			    add);
	if (TILE_ROWS > 3 && n_rows - r == 3)
		direct_n(w, o, n_o, x, r, 3, fetch, y, y_stride, add);
	else if (TILE_ROWS > 2 && n_rows - r == 2)
		direct_n(w, o, n_o, x, r, 2, fetch, y, y_stride, add);
#if MASKED
	else if (n_rows - r == 1)
		direct_1(w, o, n_o, x, r, y + (size_t)r * (size_t)y_stride, add);
#else
	else if (n_rows - r == 1)
		direct_n(w, o, n_o, x, r, 1, fetch, y, y_stride, add);
#endif
}

TARGET static void
few_rows(const struct ternary *w, int from, int to, const struct cpu_rows *x,
    int n_rows, float *y, int y_stride, bool add)
{
	for (int o = from; o < to; o += TILE_OUTS)
		direct_tile(w, o, to - o < TILE_OUTS ? to - o : TILE_OUTS, x,
		    n_rows, true, y, y_stride, add);
}

/* The same of layout B3. */
TARGET static void few_rows_base3(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add);

#ifndef OWN_BASE3
/* As many outputs become T2 as the scratch holds. */
TARGET static void
few_rows_base3(const struct ternary *w, int from, int to, const struct cpu_rows *x,
    int n_rows, float *y, int y_stride, bool add)
{
	uint8_t *codes = cpu_scratch();
	struct ternary t = *w;
	int most;

	t.form = TERNARY_T2;
	t.codes = codes;
	t.stride = ternary_blocks(w) * T2_BLOCK;
	most = CPU_SCRATCH / t.stride < TILE_OUTS ? CPU_SCRATCH / t.stride :
	    TILE_OUTS;
	for (int o = from, n; o < to; o += n) {
		n = to - o < most ? to - o : most;
		for (int i = 0; i < n; i++)
			unpack_blocks(w->codes + (size_t)(o + i) *
			    (size_t)w->stride, ternary_blocks(w), codes +
			    (size_t)i * (size_t)t.stride);
		t.scales = w->scales + o;
		direct_tile(&t, 0, n, x, n_rows, false, y + o, y_stride, add);
	}
}

#endif

#include "backend/cpu_turned.h"

TARGET static void
products(const struct ternary *w, int from, int to, const struct cpu_rows *x,
    int n_rows, float *y, int y_stride, bool add)
{
	if (n_rows > DIRECT_ROWS || cpu_in_groups(w->group, w->n_in))
		many_rows(w, from, to, x, n_rows, y, y_stride, add);
	else if (w->form == TERNARY_B3)
		few_rows_base3(w, from, to, x, n_rows, y, y_stride, add);
	else
		few_rows(w, from, to, x, n_rows, y, y_stride, add);
}

#endif
