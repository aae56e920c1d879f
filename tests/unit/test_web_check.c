#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "web_priv.h"

#define N(table) ((int)(sizeof(table) / sizeof((table)[0])))

#define L(k) "1234567890123456789012345678901234567890123456789012345678901234" k

static const struct {
	const char *version;
	struct mg_header h[4];
	int status;		/* 0: passes */
	int length;
	bool chunked;
} framings[] = {
	{ "1.1", { { "Host", "a" } }, 0, 0, false },
	{ "1.1", { { "content-length", "0" } }, 0, 0, false },
	{ "1.1", { { "Content-Length", "17" } }, 0, 17, false },
	{ "1.1", { { "Transfer-Encoding", "chunked" } }, 0, 0, true },
	{ "1.1", { { "Transfer-Encoding", "Chunked" } }, 0, 0, true },
	{ "1.0", { { "Transfer-Encoding", "chunked" } }, 400, 0, false },
	{ "1.1", { { "Transfer-Encoding", "identity" } }, 400, 0, false },
	{ "1.1", { { "Transfer-Encoding", "gzip, chunked" } }, 400, 0, false },
	{ "1.1", { { "Transfer-Encoding", "chunked, chunked" } }, 400, 0,
	    false },
	{ "1.1", { { "Transfer-Encoding", "" } }, 400, 0, false },
	{ "1.1", { { "Transfer-Encoding", "chunked " } }, 400, 0, false },
	{ "1.1", { { "Content-Length", "" } }, 400, 0, false },
	{ "1.1", { { "Content-Length", "-1" } }, 400, 0, false },
	{ "1.1", { { "Content-Length", "+5" } }, 400, 0, false },
	{ "1.1", { { "Content-Length", "5, 5" } }, 400, 0, false },
	{ "1.1", { { "Content-Length", "5 " } }, 400, 0, false },
	{ "1.1", { { "Content-Length", "0x5" } }, 400, 0, false },
	{ "1.1", { { "Content-Length", "12345678901" } }, 400, 0, false },
	{ "1.1", { { "Content-Length", "5" }, { "content-LENGTH", "5" } }, 400,
	    0, false },
	{ "1.1", { { "Content-Length", "5" }, { "Transfer-Encoding",
	    "chunked" } }, 400, 0, false },
	{ "1.1", { { "Host", "a" }, { "X", "y" }, { "host", "a" } }, 400, 0,
	    false },
	{ "1.1", { { "Authorization", "a" }, { "Authorization", "a" } }, 400,
	    0, false },
	{ "1.1", { { "X-Api-Key", "a" }, { "x-api-key", "b" } }, 400, 0,
	    false },
	{ "1.1", { { "Origin", "a" }, { "Origin", "a" } }, 400, 0, false },
	{ "1.1", { { "Accept", "a" }, { "Accept", "b" } }, 0, 0, false },
	{ "1.1", { { "Expect", "100-Continue" } }, 0, 0, false },
	{ "1.1", { { "Expect", "200-ok" } }, 417, 0, false },
};

START_TEST(framing_is_strict)
{
	const struct web_refusal *why;
	struct web_framing f;
	int n = 0;

	while (n < 4 && framings[_i].h[n].name != NULL)
		n++;
	why = web_check_framing(framings[_i].h, n, framings[_i].version, &f);
	ck_assert_int_eq(why == NULL ? 0 : why->status, framings[_i].status);
	if (why == NULL) {
		ck_assert_int_eq(f.length, framings[_i].length);
		ck_assert_int_eq(f.chunked, framings[_i].chunked);
	}
}
END_TEST

START_TEST(the_sixty_fourth_header_is_one_too_many)
{
	struct mg_header h[64];
	struct web_framing f;

	for (int i = 0; i < 64; i++)
		h[i] = (struct mg_header){ "X", "y" };
	ck_assert_ptr_null(web_check_framing(h, 63, "1.1", &f));
	ck_assert_int_eq(web_check_framing(h, 64, "1.1", &f)->status, 431);
}
END_TEST

