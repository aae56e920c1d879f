/*
 * What keeps the decode worker from starting, and what it says then: one clear
 * line, and a status that tells "fix the arguments" (2) from "try later" (1).
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static struct worker w;		/* one that runs */
static char text[1 << 16];

static void
setup(void)
{
	if (w.process.pid == 0)
		worker_start(&w, NULL);
}

/* Start a second one in dir with port; args after these. */
static int
start(const char *dir, int port, const char *model, const char *option,
    const char *value)
{
	char number[8];
	const char *const args[] = { BUILD "/bin/bitnet_decode", "--model",
		model, "--runtime-dir", dir, "--port", number, option, value,
		NULL };

	snprintf(number, sizeof(number), "%d", port);
	return process_run(w.dir, args, text, sizeof(text));
}

/* Options that cannot be: option, value, a part of the sentence. */
static const struct {
	const char *option, *value, *sentence;
} options[] = {
	{ "--backend", "abacus",
	    "--backend: 'abacus' is not one of auto, gpu, cpu, ref" },
	{ "--isa", "mmx", "--isa: 'mmx' is not one of auto, avx512, avxvnni, avx2, neon, scalar" },
	{ "--attn", "flash", "--attn: 'flash' is not one of auto, split-kv-fd" },
	{ "--rope-mode", "x",
	    "--rope-mode: 'x' is not one of auto, hf-split-half, interleaved" },
	{ "--chat-template", "alpaca",
	    "--chat-template: 'alpaca' is no chat template: one of bitnet, " },
	{ "--chat-template", "./none.jinja",
	    "--chat-template: ./none.jinja: No such file or directory" },
	{ "--chat-template", "zephyr", "the template 'zephyr' needs the token "
	    "'</s>', which the model does not have" },
	{ "--ppl-protocol", "half", "--ppl-protocol: 'half' is no protocol of "
	    "perplexity: full, llama, or stride:S" },
	{ "--kl-against", "x.h1b", "--kl-against needs --ppl: the text to compare "
	    "over" },
	{ "--kl-backend", "tpu",
	    "--kl-backend: 'tpu' is not one of auto, gpu, cpu, ref" },
	{ "--kl-backend", "ref", "--kl-backend needs --kl-against" },
	{ "--log-format", "xml", "--log-format: 'xml' is not one of text, json" },
	{ "--bench", "x", "--bench: 'x' is not a number" },
	{ "--bench", "0", "--bench: 0 is not from 1 to 1048576 tokens" },
	{ "--bench-repeats", "0", "bench_repeats" },
	{ "--bench-batch", "257", "bench_batch" },
	{ "--threads", "0",
	    "--threads: '0' is not auto, or a number from 1 to 256" },
	{ "--threads", "10000",
	    "--threads: '10000' is not auto, or a number from 1 to 256" },
	{ "--threads", "two",
	    "--threads: 'two' is not auto, or a number from 1 to 256" },
	{ "--pages", "1g", "--pages: '1g' is not one of auto, huge, normal" },
	{ "--kv", "f8", "--kv: 'f8' is not one of f16, i8" },
	{ "--slots", "0", "slots" },
	{ "--port", "65536", "port" },
	{ "--context", "2048", "--context: 2048 is more than the 1024 that the "
	    "model was trained for" },
	{ "--kv-tokens", "100",
	    "--kv-tokens: 100 is less than the context of one request, 1024" },
	{ "--nonsense", "1", "nonsense" },
	{ "--ppl", "no/such/file", "no/such/file" },
};

START_TEST(a_bad_option_is_refused)
{
	char dir[64];

	process_make_dir(dir);
	ck_assert_int_eq(start(dir, 0, WORKER_MODEL, options[_i].option,
	    options[_i].value), 2);
	ck_assert_msg(strstr(text, options[_i].sentence) != NULL, "%s", text);
	process_remove_dir(dir);
}
END_TEST

START_TEST(a_second_instance_is_refused_and_does_no_harm)
{
	ck_assert_int_eq(start(w.dir, 0, WORKER_MODEL, NULL, NULL), 1);
	ck_assert_msg(strstr(text, w.dir) != NULL, "%s", text);
	ck_assert_str_eq(worker_ask(&w, 1, "say hello", NULL)->finish, "stop");
	worker_forget(&w);
}
END_TEST

START_TEST(a_taken_port_is_refused)
{
	char dir[64], port[16];

	process_make_dir(dir);
	ck_assert_int_eq(start(dir, w.port, WORKER_MODEL, NULL, NULL), 1);
	snprintf(port, sizeof(port), "%d", w.port);
	ck_assert_msg(strstr(text, port) != NULL, "%s", text);
	process_remove_dir(dir);
}
END_TEST

