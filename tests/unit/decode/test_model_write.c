#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/h1b.h"
#include "model/packed.h"
#include "model/synth.h"
#include "model_file.h"
#include "spec_h1b.h"

/* The weights of a model of this test, known by a formula. */
static int
code_of(enum h1b_part part, int32_t layer, int32_t row, int32_t i)
{
	return (int)(((unsigned)part * 7 + (unsigned)layer * 5 +
	    (unsigned)row * 31 + (unsigned)i * 17 + (unsigned)(row * i)) % 3);
}

static float
value_of(enum h1b_part part, int32_t layer, int32_t row, int32_t i)
{
	/* Eight bits, so that bf16 holds it. */
	return (float)(((int)part * 3 + layer * 11 + row * 13 + i * 7) % 255 -
	    127) / 64;
}

static float
scale_of(enum h1b_part part, int32_t layer, int32_t row, int32_t group)
{
	return 1 / (float)(2 + (int)part + layer + row + 3 * group);
}

static int8_t
byte_of(enum h1b_part part, int32_t row, int32_t i)
{
	return (int8_t)(((int)part * 3 + row * 13 + i * 7) % 255 - 127);
}

/* What is given to the writer. */
struct given {
	struct model_config c;
	int32_t group;		/* of ternary matrices; twice that in odd layers;
				 * 0: all of a row */
	int32_t dense_group;	/* 0: floats */
};

static int
give_row(void *arg, enum h1b_part part, int32_t layer, int32_t row, float *out,
    struct err *e)
{
	const struct given *g = arg;

	(void)e;
	for (int32_t i = 0; i < h1b_columns(&g->c, part); i++)
		out[i] = value_of(part, layer, row, i);
	return 0;
}

static int
give_row_i8(void *arg, enum h1b_part part, int32_t row, int8_t *q,
    float *scales, struct err *e)
{
	const struct given *g = arg;

	(void)e;
	for (int32_t i = 0; i < g->c.hidden; i++) {
		q[i] = byte_of(part, row, i);
		scales[i / g->dense_group] = scale_of(part, 0, row,
		    i / g->dense_group);
	}
	return 0;
}

static int32_t
give_group(void *arg, enum h1b_part part, int32_t layer)
{
	const struct given *g = arg;
	int32_t n = h1b_columns(&g->c, part), group = g->group << layer % 2;

	return group > 0 && group < n ? group : n;
}

static int
give_codes(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    uint8_t *codes, float *scales, struct err *e)
{
	const struct given *g = arg;
	int32_t group = give_group(arg, part, layer);

	(void)e;
	for (int32_t i = 0; i < h1b_columns(&g->c, part); i++) {
		codes[i] = (uint8_t)code_of(part, layer, row, i);
		scales[i / group] = scale_of(part, layer, row, i / group);
	}
	return 0;
}

static void
check_matrix(struct given *g, const struct ternary *w, enum h1b_part part,
    int32_t layer, const struct spec *s, const char *name)
{
	int32_t group = give_group(g, part, layer);
	int32_t n_groups = (w->n_in + w->group - 1) / w->group;

	ck_assert_uint_eq((uintptr_t)w->codes % 64, 0);
	ck_assert(w->group == w->n_in || w->group % 64 == 0);
	for (int32_t o = 0; o < w->n_out; o++) {
		int n_wrong = 0;

		for (int32_t i = 0; i < w->n_in; i++) {
			float scale = w->scales[o * n_groups + i / w->group];

			n_wrong += ternary_weight(w, o, i) !=
			    code_of(part, layer, o, i) - 1;
			n_wrong += !(scale == scale_of(part, layer, o,
			    i / group));
			if (name != NULL && i % 61 == 0)
				n_wrong += !(scale == spec_scale(s, name,
				    h1b_group_of(part), (uint64_t)o,
				    (uint64_t)i));
		}
		ck_assert_int_eq(n_wrong, 0);
	}
}

static void
check_norm(const float *v, enum h1b_part part, int32_t layer, int32_t n)
{
	int n_wrong = 0;

	for (int32_t i = 0; i < n; i++)
		n_wrong += !(v[i] == value_of(part, layer, 0, i));
	ck_assert_int_eq(n_wrong, 0);
}