static const struct {
	const char *host, *hosts;
	int status;
} hosts[] = {
	{ NULL, NULL, 400 }, { "", NULL, 400 }, { ":80", NULL, 400 },
	{ "a b", NULL, 400 }, { "a@b", NULL, 400 }, { "a/b", "*", 400 },
	{ "a:", NULL, 400 }, { "a:b", NULL, 400 }, { "a:65536", NULL, 400 },
	{ "a:123456", NULL, 400 }, { "a:1:2", NULL, 400 }, { ".", NULL, 400 },
	{ "[::1", NULL, 400 }, { "[::1]x", NULL, 400 }, { "[", NULL, 400 },
	{ "a,b", NULL, 400 }, { "user:pw@localhost", NULL, 400 },
	{ L(L(L(L("x")))), "*", 400 },
	{ "localhost", NULL, 0 }, { "LocalHost:8180", NULL, 0 },
	{ "localhost.", NULL, 0 }, { "127.0.0.1:1", NULL, 0 },
	{ "[::1]:80", NULL, 0 }, { "192.168.1.7", NULL, 0 },
	{ "[fe80::1]", NULL, 0 }, { "bound.example", NULL, 0 },
	{ "evil.example", NULL, 421 }, { "localhost.evil.example", NULL, 421 },
	{ "127.0.0.1.evil.example", NULL, 421 }, { "0x7f.1", NULL, 421 },
	{ "[::g]", NULL, 400 }, { "[1:2]", NULL, 421 }, { "[]", NULL, 421 },
	{ "a", "b, a,c", 0 }, { "A:80", "a", 0 }, { "b", "a,bb", 421 },
	{ "x", "", 421 }, { "x", ", ,", 421 }, { "any", "*", 0 },
	{ "any", "a, *", 0 },
	{ "box", NULL, 0 }, { "Box.lan:80", NULL, 0 }, { "box.local", NULL, 0 },
	{ "boxes", NULL, 421 }, { "box.example", NULL, 421 },
	{ "bo", NULL, 421 }, { "box.lan.example", NULL, 421 },
	{ "box.local.example", NULL, 421 }, { "lan", NULL, 421 },
	{ "host.docker.internal:8180", NULL, 0 },
	{ "host.containers.internal", NULL, 0 },
	{ "docker.internal", NULL, 421 }, { "x.docker.internal", NULL, 421 },
};

START_TEST(a_machine_without_a_name_has_none)
{
	ck_assert_ptr_nonnull(web_check_host("local", "127.0.0.1", "", NULL));
	ck_assert_ptr_nonnull(web_check_host("x.local", "127.0.0.1", "", NULL));
}
END_TEST

START_TEST(a_host_is_known_or_refused)
{
	const struct web_refusal *why = web_check_host(hosts[_i].host,
	    "bound.example", "Box.lan", hosts[_i].hosts);

	ck_assert_int_eq(why == NULL ? 0 : why->status, hosts[_i].status);
}
END_TEST

static const struct {
	const char *origin, *origins;
	bool allowed;
} origins[] = {
	{ NULL, NULL, true }, { "http://localhost", NULL, true },
	{ "https://localhost:3000", NULL, true },
	{ "http://127.0.0.1:5173", NULL, true },
	{ "http://127.9.9.9", NULL, true }, { "http://[::1]:80", NULL, true },
	{ "HTTP://LOCALHOST", NULL, true },
	{ "http://us.example:8180", NULL, true },	/* it is the Host */
	{ "http://us.example", NULL, false },
	{ "http://us.example:8181", NULL, false },
	{ "", NULL, false }, { "null", NULL, false }, { "null", "null", true },
	{ "", "a,", false },
	{ "http://evil.example", NULL, false },
	{ "http://localhost.evil.example", NULL, false },
	{ "http://127.0.0.1.evil.example", NULL, false },
	{ "http://127.evil.example", NULL, false },
	{ "http://localhost@evil.example", NULL, false },
	{ "http://evil.example#localhost", NULL, false },
	{ "http://evil.example/localhost", NULL, false },
	{ "file://localhost", NULL, false }, { "localhost", NULL, false },
	{ "http://localhost/", NULL, false }, { "http://", NULL, false },
	{ "http://localhost:", NULL, false },
	{ "http://localhost x", "*", false },
	{ "http://a\tb", "*", false }, { "http://a, http://b", "*", false },
	{ "http://a.example", "http://b.example, http://a.example", true },
	{ "http://a.example:1", "http://a.example", false },
	{ "app://obsidian.md", "app://obsidian.md", true },
	{ "http://any.example", "*", true },
};

