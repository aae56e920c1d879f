/*
 * RMSNorm and int8.  The codes do not depend on the root: q = round(127 x w / max
 * |x w|), so sum of squares and maximum are found in one pass, and only the factor
 * knows both.  The order of the sum is always the same: GPU_SLICES slices, each by the
 * lanes of a wave and a butterfly, then one after another.  The waves of a block are
 * divided among its rows, and the slices of a row among its waves.
 */
enum { SLICE_STEP = 32 * GPU_SLICES };	/* fours of columns */

struct measure {
	float squares, top;
};

/* What the rows of a block are, in its shared memory. */
struct rows_shared {
	measure slice[GPU_FEW][GPU_SLICES];
	float scale[GPU_FEW];
	int sum[GPU_FEW];
};

/* Four columns of a row into m; *v is multiplied with the norm's weights. */
DEVICE measure
measure_4(measure m, f4 *v, f4 w)
{
	m.squares = fma_(v->x, v->x, m.squares);
	m.squares = fma_(v->y, v->y, m.squares);
	m.squares = fma_(v->z, v->z, m.squares);
	m.squares = fma_(v->w, v->w, m.squares);
	v->x *= w.x, v->y *= w.y, v->z *= w.z, v->w *= w.w;
	m.top = max_(m.top, max_(max_(abs_(v->x), abs_(v->y)), max_(abs_(v->z), abs_(v->w))));
	return m;
}

/* Columns 4i.. of the norm's weights; without a norm they are 1, which changes nothing. */
DEVICE f4
weights_of(const float *w, int i)
{
	f4 v = { 1, 1, 1, 1 };

	if (w != nullptr)
		v = ((const f4 *)w)[i];
	return v;
}

/* Of the slice: sum of x^2 and max |x w|, four loads at a time.  w may be NULL: 1. */
DEVICE measure
measure_slice(const float *x, const float *w, int n4, int slice)
{
	enum { AHEAD = 4 };
	const f4 zero = { 0, 0, 0, 0 };
	measure r = { 0, 0 };

	ROLLED for (int i = slice * 32 + tid() % 32; i < n4; i += AHEAD * SLICE_STEP) {
		f4 v[AHEAD], f[AHEAD];

		for (int k = 0; k < AHEAD; k++) {
			int at = i + k * SLICE_STEP;

			v[k] = f[k] = zero;
			if (at < n4) {
				v[k] = ((const f4 *)x)[at];
				f[k] = weights_of(w, at);
			}
		}
		for (int k = 0; k < AHEAD; k++)
			r = measure_4(r, &v[k], f[k]);
	}
	r.squares = sum_f(r.squares, 32);
	r.top = top_f(r.top, 32);
	return r;
}

DEVICE measure
join(measure a, measure b)
{
	measure r = { a.squares + b.squares, max_(a.top, b.top) };

	return r;
}

/* Of a whole row, by all waves of a block of GPU_THREADS; slice: shared memory. */
DEVICE measure
measure_block(const float *x, const float *w, int n4, measure *slice)
{
	measure m;

	ROLLED for (int i = tid() / 32; i < GPU_SLICES; i += GPU_WAVES) {
		m = measure_slice(x, w, n4, i);
		if (tid() % 32 == 0)
			slice[i] = m;
	}
	sync();
	m = slice[0];
	ROLLED for (int i = 1; i < GPU_SLICES; i++)
		m = join(m, slice[i]);
	return m;
}

/* What a row is multiplied with before it is rounded, and what a step is worth. */
DEVICE float
row_factor(measure m, bool normed, int n, float eps, float *scale)
{
	float inv = normed ? rsqrt_(div_(m.squares, (float)n) + eps) : 1.0f;
	float top = max_(m.top * inv, 1e-5f);

	*scale = top * (1.0f / 127.0f);
	return div_(127.0f, top) * inv;
}

/*
 * Where a chunk of 16 columns is in a row of int8 in shared memory: those of odd
 * blocks change places, so that lanes which read the same chunk of neighbouring
 * blocks meet other banks.
 */
DEVICE int
chunk_at(int chunk)
{
	return chunk ^ (chunk >> 4 & 1) << 2;
}

/* Columns 4i.. of x times the norm's weights. */
DEVICE f4
weighted(const float *x, const float *w, int i, int n4)
{
	f4 v = { 0, 0, 0, 0 };

	if (i >= n4)
		return v;
	f4 f = weights_of(w, i);

	v = ((const f4 *)x)[i];
	v.x *= f.x, v.y *= f.y, v.z *= f.z, v.w *= f.w;
	return v;
}

