/*
 * The oracle: TERNARY's forward order, one operation after another.  Every other
 * backend is compared with this one, so it is written to be read.  Sums are
 * doubles; what is stored between two operations is float, as in the reference
 * implementation (transformers, modeling_bitnet.py, run in float32), and keys
 * and values are float too.
 *
 * Rows go through a layer together only so that a row of weights is unpacked
 * once for all of them.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "model/base3.h"

struct ref {
	const struct model *m;	/* borrowed */
	struct backend_options o;
	int32_t n_q, n_kv;	/* width of q; of k and of v */
	float *keys, *values;	/* [layer, page, KV_PAGE, n_kv] */
	float *h, *x, *q, *k, *v, *a, *g, *u;	/* [max_rows, their width] */
	int8_t *xq;		/* [max_rows, widest, in whole blocks] */
	double *x_scale;	/* [max_rows] */
	double *dots;		/* [max_rows]: of one row of weights */
	int8_t *w;		/* one row of weights, -1, 0, +1 */
	float *w_row;		/* one row of the head */
	double *scores;		/* [n_ctx] */
};

static void
rms_norm(const float *x, const float *weight, int n, float eps, float *y)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += (double)x[i] * (double)x[i];
	for (int i = 0; i < n; i++)
		y[i] = (float)((double)x[i] / sqrt(sum / n + (double)eps)) *
		    weight[i];
}

/* BitNet b1.58: int8 per token, half to even.  Returns what a step is worth. */
static double
quantise(const float *x, int n, int8_t *q)
{
	float top = 1e-5F, s;

	for (int i = 0; i < n; i++)
		top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
	s = 127.0F / top;
	for (int i = 0; i < n; i++) {
		float v = rintf(x[i] * s);

		q[i] = (int8_t)(v > 127 ? 127 : v > -128 ? v : -128);
	}
	return 1.0 / (double)s;
}

/* Row o of w as -1, 0, +1. */
static void
unpack(const struct ternary *w, int o, int8_t *restrict out)
{
	const uint8_t *restrict codes = w->codes +
	    (size_t)o * (size_t)w->stride;

	if (w->form == TERNARY_B3) {
		for (int i = 0; i < w->n_in; i++)
			out[i] = (int8_t)(base3_code(codes, i) - 1);
		return;
	}
	for (int at = 0; at < w->stride; at += 64, codes += 64)
		for (int i = 0; i < 4; i++, out += 64)
			for (int j = 0; j < 64; j++)
				out[j] = (int8_t)((codes[j] >> 2 * i & 3) - 1);
}

/* Of n weights and the same of an input row; by 64 for the compiler's sake. */
static double
dot(const int8_t *w, const int8_t *q, int n)
{
	int32_t sum = 0;
	int i = 0;

	for (; i + 64 <= n; i += 64)
		for (int j = 0; j < 64; j++)
			sum += w[i + j] * q[i + j];
	for (; i < n; i++)
		sum += w[i] * q[i];
	return sum;
}

/* Four sums, since one would wait for itself each time. */
static double
dot_dense(const float *a, const float *b, int n)
{
	double sum[4] = { 0 };
	int i = 0;

	for (; i + 4 <= n; i += 4)
		for (int j = 0; j < 4; j++)
			sum[j] += (double)a[i + j] * (double)b[i + j];
	for (; i < n; i++)
		sum[0] += (double)a[i] * (double)b[i];
	return sum[0] + sum[1] + (sum[2] + sum[3]);
}

static double
dot_float(const int8_t *w, const float *x, int n)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += (double)w[i] * (double)x[i];
	return sum;
}

/* A model that was not trained with 8-bit activations takes them as they are. */
static bool
is_float(const struct ref *s)
{
	return s->m->config.act_float;
}

/* s->dots[r] = row o of w, which is in s->w, times row r of the input. */
static void
dot_row(struct ref *s, const struct ternary *w, int o, const float *x, int n_rows)
{
	int group = w->group > 0 ? w->group : w->n_in;
	int wide = ternary_blocks(w) * TERNARY_BLOCK;
	int n_groups = (w->n_in + group - 1) / group;
	const float *scales = w->scales + (size_t)o * (size_t)n_groups;

	for (int r = 0; r < n_rows; r++) {
		const int8_t *q = s->xq + (size_t)r * (size_t)wide;
		const float *f = x + (size_t)r * (size_t)w->n_in;

		s->dots[r] = 0;
		for (int g = 0, i = 0; g < n_groups; g++, i += group) {
			int n = w->n_in - i < group ? w->n_in - i : group;

			s->dots[r] += (double)scales[g] * (is_float(s) ?
			    dot_float(s->w + i, f + i, n) :
			    dot(s->w + i, q + i, n));
		}
		if (!is_float(s))
			s->dots[r] *= s->x_scale[r];
	}
}