START_TEST(an_origin_is_ours_or_listed)
{
	const struct web_refusal *why = web_check_origin(origins[_i].origin,
	    "us.example:8180", origins[_i].origins);

	ck_assert_int_eq(why == NULL, origins[_i].allowed);
	if (why != NULL)
		ck_assert_int_eq(why->status, 403);
}
END_TEST

static const struct {
	const char *query, *name, *value;	/* value NULL: absent */
} queries[] = {
	{ "", "a", NULL }, { "a", "a", "" }, { "a=", "a", "" },
	{ "a=1", "a", "1" }, { "b=2&a=1", "a", "1" }, { "aa=1", "a", NULL },
	{ "a=1&a=2", "a", "1" }, { "&&a=1&", "a", "1" },
	{ "a=x%20y+z", "a", "x y z" }, { "a=%2f%2F", "a", "//" },
	{ "a=%", "a", NULL }, { "a=%2", "a", NULL }, { "a=%zz", "a", NULL },
	{ "a=%00b", "a", NULL }, { "a=b=c", "a", "b=c" },
	{ "a=%2&b=1", "b", "1" }, { "=1", "", "1" },
	{ "a=1234567", "a", "1234567" }, { "a=12345678", "a", NULL },
};

START_TEST(a_query_parameter_is_decoded_or_absent)
{
	char out[8];
	bool found = web_find_query(queries[_i].query, queries[_i].name, out,
	    sizeof(out));

	ck_assert_int_eq(found, queries[_i].value != NULL);
	if (found)
		ck_assert_str_eq(out, queries[_i].value);
}
END_TEST

START_TEST(what_cannot_be_decoded_is_there_all_the_same)
{
	ck_assert(web_has_query("b=1&a=%", "a"));
	ck_assert(web_has_query("a", "a"));
	ck_assert(!web_has_query("aa=1&b=a", "a"));
	ck_assert(!web_has_query("", "a"));
}
END_TEST

START_TEST(a_key_is_what_follows_bearer)
{
	ck_assert_str_eq(web_check_bearer("Bearer k"), "k");
	ck_assert_str_eq(web_check_bearer("bEARER   k y"), "k y");
	ck_assert_ptr_null(web_check_bearer(NULL));
	ck_assert_ptr_null(web_check_bearer(""));
	ck_assert_ptr_null(web_check_bearer("Bearer"));
	ck_assert_ptr_null(web_check_bearer("Bearer "));
	ck_assert_ptr_null(web_check_bearer("Basic k"));
	ck_assert_ptr_null(web_check_bearer("Bearerk"));
	ck_assert_ptr_null(web_check_bearer("Bearer k\x80"));
}
END_TEST

START_TEST(a_request_id_is_short_and_plain)
{
	ck_assert(web_check_id("a.B-9_"));
	ck_assert(web_check_id("Root=1-67891233-abc:def/0+1@x~"));
	ck_assert(!web_check_id("a\"b"));
	ck_assert(!web_check_id("a\\b"));
	ck_assert(!web_check_id("a,b"));
	ck_assert(web_check_id(L("")));
	ck_assert(!web_check_id(L("5")));
	ck_assert(!web_check_id(""));
	ck_assert(!web_check_id("a b"));
	ck_assert(!web_check_id("a\r\nb"));
	ck_assert(!web_check_id("\xc3\xa9"));
}
END_TEST

