/*
 * Times of kernels by events of the device, of one pass in GPU_TIMED_EVERY; what was read
 * is counted for the same passes, so that bytes by time is a rate.
 */
#include <stdlib.h>

#include "backend/gpu.h"

static const char *const op_names[N_GPU_OPS] = {
#define O(member, name) name,
	GPU_OPS(O)
#undef O
};

/* Without memory or events nothing is timed, and that is all. */
static bool
make_events(struct gpu *g)
{
	struct gpu_times *t = &g->times;

	if (t->events == NULL) {
		t->events = calloc(GPU_EVENTS_MAX, sizeof(*t->events));
		t->ops = calloc(GPU_EVENTS_MAX, sizeof(*t->ops));
	}
	return t->events != NULL && t->ops != NULL;
}

void
gpu_times_begin(struct gpu *g)
{
	struct gpu_times *t = &g->times;

	t->n = 0;
	t->on = g->n_passes % GPU_TIMED_EVERY == 2 && make_events(g);
}

int
gpu_times_before(struct gpu *g, enum gpu_op op, struct err *e)
{
	struct gpu_times *t = &g->times;
	int r;

	if (!t->on || t->n == GPU_EVENTS_MAX)
		return 0;
	if (t->n == t->n_made) {
		if ((r = g->d.event_create(&t->events[t->n], 0)) != 0)
			return gpu_check(g, r, "making an event", e);
		t->n_made++;
	}
	t->ops[t->n] = op;
	r = g->d.event_record(t->events[t->n++], g->stream);
	return gpu_check(g, r, "timing a kernel", e);
}

/* Bytes of weights that one launch of a kind reads, of layer 0. */
static int64_t
matrix_bytes(const struct gpu_matrix *m, int64_t rows)
{
	return rows * (16 * (int64_t)m->units + 4 * (int64_t)m->n_groups);
}

/* whole: all layers were one launch. */
static void
count_bytes(struct gpu *g, const struct backend_row *rows, int n, bool whole)
{
	struct gpu_times *t = &g->times;
	const struct gpu_layer *l = &g->layers[0];
	int64_t layers = g->m->config.n_layers, kv = 0;

	for (int i = 0; i < n; i++)
		kv += (int64_t)(rows[i].pos + 1) * (int64_t)(g->page_size / GPU_PAGE *
		    sizeof(uint16_t));
	t->bytes[whole ? GPU_OP_LAYERS : GPU_OP_QKV] += layers *
	    matrix_bytes(&l->qkv, l->qkv.n_out);
	t->bytes[whole ? GPU_OP_LAYERS : GPU_OP_OUTPUT] += layers *
	    (matrix_bytes(&l->o, l->o.n_out) + matrix_bytes(&l->down, l->down.n_out));
	t->bytes[whole ? GPU_OP_LAYERS : GPU_OP_GATE] += layers *
	    matrix_bytes(&l->gate, 2 * (int64_t)l->gate.n_out);
	t->bytes[whole ? GPU_OP_LAYERS : GPU_OP_ATTEND] += layers * kv;
	t->bytes[GPU_OP_HEAD] += backend_dense_bytes(&g->m->head);
}

int
gpu_times_end(struct gpu *g, const struct backend_row *rows, int n, struct err *e)
{
	struct gpu_times *t = &g->times;
	bool whole = false;
	float ms;
	int r;

	if (!t->on)
		return 0;
	if ((r = gpu_times_before(g, GPU_OP_COPY, e)) != 0)
		return r;
	if ((r = g->d.event_wait(t->events[t->n - 1])) != 0)
		return gpu_check(g, r, "a step", e);
	for (int i = 0; i + 1 < t->n; i++) {
		if ((r = g->d.event_time(&ms, t->events[i], t->events[i + 1])) != 0)
			return gpu_check(g, r, "reading a time", e);
		whole |= t->ops[i] == GPU_OP_LAYERS;
		t->calls[t->ops[i]]++;
		t->ns[t->ops[i]] += (int64_t)((double)ms * 1e6);
	}
	count_bytes(g, rows, n, whole);
	t->on = false;
	return 0;
}

int
gpu_ops(const struct backend *b, struct backend_op ops[BACKEND_OPS_MAX])
{
	const struct gpu *g = b->state;
	int n = 0;

	for (int i = 0; i < N_GPU_OPS; i++)
		if (g->times.calls[i] > 0)
			ops[n++] = (struct backend_op){ .name = op_names[i],
				.calls = g->times.calls[i], .ns = g->times.ns[i],
				.bytes = g->times.bytes[i] };
	return n;
}

void
gpu_times_free(struct gpu *g)
{
	for (int i = 0; i < g->times.n_made; i++)
		g->d.event_free(g->times.events[i]);
	free(g->times.events);
	free(g->times.ops);
}