/* y[r] = (or +=) W x[r] for n_rows rows: the ternary linear layer. */
static void
linear(struct ref *s, const struct ternary *w, const float *x, int n_rows,
    float *y, bool add)
{
	for (int r = 0; r < n_rows && !is_float(s); r++)
		s->x_scale[r] = quantise(x + (size_t)r * (size_t)w->n_in,
		    w->n_in, s->xq + (size_t)r * TERNARY_BLOCK *
		    (size_t)ternary_blocks(w));
	for (int o = 0; o < w->n_out; o++) {
		unpack(w, o, s->w);
		dot_row(s, w, o, x, n_rows);
		for (int r = 0; r < n_rows; r++) {
			float *to = y + (size_t)r * (size_t)w->n_out + o;

			*to = (float)((add ? (double)*to : 0) + s->dots[r]);
		}
	}
}

/* RMSNorm of each of n_heads heads: Qwen3, before RoPE. */
static void
norm_heads(const struct model_config *f, float *x, int n_heads,
    const float *weight)
{
	for (int h = 0; h < n_heads && weight != NULL; h++, x += f->head_dim)
		rms_norm(x, weight, f->head_dim, f->norm_eps, x);
}

/* Rotate n_heads heads of head_dim, in place. */
static void
rope(const struct model_config *f, float *x, int n_heads, int32_t pos)
{
	int half = f->head_dim / 2;

	for (int i = 0; i < half; i++) {
		/* Frequency and angle are float in the reference. */
		float freq = (float)(1.0 / pow((double)f->rope_theta,
		    2.0 * i / f->head_dim));
		float angle = (float)pos * freq;
		double c = cos((double)angle), s = sin((double)angle);

		for (int h = 0; h < n_heads; h++) {
			float *head = x + h * f->head_dim;
			float *a = head + (f->rope_interleaved ? 2 * i : i);
			float *b = f->rope_interleaved ? a + 1 : a + half;
			double p = (double)*a, q = (double)*b;

			*a = (float)(p * c - q * s);
			*b = (float)(q * c + p * s);
		}
	}
}

/* Where the key or value of a position is. */
static float *
slot(const struct ref *s, float *cache, int layer, const int32_t *pages, int pos)
{
	size_t page = (size_t)layer * (size_t)s->o.n_pages +
	    (size_t)pages[pos / KV_PAGE];

	return cache + (page * KV_PAGE + (size_t)(pos % KV_PAGE)) *
	    (size_t)s->n_kv;
}

/* out = softmax(q . k / sqrt(head_dim)) . v over positions 0..row->pos. */
static void
attend(struct ref *s, int layer, const struct backend_row *row, const float *q,
    float *out)
{
	const struct model_config *f = &s->m->config;
	int dim = f->head_dim, group = f->n_heads / f->n_kv_heads;

	for (int h = 0; h < f->n_heads; h++, q += dim, out += dim) {
		int at = h / group * dim;
		double max = -INFINITY, sum = 0;

		for (int p = 0; p <= row->pos; p++) {
			const float *k = slot(s, s->keys, layer, row->pages, p) + at;
			double score = 0;

			for (int d = 0; d < dim; d++)
				score += (double)q[d] * (double)k[d];
			s->scores[p] = score / sqrt(dim);
			max = s->scores[p] > max ? s->scores[p] : max;
		}
		for (int p = 0; p <= row->pos; p++)
			sum += s->scores[p] = exp(s->scores[p] - max);
		for (int d = 0; d < dim; d++) {
			double acc = 0;

			for (int p = 0; p <= row->pos; p++)
				acc += s->scores[p] * (double)slot(s, s->values,
				    layer, row->pages, p)[at + d];
			out[d] = (float)(acc / sum);
		}
	}
}

