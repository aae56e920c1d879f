/*
 * Conversations that outlive their worker, on a disk that may be full or have been
 * tampered with.
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "unit.h"
#include "chat.h"

START_TEST(a_pinned_session_survives_a_kill)
{
	struct chat c = { .key = CHAT_A };
	char *want;

	chat_start(NULL, NULL, NULL, NULL);
	chat_turn(&c, CHAT_STORY, 40);
	json_decref(chat_get(CHAT_A, "pin"));
	chat_turn(&c, "Who was the turtle?", 20);
	chat_wait_saved(CHAT_A);
	want = chat_forked(&c, "And then?", 12);
	worker_forget(&chat_worker);
	process_end(&chat_worker.process, SIGKILL, PROCESS_END_MS);
	chat_start(NULL, NULL, NULL, NULL);
	ck_assert_int_eq(chat_member_of(CHAT_A, "n_resident"), 0);
	ck_assert_int_eq(chat_member_of(CHAT_A, "pinned"), 1);
	ck_assert_str_eq(chat_turn(&c, "And then?", 12), want);
	ck_assert_str_eq(chat_state(&c), "restored");
	ck_assert_int_ge(chat_number(&c, "n_cached"), chat_number(&c, "n_prompt") - 20);
	ck_assert_int_eq(chat_member_of(CHAT_A, "turns"), 3);
	free(want);
	json_decref(c.messages);
}
END_TEST

START_TEST(at_its_end_the_worker_saves_what_it_remembers)
{
	struct chat c = { .key = CHAT_A };
	char *want;

	chat_start("--kv", _i == 0 ? "f16" : "i8", NULL, NULL);
	chat_turn(&c, CHAT_STORY, 40);
	want = chat_forked(&c, "And then?", 12);
	worker_forget(&chat_worker);
	ck_assert_int_eq(process_end(&chat_worker.process, SIGTERM, PROCESS_END_MS), 0);
	chat_start("--kv", _i == 0 ? "f16" : "i8", NULL, NULL);
	ck_assert_str_eq(chat_turn(&c, "And then?", 12), want);
	ck_assert_str_eq(chat_state(&c), "restored");
	ck_assert_int_ge(chat_number(&c, "n_cached"),
	    chat_number(&c, "n_prompt") - 14);
	free(want);
	json_decref(c.messages);
}
END_TEST

START_TEST(a_fork_of_what_only_a_file_has_is_a_copy)
{
	struct chat c = { .key = CHAT_A }, other = { .key = CHAT_B };
	struct err e;
	char *want;

	chat_start(NULL, NULL, NULL, NULL);
	chat_turn(&c, CHAT_STORY, 40);
	want = chat_forked(&c, "And then?", 12);
	worker_forget(&chat_worker);
	ck_assert_int_eq(process_end(&chat_worker.process, SIGTERM, PROCESS_END_MS), 0);
	chat_start(NULL, NULL, NULL, NULL);
	ck_assert_int_eq(process_call(chat_worker.client, DECODE_TYPE_session, json_pack(
	    "{s:s, s:s, s:s}", "key", CHAT_A, "op", "fork", "to", CHAT_B),
	    NULL, &e), 0);
	ck_assert_int_gt(chat_member_of(CHAT_B, "n_resident"), 0);
	other.messages = json_deep_copy(c.messages);
	ck_assert_str_eq(chat_turn(&other, "And then?", 12), want);
	ck_assert_str_eq(chat_state(&other), "warm");
	ck_assert_int_ge(chat_number(&other, "n_cached"),
	    chat_number(&other, "n_prompt") - 14);
	free(want);
	json_decref(other.messages);
	json_decref(c.messages);
}
END_TEST

/* What turns a good snapshot into one that must not be used. */
static void
spoil(int how)
{
	char path[200];
	off_t size;
	char c = 0;
	int fd;

	chat_path_of(CHAT_A, path);
	ck_assert_int_ge(fd = open(path, O_RDWR), 0);
	size = lseek(fd, 0, SEEK_END);
	if (how == 0) {
		ck_assert_int_eq(ftruncate(fd, size - 1000), 0);
	} else {
		off_t at = how == 1 ? 20 : how == 2 ? 300 : size - 5000;

		ck_assert_int_eq(pread(fd, &c, 1, at), 1);
		c = (char)(c ^ 1);
		ck_assert_int_eq(pwrite(fd, &c, 1, at), 1);
	}
	close(fd);
}