/*
 * Half a step is 1; values that are alike in number up to the largest one are cut
 * by little.  Rows of a few values may be cut by more, and lie on the rest.
 */
static const float packed_off = 4;

static void
check_dense(const struct given *g, const struct dense *d, enum h1b_part part)
{
	bool given = d->type == DENSE_I8 && g->dense_group > 0;
	float row[1024];
	int n_wrong = 0;

	for (int32_t o = 0; o < d->n_out; o++) {
		float most = d->type == DENSE_I8 && !given ?
		    d->scales[o] * 0.5001f : packed_bits(d->type) > 0 ?
		    d->scales[o] * packed_off : 0;

		dense_row(d, o, row);
		for (int32_t i = 0; i < d->n_in; i++) {
			float want = !given ? value_of(part, -1, o, i) :
			    (float)byte_of(part, o, i) *
			    scale_of(part, 0, o, i / g->dense_group);

			n_wrong += !(fabsf(row[i] - want) <= most);
		}
	}
	ck_assert_int_eq(n_wrong, 0);
}

static void
check_layer(struct given *g, const struct model_layer *l, int32_t k,
    const struct spec *s)
{
	const struct model_config *c = &g->c;

	check_norm(l->attn_norm, H1B_ATTN_NORM, k, c->hidden);
	check_norm(l->ffn_norm, H1B_FFN_NORM, k, c->hidden);
	ck_assert_int_eq(l->attn_sub_norm != NULL, c->sub_norms);
	ck_assert_int_eq(l->q_norm != NULL, c->qk_norm);
	if (c->sub_norms)
		check_norm(l->ffn_sub_norm, H1B_FFN_SUB_NORM, k, c->ffn);
	if (c->qk_norm) {
		check_norm(l->q_norm, H1B_Q_NORM, k, c->head_dim);
		check_norm(l->k_norm, H1B_K_NORM, k, c->head_dim);
	}
	check_matrix(g, &l->q, H1B_Q, k, s, k == 0 ? "layers.0.q" : NULL);
	check_matrix(g, &l->k, H1B_K, k, s, NULL);
	check_matrix(g, &l->v, H1B_V, k, s, NULL);
	check_matrix(g, &l->o, H1B_O, k, s, k == 1 ? "layers.1.o" : NULL);
	check_matrix(g, &l->gate, H1B_GATE, k, s, NULL);
	check_matrix(g, &l->up, H1B_UP, k, s, NULL);
	check_matrix(g, &l->down, H1B_DOWN, k, s, k == 0 ? "layers.0.down" :
	    NULL);
}

static struct given
given_of(int i)
{
	unsigned r = (unsigned)i * 2654435761u;

	return (struct given){ .group = i % 3 == 1 ? 64 + 64 * (i % 2) : 0,
	    .dense_group = i % 2 == 1 ? 16 * (1 + i % 3) : 0, .c = {
		.vocab = 1 + (int)(r >> 3) % 70,
		.hidden = 49 + (int)(r >> 7) % 700,
		.n_layers = 1 + i % 3, .n_kv_heads = 1 + i % 2,
		.n_heads = (1 + i % 2) * (1 + (int)(r >> 11) % 3),
		.head_dim = 2 + 2 * ((int)(r >> 13) % 50),
		.ffn = 1 + (int)(r >> 5) % 600, .n_ctx = 7, .rope_theta = 10000,
		.norm_eps = 1e-6f, .act = i % 2 ? MODEL_SILU : MODEL_RELU2,
		.rope_interleaved = i % 3 == 0, .sub_norms = i % 4 != 0,
		.qk_norm = i % 5 == 1, .act_float = i % 7 == 2,
		.tied = i % 5 != 0, .bos = -1, .n_eos = i % 2,
	} };
}

static const enum dense_type types[] = { DENSE_BF16, DENSE_I8, DENSE_F32,
	DENSE_F16, DENSE_Q6, DENSE_Q4 };

static int
give_probe(void *arg, const struct model *m, struct buf *out, struct err *e)
{
	(void)arg;
	(void)e;
	ck_assert_uint_eq(m->n_probe, 0);
	buf_adds(out, "gold");
	return 0;
}

