/*
 * Attention in the step of one launch: a block per row, kv head and tile, the last blocks
 * first, since those have the fewest rows of the products.  A row with several tiles has
 * them merged by a block per head.
 */
static_assert(sizeof(attend_shared) <= GPU_WHOLE_ATTEND, "the host leaves too little room");

enum { WHOLE_MERGE = GPU_WHOLE_WAVES };		/* tiles that are merged at once */

DEVICE int
tiles_of(const gpu_attention &a, int row)
{
	return a.batch.rows[row].pos / GPU_TILE + 1;
}

/* Packets of a tile's parts: [GPU_HEADS, dim_stride + 2]. */
DEVICE uint64_t *
whole_part(const gpu_whole &p, const whole_place &at)
{
	const gpu_attention &a = p.attention;

	return p.parts + (((size_t)at.row * (a.n_kv_heads * a.chunks) + at.chunk) * a.n_tiles +
	    at.tile) * GPU_HEADS * (a.dim_stride + 2);
}

/* Query heads of a block, and its key and value, as floats: a wave has one. */
DEVICE void
whole_take_heads(const gpu_whole &p, const heads &h, int row, uint32_t flag, float *raw)
{
	const gpu_attention &a = p.attention;
	const uint64_t *from = p.products[WHOLE_QKV].out +
	    (size_t)row * p.products[WHOLE_QKV].n_out;
	int wave = tid() / 32, head = h.first + wave;

	if (wave >= h.n + 2)
		return;
	if (wave >= h.n)
		head = a.n_heads + h.kv + (wave - h.n) * a.n_kv_heads;
	take_pairs(from + head * a.head_dim, a.head_dim / 2, flag, tid() / 32 * 32, 32,
	    (uint32_t *)raw + wave * a.head_dim);
}

/* What a block made of a tile: to those who merge, or if it is the only one, done. */
DEVICE void
whole_put_tile(const gpu_whole &p, const heads &h, const whole_place &at, bool only, uint32_t flag,
    const attend_shared *s)
{
	enum { THREADS = GPU_WHOLE_THREADS / GPU_HEADS };
	const gpu_attention &a = p.attention;
	int j = tid() / THREADS, first = tid() % THREADS;
	uint64_t *part = whole_part(p, at) + j * (a.dim_stride + 2);
	uint64_t *out = p.att + ((size_t)at.row * a.n_heads + h.first + j) * a.head_dim;

	if (j >= h.n)
		return;
	ROLLED for (int d = first; d < a.head_dim; d += THREADS) {
		merged m = { NO_SCORE, 0, 0 };

		if (only) {
			merge(&m, s->max[j], s->sum[j], s->out[j][d]);
			packet_put(out + d, float_bits(div_(m.out, m.sum)), flag);
		} else {
			packet_put(part + d, float_bits(s->out[j][d]), flag);
		}
	}
	if (!only && first < a.dim_stride - a.head_dim)
		packet_put(part + a.head_dim + first, 0, flag);
	if (!only && first == 0) {
		packet_put(part + a.dim_stride, float_bits(s->max[j]), flag);
		packet_put(part + a.dim_stride + 1, float_bits(s->sum[j]), flag);
	}
}

/* The i-th of all places. */
DEVICE whole_place
whole_place_of(const gpu_attention &a, int i)
{
	int chunks = a.n_kv_heads * a.chunks;
	whole_place at;
	gpu_row row;

	at.tile = i % a.n_tiles;
	at.chunk = i / a.n_tiles % chunks;
	at.row = i / a.n_tiles / chunks;
	row = a.batch.rows[at.row];
	at.pos = row.pos;
	at.table = a.batch.tables + row.table;
	at.turns = turns_of(a, at.pos);
	return at;
}

/* How many there are, and which the block has first. */
DEVICE int
whole_places(const gpu_whole &p)
{
	return p.n_rows * p.attention.n_kv_heads * p.attention.chunks * p.attention.n_tiles;
}

DEVICE int whole_first_place() { return grid_size() - 1 - bx(); }

/* What a layer has of its own; seen after the next barrier. */
DEVICE void
whole_turn_to(const gpu_whole_layer *l, whole_shared *s)
{
	if (tid() != 0)
		return;
	s->attention.cache = l->cache;
	s->attention.q_norm = l->q_norm;
	s->attention.k_norm = l->k_norm;
}

