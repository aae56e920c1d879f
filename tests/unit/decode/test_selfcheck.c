/*
 * The probe of a model: what is written is read again and nothing else is; the
 * backends of this machine pass, faults that make fluent garbage do not.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "model/model.h"
#include "selfcheck.h"

#define MODEL "models/halo-demo.h1b"

static struct model model;
static struct buf probe;

static void
setup(void)
{
	struct err e;

	ck_assert_msg(model_open(MODEL, false, &model, &e) == 0, "%s", e.text);
	ck_assert_msg(selfcheck_make(NULL, &model, &probe, &e) == 0, "%s",
	    e.text);
	model.probe = probe.data;
	model.n_probe = probe.len;
}

static void
teardown(void)
{
	buf_free(&probe);
	model_close(&model);
}

START_TEST(a_probe_is_read_as_it_was_made)
{
	struct selfcheck_probe p;
	struct err e;

	ck_assert_int_eq(selfcheck_parse(probe.data, probe.len, &model.config, &p,
	    &e), 0);
	ck_assert_int_eq(p.n_tokens, 32);
	ck_assert_int_eq(p.n_top, 32);
	ck_assert_uint_eq(probe.len, 4 + 32 * 4 + 4 + 32 * 8);
	ck_assert_int_eq(p.tokens[0], model.config.bos);
	for (int i = 1; i < p.n_top; i++) {
		ck_assert(p.logits[i - 1] >= p.logits[i]);
		for (int k = 0; k < i; k++)
			ck_assert_int_ne(p.top[i], p.top[k]);
	}
}
END_TEST

/* A probe of two tokens and two logits, changed: 4 bytes at `at`, or its end. */
static const struct {
	size_t at;
	uint32_t value;
	size_t n;
	const char *text;
} damages[] = {
	{ 0, 0, 32, "the probe: the number of tokens is 0 instead of 1 to 32" },
	{ 0, 33, 32, "the probe: the number of tokens is 33 instead of 1 to 32" },
	{ 0, 0xffffffff, 32, "the probe: the number of tokens is 4294967295 "
	    "instead of 1 to 32" },
	{ 0, 7, 32, "the probe: its length is 32 instead of what its tokens "
	    "take" },
	{ 0, 2, 0, "the probe: its length is 0 instead of 4 or more" },
	{ 0, 2, 3, "the probe: its length is 3 instead of 4 or more" },
	{ 0, 2, 15, "the probe: its length is 15 instead of what its tokens "
	    "take" },
	{ 12, 1, 32, "the probe: the number of logits is 1 instead of 2 to 64" },
	{ 12, 65, 32, "the probe: the number of logits is 65 instead of 2 to "
	    "64" },
	{ 12, 3, 32, "the probe: the length of its logits is 16 instead of 8 "
	    "bytes each" },
	{ 12, 2, 31, "the probe: the length of its logits is 15 instead of 8 "
	    "bytes each" },
	{ 4, 10, 32, "the probe: a token is 10 instead of one of the "
	    "vocabulary" },
	{ 8, 0xffffffff, 32, "the probe: a token is -1 instead of one of the "
	    "vocabulary" },
	{ 16, 10, 32, "the probe: the token of a logit is 10 instead of one of "
	    "the vocabulary" },
	{ 20, 0x7fc00000, 32, "the probe: the logit of token 7 is not finite" },
	{ 20, 0x7f800000, 32, "the probe: the logit of token 7 is not finite" },
};

START_TEST(a_damaged_probe_is_refused)
{
	const struct model_config c = { .vocab = 10 };
	struct selfcheck_probe p;
	uint32_t words[8] = { 2, 1, 9, 2, 7, 0x40000000, 8, 0x3f800000 };
	struct err e;

	ck_assert_int_eq(selfcheck_parse(words, 32, &c, &p, &e), 0);
	ck_assert_int_eq(p.top[0], 7);
	ck_assert_float_eq(p.logits[0], 2);
	ck_assert_float_eq(p.logits[1], 1);
	words[damages[_i].at / 4] = damages[_i].value;
	ck_assert_int_eq(selfcheck_parse(words, damages[_i].n, &c, &p, &e),
	    ERR_BAD_FILE);
	ck_assert_str_eq(e.text, damages[_i].text);
}
END_TEST

static struct selfcheck_result
check(const struct model *m, const char *name, const char *isa, int max_rows,
    int n_ctx)
{
	const struct backend_options o = { .name = name, .isa = isa,
		.n_threads = 2, .n_pages = 1, .max_rows = max_rows,
		.n_ctx = n_ctx };
	struct selfcheck_result r;
	struct backend b;
	struct err e;

	ck_assert_msg(backend_open(m, &o, &b, &e) == 0, "%s", e.text);
	ck_assert_msg(selfcheck_run(m, &b, &o, &r, &e) == 0, "%s", e.text);
	b.close(&b);
	return r;
}

