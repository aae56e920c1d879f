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

/* Parse s and check that the sentence holds text; NULL: that it is good. */
static void
refuses(const struct spec *s, const char *text, const char *what)
{
	struct model m;
	struct err e = { 0 };
	int rc = model_parse(s->bytes, s->n, "m.h1b", &m, &e);

	if (text == NULL) {
		ck_assert_msg(rc == 0, "%s: %s", what, e.text);
		model_close(&m);
		return;
	}
	if (rc == 0)
		model_close(&m);
	ck_assert_msg(rc == ERR_BAD_FILE, "%s: code %d %s", what, rc, e.text);
	ck_assert_msg(strstr(e.text, text) != NULL, "%s: '%s' lacks '%s'", what,
	    e.text, text);
}

enum { FILE_AT, ENTRY, DATA, CUT, GROW };

/*
 * at, width, value: what is written, into the file, into the directory entry of
 * section (name 0, type 56, crc 60, rows 64, columns 72, offset 80, size 88) or
 * into its data.  Sealed: with every checksum made right afterwards.
 */
static const struct {
	int where;
	const char *section;
	uint64_t at;
	int width;
	uint64_t value;
	bool sealed;
	const char *text;
} damaged[] = {
	{ FILE_AT, "", 0, 4, 0x46554747, true, "it begins with 47 47 55 46" },
	{ FILE_AT, "", 3, 1, 1, true, "no .h1b file" },
	{ FILE_AT, "", 4, 4, 1, true, "version 1 of .h1b is not read yet" },
	{ FILE_AT, "", 4, 4, 2, false, "version 2 of .h1b is not read yet" },
	{ FILE_AT, "", 4, 4, 5, true, "version 5 of .h1b is not read yet" },
	{ FILE_AT, "", 4, 4, 0, true, "version 0 of .h1b is not known" },
	{ FILE_AT, "", 4, 4, 7, true, "version 7 of .h1b is not known" },
	{ FILE_AT, "", 4, 4, 0xffffffff, true, "version -1 of .h1b is not known" },
	{ FILE_AT, "", 8, 8, 0, true, "expected 0 by its header" },
	{ FILE_AT, "", 8, 8, UINT64_MAX, true, "expected 18446744073709551615" },
	{ FILE_AT, "", 16, 4, 0, true, "header: size 0, expected 256" },
	{ FILE_AT, "", 20, 4, 0, true, "header: 0 sections, expected 44" },
	{ FILE_AT, "", 20, 4, 0xffffffff, true, "header: 4294967295 sections" },
	{ FILE_AT, "", 24, 4, 7, false, "header: checksum" },
	{ FILE_AT, "", 28, 4, 7, false, "header: checksum" },
	{ FILE_AT, "", 32, 4, 0, true, "header: vocab is 0, not in 1..1048576" },
	{ FILE_AT, "", 32, 4, 0x7fffffff, true, "vocab is 2147483647" },
	{ FILE_AT, "", 36, 4, 0xffffffff, true, "hidden is -1" },
	{ FILE_AT, "", 36, 4, 65537, true, "hidden is 65537" },
	{ FILE_AT, "", 40, 4, 513, true, "n_layers is 513, not in 1..512" },
	{ FILE_AT, "", 40, 4, 0, true, "n_layers is 0" },
	{ FILE_AT, "", 40, 4, 512, true, "sections, expected" },
	{ FILE_AT, "", 44, 4, 0, true, "n_heads is 0" },
	{ FILE_AT, "", 44, 4, 5, true, "n_heads is 5, no multiple of" },
	{ FILE_AT, "", 44, 4, 65536, true, "times head_dim 16 is more than" },
	{ FILE_AT, "", 48, 4, 0, true, "n_kv_heads is 0" },
	{ FILE_AT, "", 52, 4, 15, true, "head_dim is 15, not even" },
	{ FILE_AT, "", 52, 4, 258, true, "head_dim is 258, not in 2..256" },
	{ FILE_AT, "", 56, 4, 0x40000000, true, "ffn is 1073741824" },
	{ FILE_AT, "", 60, 4, 0, true, "n_ctx is 0" },
	{ FILE_AT, "", 64, 4, 0x7fc00000, true, "rope_theta is nan" },
	{ FILE_AT, "", 64, 4, 0, true, "rope_theta is 0" },
	{ FILE_AT, "", 68, 4, 0x7f800000, true, "norm_eps is inf" },
	{ FILE_AT, "", 68, 4, 0x80000000, true, "norm_eps is -0" },
	{ FILE_AT, "", 72, 4, 2, true, "act 2 is not known" },
	{ FILE_AT, "", 76, 4, 0x86, true, "flags 0x86, known are 0x7" },
	{ FILE_AT, "", 76, 4, 0x04, true, "sections, expected" },
	{ FILE_AT, "", 76, 4, 0x02, true, "head_type 0, expected 1..3" },
	{ FILE_AT, "", 80, 4, 260, true, "bos is 260, not in -1..259" },
	{ FILE_AT, "", 80, 4, 0xfffffffe, true, "bos is -2" },
	{ FILE_AT, "", 84, 4, 9, true, "n_eos is 9, not in 0..8" },
	{ FILE_AT, "", 84, 4, 1, true, "eos 1 is 257, past the last one" },
	{ FILE_AT, "", 88, 4, 4, true, "embed_type 4, not in 1..3" },
	{ FILE_AT, "", 88, 4, 1, true, "sections, expected" },
	{ FILE_AT, "", 92, 4, 1, true, "head_type 1, expected 0" },
	{ FILE_AT, "", 96, 4, 260, true, "eos 0 is 260, not in 0..259" },
	{ FILE_AT, "", 128, 1, 1, true, "header: byte 128 is 1, expected 0" },
	{ FILE_AT, "", 255, 1, 1, true, "header: byte 255 is 1, expected 0" },
	{ FILE_AT, "", 300, 1, 1, false, "directory: checksum" },
	{ ENTRY, "layers.0.q", 7, 2, 0x2e31, true,
	    "directory: section 'layers.1.q', expected 'layers.0.q'" },
	{ ENTRY, "layers.0.q", 9, 1, 'v', true, "expected 'layers.0.q'" },
	{ ENTRY, "norm", 0, 1, 0x1b, true, "section ' orm', expected 'norm'" },
	{ ENTRY, "norm", 55, 1, 'x', true, "expected 'norm'" },
	{ ENTRY, "layers.0.q", 56, 4, 2, true, "'layers.0.q': type 2, expected t2" },
	{ ENTRY, "norm", 56, 4, 99, true, "'norm': type 99, expected f32" },
	{ ENTRY, "layers.1.up", 64, 8, 0, true, "0 x 64, expected 96 x 64" },
	{ ENTRY, "layers.1.up", 64, 8, (uint64_t)1 << 58, true, "expected 96 x 64" },
	{ ENTRY, "layers.1.up", 72, 8, 65, true, "96 x 65, expected 96 x 64" },
	{ ENTRY, "tokenizer", 72, 8, 1, true, "'tokenizer': 1 x 1, expected" },
	{ ENTRY, "layers.0.k", 80, 8, 0, true, "'layers.0.k': at offset 0" },
	{ ENTRY, "layers.0.k", 80, 8, UINT64_MAX - 63, true, "'layers.0.k': at" },
	{ ENTRY, "layers.0.k", 88, 8, UINT64_MAX, true, "'layers.0.k': 18446744" },
	{ ENTRY, "layers.0.k", 88, 8, 64, true, "'layers.0.k': 64 bytes, expected" },
	{ ENTRY, "layers.0.k", 60, 4, 1, false, "directory: checksum" },
	{ DATA, "architecture", 0, 1, 'c', false, "'architecture': checksum" },
	{ DATA, "architecture", 0, 1, '\n', true, "byte 0a, expected printable" },
	{ DATA, "name", 0, 1, 0xc3, true, "section 'name': byte c3, expected" },
	{ DATA, "chat_template", 5, 1, 'c', false, "'chat_template': checksum" },
	{ DATA, "tokenizer", 9, 1, 0xff, false, "'tokenizer': checksum" },
	{ DATA, "embed", 3, 1, 0x80, true, "section 'embed': a value of -128" },
	{ DATA, "embed", 3, 1, 1, false, "section 'embed': checksum" },
	{ DATA, "embed.scale", 8, 4, 0x7f800000, true, "'embed.scale': a value that" },
	{ DATA, "embed.scale", 8, 4, 0xbf800000, true, "'embed.scale': a negative" },
	{ DATA, "norm", 0, 4, 0xffc00000, true, "'norm': a value that is not finite" },
	{ DATA, "norm", 252, 4, 0x7f800001, true, "'norm': a value that is not" },
	{ DATA, "layers.1.down", 5, 1, 0x5f, true, "'layers.1.down': a weight" },
	{ DATA, "layers.1.down", 5, 1, 0x00, false, "'layers.1.down': checksum" },
	{ DATA, "layers.1.down", 63, 1, 0x54, true, NULL },
	{ DATA, "layers.1.down", 63, 1, 0x51, true, "row 0 is not padded with zero" },
	{ DATA, "layers.1.down", 4095, 1, 0x15, true, "row 63 is not padded" },
	{ DATA, "layers.0.q.scale", 0, 4, 0x80000001, true, "q.scale': a negative" },
	{ DATA, "architecture", 12, 1, 1, true, "after architecture: 1, expected 0" },
	{ GROW, "", 0, 1, 0, true, "bytes, expected" },
	{ GROW, "", 8, 64, 0, true, "64 bytes after the last section" },
	{ CUT, "", 0, 0, 0, false, "0 bytes, too short for a model" },
	{ CUT, "", 0, 4, 0, false, "4 bytes, too short for a model" },
	{ CUT, "", 0, 255, 0, false, "255 bytes, too short for a model" },
	{ CUT, "", 0, 256, 0, false, "256 bytes, expected" },
	{ CUT, "", 8, 256, 0, true, "directory: 4224 bytes at offset 256, but" },
	{ CUT, "", 8, 4480, 0, true, "section 'architecture': 12 bytes at offset" },
	{ CUT, "", 8, 20000, 0, true, "but the file ends at 20000" },
};