START_TEST(a_model_of_any_size_comes_back)
{
	struct given g = given_of(_i);
	const struct model_config *c = &g.c;
	struct h1b_source s = { .config = *c, .architecture = "test",
	    .embed_type = types[_i % 4],
	    .head_type = c->tied ? 0 : types[_i / 5 % 6],
	    .embed_group = g.dense_group,
	    .head_group = packed_bits(types[_i / 5 % 6]) > 0 ? 0 : g.dense_group,
	    .name = "n", .origin = "", .chat_template = "{{ x }}",
	    .n_chat_template = 7, .tokenizer = "blob", .n_tokenizer = 4,
	    .row = give_row, .row_i8 = give_row_i8, .group = give_group,
	    .codes = give_codes, .arg = &g,
	    .probe = _i % 2 == 0 ? give_probe : NULL };
	struct model m;
	struct spec spec;
	struct err e;

	ck_assert_msg(h1b_write(model_path, &s, true, &e) == 0, "%s", e.text);
	ck_assert_msg(model_open(model_path, true, &m, &e) == 0, "%s", e.text);
	spec = spec_load(model_path);
	ck_assert_mem_eq(&m.config.vocab, &c->vocab, sizeof(int32_t) * 8);
	ck_assert_int_eq((int)m.config.act, (int)c->act);
	ck_assert_int_eq(m.config.rope_interleaved, c->rope_interleaved);
	ck_assert_int_eq(m.config.sub_norms, c->sub_norms);
	ck_assert_int_eq(m.config.qk_norm, c->qk_norm);
	ck_assert_int_eq(m.config.act_float, c->act_float);
	ck_assert_mem_eq(m.tokenizer, "blob", 4);
	ck_assert_mem_eq(m.chat_template, "{{ x }}", 7);
	ck_assert_uint_eq(m.n_probe, _i % 2 == 0 ? 4 : 0);
	if (m.n_probe > 0)
		ck_assert_mem_eq(m.probe, "gold", 4);
	check_dense(&g, &m.embed, H1B_EMBED);
	if (!c->tied)
		check_dense(&g, &m.head, H1B_HEAD);
	check_norm(m.norm, H1B_NORM, -1, c->hidden);
	for (int32_t k = 0; k < c->n_layers; k++)
		check_layer(&g, &m.layers[k], k, &spec);
	model_close(&m);
	free(spec.bytes);
}
END_TEST

START_TEST(an_image_in_memory_is_the_file_without_its_probe)
{
	struct given g = given_of(_i);
	struct h1b_source s = { .config = g.c, .architecture = "test",
	    .embed_type = DENSE_F16, .head_type = g.c.tied ? 0 : DENSE_I8,
	    .name = "n", .origin = "", .chat_template = "", .tokenizer = "",
	    .row = give_row, .codes = give_codes, .group = give_group,
	    .arg = &g };
	struct model a, b;
	struct spec file;
	void *image;
	struct err e;
	size_t n;

	ck_assert_msg(h1b_write(model_path, &s, true, &e) == 0, "%s", e.text);
	file = spec_load(model_path);
	ck_assert_msg(h1b_image(&s, &image, &n, &e) == 0, "%s", e.text);
	ck_assert_uint_eq((uintptr_t)image % (2 << 20), 0);
	ck_assert_uint_eq(n, file.n);
	ck_assert_mem_eq(image, file.bytes, n);
	s.probe = give_probe;
	ck_assert_msg(h1b_write(model_path, &s, true, &e) == 0, "%s", e.text);
	ck_assert_int_eq(model_open(model_path, false, &a, &e), 0);
	ck_assert_int_eq(model_parse(image, n, "x", &b, &e), 0);
	ck_assert_str_eq(a.fingerprint, b.fingerprint);
	model_close(&a);
	model_close(&b);
	munmap(image, n);
	free(file.bytes);
}
END_TEST

