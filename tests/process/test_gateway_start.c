/*
 * How the gateway starts, refuses to start, and whom it lets in; without a
 * worker.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_client.h"
#include "process.h"

START_TEST(a_second_gateway_is_refused)
{
	int port = process_free_port();
	char dir[64], other[64], bind[32], text[4096];
	const char *same_dir[] = { BUILD "/bin/1bit-halo-server", "--bind",
		"127.0.0.1:1", "--runtime-dir", dir, NULL };
	const char *first[] = { BUILD "/bin/1bit-halo-server", "--bind", bind,
		"--runtime-dir", dir, NULL };
	const char *same_port[] = { BUILD "/bin/1bit-halo-server", "--bind",
		bind, "--runtime-dir", other, NULL };

	struct process p;

	process_make_dir(dir);
	process_make_dir(other);
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", port);
	process_start(&p, dir, "first", first);
	process_ready(&p);
	ck_assert_int_eq(process_run(other, same_dir, text, sizeof(text)), 1);
	ck_assert_int_eq(process_run(other, same_port, text, sizeof(text)), 1);
	ck_assert_int_eq(process_get(port, "/livez", text, sizeof(text)), 200);
	ck_assert_int_eq(process_end(&p, SIGTERM, PROCESS_END_MS), 0);
	process_remove_dir(dir);
	process_remove_dir(other);
}
END_TEST

static const struct { const char *bind; bool keys, warns; } exposures[] = {
	{ "127.0.0.1", false, false }, { "localhost", false, false },
	{ "0.0.0.0", false, true }, { "0.0.0.0", true, false },
};

START_TEST(an_open_door_is_said_loudly)
{
	char dir[64], bind[32], keys[96];
	const char *args[] = { BUILD "/bin/1bit-halo-server", "--bind", bind,
		"--runtime-dir", dir, exposures[_i].keys ? "--api-key-file" :
		NULL, keys, NULL };
	struct process p;
	FILE *fp;

	process_make_dir(dir);
	snprintf(keys, sizeof(keys), "%s/keys", dir);
	fp = fopen(keys, "w");
	ck_assert_ptr_nonnull(fp);
	fputs("secret-key\n", fp);
	fclose(fp);
	snprintf(bind, sizeof(bind), "%s:%d", exposures[_i].bind,
	    process_free_port());
	process_start(&p, dir, "gateway", args);
	process_ready(&p);
	ck_assert_int_eq(process_logged(&p, "NO API KEY IS ASKED FOR"),
	    exposures[_i].warns);
	ck_assert_int_eq(process_end(&p, SIGTERM, PROCESS_END_MS), 0);
	process_remove_dir(dir);
}
END_TEST

static const struct { const char *a, *b, *says; } bad_options[] = {
	{ "--bind", "nowhere", "--bind: nowhere: want ADDRESS:PORT" },
	{ "--runtime-dir", "/dev/null/x", "/dev/null/x" },
	{ "--api-key-file", "/dev/null", "there is no key in it" },
	{ "--api-key-file", "/nonexistent", "No such file" },
	{ "--upstream", "https://127.0.0.1:8080", "is not http://" },
	{ "--max-streams", "0", "max_streams" },
	{ "--no-such-option", "1", "no-such-option" },
};

START_TEST(unusable_options_are_2)
{
	char other[64], text[4096];
	const char *args[] = { BUILD "/bin/1bit-halo-server", "--runtime-dir",
		other, bad_options[_i].a, bad_options[_i].b, NULL };

	process_make_dir(other);
	if (strcmp(bad_options[_i].a, "--runtime-dir") == 0)
		args[1] = "--bind=127.0.0.1:0", args[2] = "--verbose";
	ck_assert_int_eq(process_run(other, args, text, sizeof(text)), 2);
	ck_assert_msg(strstr(text, bad_options[_i].says) != NULL, "%s", text);
	process_remove_dir(other);
}
END_TEST

/* The program with one more option and -n, or without. */
static int
run_with(const char *option, const char *value, const char *last, char *text,
    size_t size)
{
	char dir[64];
	const char *args[] = { BUILD "/bin/1bit-halo-server", "--runtime-dir", dir,
		option, value, last, NULL };
	int status;

	process_make_dir(dir);
	status = process_run(dir, args, text, size);
	process_remove_dir(dir);
	return status;
}