START_TEST(a_damaged_file_is_refused_in_a_sentence)
{
	struct spec s = spec_load(path);
	uint8_t *p = s.bytes;
	int where = damaged[_i].where;

	if (where == CUT || where == GROW) {
		size_t n = where == GROW ? s.n + (size_t)damaged[_i].width :
		    (size_t)damaged[_i].width;

		if (where == GROW)
			memset(p + s.n, 0, n - s.n);
		s.n = n;
		if (damaged[_i].at == 8)
			spec_put(p + 8, 8, n);
	} else {
		p += where == ENTRY ?
		    spec_entry(&s, damaged[_i].section) - s.bytes :
		    where == DATA ?
		    spec_data(&s, damaged[_i].section) - s.bytes : 0;
		spec_put(p + damaged[_i].at, damaged[_i].width,
		    damaged[_i].value);
	}
	if (damaged[_i].sealed)
		spec_seal(&s);
	refuses(&s, damaged[_i].text, "row of the table");
	free(s.bytes);
}
END_TEST

START_TEST(no_prefix_is_a_model)
{
	struct spec s = spec_load(path);
	size_t whole = s.n;

	refuses(&s, NULL, "the whole");
	for (s.n = 0; s.n < whole; s.n += s.n < 4480 ? 1 : 61)
		refuses(&s, "bytes", "a prefix");
	/* With a header that agrees, the directory has the last word. */
	for (s.n = 256; s.n < whole; s.n += 64) {
		spec_put(s.bytes + 8, 8, s.n);
		spec_put(s.bytes + 28, 4, 0);
		spec_put(s.bytes + 28, 4, spec_crc(s.bytes, 256));
		refuses(&s, "but the file ends at", "a sealed prefix");
	}
	free(s.bytes);
}
END_TEST

