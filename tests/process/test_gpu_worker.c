/*
 * The worker on the emulator of tests/gpu.  A device fails in the middle of a generation: it
 * says which kernel and ends, and what it was asked goes on in its next life, with the same
 * text as without.  A conversation comes back from its file.  A runtime that is of no use is
 * told, and the CPU serves.
 */
#include <check.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chat.h"
#include "stack.h"

#define EMULATOR BUILD "/gpu/gfx11"

static const char body[] = "{\"model\":\"tiny\",\"stream\":true,\"temperature\":0.8,"
    "\"top_k\":20,\"seed\":5,\"max_tokens\":24,\"ignore_eos\":true,"
    "\"messages\":[{\"role\":\"user\",\"content\":\"go on\"}]}";
static char model[128];

static void
make_model(const char *dir)
{
	char text[512];
	const char *const synth[] = { BUILD "/bin/1bit-halo-pkg", "synth", "--arch", "tiny",
		model, NULL };

	setenv("LD_LIBRARY_PATH", EMULATOR, 1);
	snprintf(model, sizeof(model), "%s/tiny.h1b", dir);
	ck_assert_msg(process_run(dir, synth, text, sizeof(text)) == 0, "%s", text);
}

/* What the stream says, read from where it is to its end. */
static void
rest_of(struct http_client *c, struct buf *text)
{
	http_rest(c);
	http_stream_text(c, text);
	http_close(c);
}

START_TEST(a_generation_goes_on_after_a_fault_of_the_device)
{
	const char *const args[] = { "--model", model, "--backend", "gpu",
		"--speculate", "off", NULL };	/* passes are counted */
	struct buf want = { 0 }, got = { 0 };
	struct http_client c;

	process_make_dir(stack_dir);
	make_model(stack_dir);
	setenv("EMULATED_FAIL", "synchronize:40", 1);
	stack_start(NULL, args);
	http_post(&c, stack_port, "/v1/chat/completions", "", body);
	rest_of(&c, &want);
	ck_assert_uint_gt(want.len, 0);
	http_post(&c, stack_port, "/v1/chat/completions", "", body);
	ck_assert_int_ne(process_wait(&stack_worker, PROCESS_END_MS), 0);
	ck_assert(process_logged(&stack_worker, "GPU: a step failed: hipErrorEmulated "
	    "(700); the kernel that began last was gpu_"));
	unsetenv("EMULATED_FAIL");
	stack_start_worker();
	rest_of(&c, &got);
	ck_assert_str_eq(got.data, want.data);
	buf_free(&want);
	buf_free(&got);
	stack_stop();
}
END_TEST

static void
start_with_sessions(void)
{
	const char *const args[] = { "--model", model, "--backend", "gpu", "--session-dir",
		chat_dir, NULL };

	worker_start(&chat_worker, args);
}

START_TEST(a_conversation_comes_back_from_its_file)
{
	struct chat c = { .key = CHAT_A };
	char *want;

	chat_setup();
	make_model(chat_dir);
	start_with_sessions();
	chat_turn(&c, "the quick brown fox jumps over the lazy dog", 6);
	want = chat_forked(&c, "and then?", 6);
	worker_forget(&chat_worker);
	ck_assert_int_eq(process_end(&chat_worker.process, SIGTERM, PROCESS_END_MS), 0);
	start_with_sessions();
	ck_assert_str_eq(chat_turn(&c, "and then?", 6), want);
	ck_assert_str_eq(chat_state(&c), "restored");
	ck_assert_int_gt(chat_number(&c, "n_cached"), 32);
	free(want);
	json_decref(c.messages);
	chat_teardown();
}
END_TEST

/* libamdhip64 by all of its names: what file points to, or a file of some words. */
static void
make_runtime(const char *dir, const char *file)
{
	static const char *const names[] = { ".7", ".6", ".5", "" };
	char path[200];
	FILE *f;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/libamdhip64.so%s", dir, names[i]);
		unlink(path);
		if (file != NULL) {
			ck_assert_int_eq(symlink(file, path), 0);
			continue;
		}
		ck_assert_ptr_nonnull(f = fopen(path, "w"));
		fputs("no library", f);
		fclose(f);
	}
	setenv("LD_LIBRARY_PATH", dir, 1);
}