START_TEST(every_variant_of_this_machine_passes)
{
	static const char *const isas[] = { "avx512", "avxvnni", "avx2", "neon", "scalar" };
	struct selfcheck_result r = check(&model, "ref", "auto", 32, 32);

	ck_assert_int_eq((int)r.state, SELFCHECK_PASSED);
	ck_assert_double_eq(r.difference, 0);
	for (size_t i = 0; i < sizeof(isas) / sizeof(isas[0]); i++) {
		struct backend b;
		struct backend_options o = { .name = "cpu", .isa = isas[i],
			.n_threads = 1, .n_pages = 1, .max_rows = 1, .n_ctx = 32 };

		if (backend_open(&model, &o, &b, NULL) != 0) {
			printf("skipped: no %s here\n", isas[i]);
			continue;
		}
		b.close(&b);
		r = check(&model, "cpu", isas[i], 5, 32);
		printf("%s: %.4f\n", isas[i], r.difference);
		ck_assert_int_eq((int)r.state, SELFCHECK_PASSED);
		ck_assert_double_gt(r.difference, 0);
		ck_assert_double_lt(r.difference, r.tolerance);
		/* however its tokens were cut into batches */
		ck_assert_double_eq(check(&model, "cpu", isas[i], 32,
		    32).difference, r.difference);
	}
}
END_TEST

/* Each changes what a wrong loader, or graph, would. */
static void
interleave(struct model *m)
{
	m->config.rope_interleaved = true;
}

static void
exchange(struct model *m)
{
	for (int32_t i = 0; i < m->config.n_layers; i++) {
		struct ternary gate = m->layers[i].gate;

		m->layers[i].gate = m->layers[i].up;
		m->layers[i].up = gate;
	}
}

static void
use_silu(struct model *m)
{
	m->config.act = MODEL_SILU;
}

static void
forget_layer(struct model *m)
{
	m->config.n_layers--;
}

static void
forget_sub_norms(struct model *m)
{
	static float ones[4096];

	for (size_t i = 0; i < sizeof(ones) / sizeof(ones[0]); i++)
		ones[i] = 1;
	for (int32_t i = 0; i < m->config.n_layers; i++)
		m->layers[i].attn_sub_norm = ones;
}

static void
invert_scales(struct model *m)
{
	static float inverted[16][1024];

	for (int32_t i = 0; i < m->config.n_layers; i++) {
		struct ternary *w = &m->layers[i].o;

		ck_assert(i < 16 && w->n_out <= 1024 && w->group == w->n_in);
		for (int32_t k = 0; k < w->n_out; k++)
			inverted[i][k] = 1 / w->scales[k];
		w->scales = inverted[i];
	}
}

static const struct {
	const char *what;
	void (*change)(struct model *m);
} faults[] = {
	{ "interleaved RoPE", interleave }, { "gate and up", exchange },
	{ "SiLU", use_silu }, { "a layer less", forget_layer },
	{ "no sub-norms", forget_sub_norms },
	{ "scales divide", invert_scales },
};

START_TEST(fluent_garbage_is_noticed)
{
	struct model m = model;
	struct selfcheck_result r;

	m.layers = calloc((size_t)m.config.n_layers, sizeof(*m.layers));
	memcpy(m.layers, model.layers, (size_t)m.config.n_layers *
	    sizeof(*m.layers));
	faults[_i].change(&m);
	r = check(&m, "cpu", "auto", 32, 32);
	printf("%s: %.3f\n", faults[_i].what, r.difference);
	ck_assert_int_eq((int)r.state, SELFCHECK_FAILED);
	ck_assert_ptr_nonnull(strstr(r.text, "% is rounding"));
	free(m.layers);
}
END_TEST

static float fill;

static int
filling_forward(struct backend *b, const struct backend_row *rows, int n_rows,
    float *logits, struct err *e)
{
	(void)b;
	(void)e;
	if (rows[n_rows - 1].want_logits)
		for (int32_t i = 0; i < model.config.vocab; i++)
			logits[i] = fill;
	return 0;
}

START_TEST(a_dead_device_does_not_pass)
{
	static const float values[] = { 0, NAN, INFINITY, 1e30F };
	const struct backend_options o = { .max_rows = 32, .n_ctx = 32 };
	struct backend b = { .forward = filling_forward };
	struct selfcheck_result r;

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		fill = values[i];
		ck_assert_int_eq(selfcheck_run(&model, &b, &o, &r, NULL), 0);
		ck_assert_int_eq((int)r.state, SELFCHECK_FAILED);
	}
}
END_TEST

START_TEST(without_a_probe_nothing_is_said)
{
	struct selfcheck_result r = check(&model, "cpu", "auto", 32, 31);
	struct model m = model;

	ck_assert_int_eq((int)r.state, SELFCHECK_ABSENT);
	ck_assert_str_eq(r.text, "the probe has 32 tokens, the context 31");
	m.n_probe = 0;
	r = check(&m, "cpu", "auto", 32, 32);
	ck_assert_int_eq((int)r.state, SELFCHECK_ABSENT);
	ck_assert_str_eq(r.text, "the file carries no probe");
	ck_assert_str_eq(selfcheck_name(SELFCHECK_ABSENT), "absent");
	ck_assert_str_eq(selfcheck_name(SELFCHECK_PASSED), "passed");
	ck_assert_str_eq(selfcheck_name(SELFCHECK_FAILED), "failed");
}
END_TEST

#define N(list) ((int)(sizeof(list) / sizeof((list)[0])))

int
main(void)
{
	Suite *s = suite_create("selfcheck");
	TCase *t = tcase_create("selfcheck");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_unchecked_fixture(t, setup, teardown);
	tcase_add_test(t, a_probe_is_read_as_it_was_made);
	tcase_add_loop_test(t, a_damaged_probe_is_refused, 0, N(damages));
	tcase_add_test(t, every_variant_of_this_machine_passes);
	tcase_add_loop_test(t, fluent_garbage_is_noticed, 0, N(faults));
	tcase_add_test(t, a_dead_device_does_not_pass);
	tcase_add_test(t, without_a_probe_nothing_is_said);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
