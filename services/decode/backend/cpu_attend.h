/*
 * The KV cache and attention of every CPU variant; cpu_float.h includes it.
 *
 * A tile of CPU_TILE positions is scored for all queries at once, so that what
 * is read of the cache is read once; its values are added the same way.  While
 * one part of a page is worked on, the next one is asked for: pages lie anywhere,
 * and the processor's own prefetch stops where one ends.
 *
 * In int8 a key's factor multiplies its score and a value's its weight, so the
 * loops over elements know nothing of it.
 */
#ifndef DECODE_CPU_ATTEND_H
#define DECODE_CPU_ATTEND_H

/* Sums of values are kept in 4 * PV_BLOCK registers. */
_Static_assert((int)ATTEND_QUERIES <= 4 || (int)PV_BLOCK >= 2, "registers");

/* 16 elements of the cache as floats; i8 is a constant after inlining. */
INLINE vf
load_kv(const char *p, const bool i8)
{
	return i8 ? vf_load_i8((const int8_t *)p) :
	    vf_load_f16((const uint16_t *)p);
}

/* The factors of the keys of a page in int8, and then those of the values. */
INLINE float *
factors_of(const struct cpu_cache *c, char *page)
{
	return (float *)(void *)(page + KV_PAGE * (c->head_dim + c->v_stride));
}

/* Beyond the range of f16 it is cut, so that no infinity enters the cache. */
INLINE vf
fit_f16(vf v)
{
	return vf_min(vf_max(v, vf_set1(-65504.0F)), vf_set1(65504.0F));
}

INLINE vf
load_fit(const float *x, int i, int n)
{
	return fit_f16(n - i < CPU_LANES ? vf_load_n(x + i, n - i) :
	    vf_load(x + i));
}

/* Put n floats at one[0], one[step] … (step 0: whole vectors, in a row). */
INLINE void
store_f16(const float *x, int n, uint16_t *to, int step)
{
	uint16_t one[CPU_LANES];

	for (int i = 0; i < n; i += CPU_LANES) {
		vf v = load_fit(x, i, n);

		if (step == 0) {
			vf_store_f16(to + i, v);
			continue;
		}
		vf_store_f16(one, v);
		for (int j = 0; j < CPU_LANES && i + j < n; j++)
			to[(i + j) * step] = one[j];
	}
}

/* The same in int8; returns the factor: the largest is 127 of it. */
INLINE float
store_i8(const float *x, int n, int8_t *to, int step)
{
	vf top = vf_zero(), v, s;
	int8_t one[CPU_LANES];
	float most;

	for (int i = 0; i < n; i += CPU_LANES) {
		v = load_fit(x, i, n);
		top = vf_max(top, vf_max(v, vf_sub(vf_zero(), v)));
	}
	most = vf_hmax(top);
	most = most > 1e-30F ? most : 1e-30F;
	s = vf_set1(127.0F / most);
	for (int i = 0; i < n; i += CPU_LANES) {
		v = vf_round(vf_mul(load_fit(x, i, n), s));
		if (step == 0) {
			vf_store_i8(to + i, v);
			continue;
		}
		vf_store_i8(one, v);
		for (int j = 0; j < CPU_LANES && i + j < n; j++)
			to[(i + j) * step] = one[j];
	}
	return most / 127.0F;
}

TARGET static void
store(const struct cpu_cache *c, int32_t page, int slot, const float *k,
    const float *v)
{
	char *keys = c->base + (size_t)page * c->page_stride;
	char *values = keys + cpu_keys_bytes(c);
	float *factors = factors_of(c, keys);
	int at = slot * c->v_stride;

	if (c->i8) {
		factors[slot] = store_i8(k, c->head_dim,
		    (int8_t *)keys + slot, KV_PAGE);
		factors[KV_PAGE + slot] = store_i8(v, c->head_dim,
		    (int8_t *)values + at, 0);
	} else {
		store_f16(k, c->head_dim, (uint16_t *)(void *)keys + slot,
		    KV_PAGE);
		store_f16(v, c->head_dim, (uint16_t *)(void *)values + at, 0);
	}
}

