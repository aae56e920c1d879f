#include <check.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "file.h"
#include "model/crc32c.h"
#include "model/h1b.h"
#include "model/model_guard.h"
#include "model/synth.h"
#include "model_file.h"
#include "spec_h1b.h"

#define DEMO "models/halo-demo.h1b"

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
	ck_assert_int_eq(w->n_out, (int)spec_get(spec_entry(s, name) + 64, 8));
	ck_assert_int_eq(w->n_in, (int)spec_get(spec_entry(s, name) + 72, 8));
	for (int32_t o = 0; o < w->n_out; o++) {
		const uint64_t row = (uint64_t)o;
		int n_wrong = 0;	/* an assertion each would take seconds */

		ck_assert_float_eq(w->scales[o], spec_scale(s, name, 0, row, 0));
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

START_TEST(what_is_no_regular_file_is_refused)
{
	char other[80];
	struct model m;
	struct err e;

	/* A directory may be a checkpoint; this one has no config.json. */
	ck_assert_int_eq(model_open(model_dir, false, &m, &e), ERR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(e.text, "config.json"));
	snprintf(other, sizeof(other), "%s/none", model_dir);
	ck_assert_int_eq(model_open(other, false, &m, &e), ERR_NOT_FOUND);
	ck_assert_int_eq(mkfifo(other, 0600), 0);
	ck_assert_int_eq(model_open(other, false, &m, &e), ERR_BAD_FILE);
	ck_assert_ptr_nonnull(strstr(e.text, "not a regular file"));
	unlink(other);
	ck_assert_int_eq(model_open("/dev/null", false, &m, &e), ERR_BAD_FILE);
	ck_assert_int_eq(symlink(model_path, other), 0);
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
	ck_assert_int_eq(model_open(model_path, false, &a, &e), 0);
	s = spec_load(model_path);
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

/* Read the file when it has become shorter: a worker its model, anybody a mapping. */
static void
read_shortened(bool opened)
{
	volatile uint8_t sum = 0;
	struct model m;
	struct err e;
	void *bytes;
	size_t n;

	if (!opened)
		model_guard_open("guarded", model_path, 7);
	if (opened ? model_open(model_path, false, &m, &e) != 0 :
	    file_map(model_path, &bytes, &n, &e) != 0)
		_exit(2);
	if (opened) {
		model_guard(&m, model_path);
		bytes = m.map;
		n = m.map_size;
	}
	if (truncate(model_path, 0) != 0)
		_exit(3);
	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + ((uint8_t *)bytes)[i]);
	_exit(4);
}

START_TEST(a_file_that_becomes_shorter_is_named)
{
	char text[400] = "";
	int fds[2], status;
	pid_t child;

	ck_assert_int_eq(pipe(fds), 0);
	if ((child = fork()) == 0) {
		dup2(fds[1], STDERR_FILENO);
		read_shortened(_i == 1);
	}
	ck_assert_int_eq((int)waitpid(child, &status, 0), (int)child);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == (_i == 1 ? 1 :
	    7), "%d", status);
	ck_assert_int_gt((int)read(fds[0], text, sizeof(text) - 1), 0);
	ck_assert_ptr_nonnull(strstr(text, _i == 1 ? "decode: /" : "guarded: /"));
	ck_assert_ptr_nonnull(strstr(text, model_path));
	ck_assert_ptr_nonnull(strstr(text, "became shorter"));
	close(fds[0]);
	close(fds[1]);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("model");
	TCase *t = tcase_create("model");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, model_file_setup,
	    model_file_teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, crc32c_is_that_of_the_rfc);
	tcase_add_test(t, the_example_of_the_specification_packs_as_it_says);
	tcase_add_test(t, the_demo_model_is_what_the_specification_says);
	tcase_add_loop_test(t, a_file_that_becomes_shorter_is_named, 0, 2);
	tcase_add_test(t, what_is_no_regular_file_is_refused);
	tcase_add_test(t, the_fingerprint_is_of_the_weights_and_not_of_the_names);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
