/*
 * The pass of few rows in one launch (kernels/whole.hip): whether this model and device can
 * have it, its memory, and its parameters.
 */
#include <assert.h>
#include <string.h>

#include "backend/gpu.h"

static_assert(sizeof(struct gpu_whole_layer) % 16 == 0, "it is copied by 16 bytes");

enum { LAYERS_AT = GPU_WHOLE_SHARED, ALIGN = 256 };

/* What a piece of the packets' memory begins with next. */
static uint64_t *
carve(uintptr_t *at, size_t n)
{
	uint64_t *p = (uint64_t *)*at;

	*at += (n * sizeof(uint64_t) + ALIGN - 1) / ALIGN * ALIGN;
	return p;
}

static struct gpu_whole_product
describe(const struct gpu_matrix *w, int32_t n_in, bool pairs)
{
	int32_t rows = pairs ? (w->n_out + GPU_GATE_ROWS - 1) / GPU_GATE_ROWS * 2 *
	    GPU_GATE_ROWS : (w->n_out + 15) / 16 * 16;

	return (struct gpu_whole_product){ .n_in = n_in, .n_out = w->n_out,
		.units = w->units, .n_tiles = rows / 16,
		.block_part = (1u << 20) / (uint32_t)(w->units / 4) + 1 };
}

static void
describe_all(struct gpu *g)
{
	const struct model_config *f = &g->m->config;
	const struct gpu_layer *l = &g->layers[0];
	struct gpu_whole_product *w = g->whole.params.products;

	w[WHOLE_QKV] = describe(&l->qkv, f->hidden, false);
	w[WHOLE_O] = describe(&l->o, f->n_heads * f->head_dim, false);
	w[WHOLE_GATE] = describe(&l->gate, f->hidden, true);
	w[WHOLE_DOWN] = describe(&l->down, f->ffn, false);
}

/* Where packets and the table of layers are, from base on (0: only to count); returns the
 * end. */
static uintptr_t
lay_out(struct gpu *g, uintptr_t base)
{
	struct gpu_whole *p = &g->whole.params;
	struct gpu_whole_product *w = p->products;
	size_t n = GPU_FEW, tiles = (size_t)(g->m->config.n_kv_heads * g->chunks) *
	    (size_t)g->max_tiles;
	uintptr_t at = base;
	uint64_t *x = carve(&at, n * (size_t)w[WHOLE_QKV].n_in);
	uint64_t *mid = carve(&at, n * (size_t)w[WHOLE_GATE].n_in);

	w[WHOLE_QKV].in = w[WHOLE_DOWN].out = x;
	w[WHOLE_GATE].in = w[WHOLE_O].out = mid;
	w[WHOLE_QKV].out = carve(&at, n * (size_t)w[WHOLE_QKV].n_out);
	w[WHOLE_O].in = p->att = carve(&at, n * (size_t)w[WHOLE_O].n_in);
	w[WHOLE_DOWN].in = w[WHOLE_GATE].out = carve(&at, n * (size_t)w[WHOLE_DOWN].n_in);
	for (int i = 0; i < N_WHOLE; i++)
		w[i].in_q = carve(&at, n * (size_t)(16 * w[i].units + 2));
	p->parts = carve(&at, n * tiles * GPU_HEADS * (size_t)(g->dim_stride + 2));
	p->layers = (const struct gpu_whole_layer *)at;
	return at + (size_t)g->m->config.n_layers * sizeof(struct gpu_whole_layer);
}

/* By itself only where it was measured to be the better: sm_90, which has wgmma. */
static bool
is_wanted(const struct gpu *g)
{
	const char *step = g->o.gpu_step;

	if (step == NULL || strcmp(step, "auto") == 0)
		return g->functions[GPU_KERNEL_wgmma_set] != NULL;
	return strcmp(step, "whole") == 0;
}

/* What the kernel takes for granted of a model. */
static bool
suits(const struct gpu *g)
{
	const struct gpu_whole_product *w = g->whole.params.products;

	for (int i = 0; i < N_WHOLE; i++)
		if (w[i].n_in % 4 != 0 || w[i].n_out % 4 != 0 ||
		    w[i].units * 16 > GPU_WHOLE_FOURS * GPU_WHOLE_THREADS ||
		    (int64_t)w[i].n_tiles * 16 * w[i].units * 16 > UINT32_MAX)
			return false;
	for (int i = 0; i < g->m->config.n_layers; i++) {
		const struct gpu_layer *l = &g->layers[i];

		if (l->qkv.n_groups != 1 || l->o.n_groups != 1 || l->gate.n_groups != 1 ||
		    l->down.n_groups != 1)
			return false;
	}
	return g->m->config.head_dim % 2 == 0;
}

/* Its memory is taken before it is known how many rows fit: that needs the device. */
static bool
is_possible(struct gpu *g)
{
	if (!is_wanted(g) || g->functions[GPU_KERNEL_whole] == NULL)
		return false;
	describe_all(g);
	return suits(g);
}

size_t
gpu_whole_bytes(struct gpu *g)
{
	return is_possible(g) ? lay_out(g, 0) : 0;
}

static struct gpu_whole_layer
layer_of(const struct gpu_layer *l)
{
	const struct gpu_matrix *m[N_WHOLE] = { [WHOLE_QKV] = &l->qkv, [WHOLE_O] = &l->o,
		[WHOLE_GATE] = &l->gate, [WHOLE_DOWN] = &l->down };
	struct gpu_whole_layer to = { .norms = { [WHOLE_QKV] = l->attn_norm,
		[WHOLE_O] = l->attn_sub_norm, [WHOLE_GATE] = l->ffn_norm,
		[WHOLE_DOWN] = l->ffn_sub_norm }, .q_norm = l->q_norm,
		.k_norm = l->k_norm, .cache = l->cache };

	for (int i = 0; i < N_WHOLE; i++) {
		to.codes[i] = m[i]->codes;
		to.scales[i] = m[i]->scales;
	}
	return to;
}

