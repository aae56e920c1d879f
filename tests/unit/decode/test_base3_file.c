/*
 * Files whose ternary matrices are in layout B3: the same model as in T2, from there
 * and back; and nothing in them that is wrong is believed.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/h1b.h"
#include "model/model_source.h"
#include "model_file.h"
#include "spec_h1b.h"

/* A model of odd sizes, some with groups; seven blocks in a row of down. */
static void
write_model(const char *path, enum ternary_form body, int32_t group)
{
	struct synth_arch a;
	struct err e;

	ck_assert_int_eq(synth_find("tiny", &a, &e), 0);
	a.config.ffn = 1700;
	a.config.hidden = 96;
	a.group = group;
	a.body = body;
	ck_assert_msg(synth_write_arch(path, &a, 3, NULL, &e) == 0, "%s", e.text);
}

static char other_path[80];

static void
setup(void)
{
	model_file_setup();
	snprintf(other_path, sizeof(other_path), "%s/other.h1b", model_dir);
}

static void
teardown(void)
{
	unlink(other_path);
	model_file_teardown();
}

/* As docs/model-format.md says it. */
static int
spec_weight_b3(const struct spec *s, const char *name, uint64_t row, uint64_t k)
{
	uint64_t cols = spec_get(spec_entry(s, name) + 72, 8);
	uint64_t n = (cols + 255) / 256, block = k / 256;
	uint64_t row_bytes = (n / 5 * 4 + n % 5) * 64;
	uint64_t group = block / 5 * 4 + (block % 5 < 4 ? block % 5 :
	    k / 64 % 4);
	unsigned digit = block % 5 < 4 ? 1 + k / 64 % 4 : 0;
	unsigned v = spec_data(s, name)[row * row_bytes + group * 64 + k % 64] *
	    243U / 256;

	for (unsigned d = 4; d > digit; d--)
		v /= 3;
	return (int)(v % 3) - 1;
}

START_TEST(a_file_has_the_weights_of_the_same_model_in_two_bits)
{
	const char *names[] = { "layers.0.q", "layers.1.gate", "layers.1.down" };
	struct spec t2, b3;

	write_model(model_path, TERNARY_T2, _i);
	write_model(other_path, TERNARY_B3, _i);
	t2 = spec_load(model_path);
	b3 = spec_load(other_path);
	ck_assert_uint_eq(spec_get(b3.bytes + 164, 4), 9);
	ck_assert_uint_eq(spec_get(t2.bytes + 164, 4), 0);
	for (int m = 0; m < 3; m++) {
		const uint8_t *en = spec_entry(&b3, names[m]);
		uint64_t rows = spec_get(en + 64, 8), cols = spec_get(en + 72, 8);

		ck_assert_uint_eq(spec_get(en + 56, 4), 9);
		for (uint64_t o = 0; o < rows; o += 5)
			for (uint64_t k = 0; k < cols; k++)
				ck_assert_int_eq(spec_weight_b3(&b3, names[m], o,
				    k), spec_weight(&t2, names[m], o, k));
	}
	free(t2.bytes);
	free(b3.bytes);
}
END_TEST

/* The model at from, written once more. */
static void
rewrite(const char *from, const char *to, enum ternary_form body)
{
	struct h1b_source s;
	struct model m;
	struct err e;

	ck_assert_msg(model_open(from, false, &m, &e) == 0, "%s", e.text);
	model_source(&m, &s);
	s.body = body;
	s.name = "random";
	s.origin = "random weights";
	ck_assert_msg(h1b_write(to, &s, true, &e) == 0, "%s", e.text);
	model_close(&m);
}

