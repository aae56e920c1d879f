/*
 * Ternary products in layout B3 of AVX-512 with VBMI, which looks bytes up in 128 at
 * once: two lookups and a blend bring four of the five digits of a byte, already as
 * a byte of T2, and two averages the first one (cpu_base3.h).
 *
 * One row is multiplied as it is unpacked, as direct_1 of cpu_ternary.h does: codes
 * are masked where they stand, and the sums shifted back at the end.  The averages
 * bring the digit + 1, so the table has codes + 1, too, and what is subtracted is
 * twice the sum of the row.
 */
#include "backend/cpu_avx512_lanes.h"

#undef TARGET
#define TARGET __attribute__((target( \
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx2,fma,f16c")))

enum { BASE3_OUTS = 4, BASE3_COLUMNS = 1280 };

/* 1 + digits 1..4 of each byte, the lowest bits first. */
#define FRACTION(b, n) ((b) * (n) & 255)
#define DIGIT(b, n) (3 * FRACTION(b, n) >> 8)
#define B1(b) (uint8_t)(0x55 + (DIGIT(b, 3) | DIGIT(b, 9) << 2 | \
    DIGIT(b, 27) << 4 | DIGIT(b, 81) << 6))
#define B4(b) B1(b), B1(b + 1), B1(b + 2), B1(b + 3)
#define B16(b) B4(b), B4(b + 4), B4(b + 8), B4(b + 12)
#define B64(b) B16(b), B16(b + 16), B16(b + 32), B16(b + 48)
static const _Alignas(64) uint8_t four_digits[256] = {
	B64(0), B64(64), B64(128), B64(192)
};

/* The bytes of the table that v chooses. */
INLINE vi
look_up(vi v)
{
	vi low = _mm512_permutex2var_epi8(vi_load(four_digits), v,
	    vi_load(four_digits + 64));
	vi high = _mm512_permutex2var_epi8(vi_load(four_digits + 128), v,
	    vi_load(four_digits + 192));

	return _mm512_mask_blend_epi8(_mm512_movepi8_mask(v), low, high);
}

/* 64 times digit 0 and 1. */
INLINE vi
first_digit(vi v)
{
	return vi_and(vi_average(v, vi_average(v, vi_bytes(253))),
	    vi_bytes(0xc0));
}

INLINE vi
vi_base3(vi v, vi *first)
{
	*first = vi_add8(vi_down(first_digit(v), 6), vi_bytes(-1));
	return vi_add8(look_up(v), vi_bytes(-0x55));
}

#include "backend/cpu_ternary.h"

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
			acc[i][3] = vi_dot(acc[i][3], first_digit(v), a);
		codes[i] = look_up(v);
	}
	UNROLL(part, 4) {
		a = vi_load(q + TERNARY_BLOCK * g + 64 * part);
		UNROLL(i, BASE3_OUTS)
			acc[i][part] = vi_dot(acc[i][part], vi_masked(codes[i],
			    part), a);
	}
}

/* BASE3_OUTS outputs of one row of activations, of which n_o are kept. */
INLINE void
one_tile(const struct ternary *w, int o, int n_o, const struct cpu_rows *x,
    float *y, bool add)
{
	size_t stride = (size_t)w->stride;
	const uint8_t *p = w->codes + (size_t)o * stride, *next = p + AHEAD;
	const int8_t *q = x->q;
	int n = ternary_blocks(w);
	vi acc[BASE3_OUTS][4], sum[4];

	UNROLL(i, BASE3_OUTS)
		UNROLL(part, 4)
			acc[i][part] = vi_zero();
	for (; n >= SPAN_BLOCKS; n -= SPAN_BLOCKS, q += BASE3_COLUMNS) {
		UNROLL(g, SPAN_GROUPS) {
			UNROLL(i, BASE3_OUTS)
				__builtin_prefetch(next + 64 * i);
			next += 64 * BASE3_OUTS;
			one_group(p, stride, n_o, g, true, q, acc);
		}
		p += 64 * SPAN_GROUPS;
	}
	for (; n > 0; n--, p += 64, q += TERNARY_BLOCK)
		one_group(p, stride, n_o, 0, false, q, acc);
	UNROLL(i, BASE3_OUTS)
		sum[i] = vi_add(vi_add(acc[i][0], vi_shift(acc[i][1], 2)),
		    vi_add(vi_shift(acc[i][2], 4), vi_shift(acc[i][3], 6)));
	finish(vi_sums(sum), x, 0, 2, w->scales + o, n_o, y + o, add);
}

TARGET static void
one_row(const struct ternary *w, int from, int to, const struct cpu_rows *x,
    float *y, bool add)
{
	for (int o = from; o < to; o += BASE3_OUTS)
		one_tile(w, o, to - o < BASE3_OUTS ? to - o : BASE3_OUTS, x, y,
		    add);
}

void
cpu_avx512_vbmi_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add)
{
	if (w->form == TERNARY_T2)
		cpu_avx512_ternary(w, from, to, x, n_rows, y, y_stride, add);
	else if (n_rows > 1 || cpu_in_groups(w->group, w->n_in))
		products(w, from, to, x, n_rows, y, y_stride, add);
	else
		one_row(w, from, to, x, y, add);
}
