/*
 * Ternary products of AVX-512 with VBMI, which looks bytes up in 128 at once.  It
 * matters for layout B3: two lookups and a blend bring four of the five digits of a
 * byte, already as a byte of T2, and two averages the first one (cpu_base3.h).
 *
 * A few rows are multiplied as weights are unpacked, without a copy: one row as
 * direct_1 of cpu_ternary.h does it, more as direct_n.  The averages bring the digit
 * + 1, so the table has codes + 1, too, and what is subtracted is twice the sum of
 * the row.
 */
#include "backend/cpu_avx512_lanes.h"

#undef TARGET
#define TARGET __attribute__((target( \
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx2,fma,f16c")))

enum { BASE3_OUTS = 4, BASE3_COLUMNS = 1280, SOME_ROWS = 4 };

/* Digits 1..4 of each byte, the lowest bits first; then the same and 1. */
#define FRACTION(b, n) ((b) * (n) & 255)
#define DIGIT(b, n) (3 * FRACTION(b, n) >> 8)
#define B1(b, n) (uint8_t)(n + (DIGIT(b, 3) | DIGIT(b, 9) << 2 | \
    DIGIT(b, 27) << 4 | DIGIT(b, 81) << 6))
#define B4(b, n) B1(b, n), B1(b + 1, n), B1(b + 2, n), B1(b + 3, n)
#define B16(b, n) B4(b, n), B4(b + 4, n), B4(b + 8, n), B4(b + 12, n)
#define B64(b, n) B16(b, n), B16(b + 16, n), B16(b + 32, n), B16(b + 48, n)
#define B256(n) B64(0, n), B64(64, n), B64(128, n), B64(192, n)
static const _Alignas(64) uint8_t four_digits[256] = { B256(0) };
static const _Alignas(64) uint8_t four_digits_and_1[256] = { B256(0x55) };

/* The bytes of table [256] that v chooses. */
INLINE vi
look_up(const uint8_t *table, vi v)
{
	vi low = _mm512_permutex2var_epi8(vi_load(table), v,
	    vi_load(table + 64));
	vi high = _mm512_permutex2var_epi8(vi_load(table + 128), v,
	    vi_load(table + 192));

	return _mm512_mask_blend_epi8(_mm512_movepi8_mask(v), low, high);
}

/* Digit 0 and 1 in the upper two bits of each byte. */
INLINE vi
upper_digit(vi v)
{
	return vi_average(v, vi_average(v, vi_bytes(253)));
}

INLINE vi
vi_base3(vi v, vi *first)
{
	*first = vi_masked(upper_digit(v), 3);
	return look_up(four_digits, v);
}

#define OWN_BASE3 1
#include "backend/cpu_ternary.h"

/* Prefetch as much as a group of a tile is. */
INLINE const uint8_t *
ahead(const uint8_t *next)
{
	UNROLL(i, BASE3_OUTS)
		__builtin_prefetch(next + 64 * i);
	return next + 64 * BASE3_OUTS;
}

/*
 * Group g of a span of the tile at p, of which q is the activations; whole: with
 * the first digits, too.
 */
INLINE void
one_group(const uint8_t *p, size_t stride, int n_o, const int g, const bool whole,
    const int8_t *q, vi (*acc)[4])
{
	vi v, codes[BASE3_OUTS], a = vi_zero();

	if (whole)
		a = vi_load(q + SPAN_GROUPS * TERNARY_BLOCK + 64 * g);
	UNROLL(i, BASE3_OUTS) {
		v = vi_load(p + (size_t)(i < n_o ? i : 0) * stride + 64 * g);
		if (whole)
			acc[i][3] = vi_dot(acc[i][3], vi_masked(
			    upper_digit(v), 3), a);
		codes[i] = look_up(four_digits_and_1, v);
	}
	UNROLL(part, 4) {
		a = vi_load(q + TERNARY_BLOCK * g + 64 * part);
		UNROLL(i, BASE3_OUTS)
			acc[i][part] = vi_dot(acc[i][part], vi_masked(codes[i],
			    part), a);
	}
}

/* BASE3_OUTS outputs of row r, of which n_o are kept, to the row y. */
INLINE void
one_tile(const struct ternary *w, int o, int n_o, const struct cpu_rows *x, int r,
    float *y, bool add)
{
	size_t stride = (size_t)w->stride;
	const uint8_t *p = w->codes + (size_t)o * stride, *next = p + AHEAD;
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	int n = ternary_blocks(w);
	vi acc[BASE3_OUTS][4], sum[4];

	UNROLL(i, BASE3_OUTS)
		UNROLL(part, 4)
			acc[i][part] = vi_zero();
	for (; n >= SPAN_BLOCKS; n -= SPAN_BLOCKS, q += BASE3_COLUMNS) {
		UNROLL(g, SPAN_GROUPS) {
			next = ahead(next);
			one_group(p, stride, n_o, g, true, q, acc);
		}
		p += 64 * SPAN_GROUPS;
	}
	for (; n > 0; n--, p += 64, q += TERNARY_BLOCK) {
		next = ahead(next);
		one_group(p, stride, n_o, 0, false, q, acc);
	}
	UNROLL(i, BASE3_OUTS)
		sum[i] = vi_add(vi_add(acc[i][0], vi_shift(acc[i][1], 2)),
		    vi_add(vi_shift(acc[i][2], 4), vi_shift(acc[i][3], 6)));
	finish(vi_sums(sum), x, r, 2, w->scales + o, n_o, y + o, add);
}

