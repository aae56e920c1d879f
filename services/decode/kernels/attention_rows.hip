/*
 * Attention of many rows: a block takes up to GPU_GROUP_ROWS rows of a sequence with the
 * heads that share a kv head, and goes through their tiles.  A wave has 16 queries, four rows
 * with four heads, and all of a tile's positions, so a query's scores, weights and sums never
 * leave its lanes.  Keys and values go through shared memory, a block of 32 x 32 of each of
 * the tile's pages at a time (first all of keys, then of values), while the next is on its
 * way.  Rows end at different positions: what is behind a row's own has no score, and a tile
 * in which it has none at all is merged with a factor of 0.
 */
enum {
	GROUP_WAVES = GPU_GROUP_THREADS / 32,
	GROUP_QUERIES = GPU_GROUP_ROWS * GPU_HEADS / GROUP_WAVES,	/* of a wave: 16 */
	GROUP_PIECE = ATTEND_PAGES * 32 * GPU_PAGE,	/* a block of each page */
	GROUP_COPY = GROUP_PIECE / 8 / GPU_GROUP_THREADS,	/* 16 bytes each, of a thread */
	GROUP_BLOCKS = GPU_GROUP_DIMS / 32,	/* of values */
};

static_assert(GROUP_QUERIES == 16, "the rows of a matrix instruction");
static_assert((int)GROUP_COPY == (int)ATTEND_PAGES, "a thread copies from every page");

/* What is on its way to shared memory: a piece, and where the one after it is. */
struct group_ahead {
	u4 v[GROUP_COPY];
	const uint16_t *pages[ATTEND_PAGES];
	int at, n;		/* the tile's first position, those of the whole group */
	int piece, n_keys, first_value, n_pieces;
	uint16_t *shared;
	int turn;
};

/* Ask for the next piece. */
DEVICE void
group_ask(const gpu_attention &p, const int32_t *table, int kv, group_ahead *a)
{
	int block = a->piece < a->n_keys ? a->piece : a->first_value + a->piece - a->n_keys;

	if (a->at >= a->n)
		return;
	if (a->piece == 0)
		UNROLLED for (int i = 0; i < ATTEND_PAGES; i++)
			if (a->at + GPU_PAGE * i < a->n)
				a->pages[i] = page_of(p, table[a->at / GPU_PAGE + i], kv);
	UNROLLED for (int i = 0; i < GROUP_COPY; i++)
		if (a->at + GPU_PAGE * i < a->n)
			a->v[i] = load_u4(a->pages[i] + 32 * GPU_PAGE * block + 8 * tid());
	if (++a->piece == a->n_pieces) {
		a->piece = 0;
		a->at += GPU_TILE;
	}
}

/* The next piece is in shared memory: where.  The last but one may be written over. */
DEVICE const uint16_t *
group_next(const gpu_attention &p, const int32_t *table, int kv, group_ahead *a)
{
	uint16_t *to = a->shared + a->turn * GROUP_PIECE;

	UNROLLED for (int i = 0; i < GROUP_COPY; i++)
		*(u4 *)(to + 32 * GPU_PAGE * i + half_swizzle(tid() / 4, tid() % 4)) = a->v[i];
	a->turn ^= 1;
	sync();
	group_ask(p, table, kv, a);
	return to;
}

/* A query of a lane. */
struct group_query {
	int row, head;		/* in the group; in the chunk */
};

DEVICE group_query
group_query_of(int r)
{
	int i = GROUP_QUERIES * wave() + half_row(r);

	return { i / GPU_HEADS, i % GPU_HEADS };
}

/* The wave's queries to shared memory, zeros for those that are not. */
DEVICE void
group_queries(const gpu_attention &p, const heads &h, const gpu_group &g, int stride,
    uint16_t *q)
{
	ROLLED for (int i = 0; i < GROUP_QUERIES; i++) {
		int at = GROUP_QUERIES * wave() + i;
		int row = at / GPU_HEADS, head = at % GPU_HEADS;
		const float *x = p.qkv + (size_t)(g.first + row) * p.qkv_stride +
		    (h.first + head) * p.head_dim;
		bool has = row < g.n && head < h.n;

		for (int d = tid() % 32; d < p.dim_stride; d += 32)
			q[at * stride + d] = has && d < p.head_dim ? query_half(p, x[d]) : 0;
	}
}

