/*
 * Embedding, the norm before the head, and the head.  The hidden state goes into an
 * int8 head as 16-bit integers in two planes of bytes, so nothing worth a name is lost,
 * and the sum of a row is one integer; heads of floats, and int8 with factors for groups
 * of columns, are summed as floats in a fixed order.
 */

/* Element at of row o as a float. */
DEVICE float
dense_value(const gpu_dense &w, size_t o, int at)
{
	const uint8_t *row = w.data + o * w.units * 16;

	if (w.type == GPU_I8)
		return (float)((const int8_t *)row)[at] *
		    w.scales[o * w.n_groups + min_i(at / w.group, w.n_groups - 1)];
	if (w.type == GPU_F32)
		return ((const float *)row)[at];
	if (w.type == GPU_F16)
		return half_float(((const uint16_t *)row)[at]);
	return bits_float((uint32_t)((const uint16_t *)row)[at] << 16);
}

/* A block per row of the batch. */
KERNEL(GPU_THREADS, gpu_embed_rows, gpu_embed)
{
	wait_for_last();
	size_t token = (size_t)p.batch.rows[bx()].token;

	for (int i = tid(); i < p.x_stride; i += GPU_THREADS)
		p.x[(size_t)bx() * p.x_stride + i] = i < p.w.n_in ?
		    dense_value(p.w, token, i) : 0;
}

DEVICE float
final_value(const gpu_final &p, const float *x, int i, float inv)
{
	return i < p.n_in ? x[i] * inv * p.norm[i] : 0;
}

/* A block per wanted row. */
KERNEL(GPU_THREADS, gpu_final_rows, gpu_final)
{
	SHARED measure slice[GPU_SLICES];
	SHARED int sum[2];
	wait_for_last();
	const float *x = p.x + (size_t)p.batch.wanted[bx()] * p.x_stride;
	int8_t *first = p.q + (size_t)bx() * 2 * p.q_stride, *second = first + p.q_stride;
	measure m;
	int high_sum = 0, low_sum = 0;
	float inv, top, factor;

	if (tid() < 2)
		sum[tid()] = 0;
	m = measure_block(x, p.norm, (p.n_in + 3) / 4, slice);
	inv = rsqrt_(div_(m.squares, (float)p.n_in) + p.eps);
	top = max_(m.top * inv, 1e-30f);
	factor = div_(32512.0f, top);
	for (int i = tid(); i < p.f_stride; i += GPU_THREADS)
		p.f[(size_t)bx() * p.f_stride + i] = final_value(p, x, i, inv);
	for (int i = tid(); i < p.q_stride; i += GPU_THREADS) {
		float v = rint_(final_value(p, x, i, inv) * factor);
		int q = (int)max_(-32512.0f, min_(32512.0f, v)), high = (q + 128) >> 8;

		first[i] = (int8_t)high;
		second[i] = (int8_t)(q - high * 256);
		high_sum += high;
		low_sum += q - high * 256;
	}
	high_sum = sum_i(high_sum, 32);
	low_sum = sum_i(low_sum, 32);
	if (tid() % 32 == 0) {
		add_shared(&sum[0], high_sum);
		add_shared(&sum[1], low_sum);
	}
	sync();
	if (tid() < 2)
		p.sum[2 * bx() + tid()] = sum[tid()];
	if (tid() == 0)
		p.scale[bx()] = div_(top, 32512.0f);
}

/* The rows that somebody outside wants: a block each, floats only. */
KERNEL(GPU_THREADS, gpu_hidden_rows, gpu_final)
{
	SHARED measure slice[GPU_SLICES];
	wait_for_last();
	const float *x = p.x + (size_t)p.batch.wanted[bx()] * p.x_stride;
	measure m = measure_block(x, p.norm, (p.n_in + 3) / 4, slice);
	float inv = rsqrt_(div_(m.squares, (float)p.n_in) + p.eps);

	for (int i = tid(); i < p.n_in; i += GPU_THREADS)
		p.f[(size_t)bx() * p.f_stride + i] = final_value(p, x, i, inv);
}

