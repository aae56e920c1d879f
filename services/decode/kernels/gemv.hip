/*
 * Ternary matrix times 1 to GPU_FEW rows: what decoding spends its time on.  The
 * weights of a lane's first units are asked for before anything else, so that they
 * come while the block normalises and quantises its rows.  Codes are multiplied as
 * they stand, 0, 1, 2 for -1, 0, 1, and the sum of the row is subtracted at the end:
 * all of that is integers, so nothing depends on how a row is divided among lanes.
 */
enum { UNITS_AHEAD = 5 };	/* units that a lane has asked for: 2560 columns are
				 * 40 units, 5 for each of 8 lanes */

enum product_mode { PRODUCT_SET, PRODUCT_ADD, PRODUCT_GATE };

/* Chunk of 16 columns that mask i of unit u meets. */
DEVICE int chunk_of(int u, int i) { return u / 4 * 16 + 4 * i + u % 4; }

/* Where it is in shared memory: 16 * chunk_at(chunk_of(u, i)), in fewer instructions. */
DEVICE int
columns_at(int u, int i)
{
	int odd = (u >> 2 & 1) * 64;

	return (u >> 2) * 256 + (u & 3) * 16 + i * 64 + (i % 2 == 0 ? odd : -odd);
}

/* Codes of mask i as bytes 0, 1, 2. */
DEVICE u4
codes_of(u4 w, int i)
{
	u4 c = { w.x >> 2 * i & 0x03030303u, w.y >> 2 * i & 0x03030303u,
		w.z >> 2 * i & 0x03030303u, w.w >> 2 * i & 0x03030303u };

	return c;
}

DEVICE int
dot16(u4 w, u4 x, int sum)
{
	return dot4(w.w, x.w, dot4(w.z, x.z, dot4(w.y, x.y, dot4(w.x, x.x, sum))));
}

/*
 * One row: the codes are masked in place, so they are 1, 4, 16 and 64 times too
 * large, and each of the four sums is divided once, when all is added up.  A sum
 * stays inside 32 bits: 127 * 2 * 64 * 65536 columns a lane at most.
 */
template<int R> struct sums {
	int of[R];

	DEVICE_MEMBER void clear()
	{
		for (int r = 0; r < R; r++)
			of[r] = 0;
	}
	DEVICE_MEMBER void add(u4 w, int u, const int8_t *q, int stride)
	{
		for (int i = 0; i < 4; i++) {
			u4 c = codes_of(w, i);
			const int8_t *at = q + columns_at(u, i);

			for (int r = 0; r < R; r++)
				of[r] = dot16(c, load_u4(at + r * stride), of[r]);
		}
	}
	DEVICE_MEMBER int total(int r) { return of[r]; }
};

template<> struct sums<1> {
	int of[4];

	DEVICE_MEMBER void clear() { of[0] = of[1] = of[2] = of[3] = 0; }
	DEVICE_MEMBER void add(u4 w, int u, const int8_t *q, int)
	{
		for (int i = 0; i < 4; i++) {
			uint32_t mask = 0x03030303u << 2 * i;
			u4 c = { w.x & mask, w.y & mask, w.z & mask, w.w & mask };

			of[i] = dot16(c, load_u4(q + columns_at(u, i)), of[i]);
		}
	}
	DEVICE_MEMBER int total(int)
	{
		return of[0] + (of[1] >> 2) + (of[2] >> 4) + (of[3] >> 6);
	}
};

/* Factors for groups of columns: a float sum in the order of a lane's units. */
template<int R> struct group_sums {
	float of[R];

	DEVICE_MEMBER void clear()
	{
		for (int r = 0; r < R; r++)
			of[r] = 0;
	}
	DEVICE_MEMBER void add(u4 w, int u, const int8_t *q, int stride, const gpu_matrix &m,
	    const float *scales)
	{
		const u4 ones = { 0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u };

		for (int i = 0; i < 4; i++) {
			u4 c = codes_of(w, i);
			int chunk = chunk_of(u, i);
			float scale = scales[min_i(chunk * 16 / m.group, m.n_groups - 1)];

			for (int r = 0; r < R; r++) {
				u4 x = load_u4(q + r * stride + 16 * chunk_at(chunk));

				of[r] = fma_(scale, (float)(dot16(c, x, 0) -
				    dot16(ones, x, 0)), of[r]);
			}
		}
	}
};

/* A lane's first units of one row of weights, and its factor. */
struct asked {
	u4 w[UNITS_AHEAD];
	float scale;
};

DEVICE void
ask(const gpu_matrix &m, int row, int lane, asked *a)
{
	const uint8_t *codes = m.codes + (size_t)row * m.units * 16;

	for (int i = 0; i < UNITS_AHEAD; i++) {
		int u = lane + i * m.lanes;

		if (u < m.units)
			a->w[i] = load_once(codes + 16 * u);
	}
	a->scale = m.scales[row];
}

template<int R> DEVICE void
multiply(const gpu_matrix &m, int row, int lane, const asked &a, const int8_t *q,
    const int *sum, const float *scale, float *y)
{
	const uint8_t *codes = m.codes + (size_t)row * m.units * 16;
	int stride = m.units * 64;
	sums<R> s;

	s.clear();
	for (int i = 0; i < UNITS_AHEAD; i++)
		if (lane + i * m.lanes < m.units)
			s.add(a.w[i], lane + i * m.lanes, q, stride);
	ROLLED for (int u = lane + UNITS_AHEAD * m.lanes; u < m.units; u += m.lanes)
		s.add(load_once(codes + 16 * u), u, q, stride);
	for (int r = 0; r < R; r++)
		y[r] = (float)(sum_i(s.total(r), m.lanes) - sum[r]) * (a.scale * scale[r]);
}

