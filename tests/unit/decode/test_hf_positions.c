/*
 * RoPE past 1,500 positions, where a wrong pairing or a coarse angle shows.
 * One layer, so that the keys and values of all positions follow from the
 * tokens alone, and the rest need only be worked out where it is looked at:
 * here in doubles, with the angles in doubles too.
 *
 * Root mean square of what differs, over that of the logits:
 *
 *	measured				limit
 *	ref, float angles		1.2e-6	2e-5
 *	cpu, f16 keys and values, and a
 *	value that rounds the other way	0.011	0.05
 *	ref, the other pairs		0.18	0.1 at least
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "random_model.h"

enum { N = 1664, CHUNK = 416, DIM = 64, HEADS = 2, HIDDEN = 128, FFN = 128,
	VOCAB = 48, N_LOOKED = 5 };

static const int looked[N_LOOKED] = { 3, 700, 1500, 1601, N - 1 };
static const double ref_limit = 2e-5, cpu_limit = 0.05;

static struct model m;
static int32_t tokens[N];
static double keys[N][DIM], values[N][DIM];
static float got[2][N_LOOKED][VOCAB];

static void
make(bool interleaved, bool act_float)
{
	const struct random_shape s = { .what = "positions", .vocab = VOCAB,
		.hidden = HIDDEN, .n_layers = 1, .n_heads = HEADS,
		.n_kv_heads = 1, .head_dim = DIM, .ffn = FFN,
		.act = MODEL_SILU, .rope_interleaved = interleaved,
		.type = DENSE_F32 };

	random_model(&s, &m);
	m.config.n_ctx = 2048;
	m.config.act_float = act_float;
	for (int i = 0; i < N; i++)
		tokens[i] = random_below(VOCAB);
}

static void
run(const char *backend, float out[N_LOOKED][VOCAB])
{
	static struct backend_row rows[CHUNK];
	static float logits[N_LOOKED * VOCAB];
	const struct backend_options o = { .name = backend, .isa = "auto",
		.n_threads = 2, .n_pages = N / KV_PAGE, .max_rows = CHUNK,
		.n_ctx = 2048 };
	int32_t pages[N / KV_PAGE];
	struct backend b;
	struct err e;
	int at = 0;

	for (int i = 0; i < N / KV_PAGE; i++)
		pages[i] = N / KV_PAGE - 1 - i;
	ck_assert_msg(backend_open(&m, &o, &b, &e) == 0, "%s", e.text);
	for (int from = 0; from < N; from += CHUNK) {
		int n = 0;

		for (int i = 0; i < CHUNK; i++) {
			rows[i] = (struct backend_row){ .token =
			    tokens[from + i], .pos = from + i, .pages = pages };
			for (int k = 0; k < N_LOOKED; k++)
				if (looked[k] == from + i) {
					rows[i].want_logits = true;
					n++;
				}
		}
		ck_assert_msg(b.forward(&b, rows, CHUNK, logits, &e) == 0, "%s",
		    e.text);
		memcpy(out[at], logits, (size_t)n * sizeof(out[0]));
		at += n;
	}
	ck_assert_int_eq(at, N_LOOKED);
	b.close(&b);
}

static void
norm(const double *x, const float *w, double *y)
{
	double sum = 0;

	for (int i = 0; i < HIDDEN; i++)
		sum += x[i] * x[i];
	for (int i = 0; i < HIDDEN; i++)
		y[i] = x[i] / sqrt(sum / HIDDEN + (double)m.config.norm_eps) *
		    (double)w[i];
}

static void
multiply(const struct ternary *w, const double *x, double *y)
{
	for (int o = 0; o < w->n_out; o++) {
		double sum = 0;

		for (int i = 0; i < w->n_in; i++)
			sum += ternary_weight(w, o, i) * x[i];
		y[o] = sum * (double)w->scales[o];
	}
}

/* As complex numbers: pair i times exp(sqrt(-1) pos theta^(-2 i / DIM)). */
static void
rotate(double *x, int pos)
{
	for (int i = 0; i < DIM / 2; i++) {
		double angle = pos * exp(-2.0 * i / DIM *
		    log((double)m.config.rope_theta));
		int a = m.config.rope_interleaved ? 2 * i : i;
		int b = m.config.rope_interleaved ? 2 * i + 1 : i + DIM / 2;
		double re = x[a], im = x[b];

		x[a] = re * cos(angle) - im * sin(angle);
		x[b] = re * sin(angle) + im * cos(angle);
	}
}

