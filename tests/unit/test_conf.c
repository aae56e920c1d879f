#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "conf.h"

#define OPTIONS(F)                                              \
	F(INT, port, 1, 65535, "8080", "", "where it listens")  \
	F(STR, model, 1, 64, NULL, "bytes", "the weights")      \
	F(STR, api_key, 0, 64, "\"\"", "bytes", "who may ask")  \
	F(REAL, heat, 0, 2, "0.5", "", "of the answer")         \
	F(BOOL, verbose, 0, 0, "false", "", "say more")         \
	F(JSON, worker, 0, 3, "[]", "", "one more worker")
FIELD_STRUCT(test_options, OPTIONS);
FIELD_TABLE(test_options, OPTIONS)

/* Port 13 is in the range, and yet not wanted. */
static int
check(const void *values, struct err *e)
{
	const struct test_options *o = values;

	return o->port != 13 ? 0 : err_set(e, ERR_RANGE, "not port 13");
}

static const struct conf_program program = {
	.name = "prog", .summary = "tests options", .env_prefix = "T_CONF_",
	.details = "EXIT STATUS\n       0 fine\n", .check = check,
};

/* Load words, NULL at the end; obj is the caller's. */
static int
load(const char *const words[], json_t *obj, struct test_options *o,
    enum conf_action *action, struct err *e)
{
	char *argv[16] = { strdup("prog") };
	int argc = 1, r;

	for (; words[argc - 1] != NULL; argc++)
		argv[argc] = strdup(words[argc - 1]);
	r = conf_load(&program, test_options_fields(), sizeof(*o), argc, argv,
	    obj, o, action, e);
	while (argc > 0)
		free(argv[--argc]);
	return r;
}

static void
write_file(const char *path, const char *text)
{
	FILE *fp = fopen(path, "w");

	ck_assert_ptr_nonnull(fp);
	fputs(text, fp);
	fclose(fp);
}

#define WORDS(...) (const char *const[]){ __VA_ARGS__, NULL }

START_TEST(arguments_win_over_environment_over_file_over_default)
{
	struct test_options o;
	enum conf_action action;
	json_t *obj = json_object();
	struct err e;
	char path[64];

	snprintf(path, sizeof(path), "/tmp/test_conf.%ld", (long)getpid());
	write_file(path, "# weights\nmodel file   # inline\n\tport 1\n"
	    "worker a\nworker b\nheat 1\n");
	setenv("T_CONF_PORT", "2", 1);
	setenv("T_CONF_HEAT", "1.5", 1);
	setenv("T_CONF_WORKER", "c,7", 1);
	ck_assert_msg(load(WORDS("--config", path, "--port=3", "--verbose",
	    "--api-key", "123"), obj, &o, &action, &e) == 0, "%s", e.text);
	unlink(path);
	ck_assert_int_eq(action, CONF_RUN);
	ck_assert_int_eq(o.port, 3);
	ck_assert_str_eq(o.model, "file");
	ck_assert_str_eq(o.api_key, "123");
	ck_assert_double_eq(o.heat, 1.5);
	ck_assert(o.verbose);
	ck_assert_uint_eq(json_array_size(o.worker), 2);
	ck_assert_str_eq(json_string_value(json_array_get(o.worker, 0)), "c");
	ck_assert_int_eq(json_integer_value(json_array_get(o.worker, 1)), 7);
	json_decref(obj);
}
END_TEST

static const struct {
	const char *words[4];
	const char *text;
} refused[] = {
	{ { NULL }, "--model: 'model' is missing: see --help" },
	{ { "--prot=1" }, "--prot: no such option: see --help" },
	{ { "port" }, "port: no such option: see --help" },
	{ { "--model" }, "--model: no value: see --help" },
	{ { "--model", "--port" }, "--model: no value: see --help" },
	{ { "--port=0", "--model=x" }, "--port: 'port' is 0, not in 1..65535" },
	{ { "--port=1.0" }, "--port: '1.0' is not an integer" },
	{ { "--port=0x10" }, "--port: '0x10' is not an integer" },
	{ { "--port=" }, "--port: '' is not an integer" },
	{ { "--port=true" }, "--port: 'true' is not an integer" },
	{ { "--heat=nan" }, "--heat: 'nan' is not a number" },
	{ { "--verbose=maybe" }, "--verbose: 'maybe' is not true or false" },
	{ { "--model=\377" }, "--model: '?' is not UTF-8" },
	{ { "--config=/nonexistent" },
	    "/nonexistent: No such file or directory" },
	{ { "--config=/tmp" }, "/tmp: Is a directory" },
};