/* --backend gpu ends with why; auto logs it and runs. */
static void
check_told(const char *dir, const char *device, const char *why)
{
	const char *args[] = { BUILD "/bin/bitnet_decode", "--model", model, "--device", device,
		"--bench", "1", "--bench-repeats", "1", "--backend", "gpu", NULL };
	char text[4096];

	ck_assert_int_ne(process_run(dir, args, text, sizeof(text)), 0);
	ck_assert_msg(strstr(text, why) != NULL, "%s", text);
	args[10] = "auto";
	ck_assert_msg(process_run(dir, args, text, sizeof(text)) == 0, "%s", text);
	ck_assert_msg(strstr(text, why) != NULL, "%s", text);
	ck_assert_msg(strstr(text, "; so it is 'cpu ") != NULL, "%s", text);
}

START_TEST(a_runtime_that_is_of_no_use_is_told_and_the_cpu_serves)
{
	char dir[64];
	Dl_info libc;

	process_make_dir(dir);
	make_model(dir);
	check_told(dir, "3", "no GPU: there is no device 3; there is 1");
	setenv("EMULATED_DEVICES", "0", 1);
	check_told(dir, "0", "no GPU: the HIP runtime is installed and sees no device: "
	    "hipErrorNoDevice");
	unsetenv("EMULATED_DEVICES");
	setenv("EMULATED_FAIL", "load:1", 1);
	check_told(dir, "0", "no GPU: Emulated device takes none of the code objects of this "
	    "build (gfx1151, gfx1201): hipErrorEmulated");
	unsetenv("EMULATED_FAIL");
	/* A library without any of its functions stands for one that is old. */
	ck_assert_int_ne(dladdr((void *)(uintptr_t)getpid, &libc), 0);
	make_runtime(dir, libc.dli_fname);
	check_told(dir, "0", "no GPU: its runtime is too old: it has no hipInit");
	make_runtime(dir, NULL);
	check_told(dir, "0", "no GPU: libamdhip64.so.7 cannot be loaded: ");
	unsetenv("LD_LIBRARY_PATH");
	process_remove_dir(dir);
}
END_TEST

/* Status 2 would tell systemd not to try again, and a device may come back. */
START_TEST(a_fault_while_it_starts_is_no_reason_to_stay_down)
{
	static const char *const faults[] = { "alloc:1", "copy:2", "launch:3", "graph:1" };
	const char *const args[] = { BUILD "/bin/bitnet_decode", "--model", model, "--backend",
		"gpu", "--runtime-dir", stack_dir, "--port", "0", NULL };
	char text[4096];

	process_make_dir(stack_dir);
	make_model(stack_dir);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		setenv("EMULATED_FAIL", faults[i], 1);
		ck_assert_int_eq(process_run(stack_dir, args, text, sizeof(text)), 1);
		ck_assert_msg(strstr(text, "GPU: ") != NULL, "%s", text);
		ck_assert_msg(strstr(text, "hipErrorEmulated (700)") != NULL, "%s", text);
	}
	unsetenv("EMULATED_FAIL");
	process_remove_dir(stack_dir);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gpu worker");
	TCase *t = tcase_create("gpu worker");
	SRunner *r;
	int failed;

	if (access(EMULATOR "/libamdhip64.so.7", R_OK) != 0 ||
	    access(BUILD "/gpu/gfx1151.co", R_OK) != 0) {
		printf("not run: this build has no code for a GPU, or no emulator\n");
		return EXIT_SUCCESS;
	}
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_generation_goes_on_after_a_fault_of_the_device);
	tcase_add_test(t, a_conversation_comes_back_from_its_file);
	tcase_add_test(t, a_fault_while_it_starts_is_no_reason_to_stay_down);
	tcase_add_test(t, a_runtime_that_is_of_no_use_is_told_and_the_cpu_serves);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	stack_abandon();
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
