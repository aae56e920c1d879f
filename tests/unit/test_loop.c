/*
 * Signals to a service: before, in and after its loop.  Each test has a child that
 * says through a pipe how far it is.
 */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop.h"

static int fds[2];

static void
say(char c)
{
	ck_assert_int_eq(write(fds[1], &c, 1), 1);
}

static void
expect(char want)
{
	char c = 0;

	ck_assert_int_eq(read(fds[0], &c, 1), 1);
	ck_assert_int_eq(c, want);
}

static void
on_reload(void *arg)
{
	(void)arg;
	say('h');
}

static void
on_tick(void *arg)
{
	static bool said;

	(void)arg;
	if (!said)
		say('r');
	said = true;
}

/* A service that is at `stage` for a minute: start, run or drain. */
static pid_t
start(char stage)
{
	static struct loop l = { .reload = on_reload, .tick = on_tick, .tick_ms = 1 };
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	if ((pid = fork()) != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (loop_init(&l) != 0)
		_exit(1);
	if (stage == 'a') {
		l.tick = NULL;
		loop_ready(&l);
	}
	say('s');
	if (stage == 's')
		sleep(60);
	if (stage == 'a')
		usleep(200000);
	if (stage == 'h')	/* until the test has sent its SIGHUP */
		usleep(300000);
	if (loop_run(&l) != 0)
		_exit(1);
	say('d');
	if (stage == 'd')
		sleep(60);
	_exit(7);
}

/* Its exit status, or minus the signal that ended it. */
static int
end_of(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	close(fds[0]);
	close(fds[1]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

START_TEST(a_start_that_takes_long_is_ended_by_a_signal)
{
	static const int signals[] = { SIGTERM, SIGINT };
	pid_t pid = start('s');

	expect('s');
	kill(pid, signals[_i]);
	ck_assert_int_eq(end_of(pid), -signals[_i]);
}
END_TEST

START_TEST(who_is_ready_ends_in_order_though_its_loop_has_not_begun)
{
	pid_t pid = start('a');

	expect('s');
	kill(pid, SIGTERM);
	expect('d');
	ck_assert_int_eq(end_of(pid), 7);
}
END_TEST

START_TEST(the_loop_ends_in_order)
{
	pid_t pid = start('r');

	expect('s');
	expect('r');
	kill(pid, SIGHUP);
	expect('h');
	kill(pid, SIGTERM);
	expect('d');
	ck_assert_int_eq(end_of(pid), 7);
}
END_TEST

START_TEST(a_sighup_during_the_start_is_not_lost)
{
	pid_t pid = start('h');

	expect('s');
	kill(pid, SIGHUP);
	expect('h');
	expect('r');
	kill(pid, SIGINT);
	expect('d');
	ck_assert_int_eq(end_of(pid), 7);
}
END_TEST

START_TEST(a_second_sigint_does_not_wait_and_a_second_sigterm_does)
{
	pid_t pid = start('d');

	expect('s');
	expect('r');
	kill(pid, SIGINT);
	expect('d');
	kill(pid, SIGTERM);
	kill(pid, SIGHUP);
	usleep(100000);
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
	kill(pid, SIGINT);
	ck_assert_int_eq(end_of(pid), -SIGINT);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("loop");
	TCase *t = tcase_create("loop");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, a_start_that_takes_long_is_ended_by_a_signal, 0, 2);
	tcase_add_test(t, who_is_ready_ends_in_order_though_its_loop_has_not_begun);
	tcase_add_test(t, the_loop_ends_in_order);
	tcase_add_test(t, a_sighup_during_the_start_is_not_lost);
	tcase_add_test(t, a_second_sigint_does_not_wait_and_a_second_sigterm_does);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
