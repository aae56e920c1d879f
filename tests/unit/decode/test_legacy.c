/*
 * One small model as .h1b of versions 1 to 4, written from the table of
 * TERNARY 3.1: the same weights, factors and logits as from version 6.
 */
#include <stdlib.h>
#include <unistd.h>

#include "model/legacy.h"
#include "same_source.h"

static const int32_t header_good[] = { 0, 256, 512, 2, 4, 2, SAME_VOCAB, 256,
	1, 0 };
static char h1b[80], htok[80];

static void
put_i32(struct buf *b, int32_t v)
{
	buf_add(b, &v, 4);
}

static void
put_f32(struct buf *b, float v)
{
	buf_add(b, &v, 4);
}

/* Two bits, w + 1, four in a byte from the low end. */
static void
row_2bit(struct buf *b, const int *w, int32_t n)
{
	for (int32_t i = 0; i < n; i += 4) {
		unsigned v = 0;

		for (int32_t j = 0; j < 4 && i + j < n; j++)
			v += (unsigned)(w[i + j] + 1) << 2 * j;
		buf_add(b, &(uint8_t){ (uint8_t)v }, 1);
	}
}

/* Five bits for four weights: where the zero is, then the signs of the rest. */
static void
row_sherry(struct buf *b, const int *w, int32_t n)
{
	uint64_t bits = 0;

	for (int32_t i = 0; i < n; i += 4) {
		unsigned zero = 0, v, at = 2;

		while (w[i + (int32_t)zero] != 0)
			zero++;
		v = zero;
		for (unsigned j = 0; j < 4; j++)
			if (j != zero)
				v |= (w[i + (int32_t)j] > 0 ? 1u : 0u) << at++;
		bits |= (uint64_t)v << 5 * (i / 4 % 8);
		if (i / 4 % 8 == 7) {
			buf_add(b, &bits, 5);
			bits = 0;
		}
	}
}

/* Twenty weights in four bytes, each a number of base 3. */
static void
row_base3(struct buf *b, const int *w, int32_t n)
{
	static const int power[] = { 1, 3, 9, 27, 81 };

	for (int32_t i = 0; i < (n + 19) / 20 * 20; i += 5) {
		int v = 0;

		for (int32_t j = 0; j < 5; j++)
			v += power[j] * (i + j < n ? w[i + j] + 1 : 1);
		buf_add(b, &(uint8_t){ (uint8_t)v }, 1);
	}
}

static void
put_matrix(struct buf *b, const struct same_model *m, int32_t version,
    enum h1b_part part, int32_t layer)
{
	int32_t rows = same_rows(m, part), cols = same_cols(m, part);
	int w[1024];

	ck_assert_int_le(cols, 1024);
	for (int32_t o = 0; o < rows; o++) {
		for (int32_t i = 0; i < cols; i++)
			w[i] = same_weight(m, part, layer, o, i);
		if (version == 3)
			row_sherry(b, w, cols);
		else if (version == 4)
			row_base3(b, w, cols);
		else
			row_2bit(b, w, cols);
	}
	for (int32_t o = 0; o < rows; o++)
		put_f32(b, same_scale(m, part, layer, o, 0));
}

static void
put_vector(struct buf *b, const struct same_model *m, enum h1b_part part,
    int32_t layer)
{
	for (int32_t i = 0; i < same_cols(m, part); i++)
		put_f32(b, same_norm(m, part, layer, i));
}

static struct buf
file_of(const struct same_model *m, int32_t version)
{
	static const enum h1b_part order[] = { H1B_Q, H1B_K, H1B_V, H1B_O,
		H1B_GATE, H1B_UP, H1B_DOWN };
	const struct model_config *c = &m->config;
	struct buf b = { 0 };

	buf_add(&b, "H1B", 4);
	put_i32(&b, version);
	put_i32(&b, c->hidden);
	put_i32(&b, c->ffn);
	for (size_t i = 3; i < 10; i++)
		put_i32(&b, i == 4 ? c->n_heads : i == 5 ? c->n_kv_heads :
		    header_good[i]);
	if (version >= 2) {
		put_f32(&b, c->rope_theta);
		put_f32(&b, c->norm_eps);
	}
	for (int32_t o = 0; o < c->vocab; o++)
		for (int32_t i = 0; i < c->hidden; i++)
			put_f32(&b, same_dense(m, H1B_EMBED, o, i));
	put_vector(&b, m, H1B_NORM, -1);
	for (int32_t k = 0; k < c->n_layers; k++) {
		put_vector(&b, m, H1B_ATTN_NORM, k);
		put_vector(&b, m, H1B_FFN_NORM, k);
		/* Filling: the same four times, and half of the other twice. */
		for (int i = 0; i < 4; i++)
			put_vector(&b, m, H1B_ATTN_SUB_NORM, k);
		for (int32_t i = 0; i < 2 * c->hidden; i++)
			put_f32(&b, -7);
		put_vector(&b, m, H1B_FFN_SUB_NORM, k);
		for (size_t i = 0; i < 7; i++)
			put_matrix(&b, m, version, order[i], k);
	}
	ck_assert(!b.failed);
	return b;
}