/* c += a piece of keys. */
DEVICE void
group_scores(const uint16_t *q, int stride, const uint16_t *keys, int n,
    float c[][HALF_SUBS][HALF_ACC])
{
	u4 rows[HALF_R];

	half_rows(q, stride, GROUP_QUERIES, rows);
	UNROLLED for (int i = 0; i < ATTEND_PAGES; i++) {
		if (GPU_PAGE * i >= n)
			continue;
		UNROLLED for (int sub = 0; sub < HALF_SUBS; sub++) {
			u4 cols[HALF_C];

			half_cols_shared(keys + 32 * GPU_PAGE * i, sub, cols);
			half_mma(c[i][sub], rows, cols);
		}
		keep_order();
	}
}

/* No scores for what is not before a lane's queries: at is the tile's first position. */
DEVICE void
group_mask(int pos, int at, float c[][HALF_SUBS][HALF_ACC])
{
	int n[HALF_ROWS];

	UNROLLED for (int r = 0; r < HALF_ROWS; r++)
		n[r] = pos + group_query_of(r).row + 1 - at - half_out_base();
	UNROLLED for (int i = 0; i < ATTEND_PAGES; i++)
		UNROLLED for (int sub = 0; sub < HALF_SUBS; sub++)
			UNROLLED for (int e = 0; e < HALF_ACC; e++)
				if (GPU_PAGE * i + half_out_step(sub, e) >= n[half_slot(e)])
					c[i][sub][e] = NO_SCORE;
}

/* What is merged of a lane's queries, and how the tile at hand is merged with it. */
struct group_merge {
	float max[HALF_ROWS], sum[HALF_ROWS];
	float a[HALF_ROWS], b[HALF_ROWS];
};

/* Scores to weights; all but the values of merge(). */
DEVICE void
group_softmax(int n, float c[][HALF_SUBS][HALF_ACC], u4 w[][HALF_T], group_merge *m)
{
	float sum[HALF_ACC] = { 0 }, max[HALF_ROWS];
	u4 ones[HALF_C];

	half_ones(ones);
	UNROLLED for (int r = 0; r < HALF_ROWS; r++) {
		max[r] = NO_SCORE;
		UNROLLED for (int i = 0; i < ATTEND_PAGES; i++)
			UNROLLED for (int sub = 0; sub < HALF_SUBS; sub++)
				UNROLLED for (int e = 0; e < HALF_ACC; e++)
					if (half_slot(e) == r)
						max[r] = max_(max[r], c[i][sub][e]);
		max[r] = half_top(max[r]);
	}
	UNROLLED for (int i = 0; i < ATTEND_PAGES; i++) {
		u4 rows[HALF_R];

		if (GPU_PAGE * i >= n)
			continue;
		UNROLLED for (int sub = 0; sub < HALF_SUBS; sub++)
			UNROLLED for (int e = 0; e < HALF_ACC; e++)
				c[i][sub][e] = exp2_(c[i][sub][e] - max[half_slot(e)]);
		half_turn(c[i], w[i]);
		half_turned(w[i], rows);
		half_mma(sum, rows, ones);
		keep_order();
	}
	UNROLLED for (int r = 0; r < HALF_ROWS; r++) {
		float top = max_(m->max[r], max[r]);

		m->a[r] = exp2_(m->max[r] - top);
		m->b[r] = exp2_(max[r] - top);
		m->sum[r] = fma_(m->sum[r], m->a[r], sum[r * (HALF_ACC / HALF_ROWS)] *
		    m->b[r]);
		m->max[r] = top;
	}
}

/* A piece of values, weighted and merged. */
DEVICE void
group_values(const uint16_t *values, int n, const u4 w[][HALF_T], const group_merge &m,
    float o[][HALF_ACC])
{
	float c[HALF_SUBS][HALF_ACC] = { { 0 } };

	UNROLLED for (int i = 0; i < ATTEND_PAGES; i++) {
		u4 rows[HALF_R];

		if (GPU_PAGE * i >= n)
			continue;
		half_turned(w[i], rows);
		UNROLLED for (int sub = 0; sub < HALF_SUBS; sub++) {
			u4 cols[HALF_C];

			half_cols_shared(values + 32 * GPU_PAGE * i, sub, cols);
			half_mma(c[sub], rows, cols);
		}
		keep_order();
	}
	UNROLLED for (int sub = 0; sub < HALF_SUBS; sub++)
		UNROLLED for (int e = 0; e < HALF_ACC; e++) {
			int r = half_slot(e);

			o[sub][e] = fma_(o[sub][e], m.a[r], c[sub][e] * m.b[r]);
		}
}