template<int R> DEVICE void
multiply_groups(const gpu_matrix &m, int row, int lane, const int8_t *q, const float *scale,
    float *y)
{
	const uint8_t *codes = m.codes + (size_t)row * m.units * 16;
	group_sums<R> s;

	s.clear();
	ROLLED for (int u = lane; u < m.units; u += m.lanes)
		s.add(load_once(codes + 16 * u), u, q, m.units * 64, m,
		    m.scales + (size_t)row * m.n_groups);
	for (int r = 0; r < R; r++)
		y[r] = sum_f(s.of[r], m.lanes) * scale[r];
}

/* All rows of activations into shared memory, in whatever form they are given. */
template<int R> DEVICE void
take_rows(const gpu_product &p, int8_t *q, rows_shared *s)
{
	int stride = p.w.units * 64;

	wait_for_last();
	if (p.x == nullptr) {
		for (int i = tid(); i < p.n_rows * p.w.units * 4; i += GPU_THREADS) {
			int r = i / (p.w.units * 4), chunk = i % (p.w.units * 4);

			*(u4 *)(q + r * stride + 16 * chunk_at(chunk)) =
			    load_u4(p.q + (size_t)r * stride + 16 * chunk);
		}
		if (tid() < p.n_rows) {
			s->scale[tid()] = p.q_scale[tid()];
			s->sum[tid()] = p.q_sum[tid()];
		}
	} else {
		quantise_rows<R>(p, q, s);
	}
	sync();
}

DEVICE float
gate(float g, float u, bool silu)
{
	if (!silu)
		return (g > 0 ? g * g : 0) * u;
	return div_(g, 1.0f + exp2_(-1.44269504f * g)) * u;
}

template<int R, product_mode MODE> DEVICE void
put(const gpu_product &p, int out, const float *y, const float *up)
{
	for (int r = 0; r < R && r < p.n_rows; r++) {
		float *to = p.y + (size_t)r * p.y_stride + out;

		if (MODE == PRODUCT_SET)
			*to = y[r];
		else if (MODE == PRODUCT_ADD)
			*to += y[r];
		else
			*to = gate(y[r], up[r], p.silu != 0);
	}
}

/*
 * R: rows, n_rows of them meant; the others are not read: what is in shared memory then
 * gives numbers that are thrown away.  With fewer blocks than outputs a block goes on with
 * others, and the rows are quantised once for all of them.
 */
template<int R, product_mode MODE> DEVICE void
gemv(const gpu_product &p)
{
	DYNAMIC_SHARED(smem);
	SHARED rows_shared s;
	int8_t *q = (int8_t *)smem;
	int lanes = p.w.lanes, outs = GPU_THREADS / lanes;
	bool grouped = p.w.n_groups > 1, taken = false;

	ROLLED for (int first = bx() * outs; first < p.w.n_out; first += grid_size() * outs) {
		/* Addresses of all rows for all turns would fill the registers. */
		int lane = opaque(tid() % lanes), out = first + tid() / lanes, row = out;
		asked w, w_up;
		float y[R], up[R];

		if (MODE == PRODUCT_GATE)
			row = out / GPU_GATE_ROWS * 2 * GPU_GATE_ROWS + out % GPU_GATE_ROWS;
		/* Past the end: the first row again, so that all lanes go the same way. */
		if (out >= p.w.n_out)
			row = 0;
		if (!grouped) {
			ask(p.w, row, lane, &w);
			if (MODE == PRODUCT_GATE)
				ask(p.w, row + GPU_GATE_ROWS, lane, &w_up);
		}
		if (!taken)
			take_rows<R>(p, q, &s);
		taken = true;
		if (grouped) {
			multiply_groups<R>(p.w, row, lane, q, s.scale, y);
			if (MODE == PRODUCT_GATE)
				multiply_groups<R>(p.w, row + GPU_GATE_ROWS, lane, q, s.scale,
				    up);
		} else {
			multiply<R>(p.w, row, lane, w, q, s.sum, s.scale, y);
			if (MODE == PRODUCT_GATE)
				multiply<R>(p.w, row + GPU_GATE_ROWS, lane, w_up, q, s.sum,
				    s.scale, up);
		}
		if (lane == 0 && out < p.w.n_out)
			put<R, MODE>(p, out, y, up);
	}
}

/* BLOCKS: on a processor at once; without that addresses of several rows fill the registers. */
#define GEMV(R, BLOCKS)                                                               \
	GEMV_KERNEL(R, BLOCKS, set, PRODUCT_SET)                                      \
	GEMV_KERNEL(R, BLOCKS, add, PRODUCT_ADD)                                      \
	GEMV_KERNEL(R, BLOCKS, gate, PRODUCT_GATE)
#define GEMV_KERNEL(R, BLOCKS, name, MODE)                                            \
	KERNEL_BLOCKS(GPU_THREADS, BLOCKS, gpu_gemv_##name##_##R, gpu_product)        \
	{                                                                             \
		gemv<R, MODE>(p);                                                     \
	}
GEMV(1, 2)
GEMV(2, 2)
GEMV(4, 2)
GEMV(8, 1)
