/*
 * How blocks that run together hand each other values, and rows that come this way.  A
 * packet is eight bytes that are written and read at once: a value and a flag, which says
 * of which layer of which pass it is.  Whoever needs a value asks for its packet until the
 * flag is the right one: one journey through the second cache, where a barrier between the
 * blocks would take three (values, arrival, release).
 */

/* A tile of attention: which row's, of which heads; at which position the row is. */
struct whole_place {
	int row, chunk, tile, pos;
	const int32_t *table;	/* page table of the row, good for this tile */
	const float *turns;	/* cosines and sines of pos */
};

/* What all waves of a block of the whole step know. */
struct whole_shared {
	measure slice[GPU_SLICES];
	float scale[2][GPU_FEW];	/* of the rows of this product and of the last */
	int sum[2][GPU_FEW];
	int n_local[N_WHOLE];		/* tiles of each product that this block has */
	int n_items[N_WHOLE];		/* and blocks of 256 columns of them */
	gpu_attention attention;	/* of this layer */
	whole_place first;
	int32_t pages[GPU_TILE / GPU_PAGE];
	float rotary[GPU_HEAD_DIM_MAX];
};
static_assert(sizeof(whole_shared) <= GPU_WHOLE_SHARED, "the host leaves too little room");

/* Fours of columns of a row, tid() + 512 i, as soon as all of them are there. */
DEVICE void
take_fours(const uint64_t *from, int n4, uint32_t flag, f4 *v)
{
	const uint64_t *mine = from + 4 * tid();
	u4 a[GPU_WHOLE_FOURS], b[GPU_WHOLE_FOURS];
	bool missing = true;

	UNROLLED for (int i = 0; i < GPU_WHOLE_FOURS; i++)
		a[i] = b[i] = { 0, flag, 0, flag };
	for (int tries = 0; missing; tries++) {
		missing = false;
		UNROLLED for (int i = 0; i < GPU_WHOLE_FOURS; i++)
			if (tid() + i * GPU_WHOLE_THREADS < n4) {
				a[i] = packets_get(mine + 4 * i * GPU_WHOLE_THREADS);
				b[i] = packets_get(mine + 4 * i * GPU_WHOLE_THREADS + 2);
			}
		UNROLLED for (int i = 0; i < GPU_WHOLE_FOURS; i++)
			missing |= a[i].y != flag || a[i].w != flag || b[i].y != flag ||
			    b[i].w != flag;
		if (missing)
			spin(tries);
	}
	UNROLLED for (int i = 0; i < GPU_WHOLE_FOURS; i++)
		v[i] = { bits_float(a[i].x), bits_float(a[i].z), bits_float(b[i].x),
			bits_float(b[i].z) };
}

/* Of pair i of values. */
DEVICE void
put_pair(uint32_t *to, int i, u4 v)
{
	to[2 * i] = v.x;
	to[2 * i + 1] = v.z;
}

/* n pairs of packets, by n_threads threads from thread first on, to shared memory. */
DEVICE void
take_pairs(const uint64_t *from, int n, uint32_t flag, int first, int n_threads, uint32_t *to)
{
	enum { AHEAD = 4 };

	ROLLED for (int at = tid() - first; at < n; at += AHEAD * n_threads) {
		uint32_t missing = 0;

		for (int i = 0; i < AHEAD; i++)
			missing |= (at + i * n_threads < n ? 1u : 0u) << i;
		for (int tries = 0; missing != 0; tries++) {
			u4 v[AHEAD];

			UNROLLED for (int i = 0; i < AHEAD; i++)
				if (missing >> i & 1)
					v[i] = packets_get(from + 2 * (at + i * n_threads));
			UNROLLED for (int i = 0; i < AHEAD; i++)
				if (missing >> i & 1 && v[i].y == flag && v[i].w == flag) {
					put_pair(to, at + i * n_threads, v[i]);
					missing &= ~(1u << i);
				}
			if (missing != 0)
				spin(tries);
		}
	}
}

/* One value. */
DEVICE uint32_t
take_one(const uint64_t *from, uint32_t flag)
{
	u4 v = packets_get(from);

	for (int tries = 0; v.y != flag; tries++) {
		spin(tries);
		v = packets_get(from);
	}
	return v.x;
}

/* A wave's part of a sum of squares, and its maximum, in the order of sum_f. */
DEVICE measure
measure_wave(measure m)
{
	UNROLLED for (int k = 16; k > 0; k /= 2) {
		m.squares += xor_f(m.squares, k);
		m.top = max_(m.top, xor_f(m.top, k));
	}
	return m;
}

/*
 * A row from its packets to int8, as quantise_block makes it: into q in shared memory, or
 * as packets for all blocks.  A barrier is left to the caller.
 */
DEVICE void
whole_quantise(const gpu_whole_product &w, const float *norm, float eps, int r, uint32_t flag,
    int turn, uint32_t *q, uint64_t *packets, whole_shared *s)
{
	int n4 = w.n_in / 4, all = w.units * 16;
	f4 v[GPU_WHOLE_FOURS], f[GPU_WHOLE_FOURS];
	measure m = { 0, 0 };
	float factor, scale;

	UNROLLED for (int i = 0; i < GPU_WHOLE_FOURS; i++) {
		int at = tid() + i * GPU_WHOLE_THREADS;

		f[i] = { 0, 0, 0, 0 };
		if (at < n4)
			f[i] = weights_of(norm, at);
	}
	take_fours(w.in + (size_t)r * w.n_in, n4, flag, v);
	UNROLLED for (int i = 0; i < GPU_WHOLE_FOURS; i++)
		m = measure_4(m, &v[i], f[i]);
	m = measure_wave(m);
	if (tid() % 32 == 0)
		s->slice[tid() / 32] = m;
	sync();
	m = s->slice[0];
	UNROLLED for (int i = 1; i < GPU_SLICES; i++)
		m = join(m, s->slice[i]);
	factor = row_factor(m, norm != nullptr, w.n_in, eps, &scale);
	UNROLLED for (int i = 0; i < GPU_WHOLE_FOURS; i++) {
		int at = tid() + i * GPU_WHOLE_THREADS;
		uint32_t word;

		if (at >= all)
			continue;
		put_4(v[i], factor, &word);
		if (packets != nullptr)
			packet_put(packets + at, word, flag);
		else
			q[at] = word;
	}
	if (tid() == 0) {
		s->scale[turn][r] = scale;
		if (packets != nullptr)
			packet_put(packets + all, float_bits(scale), flag);
	}
}