/* Returns the sum of the four. */
DEVICE int
put_4(f4 v, float factor, uint32_t *to)
{
	*to = pack4(to_i8(v.x * factor), to_i8(v.y * factor), to_i8(v.z * factor),
	    to_i8(v.w * factor));
	return dot4s(*to, 0x01010101u, 0);
}

/* Where columns 4i.. go in shared memory. */
DEVICE int
place_of(int i)
{
	return chunk_at(i / 4) * 4 + i % 4;
}

/* Measures of N slices from first on, step apart, by one wave: all loads of a turn at once. */
template<int N> DEVICE void
measure_slices(const float *x, const float *w, int n4, int first, int step, measure *slice)
{
	const f4 zero = { 0, 0, 0, 0 };
	measure m[N];

	for (int k = 0; k < N; k++)
		m[k].squares = m[k].top = 0;
	ROLLED for (int i = first * 32 + tid() % 32; i < n4; i += SLICE_STEP) {
		f4 v[N], f[N];

		UNROLLED for (int k = 0; k < N; k++) {
			int at = i + k * step * 32;

			v[k] = f[k] = zero;
			if (at < n4) {
				v[k] = ((const f4 *)x)[at];
				f[k] = weights_of(w, at);
			}
		}
		UNROLLED for (int k = 0; k < N; k++)
			m[k] = measure_4(m[k], &v[k], f[k]);
	}
	ROLLED for (int mask = 16; mask > 0; mask /= 2)
		UNROLLED for (int k = 0; k < N; k++) {
			m[k].squares += xor_f(m[k].squares, mask);
			m[k].top = max_(m[k].top, xor_f(m[k].top, mask));
		}
	if (tid() % 32 == 0)
		for (int k = 0; k < N; k++)
			slice[first + k * step] = m[k];
}

/*
 * Rows of a block, each by GPU_WAVES / R of its waves: q [R, 64 * units], s->scale, s->sum
 * of the n_rows that are meant.  A barrier is left to the caller.
 */
template<int R> DEVICE void
quantise_rows(const gpu_product &p, int8_t *q, rows_shared *s)
{
	enum { WAVES = GPU_WAVES / R, LANES = 32 * WAVES };
	enum { AHEAD = R < GPU_FEW ? 4 : 2 };	/* registers are short with many rows */
	enum { AT_ONCE = GPU_SLICES / WAVES < AHEAD ? GPU_SLICES / WAVES : AHEAD };
	int r = tid() / LANES, lane = tid() % LANES, n4 = (p.n_in + 3) / 4, total = 0;
	int n = p.w.units * 16;
	const float *x = p.x + (size_t)r * p.x_stride;
	float factor, scale;
	measure m;

	if (tid() < R)
		s->sum[tid()] = 0;
	if (r < p.n_rows)
		ROLLED for (int i = lane / 32; i < GPU_SLICES; i += AT_ONCE * WAVES)
			measure_slices<AT_ONCE>(x, p.norm, n4, i, WAVES, s->slice[r]);
	sync();
	if (r >= p.n_rows)
		return;
	m = s->slice[r][0];
	ROLLED for (int i = 1; i < GPU_SLICES; i++)
		m = join(m, s->slice[r][i]);
	factor = row_factor(m, p.norm != nullptr, p.n_in, p.eps, &scale);
	q += (size_t)r * n * 4;
	ROLLED for (int first = lane; first < n; first += AHEAD * LANES) {
		f4 v[AHEAD];

		UNROLLED for (int k = 0; k < AHEAD; k++)
			v[k] = weighted(x, p.norm, first + k * LANES, n4);
		UNROLLED for (int k = 0; k < AHEAD; k++)
			if (first + k * LANES < n)
				total += put_4(v[k], factor, (uint32_t *)q +
				    place_of(first + k * LANES));
	}
	total = sum_i(total, 32);
	if (tid() % 32 == 0)
		add_shared(&s->sum[r], total);
	if (lane == 0)
		s->scale[r] = scale;
}

/*
 * Where gpu_wgmma has columns 4i.. of row r of rows: the bytes of 128 columns of all rows
 * stand together.  64 columns are multiplied by two instructions of 32, of which lane t of
 * four has k = 4 t.. and 16 + 4 t..: those are its columns 16 t + 8 s.. and 4 further, since
 * a unit of codes has 16 columns in a row.
 */
DEVICE size_t
wgmma_place(int r, int i, int rows)
{
	int chunk = i / 16 % 2 * 4 + i % 4;

	return ((size_t)(i / 32) * rows + r) * 32 + (chunk ^ r % 8) * 4 + i % 16 / 4;
}