START_TEST(a_runtime_directory_that_cannot_be_made_is_refused)
{
	ck_assert_int_eq(start("/dev/null/x", 0, WORKER_MODEL, NULL, NULL), 2);
	ck_assert_msg(strstr(text, "/dev/null/x") != NULL, "%s", text);
}
END_TEST

START_TEST(a_missing_model_is_refused)
{
	char dir[64];

	process_make_dir(dir);
	ck_assert_int_eq(start(dir, 0, "no/such.h1b", NULL, NULL), 2);
	ck_assert_msg(strstr(text, "no/such.h1b") != NULL, "%s", text);
	ck_assert_int_eq(start(dir, 0, "Makefile", NULL, NULL), 2);
	ck_assert_msg(strstr(text, "Makefile") != NULL, "%s", text);
	process_remove_dir(dir);
}
END_TEST

/* Damage: bytes of the file that stay (0: all), and the bit that is flipped
 * (-1: none), counted from the start, or from the end if `from_end`. */
static const struct {
	long keep, flip;
	bool from_end;
} damages[] = {
	{ 1, -1, false }, { 64, -1, false }, { 4096, -1, false },
	{ 1000000, -1, false }, { 0, 3, false }, { 0, 20 * 8, false },
	{ 0, 40 * 8 + 7, false }, { 0, 4000000L * 8 + 1, false },
	{ 0, 9000, true },
};

START_TEST(a_damaged_model_is_refused)
{
	static char bytes[32 << 20];
	char dir[64], path[96];
	FILE *fp = fopen(WORKER_MODEL, "r");
	size_t n = fread(bytes, 1, sizeof(bytes), fp);
	long bit = damages[_i].flip;

	fclose(fp);
	process_make_dir(dir);
	snprintf(path, sizeof(path), "%s/damaged.h1b", dir);
	if (bit >= 0) {
		bit = damages[_i].from_end ? (long)n * 8 - bit : bit;
		bytes[bit / 8] ^= (char)(1 << bit % 8);
	}
	if (damages[_i].keep > 0)
		n = (size_t)damages[_i].keep;
	fp = fopen(path, "w");
	ck_assert_uint_eq(fwrite(bytes, 1, n, fp), n);
	fclose(fp);
	ck_assert_int_eq(start(dir, 0, path, NULL, NULL), 2);
	ck_assert_msg(strstr(text, "damaged.h1b") != NULL, "%s", text);
	process_remove_dir(dir);
}
END_TEST

START_TEST(it_starts_again_after_kill_9_in_the_same_directory)
{
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(process_end(&w.process, SIGKILL, PROCESS_END_MS),
		    128 + SIGKILL);
		worker_start(&w, NULL);
		ck_assert_str_eq(worker_ask(&w, i, "say hello", NULL)->finish,
		    "stop");
	}
	worker_forget(&w);
}
END_TEST

START_TEST(sockets_are_for_owner_and_group_alone)
{
	static const char *const names[] = { "decode.sock",
		"decode-events.sock" };
	struct stat st;
	char path[96];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", w.dir, names[i]);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_uint_eq(st.st_mode & 0777, 0660);
	}
}
END_TEST

START_TEST(the_ready_line_says_what_runs)
{
	ck_assert(process_logged(&w.process, "ready model=halo-demo"));
	ck_assert(process_logged(&w.process, "context=1024"));
	ck_assert(process_logged(&w.process, "slots=32"));
	ck_assert(process_logged(&w.process, "kv_mb="));
}
END_TEST

/* The JSON that was printed, behind what was logged. */
static json_t *
printed(void)
{
	const char *p = strchr(text, '{');

	return p != NULL ? json_loads(p, 0, NULL) : NULL;
}

static json_int_t
integer_of(const json_t *obj, const char *name)
{
	ck_assert_msg(json_is_integer(json_object_get(obj, name)), "%s", name);
	return json_integer_value(json_object_get(obj, name));
}

/* Is obj[name] a list of kinds of work, from the embedding to the head? */
static void
check_kernels(const json_t *obj, const char *name)
{
	static const char *const keys[] = { "calls", "ns", "bytes", "gb_per_s" };
	const json_t *list = json_object_get(obj, name), *v = NULL;
	size_t i;

	ck_assert_uint_ge(json_array_size(list), 7);
	json_array_foreach(list, i, v) {
		if (i == 0)
			ck_assert_str_eq(json_string_value(json_object_get(v,
			    "name")), "embed");
		for (int k = 0; k < COUNT(keys); k++)
			ck_assert(json_is_real(json_object_get(v, keys[k])));
	}
	ck_assert_str_eq(json_string_value(json_object_get(v, "name")), "head");
}

