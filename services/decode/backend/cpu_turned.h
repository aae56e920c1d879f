#ifndef DECODE_CPU_TURNED_H
#define DECODE_CPU_TURNED_H

/* The turned way of cpu_ternary.h, which says what it is and includes this. */

/* Blocks that are turned at once: of layout B3 whole spans. */
INLINE int
turn_blocks(const struct ternary *w)
{
	return w->form == TERNARY_T2 ? TURN_BLOCKS :
	    TURN_BLOCKS / SPAN_BLOCKS * SPAN_BLOCKS;
}

/* n blocks of outputs stride bytes apart, which begin at p; where they end. */
INLINE uint8_t *
turn_outs(const uint8_t *p, size_t stride, int n_o, int n, uint8_t *to)
{
	for (int at = 0; at < T2_BLOCK * n; at += VI_BYTES)
		UNROLL(v, 2) {
			const uint8_t *rows[VI_LANES];

			/* What is no output repeats the first, and is not kept. */
			UNROLL(i, VI_LANES) {
				int k = v * VI_LANES + i;

				rows[i] = p + (size_t)(k < n_o ? k : 0) * stride +
				    at;
				__builtin_prefetch(rows[i] + AHEAD / 8);
			}
			vi_turn(rows, to, 2 * VI_BYTES);
			to += v == 0 ? VI_BYTES : TURN_BLOCK * VI_BYTES / 64 -
			    VI_BYTES;
		}
	return to;
}

/*
 * Blocks first.. of TURN_OUTS outputs, as many as fit into the scratch: word d of
 * block b of outputs VI_LANES v.. is a vector at ((b * 16 + d) * 2 + v) *
 * VI_BYTES.
 */
TARGET static __attribute__((noinline)) void
turn(const struct ternary *w, int o, int n_o, int first)
{
	const uint8_t *p = w->codes + (size_t)o * (size_t)w->stride;
	int n = ternary_blocks(w) - first, most = turn_blocks(w);
	uint8_t *to = cpu_scratch(), *span = to + CPU_SCRATCH;

	n = n < most ? n : most;
	if (w->form == TERNARY_T2) {
		turn_outs(p + T2_BLOCK * first, (size_t)w->stride, n_o, n, to);
		return;
	}
	p += first / SPAN_BLOCKS * SPAN_GROUPS * T2_BLOCK;
	for (; n > 0; n -= SPAN_BLOCKS, p += SPAN_GROUPS * T2_BLOCK) {
		int k = n < SPAN_BLOCKS ? n : SPAN_BLOCKS;

		for (int i = 0; i < n_o; i++)
			unpack_blocks(p + (size_t)i * (size_t)w->stride, k,
			    span + i * SPAN_BLOCKS * T2_BLOCK);
		to = turn_outs(span, SPAN_BLOCKS * T2_BLOCK, n_o, k, to);
	}
}

/* Sums of one part, 64 columns, are added: p, q: where it begins. */
INLINE void
turned_part(const uint8_t *p, const int part, const int8_t *q, size_t stride,
    const int n_r, vi (*sum)[2])
{
	vi acc[TURN_ROWS][2], c[2], a;

	UNROLL(j, n_r)
		UNROLL(v, 2)
			acc[j][v] = vi_open(sum[j][v]);
#pragma GCC unroll 2
	for (int d = 0; d < 16; d++, p += 2 * VI_BYTES, q += 4) {
		UNROLL(v, 2)
			c[v] = vi_codes(vi_load(p + v * VI_BYTES), part);
		UNROLL(j, n_r) {
			a = vi_word(q + (size_t)j * stride);
			UNROLL(v, 2)
				acc[j][v] = vi_dot(acc[j][v], c[v], a);
		}
	}
	UNROLL(j, n_r)
		UNROLL(v, 2)
			sum[j][v] = vi_close(sum[j][v], acc[j][v]);
}

/* y (+)= (sum - sum of the row) * scales, or for groups total * scale. */
INLINE void
turned_finish(const struct ternary *w, int o, int n_o, const struct cpu_rows *x,
    int r, const int n_r, bool groups, vi (*sum)[2], vs (*total)[2], float *y,
    int y_stride, bool add)
{
	for (int j = 0; j < n_r; j++)
		for (int v = 0; v < 2; v++) {
			float *to = y + (size_t)(r + j) * (size_t)y_stride + o +
			    v * VI_LANES;
			int n = n_o - v * VI_LANES;
			vs f = vs_set1(x->scale[r + j]);

			if (n <= 0)
				continue;
			n = n < VI_LANES ? n : VI_LANES;
			if (groups)
				f = vs_mul(total[j][v], f);
			else
				f = vs_mul(vs_of(vi_sub(sum[j][v],
				    vi_set1(x->sum[r + j]))), vs_mul(vs_load_n(
				    w->scales + o + v * VI_LANES, n), f));
			if (add)
				f = vs_add(vs_load_n(to, n), f);
			vs_store_n(to, f, n);
		}
}

