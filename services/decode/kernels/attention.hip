/*
 * Attention over a paged cache, in tiles of GPU_TILE positions, by the matrix instructions
 * (mma_half.h).  Queries, already times the factor of a score, keys, values and weights are
 * f16, sums are f32.  A tile has a softmax of its own: its scores, each summed over the
 * dimensions in their order; weights, which are powers of two of the distance to the tile's
 * largest score, rounded to f16; and, summed over the positions in their order, the weighted
 * values and the weights themselves.  Then tiles are merged in their order.  A row's numbers
 * go through the same operations here, where a block has one tile of one row, and in
 * attention_rows.hip, where it has all tiles of several: so a row gets the same bits in any
 * batch.  A page in which a row has no position is left out: weights of 0 times what is
 * finite add nothing.
 */
#include "mma_half.h"

enum {
	ATTEND_PAGES = GPU_TILE / GPU_PAGE,
	ATTEND_SUBS = ATTEND_PAGES * HALF_SUBS,	/* columns of a tile, in the instruction's */
	ATTEND_AHEAD = 4,			/* blocks of a page that are asked for ahead */
	ATTEND_WAVES_MAX = 16,
};

/* Below every score, and so far that the weight is 0. */
constexpr float NO_SCORE = -3e38f;

/* Of a block; any 16-byte aligned place in shared memory. */
struct alignas(16) attend_shared {
	uint16_t q[GPU_HEADS][GPU_HEAD_DIM_MAX + 32];
	uint16_t own_k[GPU_HEAD_DIM_MAX], own_v[GPU_HEAD_DIM_MAX];
	uint16_t p[GPU_HEADS][GPU_TILE + 32];	/* weights */
	float out[GPU_HEADS][GPU_HEAD_DIM_MAX];	/* of the tile */
	float top[GPU_HEADS][ATTEND_WAVES_MAX];	/* of each wave's scores */
	float max[GPU_HEADS], sum[GPU_HEADS];
	int last;
};

/*
 * What a wave of WAVES asks for: of a tile's scores it makes those of MINE times HALF_COLS
 * positions, of the values' sums as many dimensions, for each 128 of dim_stride.  If there
 * are too few to go round, keys are for the first waves and values for the last.
 */
template<int WAVES> struct attend_ahead {
	static constexpr int MINE = ATTEND_SUBS > WAVES ? ATTEND_SUBS / WAVES : 1;
	static constexpr int ACTIVE = ATTEND_SUBS / MINE;	/* waves */

	u4 k[MINE][ATTEND_AHEAD][HALF_C];
	u4 v[MINE][ATTEND_PAGES][HALF_C];
	int32_t pages[ATTEND_PAGES];
	int32_t k_page;		/* that of its positions; < 0: the tile does not reach it */
};

/* Which heads a block has. */
struct heads {
	int kv, first, n;
};

DEVICE heads
heads_of(const gpu_attention &p, int chunk)
{
	heads h;
	int i;

	h.kv = chunk * p.chunk_part >> 16;
	i = (chunk - h.kv * p.chunks) * GPU_HEADS;
	h.first = h.kv * p.group + i;
	h.n = min_i(GPU_HEADS, p.group - i);
	return h;
}

/* The first of a wave's columns: of positions, of dimensions. */
template<int WAVES> DEVICE int
first_key()
{
	return wave() * attend_ahead<WAVES>::MINE;
}

template<int WAVES> DEVICE int
first_value()
{
	return (wave() + ATTEND_SUBS) % WAVES * attend_ahead<WAVES>::MINE;
}

/* Keys in dimensions 32 * first and on. */
template<int WAVES> DEVICE void
ask_keys(const gpu_attention &p, const heads &h, int first, attend_ahead<WAVES> *a)
{
	int sub = first_key<WAVES>() % HALF_SUBS, n = p.dim_stride / 32 - first;
	const uint16_t *page;

	if (a->k_page < 0)
		return;
	page = page_of(p, a->k_page, h.kv) + 32 * GPU_PAGE * first;
	UNROLLED for (int m = 0; m < attend_ahead<WAVES>::MINE; m++)
		UNROLLED for (int i = 0; i < ATTEND_AHEAD; i++)
			if (i < n)
				half_cols(page + 32 * GPU_PAGE * i, sub + m, a->k[m][i]);
}

