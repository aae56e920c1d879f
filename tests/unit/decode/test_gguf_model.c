#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gguf_model.h"
#include "model/gguf_model.h"
#include "model/import.h"
#include "tokenizer/template.h"
#include "tokenizer/tokenizer.h"

/* The model as the numbers say, with no container but ours in between. */
static int
formula_row(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    float *out, struct err *e)
{
	const struct same_model *m = arg;

	(void)e;
	for (int32_t i = 0; i < same_cols(m, part); i++)
		out[i] = part == H1B_EMBED || part == H1B_HEAD ?
		    same_dense(m, part, row, i) : same_norm(m, part, layer, i);
	return 0;
}

static int32_t
formula_group(void *arg, enum h1b_part part, int32_t layer)
{
	(void)layer;
	return same_group(arg, part);
}

static int
formula_codes(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    uint8_t *codes, float *scales, struct err *e)
{
	const struct same_model *m = arg;
	int32_t group = same_group(m, part);

	(void)e;
	for (int32_t i = 0; i < same_cols(m, part); i++) {
		codes[i] = (uint8_t)(same_weight(m, part, layer, row, i) + 1);
		scales[i / group] = same_scale(m, part, layer, row, i);
	}
	return 0;
}

static void
open_source(struct h1b_source *s, struct model *m)
{
	struct err e;
	void *image;
	size_t n;

	s->name = s->origin = "x";
	ck_assert_msg(h1b_image(s, &image, &n, &e) == 0, "%s", e.text);
	ck_assert_msg(model_parse(image, n, "x", m, &e) == 0, "%s", e.text);
	m->map = image;
	m->map_size = n;
}

static float *
formula_logits(struct same_model *want)
{
	struct h1b_source s = { .config = want->config,
	    .embed_type = DENSE_F32,
	    .head_type = want->config.tied ? 0 : DENSE_F32,
	    .architecture = "x", .chat_template = "", .tokenizer = "",
	    .row = formula_row, .group = formula_group,
	    .codes = formula_codes, .arg = want };
	struct model m;
	float *logits;

	open_source(&s, &m);
	logits = same_logits(&m);
	model_close(&m);
	return logits;
}

/* One combination of what a file may have. */
static struct gm
combination(const char *arch, const struct gf_ternary *t,
    enum same_scales scales, int32_t group)
{
	const char *family = strncmp(arch, "bitnet", 6) == 0 ? "bitnet" : arch;
	struct gm g = { .arch = arch, .m = same_model(family), .ternary = t,
	    .dense = 1 };

	if (strcmp(arch, "bitnet") == 0)
		g.m.config.act = MODEL_SILU;
	g.m.scales = scales;
	g.m.group = group;
	if (t != NULL && t->id == 41)
		g.m.zeros = SAME_NEVER;
	return g;
}

/* The model of g, read, checked, and its logits against those of the numbers. */
static void
check(struct gm *g)
{
	struct buf b = gm_file(g);
	struct gguf_model *gm;
	struct h1b_source s = { 0 };
	struct model m;
	struct err e = { 0 };
	float *want = formula_logits(&g->m), *got;

	ck_assert_msg(gguf_model_parse(b.data, b.len, "x", &gm, &e) == 0, "%s",
	    e.text);
	gguf_model_source(gm, &s);
	open_source(&s, &m);
	same_check(&m, &g->m);
	got = same_logits(&m);
	ck_assert_mem_eq(got, want, (size_t)SAME_TOKENS *
	    (size_t)g->m.config.vocab * sizeof(float));
	ck_assert_str_eq(m.architecture, g->arch);
	ck_assert_int_eq(m.config.bos, SAME_BOS);
	ck_assert_int_eq(m.config.eos[0], SAME_EOS);
	free(got);
	free(want);
	model_close(&m);
	gguf_model_close(gm);
	buf_free(&b);
}

static const char *const archs[] = { "bitnet-b1.58", "bitnet-25", "bitnet",
    "llama", "qwen3" };
enum { ARCHS = 5 };