START_TEST(a_check_of_the_options_looks_at_the_address)
{
	char text[4096];

	ck_assert_int_eq(run_with("--bind", "box:8180", "-n", text,
	    sizeof(text)), 2);
	ck_assert_msg(strstr(text, "--bind: box:8180: the address") != NULL, "%s",
	    text);
}
END_TEST

/* An interface may get its address after the boot: systemd tries again. */
START_TEST(an_address_that_may_come_is_1)
{
	char text[4096];

	ck_assert_int_eq(run_with("--bind", "192.0.2.1:8180", NULL, text,
	    sizeof(text)), 1);
	ck_assert_msg(strstr(text, "no interface has this address") != NULL,
	    "%s", text);
}
END_TEST

START_TEST(few_open_files_are_said)
{
	char dir[64], bind[32];
	const char *args[] = { "/bin/sh", "-c", "ulimit -n 100; exec " BUILD
		"/bin/1bit-halo-server --bind $0 --runtime-dir $1", bind, dir, NULL };
	struct process p;

	process_make_dir(dir);
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", process_free_port());
	process_start(&p, dir, "few", args);
	process_ready(&p);
	ck_assert(process_logged(&p, "only 100 files may be open"));
	ck_assert_int_eq(process_end(&p, SIGTERM, PROCESS_END_MS), 0);
	args[2] = "ulimit -Sn 100; exec " BUILD
	    "/bin/1bit-halo-server --bind $0 --runtime-dir $1";
	process_start(&p, dir, "enough", args);
	process_ready(&p);
	ck_assert(!process_logged(&p, "files may be open"));
	ck_assert_int_eq(process_end(&p, SIGTERM, PROCESS_END_MS), 0);
	process_remove_dir(dir);
}
END_TEST

START_TEST(keys_guard_all_but_health)
{
	static const struct { const char *path, *header; int status; } rows[] = {
		{ "/v1/models", "", 401 },
		{ "/metrics", "", 401 },
		{ "/v1/models/x", "", 401 },
		{ "/v1/models", "Authorization: Bearer secret-key2\r\n", 401 },
		{ "/v1/models", "Authorization: Bearer secret-key\r\n", 503 },
		{ "/v1/models", "X-Api-Key: secret-key\r\n", 503 },
		{ "/health", "", 503 },
		{ "/livez", "", 200 },
	};
	char other[64], bind[32], keys[96];
	const char *args[] = { BUILD "/bin/1bit-halo-server", "--bind", bind,
		"--runtime-dir", other, "--api-key-file", keys, NULL };
	int other_port = process_free_port();
	struct process p;
	FILE *fp;

	process_make_dir(other);
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", other_port);
	snprintf(keys, sizeof(keys), "%s/keys", other);
	fp = fopen(keys, "w");
	fputs("secret-key\n", fp);
	fclose(fp);
	process_start(&p, other, "keys", args);
	process_ready(&p);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_client c;

		http_get(&c, other_port, rows[i].path, rows[i].header);
		http_rest(&c);
		ck_assert_msg(http_status(&c) == rows[i].status, "%s %s: %s",
		    rows[i].path, rows[i].header, c.in.data);
		http_close(&c);
	}
	ck_assert(!process_logged(&p, "secret-key"));
	ck_assert_int_eq(process_end(&p, SIGTERM, PROCESS_END_MS), 0);
	process_remove_dir(other);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway start");
	TCase *t = tcase_create("gateway start");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_second_gateway_is_refused);
	tcase_add_loop_test(t, an_open_door_is_said_loudly, 0, 4);
	tcase_add_loop_test(t, unusable_options_are_2, 0,
	    (int)(sizeof(bad_options) / sizeof(bad_options[0])));
	tcase_add_test(t, a_check_of_the_options_looks_at_the_address);
	tcase_add_test(t, an_address_that_may_come_is_1);
	tcase_add_test(t, few_open_files_are_said);
	tcase_add_test(t, keys_guard_all_but_health);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
