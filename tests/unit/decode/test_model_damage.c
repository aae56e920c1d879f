#include <check.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/h1b.h"
#include "model/synth.h"
#include "model_file.h"
#include "spec_h1b.h"

#define DEMO "models/halo-demo.h1b"

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
	{ FILE_AT, "", 76, 4, 0x86, true, "flags 0x86, known are 0x3f" },
	{ FILE_AT, "", 76, 4, 0x04, true, "sections, expected" },
	{ FILE_AT, "", 76, 4, 0x02, true, "head_type 0, expected 1, 2, 3, 6, 7 or 8" },
	{ FILE_AT, "", 80, 4, 260, true, "bos is 260, not in -1..259" },
	{ FILE_AT, "", 80, 4, 0xfffffffe, true, "bos is -2" },
	{ FILE_AT, "", 84, 4, 9, true, "n_eos is 9, not in 0..8" },
	{ FILE_AT, "", 84, 4, 1, true, "eos 1 is 257, past the last one" },
	{ FILE_AT, "", 88, 4, 4, true, "embed_type 4, not in 1, 2, 3, 6" },
	{ FILE_AT, "", 88, 4, 1, true, "sections, expected" },
	{ FILE_AT, "", 92, 4, 1, true, "head_type 1, expected 0" },
	{ FILE_AT, "", 96, 4, 260, true, "eos 0 is 260, not in 0..259" },
	{ FILE_AT, "", 164, 4, 1, true, "header: body_type 1, not 0 or 9" },
	{ FILE_AT, "", 164, 4, 9, true, "'layers.0.q': type 4, expected b3" },
	{ FILE_AT, "", 168, 1, 1, true, "header: byte 168 is 1, expected 0" },
	{ FILE_AT, "", 128, 4, 1, true, "group 0 of q is 1, expected a multiple" },
	{ FILE_AT, "", 128, 4, 64, true, "group 0 of q is 64, expected" },
	{ FILE_AT, "", 140, 4, 0xffffffc0, true, "group 3 of o is -64, expected" },
	{ FILE_AT, "", 152, 4, 64, true, "'layers.0.down.scale': 1 x 64, expected "
	    "64 x 2" },
	{ FILE_AT, "", 156, 4, 16, true, "'embed.scale': 1 x 260, expected 260 x 4" },
	{ FILE_AT, "", 156, 4, 8, true, "group 7 of embed is 8, expected" },
	{ FILE_AT, "", 160, 4, 16, true, "head is 16, expected" },
	{ FILE_AT, "", 76, 4, 0x0e, true, "44 sections, expected 48" },
	{ FILE_AT, "", 76, 4, 0x26, true, "44 sections, expected 45" },
	{ FILE_AT, "", 76, 4, 0x16, true, NULL },
	{ FILE_AT, "", 88, 4, 6, true, "sections, expected" },
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
	struct spec s = spec_load(model_path);
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
	struct spec s = spec_load(model_path);
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

	ck_assert_msg(model_write_random(model_path, &c, 1, &e) == 0, "%s", e.text);
	s = spec_load(model_path);
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

int
main(void)
{
	Suite *s = suite_create("model_damage");
	TCase *t = tcase_create("model_damage");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, model_file_setup,
	    model_file_teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, a_damaged_file_is_refused_in_a_sentence, 0,
	    (int)(sizeof(damaged) / sizeof(damaged[0])));
	tcase_add_test(t, no_prefix_is_a_model);
	tcase_add_test(t, any_flipped_bit_is_refused);
	tcase_add_test(t, a_bit_flip_in_any_section_of_the_demo_is_named);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