/* Values in dimensions 32 * first and on. */
template<int WAVES> DEVICE void
ask_values(const gpu_attention &p, const heads &h, int first, attend_ahead<WAVES> *a)
{
	int block = p.dim_stride / 32 + first + first_value<WAVES>() / HALF_SUBS;
	int sub = first_value<WAVES>() % HALF_SUBS;

	if (block >= p.dim_stride / 16 || first_value<WAVES>() >= ATTEND_SUBS)
		return;
	UNROLLED for (int i = 0; i < ATTEND_PAGES; i++) {
		const uint16_t *page;

		if (a->pages[i] < 0)
			continue;
		page = page_of(p, a->pages[i], h.kv) + 32 * GPU_PAGE * block;
		UNROLLED for (int m = 0; m < attend_ahead<WAVES>::MINE; m++)
			half_cols(page, sub + m, a->v[m][i]);
	}
}

/*
 * What this wave needs of the keys and values at positions at to at + n - 1, at a tile's
 * beginning, n at most GPU_TILE.  It needs no query, and of table only these positions' pages.
 */
template<int WAVES> DEVICE void
attend_ask(const gpu_attention &p, const int32_t *table, const heads &h, int at, int n,
    attend_ahead<WAVES> *a)
{
	int first = first_key<WAVES>();

	UNROLLED for (int i = 0; i < ATTEND_PAGES; i++)
		a->pages[i] = GPU_PAGE * i < n ? table[at / GPU_PAGE + i] : -1;
	a->k_page = first < ATTEND_SUBS && first / HALF_SUBS * GPU_PAGE < n ?
	    table[at / GPU_PAGE + first / HALF_SUBS] : -1;
	ask_keys(p, h, 0, a);
	ask_values(p, h, 0, a);
}

/* c += 32 dimensions from d on, the i-th that were asked for; own: in the wave's page. */
template<int WAVES> DEVICE void
score_block(const attend_shared *s, int d, int own, int sub, int i, attend_ahead<WAVES> *a,
    float (*c)[HALF_ACC])
{
	u4 q[HALF_R];

	half_rows(s->q[0] + d, GPU_HEAD_DIM_MAX + 32, GPU_HEADS, q);
	UNROLLED for (int m = 0; m < attend_ahead<WAVES>::MINE; m++) {
		UNROLLED for (int j = 0; j < HALF_C; j++)
			if (half_col(sub + m) == own)
				a->k[m][i][j] = load_u4(s->own_k + d + 8 * half_part(j));
		half_mma(c[m], q, a->k[m][i]);
	}
}

/* Scores of the wave's positions, without those from n on. */
template<int WAVES> DEVICE void
tile_scores(const gpu_attention &p, const heads &h, int n, int own, attend_ahead<WAVES> *a,
    const attend_shared *s, float (*c)[HALF_ACC])
{
	int page = first_key<WAVES>() / HALF_SUBS, sub = first_key<WAVES>() % HALF_SUBS;
	int n_blocks = p.dim_stride / 32;

	UNROLLED for (int m = 0; m < attend_ahead<WAVES>::MINE; m++)
		UNROLLED for (int e = 0; e < HALF_ACC; e++)
			c[m][e] = 0;
	if (a->k_page < 0)
		n = 0;
	ROLLED for (int first = 0; first < n_blocks && n > 0; first += ATTEND_AHEAD) {
		if (first > 0)
			ask_keys(p, h, first, a);
		UNROLLED for (int i = 0; i < ATTEND_AHEAD; i++)
			if (first + i < n_blocks)
				score_block<WAVES>(s, 32 * (first + i), own - GPU_PAGE * page,
				    sub, i, a, c);
	}
	UNROLLED for (int m = 0; m < attend_ahead<WAVES>::MINE; m++)
		UNROLLED for (int e = 0; e < HALF_ACC; e++)
			if (GPU_PAGE * page + half_out_col(sub + m, e) >= n)
				c[m][e] = NO_SCORE;
}