/* The first kind of .htok, of the tokens of same_model.h. */
static void
write_htok(void)
{
	FILE *fp = fopen(htok, "wb");
	uint32_t head[] = { SAME_VOCAB, SAME_MERGES, SAME_BOS, SAME_EOS };
	char text[16], a, b;

	ck_assert_ptr_nonnull(fp);
	fwrite("HTOK", 1, 4, fp);
	fwrite(head, 4, 4, fp);
	for (int32_t id = 0; id < SAME_VOCAB; id++) {
		uint16_t n;

		same_token_text(id, text);
		n = (uint16_t)strlen(text);
		fwrite(&n, 2, 1, fp);
		fwrite(text, 1, n, fp);
	}
	for (uint32_t i = 0; i < SAME_MERGES; i++) {
		same_merge((int32_t)i, &a, &b);
		head[0] = (uint8_t)a;
		head[1] = (uint8_t)b;
		head[2] = 256 + i;
		fwrite(head, 4, 3, fp);
	}
	ck_assert_int_eq(fclose(fp), 0);
}

static void
write_file(const char *path, const struct buf *b)
{
	FILE *fp = fopen(path, "wb");

	ck_assert_ptr_nonnull(fp);
	ck_assert_uint_eq(fwrite(b->data, 1, b->len, fp), b->len);
	ck_assert_int_eq(fclose(fp), 0);
}

static void
setup(void)
{
	snprintf(h1b, sizeof(h1b), "/tmp/test_legacy-%d.h1b", (int)getpid());
	snprintf(htok, sizeof(htok), "/tmp/test_legacy-%d.htok", (int)getpid());
}

static void
teardown(void)
{
	unlink(h1b);
	unlink(htok);
}

static struct same_model
model_of(int32_t version)
{
	struct same_model m = same_model("bitnet");

	m.scales = SAME_ROW;
	m.config.n_layers = 2;
	if (version == 3)
		m.zeros = SAME_ONE_OF_4;
	if (version == 1)	/* it cannot say */
		m.config.rope_theta = 500000;
	return m;
}

START_TEST(every_version_is_the_same_model)
{
	struct same_model m = model_of(_i);
	struct buf b = file_of(&m, _i);
	struct model opened;
	struct err e;

	write_file(h1b, &b);
	write_htok();
	same_compare(h1b, &m);
	ck_assert_msg(model_open(h1b, false, &opened, &e) == 0, "%s", e.text);
	ck_assert_int_eq(opened.config.bos, SAME_BOS);
	ck_assert_int_eq(opened.config.n_eos, 1);
	ck_assert_int_eq(opened.config.eos[0], SAME_EOS);
	ck_assert(opened.config.tied);
	ck_assert_int_eq((int)opened.embed.type, DENSE_BF16);
	model_close(&opened);
	buf_free(&b);
}
END_TEST

START_TEST(an_embedding_that_bf16_cannot_hold_stays_f32)
{
	struct same_model m = model_of(2);
	struct buf b = file_of(&m, 2);
	const float v = 1.00001f;
	struct legacy *l;
	struct h1b_source s;
	struct err e;

	memcpy(b.data + 52 + 400, &v, 4);
	ck_assert_msg(legacy_parse(b.data, b.len, "x", &l, &e) == 0, "%s",
	    e.text);
	legacy_source(l, &s);
	ck_assert_int_eq((int)s.embed_type, DENSE_F32);
	legacy_close(l);
	buf_free(&b);
}
END_TEST