/*
 * scores[i][at..at+31] = q . k of one page; i8 and n_q are constants after
 * inlining.  Line by line of keys, a line of what comes next is fetched.
 */
INLINE void
page_scores(const struct cpu_cache *c, const char *keys, const char *next,
    const bool i8, const struct cpu_query *q, const int n_q,
    float (*scores)[CPU_TILE], int at)
{
	const int size = i8 ? 1 : 2;
	const float *factors = (const float *)(const void *)(keys +
	    KV_PAGE * (c->head_dim + c->v_stride));
	vf acc[CPU_QUERIES_MAX][2], k0, k1, x;
	vf scale = vf_set1(1.0F / sqrtf((float)c->head_dim)), s0, s1;

	for (int i = 0; i < n_q; i++)
		acc[i][0] = acc[i][1] = vf_zero();
	for (int d = 0; d < c->head_dim; d++) {
		const char *line = keys + (size_t)(d * KV_PAGE * size);

		__builtin_prefetch(next + d * KV_PAGE * size);
		k0 = load_kv(line, i8);
		k1 = load_kv(line + CPU_LANES * size, i8);
#pragma GCC unroll 8
		for (int i = 0; i < n_q; i++) {
			x = vf_set1(q[i].q[d]);
			acc[i][0] = vf_fma(x, k0, acc[i][0]);
			acc[i][1] = vf_fma(x, k1, acc[i][1]);
		}
	}
	s0 = i8 ? vf_mul(scale, vf_load(factors)) : scale;
	s1 = i8 ? vf_mul(scale, vf_load(factors + CPU_LANES)) : scale;
	for (int i = 0; i < n_q; i++) {
		float *to = scores[i] + at;

		vf_store(to, vf_mul(acc[i][0], s0));
		vf_store(to + CPU_LANES, vf_mul(acc[i][1], s1));
	}
}

/*
 * Scores become weights exp(score - max of the tile), 0 from n on; *max and
 * *sum are the tile's.
 */
INLINE void
tile_softmax(float *s, int n, float *max, float *sum)
{
	enum { N = CPU_TILE / CPU_LANES };
	vf v[N], m;

	for (int i = n; i < CPU_TILE; i++)
		s[i] = -INFINITY;
	for (int i = 0; i < N; i++)
		v[i] = vf_load(s + i * CPU_LANES);
	m = vf_max(vf_max(v[0], v[1]), vf_max(v[2], v[3]));
	*max = vf_hmax(m);
	for (int i = 0; i < N; i++)
		vf_store(s + i * CPU_LANES,
		    vf_exp(vf_sub(v[i], vf_set1(*max))));
	for (int i = n; i < CPU_TILE; i++)
		s[i] = 0;
	for (int i = 0; i < N; i++)
		v[i] = vf_load(s + i * CPU_LANES);
	*sum = vf_sum(vf_add(vf_add(v[0], v[1]), vf_add(v[2], v[3])));
}

/* One tile: its pages, and what is fetched while they are read. */
struct tile {
	const char *keys[CPU_TILE / KV_PAGE], *values[CPU_TILE / KV_PAGE];
	const char *next[CPU_TILE / KV_PAGE];	/* keys, or the last values */
	int n;			/* positions that count */
};

/*
 * Vectors at..at+n_v of the tile's weighted values, merged into acc:
 * acc = acc * keep + values * take.
 */