/* Both planes of R rows, as they are in memory. */
template<int R> DEVICE void
head_take(const gpu_head &p, int8_t *q)
{
	wait_for_last();
	for (int i = tid(); i < p.n_rows * p.q_stride / 8; i += GPU_THREADS)
		((u4 *)q)[i] = load_u4(p.q + 16 * (size_t)i);
	sync();
}

DEVICE int
dot16s(u4 a, u4 b, int sum)
{
	return dot4s(a.w, b.w, dot4s(a.z, b.z, dot4s(a.y, b.y, dot4s(a.x, b.x, sum))));
}

/* int8 with a factor a row: a wave per row of the head. */
template<int R> DEVICE void
head_i8(const gpu_head &p)
{
	DYNAMIC_SHARED(smem);
	enum { AHEAD = 5 };
	const int8_t *q = (const int8_t *)smem;
	int o = bx() * GPU_WAVES + tid() / 32, lane = tid() % 32;
	const uint8_t *row = p.w.data + (size_t)min_i(o, p.w.n_out - 1) * p.w.units * 16;
	int first[R], second[R];
	u4 w[AHEAD];

	for (int r = 0; r < R; r++)
		first[r] = second[r] = 0;
	for (int i = 0; i < AHEAD; i++)
		if (lane + 32 * i < p.w.units)
			w[i] = load_once(row + 16 * (lane + 32 * i));
	head_take<R>(p, (int8_t *)smem);
	for (int at = lane; at < p.w.units; at += 32 * AHEAD)
		for (int i = 0; i < AHEAD; i++) {
			int u = at + 32 * i;

			if (u >= p.w.units)
				break;
			if (at != lane)
				w[i] = load_once(row + 16 * u);
			for (int r = 0; r < R; r++) {
				const int8_t *x = q + 2 * r * p.q_stride + 16 * u;

				first[r] = dot16s(w[i], load_u4(x), first[r]);
				second[r] = dot16s(w[i], load_u4(x + p.q_stride), second[r]);
			}
		}
	for (int r = 0; r < R; r++) {
		float a = (float)sum_i(first[r], 32), b = (float)sum_i(second[r], 32);

		if (lane == 0 && o < p.w.n_out && r < p.n_rows)
			p.logits[(size_t)r * p.w.n_out + o] = fma_(256.0f, a, b) *
			    (p.w.scales[o] * p.scale[r]);
	}
}

KERNEL(GPU_THREADS, gpu_head_i8_1, gpu_head) { head_i8<1>(p); }
KERNEL(GPU_THREADS, gpu_head_i8_2, gpu_head) { head_i8<2>(p); }
KERNEL(GPU_THREADS, gpu_head_i8_4, gpu_head) { head_i8<4>(p); }
KERNEL(GPU_THREADS, gpu_head_i8_8, gpu_head) { head_i8<8>(p); }

/* Unit u of a row of codes: for 16 columns at a time, as bytes. */
template<int TYPE> struct packed_unit {
	enum { PARTS = TYPE == GPU_Q4 ? 1 : 3, CHUNKS = TYPE == GPU_Q4 ? 2 : 4 };
	u4 w[PARTS];

	DEVICE_MEMBER void load(const uint8_t *row, int u)
	{
		if (TYPE == GPU_Q4)
			w[0] = load_once(row + 16 * u);
		else
			for (int i = 0; i < PARTS; i++)
				w[i] = load_once(row + u / 4 * 192 + 64 * i + u % 4 * 16);
	}
	DEVICE_MEMBER static int column(int u, int i)
	{
		return u / 4 * 64 * CHUNKS + 64 * i + u % 4 * 16;
	}
	DEVICE_MEMBER static uint32_t code(uint32_t upper, uint32_t lower, int i)
	{
		uint32_t c = upper >> i % 2 * 4 & 0x0f0f0f0fu;

		return TYPE == GPU_Q4 ? c : c << 2 | (lower >> 2 * i & 0x03030303u);
	}
	DEVICE_MEMBER u4 codes(int i)
	{
		u4 a = w[i / 2], b = w[PARTS - 1];
		u4 c = { code(a.x, b.x, i), code(a.y, b.y, i), code(a.z, b.z, i),
			code(a.w, b.w, i) };

		return c;
	}
};