/* Columns that fill no byte: 2 heads of 11. */
START_TEST(rows_may_end_within_a_byte)
{
	struct same_model m = model_of(2), *p = &m;
	uint8_t codes[32];
	float scale;

	m.config.hidden = 22;
	m.config.ffn = 27;
	m.config.n_heads = m.config.n_kv_heads = 1;
	m.config.head_dim = 22;
	for (int32_t version = 2; version <= 4; version += 2) {
		struct buf b = file_of(&m, version);
		struct h1b_source s;
		struct legacy *l;
		struct err e;

		ck_assert_msg(legacy_parse(b.data, b.len, "x", &l, &e) == 0,
		    "%s", e.text);
		legacy_source(l, &s);
		for (int32_t o = 0; o < 22; o++) {
			ck_assert_int_eq(s.codes(l, H1B_DOWN, 1, o, codes,
			    &scale, &e), 0);
			ck_assert_float_eq(scale, same_scale(p, H1B_DOWN, 1, o,
			    0));
			for (int32_t i = 0; i < 27; i++)
				ck_assert_int_eq(codes[i] - 1, same_weight(p,
				    H1B_DOWN, 1, o, i));
		}
		legacy_close(l);
		buf_free(&b);
	}
}
END_TEST

/* One number of the header, or the size, is changed. */
static const struct {
	int32_t version;
	size_t at;		/* 0: the size, by `value` bytes */
	int32_t value;
	int code;
	const char *text;
} refused[] = {
	{ 2, 0, -1, ERR_BAD_FILE, "but a model of version 2 with these sizes" },
	{ 2, 0, 4, ERR_BAD_FILE, "cut off, or of another layout" },
	{ 4, 0, -4, ERR_BAD_FILE, "a model of version 4" },
	{ 1, 0, 8, ERR_BAD_FILE, "a model of version 1" },
	{ 2, 4, 1, ERR_BAD_FILE, "another layout" },
	{ 2, 4, 3, ERR_BAD_FILE, "another layout" },
	{ 2, 4, 4, ERR_BAD_FILE, "another layout" },
	{ 2, 4, 5, ERR_UNSUPPORTED, "version 5, Hadamard-rotated int8" },
	{ 2, 4, 0, ERR_BAD_FILE, "version 0, expected 1..4" },
	{ 2, 4, -1, ERR_BAD_FILE, "version -1, expected" },
	{ 2, 4, 7, ERR_BAD_FILE, "version 7, expected" },
	{ 2, 0x28, 0x1, ERR_UNSUPPORTED, "flag 0x1, Hadamard-rotated weights" },
	{ 3, 0x28, 0x2, ERR_UNSUPPORTED, "flag 0x2, Sherry with fp16" },
	{ 2, 0x28, 0x4, ERR_UNSUPPORTED, "flag 0x4, Bonsai Q1" },
	{ 2, 0x28, 0x8, ERR_UNSUPPORTED, "flag 0x8, Bonsai TQ2" },
	{ 2, 0x28, 0x10, ERR_UNSUPPORTED, "flag 0x10, block-scaled" },
	{ 2, 0x28, 0x20, ERR_BAD_FILE, "flags 0x20 are not known" },
	{ 2, 8, 0, ERR_BAD_FILE, "hidden is 0" },
	{ 2, 8, 254, ERR_BAD_FILE, "hidden is 254, no multiple of heads 4" },
	{ 2, 8, 1 << 30, ERR_BAD_FILE, "hidden is 1073741824, not in" },
	{ 2, 12, -5, ERR_BAD_FILE, "ffn is -5" },
	{ 2, 16, 0x7fffffff, ERR_BAD_FILE, "n_layers is 2147483647" },
	{ 2, 16, 3, ERR_BAD_FILE, "another layout" },
	{ 2, 20, 0, ERR_BAD_FILE, "multiple of heads 0" },
	{ 2, 20, 256, ERR_BAD_FILE, "head_dim is 1" },
	{ 2, 24, 3, ERR_BAD_FILE, "no multiple of n_kv_heads 3" },
	{ 2, 24, 0, ERR_BAD_FILE, "n_kv_heads is 0" },
	{ 2, 28, 0, ERR_BAD_FILE, "vocab is 0" },
	{ 2, 28, SAME_VOCAB + 1, ERR_BAD_FILE, "another layout" },
	{ 2, 32, 0, ERR_BAD_FILE, "n_ctx is 0" },
	{ 2, 36, 0, ERR_UNSUPPORTED, "tie_embeddings is 0, but no version" },
	{ 2, 36, 2, ERR_BAD_FILE, "tie_embeddings is 2" },
	{ 2, 44, 0x7fc00000, ERR_BAD_FILE, "rope_theta is nan" },
	{ 2, 48, 0x7f800000, ERR_BAD_FILE, "norm_eps is inf" },
	{ 3, 12, 520, ERR_BAD_FILE, "a matrix of 520 columns, in version 3" },
};

