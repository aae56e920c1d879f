#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>

#include "model/crc32c.h"
#include "model/h1b.h"
#include "model/synth.h"
#include "spec_h1b.h"

#define DEMO "models/halo-demo.h1b"

static char dir[40];
static char path[64];

static void
setup(void)
{
	struct err e;
	struct model_config c;

	snprintf(dir, sizeof(dir), "/tmp/test_model-%d", (int)getpid());
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/m.h1b", dir);
	ck_assert_int_eq(synth_config("tiny", &c, &e), 0);
	ck_assert_msg(model_write_random(path, &c, 1, &e) == 0, "%s", e.text);
}

static void
teardown(void)
{
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

START_TEST(crc32c_is_that_of_the_rfc)
{
	uint8_t bytes[100];

	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283);
	ck_assert_uint_eq(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
	for (int i = 0; i < 100; i++)
		bytes[i] = (uint8_t)(i * 37);
	for (size_t n = 0; n <= 100; n++) {
		ck_assert_uint_eq(crc32c(0, bytes, n), spec_crc(bytes, n));
		ck_assert_uint_eq(crc32c_table(0, bytes, n), spec_crc(bytes, n));
	}
}
END_TEST

START_TEST(the_example_of_the_specification_packs_as_it_says)
{
	uint8_t codes[260], out[128], want[128];

	memset(codes, 1, sizeof(codes));
	codes[0] = codes[129] = 2;
	codes[64] = codes[192] = codes[257] = 0;
	memset(want, 0x55, sizeof(want));
	want[0] = 0x12;
	want[1] = 0x65;
	want[65] = 0x54;
	ck_assert_int_eq(h1b_t2_stride(260), 128);
	h1b_t2_pack(codes, 260, out);
	ck_assert_mem_eq(out, want, sizeof(want));
}
END_TEST

static void
same_matrix(const struct spec *s, const char *name, const struct ternary *w)
{
	char scale[80];

	snprintf(scale, sizeof(scale), "%s.scale", name);
	ck_assert_int_eq(w->n_out, (int)spec_get(spec_entry(s, name) + 64, 8));
	ck_assert_int_eq(w->n_in, (int)spec_get(spec_entry(s, name) + 72, 8));
	for (int32_t o = 0; o < w->n_out; o++) {
		const uint64_t row = (uint64_t)o;
		int n_wrong = 0;	/* an assertion each would take seconds */

		ck_assert_float_eq(w->scales[o], spec_f32(s, scale, row));
		for (int32_t i = 0; i < w->n_in; i++)
			n_wrong += ternary_weight(w, o, i) != spec_weight(s,
			    name, row, (uint64_t)i);
		ck_assert_int_eq(n_wrong, 0);
	}
}

START_TEST(the_demo_model_is_what_the_specification_says)
{
	struct spec s = spec_load(DEMO);
	struct model m;
	struct err e;
	float row[512];

	ck_assert_msg(model_open(DEMO, false, &m, &e) == 0, "%s", e.text);
	ck_assert_int_eq(m.config.n_layers, 10);
	ck_assert_int_eq(m.config.bos, 8187);
	ck_assert_int_eq(m.config.n_eos, 2);
	ck_assert_int_eq(m.config.eos[0], 8191);
	ck_assert_int_eq(m.config.eos[1], 8188);
	ck_assert_str_eq(m.name, "halo-demo");
	ck_assert_str_eq(m.architecture, "bitnet-b1.58");
	ck_assert_int_eq((int)m.n_params, 35682816);
	ck_assert_ptr_eq(m.head.data, m.embed.data);
	same_matrix(&s, "layers.0.q", &m.layers[0].q);
	same_matrix(&s, "layers.4.gate", &m.layers[4].gate);
	same_matrix(&s, "layers.9.down", &m.layers[9].down);
	for (uint64_t i = 0; i < 512; i++)
		ck_assert_float_eq(m.norm[i], spec_f32(&s, "norm", i));
	for (uint64_t i = 0; i < 1536; i++)
		ck_assert_float_eq(m.layers[9].ffn_sub_norm[i], spec_f32(&s,
		    "layers.9.ffn_sub_norm", i));
	for (uint64_t o = 0; o < 8192; o += 91) {
		dense_row(&m.embed, (int32_t)o, row);
		for (uint64_t i = 0; i < 512; i++)
			ck_assert_float_eq(row[i], spec_f32(&s, "embed.scale",
			    o) * (float)(int8_t)spec_data(&s,
			    "embed")[o * 512 + i]);
	}
	model_close(&m);
	free(s.bytes);
}
END_TEST

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
scale_of(enum h1b_part part, int32_t layer, int32_t row)
{
	return 1 / (float)(1 + (int)part + layer + row);
}

static int32_t
columns(const struct model_config *c, enum h1b_part part)
{
	return part == H1B_ATTN_SUB_NORM || part == H1B_O ?
	    c->n_heads * c->head_dim :
	    part == H1B_FFN_SUB_NORM || part == H1B_DOWN ? c->ffn : c->hidden;
}

static int
give_row(void *arg, enum h1b_part part, int32_t layer, int32_t row, float *out,
    struct err *e)
{
	const struct model_config *c = arg;

	(void)e;
	for (int32_t i = 0; i < columns(c, part); i++)
		out[i] = value_of(part, layer, row, i);
	return 0;
}

static int
give_codes(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    uint8_t *codes, float *scale, struct err *e)
{
	const struct model_config *c = arg;

	(void)e;
	for (int32_t i = 0; i < columns(c, part); i++)
		codes[i] = (uint8_t)code_of(part, layer, row, i);
	*scale = scale_of(part, layer, row);
	return 0;
}

static void
check_matrix(const struct ternary *w, enum h1b_part part, int32_t layer)
{
	ck_assert_uint_eq((uintptr_t)w->codes % 64, 0);
	for (int32_t o = 0; o < w->n_out; o++) {
		int n_wrong = 0;

		ck_assert_float_eq(w->scales[o], scale_of(part, layer, o));
		for (int32_t i = 0; i < w->n_in; i++)
			n_wrong += ternary_weight(w, o, i) !=
			    code_of(part, layer, o, i) - 1;
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

static void
check_dense(const struct dense *d, enum h1b_part part)
{
	float row[1024];
	int n_wrong = 0;

	for (int32_t o = 0; o < d->n_out; o++) {
		float most = d->type == DENSE_I8 ? d->scales[o] * 0.5001f : 0;

		dense_row(d, o, row);
		for (int32_t i = 0; i < d->n_in; i++)
			n_wrong += !(fabsf(row[i] - value_of(part, -1, o, i)) <=
			    most);
	}
	ck_assert_int_eq(n_wrong, 0);
}

START_TEST(a_model_of_any_size_comes_back)
{
	unsigned r = (unsigned)_i * 2654435761u;
	struct model_config c = {
		.vocab = 1 + (int)(r >> 3) % 70, .hidden = 1 + (int)(r >> 7) % 700,
		.n_layers = 1 + _i % 3, .n_kv_heads = 1 + _i % 2,
		.n_heads = (1 + _i % 2) * (1 + (int)(r >> 11) % 3),
		.head_dim = 2 + 2 * ((int)(r >> 13) % 50),
		.ffn = 1 + (int)(r >> 5) % 600, .n_ctx = 7, .rope_theta = 10000,
		.norm_eps = 1e-6f, .act = _i % 2 ? MODEL_SILU : MODEL_RELU2,
		.rope_interleaved = _i % 3 == 0, .sub_norms = _i % 4 != 0,
		.tied = _i % 5 != 0, .bos = -1, .eos = { 0 }, .n_eos = _i % 2,
	};
	struct h1b_source s = { .config = c, .architecture = "test",
	    .embed_type = (enum dense_type)(1 + _i % 3),
	    .head_type = c.tied ? 0 : (enum dense_type)(1 + (_i + 1) % 3),
	    .name = "n", .origin = "", .chat_template = "{{ x }}",
	    .n_chat_template = 7, .tokenizer = "blob", .n_tokenizer = 4,
	    .row = give_row, .codes = give_codes, .arg = &c };
	struct model m;
	struct err e;

	ck_assert_msg(h1b_write(path, &s, true, &e) == 0, "%s", e.text);
	ck_assert_msg(model_open(path, true, &m, &e) == 0, "%s", e.text);
	ck_assert_mem_eq(&m.config.vocab, &c.vocab, sizeof(int32_t) * 8);
	ck_assert_int_eq((int)m.config.act, (int)c.act);
	ck_assert_int_eq(m.config.rope_interleaved, c.rope_interleaved);
	ck_assert_int_eq(m.config.sub_norms, c.sub_norms);
	ck_assert_mem_eq(m.tokenizer, "blob", 4);
	ck_assert_mem_eq(m.chat_template, "{{ x }}", 7);
	check_dense(&m.embed, H1B_EMBED);
	if (!c.tied)
		check_dense(&m.head, H1B_HEAD);
	check_norm(m.norm, H1B_NORM, -1, c.hidden);
	for (int32_t k = 0; k < c.n_layers; k++) {
		const struct model_layer *l = &m.layers[k];

		check_norm(l->attn_norm, H1B_ATTN_NORM, k, c.hidden);
		check_norm(l->ffn_norm, H1B_FFN_NORM, k, c.hidden);
		ck_assert_int_eq(l->attn_sub_norm != NULL, c.sub_norms);
		if (c.sub_norms)
			check_norm(l->ffn_sub_norm, H1B_FFN_SUB_NORM, k, c.ffn);
		check_matrix(&l->q, H1B_Q, k);
		check_matrix(&l->k, H1B_K, k);
		check_matrix(&l->v, H1B_V, k);
		check_matrix(&l->o, H1B_O, k);
		check_matrix(&l->gate, H1B_GATE, k);
		check_matrix(&l->up, H1B_UP, k);
		check_matrix(&l->down, H1B_DOWN, k);
	}
	model_close(&m);
}
END_TEST

START_TEST(what_is_no_regular_file_is_refused)
{
	char other[80];
	struct model m;
	struct err e;

	/* A directory may be a checkpoint; this one has no config.json. */
	ck_assert_int_eq(model_open(dir, false, &m, &e), ERR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(e.text, "config.json"));
	snprintf(other, sizeof(other), "%s/none", dir);
	ck_assert_int_eq(model_open(other, false, &m, &e), ERR_NOT_FOUND);
	ck_assert_int_eq(mkfifo(other, 0600), 0);
	ck_assert_int_eq(model_open(other, false, &m, &e), ERR_BAD_FILE);
	ck_assert_ptr_nonnull(strstr(e.text, "not a regular file"));
	unlink(other);
	ck_assert_int_eq(model_open("/dev/null", false, &m, &e), ERR_BAD_FILE);
	ck_assert_int_eq(symlink(path, other), 0);
	ck_assert_msg(model_open(other, false, &m, &e) == 0, "%s", e.text);
	model_close(&m);
	unlink(other);
	fclose(fopen(other, "w"));
	ck_assert_int_eq(model_open(other, false, &m, &e), ERR_BAD_FILE);
	ck_assert_ptr_nonnull(strstr(e.text, "0 bytes, too short"));
	unlink(other);
}
END_TEST

START_TEST(the_fingerprint_is_of_the_weights_and_not_of_the_names)
{
	struct model_config c;
	struct model a, b;
	struct spec s;
	struct err e;

	ck_assert_int_eq(synth_config("tiny", &c, &e), 0);
	ck_assert_int_eq(model_open(path, false, &a, &e), 0);
	s = spec_load(path);
	spec_data(&s, "name")[0] = 'X';
	spec_seal(&s);
	ck_assert_int_eq(model_parse(s.bytes, s.n, "x", &b, &e), 0);
	ck_assert_str_eq(b.title, "Xandom");
	ck_assert_str_eq(a.fingerprint, b.fingerprint);
	model_close(&b);
	spec_data(&s, "norm")[0] ^= 1;
	spec_seal(&s);
	ck_assert_int_eq(model_parse(s.bytes, s.n, "x", &b, &e), 0);
	ck_assert_str_ne(a.fingerprint, b.fingerprint);
	model_close(&b);
	model_close(&a);
	free(s.bytes);
}
END_TEST

START_TEST(writing_leaves_an_existing_file_alone)
{
	struct model_config c;
	struct h1b_source s = { .architecture = "a", .name = "", .origin = "",
	    .chat_template = "", .tokenizer = "", .row = give_row,
	    .codes = give_codes, .embed_type = DENSE_I8, .arg = &c };
	struct stat before, after;
	struct err e;

	ck_assert_int_eq(synth_config("tiny", &c, &e), 0);
	s.config = c;
	ck_assert_int_eq(stat(path, &before), 0);
	ck_assert_int_eq(h1b_write(path, &s, false, &e), ERR_EXISTS);
	s.name = "caf\xc3\xa9";
	ck_assert_int_eq(h1b_write(path, &s, true, &e), ERR_RANGE);
	ck_assert_str_eq(e.text, "name: not printable ASCII");
	s.config.head_dim = 3;
	ck_assert_int_eq(h1b_write(path, &s, true, &e), ERR_RANGE);
	ck_assert_int_eq(h1b_write("/nowhere/m.h1b", &s, true, &e), ERR_RANGE);
	s.config.head_dim = c.head_dim;
	s.name = "";
	ck_assert_int_eq(h1b_write("/nowhere/m.h1b", &s, true, &e), ERR_SYSTEM);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_int_eq((int)(before.st_ino == after.st_ino), 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("model");
	TCase *t = tcase_create("model");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, crc32c_is_that_of_the_rfc);
	tcase_add_test(t, the_example_of_the_specification_packs_as_it_says);
	tcase_add_test(t, the_demo_model_is_what_the_specification_says);
	tcase_add_loop_test(t, a_model_of_any_size_comes_back, 0, 24);
	tcase_add_test(t, what_is_no_regular_file_is_refused);
	tcase_add_test(t, the_fingerprint_is_of_the_weights_and_not_of_the_names);
	tcase_add_test(t, writing_leaves_an_existing_file_alone);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
