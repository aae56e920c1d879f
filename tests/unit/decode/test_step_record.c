/*
 * The record of what the worker is at work on, and requests that run alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "engine_world.h"
#include "step_record.h"

static char path[64];
static struct step_record record;

static void
in_dir(void)
{
	char dir[] = "/tmp/step-record-" "XX" "XX" "XX";

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/decode.step", dir);
}

static void
gone(void)
{
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

static void
open_record(const char *boot)
{
	struct err e;

	step_record_close(&record);
	ck_assert_msg(step_record_open(&record, path, &e) == 0, "%s", e.text);
	if (boot != NULL)
		step_record_begin(&record, boot);
}

/* Two requests with 3 and 7 tokens, of which the second is a prompt. */
static void
write_step(int64_t step)
{
	static struct job a, b;
	static struct share shares[2];
	struct plan p = { .shares = shares, .n_shares = 2 };

	strcpy(a.id, world_id(1));
	strcpy(b.id, world_id(2));
	a.n_tokens = 3;
	b.n_tokens = 7;
	shares[0] = (struct share){ .job = &a, .n_rows = 3, .n_samples = 3,
		.n_drafts = 2 };
	shares[1] = (struct share){ .job = &b, .n_rows = 5 };
	step_record_write(&record, step, &p);
}

static void
check_last(const char *boot, int clean, int fault, int step, size_t n)
{
	struct decode_last_step_is is;

	step_record_last(&record, &is);
	ck_assert_str_eq(is.boot, boot);
	ck_assert_int_eq(is.clean, clean);
	ck_assert_int_eq(is.fault, fault);
	ck_assert_int_eq(is.step, step);
	ck_assert_str_eq(is.phase, n > 0 ? "prefill" : "");
	ck_assert_uint_eq(json_object_size(is.requests), n);
	if (n > 0) {
		ck_assert_int_eq(json_integer_value(json_object_get(is.requests,
		    world_id(1))), 3);
		ck_assert_int_eq(json_integer_value(json_object_get(is.requests,
		    world_id(2))), 7);
	}
	json_decref(is.requests);
}

START_TEST(the_next_life_reads_the_last_step)
{
	open_record("0000000000000001");
	check_last("", 0, 0, 0, 0);
	write_step(41);
	write_step(42);
	open_record("0000000000000002");
	check_last("0000000000000001", 0, 0, 42, 2);
	open_record("0000000000000003");
	check_last("0000000000000002", 0, 0, 0, 0);
}
END_TEST

static bool full;

/* The call of step_record.c comes here first. */
int
posix_fallocate(int fd, off_t at, off_t n)
{
	(void)fd;
	(void)at;
	(void)n;
	return full ? ENOSPC : 0;
}

/* To write to the mapping would be a bus error. */
START_TEST(a_full_disk_is_noticed_before_anything_is_written)
{
	struct err e = { 0 };

	full = true;
	ck_assert_int_eq(step_record_open(&record, path, &e), ERR_SYSTEM);
	full = false;
	ck_assert_ptr_nonnull(strstr(e.text, "No space left on device"));
	step_record_begin(&record, "0000000000000001");
	write_step(1);
	check_last("", 0, 0, 0, 0);
}
END_TEST

/* It takes the place of the last one only when it begins to serve. */
START_TEST(a_life_that_never_served_leaves_it)
{
	open_record("0000000000000001");
	write_step(5);
	open_record(NULL);
	open_record("0000000000000003");
	check_last("0000000000000001", 0, 0, 5, 2);
}
END_TEST

START_TEST(a_clean_stop_blames_nobody)
{
	open_record("0000000000000001");
	write_step(9);
	step_record_clear(&record);
	open_record(NULL);
	check_last("0000000000000001", 1, 0, 0, 0);
}
END_TEST

static void
die(int how)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		open_record("0000000000000001");
		write_step(1);
		if (how == SIGABRT)
			abort();
		raise(how);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	/* A sanitizer makes an exit of some signals. */
	ck_assert(WIFSIGNALED(status) ? WTERMSIG(status) == how :
	    WEXITSTATUS(status) != 0);
}