START_TEST(a_path_is_visible_ASCII)
{
	ck_assert(web_check_path("/"));
	ck_assert(web_check_path("/v1/a~b"));
	ck_assert(!web_check_path(""));
	ck_assert(!web_check_path("a"));
	ck_assert(!web_check_path("/a b"));
	ck_assert(!web_check_path("/a\x7f"));
	ck_assert(!web_check_path("/\xc3\xa9"));
}
END_TEST

START_TEST(json_has_several_names_and_curl_none)
{
	ck_assert_int_eq(web_check_media("application/json"), WEB_MEDIA_JSON);
	ck_assert_int_eq(web_check_media("Application/JSON; charset=utf-8"),
	    WEB_MEDIA_JSON);
	ck_assert_int_eq(web_check_media("application/a+json;x"),
	    WEB_MEDIA_JSON);
	ck_assert_int_eq(web_check_media(NULL), WEB_MEDIA_MAYBE);
	ck_assert_int_eq(web_check_media(""), WEB_MEDIA_MAYBE);
	ck_assert_int_eq(web_check_media("application/x-www-form-urlencoded"),
	    WEB_MEDIA_MAYBE);
	ck_assert_int_eq(web_check_media("text/plain"), WEB_MEDIA_OTHER);
	ck_assert_int_eq(web_check_media("application/jsonp"), WEB_MEDIA_OTHER);
	ck_assert_int_eq(web_check_media("+json"), WEB_MEDIA_OTHER);
	ck_assert_int_eq(web_check_media("multipart/form-data; a=+json"),
	    WEB_MEDIA_OTHER);
}
END_TEST

static void
nothing(struct web_request *rq, void *arg)
{
	(void)rq;
	(void)arg;
}

static const struct web_route routes[] = {
	{ "GET", "/a", nothing, 0, 0 },
	{ "POST", "/a", nothing, 1, WEB_PREFLIGHT },
	{ "GET", "/m/*", nothing, 0, WEB_PUBLIC },
	{ "DELETE", "/m/*", nothing, 0, 0 },
	{ "GET", "/m/x", nothing, 0, 0 },
	{ "GET", "/", nothing, 0, 0 },
	{ "POST", "/m/*/pin", nothing, 0, 0 },
	{ "POST", "/m/x/pin", nothing, 0, 0 },
	{ "GET", "/take", nothing, 0, WEB_NO_HEAD },
	{ 0 }
};