/* The sums of group g are whole: total += (sum - minus) * scales; sum = 0. */
INLINE void
turned_group(const struct ternary *w, int o, int n_o, int g, const int32_t *minus,
    const int n_r, vi (*sum)[2], vs (*total)[2])
{
	int n_groups = (w->n_in + w->group - 1) / w->group;
	float f[TURN_OUTS];

	for (int i = 0; i < TURN_OUTS; i++)
		f[i] = w->scales[(size_t)(o + (i < n_o ? i : 0)) *
		    (size_t)n_groups + (size_t)g];
	UNROLL(v, 2) {
		vs s = vs_load(f + v * VI_LANES);

		UNROLL(j, n_r) {
			total[j][v] = vs_add(total[j][v], vs_mul(vs_of(vi_sub(
			    sum[j][v], vi_set1(minus[j]))), s));
			sum[j][v] = vi_zero();
		}
	}
}

/* TURN_OUTS outputs of n_r rows; n_r and groups are constants after inlining. */
INLINE void
turned_rows(const struct ternary *w, int o, int n_o, const struct cpu_rows *x,
    int r, const int n_r, const bool groups, float *y, int y_stride, bool add)
{
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	const uint8_t *turned = cpu_scratch();
	const int32_t *parts = x->parts + (groups ? r * (x->stride / 64) : 0);
	int n_blocks = ternary_blocks(w), last = (w->n_in - 1) / 64, g = 0;
	int left = w->group / 64, most = turn_blocks(w);
	int32_t minus[TURN_ROWS] = { 0 };
	vi sum[TURN_ROWS][2];
	vs total[TURN_ROWS][2];

	UNROLL(j, n_r)
		UNROLL(v, 2) {
			sum[j][v] = vi_zero();
			total[j][v] = vs_zero();
		}
	for (int b = 0; b < n_blocks; b++) {
		if (n_blocks > most && b % most == 0)
			turn(w, o, n_o, b);
		UNROLL(part, 4) {
			int at = 4 * b + part;

			turned_part(turned + b % most * TURN_BLOCK, part,
			    q + 64 * at, (size_t)x->stride, n_r, sum);
			if (!groups || at > last)
				continue;
			UNROLL(j, n_r)
				minus[j] += parts[j * (x->stride / 64) + at];
			if (--left > 0 && at < last)
				continue;
			turned_group(w, o, n_o, g++, minus, n_r, sum, total);
			left = w->group / 64;
			UNROLL(j, n_r)
				minus[j] = 0;
		}
	}
	turned_finish(w, o, n_o, x, r, n_r, groups, sum, total, y, y_stride, add);
}

/* One function for each number of rows, which is a constant in it. */
#define TURNED(n, groups, name)                                              \
	TARGET static __attribute__((noinline)) void                         \
	name(const struct ternary *w, int o, int n_o,                        \
	    const struct cpu_rows *x, int r, float *y, int y_stride, bool add) \
	{                                                                    \
		turned_rows(w, o, n_o, x, r, n, groups, y, y_stride, add);   \
	}
TURNED(TURN_ROWS, false, turned_most)
TURNED(TURN_ROWS / 2, false, turned_half)
TURNED(1, false, turned_one)
TURNED(TURN_ROWS / 2, true, turned_groups_half)
TURNED(1, true, turned_groups_one)

TARGET static void
many_rows(const struct ternary *w, int from, int to, const struct cpu_rows *x,
    int n_rows, float *y, int y_stride, bool add)
{
	bool groups = cpu_in_groups(w->group, w->n_in);

	for (int o = from; o < to; o += TURN_OUTS) {
		int n_o = to - o < TURN_OUTS ? to - o : TURN_OUTS, r = 0;

		if (ternary_blocks(w) <= turn_blocks(w))
			turn(w, o, n_o, 0);
		for (; !groups && r + TURN_ROWS <= n_rows; r += TURN_ROWS)
			turned_most(w, o, n_o, x, r, y, y_stride, add);
		for (; r + TURN_ROWS / 2 <= n_rows; r += TURN_ROWS / 2)
			(groups ? turned_groups_half : turned_half)(w, o, n_o, x,
			    r, y, y_stride, add);
		for (; r < n_rows; r++)
			(groups ? turned_groups_one : turned_one)(w, o, n_o, x, r,
			    y, y_stride, add);
	}
}

#endif
