#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
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
	auth_init(a);
	r = auth_load(a, path, e);
	unlink(path);
	return r;
}

static bool
allows(struct auth *a, const char *bearer)
{
	struct auth_key key;

	return auth_find(a, bearer, &key);
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
	ck_assert(allows(&a, "plain-key"));
	ck_assert(allows(&a, "hashed-key"));
	ck_assert(!allows(&a, "hashed-key2"));
	ck_assert(!allows(&a, "plain-ke"));
	ck_assert(!allows(&a, "plain-key "));
	ck_assert(!allows(&a, ""));
	ck_assert(!allows(&a, "# keys"));
	ck_assert(!allows(&a, NULL));
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
	ck_assert(allows(&a,
	    "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"));
	ck_assert(!allows(&a, "248d6a61d20638b8e5c026930c3e6039"
	    "a33ce45964ff2167f6ecedd419db06c1"));
	auth_free(&a);
}
END_TEST

START_TEST(without_keys_everybody_may_enter)
{
	struct auth_key key;
	struct auth a;

	auth_init(&a);
	ck_assert(auth_find(&a, NULL, &key));
	ck_assert_str_eq(key.name, "");
	ck_assert(!key.admin);
	ck_assert_int_eq(key.rpm, AUTH_DEFAULT);
	ck_assert(allows(&a, "anything"));
	auth_free(&a);
}
END_TEST

static const struct { const char *text; int code; const char *end; }
refused[] = {
	{ "", ERR_BAD_FILE, ": there is no key in it" },
	{ "# only a comment\n", ERR_BAD_FILE, ": there is no key in it" },
	{ "short\n", ERR_BAD_FILE, ":1: a key of 5 characters, not 8 to 256" },
	{ "good-key-1\ngood\001key-2\n", ERR_BAD_FILE,
	  ":2: a key with a character that is not visible ASCII" },
	{ "good-key-1 and more\n", ERR_BAD_FILE, ":1: word 1 after the key is "
	  "none of admin, name=, rpm=, tpm=" },
	{ "good-key-1 admin rpm=1 Admin\n", ERR_BAD_FILE, ":1: word 3 after the "
	  "key is none of admin, name=, rpm=, tpm=" },
	{ "good-key-1 rpm=\n", ERR_BAD_FILE,
	  ":1: rpm= is not followed by a number of 1 to 9 digits" },
	{ "good-key-1 rpm=1234567890\n", ERR_BAD_FILE,
	  ":1: rpm= is not followed by a number of 1 to 9 digits" },
	{ "good-key-1 tpm=-1\n", ERR_BAD_FILE,
	  ":1: tpm= is not followed by a number of 1 to 9 digits" },
	{ "good-key-1 name=\n", ERR_BAD_FILE, ":1: name= is not followed by 1 to "
	  "32 of A-Z a-z 0-9 . _ -" },
	{ "good-key-1 name=a\"b\n", ERR_BAD_FILE, ":1: name= is not followed by "
	  "1 to 32 of A-Z a-z 0-9 . _ -" },
	{ "good-key-1 name=123456789012345678901234567890123\n", ERR_BAD_FILE,
	  ":1: name= is not followed by 1 to 32 of A-Z a-z 0-9 . _ -" },
	{ "good-key-1\ngood-key-2\ngood-key-1 admin\n", ERR_BAD_FILE,
	  ":3: the same key as number 1" },
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
	ck_assert_ptr_null(strstr(e.text, "good"));
}
END_TEST

START_TEST(words_say_whose_a_key_is_and_what_it_may)
{
	struct auth_key key;
	struct auth a;
	struct err e;

	ck_assert_int_eq(load("boss-key-1 admin name=boss rpm=0\n"
	    "  \t\nsecond-key\ttpm=9000   rpm=60\n"
	    "last-key-3 name=ann\n", &a, &e), 0);
	ck_assert_uint_eq(auth_count(&a), 3);
	ck_assert(auth_find(&a, "boss-key-1", &key));
	ck_assert_str_eq(key.name, "boss");
	ck_assert(key.admin);
	ck_assert_int_eq(key.rpm, 0);
	ck_assert_int_eq(key.tpm, AUTH_DEFAULT);
	ck_assert(auth_find(&a, "second-key", &key));
	ck_assert_str_eq(key.name, "key2");
	ck_assert(!key.admin);
	ck_assert_int_eq(key.rpm, 60);
	ck_assert_int_eq(key.tpm, 9000);
	ck_assert(auth_find(&a, "last-key-3", &key));
	ck_assert_str_eq(key.name, "ann");
	ck_assert(!allows(&a, "boss-key-1 admin"));
	auth_free(&a);
}
END_TEST

START_TEST(a_file_that_became_unusable_leaves_the_keys)
{
	struct auth a, unused;
	struct err e;
	FILE *fp;

	ck_assert_int_eq(load("first-key-1\n", &a, &e), 0);
	fp = fopen(path, "w");
	ck_assert_ptr_nonnull(fp);
	fputs("second-key-2\nshort\n", fp);
	fclose(fp);
	ck_assert_int_eq(auth_load(&a, path, &e), ERR_BAD_FILE);
	ck_assert(allows(&a, "first-key-1"));
	ck_assert(!allows(&a, "second-key-2"));
	unlink(path);
	ck_assert_int_eq(auth_load(&a, path, &e), ERR_SYSTEM);
	ck_assert(allows(&a, "first-key-1"));
	/* And one that can be used replaces them all. */
	ck_assert_int_eq(load("third-key-3\n", &unused, &e), 0);
	auth_free(&unused);
	fp = fopen(path, "w");
	ck_assert_ptr_nonnull(fp);
	fputs("third-key-3\n", fp);
	fclose(fp);
	ck_assert_int_eq(auth_load(&a, path, &e), 0);
	unlink(path);
	ck_assert(!allows(&a, "first-key-1"));
	ck_assert(allows(&a, "third-key-3"));
	auth_free(&a);
}
END_TEST

static struct auth shared;
static atomic_bool stop_asking;

static void *
ask(void *arg)
{
	struct auth_key key;

	while (!stop_asking)
		if (!auth_find(&shared, "stays-key-1", &key) ||
		    strcmp(key.name, "stays") != 0)
			return "refused";
	(void)arg;
	return NULL;
}

START_TEST(reading_again_disturbs_nobody)
{
	pthread_t threads[3];
	struct err e;
	void *why;

	ck_assert_int_eq(load("stays-key-1 name=stays\n", &shared, &e), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, ask, NULL), 0);
	for (int i = 0; i < 200; i++) {
		FILE *fp = fopen(path, "w");

		ck_assert_ptr_nonnull(fp);
		fprintf(fp, "goes-key-%d\nstays-key-1 name=stays\n", i);
		fclose(fp);
		ck_assert_int_eq(auth_load(&shared, path, &e), 0);
	}
	stop_asking = true;
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &why);
		ck_assert_ptr_null(why);
	}
	unlink(path);
	auth_free(&shared);
}
END_TEST

START_TEST(a_file_that_is_not_there_is_an_error)
{
	struct auth a;
	struct err e;

	auth_init(&a);
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
	tcase_add_test(t, words_say_whose_a_key_is_and_what_it_may);
	tcase_add_test(t, a_file_that_became_unusable_leaves_the_keys);
	tcase_add_test(t, reading_again_disturbs_nobody);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
