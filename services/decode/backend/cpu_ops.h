#ifndef DECODE_CPU_OPS_H
#define DECODE_CPU_OPS_H

#include <stdatomic.h>
#include <stdint.h>

#include "backend/backend.h"

/*
 * What the steps of the CPU backend have taken, by kind.  A step ends where the
 * next one begins, so one reading of the clock each is enough, and the times of
 * all kinds add up to that of the forward passes.
 */
#define CPU_OPS(K)                                                        \
	K(EMBED, "embed")		/* rows of the embedding, angles */       \
	K(QUANTISE, "quantise")		/* norm and 8 bits, in a step of its own */ \
	K(QKV, "qkv")                                                     \
	K(STORE, "store")		/* RoPE, keys and values to the cache */  \
	K(ATTENTION, "attention")                                         \
	K(O, "o")                                                         \
	K(GATE_UP, "gate_up")                                             \
	K(DOWN, "down")                                                   \
	K(HEAD, "head")

enum cpu_op {
	CPU_OP_NONE,
#define K(name, text) CPU_OP_##name,
	CPU_OPS(K)
#undef K
	CPU_N_OPS
};

/* All zeros is a valid one. */
struct cpu_ops {
	struct {
		atomic_int_least64_t calls, ns, bytes;
	} sums[CPU_N_OPS];
	/* Of whoever plans the steps, one thread after another. */
	enum cpu_op now;	/* kind of the step that runs */
	int64_t since_ns;	/* when it began */
};

struct cpu;

/*
 * A step of kind begins, in layer; CPU_OP_NONE: the last one is over.  By the
 * thread that opens the step.  What it reads is counted once for all rows: the
 * weights and norms of its products, and for attention the keys and values of
 * each block of rows.
 */
void cpu_ops_next(struct cpu *c, enum cpu_op kind, int layer);

/* struct backend's ops: the kinds that were called; b->state is a struct cpu. */
int cpu_ops_read(const struct backend *b,
    struct backend_op ops[BACKEND_OPS_MAX]);

#endif