/* What the block's first place needs in all layers is kept near. */
DEVICE void
whole_keep_place(const gpu_whole &p, whole_shared *s)
{
	const gpu_attention &a = p.attention;
	whole_place at;

	if (whole_first_place() >= whole_places(p))
		return;
	at = whole_place_of(a, whole_first_place());
	int first = at.tile * (GPU_TILE / GPU_PAGE);

	if (tid() < GPU_TILE / GPU_PAGE && (first + tid()) * GPU_PAGE <= at.pos)
		s->pages[tid()] = at.table[first + tid()];
	ROLLED for (int i = tid(); i < a.head_dim; i += GPU_WHOLE_THREADS)
		s->rotary[i] = at.turns[i];
	if (tid() == 0) {
		at.table = s->pages - first;
		at.turns = s->rotary;
		s->first = at;
	}
}

/* Its keys and values of a layer come near. */
DEVICE void
whole_fetch_place(const gpu_whole &p, const gpu_whole_layer *l, const whole_shared *s)
{
	const gpu_attention &a = p.attention;
	int page = s->first.tile * (GPU_TILE / GPU_PAGE) + tid();
	int kv = s->first.chunk * a.chunk_part >> 16;
	size_t bytes = 2 * GPU_PAGE * (size_t)a.dim_stride * sizeof(uint16_t);

	if (whole_first_place() < whole_places(p) && tid() < GPU_TILE / GPU_PAGE &&
	    page * GPU_PAGE <= s->first.pos)
		fetch_ahead((const uint8_t *)l->cache + ((size_t)s->pages[tid()] *
		    a.n_kv_heads + kv) * bytes, (uint32_t)bytes);
}

DEVICE void
whole_tile(const gpu_whole &p, const gpu_attention &a, const whole_place &t, uint32_t flag,
    uint8_t *room)
{
	attend_shared *s = (attend_shared *)room;
	float *raw = (float *)(room + GPU_WHOLE_ATTEND);
	heads h = heads_of(a, t.chunk);
	int at = t.tile * GPU_TILE, n = min_i(GPU_TILE, t.pos + 1 - at);
	int last = t.pos / GPU_TILE, own = t.tile == last ? t.pos - at : -1;
	attend_ahead<GPU_WHOLE_WAVES> ahead;

	attend_ask(a, t.table, h, at, n, &ahead);
	whole_take_heads(p, h, t.row, flag, raw);
	sync();
	attend_begin(a, h, raw, raw + h.n * a.head_dim, raw + (h.n + 1) * a.head_dim,
	    t.turns, t.pos, own >= 0 ? page_of(a, t.table[t.pos / GPU_PAGE], h.kv) : nullptr, s);
	sync();
	attend_tile(a, h, n, own, &ahead, s);
	whole_put_tile(p, h, t, last == 0, flag, s);
	sync();
}

/* A head of a row, from the parts of its tiles. */
DEVICE void
whole_merge(const gpu_whole &p, int row, int head, uint32_t flag, float *parts)
{
	const gpu_attention &a = p.attention;
	int n_tiles = tiles_of(a, row), stride = a.dim_stride + 2, d = tid();
	int in_group = head % a.group;
	int chunk = head / a.group * a.chunks + in_group / GPU_HEADS;
	merged m = { NO_SCORE, 0, 0 };

	ROLLED for (int t = 0; t < n_tiles; t += WHOLE_MERGE) {
		int wave = tid() / 32, n = min_i(WHOLE_MERGE, n_tiles - t);

		if (wave < n)
			take_pairs(whole_part(p, { row, chunk, t + wave, 0, nullptr, nullptr }) +
			    in_group % GPU_HEADS * stride, stride / 2, flag, wave * 32, 32,
			    (uint32_t *)parts + wave * stride);
		sync();
		if (d < a.head_dim)
			ROLLED for (int i = 0; i < n; i++) {
				const float *part = parts + i * stride;

				merge(&m, part[a.dim_stride], part[a.dim_stride + 1],
				    part[d]);
			}
		sync();
	}
	if (d < a.head_dim)
		packet_put(p.att + ((size_t)row * a.n_heads + head) * a.head_dim + d,
		    float_bits(div_(m.out, m.sum)), flag);
}

DEVICE void
whole_attention(const gpu_whole &p, const whole_shared *s, uint32_t flag, uint8_t *room)
{
	const gpu_attention &a = s->attention;
	int first = whole_first_place(), n = whole_places(p);

	ROLLED for (int i = first; i < n; i += grid_size()) {
		whole_place at = i == first ? s->first : whole_place_of(a, i);

		if (at.tile * GPU_TILE <= at.pos)
			whole_tile(p, a, at, flag, room);
	}
	if (a.n_tiles == 1)
		return;
	ROLLED for (int i = bx(); i < p.n_rows * a.n_heads; i += grid_size()) {
		int row = i / a.n_heads;

		if (tiles_of(a, row) > 1)
			whole_merge(p, row, i % a.n_heads, flag, (float *)room);
	}
}