START_TEST(from_one_form_to_the_other_and_back_are_the_same_bytes)
{
	struct spec want, got;

	write_model(model_path, TERNARY_T2, _i);
	write_model(other_path, TERNARY_B3, _i);
	want = spec_load(other_path);
	rewrite(model_path, other_path, TERNARY_B3);
	got = spec_load(other_path);
	ck_assert_uint_eq(got.n, want.n);
	ck_assert_mem_eq(got.bytes, want.bytes, want.n);
	free(want.bytes);
	free(got.bytes);
	want = spec_load(model_path);
	rewrite(other_path, model_path, TERNARY_T2);
	got = spec_load(model_path);
	ck_assert_uint_eq(got.n, want.n);
	ck_assert_mem_eq(got.bytes, want.bytes, want.n);
	free(want.bytes);
	free(got.bytes);
}
END_TEST

/* Parse s and check that the sentence holds text; NULL: that it is good. */
static void
refuses(const struct spec *s, const char *text)
{
	struct err e = { 0 };
	struct model m;
	int rc = model_parse(s->bytes, s->n, "m.h1b", &m, &e);

	if (rc == 0)
		model_close(&m);
	ck_assert_int_eq(rc, text == NULL ? 0 : ERR_BAD_FILE);
	ck_assert_msg(text == NULL || strstr(e.text, text) != NULL,
	    "'%s' lacks '%s'", e.text, text);
}

/* Into the data of down of layer 1: 96 rows of 6 groups; a span, then two blocks,
 * the second of which ends at byte 36 of its parts. */
static const struct {
	uint64_t at;
	uint8_t value;
	const char *text;
} damaged[] = {
	{ 0, 0x00, NULL },			/* five times -1 */
	{ 0, 0x80, NULL },			/* five zeros */
	{ 0, 0xff, NULL },			/* five times +1 */
	{ 0, 0x01, "'layers.1.down': a byte that is no five weights" },
	{ 383, 0x63, "a byte that is no five weights" },
	{ 96 * 384 - 1, 0xed, "a byte that is no five weights" },
	{ 256, 0x00, "row 0 is not padded with zero" },	/* a digit 0 */
	{ 5 * 384 + 383, 0x81, "row 5 is not padded" },
	{ 95 * 384 + 383, 0xab, "row 95 is not padded" },
};

START_TEST(what_is_no_weight_is_refused)
{
	struct spec s;

	write_model(model_path, TERNARY_B3, 0);
	s = spec_load(model_path);
	ck_assert_uint_eq(spec_get(spec_entry(&s, "layers.1.down") + 88, 8),
	    96 * 384);
	refuses(&s, NULL);
	spec_data(&s, "layers.1.down")[damaged[_i].at] = damaged[_i].value;
	refuses(&s, "'layers.1.down': checksum");
	spec_seal(&s);
	refuses(&s, damaged[_i].text);
	free(s.bytes);
}
END_TEST

START_TEST(a_header_of_the_other_form_is_refused)
{
	struct spec s;

	write_model(model_path, TERNARY_B3, 0);
	s = spec_load(model_path);
	spec_put(s.bytes + 164, 4, 0);
	spec_seal(&s);
	refuses(&s, "'layers.0.q': type 9, expected t2");
	free(s.bytes);
}
END_TEST

START_TEST(any_flipped_bit_is_refused)
{
	struct spec s;

	write_model(model_path, TERNARY_B3, 64);
	s = spec_load(model_path);
	for (size_t i = 0; i < s.n * 8; i += 4099) {
		s.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		refuses(&s, "");
		s.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	refuses(&s, NULL);
	free(s.bytes);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base3_file");
	TCase *t = tcase_create("base3_file");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t,
	    a_file_has_the_weights_of_the_same_model_in_two_bits, 0, 1);
	tcase_add_loop_test(t,
	    a_file_has_the_weights_of_the_same_model_in_two_bits, 64, 65);
	tcase_add_loop_test(t,
	    from_one_form_to_the_other_and_back_are_the_same_bytes, 0, 1);
	tcase_add_loop_test(t,
	    from_one_form_to_the_other_and_back_are_the_same_bytes, 64, 65);
	tcase_add_loop_test(t, what_is_no_weight_is_refused, 0,
	    (int)(sizeof(damaged) / sizeof(damaged[0])));
	tcase_add_test(t, a_header_of_the_other_form_is_refused);
	tcase_add_test(t, any_flipped_bit_is_refused);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