/* The largest of the wave's scores of each head. */
template<int WAVES> DEVICE void
put_tops(const float (*c)[HALF_ACC], attend_shared *s)
{
	float top[HALF_ROWS];

	UNROLLED for (int r = 0; r < HALF_ROWS; r++) {
		top[r] = NO_SCORE;
		UNROLLED for (int m = 0; m < attend_ahead<WAVES>::MINE; m++)
			UNROLLED for (int e = 0; e < HALF_ACC; e++)
				if (half_slot(e) == r)
					top[r] = max_(top[r], c[m][e]);
		top[r] = half_top(top[r]);
		if (half_row(r) < GPU_HEADS && half_first())
			s->top[half_row(r)][wave()] = top[r];
	}
}

/* s->p of the wave's positions, and s->max. */
template<int WAVES> DEVICE void
put_weights(const float (*c)[HALF_ACC], attend_shared *s)
{
	int row = half_row(0), at = first_key<WAVES>() / HALF_SUBS * GPU_PAGE;
	int sub = first_key<WAVES>() % HALF_SUBS;
	float max;

	if (row >= GPU_HEADS || first_key<WAVES>() >= ATTEND_SUBS)
		return;
	max = s->top[row][0];
	UNROLLED for (int w = 1; w < attend_ahead<WAVES>::ACTIVE; w++)
		max = max_(max, s->top[row][w]);
	if (wave() == 0 && half_first())
		s->max[row] = max;
	UNROLLED for (int m = 0; m < attend_ahead<WAVES>::MINE; m++)
		UNROLLED for (int e = 0; e < HALF_ACC; e++)
			if (half_slot(e) == 0)
				s->p[row][at + half_out_col(sub + m, e)] =
				    float_half(exp2_(c[m][e] - max));
}

/* The own value in place of position own of a page. */
DEVICE void
put_own(const attend_shared *s, int own, int d, u4 *cols)
{
	uint32_t v = s->own_v[d] * 0x10001u, mask = own % 2 != 0 ? 0xffff0000 : 0xffff;
	int word = own / 2 % 4;

	UNROLLED for (int i = 0; i < HALF_C; i++) {
		if (own / 8 != half_part(i))
			continue;
		cols[i].x ^= (cols[i].x ^ v) & (word == 0 ? mask : 0);
		cols[i].y ^= (cols[i].y ^ v) & (word == 1 ? mask : 0);
		cols[i].z ^= (cols[i].z ^ v) & (word == 2 ? mask : 0);
		cols[i].w ^= (cols[i].w ^ v) & (word == 3 ? mask : 0);
	}
}

/* c += weighted values of page i in dimensions of a block from d on; own: in that page. */
template<int WAVES> DEVICE void
sum_page(int own, int d, int sub, int i, attend_ahead<WAVES> *a, const attend_shared *s,
    float (*c)[HALF_ACC])
{
	u4 w[HALF_R];

	half_rows(s->p[0] + GPU_PAGE * i, GPU_TILE + 32, GPU_HEADS, w);
	UNROLLED for (int m = 0; m < attend_ahead<WAVES>::MINE; m++) {
		if (own >= 0 && own < GPU_PAGE)
			put_own(s, own, d + half_col(sub + m), a->v[m][i]);
		half_mma(c[m], w, a->v[m][i]);
	}
}

/* Weighted values in the wave's dimensions of block. */
template<int WAVES> DEVICE void
sum_values(int n, int own, int block, attend_ahead<WAVES> *a, attend_shared *s)
{
	constexpr int MINE = attend_ahead<WAVES>::MINE;
	int sub = first_value<WAVES>() % HALF_SUBS;
	float c[MINE][HALF_ACC];

	UNROLLED for (int m = 0; m < MINE; m++)
		UNROLLED for (int e = 0; e < HALF_ACC; e++)
			c[m][e] = 0;
	UNROLLED for (int i = 0; i < ATTEND_PAGES; i++)
		if (GPU_PAGE * i < n)
			sum_page<WAVES>(own - GPU_PAGE * i, 32 * block, sub, i, a, s, c);
	UNROLLED for (int m = 0; m < MINE; m++)
		UNROLLED for (int e = 0; e < HALF_ACC; e++) {
			int row = half_row(half_slot(e));

			if (row < GPU_HEADS)
				s->out[row][32 * block + half_out_col(sub + m, e)] = c[m][e];
		}
}

