/*
 * Attention over a paged cache, in tiles of GPU_TILE positions.  A block has up to
 * GPU_HEADS query heads of one row that share a kv head, so a key is read once for all
 * of them.  Each tile has a softmax of its own; tiles are merged in their order, with
 * the same operations whether each had a block (few rows: gpu_attend, the last block to
 * end merges) or one block went through all (gpu_attend_rows).  So a row gets the same
 * bits in any batch.
 */
struct attend_shared {
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

DEVICE float
dot_half2(uint32_t k, const float *q, float sum)
{
	sum = fma_(half_float((uint16_t)(k & 0xffff)), q[0], sum);
	return fma_(half_float((uint16_t)(k >> 16)), q[1], sum);
}

/* s->p[head][position] of n positions of a tile: p.lanes lanes share one. */
DEVICE void
tile_scores(const gpu_attention &p, const heads &h, const int32_t *table, int at, int n,
    attend_shared *s)
{
	int lane = tid() % p.lanes, step = GPU_ATTEND_THREADS / p.lanes;

	for (int first = 0; first < GPU_TILE; first += step) {
		int i = first + tid() / p.lanes;
		float sum[GPU_HEADS] = { 0, 0, 0, 0 };

		if (i < n && 8 * lane < p.dim_stride) {
			u4 k = load_u4(cache_at(p, table, at + i, h.kv, 0) + 8 * lane);

			for (int j = 0; j < GPU_HEADS; j++) {
				const float *q = s->q[j] + 8 * lane;

				sum[j] = dot_half2(k.x, q, 0);
				sum[j] = dot_half2(k.y, q + 2, sum[j]);
				sum[j] = dot_half2(k.z, q + 4, sum[j]);
				sum[j] = dot_half2(k.w, q + 6, sum[j]);
			}
		}
		for (int j = 0; j < GPU_HEADS; j++)
			sum[j] = sum_f(sum[j], p.lanes);
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
	float *w = s->p[wave];
	float a = i < n ? w[i] : -3e38f, b = i + 32 < n ? w[i + 32] : -3e38f;
	float max = top_f(max_(a, b), 32);

	a = i < n ? exp2_(a - max) : 0;
	b = i + 32 < n ? exp2_(b - max) : 0;
	w[i] = a;
	w[i + 32] = b;
	a = sum_f(a + b, 32);
	if (i == 0) {
		s->max[wave] = max;
		s->sum[wave] = a;
	}
}

/* s->out[head][dimension]: a thread has two dimensions of one of the two pages. */
DEVICE void
tile_values(const gpu_attention &p, const heads &h, const int32_t *table, int at, int n,
    attend_shared *s)
{
	int page = tid() / 64;

	for (int d = tid() % 64 * 2; d < (p.dim_stride + 127) / 128 * 128; d += 128) {
		float sum[GPU_HEADS][2] = { { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 } };
		int end = min_i(n, (page + 1) * GPU_PAGE);

		if (d < p.dim_stride && page * GPU_PAGE < n) {
			const uint16_t *v = cache_at(p, table, at + page * GPU_PAGE, h.kv,
			    1) + d;

			for (int i = page * GPU_PAGE; i < end; i++, v += p.dim_stride) {
				uint32_t pair = *(const uint32_t *)v;
				float a = half_float((uint16_t)(pair & 0xffff));
				float b = half_float((uint16_t)(pair >> 16));

				for (int j = 0; j < GPU_HEADS; j++) {
					sum[j][0] = fma_(s->p[j][i], a, sum[j][0]);
					sum[j][1] = fma_(s->p[j][i], b, sum[j][1]);
				}
			}
		}
		if (page == 1 && d < p.dim_stride)
			for (int j = 0; j < GPU_HEADS; j++) {
				s->out[j][d] = sum[j][0];
				s->out[j][d + 1] = sum[j][1];
			}
		sync();
		if (page == 0 && d < p.dim_stride)
			for (int j = 0; j < GPU_HEADS; j++) {
				s->out[j][d] += sum[j][0];
				s->out[j][d + 1] += sum[j][1];
			}
	}
	sync();
}

/* A tile of n positions from at on: s->out, s->max, s->sum.  s->q is ready. */
DEVICE void
attend_tile(const gpu_attention &p, const heads &h, const int32_t *table, int at, int n,
    attend_shared *s)
{
	sync();
	tile_scores(p, h, table, at, n, s);
	sync();
	tile_softmax(n, s);
	sync();
	tile_values(p, h, table, at, n, s);
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

/* All tiles of a row are there: the last block merges them. */
DEVICE void
merge_parts(const gpu_attention &p, const heads &h, int row, int chunk, int n_tiles)
{
	int n_chunks = n_chunks_of(p);

	for (int e = tid(); e < h.n * p.head_dim; e += GPU_ATTEND_THREADS) {
		merged m = { -3e38f, 0, 0 };
		int j = e / p.head_dim, d = e % p.head_dim;

		for (int t = 0; t < n_tiles; t++) {
			const float *part = part_at(p, row, chunk, n_chunks, t) +
			    j * (p.dim_stride + 2);

			merge(&m, part[p.dim_stride], part[p.dim_stride + 1], part[d]);
		}
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
	attend_tile(p, h, table, at, n, &s);
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