static void
residual(int pos, double *h, double *x)
{
	for (int i = 0; i < HIDDEN; i++)
		h[i] = (double)((const float *)m.embed.data)[tokens[pos] *
		    HIDDEN + i];
	norm(h, m.layers[0].attn_norm, x);
}

static void
attend(int pos, const double *q, double *out)
{
	static double p[N];
	double sum = 0;

	for (int t = 0; t <= pos; t++) {
		double score = 0;

		for (int d = 0; d < DIM; d++)
			score += q[d] * keys[t][d];
		sum += p[t] = exp(score / sqrt(DIM));
	}
	for (int d = 0; d < DIM; d++) {
		out[d] = 0;
		for (int t = 0; t <= pos; t++)
			out[d] += p[t] / sum * values[t][d];
	}
}

/* The logits at one position, keys and values being there. */
static void
forward(int pos, double *logits)
{
	const struct model_layer *l = &m.layers[0];
	static double h[HIDDEN], x[HIDDEN], q[HEADS * DIM], a[HEADS * DIM];
	static double gate[FFN], up[FFN], y[HIDDEN];

	residual(pos, h, x);
	multiply(&l->q, x, q);
	for (int k = 0; k < HEADS; k++) {
		rotate(q + k * DIM, pos);
		attend(pos, q + k * DIM, a + k * DIM);
	}
	multiply(&l->o, a, y);
	for (int i = 0; i < HIDDEN; i++)
		h[i] += y[i];
	norm(h, l->ffn_norm, x);
	multiply(&l->gate, x, gate);
	multiply(&l->up, x, up);
	for (int i = 0; i < FFN; i++)
		gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
	multiply(&l->down, gate, y);
	for (int i = 0; i < HIDDEN; i++)
		h[i] += y[i];
	norm(h, m.norm, x);
	for (int o = 0; o < VOCAB; o++) {
		logits[o] = 0;
		for (int i = 0; i < HIDDEN; i++)
			logits[o] += x[i] * (double)((const float *)
			    m.head.data)[o * HIDDEN + i];
	}
}

/* Root mean square of a - b over that of b. */
static double
distance(const float *a, const double *b)
{
	double diff = 0, size = 0;

	for (int o = 0; o < VOCAB; o++) {
		diff += pow((double)a[o] - b[o], 2);
		size += b[o] * b[o];
	}
	return sqrt(diff / size);
}

START_TEST(ref_rotates_as_the_formula_says)
{
	double h[HIDDEN], x[HIDDEN], logits[VOCAB], d;

	make(_i == 1, true);
	run("ref", got[0]);
	for (int pos = 0; pos < N; pos++) {
		residual(pos, h, x);
		multiply(&m.layers[0].k, x, keys[pos]);
		multiply(&m.layers[0].v, x, values[pos]);
		rotate(keys[pos], pos);
	}
	for (int k = 0; k < N_LOOKED; k++) {
		forward(looked[k], logits);
		d = distance(got[0][k], logits);
		ck_assert_msg(d < ref_limit, "position %d: %g", looked[k], d);
	}
	/* And this would see a wrong pairing. */
	m.config.rope_interleaved = !m.config.rope_interleaved;
	run("ref", got[1]);
	for (int k = 1; k < N_LOOKED; k++) {
		for (int o = 0; o < VOCAB; o++)
			logits[o] = (double)got[0][k][o];
		d = distance(got[1][k], logits);
		ck_assert_msg(d > 2 * cpu_limit, "position %d: %g", looked[k],
		    d);
	}
}
END_TEST

START_TEST(cpu_rotates_as_ref_does)
{
	double logits[VOCAB], d;

	make(_i == 1, false);
	run("ref", got[0]);
	run("cpu", got[1]);
	for (int k = 0; k < N_LOOKED; k++) {
		for (int o = 0; o < VOCAB; o++)
			logits[o] = (double)got[0][k][o];
		d = distance(got[1][k], logits);
		ck_assert_msg(d < cpu_limit, "position %d: %g", looked[k], d);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("positions");
	TCase *t = tcase_create("positions");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, ref_rotates_as_the_formula_says, 0, 2);
	tcase_add_loop_test(t, cpu_rotates_as_ref_does, 0, 2);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