INLINE void
tile_values(const struct cpu_cache *c, const struct tile *t, const bool i8,
    int at, const int n_v, struct cpu_query *q, const int n_q,
    float (*weights)[CPU_TILE], const float *keep, const float *take)
{
	const int size = i8 ? 1 : 2;
	size_t stride = (size_t)(c->v_stride * size), first = (size_t)(at * size);
	vf acc[4 * PV_BLOCK], v[PV_BLOCK], p;

	for (int i = 0; i < n_q; i++)
		for (int j = 0; j < n_v; j++)
			acc[i * n_v + j] = vf_zero();
	for (int s = 0; s < t->n; s++) {
		size_t offset = (size_t)s % KV_PAGE * stride + first;
		const char *row = t->values[(size_t)s / KV_PAGE] + offset;
		const char *ahead = t->next[(size_t)s / KV_PAGE] + offset;

		__builtin_prefetch(ahead);
		if (n_v * CPU_LANES * size > 64)
			__builtin_prefetch(ahead + 64);
		for (int j = 0; j < n_v; j++)
			v[j] = load_kv(row + j * CPU_LANES * size, i8);
#pragma GCC unroll 8
		for (int i = 0; i < n_q; i++) {
			p = vf_set1(weights[i][s]);
#pragma GCC unroll 4
			for (int j = 0; j < n_v; j++)
				acc[i * n_v + j] = vf_fma(p, v[j],
				    acc[i * n_v + j]);
		}
	}
	for (int i = 0; i < n_q; i++)
		for (int j = 0; j < n_v; j++) {
			float *to = q[i].acc + at + j * CPU_LANES;

			vf_store(to, vf_fma(vf_load(to), vf_set1(keep[i]),
			    vf_mul(acc[i * n_v + j], vf_set1(take[i]))));
		}
}

/* Softmax of the tile's scores and of all before it; then, for int8, the
 * factors of the values go into the weights. */
INLINE void
tile_weights(const struct cpu_cache *c, const struct tile *t, const bool i8,
    int first, struct cpu_query *q, float *s, float *keep, float *take)
{
	float max, sum, both, lanes[CPU_LANES];
	int own = q->pos + 1 - first;

	tile_softmax(s, own > t->n ? t->n : own, &max, &sum);
	both = q->max > max ? q->max : max;
	vf_store(lanes, vf_exp(vf_set1(q->max - both)));
	*keep = q->sum > 0 ? lanes[0] : 0;
	vf_store(lanes, vf_exp(vf_set1(max - both)));
	*take = lanes[0];
	q->max = both;
	q->sum = q->sum * *keep + sum * *take;
	for (int i = 0; i8 && i < t->n; i += CPU_LANES) {
		const float *f = (const float *)(const void *)
		    (t->keys[i / KV_PAGE] + KV_PAGE * (c->head_dim + c->v_stride));

		vf_store(s + i, vf_mul(vf_load(s + i),
		    vf_load(f + KV_PAGE + i % KV_PAGE)));
	}
}

/* One tile; the queries have one or more of its positions before them, and the
 * call goes on to position last. */
INLINE void
attend_tile(const struct cpu_cache *c, const int32_t *pages, const bool i8,
    struct cpu_query *q, const int n_q, int tile, int last,
    void (*const scores)(const struct cpu_cache *, const char *, const char *,
    const struct cpu_query *, float (*)[CPU_TILE], int))
{
	enum { N_PAGES = CPU_TILE / KV_PAGE };
	/* Sums of more queries leave fewer registers for each. */
	const int n_v = n_q > 4 ? PV_BLOCK / 2 : PV_BLOCK;
	float s[CPU_QUERIES_MAX][CPU_TILE], keep[CPU_QUERIES_MAX];
	float take[CPU_QUERIES_MAX];
	int first = tile * CPU_TILE, at = 0;
	struct tile t = { .n = q[n_q - 1].pos + 1 - first };

	t.n = t.n > CPU_TILE ? CPU_TILE : t.n;
	for (int p = 0; p < N_PAGES && p * KV_PAGE < t.n; p++) {
		const int32_t *id = pages + first / KV_PAGE + p;

		t.keys[p] = c->base + (size_t)*id * c->page_stride;
		t.values[p] = t.keys[p] + cpu_keys_bytes(c);
		t.next[p] = first + CPU_TILE + p * KV_PAGE <= last ? c->base +
		    (size_t)id[N_PAGES] * c->page_stride : t.values[p];
		scores(c, t.keys[p], t.values[p], q, s, p * KV_PAGE);
	}
	for (int i = 0; i < n_q; i++)
		tile_weights(c, &t, i8, first, &q[i], s[i], &keep[i], &take[i]);
	for (; at + n_v * CPU_LANES <= c->v_stride; at += n_v * CPU_LANES)
		tile_values(c, &t, i8, at, n_v, q, n_q, s, keep, take);
	for (; at < c->v_stride; at += CPU_LANES)
		tile_values(c, &t, i8, at, 1, q, n_q, s, keep, take);
}