static const int deaths[] = { SIGKILL, SIGABRT, SIGSEGV, SIGBUS };

START_TEST(how_it_died_is_noted)
{
	die(deaths[_i]);
	open_record(NULL);
	check_last("0000000000000001", 0,
	    deaths[_i] == SIGKILL ? 0 : deaths[_i], 1, 2);
}
END_TEST

START_TEST(what_is_no_record_counts_as_none)
{
	int fd;

	open_record("0000000000000001");
	write_step(1);
	step_record_close(&record);
	fd = open(path, O_WRONLY);
	if (_i == 0)
		ck_assert_int_eq(ftruncate(fd, 100), 0);
	else if (_i == 1)
		ck_assert_int_eq(pwrite(fd, "??????????????????????????", 26,
		    0), 26);
	else		/* no text, so no message could hold it */
		ck_assert_int_eq(pwrite(fd, "\377", 1, _i == 2 ? (off_t)offsetof(
		    struct step_record_file, boot) : (off_t)offsetof(
		    struct step_record_file, steps[1].requests[0].id)), 1);
	close(fd);
	open_record("0000000000000002");
	check_last(_i == 0 ? "0000000000000001" : "", 0, 0, 0, 0);
}
END_TEST

/* Who was in each step: bits of the ids. */
static unsigned steps[200];
static int n_steps, n_alone;

static void
before_step(void *arg, int64_t step, const struct plan *p)
{
	(void)arg;
	ck_assert_int_eq(step, n_steps + 1);
	ck_assert_int_lt(n_steps, 200);
	for (int i = 0; i < p->n_shares; i++) {
		const struct job *j = p->shares[i].job;

		if (job_is_solo(j)) {
			ck_assert_int_eq(p->n_shares, 1);
			n_alone++;
		}
		steps[n_steps] |= 1u << strtoul(j->id + 24, NULL, 16);
	}
	n_steps++;
}

START_TEST(who_is_solo_shares_no_step_and_nobody_starves)
{
	static struct heard alone[3];

	world_reset();
	world_open();
	for (int i = 0; i < 3; i++)
		world_add(i + 1, "once upon a time", "'max_tokens':9");
	world_run();
	for (int i = 0; i < 3; i++)
		alone[i] = *world_heard(i + 1);
	world.n_heard = 0;
	world.config.before_step = before_step;
	world_open();
	world_add(1, "once upon a time", "'max_tokens':9");
	world_add(2, "once upon a time", "'max_tokens':9,'solo_seq':4");
	world_add(3, "once upon a time", "'max_tokens':9,'solo_seq':0");
	world_run();
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(world_heard(i + 1)->n_tokens, 9);
		ck_assert_mem_eq(world_heard(i + 1)->tokens, alone[i].tokens,
		    9 * sizeof(int32_t));
		buf_free(&alone[i].text);
		json_decref(alone[i].stats);
		json_decref(alone[i].logprobs);
	}
	/* 5 and 1 tokens; in between the others had their turns. */
	ck_assert_int_eq(n_alone, 6);
	for (int i = 1; i < 8; i++)
		ck_assert_uint_ne(steps[i], steps[i - 1]);
	ck_assert_uint_eq(steps[n_steps - 1] & 1u << 2, 1u << 2);
	world_close();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("step record");
	TCase *t = tcase_create("step record");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, in_dir, gone);
	tcase_add_test(t, the_next_life_reads_the_last_step);
	tcase_add_test(t, a_full_disk_is_noticed_before_anything_is_written);
	tcase_add_test(t, a_life_that_never_served_leaves_it);
	tcase_add_test(t, a_clean_stop_blames_nobody);
	tcase_add_loop_test(t, how_it_died_is_noted, 0, 4);
	tcase_add_loop_test(t, what_is_no_record_counts_as_none, 0, 4);
	tcase_add_test(t, who_is_solo_shares_no_step_and_nobody_starves);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