static const struct {
	const char *method, *path;
	int index;		/* -1: none */
	const char *tail, *allow;
} matches[] = {
	{ "GET", "/a", 0, "", "GET, HEAD, POST, OPTIONS" },
	{ "HEAD", "/a", 0, "", "GET, HEAD, POST, OPTIONS" },
	{ "POST", "/a", 1, "", "GET, HEAD, POST, OPTIONS" },
	{ "PUT", "/a", -1, "", "GET, HEAD, POST, OPTIONS" },
	{ "get", "/a", -1, "", "GET, HEAD, POST, OPTIONS" },
	{ "GET", "/A", -1, "", "" }, { "GET", "/a/", -1, "", "" },
	{ "GET", "/aa", -1, "", "" }, { "GET", "//a", -1, "", "" },
	{ "GET", "/m/y", 2, "y", "GET, HEAD, DELETE" },
	{ "GET", "/m/x", 4, "", "GET, HEAD, DELETE" },
	{ "DELETE", "/m/x", 3, "x", "GET, HEAD, DELETE" },
	{ "GET", "/m/", -1, "", "" }, { "GET", "/m", -1, "", "" },
	{ "GET", "/m/x/y", -1, "", "" }, { "GET", "/m/*", 2, "*",
	    "GET, HEAD, DELETE" },
	{ "GET", "/", 5, "", "GET, HEAD" }, { "GET", "", -1, "", "" },
	{ "POST", "/m/y/pin", 6, "y", "POST" },
	{ "POST", "/m/x/pin", 7, "", "POST" },
	{ "POST", "/m//pin", -1, "", "" }, { "POST", "/m/y/pin/", -1, "", "" },
	{ "POST", "/m/y/z/pin", -1, "", "" }, { "POST", "/m/y/pi", -1, "", "" },
	{ "POST", "/m/pin", -1, "", "GET, HEAD, DELETE" },
	{ "GET", "/take", 8, "", "GET" }, { "HEAD", "/take", -1, "", "GET" },
	/* Escapes are for names, not for the path around them. */
	{ "GET", "/%61", -1, "", "" }, { "GET", "/%6d/y", -1, "", "" },
	{ "GET", "/m%2fy", -1, "", "" }, { "POST", "/m/y/p%69n", -1, "", "" },
	{ "GET", "/m/a%3Ab%20c+d", 2, "a:b c+d", "GET, HEAD, DELETE" },
	{ "GET", "/m/a%2fb", 2, "a/b", "GET, HEAD, DELETE" },
	{ "GET", "/m/%c3%A9%25", 2, "\xc3\xa9%", "GET, HEAD, DELETE" },
	{ "GET", "/m/%78", 2, "x", "GET, HEAD, DELETE" },
	{ "POST", "/m/%2e%2e%2f/pin", 6, "../", "POST" },
	{ "GET", "/m/%", -1, "", "" }, { "GET", "/m/a%4", -1, "", "" },
	{ "GET", "/m/%zz", -1, "", "" }, { "GET", "/m/%00", -1, "", "" },
	{ "GET", "/m/a%0a", -1, "", "" }, { "GET", "/m/%7f", -1, "", "" },
	{ "GET", "/m/%c3", -1, "", "" }, { "GET", "/m/%ed%a0%80", -1, "", "" },
};

START_TEST(a_segment_in_the_middle_is_bounded)
{
	char path[WEB_SEGMENT_MAX + 16];
	struct web_match m;

	memset(path, 'y', sizeof(path));
	memcpy(path, "/m/", 3);
	strcpy(path + 3 + WEB_SEGMENT_MAX, "/pin");
	web_match(routes, "POST", path, &m);
	ck_assert_ptr_eq(m.route, &routes[6]);
	ck_assert_uint_eq(strlen(m.tail), WEB_SEGMENT_MAX);
	strcpy(path + 4 + WEB_SEGMENT_MAX, "/pin");
	path[3 + WEB_SEGMENT_MAX] = 'y';
	web_match(routes, "POST", path, &m);
	ck_assert_ptr_null(m.route);
}
END_TEST

START_TEST(a_route_is_matched_exactly)
{
	struct web_match m;

	web_match(routes, matches[_i].method, matches[_i].path, &m);
	if (matches[_i].index == -1)
		ck_assert_ptr_null(m.route);
	else
		ck_assert_ptr_eq(m.route, &routes[matches[_i].index]);
	ck_assert_str_eq(m.tail, matches[_i].tail);
	ck_assert_str_eq(m.allow, matches[_i].allow);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("web_check");
	TCase *t = tcase_create("web_check");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, a_segment_in_the_middle_is_bounded);
	tcase_add_loop_test(t, framing_is_strict, 0, N(framings));
	tcase_add_test(t, the_sixty_fourth_header_is_one_too_many);
	tcase_add_loop_test(t, a_host_is_known_or_refused, 0, N(hosts));
	tcase_add_test(t, a_machine_without_a_name_has_none);
	tcase_add_loop_test(t, an_origin_is_ours_or_listed, 0, N(origins));
	tcase_add_loop_test(t, a_query_parameter_is_decoded_or_absent, 0,
	    N(queries));
	tcase_add_test(t, what_cannot_be_decoded_is_there_all_the_same);
	tcase_add_test(t, a_key_is_what_follows_bearer);
	tcase_add_test(t, a_request_id_is_short_and_plain);
	tcase_add_test(t, a_path_is_visible_ASCII);
	tcase_add_test(t, json_has_several_names_and_curl_none);
	tcase_add_loop_test(t, a_route_is_matched_exactly, 0, N(matches));
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