START_TEST(every_ternary_type_gives_the_same_logits)
{
	const struct gf_ternary *t = &gf_ternaries[_i / ARCHS];
	struct gm g = combination(archs[_i % ARCHS], t, SAME_TENSOR, 0);

	check(&g);
	if (t->scale_at < 0)
		return;
	g = combination(archs[_i % ARCHS], t, SAME_ROW, 0);
	check(&g);
	g = combination(archs[_i % ARCHS], t, SAME_GROUP, t->block);
	g.norms = 30;
	check(&g);
	/* Factors that change more seldom than the type allows. */
	g = combination(archs[_i % ARCHS], t, SAME_GROUP, 2 * t->block);
	g.m.config.ffn = 1024;
	g.norms = 1;
	check(&g);
	if (t->block > 128)
		return;
	g = combination(archs[_i % ARCHS], t, SAME_SEGMENT, 0);
	check(&g);
}
END_TEST

START_TEST(floats_of_three_values_give_the_same_logits)
{
	static const uint32_t types[] = { 0, 1, 30 };
	static const enum same_scales scales[] = { SAME_TENSOR, SAME_ROW,
	    SAME_GROUP, SAME_SEGMENT };
	struct gm g = combination("llama", NULL, scales[_i / 3], 128);

	g.floats = types[_i % 3];
	g.m.config.act_float = true;
	check(&g);
}
END_TEST

static const struct {
	uint32_t type;
	int32_t dense_max;
	const struct gf_ternary *ternary;
	enum dense_type want;
	int32_t group;
} denses[] = {
	{ 0, 127, NULL, DENSE_F32, 0 },
	{ 1, 127, NULL, DENSE_F16, 0 },
	{ 30, 127, NULL, DENSE_BF16, 0 },
	{ 8, 127, NULL, DENSE_I8, 32 },
	{ 14, 31, NULL, DENSE_I8, 16 },
	{ 12, 7, NULL, DENSE_F32, 0 },
	{ 36, 1, &gf_ternaries[0], DENSE_I8, 256 },
	{ 35, 1, &gf_ternaries[2], DENSE_I8, 256 },
	{ 42, 1, &gf_ternaries[3], DENSE_I8, 256 },
	{ 42, 1, &gf_ternaries[4], DENSE_I8, 256 },
	{ 143, 1, &gf_ternaries[6], DENSE_I8, 256 },
};

START_TEST(embedding_and_head_are_exact_in_every_type)
{
	const struct gf_ternary *t = &gf_ternaries[denses[_i].type == 42 &&
	    denses[_i].ternary->block == 128 ? 4 : 3];
	struct gm g = combination("qwen3", t, SAME_GROUP, 128);
	struct h1b_source s = { 0 };
	struct gguf_model *gm;
	struct err e;
	struct buf b;

	g.dense = denses[_i].type;
	g.dense_ternary = denses[_i].ternary;
	g.m.dense_max = denses[_i].dense_max;
	check(&g);
	b = gm_file(&g);
	ck_assert_int_eq(gguf_model_parse(b.data, b.len, "x", &gm, &e), 0);
	gguf_model_source(gm, &s);
	ck_assert_int_eq((int)s.embed_type, (int)denses[_i].want);
	ck_assert_int_eq((int)s.head_type, (int)denses[_i].want);
	ck_assert_int_eq(s.embed_group, denses[_i].group);
	gguf_model_close(gm);
	buf_free(&b);
}
END_TEST

/* A file of its own name, in a directory of its own. */
static void
put_file(const char *path, const struct buf *b)
{
	FILE *fp = fopen(path, "wb");

	ck_assert_ptr_nonnull(fp);
	ck_assert_uint_eq(fwrite(b->data, 1, b->len, fp), b->len);
	ck_assert_int_eq(fclose(fp), 0);
}