/* s->sum, by the matrix instruction as well: whoever has many rows has no other way. */
DEVICE void
sum_weights(int n, attend_shared *s)
{
	float c[HALF_ACC] = { 0 };
	u4 w[HALF_R], ones[HALF_C];

	half_ones(ones);
	ROLLED for (int i = 0; i < n; i += GPU_PAGE) {
		half_rows(s->p[0] + i, GPU_TILE + 32, GPU_HEADS, w);
		half_mma(c, w, ones);
	}
	if (half_row(0) < GPU_HEADS && half_first())
		s->sum[half_row(0)] = c[0];
}

/*
 * The tile that was asked for: s->out, not divided by s->sum, and s->max, of its n
 * positions.  s->q is there, [GPU_HEADS, dim_stride], zeros for heads and dimensions that
 * are not.  own, unless it is < 0: the position of the tile whose key and value are s->own_k
 * and s->own_v, and may not be in memory yet.
 */
template<int WAVES> DEVICE void
attend_tile(const gpu_attention &p, const heads &h, int n, int own, attend_ahead<WAVES> *a,
    attend_shared *s)
{
	int first = first_value<WAVES>() / HALF_SUBS, n_blocks = p.dim_stride / 32;
	float c[attend_ahead<WAVES>::MINE][HALF_ACC];

	tile_scores(p, h, n, own, a, s, c);
	put_tops<WAVES>(c, s);
	sync();
	put_weights<WAVES>(c, s);
	sync();
	if (wave() == 0)
		sum_weights(n, s);
	if (first_value<WAVES>() < ATTEND_SUBS)
		ROLLED for (int block = 0; block + first < n_blocks; block += ATTEND_AHEAD) {
			if (block > 0)
				ask_values(p, h, block, a);
			sum_values(n, own, block + first, a, s);
		}
	sync();
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

/* Threads of a block share its output: f(head, dimension), no more than head_dim. */
template<int WAVES, class F> DEVICE void
each_output(const gpu_attention &p, const heads &h, F f)
{
	int j = wave() % GPU_HEADS;

	if (j < h.n)
		ROLLED for (int d = wave() / GPU_HEADS * 32 + tid() % 32; d < p.head_dim;
		    d += 8 * WAVES)
			f(j, d);
}

DEVICE void
put_merged(const gpu_attention &p, const heads &h, int row, int j, int d, const merged &m)
{
	p.out[(size_t)row * p.out_stride + (h.first + j) * p.head_dim + d] =
	    div_(m.out, m.sum);
}

/* Where the parts of a tile are: [head, dim_stride + 2]. */
DEVICE float *
part_at(const gpu_attention &p, int row, int chunk, int tile)
{
	return p.part + (((size_t)row * (p.n_kv_heads * p.chunks) + chunk) * p.n_tiles +
	    tile) * GPU_HEADS * (p.dim_stride + 2);
}

template<int WAVES> DEVICE void
put_part(const gpu_attention &p, const heads &h, float *part, const attend_shared *s)
{
	each_output<WAVES>(p, h, [&](int j, int d) {
		float *to = part + j * (p.dim_stride + 2);

		to[d] = s->out[j][d];
		if (d == 0) {
			to[p.dim_stride] = s->max[j];
			to[p.dim_stride + 1] = s->sum[j];
		}
	});
}

/* All tiles of a row are there: the last block merges them, some asked for ahead. */
template<int WAVES> DEVICE void
merge_parts(const gpu_attention &p, const heads &h, int row, int chunk, int n_tiles)
{
	enum { AHEAD = 8 };
	const float *first = part_at(p, row, chunk, 0);
	size_t stride = (size_t)GPU_HEADS * (p.dim_stride + 2);

	each_output<WAVES>(p, h, [&](int j, int d) {
		const float *part = first + j * (p.dim_stride + 2);
		merged m = { NO_SCORE, 0, 0 };

		ROLLED for (int t = 0; t < n_tiles; t += AHEAD) {
			float max[AHEAD], sum[AHEAD], out[AHEAD];

			UNROLLED for (int i = 0; i < AHEAD; i++) {
				const float *at = part + (size_t)min_i(t + i, n_tiles - 1) *
				    stride;

				max[i] = at[p.dim_stride];
				sum[i] = at[p.dim_stride + 1];
				out[i] = at[d];
			}
			UNROLLED for (int i = 0; i < AHEAD; i++)
				if (t + i < n_tiles)
					merge(&m, max[i], sum[i], out[i]);
		}
		put_merged(p, h, row, j, d, m);
	});
}

/* There is but one tile: what merging it with nothing gives. */
template<int WAVES> DEVICE void
put_only(const gpu_attention &p, const heads &h, int row, const attend_shared *s)
{
	each_output<WAVES>(p, h, [&](int j, int d) {
		merged m = { NO_SCORE, 0, 0 };

		merge(&m, s->max[j], s->sum[j], s->out[j][d]);
		put_merged(p, h, row, j, d, m);
	});
}

/* A query as the products take it. */
DEVICE uint16_t
query_half(const gpu_attention &p, float v)
{
	return fit_half(v * p.factor);
}

/*
 * What stands before attend_tile in a block of at least 6 waves, for a row at pos with the
 * queries q of the block's heads: s->q, and, if there is a page to store them in, its key
 * k and value v, there and in s.  The caller waits for the block.
 */
DEVICE void
attend_begin(const gpu_attention &p, const heads &h, const float *q, const float *k,
    const float *v, const float *turns, int pos, uint16_t *page, attend_shared *s)
{
	int lane = tid() % 32, w = wave();

	if (w == GPU_HEADS && page != nullptr)
		store_key(p, k, turns, pos, page, s->own_k);
	if (w == GPU_HEADS + 1 && page != nullptr)
		store_value(p, v, pos, page, s->own_v);
	if (w >= GPU_HEADS)
		return;
	q += w * p.head_dim;
	ROLLED for (int d = w < h.n ? p.head_dim + lane : lane; d < p.dim_stride; d += 32)
		s->q[w][d] = 0;
	if (w < h.n && !p.stored)
		rotate_head(p, q, p.q_norm, turns,
		    [&](int d, float v) { s->q[w][d] = query_half(p, v); });
	else if (w < h.n)
		ROLLED for (int d = lane; d < p.head_dim; d += 32)
			s->q[w][d] = query_half(p, q[d]);
}

/*
 * Few rows: a block per row, chunk of heads and tile.  What is in the cache is there since
 * the last pass, unless gpu_store has run, so it can be asked for before the last kernel has
 * ended.
 */
KERNEL(GPU_ATTEND_THREADS, gpu_attend, gpu_attention)
{
	enum { WAVES = GPU_ATTEND_THREADS / 32 };
	SHARED attend_shared s;
	const gpu_row row = p.batch.rows[bx()];
	const int32_t *table = p.batch.tables + row.table;
	const float *x = p.qkv + (size_t)bx() * p.qkv_stride;
	int n_tiles = row.pos / GPU_TILE + 1, at = bz() * GPU_TILE;
	int n = min_i(GPU_TILE, row.pos + 1 - at);
	uint32_t *done = p.done + bx() * (p.n_kv_heads * p.chunks) + by();
	bool has_own = !p.stored && bz() == n_tiles - 1;
	heads h = heads_of(p, by());
	const float *k = x + (p.n_heads + h.kv) * p.head_dim;
	attend_ahead<WAVES> ahead;

	if (n <= 0)
		return;
	if (p.stored)
		wait_for_last();
	attend_ask(p, table, h, at, n, &ahead);
	if (!p.stored)
		wait_for_last();
	/* Its own key and value: blocks that share them store the same. */
	attend_begin(p, h, x + h.first * p.head_dim, k, k + p.n_kv_heads * p.head_dim,
	    turns_of(p, row.pos), row.pos, has_own ? page_of(p, table[row.pos / GPU_PAGE],
	    h.kv) : nullptr, &s);
	sync();
	attend_tile(p, h, n, has_own ? n - 1 : -1, &ahead, &s);
	if (n_tiles == 1) {
		put_only<WAVES>(p, h, bx(), &s);
		return;
	}
	put_part<WAVES>(p, h, part_at(p, bx(), by(), bz()), &s);
	sync();
	if (tid() == 0)
		s.last = count_up(done) + 1 == (uint32_t)n_tiles;
	sync();
	if (s.last)
		merge_parts<WAVES>(p, h, bx(), by(), n_tiles);
	if (s.last && tid() == 0)
		*done = 0;
}