START_TEST(bench_and_ppl_print_json_and_need_no_socket)
{
	static const char *const keys[] = { "depth", "prefill_tok_s",
		"prefill_min_tok_s", "prefill_max_tok_s", "decode_tok_s",
		"decode_min_tok_s", "decode_max_tok_s", "batch_tok_s",
		"batch_speedup", "bytes_per_token", "gb_per_s",
		"bandwidth_gb_per_s", "bandwidth_fraction" };
	const char *const bench[] = { BUILD "/bin/bitnet_decode", "--model",
		WORKER_MODEL, "--runtime-dir", "/dev/null/x", "--bench", "8",
		"--bench", "16", "--bench-repeats", "2", "--bench-batch", "3",
		"--threads", "2", "--backend", "cpu", "--json", "--mlock=false",
		NULL };
	const char *const ppl[] = { BUILD "/bin/bitnet_decode", "--model",
		WORKER_MODEL, "--ppl", "models/README.md", "--context", "128",
		"--json", "--mlock=false", NULL };
	json_t *v, *r;

	ck_assert_int_eq(process_run(w.dir, bench, text, sizeof(text)), 0);
	ck_assert_ptr_nonnull(v = printed());
	r = json_object_get(v, "results");
	ck_assert_uint_eq(json_array_size(r), 2);
	for (int i = 0; i < COUNT(keys); i++)
		ck_assert_msg(json_is_number(json_object_get(json_array_get(r, 1),
		    keys[i])), "%s", keys[i]);
	check_kernels(json_array_get(r, 1), "decode_kernels");
	check_kernels(json_array_get(r, 1), "prefill_kernels");
	ck_assert_int_eq(integer_of(v, "threads"), 2);
	ck_assert_int_eq(integer_of(v, "repeats"), 2);
	ck_assert_int_eq(integer_of(v, "batch"), 3);
	r = json_object_get(v, "memory");
	ck_assert_int_ge(integer_of(r, "mib"), 511);
	ck_assert(json_is_boolean(json_object_get(r, "huge_pages")));
	ck_assert(json_is_real(json_object_get(r, "gb_per_s_one_thread")));
	json_decref(v);
	ck_assert_int_eq(process_run(w.dir, ppl, text, sizeof(text)), 0);
	ck_assert_ptr_nonnull(v = printed());
	ck_assert(json_number_value(json_object_get(v, "ppl")) > 1);
	ck_assert(json_is_integer(json_object_get(v, "tokens")));
	ck_assert(json_is_real(json_object_get(v, "nll_mean")));
	json_decref(v);
}
END_TEST

START_TEST(a_result_that_cannot_be_written_is_an_error)
{
	const char *const ppl[] = { "/bin/sh", "-c", "exec " BUILD
		"/bin/bitnet_decode --model " WORKER_MODEL " --mlock=false --ppl "
		"models/README.md --context 128 --ppl-windows 1 >/dev/full", NULL };

	ck_assert_int_eq(process_run(w.dir, ppl, text, sizeof(text)), 1);
	ck_assert_msg(strstr(text, "the result cannot be written: No space left "
	    "on device") != NULL, "%s", text);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("decode_start");
	TCase *t = tcase_create("start");
	SRunner *r = srunner_create(suite);
	int failed;

	if (!worker_has_model()) {
		printf("there is no %s\n", WORKER_MODEL);
		return 77;
	}
	tcase_set_timeout(t, 0);
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_loop_test(t, a_bad_option_is_refused, 0, COUNT(options));
	tcase_add_test(t, a_second_instance_is_refused_and_does_no_harm);
	tcase_add_test(t, a_taken_port_is_refused);
	tcase_add_test(t, a_runtime_directory_that_cannot_be_made_is_refused);
	tcase_add_test(t, a_missing_model_is_refused);
	tcase_add_loop_test(t, a_damaged_model_is_refused, 0, COUNT(damages));
	tcase_add_test(t, sockets_are_for_owner_and_group_alone);
	tcase_add_test(t, the_ready_line_says_what_runs);
	tcase_add_test(t, bench_and_ppl_print_json_and_need_no_socket);
	tcase_add_test(t, a_result_that_cannot_be_written_is_an_error);
	tcase_add_test(t, it_starts_again_after_kill_9_in_the_same_directory);
	suite_add_tcase(suite, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* NNG */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	process_abandon(&w.process);
	process_remove_dir(w.dir);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