START_TEST(what_is_not_understood_is_refused_by_name)
{
	struct same_model m = model_of(refused[_i].version);
	struct buf b = file_of(&m, refused[_i].version);
	size_t n = b.len;
	struct legacy *l;
	struct err e = { 0 };

	if (refused[_i].at > 0)
		memcpy(b.data + refused[_i].at, &refused[_i].value, 4);
	else {
		buf_add(&b, "--------", 8);
		n += (size_t)refused[_i].value;
	}
	ck_assert_msg(legacy_parse(b.data, n, "x.h1b", &l, &e) ==
	    refused[_i].code, "%d %s", e.code, e.text);
	ck_assert_msg(strstr(e.text, refused[_i].text) != NULL &&
	    strncmp(e.text, "x.h1b: ", 7) == 0, "%s", e.text);
	buf_free(&b);
}
END_TEST

START_TEST(a_header_that_ends_early_is_refused)
{
	struct same_model m = model_of(2);
	struct buf b = file_of(&m, 2);
	struct legacy *l;
	struct err e;

	for (size_t n = 0; n < 60; n++) {
		char *exact = malloc(n + 1);

		memcpy(exact, b.data, n);
		ck_assert_int_eq(legacy_parse(exact, n, "x", &l, &e),
		    ERR_BAD_FILE);
		free(exact);
	}
	buf_free(&b);
}
END_TEST

/* The first byte of q of layer 0 becomes one that is no weight. */
static const struct {
	int32_t version;
	uint8_t byte;
	const char *text;
} bytes[] = {
	{ 2, 0xff, "layer 0, q, row 0, column 0: byte 0xff" },
	{ 2, 0xd5, "layer 0, q, row 0, column 3: byte 0xd5" },
	{ 1, 0x35, "column 2: byte 0x35" },
	{ 4, 243, "layer 0, q, row 0, column 0: byte 0xf3" },
};

START_TEST(a_byte_that_is_no_weight_is_refused_where_it_is)
{
	struct same_model m = model_of(bytes[_i].version);
	struct buf b = file_of(&m, bytes[_i].version);
	size_t at = (bytes[_i].version > 1 ? 52 : 44) +
	    ((size_t)SAME_VOCAB + 1 + 8) * 1024 + 2048;
	struct model opened;
	struct err e = { 0 };

	b.data[at] = (char)bytes[_i].byte;
	write_file(h1b, &b);
	write_htok();
	ck_assert_int_eq(model_open(h1b, false, &opened, &e), ERR_BAD_FILE);
	ck_assert_msg(strstr(e.text, bytes[_i].text) != NULL, "%s", e.text);
	buf_free(&b);
}
END_TEST

START_TEST(a_file_without_a_tokenizer_beside_it_is_refused)
{
	struct same_model m = model_of(2);
	struct buf b = file_of(&m, 2);
	struct model opened;
	struct err e;

	write_file(h1b, &b);
	ck_assert_int_eq(model_open(h1b, false, &opened, &e), ERR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(e.text, "neither a .htok"));
	buf_free(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("legacy");
	TCase *t = tcase_create("legacy");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, every_version_is_the_same_model, 1, 5);
	tcase_add_test(t, an_embedding_that_bf16_cannot_hold_stays_f32);
	tcase_add_test(t, rows_may_end_within_a_byte);
	tcase_add_loop_test(t, what_is_not_understood_is_refused_by_name, 0,
	    (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(t, a_header_that_ends_early_is_refused);
	tcase_add_loop_test(t, a_byte_that_is_no_weight_is_refused_where_it_is,
	    0, (int)(sizeof(bytes) / sizeof(bytes[0])));
	tcase_add_test(t, a_file_without_a_tokenizer_beside_it_is_refused);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
