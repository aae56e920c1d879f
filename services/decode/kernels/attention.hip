/*
 * Attention over a paged cache, in tiles of GPU_TILE positions.  A block has up to
 * GPU_HEADS query heads of one row that share a kv head, so a key is read once for all
 * of them.  Each tile has a softmax of its own; tiles are merged in their order, with
 * the same operations whether each had a block (few rows: gpu_attend, the last block to
 * end merges) or one block went through all (gpu_attend_rows).  So a row gets the same
 * bits in any batch.
 */
/* Of a block, beside the keys and then the values of a tile, [GPU_TILE, dim_stride] each. */
struct alignas(16) attend_shared {
	float q[GPU_HEADS][GPU_HEAD_DIM_MAX];
	float p[GPU_HEADS][GPU_TILE];		/* scores, then weights */
	float out[GPU_HEADS][GPU_HEAD_DIM_MAX];	/* of a tile */
	float max[GPU_HEADS], sum[GPU_HEADS];
	int last;
};

/* Which heads a block has. */
struct heads {
	int kv, first, n;
};

DEVICE heads
heads_of(const gpu_attention &p, int chunk)
{
	int group = p.n_heads / p.n_kv_heads;
	int chunks = (group + GPU_HEADS - 1) / GPU_HEADS;
	heads h;

	h.kv = chunk / chunks;
	h.first = h.kv * group + chunk % chunks * GPU_HEADS;
	h.n = min_i(GPU_HEADS, group - chunk % chunks * GPU_HEADS);
	return h;
}

/* The queries to s->q, rotated, with zeros behind them and for heads that are not. */
DEVICE void
take_queries(const gpu_attention &p, const heads &h, const float *x, int pos, attend_shared *s)
{
	int wave = tid() / 32;

	for (int d = p.head_dim + tid() % 32; d < p.dim_stride; d += 32)
		s->q[wave][d] = 0;
	if (wave >= h.n)
		for (int d = tid() % 32; d < p.head_dim; d += 32)
			s->q[wave][d] = 0;
	else if (p.stored)
		for (int d = tid() % 32; d < p.head_dim; d += 32)
			s->q[wave][d] = x[(h.first + wave) * p.head_dim + d];
	else
		rotate_query(p, x + (h.first + wave) * p.head_dim, pos, s->q[wave]);
}

/*
 * Keys and values of n positions of a tile into shared memory.  All that a thread asks for
 * comes at once, and what computes with it are short loops: code that is fetched for one
 * use is dearer than shared memory.
 */
DEVICE void
tile_load(const gpu_attention &p, const heads &h, const int32_t *table, int at, int n,
    u4 *tile)
{
	enum { AHEAD = 8 };
	int row = p.dim_stride / 8, all = n * row;
	const uint16_t *keys = cache_at(p, table, at, h.kv, 0);
	const uint16_t *values = keys + GPU_PAGE * p.dim_stride;

	ROLLED for (int first = 0; first < 2 * all; first += AHEAD * GPU_ATTEND_THREADS) {
		u4 v[AHEAD];

		for (int a = 0; a < AHEAD; a++) {
			int i = first + a * GPU_ATTEND_THREADS + tid(), value = i >= all;
			int j = i - value * all;

			if (i < 2 * all)
				v[a] = load_u4((value ? values : keys) + 8 * j);
		}
		for (int a = 0; a < AHEAD; a++) {
			int i = first + a * GPU_ATTEND_THREADS + tid(), value = i >= all;

			if (i < 2 * all)
				tile[value * GPU_TILE * row + i - value * all] = v[a];
		}
	}
}

