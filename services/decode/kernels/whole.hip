/*
 * A whole pass in one launch, for few rows of different sequences.  Decoding on a fast device
 * is a chain of short products that depend on each other, and a launch for each costs more
 * than its bytes do.  Here all blocks stay: what a product reads is on its way before the
 * last one has ended, instructions are fetched once, and values go from block to block as
 * packets (exchange.hip).  Every float is computed by the same operations as in the kernels
 * of one step each, so the bits are the same.
 *
 * No block can get so far ahead that it overwrites what another still reads: to write a
 * layer's packets again it needs a value of the layer before from each block, and those
 * have read theirs by then.  So each block must have a part of gate and up.
 */

/* Rows of a product to int8 in shared memory, or by one block each and then to all. */
DEVICE void
whole_rows(const gpu_whole &p, const gpu_whole_product &w, const float *norm, int turn,
    uint32_t flag, uint32_t *q, whole_shared *s)
{
	int words = w.units * 16, stride = words + 16;

	if (tid() < GPU_FEW)
		s->sum[turn][tid()] = 0;
	ROLLED for (int r = 0; r < p.n_rows; r++) {
		uint64_t *packets = p.n_rows <= p.each ? nullptr : w.in_q +
		    (size_t)r * (words + 2);

		if (packets != nullptr && r * grid_size() / p.n_rows != bx())
			continue;
		whole_quantise(w, norm, p.eps, r, flag, turn, q + r * stride, packets, s);
		sync();
	}
	if (p.n_rows <= p.each)
		return;
	ROLLED for (int r = 0; r < p.n_rows; r++)
		take_pairs(w.in_q + (size_t)r * (words + 2), words / 2, flag, 0,
		    GPU_WHOLE_THREADS, q + r * stride);
	if (tid() < p.n_rows)
		s->scale[turn][tid()] = bits_float(take_one(w.in_q + (size_t)tid() *
		    (words + 2) + words, flag));
	sync();
}

/* The embeddings of all tokens: each block has its part of the state, and publishes it. */
DEVICE void
whole_embed(const gpu_whole &p, const whole_shared *s, uint32_t flag, float *residual)
{
	const gpu_whole_product &w = p.products[WHOLE_QKV];
	int r = tid() / 64;

	if (r >= p.n_rows)
		return;
	size_t token = (size_t)p.attention.batch.rows[r].token;

	ROLLED for (int o = tid() % 64; o < whole_outs(s, WHOLE_O); o += 64) {
		int out = whole_out_row(WHOLE_O, o);

		if (out >= w.n_in)
			continue;
		residual[o * GPU_FEW + r] = dense_value(p.embed, token, out);
		packet_put((uint64_t *)w.in + (size_t)r * w.n_in + out,
		    float_bits(residual[o * GPU_FEW + r]), flag);
	}
}

/* What does not change in a pass. */
DEVICE void
whole_begin(const gpu_whole &p, whole_shared *s, gpu_whole_layer *layers, int *acc)
{
	int n = p.n_layers * (int)sizeof(gpu_whole_layer) / 16, tiles = 0;

	ROLLED for (int i = tid(); i < n; i += GPU_WHOLE_THREADS)
		((u4 *)layers)[i] = load_u4((const u4 *)p.layers + i);
	ROLLED for (int i = tid(); i < (int)sizeof(gpu_attention) / 4; i += GPU_WHOLE_THREADS)
		((uint32_t *)&s->attention)[i] = ((const uint32_t *)&p.attention)[i];
	whole_keep_place(p, s);
	if (tid() < N_WHOLE) {
		int pair = tid() == WHOLE_GATE ? 1 : 0;
		int n_all = p.products[tid()].n_tiles >> pair;
		int mine = ((n_all - bx() + grid_size() - 1) / grid_size()) << pair;

		s->n_local[tid()] = mine;
		s->n_items[tid()] = mine * (p.products[tid()].units / 4);
	}
	sync();
	for (int i = 0; i < N_WHOLE; i++)
		tiles = s->n_local[i] > tiles ? s->n_local[i] : tiles;
	ROLLED for (int i = tid(); i < tiles * 16 * GPU_FEW; i += GPU_WHOLE_THREADS)
		acc[i] = 0;
}

KERNEL(GPU_WHOLE_THREADS, gpu_whole_step, gpu_whole)
{
	DYNAMIC_SHARED(smem);
	whole_shared *s = (whole_shared *)smem;
	gpu_whole_layer *layers = (gpu_whole_layer *)(smem + GPU_WHOLE_SHARED);
	int *acc = (int *)(smem + p.acc_at);
	float *residual = (float *)(smem + p.rest_at);
	uint8_t *room = smem + p.room_at;
	whole_asked asked;
	uint32_t flag;

#ifdef HAS_COPIES
	asked.codes.room = (u4 *)(smem + p.codes_at);
#endif
	wait_for_last();
	flag = *p.pass * (uint32_t)(p.n_layers + 1);
	whole_begin(p, s, layers, acc);
	whole_embed(p, s, flag, residual);
	whole_ask(p.products[WHOLE_QKV], layers, WHOLE_QKV, s, &asked);
	whole_fetch(p, layers, WHOLE_O, s);
	ROLLED for (int i = 0, n = p.n_layers * N_WHOLE; i < n; i++) {
		const gpu_whole_layer *l = layers + i / N_WHOLE;
		int product = i % N_WHOLE, next = (i + 1) % N_WHOLE, turn = i % 2;
		const gpu_whole_product w = p.products[product];

		if (product == WHOLE_QKV) {
			whole_turn_to(l, s);
			whole_fetch_place(p, l, s);
		}
		if (i + 2 < n)
			whole_fetch(p, layers + (i + 2) / N_WHOLE, (i + 2) % N_WHOLE, s);
		whole_rows(p, w, l->norms[product], turn, flag, (uint32_t *)room, s);
		whole_multiply(w, l, product, p.n_rows, s, &asked, room, acc, s->sum[turn]);
		sync();
		whole_finish(p, w, l, product, s, asked.scale, turn, i / N_WHOLE, flag, acc,
		    residual);
		if (product == WHOLE_QKV)
			whole_attention(p, s, flag, room);
		/* Always, so that nothing is held in between; at the end for nobody. */
		whole_ask(p.products[next], layers + (i + 1) % n / N_WHOLE, next, s, &asked);
		flag += product == WHOLE_DOWN ? 1 : 0;
	}
}
