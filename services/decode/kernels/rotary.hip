/*
 * Rotary positions, the norm of heads before them, and keys and values into the cache.
 * A wave does a head.  The same functions run here, for batches with several rows of a
 * sequence, and inside attention, which then needs no launch before it.
 */

/* A page of a kv head: blocks of keys, then of values. */
DEVICE uint16_t *
page_of(const gpu_attention &p, int32_t page, int kv)
{
	return p.cache + ((size_t)page * p.n_kv_heads + kv) * (2 * GPU_PAGE * p.dim_stride);
}

DEVICE int key_at(int slot, int d) { return d / 32 * (32 * GPU_PAGE) + slot * 32 + d % 32; }

DEVICE int
value_at(const gpu_attention &p, int slot, int d)
{
	return GPU_PAGE * (p.dim_stride + d) + slot;
}

/* As f16, and finite whatever it is: see gpu_attention.cache. */
DEVICE uint16_t
fit_half(float v)
{
	return float_half(max_(-65504.0f, min_(65504.0f, v)));
}

/* 1 / root of the mean square of a head, or 1 without a norm. */
DEVICE float
head_factor(const float *x, const float *norm, int dim, float eps)
{
	float squares = 0;

	if (norm == nullptr)
		return 1.0f;
	ROLLED for (int d = tid() % 32; d < dim; d += 32)
		squares = fma_(x[d], x[d], squares);
	squares = sum_f(squares, 32);
	return rsqrt_(div_(squares, (float)dim) + eps);
}

/* Cosines and sines of a position. */
DEVICE const float *
turns_of(const gpu_attention &p, int pos)
{
	return p.rotary + (size_t)pos * p.head_dim;
}

/* Of pair i of a head: where it is, and what it becomes. */
struct rotated {
	int first, second;
	float a, b;
};

DEVICE rotated
rotate(const gpu_attention &p, const float *x, const float *norm, float factor, int i,
    const float *turns)
{
	int half = p.head_dim / 2;
	const float *r = turns + 2 * i;
	rotated o;
	float a, b;

	o.first = p.interleaved ? 2 * i : i;
	o.second = p.interleaved ? 2 * i + 1 : i + half;
	a = x[o.first];
	b = x[o.second];
	if (norm != nullptr) {
		a *= factor * norm[o.first];
		b *= factor * norm[o.second];
	}
	o.a = fma_(a, r[0], -(b * r[1]));
	o.b = fma_(b, r[0], a * r[1]);
	return o;
}

/* Of a head, by a wave: put(dimension, value). */
template<class PUT> DEVICE void
rotate_head(const gpu_attention &p, const float *x, const float *norm, const float *turns,
    PUT put)
{
	float factor = head_factor(x, norm, p.head_dim, p.eps);

	ROLLED for (int i = tid() % 32; i < p.head_dim / 2; i += 32) {
		rotated o = rotate(p, x, norm, factor, i, turns);

		put(o.first, o.a);
		put(o.second, o.b);
	}
}

/* To its page, and to own if that is not NULL, with zeros behind it there. */
DEVICE void
store_key(const gpu_attention &p, const float *x, const float *turns, int pos, uint16_t *page,
    uint16_t *own)
{
	rotate_head(p, x, p.k_norm, turns, [&](int d, float v) {
		uint16_t h = fit_half(v);

		page[key_at(pos % GPU_PAGE, d)] = h;
		if (own != nullptr)
			own[d] = h;
	});
	if (own != nullptr)
		ROLLED for (int d = p.head_dim + tid() % 32; d < p.dim_stride; d += 32)
			own[d] = 0;
}

DEVICE void
store_value(const gpu_attention &p, const float *x, int pos, uint16_t *page, uint16_t *own)
{
	ROLLED for (int d = tid() % 32; d < p.head_dim; d += 32) {
		uint16_t h = fit_half(x[d]);

		page[value_at(p, pos % GPU_PAGE, d)] = h;
		if (own != nullptr)
			own[d] = h;
	}
	if (own != nullptr)
		ROLLED for (int d = p.head_dim + tid() % 32; d < p.dim_stride; d += 32)
			own[d] = 0;
}

/* A block per row: its queries in place, its keys and values into the cache. */
KERNEL(GPU_THREADS, gpu_store, gpu_attention)
{
	const gpu_row row = p.batch.rows[bx()];
	int32_t page = p.batch.tables[row.table + row.pos / GPU_PAGE];
	float *x = p.qkv + (size_t)bx() * p.qkv_stride;
	int n = p.n_heads + 2 * p.n_kv_heads;

	wait_for_last();
	for (int h = tid() / 32; h < n; h += GPU_WAVES) {
		int kv = h - p.n_heads;
		float *head = x + h * p.head_dim;

		if (kv < 0)
			rotate_head(p, head, p.q_norm, turns_of(p, row.pos),
			    [&](int d, float v) { head[d] = v; });
		else if (kv < p.n_kv_heads)
			store_key(p, head, turns_of(p, row.pos), row.pos, page_of(p, page, kv),
			    nullptr);
		else
			store_value(p, head, row.pos, page_of(p, page, kv - p.n_kv_heads),
			    nullptr);
	}
}