/* Eight dimensions of a key with those of a query. */
DEVICE float
dot_half8(u4 k, const float *q)
{
	float sum;

	sum = half_float((uint16_t)(k.x & 0xffff)) * q[0];
	sum = fma_(half_float((uint16_t)(k.x >> 16)), q[1], sum);
	sum = fma_(half_float((uint16_t)(k.y & 0xffff)), q[2], sum);
	sum = fma_(half_float((uint16_t)(k.y >> 16)), q[3], sum);
	sum = fma_(half_float((uint16_t)(k.z & 0xffff)), q[4], sum);
	sum = fma_(half_float((uint16_t)(k.z >> 16)), q[5], sum);
	sum = fma_(half_float((uint16_t)(k.w & 0xffff)), q[6], sum);
	return fma_(half_float((uint16_t)(k.w >> 16)), q[7], sum);
}

/*
 * s->p[head][position] of n positions of a tile: p.lanes lanes share one, and each has
 * its part of the queries in registers.
 */
DEVICE void
tile_scores(const gpu_attention &p, int n, const u4 *tile, attend_shared *s)
{
	int lane = tid() % p.lanes, step = GPU_ATTEND_THREADS / p.lanes;
	bool has = 8 * lane < p.dim_stride;
	float q[GPU_HEADS][8];

	for (int j = 0; j < GPU_HEADS; j++)
		for (int i = 0; i < 8; i++)
			q[j][i] = has ? s->q[j][8 * lane + i] : 0;
	ROLLED for (int first = 0; first < n; first += step) {
		int i = first + tid() / p.lanes;
		u4 k = { 0, 0, 0, 0 };
		float sum[GPU_HEADS];

		if (i < n && has)
			k = tile[i * (p.dim_stride / 8) + lane];
		for (int j = 0; j < GPU_HEADS; j++)
			sum[j] = dot_half8(k, q[j]);
		ROLLED for (int m = p.lanes / 2; m > 0; m /= 2)
			for (int j = 0; j < GPU_HEADS; j++)
				sum[j] += xor_f(sum[j], m);
		if (lane == 0 && i < n)
			for (int j = 0; j < GPU_HEADS; j++)
				s->p[j][i] = sum[j] * p.factor;
	}
}

/* Scores to weights, a wave per head. */
DEVICE void
tile_softmax(int n, attend_shared *s)
{
	int wave = tid() / 32, i = tid() % 32;
	float a = i < n ? s->p[wave][i] : -3e38f, max = top_f(a, 32);

	a = i < n ? exp2_(a - max) : 0;
	s->p[wave][i] = a;
	a = sum_f(a, 32);
	if (i == 0) {
		s->max[wave] = max;
		s->sum[wave] = a;
	}
}

/* Two dimensions of a weighted sum. */
struct two {
	float a, b;
};

DEVICE two
add_pair(two sum, float w, uint32_t pair)
{
	sum.a = fma_(w, half_float((uint16_t)(pair & 0xffff)), sum.a);
	sum.b = fma_(w, half_float((uint16_t)(pair >> 16)), sum.b);
	return sum;
}

/* s->out[head][dimension]: a thread has two dimensions of half of the tile. */
DEVICE void
tile_values(const gpu_attention &p, int n, const u4 *tile, attend_shared *s)
{
	int half = tid() / 64;

	ROLLED for (int d = tid() % 64 * 2; d < (p.dim_stride + 127) / 128 * 128; d += 128) {
		two sum[GPU_HEADS] = { { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 } };
		const uint32_t *v = (const uint32_t *)(tile + GPU_TILE * p.dim_stride / 8) +
		    d / 2;
		int end = min_i(n, (half + 1) * GPU_TILE / 2);
		bool has = d < p.dim_stride;

		ROLLED for (int i = half * GPU_TILE / 2; i < end; i++) {
			uint32_t pair = has ? v[i * (p.dim_stride / 2)] : 0;

			UNROLLED for (int j = 0; j < GPU_HEADS; j++)
				sum[j] = add_pair(sum[j], s->p[j][i], pair);
		}
		if (half == 1 && has)
			UNROLLED for (int j = 0; j < GPU_HEADS; j++) {
				s->out[j][d] = sum[j].a;
				s->out[j][d + 1] = sum[j].b;
			}
		sync();
		if (half == 0 && has)
			UNROLLED for (int j = 0; j < GPU_HEADS; j++) {
				s->out[j][d] += sum[j].a;
				s->out[j][d + 1] += sum[j].b;
			}
	}
	sync();
}