START_TEST(any_flipped_bit_is_refused)
{
	struct model_config c = { .vocab = 5, .hidden = 4, .n_layers = 1,
	    .n_heads = 1, .n_kv_heads = 1, .head_dim = 2, .ffn = 3, .n_ctx = 1,
	    .rope_theta = 1, .norm_eps = 1e-5f, .sub_norms = true, .bos = -1 };
	struct spec s;
	struct err e;

	ck_assert_msg(model_write_random(path, &c, 1, &e) == 0, "%s", e.text);
	s = spec_load(path);
	for (size_t i = 0; i < s.n * 8; i++) {
		s.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		refuses(&s, "", "a flipped bit");
		s.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	refuses(&s, NULL, "mended again");
	free(s.bytes);
}
END_TEST

START_TEST(a_bit_flip_in_any_section_of_the_demo_is_named)
{
	struct spec s = spec_load(DEMO);

	for (uint32_t i = 0; i < spec_n_sections(&s); i++) {
		const uint8_t *en = spec_entry_at(&s, i);
		uint64_t size = spec_get(en + 88, 8);
		uint8_t *p = s.bytes + spec_get(en + 80, 8);
		char text[80];

		snprintf(text, sizeof(text), "section '%.55s'", (char *)en);
		p[(size_t)i * 7919 % size] ^= (uint8_t)(1 << i % 8);
		refuses(&s, text, text);
		p[(size_t)i * 7919 % size] ^= (uint8_t)(1 << i % 8);
	}
	free(s.bytes);
}
END_TEST

START_TEST(what_is_no_regular_file_is_refused)
{
	char other[80];
	struct model m;
	struct err e;

	ck_assert_int_eq(model_open(dir, false, &m, &e), ERR_BAD_FILE);
	ck_assert_ptr_nonnull(strstr(e.text, "not a regular file"));
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
	tcase_add_loop_test(t, a_damaged_file_is_refused_in_a_sentence, 0,
	    (int)(sizeof(damaged) / sizeof(damaged[0])));
	tcase_add_test(t, no_prefix_is_a_model);
	tcase_add_test(t, any_flipped_bit_is_refused);
	tcase_add_test(t, a_bit_flip_in_any_section_of_the_demo_is_named);
	tcase_add_test(t, what_is_no_regular_file_is_refused);
	tcase_add_test(t, the_fingerprint_is_of_the_weights_and_not_of_the_names);
	tcase_add_test(t, writing_leaves_an_existing_file_alone);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
