#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gguf_model.h"
#include "hf_dir.h"
#include "model/import.h"
#include "same_source.h"

/*
 * One small BitNet in every container.  The encoders are written from the tables
 * of the formats; that of old .h1b files is below.
 */
static char dir[64];

static void
path_of(const char *name, char out[128])
{
	snprintf(out, 128, "%s/%s", dir, name);
}

static void
put_file(const char *name, const void *bytes, size_t n)
{
	char path[128];
	FILE *fp;

	path_of(name, path);
	ck_assert_ptr_nonnull(fp = fopen(path, "wb"));
	ck_assert_uint_eq(fwrite(bytes, 1, n, fp), n);
	fclose(fp);
}

static void
setup(void)
{
	strcpy(dir, "/tmp/test_import-" "XX" "XX" "XX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void
teardown(void)
{
	static const char *const names[] = { "a.h1b", "b.h1b", "m.gguf",
	    "tokenizer.json", "old.h1b", "x", "link.gguf" };
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		path_of(names[i], path);
		unlink(path);
	}
	ck_assert_int_eq(rmdir(dir), 0);
}

static void
old_vector(struct buf *b, const struct same_model *m, enum h1b_part part,
    int32_t layer)
{
	for (int32_t i = 0; i < same_cols(m, part); i++)
		gf_f32(b, same_norm(m, part, layer, i));
}

/* Version 2: four weights in a byte from the low end; then a factor a row. */
static void
old_matrix(struct buf *b, const struct same_model *m, enum h1b_part part,
    int32_t layer)
{
	for (int32_t o = 0; o < same_rows(m, part); o++)
		for (int32_t i = 0; i < same_cols(m, part); i += 4) {
			uint8_t byte = 0;

			for (int32_t k = 0; k < 4; k++)
				byte |= (uint8_t)((same_weight(m, part, layer, o,
				    i + k) + 1) << 2 * k);
			buf_add(b, &byte, 1);
		}
	for (int32_t o = 0; o < same_rows(m, part); o++)
		gf_f32(b, same_scale(m, part, layer, o, 0));
}

static void
put_old(const struct same_model *m)
{
	static const enum h1b_part matrices[] = { H1B_Q, H1B_K, H1B_V, H1B_O,
	    H1B_GATE, H1B_UP, H1B_DOWN };
	const struct model_config *c = &m->config;
	const int32_t header[] = { c->hidden, c->ffn, c->n_layers, c->n_heads,
	    c->n_kv_heads, c->vocab, c->n_ctx, 1, 0 };
	struct buf b = { 0 }, json = { 0 };

	buf_add(&b, "H1B", 4);
	gf_u32(&b, 2);
	for (size_t i = 0; i < sizeof(header) / sizeof(header[0]); i++)
		gf_u32(&b, (uint32_t)header[i]);
	gf_f32(&b, c->rope_theta);
	gf_f32(&b, c->norm_eps);
	for (int32_t o = 0; o < c->vocab; o++)
		for (int32_t i = 0; i < c->hidden; i++)
			gf_f32(&b, same_dense(m, H1B_EMBED, o, i));
	old_vector(&b, m, H1B_NORM, -1);
	for (int32_t k = 0; k < c->n_layers; k++) {
		old_vector(&b, m, H1B_ATTN_NORM, k);
		old_vector(&b, m, H1B_FFN_NORM, k);
		old_vector(&b, m, H1B_ATTN_SUB_NORM, k);
		for (int32_t i = 0; i < 5 * c->hidden; i++)
			gf_f32(&b, 99);
		old_vector(&b, m, H1B_FFN_SUB_NORM, k);
		for (int i = 0; i < 7; i++)
			old_matrix(&b, m, matrices[i], k);
	}
	put_file("old.h1b", b.data, b.len);
	same_tokenizer_json(&json);
	put_file("tokenizer.json", json.data, json.len);
	buf_free(&json);
	buf_free(&b);
}

static void
put_gguf(const struct same_model *m, const struct gf_ternary *t)
{
	struct gm g = { .arch = "bitnet-b1.58", .m = *m, .ternary = t,
	    .dense = 30 };
	struct buf b = gm_file(&g);

	put_file("m.gguf", b.data, b.len);
	buf_free(&b);
}

/* Write what is at path as name, and open that. */
static void
convert(const char *path, const char *name, struct model *m)
{
	struct h1b_source s;
	struct import *im;
	char out[128];
	struct err e;

	path_of(name, out);
	ck_assert_msg(import_open(path, &im, &s, &e) == 0, "%s", e.text);
	ck_assert_msg(h1b_write(out, &s, true, &e) == 0, "%s", e.text);
	import_close(im);
	ck_assert_msg(model_open(out, false, m, &e) == 0, "%s", e.text);
}

/*
 * What is at path is the model m, with want's logits, given as it is, converted,
 * and converted again; and the three have one fingerprint.
 */
static void
check(const char *path, const struct same_model *m, const float *want)
{
	const size_t size = (size_t)SAME_TOKENS * SAME_VOCAB * sizeof(float);
	struct model direct, first, second;
	struct model *all[] = { &direct, &first, &second };
	char converted[128];
	struct err e;

	ck_assert_msg(model_open(path, false, &direct, &e) == 0, "%s: %s", path,
	    e.text);
	convert(path, "a.h1b", &first);
	path_of("a.h1b", converted);
	convert(converted, "b.h1b", &second);
	for (int i = 0; i < 3; i++) {
		float *got = same_logits(all[i]);

		same_check(all[i], m);
		ck_assert_mem_eq(got, want, size);
		ck_assert_str_eq(all[i]->fingerprint, direct.fingerprint);
		free(got);
		ck_assert_str_eq(all[i]->title, direct.title);
	}
	for (int i = 0; i < 3; i++)
		model_close(all[i]);
}

START_TEST(the_same_model_in_every_container_has_the_same_logits)
{
	struct same_model m = same_model("bitnet");
	struct hf_dir hf = { .m = &m, .kind = HF_DIR_MULTIPLY, .dtype = "BF16" };
	struct model base;
	char path[128];
	float *want;

	same_open(&m, &base);
	want = same_logits(&base);
	model_close(&base);

	put_old(&m);
	path_of("old.h1b", path);
	check(path, &m, want);
	path_of("m.gguf", path);
	for (int i = 0; i < 3; i++) {
		put_gguf(&m, &gf_ternaries[i]);
		check(path, &m, want);
	}
	hf_dir_open(&hf);
	hf_dir_config(&hf, "BitNetForCausalLM", "{\"quantization_config\":"
	    "{\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\","
	    "\"quantization_mode\":\"offline\"}}");
	hf_dir_weights(&hf, 1);
	check(hf.path, &m, want);
	snprintf(path, sizeof(path), "%s/model.safetensors", hf.path);
	check(path, &m, want);
	hf_dir_close(&hf);
	free(want);
}
END_TEST

START_TEST(a_container_is_told_by_its_content_and_not_by_its_name)
{
	struct same_model m = same_model("bitnet");
	char path[128], link[128];
	struct model model;
	struct err e;

	put_gguf(&m, &gf_ternaries[0]);
	path_of("m.gguf", path);
	path_of("a.h1b", link);
	ck_assert_int_eq(rename(path, link), 0);
	ck_assert_msg(model_open(link, false, &model, &e) == 0, "%s", e.text);
	ck_assert_str_eq(model.name, "a");
	model_close(&model);
	path_of("link.gguf", path);
	ck_assert_int_eq(symlink(link, path), 0);
	ck_assert_msg(model_open(path, false, &model, &e) == 0, "%s", e.text);
	ck_assert_str_eq(model.name, "link");
	model_close(&model);
}
END_TEST

static const struct {
	const char *bytes;
	size_t n;
	int code;
	const char *text;
	off_t size;		/* of the file, with zeros; 0: n */
} refused[] = {
	{ "", 0, ERR_BAD_FILE, "0 bytes, too short for a model", 0 },
	{ "GGUF", 4, ERR_BAD_FILE, "4 bytes, too short for a model", 0 },
	{ "PK\3\4zipzip", 10, ERR_BAD_FILE, "no .h1b, GGUF or safetensors file: "
	    "it begins with 50 4b 03 04", 0 },
	{ "\200\2}q\0pickle", 11, ERR_BAD_FILE, "it begins with 80 02 7d 71", 0 },
	{ "GGUF\1\0\0\0", 8, ERR_UNSUPPORTED, "", 0 },
	{ "GGUF\3\0\0\0", 8, ERR_BAD_FILE, "", 0 },
	{ "H1B\0\2\0\0\0", 8, ERR_UNSUPPORTED, "tie_embeddings is 0", 64 },
	{ "H1B\0\5\0\0\0", 8, ERR_UNSUPPORTED, "version 5", 64 },
	{ "H1B\0\7\0\0\0", 8, ERR_BAD_FILE, "too short for a model", 0 },
	{ "H1B\0\0\0\0\0", 8, ERR_BAD_FILE, "too short for a model", 0 },
	{ "\2\0\0\0\0\0\0\0{}", 10, ERR_NOT_FOUND, "config.json", 0 },
	{ "\3\0\0\0\0\0\0\0{}", 10, ERR_BAD_FILE, "it begins with 03 00 00 00", 0 },
	{ "\2\0\0\0\0\0\0\0[]", 10, ERR_BAD_FILE, "it begins with 02 00 00 00", 0 },
};

START_TEST(what_is_no_model_is_refused_in_a_sentence_with_its_name)
{
	struct h1b_source s;
	struct import *im;
	struct model m;
	struct err e = { 0 };
	char path[128];
	int rc;

	put_file("x", refused[_i].bytes, refused[_i].n);
	path_of("x", path);
	if (refused[_i].size > 0)
		ck_assert_int_eq(truncate(path, refused[_i].size), 0);
	rc = model_open(path, false, &m, &e);
	ck_assert_msg(rc == refused[_i].code, "%d: %s", rc, e.text);
	ck_assert_msg(strstr(e.text, refused[_i].text) != NULL, "%s", e.text);
	/* Of a checkpoint the directory is named. */
	ck_assert_msg(strstr(e.text, dir) != NULL, "%s", e.text);
	ck_assert_int_eq(import_open(path, &im, &s, &e), refused[_i].code);
}
END_TEST

static const struct {
	const char *path, *name;
} names[] = {
	{ "/nowhere/bitnet-2b4t.gguf", "bitnet-2b4t" },
	{ "model.h1b", "model" },
	{ "a.b.safetensors", "a.b" },
	{ ".h1b", ".h1b" },
	{ "x.bin", "x.bin" },
	{ "/tmp/", "tmp" },
	{ "/tmp/../tmp/.", "tmp" },
	{ "caf\xc3\xa9.gguf", "caf??" },
	{ "0123456789.gguf", "0123456" },
};

START_TEST(a_model_is_named_after_its_file_or_directory)
{
	char out[16];

	import_name(names[_i].path, out, _i == 8 ? 8 : sizeof(out));
	ck_assert_str_eq(out, names[_i].name);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *s = suite_create("import");
	TCase *t = tcase_create("import");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t,
	    the_same_model_in_every_container_has_the_same_logits);
	tcase_add_test(t, a_container_is_told_by_its_content_and_not_by_its_name);
	tcase_add_loop_test(t,
	    what_is_no_model_is_refused_in_a_sentence_with_its_name, 0,
	    COUNT(refused));
	tcase_add_loop_test(t, a_model_is_named_after_its_file_or_directory, 0,
	    COUNT(names));
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