DEVICE int
dot16u(u4 a, u4 b, int sum)
{
	return dot4(a.w, b.w, dot4(a.z, b.z, dot4(a.y, b.y, dot4(a.x, b.x, sum))));
}

/* Codes of 4 or 6 bits: value = scale * (2 code - 15 or 63). */
template<int TYPE, int R> DEVICE void
head_packed(const gpu_head &p)
{
	DYNAMIC_SHARED(smem);
	enum { OFFSET = TYPE == GPU_Q4 ? 15 : 63 };
	const int8_t *q = (const int8_t *)smem;
	int lanes = p.w.lanes, lane = tid() % lanes;
	int o = bx() * (GPU_THREADS / lanes) + tid() / lanes;
	int units = p.w.units / packed_unit<TYPE>::PARTS;
	const uint8_t *row = p.w.data + (size_t)min_i(o, p.w.n_out - 1) * p.w.units * 16;
	int first[R], second[R];

	for (int r = 0; r < R; r++)
		first[r] = second[r] = 0;
	head_take<R>(p, (int8_t *)smem);
	for (int u = lane; u < units; u += lanes) {
		packed_unit<TYPE> w;

		w.load(row, u);
		for (int i = 0; i < packed_unit<TYPE>::CHUNKS; i++) {
			u4 c = w.codes(i);

			for (int r = 0; r < R; r++) {
				const int8_t *x = q + 2 * r * p.q_stride + w.column(u, i);

				first[r] = dot16u(c, load_u4(x), first[r]);
				second[r] = dot16u(c, load_u4(x + p.q_stride), second[r]);
			}
		}
	}
	for (int r = 0; r < R; r++) {
		int a = sum_i(first[r], lanes), b = sum_i(second[r], lanes);

		if (lane == 0 && o < p.w.n_out && r < p.n_rows)
			p.logits[(size_t)r * p.w.n_out + o] =
			    fma_(256.0f, (float)(2 * a - OFFSET * p.sum[2 * r]),
			    (float)(2 * b - OFFSET * p.sum[2 * r + 1])) *
			    (p.w.scales[o] * p.scale[r]);
	}
}

#define HEAD_PACKED(R)                                                            \
	KERNEL(GPU_THREADS, gpu_head_q4_##R, gpu_head) { head_packed<GPU_Q4, R>(p); } \
	KERNEL(GPU_THREADS, gpu_head_q6_##R, gpu_head) { head_packed<GPU_Q6, R>(p); }
HEAD_PACKED(1)
HEAD_PACKED(2)
HEAD_PACKED(4)
HEAD_PACKED(8)

/* Any other: a wave per row of the head, floats. */
KERNEL(GPU_THREADS, gpu_head_float, gpu_head)
{
	int o = bx() * GPU_WAVES + tid() / 32, lane = tid() % 32;
	float sum[GPU_FEW];

	for (int r = 0; r < GPU_FEW; r++)
		sum[r] = 0;
	wait_for_last();
	if (o < p.w.n_out)
		for (int i = lane; i < p.w.n_in; i += 32) {
			float w = dense_value(p.w, (size_t)o, i);

			for (int r = 0; r < p.n_rows; r++)
				sum[r] = fma_(w, p.f[(size_t)r * p.f_stride + i], sum[r]);
		}
	for (int r = 0; r < p.n_rows; r++) {
		float v = sum_f(sum[r], 32);

		if (lane == 0 && o < p.w.n_out)
			p.logits[(size_t)r * p.w.n_out + o] = v;
	}
}
