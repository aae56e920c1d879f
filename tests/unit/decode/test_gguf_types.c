#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "gguf_file.h"
#include "model/gguf_types.h"

enum { BLOCKS = 24 };

static const struct gguf_type *
reader_of(const struct gf_ternary *t)
{
	return t->id == 42 && t->block == 128 ? gguf_type_q2_0_128() :
	    gguf_type(t->id);
}

START_TEST(ternary_blocks_are_read_as_they_were_written)
{
	const struct gf_ternary *type = &gf_ternaries[_i];
	const struct gguf_type *reader = reader_of(type);
	static int t[GGUF_BLOCK_MAX * BLOCKS];
	static uint8_t codes[GGUF_BLOCK_MAX * BLOCKS];
	int n = type->block * BLOCKS;
	float scales[BLOCKS];
	struct buf b = { 0 };

	ck_assert_str_eq(reader->name, type->id == 42 ? "Q2_0" : type->name);
	ck_assert_int_eq(reader->block, type->block);
	ck_assert_int_eq(reader->bytes, type->bytes);
	srandom(1);
	for (int i = 0; i < n; i++)
		t[i] = type->id == 41 ? (int)(random() & 2) :
		    (int)(random() % 3);
	for (int k = 0; k < BLOCKS; k++)
		gf_put_ternary(&b, type, t + k * type->block,
		    (float)(k + 1) / 64);
	ck_assert_uint_eq(b.len, (size_t)type->bytes * BLOCKS);
	reader->codes((const uint8_t *)b.data, BLOCKS, codes);
	for (int i = 0; i < n; i++)
		ck_assert_msg(codes[i] == t[i], "%s: element %d is %d, not %d",
		    type->name, i, codes[i], t[i]);
	if (type->scale_at >= 0) {
		gguf_type_scales(reader, (const uint8_t *)b.data, BLOCKS,
		    scales);
		for (int k = 0; k < BLOCKS; k++)
			ck_assert_float_eq(scales[k], (float)(k + 1) / 64);
	}
	buf_free(&b);
}
END_TEST

/* A byte at a time: 243 are five trits, 13 are not; 3 of four codes are. */
START_TEST(what_is_no_ternary_weight_is_marked)
{
	uint8_t block[128], codes[GGUF_BLOCK_MAX];
	int n_bad = 0;

	for (int v = 0; v < 256; v++) {
		int any = 0;

		memset(block, 0, sizeof(block));
		block[7] = (uint8_t)v;
		gguf_type(34)->codes(block, 1, codes);
		for (int n = 0; n < 5; n++)
			any |= codes[n * 32 + 7] == GGUF_TERNARY_BAD;
		n_bad += any;
		gguf_type(35)->codes(block, 1, codes);
		for (int n = 0; n < 4; n++)
			ck_assert_int_eq(codes[n * 32 + 7], v >> 2 * n & 3);
		gguf_type(36)->codes(block, 1, codes);
		for (int n = 0; n < 4; n++)
			ck_assert_int_eq(codes[n * 32 + 7], v >> (6 - 2 * n) & 3);
	}
	ck_assert_int_eq(n_bad, 13);
}
END_TEST

START_TEST(q8_0_is_exact)
{
	struct buf b = { 0 };
	int q[32 * BLOCKS];
	int8_t ints[32 * BLOCKS];
	float scales[BLOCKS], out[32 * BLOCKS];

	srandom(2);
	for (int i = 0; i < 32 * BLOCKS; i++)
		q[i] = (int)(random() % 255) - 127;
	for (int k = 0; k < BLOCKS; k++)
		gf_put_q8_0(&b, q + 32 * k, (float)(k - 7) / 256);
	gguf_type(8)->ints((const uint8_t *)b.data, BLOCKS, ints, scales);
	gguf_type(8)->floats((const uint8_t *)b.data, BLOCKS, out);
	for (int i = 0; i < 32 * BLOCKS; i++) {
		ck_assert_int_eq(ints[i], q[i]);
		ck_assert_float_eq(scales[i / 32], (float)(i / 32 - 7) / 256);
		ck_assert_float_eq(out[i], (float)(i / 32 - 7) / 256 *
		    (float)q[i]);
	}
	buf_free(&b);
}
END_TEST

