/*
 * The model on the device.  Codes keep layout T2, which dot products and matrix
 * instructions take as it is; q, k and v become one matrix and gate and up are interleaved,
 * so that each is one launch.  A matrix is put together in host memory and copied whole.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/gpu.h"
#include "model/base3.h"
#include "model/packed.h"

/* Runs twice: with base NULL it only counts. */
struct upload {
	struct gpu *g;
	char *base;
	size_t used;
	char *host;		/* of the largest piece */
	size_t host_max;
	struct err *e;
	int r;
};

static size_t
padded(size_t n)
{
	return (n + 255) / 256 * 256;
}

/* Room for n bytes; NULL while only counting. */
static void *
place(struct upload *u, size_t n)
{
	char *at = u->base == NULL ? NULL : u->base + u->used;

	u->used += padded(n);
	u->host_max = n > u->host_max ? n : u->host_max;
	return at;
}

static void
copy(struct upload *u, void *to, const void *from, size_t n)
{
	int r;

	if (u->r == 0 && (r = u->g->d.to_device(to, from, n)) != 0)
		u->r = gpu_check(u->g, r, "copying weights", u->e);
}

/* A vector, with zeros to a multiple of 4. */
static const float *
vector(struct upload *u, const float *v, int32_t n)
{
	size_t bytes = ((size_t)n + 3) / 4 * 4 * sizeof(float);
	void *at;

	if (v == NULL)
		return NULL;
	at = place(u, bytes);
	if (at != NULL) {
		memset(u->host, 0, bytes);
		memcpy(u->host, v, (size_t)n * sizeof(float));
		copy(u, at, u->host, bytes);
	}
	return at;
}

/* Rows of several matrices, put together: parts of step rows each in turn, or with step 0
 * one whole matrix after another. */
struct pack {
	const struct ternary *part[3];
	int n_parts;
	int32_t step;
};

static int32_t
round_up(int32_t n, int32_t step)
{
	return (n + step - 1) / step * step;
}

static int32_t
pack_rows(const struct pack *p)
{
	int32_t n = 0;

	for (int i = 0; i < p->n_parts; i++)
		n += p->step > 0 ? round_up(p->part[i]->n_out, p->step) :
		    p->part[i]->n_out;
	return round_up(n, 32);
}

/* Which row of which part stands at row; false: none. */
static bool
pack_source(const struct pack *p, int32_t row, const struct ternary **w, int32_t *o)
{
	if (p->step > 0) {
		*w = p->part[row / p->step % p->n_parts];
		*o = row / p->step / p->n_parts * p->step + row % p->step;
		return *o < (*w)->n_out;
	}
	for (int i = 0; i < p->n_parts; row -= p->part[i++]->n_out)
		if (row < p->part[i]->n_out) {
			*w = p->part[i];
			*o = row;
			return true;
		}
	return false;
}

int32_t
gpu_lanes(int32_t units)
{
	int32_t best = 4;

	for (int32_t lanes = 4; lanes <= 32; lanes *= 2) {
		int32_t rounds = (units + lanes - 1) / lanes;
		int32_t best_rounds = (units + best - 1) / best;

		if (rounds > 4 ? rounds < best_rounds : rounds * lanes <
		    best_rounds * best || best_rounds > 5)
			best = lanes;
	}
	return best;
}

static void
check_pack(struct upload *u, const struct pack *p)
{
	const struct ternary *a = p->part[0];

	for (int i = 1; i < p->n_parts; i++)
		if (p->part[i]->group != a->group || p->part[i]->n_in != a->n_in)
			u->r = err_set(u->e, ERR_UNSUPPORTED, "GPU: matrices that are "
			    "multiplied together have factors for groups of %d and %d "
			    "columns", (int)a->group, (int)p->part[i]->group);
}

/* Row o of w in layout T2, which kernels take. */
static void
copy_row(const struct ternary *w, int32_t o, char *to)
{
	const uint8_t *row = w->codes + (size_t)o * (size_t)w->stride;

	if (w->form == TERNARY_B3)
		base3_to_t2(row, ternary_blocks(w), (uint8_t *)to);
	else
		memcpy(to, row, (size_t)w->stride);
}

static struct gpu_matrix
matrix(struct upload *u, const struct pack *p, int32_t n_out)
{
	const struct ternary *a = p->part[0];
	int32_t rows = pack_rows(p), group = a->group > 0 ? a->group : a->n_in;
	int32_t n_groups = (a->n_in + group - 1) / group;
	size_t stride = (size_t)ternary_blocks(a) * 64, n_codes = (size_t)rows * stride;
	size_t n_scales = (size_t)rows * (size_t)n_groups * sizeof(float);
	struct gpu_matrix m = { .n_out = n_out, .units = (int32_t)(stride / 16),
		.group = group, .n_groups = n_groups };
	uint8_t *codes = place(u, n_codes);
	float *scales = place(u, n_scales), *to = (float *)(void *)u->host;
	const struct ternary *w;
	int32_t o;

	m.codes = codes;
	m.scales = scales;
	m.lanes = gpu_lanes(m.units);
	check_pack(u, p);
	if (codes == NULL || u->r != 0)
		return m;
	memset(u->host, 0x55, n_codes);		/* zeros */
	for (int32_t row = 0; row < rows; row++)
		if (pack_source(p, row, &w, &o))
			copy_row(w, o, u->host + (size_t)row * stride);
	copy(u, codes, u->host, n_codes);
	memset(u->host, 0, n_scales);
	for (int32_t row = 0; row < rows; row++)
		if (pack_source(p, row, &w, &o))
			memcpy(to + (size_t)row * (size_t)n_groups, w->scales +
			    (size_t)o * (size_t)n_groups, (size_t)n_groups * sizeof(*to));
	copy(u, scales, u->host, n_scales);
	return m;
}