static const struct {
	int32_t group, dense_group;
	enum dense_type type;
	float value;
	const char *text;
} refused[] = {
	{ 96, 0, DENSE_BF16, 1, "group 0 of q is 96, expected a multiple of 64" },
	{ 1, 0, DENSE_BF16, 1, "group 0 of q is 1, expected" },
	{ 0, 24, DENSE_I8, 1, "group 7 of embed is 24, expected a multiple of 16" },
	{ 0, 0, DENSE_F16, 65520, "row 0: a value that is not finite as f16" },
	{ 0, 0, DENSE_F16, -1e30f, "row 0: a value that is not finite as f16" },
	{ 0, 0, DENSE_BF16, INFINITY, "row 0: a value that is not finite" },
	{ 0, 0, (enum dense_type)4, 1, "embed_type 4, not in 1, 2, 3, 6" },
	{ 0, 0, DENSE_F16, 65519, NULL },
	{ 0, 0, DENSE_F16, 1e-9f, NULL },
};

static float all_of;		/* what give_value gives */

static int
give_value(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    float *out, struct err *e)
{
	const struct given *g = arg;

	(void)layer;
	(void)row;
	(void)e;
	for (int32_t i = 0; i < h1b_columns(&g->c, part); i++)
		out[i] = part == H1B_EMBED ? all_of : 1;
	return 0;
}

START_TEST(what_a_file_cannot_hold_is_refused_in_a_sentence)
{
	struct given g = { .group = refused[_i].group,
	    .dense_group = refused[_i].dense_group };
	struct h1b_source s = { .architecture = "a", .name = "", .origin = "",
	    .chat_template = "", .tokenizer = "", .row = give_value,
	    .row_i8 = give_row_i8, .codes = give_codes, .group = give_group,
	    .embed_type = refused[_i].type,
	    .embed_group = refused[_i].dense_group, .arg = &g };
	struct err e = { 0 };
	int rc;

	ck_assert_int_eq(synth_config("halo-demo", &g.c, &e), 0);
	g.c.n_layers = 1;
	s.config = g.c;
	all_of = refused[_i].value;
	rc = h1b_write(model_path, &s, true, &e);
	if (refused[_i].text == NULL)
		ck_assert_msg(rc == 0, "%s", e.text);
	else {
		ck_assert(rc == ERR_RANGE || rc == ERR_BAD_FILE);
		ck_assert_msg(strstr(e.text, refused[_i].text) != NULL, "%s",
		    e.text);
	}
}
END_TEST

START_TEST(writing_leaves_an_existing_file_alone)
{
	struct given c = { 0 };
	struct h1b_source s = { .architecture = "a", .name = "", .origin = "",
	    .chat_template = "", .tokenizer = "", .row = give_row,
	    .codes = give_codes, .embed_type = DENSE_I8, .arg = &c };
	struct stat before, after;
	struct err e;

	ck_assert_int_eq(synth_config("tiny", &c.c, &e), 0);
	s.config = c.c;
	ck_assert_int_eq(stat(model_path, &before), 0);
	ck_assert_int_eq(h1b_write(model_path, &s, false, &e), ERR_EXISTS);
	s.name = "caf\xc3\xa9";
	ck_assert_int_eq(h1b_write(model_path, &s, true, &e), ERR_RANGE);
	ck_assert_str_eq(e.text, "name: not printable ASCII");
	s.config.head_dim = 3;
	ck_assert_int_eq(h1b_write(model_path, &s, true, &e), ERR_RANGE);
	ck_assert_int_eq(h1b_write("/nowhere/m.h1b", &s, true, &e), ERR_RANGE);
	s.config.head_dim = c.c.head_dim;
	s.name = "";
	ck_assert_int_eq(h1b_write("/nowhere/m.h1b", &s, true, &e), ERR_SYSTEM);
	ck_assert_int_eq(stat(model_path, &after), 0);
	ck_assert_int_eq((int)(before.st_ino == after.st_ino), 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("model_write");
	TCase *t = tcase_create("model_write");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, model_file_setup,
	    model_file_teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, a_model_of_any_size_comes_back, 0, 36);
	tcase_add_loop_test(t, an_image_in_memory_is_the_file_without_its_probe,
	    0, 6);
	tcase_add_loop_test(t, what_a_file_cannot_hold_is_refused_in_a_sentence,
	    0, (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(t, writing_leaves_an_existing_file_alone);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
