/*
 * The largest logits, so that sampling needs no more than those from the device: each
 * block sorts GPU_SORT keys and leaves GPU_TOP, until one block has seen all.
 */
DEVICE uint64_t
top_key(float logit, int id)
{
	uint32_t bits = float_bits(logit);

	bits = bits >> 31 ? ~bits : bits | 0x80000000u;
	return (uint64_t)bits << 32 | (uint32_t)~id;
}

/* Grid: blocks of keys, rows. */
KERNEL(GPU_THREADS, gpu_top_keys, gpu_top)
{
	SHARED uint64_t keys[GPU_SORT];
	int base = bx() * GPU_SORT, row = by();

	wait_for_last();
	for (int i = tid(); i < GPU_SORT; i += GPU_THREADS) {
		int at = base + i;

		keys[i] = at >= p.n ? 0 : p.logits != nullptr ?
		    top_key(p.logits[(size_t)row * p.n + at], at) :
		    p.keys[(size_t)row * p.keys_stride + at];
	}
	sync();
	for (int size = 2; size <= GPU_SORT; size *= 2)
		for (int step = size / 2; step > 0; step /= 2) {
			for (int i = tid(); i < GPU_SORT / 2; i += GPU_THREADS) {
				int a = i / step * 2 * step + i % step, b = a + step;
				bool down = (a & size) == 0;

				if ((keys[a] < keys[b]) == down) {
					uint64_t k = keys[a];

					keys[a] = keys[b];
					keys[b] = k;
				}
			}
			sync();
		}
	for (int i = tid(); i < GPU_TOP; i += GPU_THREADS)
		p.out[(size_t)row * p.out_stride + bx() * GPU_TOP + i] = keys[i];
}