static void
attention_part(struct ref *s, int i, const struct backend_row *rows, int n)
{
	const struct model_config *f = &s->m->config;
	const struct model_layer *l = &s->m->layers[i];
	size_t hidden = (size_t)f->hidden, n_q = (size_t)s->n_q;
	size_t n_kv = (size_t)s->n_kv;

	for (int r = 0; r < n; r++)
		rms_norm(s->h + (size_t)r * hidden, l->attn_norm, f->hidden,
		    f->norm_eps, s->x + (size_t)r * hidden);
	linear(s, &l->q, s->x, n, s->q, false);
	linear(s, &l->k, s->x, n, s->k, false);
	linear(s, &l->v, s->x, n, s->v, false);
	for (int r = 0; r < n; r++) {
		float *k = s->k + (size_t)r * n_kv;

		norm_heads(f, s->q + (size_t)r * n_q, f->n_heads, l->q_norm);
		norm_heads(f, k, f->n_kv_heads, l->k_norm);
		rope(f, s->q + (size_t)r * n_q, f->n_heads, rows[r].pos);
		rope(f, k, f->n_kv_heads, rows[r].pos);
		memcpy(slot(s, s->keys, i, rows[r].pages, rows[r].pos), k,
		    n_kv * sizeof(*k));
		memcpy(slot(s, s->values, i, rows[r].pages, rows[r].pos),
		    s->v + (size_t)r * n_kv, n_kv * sizeof(*k));
	}
	for (int r = 0; r < n; r++) {
		float *a = s->a + (size_t)r * n_q;

		attend(s, i, &rows[r], s->q + (size_t)r * n_q, a);
		if (l->attn_sub_norm != NULL)
			rms_norm(a, l->attn_sub_norm, s->n_q, f->norm_eps, a);
	}
	linear(s, &l->o, s->a, n, s->h, true);
}

static void
ffn_part(struct ref *s, int i, int n)
{
	const struct model_config *f = &s->m->config;
	const struct model_layer *l = &s->m->layers[i];
	size_t hidden = (size_t)f->hidden, ffn = (size_t)f->ffn;

	for (int r = 0; r < n; r++)
		rms_norm(s->h + (size_t)r * hidden, l->ffn_norm, f->hidden,
		    f->norm_eps, s->x + (size_t)r * hidden);
	linear(s, &l->gate, s->x, n, s->g, false);
	linear(s, &l->up, s->x, n, s->u, false);
	for (int r = 0; r < n; r++) {
		float *g = s->g + (size_t)r * ffn, *u = s->u + (size_t)r * ffn;

		for (size_t j = 0; j < ffn; j++) {
			double v = (double)g[j];

			v = f->act == MODEL_RELU2 ? v > 0 ? v * v : 0 :
			    v / (1.0 + exp(-v));
			g[j] = (float)(v * (double)u[j]);
		}
		if (l->ffn_sub_norm != NULL)
			rms_norm(g, l->ffn_sub_norm, f->ffn, f->norm_eps, g);
	}
	linear(s, &l->down, s->g, n, s->h, true);
}

static int
ref_forward(struct backend *b, const struct backend_row *rows, int n_rows,
    float *logits, struct err *e)
{
	struct ref *s = b->state;
	const struct model_config *f = &s->m->config;
	size_t hidden = (size_t)f->hidden;
	int n = 0;

	(void)e;
	for (int r = 0; r < n_rows; r++)
		dense_row(&s->m->embed, rows[r].token, s->h + (size_t)r * hidden);
	for (int i = 0; i < f->n_layers; i++) {
		attention_part(s, i, rows, n_rows);
		ffn_part(s, i, n_rows);
	}
	for (int r = 0; r < n_rows; r++)
		if (rows[r].hidden != NULL)
			rms_norm(s->h + (size_t)r * hidden, s->m->norm,
			    f->hidden, f->norm_eps, rows[r].hidden);
	for (int r = 0; r < n_rows; r++)
		if (rows[r].want_logits)
			rms_norm(s->h + (size_t)r * hidden, s->m->norm,
			    f->hidden, f->norm_eps, s->x + (size_t)n++ * hidden);
	for (int o = 0; o < f->vocab; o++) {
		dense_row(&s->m->head, o, s->w_row);
		for (int r = 0; r < n; r++) {
			logits[(size_t)r * (size_t)f->vocab + (size_t)o] =
			    (float)dot_dense(s->w_row,
			    s->x + (size_t)r * hidden, f->hidden);
		}
	}
	return 0;
}

static int
ref_copy_page(struct backend *b, int32_t from, int32_t to, int n, struct err *e)
{
	struct ref *s = b->state;
	size_t bytes = (size_t)n * (size_t)s->n_kv * sizeof(float);

	(void)e;
	for (int i = 0; i < s->m->config.n_layers; i++) {
		memcpy(slot(s, s->keys, i, &to, 0), slot(s, s->keys, i, &from, 0),
		    bytes);
		memcpy(slot(s, s->values, i, &to, 0),
		    slot(s, s->values, i, &from, 0), bytes);
	}
	return 0;
}

