/*
 * Options that the table cannot check, and the answer to the one question that
 * an upstream is asked.
 */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "discover.h"
#include "options.h"
#include "web.h"

#define N_ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

static const struct { const char *options, *sentence; } refused[] = {
	{ "{\"upstream\":[\"/run/a\",\"http://127.0.0.1:2\",\"/run/a\"]}",
	  "upstream '/run/a' is given twice" },
	{ "{\"upstream\":[\"/run/\\\"a\"]}",
	  "upstream is not a URL or a path of at most 100 characters" },
	{ "{\"upstream\":[\"https://127.0.0.1:1\"]}",
	  "upstream 'https://127.0.0.1:1' is not http://ADDRESS:PORT" },
	{ "{\"upstream\":[\"http://\"]}",
	  "upstream 'http://' is not http://ADDRESS:PORT" },
	{ "{\"upstream\":[\"http://127.0.0.1:x\"]}",
	  "upstream 'http://127.0.0.1:x' has no port" },
	{ "{\"upstream\":[\"http://127.0.0.1:70000\"]}",
	  "upstream 'http://127.0.0.1:70000' has no port" },
	{ "{\"upstream\":[\"http://127.0.0.1:80/v1\"]}",
	  "upstream 'http://127.0.0.1:80/v1' has a path, which is fixed" },
	{ "{\"upstream\":[\"http://10.0.0.1:80\"]}",
	  "upstream 'http://10.0.0.1:80' is not on this machine (127.0.0.1 or "
	  "localhost), but its sockets are" },
	{ "{\"upstream\":[\"http://example.com\"]}",
	  "upstream 'http://example.com' is not on this machine (127.0.0.1 or "
	  "localhost), but its sockets are" },
	{ "{\"upstream\":[1]}", "upstream is not a URL or a path of at most 100 "
	  "characters" },
	{ "{\"log_format\":\"yaml\"}",
	  "log_format 'yaml' is neither text nor json" },
	{ "{\"max_streams\":0}", NULL },
	{ "{\"max_streams\":1025}", NULL },
	{ "{\"bind\":\"\"}", NULL },
	{ "{\"bind\":\"8180\"}", "8180: want ADDRESS:PORT, like 127.0.0.1:8180" },
	{ "{\"bind\":\"[::1]:8180\"}", "[::1]:8180: the HTTP library has no IPv6, "
	  "bind an IPv4 address" },
	{ "{\"bind\":\"localhost:http\"}", "localhost:http: the port is not a "
	  "number from 0 to 65535" },
};

static int
check(const char *text, struct gateway_options *o, struct err *e)
{
	json_t *obj = json_loads(text, 0, NULL);
	int r;

	*e = (struct err){ 0 };
	if ((r = field_decode(gateway_options_fields(), sizeof(*o), obj, o,
	    e)) == 0)
		r = gateway_options_check(o, e);
	json_decref(obj);
	return r;
}

START_TEST(refuses_with_a_sentence)
{
	struct gateway_options o;
	struct err e;

	ck_assert_int_eq(check(refused[_i].options, &o, &e), ERR_RANGE);
	if (refused[_i].sentence != NULL)
		ck_assert_str_eq(e.text, refused[_i].sentence);
}
END_TEST

START_TEST(the_defaults_and_upstreams_are_fine)
{
	struct gateway_options o;
	struct err e;

	ck_assert_int_eq(check("{}", &o, &e), 0);
	ck_assert_int_eq(o.max_streams, 512);
	ck_assert_int_eq(check("{\"upstream\":[\"http://127.0.0.1:8080\"],"
	    "\"log_format\":\"json\"}", &o, &e), 0);
	ck_assert_int_eq(check("{\"upstream\":[\"http://127.0.0.1:8080\","
	    "\"/run/a\",\"./b\",\"unix:c\"]}", &o, &e), 0);
}
END_TEST

START_TEST(loopback_is_told_from_the_rest)
{
	ck_assert(web_is_loopback("127.0.0.1:8180"));
	ck_assert(web_is_loopback("localhost:8180"));
	ck_assert(!web_is_loopback("0.0.0.0:8180"));
	ck_assert(!web_is_loopback("192.168.127.1:8180"));
}
END_TEST

START_TEST(an_address_may_lack_its_port)
{
	static const struct { const char *url; int port; } rows[] = {
		{ "http://127.0.0.1:80", 80 }, { "http://localhost", 8080 },
		{ "http://127.1.2.3/", 8080 }, { "http://localhost:9/", 9 },
	};
	struct sockaddr_in at;
	struct err e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_int_eq(discover_address(rows[i].url, &at, &e), 0);
		ck_assert_int_eq(ntohs(at.sin_port), rows[i].port);
	}
}
END_TEST

#define OK "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"

static const struct { const char *answer; int code; } answers[] = {
	{ OK "{\"runtime_dir\":\"/run/x\",\"more\":1}", 0 },
	{ "HTTP/1.0 200 OK\r\n\r\n{\"runtime_dir\":\"/run/x\"}", 0 },
	{ OK "{\"runtime_dir\":\"run/x\"}", ERR_BAD_MESSAGE },
	{ OK "{\"runtime_dir\":\"/longer/than/the/array\"}", ERR_BAD_MESSAGE },
	{ OK "{\"runtime_dir\":1}", ERR_BAD_MESSAGE },
	{ OK "[]", ERR_BAD_MESSAGE },
	{ OK "{", ERR_BAD_MESSAGE },
	{ OK, ERR_BAD_MESSAGE },
	{ "HTTP/1.1 503 Service Unavailable\r\n\r\n{}", ERR_UNAVAILABLE },
	{ "HTTP/1.1 200 OK\r\n", ERR_BAD_MESSAGE },
	{ "HTTP/1.1", ERR_BAD_MESSAGE },
	{ "SSH-2.0-OpenSSH\r\n\r\n", ERR_BAD_MESSAGE },
};

START_TEST(only_the_workers_answer_names_a_directory)
{
	char dir[16] = "untouched";
	struct err e;

	ck_assert_int_eq(discover_parse(answers[_i].answer,
	    strlen(answers[_i].answer), dir, sizeof(dir), &e),
	    answers[_i].code);
	ck_assert_str_eq(dir, answers[_i].code == 0 ? "/run/x" : "untouched");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("options");
	TCase *t = tcase_create("options");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, refuses_with_a_sentence, 0, N_ROWS(refused));
	tcase_add_test(t, the_defaults_and_upstreams_are_fine);
	tcase_add_test(t, loopback_is_told_from_the_rest);
	tcase_add_test(t, an_address_may_lack_its_port);
	tcase_add_loop_test(t, only_the_workers_answer_names_a_directory, 0,
	    N_ROWS(answers));
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