START_TEST(a_gguf_computes_what_its_conversion_computes)
{
	struct gm g = combination("qwen3", &gf_ternaries[4], SAME_GROUP, 128);
	char dir[48], path[64], converted[64];
	struct h1b_source s = { 0 };
	struct model direct, second;
	struct import *im;
	float *x, *y;
	struct err e;
	struct buf b;

	g.dense = 14;
	g.m.dense_max = 31;
	b = gm_file(&g);
	strcpy(dir, "/tmp/test_gguf_model-" "XX" "XX" "XX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/m.gguf", dir);
	snprintf(converted, sizeof(converted), "%s/m.h1b", dir);
	put_file(path, &b);
	ck_assert_msg(model_open(path, false, &direct, &e) == 0, "%s", e.text);
	ck_assert_msg(import_open(path, &im, &s, &e) == 0, "%s", e.text);
	ck_assert_msg(h1b_write(converted, &s, false, &e) == 0, "%s", e.text);
	import_close(im);
	ck_assert_msg(model_open(converted, false, &second, &e) == 0, "%s",
	    e.text);
	same_check(&direct, &g.m);
	same_check(&second, &g.m);
	ck_assert_str_eq(direct.fingerprint, second.fingerprint);
	x = same_logits(&direct);
	y = same_logits(&second);
	ck_assert_mem_eq(x, y, (size_t)SAME_TOKENS *
	    (size_t)g.m.config.vocab * sizeof(float));
	free(x);
	free(y);
	model_close(&direct);
	model_close(&second);
	unlink(path);
	unlink(converted);
	rmdir(dir);
	buf_free(&b);
}
END_TEST

START_TEST(a_block_of_zeros_may_have_any_factor)
{
	struct gm g = combination("llama", &gf_ternaries[3], SAME_TENSOR, 0);
	struct buf b = gm_file(&g);
	struct gguf *file;
	struct gguf_model *gm;
	struct h1b_source s = { 0 };
	const uint8_t *p;
	uint8_t codes[256];
	float scales[4] = { 0 };
	size_t at;
	struct err e;

	/* The first and the third block of 64 of a row become zeros of 0. */
	ck_assert_int_eq(gguf_parse(b.data, b.len, "x", &file, &e), 0);
	p = gguf_tensor(file, "blk.1.ffn_up.weight")->data;
	at = (size_t)(p - (const uint8_t *)b.data);
	gguf_close(file);
	memset(b.data + at, 0, 2);
	memset(b.data + at + 2, 0x55, 16);
	memset(b.data + at + 36, 0, 2);
	memset(b.data + at + 38, 0x55, 16);
	ck_assert_int_eq(gguf_model_parse(b.data, b.len, "x", &gm, &e), 0);
	gguf_model_source(gm, &s);
	ck_assert_int_eq(s.group(s.arg, H1B_UP, 1), 256);
	ck_assert_int_eq(s.codes(s.arg, H1B_UP, 1, 0, codes, scales, &e), 0);
	ck_assert_float_eq(scales[0], same_scale(&g.m, H1B_UP, 1, 0, 0));
	ck_assert_int_eq(codes[0], 1);
	ck_assert_int_eq(codes[64], same_weight(&g.m, H1B_UP, 1, 0, 64) + 1);
	gguf_model_close(gm);
	buf_free(&b);
}
END_TEST

START_TEST(a_negative_factor_turns_the_weights_around)
{
	struct gm g = combination("llama", &gf_ternaries[5], SAME_GROUP, 128);
	struct buf b;
	struct gguf_model *gm;
	struct h1b_source s = { 0 };
	uint8_t codes[256];
	float scales[2];
	struct err e;

	/* The sign of the first factor, in its second byte. */
	g.c = (struct gm_change){ POKE, "blk.0.ffn_up.weight", 1, "\xa8" };
	b = gm_file(&g);
	ck_assert_int_eq(gguf_model_parse(b.data, b.len, "x", &gm, &e), 0);
	gguf_model_source(gm, &s);
	ck_assert_int_eq(s.codes(s.arg, H1B_UP, 0, 0, codes, scales, &e), 0);
	ck_assert_float_gt(scales[0], 0);
	for (int i = 0; i < 128; i++) {
		ck_assert_int_eq(1 - codes[i], same_weight(&g.m, H1B_UP, 0, 0,
		    i));
		ck_assert_int_eq(codes[128 + i] - 1, same_weight(&g.m, H1B_UP,
		    0, 0, 128 + i));
	}
	gguf_model_close(gm);
	buf_free(&b);
}
END_TEST