/* Keys and then values of each layer.  Those of n positions to out, or all of
 * in to the page. */
static int
move_page(struct ref *s, int32_t page, size_t n, char *out, const char *in)
{
	size_t row = (size_t)s->n_kv * sizeof(float), all = KV_PAGE * row;

	for (int i = 0; i < 2 * s->m->config.n_layers; i++) {
		float *at = slot(s, i % 2 == 0 ? s->keys : s->values, i / 2,
		    &page, 0);

		if (in != NULL) {
			memcpy(at, in + (size_t)i * all, all);
			continue;
		}
		memcpy(out, at, n * row);
		memset(out + n * row, 0, all - n * row);
		out += all;
	}
	return 0;
}

static int
ref_read_page(struct backend *b, int32_t page, int n, void *out, struct err *e)
{
	(void)e;
	return move_page(b->state, page, (size_t)n, out, NULL);
}

static int
ref_write_page(struct backend *b, int32_t page, const void *in, struct err *e)
{
	(void)e;
	return move_page(b->state, page, KV_PAGE, NULL, in);
}

static void
free_state(struct ref *s)
{
	void *all[] = { s->keys, s->values, s->h, s->x, s->q, s->k, s->v, s->a,
		s->g, s->u, s->xq, s->x_scale, s->dots, s->w, s->w_row, s->scores, s };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		free(all[i]);
}

static void
ref_close(struct backend *b)
{
	free_state(b->state);
	*b = (struct backend){ 0 };
}

/* Zeros, or NULL and *short_of says how much was asked for. */
static void *
take(size_t n, size_t size, size_t *short_of)
{
	void *p = calloc(n, size);

	if (p == NULL)
		*short_of = n * size;
	return p;
}

int
backend_ref_open(const struct model *m, const struct backend_options *o,
    struct backend *b, struct err *e)
{
	const struct model_config *f = &m->config;
	size_t rows = (size_t)o->max_rows, hidden = (size_t)f->hidden;
	size_t ffn = (size_t)f->ffn, wide, kv, lack = 0, fs = sizeof(float);
	struct ref *s = take(1, sizeof(*s), &lack);

	if (s == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the backend");
	*s = (struct ref){ .m = m, .o = *o, .n_q = f->n_heads * f->head_dim,
		.n_kv = f->n_kv_heads * f->head_dim };
	wide = hidden > ffn ? hidden : ffn;
	wide = wide > (size_t)s->n_q ? wide : (size_t)s->n_q;
	wide = (wide + TERNARY_BLOCK - 1) / TERNARY_BLOCK * TERNARY_BLOCK;
	kv = (size_t)f->n_layers * (size_t)o->n_pages * KV_PAGE * (size_t)s->n_kv;
	s->keys = take(kv, fs, &lack);
	s->values = take(kv, fs, &lack);
	s->h = take(rows * hidden, fs, &lack);
	s->x = take(rows * hidden, fs, &lack);
	s->q = take(rows * (size_t)s->n_q, fs, &lack);
	s->k = take(rows * (size_t)s->n_kv, fs, &lack);
	s->v = take(rows * (size_t)s->n_kv, fs, &lack);
	s->a = take(rows * (size_t)s->n_q, fs, &lack);
	s->g = take(rows * ffn, fs, &lack);
	s->u = take(rows * ffn, fs, &lack);
	s->xq = take(rows * wide, 1, &lack);
	s->x_scale = take(rows, sizeof(double), &lack);
	s->dots = take(rows, sizeof(double), &lack);
	s->w = take(wide, 1, &lack);
	s->w_row = take(hidden, fs, &lack);
	s->scores = take((size_t)o->n_ctx, sizeof(double), &lack);
	if (lack > 0) {
		free_state(s);
		return err_set(e, ERR_NO_MEMORY, "no %zu MiB of memory for the "
		    "reference backend", lack >> 20);
	}
	*b = (struct backend){
		.name = "ref", .has_hidden = true, .kv_bytes = 2 * kv * fs,
		.scratch_bytes = rows * (2 * hidden + 2 * (size_t)(s->n_q +
		    s->n_kv) + 2 * ffn) * fs + rows * wide,
		.forward = ref_forward, .copy_page = ref_copy_page,
		.read_page = ref_read_page, .write_page = ref_write_page,
		.page_bytes = 2 * kv * fs / (size_t)o->n_pages,
		.close = ref_close, .state = s,
	};
	snprintf(b->kv_format, sizeof(b->kv_format), "ref f32 %s",
	    f->rope_interleaved ? "interleaved" : "split-half");
	return 0;
}
