/*
 * How 1bit-halo-mcp starts, and refuses to.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mcp_peers.h"
#include "process.h"

#define PROGRAM BUILD "/bin/1bit-halo-mcp"

static char dir[64];

static void
setup(void)
{
	process_make_dir(dir);
}

static void
teardown(void)
{
	process_remove_dir(dir);
}

static const struct { const char *option, *value, *says; } unusable[] = {
	{ "--nonsense", "1", "nonsense" },
	{ "--bind", "localhost", "--bind: localhost: want ADDRESS:PORT" },
	{ "--bind", "127.0.0.1:99999", "the port is not a number" },
	{ "--server", "ftp://x", "ftp://x" },
	{ "--server", "http://x/?a=b", "http://x/?a=b" },
	{ "--api-key-file", "/nowhere/key", "/nowhere/key" },
	{ "--timeout-ms", "0", "timeout" },
	{ "--config", "/nowhere/conf", "/nowhere/conf" },
};

START_TEST(unusable_arguments_end_with_status_2_and_a_sentence)
{
	const char *args[] = { PROGRAM, unusable[_i].option, unusable[_i].value,
		NULL };
	char text[4096];

	ck_assert_int_eq(process_run(dir, args, text, sizeof(text)), 2);
	ck_assert_msg(strstr(text, unusable[_i].says) != NULL, "%s", text);
}
END_TEST

/* As a unit without bind: to end well would make systemd start it again. */
START_TEST(nobody_to_serve_is_2)
{
	const char *args[] = { "/bin/sh", "-c", "exec " PROGRAM " </dev/null",
		NULL };
	char text[4096];

	ck_assert_int_eq(process_run(dir, args, text, sizeof(text)), 2);
	ck_assert_msg(strstr(text, "no --bind, and stdin is /dev/null") != NULL,
	    "%s", text);
}
END_TEST

START_TEST(a_taken_port_is_said_and_may_be_tried_again)
{
	char bind_to[32], text[4096];
	int port, fd = mcp_peers_listen(&port);
	const char *args[] = { PROGRAM, "--bind", bind_to, "--runtime-dir", dir,
		NULL };

	snprintf(bind_to, sizeof(bind_to), "127.0.0.1:%d", port);
	ck_assert_int_eq(process_run(dir, args, text, sizeof(text)), 1);
	ck_assert_msg(strstr(text, bind_to) != NULL, "%s", text);
	close(fd);
}
END_TEST

static const struct { const char *host; bool warns; } exposures[] = {
	{ "127.0.0.1", false }, { "0.0.0.0", true },
};

START_TEST(an_open_door_is_said_loudly)
{
	char bind_to[32];
	const char *args[] = { PROGRAM, "--bind", bind_to, "--runtime-dir", dir,
		NULL };
	struct process p;

	snprintf(bind_to, sizeof(bind_to), "%s:%d", exposures[_i].host,
	    process_free_port());
	process_start(&p, dir, "mcp", args);
	process_ready(&p);
	ck_assert_int_eq(process_logged(&p, "NO KEY IS ASKED FOR"),
	    exposures[_i].warns);
	ck_assert_int_eq(process_end(&p, SIGTERM, PROCESS_END_MS), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("mcp start");
	TCase *t = tcase_create("mcp start");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, unusable_arguments_end_with_status_2_and_a_sentence,
	    0, sizeof(unusable) / sizeof(unusable[0]));
	tcase_add_test(t, nobody_to_serve_is_2);
	tcase_add_test(t, a_taken_port_is_said_and_may_be_tried_again);
	tcase_add_loop_test(t, an_open_door_is_said_loudly, 0,
	    sizeof(exposures) / sizeof(exposures[0]));
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