START_TEST(q6_k_is_exact)
{
	struct buf b = { 0 };
	int q[256], sc[16];
	int8_t ints[256];
	float scales[16], out[256];

	srandom(3);
	for (int k = 0; k < BLOCKS; k++) {
		for (int i = 0; i < 256; i++)
			q[i] = (int)(random() % 64) - 32;
		for (int i = 0; i < 16; i++)
			sc[i] = (int)(random() % 256) - 128;
		buf_clear(&b);
		gf_put_q6_k(&b, q, sc, 0.0009765625f * 1.5f);
		gguf_type(14)->ints((const uint8_t *)b.data, 1, ints, scales);
		gguf_type(14)->floats((const uint8_t *)b.data, 1, out);
		for (int i = 0; i < 256; i++) {
			float scale = 0.0009765625f * 1.5f * (float)sc[i / 16];

			ck_assert_int_eq(ints[i], q[i]);
			ck_assert_float_eq(scales[i / 16], scale);
			ck_assert_float_eq(out[i], scale * (float)q[i]);
		}
	}
	buf_free(&b);
}
END_TEST

START_TEST(q4_k_is_read_as_it_was_written)
{
	struct buf b = { 0 };
	int q[256], sc[8], off[8];
	float out[256];

	srandom(4);
	for (int k = 0; k < BLOCKS; k++) {
		for (int i = 0; i < 256; i++)
			q[i] = (int)(random() % 16);
		for (int i = 0; i < 8; i++) {
			sc[i] = (int)(random() % 64);
			off[i] = (int)(random() % 64);
		}
		buf_clear(&b);
		gf_put_q4_k(&b, q, sc, off, 0.125f, 0.0625f);
		gguf_type(12)->floats((const uint8_t *)b.data, 1, out);
		for (int i = 0; i < 256; i++)
			ck_assert_float_eq(out[i], 0.125f * (float)sc[i / 32] *
			    (float)q[i] - 0.0625f * (float)off[i / 32]);
	}
	buf_free(&b);
}
END_TEST

START_TEST(sizes_that_64_bits_do_not_hold_are_told)
{
	uint64_t n;

	ck_assert(gguf_type_size(gguf_type(36), 3, 256, &n));
	ck_assert_uint_eq(n, 3 * 64 + 32);
	ck_assert(gguf_type_size(gguf_type(0), 1, 10, &n));
	ck_assert_uint_eq(n, 40);
	ck_assert(!gguf_type_size(gguf_type(0), (uint64_t)1 << 32,
	    (uint64_t)1 << 32, &n));
	ck_assert(!gguf_type_size(gguf_type(0), 1, (uint64_t)1 << 63, &n));
}
END_TEST

START_TEST(types_have_the_names_that_people_know)
{
	ck_assert_str_eq(gguf_type(2)->name, "Q4_0");
	ck_assert_str_eq(gguf_type(12)->name, "Q4_K");
	ck_assert_str_eq(gguf_type(38)->name, "TL1");
	ck_assert_str_eq(gguf_type(135)->name, "IQ2_BN");
	ck_assert_int_eq(gguf_type(2)->use, GGUF_NO_USE);
	ck_assert_ptr_null(gguf_type(1000));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gguf_types");
	TCase *t = tcase_create("gguf_types");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, ternary_blocks_are_read_as_they_were_written, 0,
	    GF_TERNARIES);
	tcase_add_test(t, what_is_no_ternary_weight_is_marked);
	tcase_add_test(t, q8_0_is_exact);
	tcase_add_test(t, q6_k_is_exact);
	tcase_add_test(t, q4_k_is_read_as_it_was_written);
	tcase_add_test(t, sizes_that_64_bits_do_not_hold_are_told);
	tcase_add_test(t, types_have_the_names_that_people_know);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
