#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <regex.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

static char said[8192];

/* Between the two, what is logged goes to said. */
static int pipe_fds[2], saved_fd;

static void
catch(void)
{
	ck_assert_int_eq(pipe2(pipe_fds, O_NONBLOCK), 0);
	saved_fd = dup(STDERR_FILENO);
	dup2(pipe_fds[1], STDERR_FILENO);
	close(pipe_fds[1]);
}

static void
caught(void)
{
	ssize_t n = read(pipe_fds[0], said, sizeof(said) - 1);

	said[n > 0 ? n : 0] = '\0';
	dup2(saved_fd, STDERR_FILENO);
	close(saved_fd);
	close(pipe_fds[0]);
}

static void
assert_matches(const char *pattern)
{
	regex_t re;

	ck_assert_int_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	ck_assert_msg(regexec(&re, said, 0, NULL, 0) == 0, "%s", said);
	regfree(&re);
}

START_TEST(a_person_reads_time_level_and_unit)
{
	unsetenv("JOURNAL_STREAM");
	catch();
	log_init("decode", LOG_FORMAT_TEXT, 0);
	log_info("ready port=%d", 8080);
	log_debug("never");
	caught();
	assert_matches("^[0-9]{2}:[0-9]{2}:[0-9]{2} info  decode: ready "
	    "port=8080\n$");
}
END_TEST

/* As systemd does for a service: the journal reads what stderr is now. */
static void
say_journal(ino_t beside)
{
	char stream[64];
	struct stat st;

	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
	    (uintmax_t)(st.st_ino + beside));
	setenv("JOURNAL_STREAM", stream, 1);
}

START_TEST(the_journal_gets_priorities)
{
	catch();
	say_journal(0);
	log_init("decode", LOG_FORMAT_TEXT, 1);
	log_error("a");
	log_warn("b");
	log_info("c");
	log_debug("d");
	caught();
	ck_assert_str_eq(said, "<3>decode: a\n<4>decode: b\n<6>decode: c\n"
	    "<7>decode: d\n");
}
END_TEST

START_TEST(a_journal_that_reads_something_else_does_not_count)
{
	static const char *const others[] = { NULL, "", "1", "1:2", "x:y" };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		catch();
		if (others[i] == NULL)
			say_journal(1);
		else
			setenv("JOURNAL_STREAM", others[i], 1);
		log_init("decode", LOG_FORMAT_TEXT, 0);
		log_info("ready");
		caught();
		assert_matches("^[0-9:]{8} info  decode: ready\n$");
	}
}
END_TEST

START_TEST(the_journal_gets_priorities_of_json)
{
	catch();
	say_journal(0);
	log_init("decode", LOG_FORMAT_JSON, 0);
	log_warn("b");
	caught();
	assert_matches("^<4>[{]\"time\":\"[^\"]*\",\"level\":\"warn\",.*[}]\n$");
}
END_TEST

START_TEST(json_is_json_whatever_is_logged)
{
	json_t *v;

	unsetenv("JOURNAL_STREAM");
	catch();
	log_init("decode", LOG_FORMAT_JSON, 0);
	log_warn("quote \" slash \\ line\nbyte \377");
	caught();
	v = json_loads(said, 0, NULL);
	ck_assert_msg(v != NULL, "%s", said);
	ck_assert_str_eq(json_string_value(json_object_get(v, "msg")),
	    "quote \" slash \\ line byte ?");
	ck_assert_str_eq(json_string_value(json_object_get(v, "level")),
	    "warn");
	ck_assert_str_eq(json_string_value(json_object_get(v, "unit")),
	    "decode");
	ck_assert_ptr_nonnull(json_object_get(v, "time"));
	json_decref(v);
}
END_TEST

START_TEST(one_call_is_one_line_however_long)
{
	char *text = malloc(5000);

	for (int json = 0; json < 2; json++) {
		memset(text, '"', 4999);
		text[4999] = '\0';
		catch();
		log_init("decode", json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT, 0);
		log_info("%s", text);
		caught();
		ck_assert_ptr_eq(strchr(said, '\n'), said + strlen(said) - 1);
		ck_assert_uint_gt(strlen(said), 1000);
	}
	free(text);
}
END_TEST

START_TEST(a_line_that_cannot_be_written_is_dropped)
{
	log_init("decode", LOG_FORMAT_TEXT, 0);
	saved_fd = dup(STDERR_FILENO);
	close(STDERR_FILENO);
	errno = ENOENT;
	log_info("nobody hears this");
	ck_assert_int_eq(errno, ENOENT);
	dup2(saved_fd, STDERR_FILENO);
	close(saved_fd);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, a_person_reads_time_level_and_unit);
	tcase_add_test(t, the_journal_gets_priorities);
	tcase_add_test(t, a_journal_that_reads_something_else_does_not_count);
	tcase_add_test(t, the_journal_gets_priorities_of_json);
	tcase_add_test(t, json_is_json_whatever_is_logged);
	tcase_add_test(t, one_call_is_one_line_however_long);
	tcase_add_test(t, a_line_that_cannot_be_written_is_dropped);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
