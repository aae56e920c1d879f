#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth.h"

static char path[64];

static int
load(const char *text, struct auth *a, struct err *e)
{
	FILE *fp;
	int r;

	snprintf(path, sizeof(path), BUILD "/auth-%d", (int)getpid());
	fp = fopen(path, "w");
	ck_assert_ptr_nonnull(fp);
	fputs(text, fp);
	fclose(fp);
	*a = (struct auth){ 0 };
	r = auth_load(a, path, e);
	unlink(path);
	return r;
}

START_TEST(a_key_or_its_digest_opens)
{
	struct auth a;
	struct err e;

	/* printf %s hashed-key | sha256sum */
	ck_assert_int_eq(load("# keys\n\nplain-key\r\nsha256:"
	    "a4ae87b73fa5645e6aee415a6f72be4dcbd99d057a7b40cb1b867c181d179260"
	    "\n", &a, &e), 0);
	ck_assert_uint_eq(a.n, 2);
	ck_assert(auth_allows(&a, "plain-key"));
	ck_assert(auth_allows(&a, "hashed-key"));
	ck_assert(!auth_allows(&a, "hashed-key2"));
	ck_assert(!auth_allows(&a, "plain-ke"));
	ck_assert(!auth_allows(&a, "plain-key "));
	ck_assert(!auth_allows(&a, ""));
	ck_assert(!auth_allows(&a, "# keys"));
	ck_assert(!auth_allows(&a, NULL));
	auth_free(&a);
}
END_TEST

START_TEST(a_key_given_as_digest_opens)
{
	struct auth a;
	struct err e;

	/* FIPS 180-4's example. */
	ck_assert_int_eq(load("sha256:248D6A61D20638B8e5c026930c3e6039"
	    "a33ce45964ff2167f6ecedd419db06c1", &a, &e), 0);
	ck_assert(auth_allows(&a,
	    "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"));
	ck_assert(!auth_allows(&a, "248d6a61d20638b8e5c026930c3e6039"
	    "a33ce45964ff2167f6ecedd419db06c1"));
	auth_free(&a);
}
END_TEST

START_TEST(without_keys_everybody_may_enter)
{
	struct auth a = { 0 };

	ck_assert(auth_allows(&a, NULL));
	ck_assert(auth_allows(&a, "anything"));
}
END_TEST

static const struct { const char *text; int code; const char *end; }
refused[] = {
	{ "", ERR_BAD_FILE, ": there is no key in it" },
	{ "# only a comment\n", ERR_BAD_FILE, ": there is no key in it" },
	{ "short\n", ERR_BAD_FILE, ":1: a key of 5 characters, not 8 to 256" },
	{ "good-key-1\nwith a blank\n", ERR_BAD_FILE,
	  ":2: a key with a blank or a character that is not visible ASCII" },
	{ "sha256:abc\n", ERR_BAD_FILE,
	  ":1: sha256: is not followed by 64 hex digits" },
	{ "sha256:zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"
	  "zzzzzzzz\n", ERR_BAD_FILE,
	  ":1: sha256: is not followed by 64 hex digits" },
};

START_TEST(refuses_a_file_and_never_shows_a_key)
{
	struct auth a;
	struct err e;
	size_t n = strlen(refused[_i].end);

	ck_assert_int_eq(load(refused[_i].text, &a, &e), refused[_i].code);
	ck_assert_uint_gt(strlen(e.text), n);
	ck_assert_str_eq(e.text + strlen(e.text) - n, refused[_i].end);
	ck_assert_uint_eq(a.n, 0);
}
END_TEST

START_TEST(a_file_that_is_not_there_is_an_error)
{
	struct auth a = { 0 };
	struct err e;

	ck_assert_int_eq(auth_load(&a, "/nonexistent/keys", &e), ERR_SYSTEM);
	ck_assert_str_eq(e.text,
	    "/nonexistent/keys: No such file or directory");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("auth");
	TCase *t = tcase_create("auth");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, a_key_or_its_digest_opens);
	tcase_add_test(t, a_key_given_as_digest_opens);
	tcase_add_test(t, without_keys_everybody_may_enter);
	tcase_add_loop_test(t, refuses_a_file_and_never_shows_a_key, 0,
	    (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(t, a_file_that_is_not_there_is_an_error);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