/*
 * A row by all waves for products that do not quantise for themselves.  Its first columns
 * are kept in registers; the order of the sums is that of measure_block.
 */
enum { QUANTISE_HELD = 8, QUANTISE_TURNS = GPU_SLICES / GPU_WAVES };

/* Butterflies of all turns at once, which do not wait for each other; a maximum is the
 * same in any order. */
DEVICE void
quantise_join(measure *m)
{
	UNROLLED for (int k = 1; k < QUANTISE_TURNS; k++)
		m[0].top = max_(m[0].top, m[k].top);
	UNROLLED for (int step = 16; step > 0; step /= 2) {
		UNROLLED for (int k = 0; k < QUANTISE_TURNS; k++)
			m[k].squares += xor_f(m[k].squares, step);
		m[0].top = max_(m[0].top, xor_f(m[0].top, step));
	}
}

/* The QUANTISE_TURNS slices of a wave; v: columns times weights. */
DEVICE void
quantise_measure(const float *x, const float *w, int n4, f4 *v, rows_shared *s)
{
	measure m[QUANTISE_TURNS];

	for (int i = 0; i < QUANTISE_TURNS; i++)
		m[i].squares = m[i].top = 0;
	UNROLLED for (int k = 0; k < QUANTISE_HELD; k++) {
		int i = tid() + k * GPU_THREADS;

		v[k].x = v[k].y = v[k].z = v[k].w = 0;
		if (i < n4)
			v[k] = ((const f4 *)x)[i];
	}
	UNROLLED for (int k = 0; k < QUANTISE_HELD; k++) {
		int i = tid() + k * GPU_THREADS;

		if (i < n4)
			m[k % QUANTISE_TURNS] = measure_4(m[k % QUANTISE_TURNS], &v[k],
			    weights_of(w, i));
	}
	for (int k = 0; k < QUANTISE_TURNS; k++)
		ROLLED for (int i = tid() + (QUANTISE_HELD + k) * GPU_THREADS; i < n4;
		    i += QUANTISE_TURNS * GPU_THREADS) {
			f4 more = ((const f4 *)x)[i];

			m[k] = measure_4(m[k], &more, weights_of(w, i));
		}
	quantise_join(m);
	if (tid() % 32 == 0)
		for (int k = 0; k < QUANTISE_TURNS; k++) {
			s->slice[0][k * GPU_WAVES + tid() / 32].squares = m[k].squares;
			s->slice[0][k * GPU_WAVES + tid() / 32].top = m[0].top;
		}
}

/* Columns 4i.. of row r of what the GEMM takes; returns their sum. */
DEVICE int
quantise_put(const gpu_product &p, int r, int i, f4 v, float factor)
{
	size_t at = p.q_rows > 0 ? wgmma_place(r, i, p.q_rows) :
	    (size_t)r * p.w.units * 16 + i;

	return put_4(v, factor, (uint32_t *)p.q + at);
}

KERNEL_BLOCKS(GPU_THREADS, 5, gpu_quantise, gpu_product)
{
	SHARED rows_shared s;
	int r = bx(), n4 = (p.n_in + 3) / 4, total = 0;
	const float *x = p.x + (size_t)r * p.x_stride;
	f4 v[QUANTISE_HELD];
	float factor, scale;
	measure m;

	if (tid() == 0)
		s.sum[0] = 0;
	wait_for_last();
	quantise_measure(x, p.norm, n4, v, &s);
	sync();
	m = s.slice[0][0];
	UNROLLED for (int i = 1; i < GPU_SLICES; i++)
		m = join(m, s.slice[0][i]);
	factor = row_factor(m, p.norm != nullptr, p.n_in, p.eps, &scale);
	UNROLLED for (int k = 0; k < QUANTISE_HELD; k++)
		if (tid() + k * GPU_THREADS < p.w.units * 16)
			total += quantise_put(p, r, tid() + k * GPU_THREADS, v[k], factor);
	ROLLED for (int i = tid() + QUANTISE_HELD * GPU_THREADS; i < p.w.units * 16;
	    i += GPU_THREADS)
		total += quantise_put(p, r, i, weighted(x, p.norm, i, n4), factor);
	total = sum_i(total, 32);
	if (tid() % 32 == 0)
		add_shared(&s.sum[0], total);
	sync();
	if (tid() == 0) {
		p.q_scale[r] = scale;
		p.q_sum[r] = s.sum[0];
	}
}
