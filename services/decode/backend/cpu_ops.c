#include "backend/cpu.h"
#include "clock.h"

_Static_assert((int)CPU_N_OPS <= (int)BACKEND_OPS_MAX, "BACKEND_OPS_MAX");

/* One writer at a time, so a sum needs no locked instruction. */
static void
add(atomic_int_least64_t *sum, int64_t n)
{
	atomic_store_explicit(sum,
	    atomic_load_explicit(sum, memory_order_relaxed) + n,
	    memory_order_relaxed);
}

/* Keys and values that the blocks of the batch read in one layer. */
static int64_t
cache_bytes(const struct cpu *c)
{
	int64_t positions = 0, per_position = (int64_t)c->kv_bytes /
	    ((int64_t)c->m->config.n_layers * c->o.n_pages * KV_PAGE);

	for (int i = 0; i < c->n_blocks; i++) {
		const struct cpu_block *b = &c->blocks[i];

		positions += c->rows[c->active[b->first + b->n - 1]].pos + 1;
	}
	return positions * per_position;
}

static int64_t
bytes_of(const struct cpu *c, enum cpu_op kind, int layer)
{
	const struct model_config *f = &c->m->config;
	const struct model_layer *l = &c->m->layers[layer];
	int64_t norm = 4 * (int64_t)f->hidden;

	switch (kind) {
	case CPU_OP_EMBED:
		return backend_dense_bytes(&c->m->embed) / f->vocab * c->n_rows;
	case CPU_OP_QKV:
		return norm + backend_ternary_bytes(&l->q) +
		    backend_ternary_bytes(&l->k) + backend_ternary_bytes(&l->v);
	case CPU_OP_ATTENTION:
		return cache_bytes(c);
	case CPU_OP_O:
		return backend_ternary_bytes(&l->o) +
		    (l->attn_sub_norm != NULL ? 4 * (int64_t)c->n_q : 0);
	case CPU_OP_GATE_UP:
		return norm + backend_ternary_bytes(&l->gate) +
		    backend_ternary_bytes(&l->up);
	case CPU_OP_DOWN:
		return backend_ternary_bytes(&l->down) +
		    (l->ffn_sub_norm != NULL ? 4 * (int64_t)f->ffn : 0);
	case CPU_OP_HEAD:
		return norm + backend_dense_bytes(&c->m->head);
	default:
		return 0;
	}
}

void
cpu_ops_next(struct cpu *c, enum cpu_op kind, int layer)
{
	struct cpu_ops *o = &c->ops;
	int64_t now = clock_ns();

	if (o->now != CPU_OP_NONE)
		add(&o->sums[o->now].ns, now - o->since_ns);
	o->now = kind;
	o->since_ns = now;
	if (kind != CPU_OP_NONE) {
		add(&o->sums[kind].calls, 1);
		add(&o->sums[kind].bytes, bytes_of(c, kind, layer));
	}
}

int
cpu_ops_read(const struct backend *b, struct backend_op ops[BACKEND_OPS_MAX])
{
	static const char *const names[CPU_N_OPS] = {
#define K(name, text) [CPU_OP_##name] = text,
		CPU_OPS(K)
#undef K
	};
	const struct cpu *c = b->state;
	int n = 0;

	for (int i = CPU_OP_NONE + 1; i < CPU_N_OPS; i++) {
		struct backend_op op = { .name = names[i],
			.calls = atomic_load_explicit(&c->ops.sums[i].calls,
			    memory_order_relaxed),
			.ns = atomic_load_explicit(&c->ops.sums[i].ns,
			    memory_order_relaxed),
			.bytes = atomic_load_explicit(&c->ops.sums[i].bytes,
			    memory_order_relaxed),
		};

		if (op.calls > 0)
			ops[n++] = op;
	}
	return n;
}
