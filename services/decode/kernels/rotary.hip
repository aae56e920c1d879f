/*
 * Rotary positions, the norm of heads before them, and keys and values into the cache.
 * A wave does a head.  The same functions run here, for batches with several rows of a
 * sequence, and inside attention, which then needs no launch before it.
 */

/* Where a position of a sequence is in a layer's cache, of one kv head. */
DEVICE uint16_t *
cache_at(const gpu_attention &p, const int32_t *table, int pos, int kv_head, int value)
{
	size_t page = (size_t)table[pos / GPU_PAGE];

	return p.cache + (((page * p.n_kv_heads + kv_head) * 2 + value) * GPU_PAGE +
	    pos % GPU_PAGE) * p.dim_stride;
}

/* 1 / root of the mean square of a head, or 1 without a norm. */
DEVICE float
head_factor(const float *x, const float *norm, int dim, float eps)
{
	float squares = 0;

	if (norm == nullptr)
		return 1.0f;
	for (int d = tid() % 32; d < dim; d += 32)
		squares = fma_(x[d], x[d], squares);
	squares = sum_f(squares, 32);
	return rsqrt_(div_(squares, (float)dim) + eps);
}

/* Of pair i of a head: where it is, and what it becomes. */
struct rotated {
	int first, second;
	float a, b;
};

DEVICE rotated
rotate(const gpu_attention &p, const float *x, const float *norm, float factor, int i, int pos)
{
	int half = p.head_dim / 2;
	const float *r = p.rotary + ((size_t)pos * half + i) * 2;
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

/* to may be x. */
DEVICE void
rotate_query(const gpu_attention &p, const float *x, int pos, float *to)
{
	float factor = head_factor(x, p.q_norm, p.head_dim, p.eps);

	for (int i = tid() % 32; i < p.head_dim / 2; i += 32) {
		rotated o = rotate(p, x, p.q_norm, factor, i, pos);

		to[o.first] = o.a;
		to[o.second] = o.b;
	}
}

DEVICE void
store_key(const gpu_attention &p, const float *x, int pos, uint16_t *to)
{
	float factor = head_factor(x, p.k_norm, p.head_dim, p.eps);

	for (int i = tid() % 32; i < p.head_dim / 2; i += 32) {
		rotated o = rotate(p, x, p.k_norm, factor, i, pos);

		to[o.first] = float_half(o.a);
		to[o.second] = float_half(o.b);
	}
}

DEVICE void
store_value(const gpu_attention &p, const float *x, uint16_t *to)
{
	for (int d = tid() % 32; d < p.head_dim; d += 32)
		to[d] = float_half(x[d]);
}

/* A block per row: its queries in place, its keys and values into the cache. */
KERNEL(GPU_THREADS, gpu_store, gpu_attention)
{
	const gpu_row row = p.batch.rows[bx()];
	const int32_t *table = p.batch.tables + row.table;
	float *x = p.qkv + (size_t)bx() * p.qkv_stride;
	int n = p.n_heads + 2 * p.n_kv_heads;

	wait_for_last();
	for (int h = tid() / 32; h < n; h += GPU_WAVES) {
		int kv = h - p.n_heads;
		float *head = x + h * p.head_dim;

		if (kv < 0)
			rotate_query(p, head, row.pos, head);
		else if (kv < p.n_kv_heads)
			store_key(p, head, row.pos, cache_at(p, table, row.pos, kv, 0));
		else
			store_value(p, head, cache_at(p, table, row.pos,
			    kv - p.n_kv_heads, 1));
	}
}
