#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"

/* FIPS 180-4 examples, and the lengths around the padding's edges, of 'a'. */
static const struct {
	const char *text;
	size_t repeat;
	const char *hex;
} vectors[] = {
	{ "", 1,
	  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
	{ "abc", 1,
	  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
	{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
	  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	{ "a", 1000000,
	  "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0" },
	{ "a", 55,
	  "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318" },
	{ "a", 56,
	  "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a" },
	{ "a", 64,
	  "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb" },
	{ "a", 119,
	  "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb" },
};

START_TEST(agrees_with_the_standard)
{
	uint8_t got[SHA256_SIZE], want[SHA256_SIZE];
	struct sha256 h;

	sha256_init(&h);
	for (size_t i = 0; i < vectors[_i].repeat; i++)
		sha256_add(&h, vectors[_i].text, strlen(vectors[_i].text));
	sha256_finish(&h, got);
	ck_assert(sha256_from_hex(vectors[_i].hex, want));
	ck_assert_mem_eq(got, want, SHA256_SIZE);
}
END_TEST

START_TEST(equality_sees_every_byte)
{
	uint8_t a[SHA256_SIZE], b[SHA256_SIZE];

	sha256("key", 3, a);
	memcpy(b, a, sizeof(b));
	ck_assert(sha256_equal(a, b));
	for (int i = 0; i < SHA256_SIZE; i++) {
		b[i] ^= 1;
		ck_assert(!sha256_equal(a, b));
		b[i] ^= 1;
	}
}
END_TEST

START_TEST(refuses_what_is_not_64_hex_digits)
{
	static const char *const bad[] = { "", "ab",
		"g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8555",
		" 3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	};
	uint8_t out[SHA256_SIZE];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert(!sha256_from_hex(bad[i], out));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sha256");
	TCase *t = tcase_create("sha256");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, agrees_with_the_standard, 0,
	    (int)(sizeof(vectors) / sizeof(vectors[0])));
	tcase_add_test(t, equality_sees_every_byte);
	tcase_add_test(t, refuses_what_is_not_64_hex_digits);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