START_TEST(the_tokenizer_is_that_of_the_file)
{
	static const char text[] = "the ears <|eos|> of 12 others\n";
	struct gm g = combination("llama", &gf_ternaries[0], SAME_TENSOR, 0);
	struct buf b = gm_file(&g), json = { 0 };
	struct tokenizer *want = NULL, *got = NULL;
	struct ids x = { 0 }, y = { 0 };
	struct h1b_source s = { 0 };
	struct gguf_model *gm;
	struct err e;

	ck_assert_int_eq(gguf_model_parse(b.data, b.len, "x", &gm, &e), 0);
	gguf_model_source(gm, &s);
	same_tokenizer_json(&json);
	ck_assert_int_eq(tokenizer_from_json(json.data, json.len, &want, &e), 0);
	ck_assert_int_eq(tokenizer_load(s.tokenizer, s.n_tokenizer, &got, &e), 0);
	for (int special = 0; special < 2; special++) {
		x.n = y.n = 0;
		ck_assert_int_eq(tokenizer_encode(want, text, strlen(text),
		    special, &x, &e), 0);
		ck_assert_int_eq(tokenizer_encode(got, text, strlen(text),
		    special, &y, &e), 0);
		ck_assert_uint_eq(x.n, y.n);
		ck_assert_mem_eq(x.v, y.v, x.n * sizeof(*x.v));
	}
	ck_assert_uint_eq(s.n_chat_template, strlen("{{ their own }}"));
	ck_assert_mem_eq(s.chat_template, "{{ their own }}", 15);
	ck_assert_str_eq(gguf_model_note(gm), "");
	ids_free(&x);
	ids_free(&y);
	tokenizer_destroy(want);
	tokenizer_destroy(got);
	gguf_model_close(gm);
	buf_free(&b);
	buf_free(&json);
}
END_TEST

START_TEST(a_trilm_is_told_by_its_name)
{
	struct gm g = combination("llama", &gf_ternaries[2], SAME_TENSOR, 0);
	struct h1b_source s = { 0 };
	struct gguf_model *gm;
	struct err e;
	struct buf b;

	g.c = (struct gm_change){ KEY_STRING, "general.name", 0,
	    "TriLM_3.9B_Unpacked" };
	b = gm_file(&g);
	ck_assert_int_eq(gguf_model_parse(b.data, b.len, "x", &gm, &e), 0);
	gguf_model_source(gm, &s);
	ck_assert(s.config.act_float);
	gguf_model_close(gm);
	buf_free(&b);
}
END_TEST

START_TEST(bitnet_gets_the_template_it_was_trained_with)
{
	struct gm g = combination("bitnet-b1.58", &gf_ternaries[0], SAME_TENSOR,
	    0);
	struct buf b = gm_file(&g);
	struct h1b_source s = { 0 };
	struct gguf_model *gm;
	bool recognised = false;
	struct err e;

	ck_assert_int_eq(gguf_model_parse(b.data, b.len, "x", &gm, &e), 0);
	gguf_model_source(gm, &s);
	ck_assert_str_eq(template_name(template_recognise(s.chat_template,
	    s.n_chat_template, &recognised)), "bitnet");
	ck_assert(recognised);
	ck_assert_ptr_nonnull(strstr(gguf_model_note(gm), "was replaced"));
	gguf_model_close(gm);
	buf_free(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gguf_model");
	TCase *t = tcase_create("gguf_model");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, every_ternary_type_gives_the_same_logits, 0,
	    GF_TERNARIES * ARCHS);
	tcase_add_loop_test(t, floats_of_three_values_give_the_same_logits, 0,
	    12);
	tcase_add_loop_test(t, embedding_and_head_are_exact_in_every_type, 0,
	    (int)(sizeof(denses) / sizeof(denses[0])));
	tcase_add_test(t, a_gguf_computes_what_its_conversion_computes);
	tcase_add_test(t, a_block_of_zeros_may_have_any_factor);
	tcase_add_test(t, a_negative_factor_turns_the_weights_around);
	tcase_add_test(t, the_tokenizer_is_that_of_the_file);
	tcase_add_test(t, a_trilm_is_told_by_its_name);
	tcase_add_test(t, bitnet_gets_the_template_it_was_trained_with);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