static void
layer(struct upload *u, const struct model_layer *l, struct gpu_layer *to)
{
	const struct model_config *f = &u->g->m->config;
	struct pack qkv = { { &l->q, &l->k, &l->v }, 3, 0 }, o = { { &l->o }, 1, 0 };
	struct pack gate = { { &l->gate, &l->up }, 2, GPU_GATE_ROWS };
	struct pack down = { { &l->down }, 1, 0 };
	int32_t n_q = f->n_heads * f->head_dim;

	to->qkv = matrix(u, &qkv, l->q.n_out + l->k.n_out + l->v.n_out);
	to->o = matrix(u, &o, l->o.n_out);
	to->gate = matrix(u, &gate, l->gate.n_out);
	to->down = matrix(u, &down, l->down.n_out);
	to->attn_norm = vector(u, l->attn_norm, f->hidden);
	to->attn_sub_norm = vector(u, l->attn_sub_norm, n_q);
	to->ffn_norm = vector(u, l->ffn_norm, f->hidden);
	to->ffn_sub_norm = vector(u, l->ffn_sub_norm, f->ffn);
	to->q_norm = vector(u, l->q_norm, f->head_dim);
	to->k_norm = vector(u, l->k_norm, f->head_dim);
}

static size_t
dense_row_bytes(const struct dense *d)
{
	size_t n = (size_t)d->n_in;

	if (packed_bits(d->type) != 0)
		return (size_t)packed_stride(d->type, d->n_in);
	return d->type == DENSE_F32 ? 4 * n : d->type == DENSE_I8 ? n : 2 * n;
}

static struct gpu_dense
dense(struct upload *u, const struct dense *d)
{
	size_t row = dense_row_bytes(d);
	int32_t group = d->group > 0 && d->group < d->n_in ? d->group : d->n_in;
	struct gpu_dense to = { .type = (int32_t)d->type, .n_out = d->n_out,
		.n_in = d->n_in, .units = (int32_t)((row + 15) / 16), .group = group,
		.n_groups = (d->n_in + group - 1) / group };
	size_t stride = (size_t)to.units * 16;
	char *data = place(u, stride * (size_t)d->n_out);

	to.data = (uint8_t *)data;
	to.lanes = gpu_lanes(d->type == DENSE_Q6 ? to.units / 3 : to.units);
	if (d->scales != NULL) {
		size_t n = (size_t)d->n_out * (size_t)to.n_groups * sizeof(float);
		float *scales = place(u, n);

		to.scales = scales;
		if (scales != NULL)
			copy(u, scales, d->scales, n);
	}
	if (data == NULL)
		return to;
	memset(u->host, 0, stride * (size_t)d->n_out);
	for (size_t o = 0; o < (size_t)d->n_out; o++)
		memcpy(u->host + o * stride, (const char *)d->data + o * row, row);
	copy(u, data, u->host, stride * (size_t)d->n_out);
	return to;
}

/* Cosine and sine of every position and pair, with float angles as ref.c has them. */
static const float *
rotary(struct upload *u)
{
	const struct model_config *f = &u->g->m->config;
	size_t half = (size_t)f->head_dim / 2, n = (size_t)u->g->o.n_ctx * half * 2;
	float *at = place(u, n * sizeof(float)), *to = (float *)(void *)u->host;

	if (at == NULL)
		return NULL;
	for (size_t i = 0; i < half; i++) {
		float freq = (float)(1.0 / pow((double)f->rope_theta,
		    2.0 * (double)i / f->head_dim));

		for (size_t pos = 0; pos < (size_t)u->g->o.n_ctx; pos++) {
			double angle = (double)((float)pos * freq);

			to[(pos * half + i) * 2] = (float)cos(angle);
			to[(pos * half + i) * 2 + 1] = (float)sin(angle);
		}
	}
	copy(u, at, u->host, n * sizeof(float));
	return at;
}

static void
walk(struct upload *u)
{
	struct gpu *g = u->g;
	const struct model *m = g->m;
	bool tied = m->embed.data == m->head.data;

	for (int i = 0; i < m->config.n_layers && u->r == 0; i++)
		layer(u, &m->layers[i], &g->layers[i]);
	g->norm = vector(u, m->norm, m->config.hidden);
	g->rotary = rotary(u);
	g->embed = dense(u, &m->embed);
	g->head = tied ? g->embed : dense(u, &m->head);
}

int
gpu_upload(struct gpu *g, struct err *e)
{
	struct upload u = { .g = g, .e = e };
	size_t free_bytes = 0, total = 0;
	int r, code;

	walk(&u);
	if (u.r != 0)
		return u.r;
	g->weights_bytes = u.used;
	if ((r = g->d.mem_info(&free_bytes, &total)) != 0)
		return gpu_check(g, r, "asking for its memory", e);
	code = u.used > free_bytes ? GPU_NO_MEMORY : g->d.mem_alloc(&g->weights, u.used);
	if (code != 0 && code != GPU_NO_MEMORY)
		return gpu_check(g, code, "taking memory for the model", e);
	if (code != 0)
		return err_set(e, ERR_NO_MEMORY, "GPU: no %zu MiB of memory for the "
		    "model; %zu of %zu MiB are free", (u.used >> 20) + 1,
		    free_bytes >> 20, total >> 20);
	u = (struct upload){ .g = g, .e = e, .base = g->weights,
		.host = malloc(u.host_max) };
	if (u.host == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory to copy the model from");
	walk(&u);
	free(u.host);
	return u.r;
}