/* Shared memory: bytes that a pass of n rows takes; where things are, to p. */
static size_t
shared_of(const struct gpu *g, int32_t n, struct gpu_whole *p)
{
	size_t room = GPU_WHOLE_ATTEND + (GPU_HEADS + 2) * sizeof(float) *
	    (size_t)g->m->config.head_dim, most = 0, tiles;
	size_t at = LAYERS_AT + (size_t)g->m->config.n_layers *
	    sizeof(struct gpu_whole_layer);
	size_t blocks = (size_t)g->whole.n_blocks;

	tiles = GPU_WHOLE_WAVES * sizeof(float) * (size_t)(g->dim_stride + 2);
	room = tiles > room ? tiles : room;
	for (int i = 0; i < N_WHOLE; i++) {
		size_t pair = i == WHOLE_GATE, row = 64 * (size_t)p->products[i].units + 64;

		tiles = (((size_t)p->products[i].n_tiles >> pair) + blocks - 1) / blocks <<
		    pair;
		most = tiles > most ? tiles : most;
		room = row * (size_t)n > room ? row * (size_t)n : room;
	}
	tiles = ((size_t)p->products[WHOLE_O].n_tiles + blocks - 1) / blocks;
	p->codes_at = (int32_t)at;
	at += g->d.cuda ? GPU_WHOLE_CODES : 0;
	p->acc_at = (int32_t)at;
	at += most * 16 * GPU_FEW * sizeof(int32_t);
	p->rest_at = (int32_t)at;
	at += tiles * 16 * GPU_FEW * sizeof(float);
	p->room_at = (int32_t)at;
	return at + room;
}

/* As many blocks as run at once, and each with a part of gate and up; as many rows as fit
 * in their shared memory. */
static int
choose_size(struct gpu *g, struct err *e)
{
	struct gpu_whole *p = &g->whole.params;
	size_t shared = g->d.cuda ? GPU_CUDA_SMEM : GPU_SMEM_MAX;
	int n = 0, fit = 0, r;

	if ((r = gpu_driver_processors(&g->d, &n, e)) != 0)
		return r;
	if (n > p->products[WHOLE_GATE].n_tiles / 2)
		n = p->products[WHOLE_GATE].n_tiles / 2;
	g->whole.n_blocks = n;
	while (g->whole.max_rows < GPU_FEW && shared_of(g, g->whole.max_rows + 1, p) <=
	    shared)
		g->whole.max_rows++;
	if ((r = g->d.occupancy(&fit, g->functions[GPU_KERNEL_whole], GPU_WHOLE_THREADS,
	    shared)) != 0)
		return gpu_check(g, r, "asking how much runs at once", e);
	if (fit < 1)
		g->whole.max_rows = 0;
	return 0;
}

/* The table is copied to memory that is being cleared: that comes first. */
static int
copy_layers(struct gpu *g, struct err *e)
{
	struct gpu_whole *p = &g->whole.params;
	char *to;
	int r;

	lay_out(g, (uintptr_t)g->whole.base);
	memcpy(&to, &p->layers, sizeof(to));
	if ((r = g->d.stream_wait(g->stream)) != 0)
		return gpu_check(g, r, "clearing memory", e);
	for (int i = 0; i < g->m->config.n_layers; i++, to += sizeof(*p->layers)) {
		struct gpu_whole_layer l = layer_of(&g->layers[i]);

		if ((r = g->d.to_device(to, &l, sizeof(l))) != 0)
			return gpu_check(g, r, "copying the table of layers", e);
	}
	return 0;
}

int
gpu_whole_open(struct gpu *g, struct err *e)
{
	int r;

	if (!is_possible(g))
		return 0;
	if ((r = choose_size(g, e)) != 0)
		return r;
	return copy_layers(g, e);
}

/*
 * A flag is pass * (layers + 1) + layer.  Packets of rows and tiles that few passes have
 * stay for long, so before numbers begin again nothing may be left of the old ones.
 */
int
gpu_whole_number(struct gpu *g, uint32_t *pass, struct err *e)
{
	uint32_t flags = (uint32_t)g->m->config.n_layers + 1;
	const char *end = (const char *)g->whole.params.layers, *base = g->whole.base;
	int r;

	*pass = 0;
	if (g->whole.max_rows == 0)
		return 0;
	if (g->whole.n_passes == UINT32_MAX / flags - 1) {
		if ((r = g->d.fill_async(g->whole.base, 0, (size_t)(end - base),
		    g->stream)) != 0)
			return gpu_check(g, r, "clearing memory", e);
		g->whole.n_passes = 0;
	}
	*pass = ++g->whole.n_passes;
	return 0;
}

bool
gpu_whole_fits(const struct gpu *g, const struct gpu_shape *s)
{
	return !s->stored && s->n_rows <= g->whole.max_rows;
}

size_t
gpu_whole_params(struct gpu *g, const struct gpu_shape *s, const struct gpu_attention *a,
    struct gpu_whole *p)
{
	const char *pass = g->batch + g->pass_at;

	*p = g->whole.params;
	p->attention = *a;
	p->pass = (const uint32_t *)(const void *)pass;
	p->embed = g->embed;
	p->x = g->x;
	p->x_stride = g->x_stride;
	p->n_layers = g->m->config.n_layers;
	p->n_rows = s->n_rows;
	p->each = 1;
	p->silu = g->m->config.act == MODEL_SILU;
	p->eps = g->m->config.norm_eps;
	return shared_of(g, s->n_rows, p);
}
