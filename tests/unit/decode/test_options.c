#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

/* The options of json, which has ' for "; borrowed from *obj. */
static struct decode_options
read_options(const char *json, json_t **obj)
{
	struct decode_options o;
	char text[256];
	struct err e;

	snprintf(text, sizeof(text), "{'model':'m'%s%s}",
	    *json != '\0' ? "," : "", json);
	for (char *c = text; *c != '\0'; c++)
		*c = *c == '\'' ? '"' : *c;
	ck_assert_ptr_nonnull(*obj = json_loads(text, 0, NULL));
	ck_assert_msg(field_decode(decode_options_fields(), sizeof(o), *obj, &o,
	    &e) == 0, "%s", e.text);
	return o;
}

/* Options, what options_check says of them; NULL: nothing. */
static const struct {
	const char *json, *sentence;
} checks[] = {
	{ "", NULL },
	{ "'backend':'ref','isa':'scalar','attn':'split-kv-fd',"
	    "'rope_mode':'hf-split-half','chat_template':'plain',"
	    "'log_format':'json','bench':[64,'256']", NULL },
	{ "'backend':'au'", "--backend: 'au' is not one of auto, gpu, cpu, ref" },
	{ "'backend':'auto, gpu'",
	    "--backend: 'auto, gpu' is not one of auto, gpu, cpu, ref" },
	{ "'isa':'sse'", "--isa: 'sse' is not one of auto, avx512, avxvnni, avx2, neon, scalar" },
	{ "'attn':'paged'", "--attn: 'paged' is not one of auto, split-kv-fd" },
	{ "'rope_mode':'neox'", "--rope-mode: 'neox' is not one of auto, "
	    "hf-split-half, interleaved" },
	{ "'kv':'i8','pages':'huge','pin':true,'threads':'256'", NULL },
	{ "'kv':'q4'", "--kv: 'q4' is not one of f16, i8" },
	{ "'pages':'4k'", "--pages: '4k' is not one of auto, huge, normal" },
	{ "'threads':'0'",
	    "--threads: '0' is not auto, or a number from 1 to 256" },
	{ "'threads':'257'",
	    "--threads: '257' is not auto, or a number from 1 to 256" },
	{ "'threads':'10000'",
	    "--threads: '10000' is not auto, or a number from 1 to 256" },
	{ "'threads':'-1'",
	    "--threads: '-1' is not auto, or a number from 1 to 256" },
	{ "'threads':' 2'",
	    "--threads: ' 2' is not auto, or a number from 1 to 256" },
	{ "'threads':'2x'",
	    "--threads: '2x' is not auto, or a number from 1 to 256" },
	{ "'bench':['64k']", "--bench: '64k' is not a number" },
	{ "'bench':['']", "--bench: '' is not a number" },
	{ "'bench':[64,-1]", "--bench: -1 is not from 1 to 1048576 tokens" },
	{ "'speculate':'off'", NULL },
	{ "'speculate':'16'", NULL },
	{ "'speculate':'17'", "--speculate: '17' is not auto, off or 1 to 16" },
	{ "'speculate':'0'", "--speculate: '0' is not auto, off or 1 to 16" },
	{ "'speculate':'4x'", "--speculate: '4x' is not auto, off or 1 to 16" },
	{ "'bench':[64],'ppl':'x'", "--bench and --ppl: one at a time, please" },
};

START_TEST(words_and_depths_are_checked)
{
	json_t *obj;
	struct decode_options o = read_options(checks[_i].json, &obj);
	struct err e = { 0 };
	int r = options_check(&o, &e);

	ck_assert_int_eq(r, checks[_i].sentence == NULL ? 0 : ERR_RANGE);
	ck_assert_str_eq(e.text, r == 0 ? "" : checks[_i].sentence);
	json_decref(obj);
}
END_TEST

START_TEST(threads_are_a_number_or_auto)
{
	static const char *const json[] = { "", "'threads':'auto'",
		"'threads':'1'", "'threads':'256'" };
	static const int want[] = { 0, 0, 1, 256 };

	for (int i = 0; i < 4; i++) {
		json_t *obj;
		struct decode_options o = read_options(json[i], &obj);
		struct err e;
		int n = -1;

		ck_assert_int_eq(options_threads(&o, &n, &e), 0);
		ck_assert_int_eq(n, want[i]);
		json_decref(obj);
	}
}
END_TEST

START_TEST(pages_are_a_word)
{
	static const char *const json[] = { "", "'pages':'huge'",
		"'pages':'normal'" };
	static const enum model_pages want[] = { MODEL_AUTO, MODEL_HUGE,
		MODEL_NORMAL };

	for (int i = 0; i < 3; i++) {
		json_t *obj;
		struct decode_options o = read_options(json[i], &obj);

		ck_assert_int_eq((int)options_pages(&o), (int)want[i]);
		json_decref(obj);
	}
}
END_TEST