/* The same for n_r rows, each with one sum an output; n_r is a constant. */
INLINE void
some_group(const uint8_t *p, size_t stride, int n_o, const int g, const bool whole,
    const int8_t *q, size_t q_stride, const int n_r, vi (*acc)[BASE3_OUTS])
{
	vi v, codes[BASE3_OUTS], a[SOME_ROWS], c;

	UNROLL(j, n_r)
		if (whole)
			a[j] = vi_load(q + (size_t)j * q_stride + SPAN_GROUPS *
			    TERNARY_BLOCK + 64 * g);
	UNROLL(i, BASE3_OUTS) {
		v = vi_load(p + (size_t)(i < n_o ? i : 0) * stride + 64 * g);
		codes[i] = look_up(four_digits_and_1, v);
		c = vi_codes(upper_digit(v), 3);
		UNROLL(j, n_r)
			if (whole)
				acc[j][i] = vi_dot(acc[j][i], c, a[j]);
	}
	UNROLL(part, 4) {
		UNROLL(j, n_r)
			a[j] = vi_load(q + (size_t)j * q_stride +
			    TERNARY_BLOCK * g + 64 * part);
		UNROLL(i, BASE3_OUTS) {
			c = vi_codes(codes[i], part);
			UNROLL(j, n_r)
				acc[j][i] = vi_dot(acc[j][i], c, a[j]);
		}
	}
}

INLINE void
some_tile(const struct ternary *w, int o, int n_o, const struct cpu_rows *x, int r,
    const int n_r, float *y, int y_stride, bool add)
{
	size_t stride = (size_t)w->stride, q_stride = (size_t)x->stride;
	const uint8_t *p = w->codes + (size_t)o * stride, *next = p + AHEAD;
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	int n = ternary_blocks(w);
	vi acc[SOME_ROWS][BASE3_OUTS];

	UNROLL(j, n_r)
		UNROLL(i, BASE3_OUTS)
			acc[j][i] = vi_zero();
	for (; n >= SPAN_BLOCKS; n -= SPAN_BLOCKS, q += BASE3_COLUMNS) {
#pragma GCC unroll 1
		for (int g = 0; g < SPAN_GROUPS; g++) {
			next = ahead(next);
			some_group(p, stride, n_o, g, true, q, q_stride, n_r,
			    acc);
		}
		p += 64 * SPAN_GROUPS;
	}
	for (; n > 0; n--, p += 64, q += TERNARY_BLOCK) {
		next = ahead(next);
		some_group(p, stride, n_o, 0, false, q, q_stride, n_r, acc);
	}
	UNROLL(j, n_r)
		finish(vi_sums(acc[j]), x, r + j, 2, w->scales + o, n_o, y +
		    (size_t)(r + j) * (size_t)y_stride + o, add);
}

/* One function for each number of rows, which is a constant in it. */
#define SOME(n, name)                                                        \
	TARGET static __attribute__((noinline)) void                         \
	name(const struct ternary *w, int o, int n_o,                        \
	    const struct cpu_rows *x, int r, float *y, int y_stride, bool add) \
	{                                                                    \
		some_tile(w, o, n_o, x, r, n, y, y_stride, add);             \
	}
SOME(2, two_rows)
SOME(3, three_rows)
SOME(4, four_rows)

TARGET static __attribute__((noinline)) void
one_row(const struct ternary *w, int o, int n_o, const struct cpu_rows *x, int r,
    float *y, int y_stride, bool add)
{
	one_tile(w, o, n_o, x, r, y + (size_t)r * (size_t)y_stride, add);
}

/* Unpacked again for every four rows: that is hidden beside their products. */
TARGET static void
few_rows_base3(const struct ternary *w, int from, int to, const struct cpu_rows *x,
    int n_rows, float *y, int y_stride, bool add)
{
	for (int o = from; o < to; o += BASE3_OUTS) {
		int n_o = to - o < BASE3_OUTS ? to - o : BASE3_OUTS, r = 0;

		for (; r + SOME_ROWS <= n_rows; r += SOME_ROWS)
			four_rows(w, o, n_o, x, r, y, y_stride, add);
		if (n_rows - r == 3)
			three_rows(w, o, n_o, x, r, y, y_stride, add);
		else if (n_rows - r == 2)
			two_rows(w, o, n_o, x, r, y, y_stride, add);
		else if (n_rows - r == 1)
			one_row(w, o, n_o, x, r, y, y_stride, add);
	}
}

void
cpu_avx512_vbmi_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add)
{
	products(w, from, to, x, n_rows, y, y_stride, add);
}