/*
 * One function for each number of queries and form, constants in it; and one for
 * its scores, since the sanitizers give every variable a place of its own.
 */
#define ATTEND_FORM(form, i8, n_q)                                           \
	TARGET static __attribute__((noinline)) void                         \
	scores_##form##_##n_q(const struct cpu_cache *c, const char *keys,   \
	    const char *next, const struct cpu_query *q,                     \
	    float (*scores)[CPU_TILE], int at)                               \
	{                                                                    \
		page_scores(c, keys, next, i8, q, n_q, scores, at);          \
	}                                                                    \
	TARGET static __attribute__((noinline)) void                         \
	attend_##form##_##n_q(const struct cpu_cache *c,                     \
	    const int32_t *pages, struct cpu_query *q, int tile, int last)   \
	{                                                                    \
		attend_tile(c, pages, i8, q, n_q, tile, last,                \
		    scores_##form##_##n_q);                                  \
	}
#define ATTEND(n_q) ATTEND_FORM(f16, false, n_q) ATTEND_FORM(i8, true, n_q)
#if ATTEND_QUERIES == 8
#define ATTEND_ALL(F) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8)
#elif ATTEND_QUERIES == 4
#define ATTEND_ALL(F) F(1) F(2) F(3) F(4)
#else
#define ATTEND_ALL(F) F(1) F(2)
#endif
ATTEND_ALL(ATTEND)

TARGET static void
attend(const struct cpu_cache *c, const int32_t *pages, struct cpu_query *q,
    int n_q, int from, int to)
{
	static void (*const tile_of[][2])(const struct cpu_cache *,
	    const int32_t *, struct cpu_query *, int, int) = {
#define ROW(n_q) { attend_f16_##n_q, attend_i8_##n_q },
		ATTEND_ALL(ROW)
#undef ROW
	};

	int last = q[n_q - 1].pos;

	last = last < to * CPU_TILE ? last : to * CPU_TILE - 1;
	for (int tile = from; tile < to; tile++) {
		int skip = 0;

		/* Queries stand in rising order of pos. */
		while (skip < n_q && q[skip].pos < tile * CPU_TILE)
			skip++;
		if (skip < n_q)
			tile_of[n_q - skip - 1][c->i8](c, pages, q + skip, tile,
			    last);
	}
}

TARGET static void
merge(const struct cpu_query *parts, int n, int head_dim, float *out)
{
	float weights[CPU_SPANS_MAX], lanes[CPU_LANES], sum = 0;
	float max = parts[0].max;

	for (int i = 1; i < n; i++)
		max = parts[i].max > max ? parts[i].max : max;
	for (int i = 0; i < n; i++) {
		vf_store(lanes, vf_exp(vf_set1(parts[i].max - max)));
		weights[i] = lanes[0];
		sum += parts[i].sum * weights[i];
	}
	for (int i = 0; i < n; i++)
		weights[i] /= sum;
	for (int d = 0; d < head_dim; d += CPU_LANES) {
		vf acc = vf_zero();

		for (int i = 0; i < n; i++)
			acc = vf_fma(vf_load(parts[i].acc + d),
			    vf_set1(weights[i]), acc);
		vf_store_n(out + d, acc, head_dim - d < CPU_LANES ?
		    head_dim - d : CPU_LANES);
	}
}

#endif