/* A tile of n positions from at on: s->out, s->max, s->sum.  s->q is ready, or will be
 * when all threads have come here. */
DEVICE void
attend_tile(const gpu_attention &p, const heads &h, const int32_t *table, int at, int n,
    attend_shared *s)
{
	DYNAMIC_SHARED(smem);
	u4 *tile = (u4 *)smem;

	tile_load(p, h, table, at, n, tile);
	sync();
	tile_scores(p, n, tile, s);
	sync();
	tile_softmax(n, s);
	sync();
	tile_values(p, n, tile, s);
}

/* What is merged so far, of one element of the output. */
struct merged {
	float max, sum, out;
};

DEVICE void
merge(merged *m, float max, float sum, float out)
{
	float top = max_(m->max, max);
	float a = exp2_(m->max - top), b = exp2_(max - top);

	m->sum = fma_(m->sum, a, sum * b);
	m->out = fma_(m->out, a, out * b);
	m->max = top;
}

/* The element e of a block's output: [head][dimension]. */
DEVICE void
put_merged(const gpu_attention &p, const heads &h, int row, int e, const merged &m)
{
	int head = e / p.head_dim;

	p.out[(size_t)row * p.out_stride + (h.first + head) * p.head_dim + e % p.head_dim] =
	    div_(m.out, m.sum);
}

/* Where the parts of a tile are: [head, dim_stride + 2]. */
DEVICE float *
part_at(const gpu_attention &p, int row, int chunk, int n_chunks, int tile)
{
	return p.part + (((size_t)row * n_chunks + chunk) * p.n_tiles + tile) * GPU_HEADS *
	    (p.dim_stride + 2);
}

DEVICE int
n_chunks_of(const gpu_attention &p)
{
	int group = p.n_heads / p.n_kv_heads;

	return p.n_kv_heads * ((group + GPU_HEADS - 1) / GPU_HEADS);
}

DEVICE void
put_part(const gpu_attention &p, float *part, const attend_shared *s)
{
	for (int j = 0; j < GPU_HEADS; j++, part += p.dim_stride + 2) {
		for (int d = tid(); d < p.dim_stride; d += GPU_ATTEND_THREADS)
			part[d] = s->out[j][d];
		if (tid() == 0) {
			part[p.dim_stride] = s->max[j];
			part[p.dim_stride + 1] = s->sum[j];
		}
	}
}

/* All tiles of a row are there: the last block merges them, some asked for ahead. */
DEVICE void
merge_parts(const gpu_attention &p, const heads &h, int row, int chunk, int n_tiles)
{
	enum { AHEAD = 8 };
	const float *first = part_at(p, row, chunk, n_chunks_of(p), 0);
	size_t stride = (size_t)GPU_HEADS * (p.dim_stride + 2);

	for (int e = tid(); e < h.n * p.head_dim; e += GPU_ATTEND_THREADS) {
		const float *part = first + e / p.head_dim * (p.dim_stride + 2);
		int d = e % p.head_dim;
		merged m = { -3e38f, 0, 0 };

		for (int t = 0; t < n_tiles; t += AHEAD) {
			float max[AHEAD], sum[AHEAD], out[AHEAD];

			for (int i = 0; i < AHEAD; i++) {
				const float *at = part + (size_t)min_i(t + i, n_tiles - 1) *
				    stride;

				max[i] = at[p.dim_stride];
				sum[i] = at[p.dim_stride + 1];
				out[i] = at[d];
			}
			for (int i = 0; i < AHEAD; i++)
				if (t + i < n_tiles)
					merge(&m, max[i], sum[i], out[i]);
		}
		put_merged(p, h, row, e, m);
	}
}