DEVICE void
group_put(const gpu_attention &p, const heads &h, const gpu_group &g, const group_merge &m,
    const float o[][HALF_SUBS][HALF_ACC])
{
	UNROLLED for (int b = 0; b < GROUP_BLOCKS; b++)
		UNROLLED for (int sub = 0; sub < HALF_SUBS; sub++)
			UNROLLED for (int e = 0; e < HALF_ACC; e++) {
				group_query q = group_query_of(half_slot(e));
				int d = GPU_GROUP_DIMS * bz() + 32 * b + half_out_col(sub, e);

				if (q.row < g.n && q.head < h.n && d < p.head_dim)
					put_merged(p, h, g.first + q.row, q.head, d,
					    { 0, m.sum[half_slot(e)], o[b][sub][e] });
			}
}

/*
 * A block per group, chunk of heads and GPU_GROUP_DIMS of the values' dimensions; gpu_store
 * has run.  Shared memory: two pieces, and the queries.
 */
KERNEL(GPU_GROUP_THREADS, gpu_attend_rows, gpu_attention)
{
	DYNAMIC_SHARED(smem);
	const gpu_group g = p.batch.groups[bx()];
	const gpu_row row = p.batch.rows[g.first];
	const int32_t *table = p.batch.tables + row.table;
	const heads h = heads_of(p, by());
	int stride = p.dim_stride | 32, wave_first = wave() * (GROUP_QUERIES / GPU_HEADS);
	int wave_n = min_i(g.n, wave_first + GROUP_QUERIES / GPU_HEADS);
	uint16_t *q = (uint16_t *)smem + 2 * GROUP_PIECE;
	const uint16_t *mine = q + wave() * GROUP_QUERIES * stride;
	int n_keys = p.dim_stride / 32, left = n_keys - GROUP_BLOCKS * bz();
	int n_values = min_i(GROUP_BLOCKS, left), n_all = row.pos + g.n;
	float o[GROUP_BLOCKS][HALF_SUBS][HALF_ACC] = { { { 0 } } };
	group_merge m = {};
	group_ahead a = {};

	a.shared = (uint16_t *)smem;
	a.turn = a.at = a.piece = 0;
	a.n = n_all;
	a.n_keys = n_keys;
	a.first_value = n_keys + GROUP_BLOCKS * bz();
	a.n_pieces = n_keys + n_values;
	UNROLLED for (int r = 0; r < HALF_ROWS; r++) {
		m.max[r] = NO_SCORE;
		m.sum[r] = 0;
	}
	wait_for_last();
	group_ask(p, table, h.kv, &a);
	group_queries(p, h, g, stride, q);
	ROLLED for (int at = 0; at < n_all; at += GPU_TILE) {
		float c[ATTEND_PAGES][HALF_SUBS][HALF_ACC] = { { { 0 } } };
		u4 w[ATTEND_PAGES][HALF_T];
		/* Positions of the tile that the wave's last row sees. */
		int n = wave_first < g.n ? row.pos + wave_n - at : 0;

		ROLLED for (int i = 0; i < n_keys; i++) {
			const uint16_t *keys = group_next(p, table, h.kv, &a);

			group_scores(mine + 32 * i, stride, keys, n, c);
		}
		if (row.pos + wave_first + 1 - at < GPU_TILE)
			group_mask(row.pos, at, c);
		if (n > 0)
			group_softmax(n, c, w, &m);
		UNROLLED for (int b = 0; b < GROUP_BLOCKS; b++) {
			const uint16_t *values;

			if (b >= n_values)
				continue;
			values = group_next(p, table, h.kv, &a);
			if (n > 0)
				group_values(values, n, w, m, o[b]);
		}
	}
	group_put(p, h, g, m, o);
}
