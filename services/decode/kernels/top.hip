/*
 * The largest logits of a row, so that sampling needs no more than those from the device.
 * A block finds a bound that k keys of its slice reach at least: the k-th of the largest ones
 * of GPU_TOP groups of threads.  The few keys that reach it are collected, and each counts how
 * many are above it, which is its place.  The block that ends last does the same with what
 * all of them have left.  Keys are integers and differ, so the order of work changes nothing.
 */
DEVICE uint64_t
top_key(float logit, int id)
{
	uint32_t bits = float_bits(logit);

	if (logit == 0)
		bits = 0x80000000u;	/* of both signs: equals */
	else if (logit != logit)
		bits = 0;		/* below all */
	else
		bits = bits >> 31 ? ~bits : bits | 0x80000000u;
	return (uint64_t)bits << 32 | (uint32_t)~id;
}

/* n keys: of logits from id first on, or as they are. */
struct top_source {
	const float *logits;
	const uint64_t *keys;
	int first, n;

	DEVICE_MEMBER uint64_t at(int i) const
	{
		if (i >= n)
			return 0;
		return logits != nullptr ? top_key(logits[i], first + i) : keys[i];
	}
};

struct top_shared {
	uint64_t list[GPU_SORT];
	uint64_t groups[GPU_TOP];
	uint64_t bound;
	int n;
	bool last;
};

enum { TOP_AHEAD = 8 };		/* loads that do not wait for each other */

DEVICE void
top_load(const top_source &from, int i, uint64_t *keys)
{
	UNROLLED for (int k = 0; k < TOP_AHEAD; k++)
		keys[k] = from.at(i + k * GPU_THREADS);
}

/* The largest key below limit that this thread sees. */
DEVICE uint64_t
top_mine(const top_source &from, uint64_t limit)
{
	uint64_t best = 0;

	ROLLED for (int i = tid(); i < from.n; i += TOP_AHEAD * GPU_THREADS) {
		uint64_t keys[TOP_AHEAD];

		top_load(from, i, keys);
		UNROLLED for (int k = 0; k < TOP_AHEAD; k++)
			if (keys[k] > best && keys[k] < limit)
				best = keys[k];
	}
	return best;
}

/* Of n lanes, in all of them. */
DEVICE uint64_t
top_of_lanes(uint64_t v, int n)
{
	ROLLED for (int m = n / 2; m > 0; m /= 2) {
		uint32_t high = (uint32_t)xor_i((int)(uint32_t)(v >> 32), m);
		uint32_t low = (uint32_t)xor_i((int)(uint32_t)v, m);
		uint64_t other = (uint64_t)high << 32 | low;

		v = other > v ? other : v;
	}
	return v;
}

/* One after another: what is left where too many reach the bound. */
DEVICE void
top_one_by_one(const top_source &from, int k, uint64_t *out, int stride, top_shared *s)
{
	uint64_t last = ~(uint64_t)0;

	ROLLED for (int r = 0; r < k; r++) {
		uint64_t best = top_of_lanes(top_mine(from, last), 32);

		if (tid() % 32 == 0)
			s->groups[tid() / 32] = best;
		sync();
		best = s->groups[0];
		for (int i = 1; i < GPU_WAVES; i++)
			best = s->groups[i] > best ? s->groups[i] : best;
		sync();
		if (tid() == 0)
			out[(size_t)r * stride] = best;
		last = best;
	}
}

/* How many of keys are above key i. */
DEVICE int
top_place(const uint64_t *keys, int n, int i)
{
	uint64_t mine = keys[i];
	int place = 0;

	ROLLED for (int k = 0; k < n; k++)
		place += keys[k] > mine;
	return place;
}

/* The k largest of from, sorted, 0 where there are not so many; by a block. */
DEVICE void
top_select(const top_source &from, int k, uint64_t *out, int stride, top_shared *s)
{
	enum { LANES = GPU_THREADS / GPU_TOP };
	uint64_t best = top_of_lanes(top_mine(from, ~(uint64_t)0), LANES), bound;

	if (tid() % LANES == 0)
		s->groups[tid() / LANES] = best;
	if (tid() == 0) {
		s->n = 0;
		s->bound = 0;		/* less than k groups have any: take all */
	}
	sync();
	if (tid() < GPU_TOP && s->groups[tid()] != 0 &&
	    top_place(s->groups, GPU_TOP, tid()) == k - 1)
		s->bound = s->groups[tid()];
	sync();
	bound = s->bound > 0 ? s->bound : 1;
	ROLLED for (int i = tid(); i < from.n; i += TOP_AHEAD * GPU_THREADS) {
		uint64_t keys[TOP_AHEAD];

		top_load(from, i, keys);
		UNROLLED for (int j = 0; j < TOP_AHEAD; j++)
			if (keys[j] >= bound) {
				int at = add_shared(&s->n, 1);

				if (at < GPU_SORT)
					s->list[at] = keys[j];
			}
	}
	sync();
	if (s->n > GPU_SORT) {
		top_one_by_one(from, k, out, stride, s);
		return;
	}
	ROLLED for (int i = tid(); i < s->n; i += GPU_THREADS) {
		int place = top_place(s->list, s->n, i);

		if (place < k)
			out[(size_t)place * stride] = s->list[i];
	}
	for (int i = s->n + tid(); i < k; i += GPU_THREADS)
		out[(size_t)i * stride] = 0;
}

/* Grid: slices, rows. */
KERNEL(GPU_THREADS, gpu_top_keys, gpu_top)
{
	SHARED top_shared s;
	int base = bx() * p.slice, row = by(), slices = (p.n + p.slice - 1) / p.slice;
	uint64_t *left = p.keys + (size_t)row * GPU_TOP * GPU_TOP;
	top_source mine = { p.logits + (size_t)row * p.n + base, nullptr, base,
		min_i(p.slice, p.n - base) };
	top_source all = { nullptr, left, 0, slices * p.k };

	wait_for_last();
	top_select(mine, p.k, left + bx(), slices, &s);
	sync();
	if (tid() == 0)
		s.last = count_up(p.done + row) + 1 == (uint32_t)slices;
	sync();
	if (!s.last)
		return;
	top_select(all, p.k, p.out + (size_t)row * GPU_TOP, 1, &s);
	if (tid() == 0)
		p.done[row] = 0;
}