/* There is but one tile: what merging it with nothing gives. */
DEVICE void
put_only(const gpu_attention &p, const heads &h, int row, const attend_shared *s)
{
	for (int e = tid(); e < h.n * p.head_dim; e += GPU_ATTEND_THREADS) {
		int j = e / p.head_dim;
		merged m = { -3e38f, 0, 0 };

		merge(&m, s->max[j], s->sum[j], s->out[j][e % p.head_dim]);
		put_merged(p, h, row, e, m);
	}
}

/* Few rows: a block per row, chunk of heads and tile. */
KERNEL(GPU_ATTEND_THREADS, gpu_attend, gpu_attention)
{
	SHARED attend_shared s;
	const gpu_row row = p.batch.rows[bx()];
	const int32_t *table = p.batch.tables + row.table;
	const float *x = p.qkv + (size_t)bx() * p.qkv_stride;
	int n_tiles = row.pos / GPU_TILE + 1, at = bz() * GPU_TILE;
	int n = min_i(GPU_TILE, row.pos + 1 - at);
	heads h = heads_of(p, by());

	if (n <= 0)
		return;
	wait_for_last();
	/* Its own key and value: blocks that share them store the same. */
	if (!p.stored && bz() == n_tiles - 1) {
		if (tid() / 32 == 0)
			store_key(p, x + (p.n_heads + h.kv) * p.head_dim, row.pos,
			    cache_at(p, table, row.pos, h.kv, 0));
		if (tid() / 32 == 1)
			store_value(p, x + (p.n_heads + p.n_kv_heads + h.kv) * p.head_dim,
			    cache_at(p, table, row.pos, h.kv, 1));
	}
	take_queries(p, h, x, row.pos, &s);
	sync();
	attend_tile(p, h, table, at, n, &s);
	if (n_tiles == 1) {
		put_only(p, h, bx(), &s);
		return;
	}
	put_part(p, part_at(p, bx(), by(), n_chunks_of(p), bz()), &s);
	sync();
	if (tid() == 0)
		s.last = count_up(p.done + bx() * n_chunks_of(p) + by()) + 1 ==
		    (uint32_t)n_tiles;
	sync();
	if (!s.last)
		return;
	merge_parts(p, h, bx(), by(), n_tiles);
	if (tid() == 0)
		p.done[bx() * n_chunks_of(p) + by()] = 0;
}

/* Many rows: a block per row and chunk of heads; gpu_store has run. */
KERNEL(GPU_ATTEND_THREADS, gpu_attend_rows, gpu_attention)
{
	enum { MINE = GPU_HEADS * GPU_HEAD_DIM_MAX / GPU_ATTEND_THREADS };
	SHARED attend_shared s;
	const gpu_row row = p.batch.rows[bx()];
	const int32_t *table = p.batch.tables + row.table;
	heads h = heads_of(p, by());
	merged m[MINE];

	for (int i = 0; i < MINE; i++)
		m[i] = { -3e38f, 0, 0 };
	wait_for_last();
	take_queries(p, h, p.qkv + (size_t)bx() * p.qkv_stride, row.pos, &s);
	for (int at = 0; at <= row.pos; at += GPU_TILE) {
		attend_tile(p, h, table, at, min_i(GPU_TILE, row.pos + 1 - at), &s);
		for (int i = 0; i < MINE; i++) {
			int e = tid() + i * GPU_ATTEND_THREADS;

			if (e < h.n * p.head_dim)
				merge(&m[i], s.max[e / p.head_dim], s.sum[e / p.head_dim],
				    s.out[e / p.head_dim][e % p.head_dim]);
		}
	}
	for (int i = 0; i < MINE; i++) {
		int e = tid() + i * GPU_ATTEND_THREADS;

		if (e < h.n * p.head_dim)
			put_merged(p, h, bx(), e, m[i]);
	}
}