START_TEST(a_snapshot_that_is_damaged_is_as_if_there_were_none)
{
	struct chat c = { .key = CHAT_A };
	char *want, path[200];

	chat_start(NULL, NULL, NULL, NULL);
	chat_turn(&c, CHAT_STORY, 40);
	want = chat_reference(&c, "And then?", 12);
	worker_forget(&chat_worker);
	ck_assert_int_eq(process_end(&chat_worker.process, SIGTERM, PROCESS_END_MS), 0);
	spoil(_i);
	chat_start(NULL, NULL, NULL, NULL);
	ck_assert_str_eq(chat_turn(&c, "And then?", 12), want);
	ck_assert_str_eq(chat_state(&c), "cold");
	ck_assert_int_eq(chat_number(&c, "n_cached"), 0);
	ck_assert(process_logged(&chat_worker.process, "starts cold"));
	chat_path_of(CHAT_A, path);
	ck_assert_int_ne(access(path, F_OK), 0);
	free(want);
	json_decref(c.messages);
}
END_TEST

START_TEST(a_snapshot_of_another_setting_is_refused_and_kept)
{
	struct chat c = { .key = CHAT_A };
	char *want, path[200];

	chat_start("--kv", "f16", NULL, NULL);
	chat_turn(&c, CHAT_STORY, 40);
	worker_forget(&chat_worker);
	ck_assert_int_eq(process_end(&chat_worker.process, SIGTERM, PROCESS_END_MS), 0);
	chat_start("--kv", "i8", NULL, NULL);
	want = chat_reference(&c, "And then?", 12);
	ck_assert_str_eq(chat_turn(&c, "And then?", 12), want);
	ck_assert(process_logged(&chat_worker.process, "another form of the KV cache"));
	chat_path_of(CHAT_A, path);
	ck_assert_int_eq(access(path, F_OK), 0);
	free(want);
	json_decref(c.messages);
}
END_TEST

START_TEST(a_full_disk_is_said_and_loses_nothing)
{
	struct chat c = { .key = CHAT_A };
	struct rlimit was, less;
	char path[200];
	struct err e;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
	less = was;
	less.rlim_cur = 20000;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &less), 0);
	chat_start(NULL, NULL, NULL, NULL);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
	chat_turn(&c, CHAT_STORY, 20);
	ck_assert_int_eq(chat_operate(CHAT_A, "save", NULL, &e), ERR_STORAGE);
	ck_assert_ptr_nonnull(strstr(e.text, "File too large"));
	chat_path_of(CHAT_A, path);
	ck_assert_int_ne(access(path, F_OK), 0);
	chat_turn(&c, "And then?", 12);
	ck_assert_str_eq(chat_state(&c), "warm");
	ck_assert_int_eq(chat_member_of(CHAT_A, "saved"), 0);
	json_decref(c.messages);
}
END_TEST

START_TEST(the_directory_has_its_limit)
{
	static const char *const keys[] = { "00", "01", "02", "03", "04" };
	char path[200];
	struct err e;

	/* A page has 256 KiB, so three files of one page fit. */
	chat_start("--session-dir-max", "1", NULL, NULL);
	for (int i = 0; i < 5; i++) {
		struct chat c = { .key = keys[i] };

		chat_turn(&c, "say hello", 4);
		if (i == 1)
			json_decref(chat_get(keys[i], "pin"));
		json_decref(chat_get(keys[i], "save"));
		json_decref(c.messages);
	}
	for (int i = 0; i < 5; i++) {
		bool there = i == 1 || i >= 3;

		chat_path_of(keys[i], path);
		ck_assert_int_eq(access(path, F_OK) == 0, there);
		ck_assert_int_eq(chat_member_of(keys[i], "saved"), there);
	}
	json_decref(chat_get(keys[3], "pin"));
	json_decref(chat_get(keys[4], "pin"));
	ck_assert_int_eq(chat_operate(keys[0], "save", NULL, &e), ERR_STORAGE);
	json_decref(chat_get(keys[1], "drop"));
	chat_path_of(keys[1], path);
	ck_assert_int_ne(access(path, F_OK), 0);
	json_decref(chat_get(keys[0], "save"));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("saved sessions");
	TCase *tc = tcase_create("process");

	tcase_set_timeout(tc, 0);
	tcase_add_checked_fixture(tc, chat_setup, chat_teardown);
	tcase_add_test(tc, a_pinned_session_survives_a_kill);
	tcase_add_loop_test(tc, at_its_end_the_worker_saves_what_it_remembers, 0,
	    2);
	tcase_add_test(tc, a_fork_of_what_only_a_file_has_is_a_copy);
	tcase_add_loop_test(tc,
	    a_snapshot_that_is_damaged_is_as_if_there_were_none, 0, 4);
	tcase_add_test(tc, a_snapshot_of_another_setting_is_refused_and_kept);
	tcase_add_test(tc, a_full_disk_is_said_and_loses_nothing);
	tcase_add_test(tc, the_directory_has_its_limit);
	suite_add_tcase(s, tc);
	return chat_main(s);
}