START_TEST(bench_may_be_repeated)
{
	struct bench_options b;
	json_t *obj;
	struct decode_options o = read_options("'bench':[64,'256',1024]", &obj);
	struct err e;

	ck_assert_int_eq(options_depths(&o, &b, &e), 0);
	ck_assert_int_eq(b.n_depths, 3);
	ck_assert_int_eq(b.depths[1], 256);
	ck_assert_int_eq(b.depths[2], 1024);
	json_decref(obj);
}
END_TEST

/* Options, and what they make of a model with 1024 positions, 20 KiB each. */
static const struct {
	const char *json;
	int32_t n_ctx, n_pages, max_rows;
} sizes[] = {
	{ "", 1024, 820, 128 },		/* 512 MiB / 20 KiB / 32 */
	{ "'slots':2", 1024, 64, 128 },
	{ "'slots':256", 1024, 820, 256 },
	{ "'context':100,'slots':3", 100, 12, 128 },
	{ "'kv_tokens':2048", 1024, 64, 128 },
	{ "'kv_tokens':1000000,'slots':4", 1024, 128, 128 },
	{ "'step_rows':16,'slots':4", 1024, 128, 16 },
};

static const struct model demo = { .config = { .n_ctx = 1024, .n_layers = 10,
	.n_kv_heads = 4, .head_dim = 64 } };

START_TEST(memory_follows_from_slots_context_and_model)
{
	struct backend_options b = { 0 };
	struct model m = demo;
	json_t *obj;
	struct decode_options o = read_options(sizes[_i].json, &obj);
	struct err e;

	ck_assert_int_eq(options_size(&o, &m, &b, &e), 0);
	ck_assert_int_eq(b.n_ctx, sizes[_i].n_ctx);
	ck_assert_int_eq(b.n_pages, sizes[_i].n_pages);
	ck_assert_int_eq(b.max_rows, sizes[_i].max_rows);
	json_decref(obj);
}
END_TEST

START_TEST(a_large_model_still_gets_four_contexts)
{
	struct backend_options b = { 0 };
	struct model m = { .config = { .n_ctx = 4096, .n_layers = 30,
		.n_kv_heads = 5, .head_dim = 128 } };
	json_t *obj;
	struct decode_options o = read_options("", &obj);
	struct err e;

	ck_assert_int_eq(options_size(&o, &m, &b, &e), 0);
	ck_assert_int_eq(b.n_pages, 4 * 4096 / KV_PAGE);
	json_decref(obj);
}
END_TEST

START_TEST(more_context_than_there_is_is_refused)
{
	static const char *const json[] = { "'context':1025",
		"'context':1024,'kv_tokens':1023" };
	static const char *const sentences[] = {
		"--context: 1025 is more than the 1024 that the model was "
		"trained for", "--kv-tokens: 1023 is less than the context of "
		"one request, 1024" };
	struct backend_options b = { 0 };
	struct model m = demo;
	struct err e;

	for (int i = 0; i < 2; i++) {
		json_t *obj;
		struct decode_options o = read_options(json[i], &obj);

		ck_assert_int_eq(options_size(&o, &m, &b, &e), ERR_RANGE);
		ck_assert_str_eq(e.text, sentences[i]);
		json_decref(obj);
	}
}
END_TEST

START_TEST(rope_mode_overrides_the_file)
{
	static const char *const json[] = { "", "'rope_mode':'hf-split-half'",
		"'rope_mode':'interleaved'" };
	static const bool want[3][2] = { { false, true }, { false, false },
		{ true, true } };

	for (int i = 0; i < 3; i++)
		for (int file = 0; file < 2; file++) {
			struct backend_options b = { 0 };
			struct model m = demo;
			struct err e;
			json_t *obj;
			struct decode_options o = read_options(json[i], &obj);

			m.config.rope_interleaved = file != 0;
			ck_assert_int_eq(options_size(&o, &m, &b, &e), 0);
			ck_assert(m.config.rope_interleaved == want[i][file]);
			json_decref(obj);
		}
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("options");
	TCase *t = tcase_create("options");
	SRunner *r = srunner_create(suite);
	int failed;

	tcase_add_loop_test(t, words_and_depths_are_checked, 0, COUNT(checks));
	tcase_add_test(t, threads_are_a_number_or_auto);
	tcase_add_test(t, pages_are_a_word);
	tcase_add_test(t, bench_may_be_repeated);
	tcase_add_loop_test(t, memory_follows_from_slots_context_and_model, 0,
	    COUNT(sizes));
	tcase_add_test(t, a_large_model_still_gets_four_contexts);
	tcase_add_test(t, more_context_than_there_is_is_refused);
	tcase_add_test(t, rope_mode_overrides_the_file);
	suite_add_tcase(suite, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