START_TEST(bad_arguments_are_refused)
{
	struct test_options o = { .port = 42 };
	enum conf_action action;
	json_t *obj = json_object();
	struct err e = { 0 };

	ck_assert_int_ne(load(refused[_i].words, obj, &o, &action, &e), 0);
	ck_assert_str_eq(e.text, refused[_i].text);
	ck_assert_int_eq(o.port, 42);
	json_decref(obj);
}
END_TEST

START_TEST(what_only_the_program_knows_is_asked_by_n_too)
{
	struct test_options o;
	enum conf_action action;
	json_t *obj = json_object(), *other = json_object();
	struct err e = { 0 };

	ck_assert_int_eq(load(WORDS("--port=13", "--model=x"), obj, &o,
	    &action, &e), ERR_RANGE);
	ck_assert_str_eq(e.text, "not port 13");
	ck_assert_int_eq(load(WORDS("--port=13", "--model=x", "-n"), other, &o,
	    &action, &e), ERR_RANGE);
	ck_assert_int_eq(action, CONF_RUN);
	json_decref(obj);
	json_decref(other);
}
END_TEST

START_TEST(a_closed_standard_descriptor_is_no_place_for_a_file)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		conf_standard_fds();
		_exit(open("/dev/null", O_RDONLY) > 2 &&
		    read(0, &status, 1) == -1 && write(1, "x", 1) == -1 &&
		    write(2, "x", 1) == 1 ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

static const struct {
	const char *file, *text;
} bad_files[] = {
	{ "port 1\n\nprot 2\n", ":3: 'prot' is no option: see --help" },
	{ "port 1\nport 2\n", ":2: 'port' again" },
	{ "verbose\n", ":1: no value for 'verbose'" },
	{ "model x\nport 99999\n", ":2: 'port' is 99999, not in 1..65535" },
};

START_TEST(a_bad_file_is_refused_with_its_line)
{
	struct test_options o;
	enum conf_action action;
	json_t *obj = json_object();
	char path[64], expected[160];
	struct err e = { 0 };

	snprintf(path, sizeof(path), "/tmp/test_conf.%ld", (long)getpid());
	write_file(path, bad_files[_i].file);
	ck_assert_int_ne(load(WORDS("--config", path), obj, &o, &action, &e), 0);
	unlink(path);
	snprintf(expected, sizeof(expected), "%s%s", path, bad_files[_i].text);
	ck_assert_str_eq(e.text, expected);
	json_decref(obj);
}
END_TEST

START_TEST(a_bad_variable_is_named)
{
	struct test_options o;
	enum conf_action action;
	json_t *obj = json_object();
	struct err e = { 0 };

	setenv("T_CONF_PORT", "0", 1);
	ck_assert_int_eq(load(WORDS("--model=x"), obj, &o, &action, &e),
	    ERR_RANGE);
	ck_assert_str_eq(e.text, "T_CONF_PORT: 'port' is 0, not in 1..65535");
	json_decref(obj);
}
END_TEST

/* What load prints, into out [n]. */
static void
printed(const char *const words[], char *out, size_t n)
{
	struct test_options o;
	enum conf_action action = CONF_RUN;
	json_t *obj = json_object();
	struct err e = { 0 };
	FILE *tmp = tmpfile();
	int saved = dup(STDOUT_FILENO);
	size_t got;

	fflush(stdout);
	dup2(fileno(tmp), STDOUT_FILENO);
	ck_assert_msg(load(words, obj, &o, &action, &e) == 0, "%s", e.text);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	rewind(tmp);
	got = fread(out, 1, n - 1, tmp);
	out[got] = '\0';
	fclose(tmp);
	json_decref(obj);
	ck_assert_int_eq(action, CONF_EXIT);
}

START_TEST(what_n_prints_can_be_read_again)
{
	char out[1024], again[1024], path[64];

	printed(WORDS("-n", "--model=a b", "--worker=1", "--worker=x",
	    "--heat=0.7"), out, sizeof(out));
	ck_assert_str_eq(out, "port 8080\nmodel a b\napi_key\nheat 0.7\n"
	    "verbose false\nworker 1\nworker x\n");
	snprintf(path, sizeof(path), "/tmp/test_conf.%ld", (long)getpid());
	write_file(path, out);
	printed(WORDS("-n", "--config", path), again, sizeof(again));
	unlink(path);
	ck_assert_str_eq(out, again);
}
END_TEST

START_TEST(help_shows_every_option_and_version_the_version)
{
	char out[7000];

	printed(WORDS("--help"), out, sizeof(out));
	ck_assert_ptr_nonnull(strstr(out, "NAME\n       prog - tests options"));
	ck_assert_ptr_nonnull(strstr(out, "--api-key TEXT"));
	ck_assert_ptr_nonnull(strstr(out, "1 to 65535; default 8080"));
	ck_assert_ptr_nonnull(strstr(out, "T_CONF_PORT"));
	ck_assert_ptr_nonnull(strstr(out, "EXIT STATUS\n       0 fine\n"));
	printed(WORDS("--version"), out, sizeof(out));
	ck_assert_str_eq(out, "prog " ONEBIT_VERSION "\n");
}
END_TEST

START_TEST(two_dashes_alone_are_skipped)
{
	struct test_options o;
	enum conf_action action;
	json_t *obj = json_object();
	struct err e;

	ck_assert_msg(load(WORDS("--", "--model", "m", "--", "--port=3", "--worker=a"), obj,
	    &o, &action, &e) == 0, "%s", e.text);
	ck_assert_int_eq(o.port, 3);
	json_decref(obj);
}
END_TEST

START_TEST(the_runtime_directory_is_given_or_the_managers_or_ours)
{
	unsetenv("RUNTIME_DIRECTORY");
	unsetenv("XDG_RUNTIME_DIR");
	ck_assert_str_eq(conf_runtime_dir(""), "/run/1bit-halo");
	setenv("RUNTIME_DIRECTORY", "/run/a:/run/b", 1);
	ck_assert_str_eq(conf_runtime_dir(""), "/run/a");
	ck_assert_str_eq(conf_runtime_dir("/x"), "/x");
}
END_TEST

START_TEST(a_user_without_an_installation_has_a_runtime_directory)
{
	bool installed = access("/run/1bit-halo", F_OK) == 0;
	uid_t me = geteuid();

	unsetenv("RUNTIME_DIRECTORY");
	setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1);
	if (me == 0) {
		ck_assert_str_eq(conf_runtime_dir(""), "/run/1bit-halo");
		ck_assert_int_eq(seteuid(65534), 0);
	}
	ck_assert_str_eq(conf_runtime_dir(""), installed ? "/run/1bit-halo" :
	    "/run/user/1000/1bit-halo");
	setenv("XDG_RUNTIME_DIR", "relative", 1);
	ck_assert_str_eq(conf_runtime_dir(""), "/run/1bit-halo");
	setenv("RUNTIME_DIRECTORY", "/run/a", 1);
	ck_assert_str_eq(conf_runtime_dir(""), "/run/a");
	ck_assert_int_eq(seteuid(me), 0);
	prctl(PR_SET_DUMPABLE, 1);	/* sanitizers look at it from outside */
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conf");
	TCase *t = tcase_create("conf");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t,
	    arguments_win_over_environment_over_file_over_default);
	tcase_add_loop_test(t, bad_arguments_are_refused, 0,
	    (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_loop_test(t, a_bad_file_is_refused_with_its_line, 0,
	    (int)(sizeof(bad_files) / sizeof(bad_files[0])));
	tcase_add_test(t,
	    a_closed_standard_descriptor_is_no_place_for_a_file);
	tcase_add_test(t, what_only_the_program_knows_is_asked_by_n_too);
	tcase_add_test(t, a_bad_variable_is_named);
	tcase_add_test(t, what_n_prints_can_be_read_again);
	tcase_add_test(t, help_shows_every_option_and_version_the_version);
	tcase_add_test(t,
	    the_runtime_directory_is_given_or_the_managers_or_ours);
	tcase_add_test(t, two_dashes_alone_are_skipped);
	tcase_add_test(t,
	    a_user_without_an_installation_has_a_runtime_directory);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
