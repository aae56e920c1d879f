#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "gguf_file.h"
#include "model/gguf.h"

/* A file with one key of every kind and three tensors. */
static struct buf
good_file(uint32_t version, uint32_t alignment)
{
	struct gguf_file f = { .version = version, .alignment = alignment };

	if (alignment != 0)
		gf_int(&f, "general.alignment", alignment);
	gf_string(&f, "a.string", "text");
	gf_int(&f, "a.u32", 4000000000u);
	gf_float(&f, "a.float", 1.5f);
	gf_bool(&f, "a.bool", 1);
	gf_key(&f, "a.i8", 1);
	buf_add(&f.pairs, "\xff", 1);
	gf_key(&f, "a.i16", 3);
	buf_add(&f.pairs, "\x00\x80", 2);
	gf_key(&f, "a.u64", 10);
	gf_u64(&f.pairs, 1ull << 63);
	gf_key(&f, "a.i64", 11);
	gf_u64(&f.pairs, (uint64_t)-5);
	gf_key(&f, "a.f64", 12);
	gf_u64(&f.pairs, 0x4004000000000000);
	gf_array(&f, "an.array", 8, 3);
	gf_text(&f.pairs, "x");
	gf_text(&f.pairs, "");
	gf_text(&f.pairs, "zyx");
	gf_array(&f, "an.array.of.u16", 2, 2);
	buf_add(&f.pairs, "\x01\x00\xff\xff", 4);
	gf_array(&f, "an.array.of.f32", 6, 1);
	gf_f32(&f.pairs, -2);
	gf_array(&f, "an.empty.array", 4, 0);
	gf_tensor(&f, "one", 0, 4, 0);
	buf_add(&f.data, "0123456789abcdef", 16);
	gf_tensor(&f, "three", 0, 1, 1);
	buf_add(&f.data, "wxyz", 4);
	gf_tensor(&f, "second", 1, 2, 3);
	buf_add(&f.data, "ABCDEFGHIJKL", 12);
	return gf_finish(&f);
}

static void
check_values(const struct gguf *g)
{
	struct err e = { 0 };
	struct gguf_string s;
	struct gguf_array a;
	int64_t i = 0;
	double d = 0;
	bool b = false;
	size_t at = 0;

	ck_assert(gguf_get_int(g, "a.u32", &i, &e) && i == 4000000000);
	ck_assert(gguf_get_int(g, "a.i8", &i, &e) && i == -1);
	ck_assert(gguf_get_int(g, "a.i16", &i, &e) && i == -32768);
	ck_assert(gguf_get_int(g, "a.i64", &i, &e) && i == -5);
	ck_assert(gguf_get_float(g, "a.float", &d, &e) && d == 1.5);
	ck_assert(gguf_get_float(g, "a.f64", &d, &e) && d == 2.5);
	ck_assert(gguf_get_bool(g, "a.bool", &b, &e) && b);
	ck_assert(gguf_get_string(g, "a.string", &s, &e));
	ck_assert_mem_eq(s.s, "text", 4);
	ck_assert_uint_eq(s.n, 4);
	ck_assert(gguf_get_array(g, "an.array", &a, &e));
	ck_assert_uint_eq(a.n, 3);
	ck_assert_int_eq((int)a.kind, GGUF_STRING);
	ck_assert_uint_eq(gguf_array_string(&a, &at).n, 1);
	ck_assert_uint_eq(gguf_array_string(&a, &at).n, 0);
	ck_assert_mem_eq(gguf_array_string(&a, &at).s, "zyx", 3);
	ck_assert(gguf_get_array(g, "an.array.of.u16", &a, &e));
	ck_assert_int_eq(gguf_array_int(&a, 0), 1);
	ck_assert_int_eq(gguf_array_int(&a, 1), 65535);
	ck_assert(gguf_get_array(g, "an.array.of.f32", &a, &e));
	ck_assert_double_eq(gguf_array_float(&a, 0), -2);
	ck_assert(gguf_get_array(g, "an.empty.array", &a, &e) && a.n == 0);
	ck_assert(!gguf_get_int(g, "absent", &i, &e));
	ck_assert_int_eq(e.code, 0);
}

static void
check_tensors(const struct gguf *g)
{
	const struct gguf_tensor *t = gguf_tensor(g, "second");

	ck_assert_uint_eq(gguf_n_tensors(g), 3);
	ck_assert_ptr_nonnull(t);
	ck_assert_mem_eq(t->data, "ABCDEFGHIJKL", 12);
	ck_assert_int_eq(t->n_dims, 2);
	ck_assert_uint_eq(t->dims[0], 2);
	ck_assert_uint_eq(t->dims[1], 3);
	ck_assert_uint_eq(t->dims[3], 1);
	ck_assert_uint_eq(t->type, 1);
	ck_assert_uint_ge(t->size, 12);
	ck_assert_ptr_nonnull(t = gguf_tensor(g, "one"));
	ck_assert_mem_eq(t->data, "0123456789abcdef", 16);
	ck_assert_ptr_null(gguf_tensor(g, "on"));
	ck_assert_ptr_null(gguf_tensor(g, "ones"));
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_ge(gguf_tensor_at(g, i)->size, 4);
}

static const struct {
	uint32_t version, alignment;
} goods[] = { { 2, 0 }, { 3, 0 }, { 3, 8 }, { 3, 64 }, { 3, 4096 } };

START_TEST(a_file_gives_back_what_was_written)
{
	struct buf b = good_file(goods[_i].version, goods[_i].alignment);
	struct gguf *g;
	struct err e;

	ck_assert_msg(gguf_parse(b.data, b.len, "x", &g, &e) == 0, "%s", e.text);
	check_values(g);
	check_tensors(g);
	ck_assert_str_eq(gguf_what(g), "x");
	gguf_close(g);
	buf_free(&b);
}
END_TEST

START_TEST(a_value_of_another_kind_is_an_error_of_the_file)
{
	struct buf b = good_file(3, 0);
	struct gguf_string s;
	struct gguf_array a;
	struct gguf *g;
	struct err e = { 0 };
	int64_t i = 7;
	double d;
	bool t;

	ck_assert_int_eq(gguf_parse(b.data, b.len, "x", &g, &e), 0);
	ck_assert(!gguf_get_int(g, "a.string", &i, &e));
	ck_assert_str_eq(e.text, "x: key 'a.string' is STRING, expected an "
	    "integer");
	ck_assert_int_eq(e.code, ERR_BAD_FILE);
	ck_assert(!gguf_get_int(g, "a.bool", &i, &e));
	ck_assert(!gguf_get_int(g, "a.u64", &i, &e));
	ck_assert_str_eq(e.text, "x: key 'a.u64' is 2^63 or more");
	ck_assert_int_eq(i, 7);
	ck_assert(!gguf_get_float(g, "a.u32", &d, &e));
	ck_assert_str_eq(e.text, "x: key 'a.u32' is U32, expected F32 or F64");
	ck_assert(!gguf_get_bool(g, "a.u32", &t, &e));
	ck_assert(!gguf_get_string(g, "an.array", &s, &e));
	ck_assert_str_eq(e.text, "x: key 'an.array' is ARRAY, expected STRING");
	ck_assert(!gguf_get_array(g, "a.string", &a, &e));
	gguf_close(g);
	buf_free(&b);
}
END_TEST

/* A file must not be believed beyond its end: it is put before a guard. */
START_TEST(every_beginning_of_a_file_is_refused)
{
	struct buf b = good_file(3, 0);
	struct err e;

	for (size_t n = 0; n + 12 < b.len; n++) {
		char *p = malloc(n > 0 ? n : 1);
		struct gguf *g;

		memcpy(p, b.data, n);
		if (gguf_parse(p, n, "x", &g, &e) == 0) {
			/* What is missing is padding and the last tensor's. */
			ck_assert_uint_gt(n, b.len - 32);
			gguf_close(g);
		} else
			ck_assert_msg(strncmp(e.text, "x: ", 3) == 0, "%s",
			    e.text);
		free(p);
	}
	buf_free(&b);
}
END_TEST

/*
 * A header by hand: pieces to put together, each a letter and its value.
 *
 *	M magic and version	T, K counts	S string of so many bytes (its
 *	length alone: s)	I u32		L u64		B bytes of zeros
 *	A pads to 32
 */
struct piece {
	char kind;
	uint64_t value;
	const char *text;
};

enum { PIECES_MAX = 40 };

#define HEAD(tensors, keys) { 'M', 3, NULL }, { 'L', tensors, NULL }, \
	{ 'L', keys, NULL }
#define STR(s) { 'S', 0, s }
#define U32(v) { 'I', v, NULL }
#define U64(v) { 'L', v, NULL }
#define ZEROS(n) { 'B', n, NULL }
#define PAD { 'A', 0, NULL }
/* A tensor [4] of F32 at offset. */
#define VECTOR(name, offset) STR(name), U32(1), U64(4), U32(0), U64(offset)

static const struct {
	struct piece pieces[PIECES_MAX];
	int code;
	const char *text;
} bads[] = {
	{ { { 'S', 4, "GGUF" } }, ERR_BAD_FILE, "does not begin with 'GGUF'" },
	{ { { 'M', 1, NULL }, U64(0), U64(0) }, ERR_UNSUPPORTED, "version 1" },
	{ { { 'M', 4, NULL }, U64(0), U64(0) }, ERR_UNSUPPORTED,
	    "GGUF version 4, expected 2 or 3" },
	{ { { 'M', 0x03000000, NULL }, U64(0), U64(0) }, ERR_UNSUPPORTED,
	    "big-endian" },
	{ { { 'M', 0xffffffff, NULL } }, ERR_UNSUPPORTED, "version 4294967295" },
	{ { HEAD(UINT64_MAX, 0), ZEROS(99) }, ERR_BAD_FILE,
	    "18446744073709551615 tensors, expected at most 3" },
	{ { HEAD(1ull << 63, 0) }, ERR_BAD_FILE, "9223372036854775808 tensors" },
	{ { HEAD(1ull << 32, 0) }, ERR_BAD_FILE, "4294967296 tensors" },
	{ { HEAD(65537, 0), ZEROS(3000000) }, ERR_BAD_FILE,
	    "65537 tensors, expected at most 65536: our limit" },
	{ { HEAD(0, UINT64_MAX) }, ERR_BAD_FILE, "keys, expected at most 0" },
	{ { HEAD(0, 1ull << 63), ZEROS(28) }, ERR_BAD_FILE, "at most 2: the f" },
	{ { HEAD(0, 1ull << 32) }, ERR_BAD_FILE, "4294967296 keys" },
	{ { HEAD(0, 65537), ZEROS(2000000) }, ERR_BAD_FILE, "our limit" },
	{ { HEAD(0, 1), STR(""), U32(0), ZEROS(9) }, ERR_BAD_FILE, "is empty" },
	{ { HEAD(0, 1), U64(1ull << 63), ZEROS(9) }, ERR_BAD_FILE,
	    "a key at byte 24 has 9223372036854775808 bytes, more than 65535" },
	{ { HEAD(0, 1), U64(100), ZEROS(9) }, ERR_BAD_FILE,
	    "takes 100 bytes, but 9 are left" },
	{ { HEAD(0, 1), STR("k"), U32(13), ZEROS(9) }, ERR_BAD_FILE,
	    "key 'k': kind 13, expected 0..12" },
	{ { HEAD(0, 1), STR("k"), U32(UINT32_MAX), ZEROS(9) }, ERR_BAD_FILE,
	    "kind 4294967295" },
	{ { HEAD(0, 1), STR("key"), U32(10), U32(1) }, ERR_BAD_FILE,
	    "takes 8 bytes, but 4 are left" },
	{ { HEAD(0, 1), STR("k"), U32(7), { 'I', 2, NULL } }, ERR_BAD_FILE,
	    "a truth value of 2" },
	{ { HEAD(0, 1), STR("k"), U32(8), U64(1ull << 63) }, ERR_BAD_FILE,
	    "more than 1048576" },
	{ { HEAD(0, 1), STR("k"), U32(8), U64(1048577), ZEROS(1048577) },
	    ERR_BAD_FILE, "has 1048577 bytes, more than 1048576" },
	{ { HEAD(0, 1), STR("k"), U32(8), U64(5), ZEROS(4) }, ERR_BAD_FILE,
	    "takes 5 bytes, but 4 are left" },
	{ { HEAD(0, 1), STR("k"), U32(9), U32(9), U64(1), U32(4), U64(0) },
	    ERR_BAD_FILE, "an array of kind 9 (ARRAY), expected numbers" },
	{ { HEAD(0, 1), STR("k"), U32(9), U32(77), U64(1), U32(4) },
	    ERR_BAD_FILE, "an array of kind 77 (?)" },
	{ { HEAD(0, 1), STR("k"), U32(9), U32(0), U64(1ull << 62) },
	    ERR_BAD_FILE, "an array of 4611686018427387904 elements" },
	{ { HEAD(0, 1), STR("k"), U32(9), U32(10), U64(1ull << 61) },
	    ERR_BAD_FILE, "more than 16777216" },
	{ { HEAD(0, 1), STR("k"), U32(9), U32(4), U64(3), ZEROS(11) },
	    ERR_BAD_FILE, "takes 12 bytes, but 11 are left" },
	{ { HEAD(0, 1), STR("k"), U32(9), U32(8), U64(1 << 24), U64(0) },
	    ERR_BAD_FILE, "a string of an array" },
	{ { HEAD(0, 1), STR("k"), U32(9), U32(8), U64(1), U64(1ull << 63) },
	    ERR_BAD_FILE, "a string of an array at byte" },
	{ { HEAD(0, 2), STR("k"), U32(4), U32(1), STR("k"), U32(4), U32(1) },
	    ERR_BAD_FILE, "key 'k' is there twice" },
	{ { HEAD(1, 0), U64(0), U32(1), U64(4), U32(0), U64(0), ZEROS(64) },
	    ERR_BAD_FILE, "has no name" },
	{ { HEAD(1, 0), U64(128), ZEROS(200) }, ERR_BAD_FILE,
	    "a tensor's name at byte 24 has 128 bytes, more than 127" },
	{ { HEAD(1, 0), STR("t"), U32(0), ZEROS(64) }, ERR_BAD_FILE,
	    "tensor 't': 0 dimensions, expected 1..4" },
	{ { HEAD(1, 0), STR("t"), U32(5), ZEROS(64) }, ERR_BAD_FILE,
	    "5 dimensions" },
	{ { HEAD(1, 0), STR("t"), U32(64), ZEROS(64) }, ERR_BAD_FILE,
	    "64 dimensions" },
	{ { HEAD(1, 0), STR("t"), U32(1u << 31), ZEROS(64) }, ERR_BAD_FILE,
	    "2147483648 dimensions" },
	{ { HEAD(1, 0), STR("t"), U32(1), U64(0), U32(0), U64(0), ZEROS(64) },
	    ERR_BAD_FILE, "dimension 0 is 0, expected at least 1" },
	{ { HEAD(1, 0), STR("t"), U32(2), U64(1), U64(UINT64_MAX), U32(0),
	    U64(0), ZEROS(64) }, ERR_BAD_FILE, "dimension 1 is -1" },
	{ { HEAD(1, 0), STR("t"), U32(2), U64((1ull << 42) + 1), U64(1ull << 42),
	    U32(0), U64(0), ZEROS(64) }, ERR_BAD_FILE,
	    "more elements than 64 bits count" },
	{ { HEAD(1, 0), STR("t"), U32(4), U64(1u << 31), U64(1u << 31),
	    U64(1u << 31), U64(2), U32(0), U64(0) }, ERR_BAD_FILE,
	    "more elements than" },
	{ { HEAD(1, 0), STR("t"), U32(1), U64(INT64_MAX), U32(0), U64(0),
	    ZEROS(64) }, ERR_BAD_FILE, "more elements than" },
	{ { HEAD(1, 0), VECTOR("t", 5), PAD, ZEROS(64) }, ERR_BAD_FILE,
	    "begins at 5, which is no multiple of 32" },
	{ { HEAD(1, 0), VECTOR("t", 64), PAD, ZEROS(64) }, ERR_BAD_FILE,
	    "tensor 't' begins 64 bytes into the data, but the file ends after "
	    "64" },
	{ { HEAD(1, 0), VECTOR("t", 0) }, ERR_BAD_FILE, "ends after 0" },
	{ { HEAD(1, 0), VECTOR("t", UINT64_MAX - 31), PAD, ZEROS(64) },
	    ERR_BAD_FILE, "begins 18446744073709551584 bytes into" },
	{ { HEAD(2, 0), VECTOR("a", 32), VECTOR("b", 32), PAD, ZEROS(64) },
	    ERR_BAD_FILE, "both begin at byte" },
	{ { HEAD(2, 0), VECTOR("a", 32), VECTOR("a", 0), PAD, ZEROS(64) },
	    ERR_BAD_FILE, "tensor 'a' is there twice" },
#define ALIGNMENT(kind, ...) { HEAD(0, 1), STR("general.alignment"), \
	U32(kind), __VA_ARGS__ }
	{ ALIGNMENT(4, U32(0)), ERR_BAD_FILE, "general.alignment is 0, expe" },
	{ ALIGNMENT(4, U32(3)), ERR_BAD_FILE, "a power of two in 8..65536" },
	{ ALIGNMENT(4, U32(24)), ERR_BAD_FILE, "alignment is 24" },
	{ ALIGNMENT(4, U32(1u << 31)), ERR_BAD_FILE, "is 2147483648" },
	{ ALIGNMENT(5, U32(UINT32_MAX - 31)), ERR_BAD_FILE, "is -32" },
	{ ALIGNMENT(10, U64(1ull << 63)), ERR_BAD_FILE, "2^63 or more" },
	{ ALIGNMENT(8, STR("32")), ERR_BAD_FILE,
	    "key 'general.alignment' is STRING, expected an integer" },
	{ ALIGNMENT(6, U32(0x42000000)), ERR_BAD_FILE, "is F32, expected an" },
};

static struct buf
put_together(const struct piece *p)
{
	struct buf b = { 0 };

	for (; p->kind != '\0'; p++)
		if (p->kind == 'M') {
			buf_adds(&b, "GGUF");
			gf_u32(&b, (uint32_t)p->value);
		} else if (p->kind == 'S')
			gf_text(&b, p->text);
		else if (p->kind == 'I')
			gf_u32(&b, (uint32_t)p->value);
		else if (p->kind == 'L')
			gf_u64(&b, p->value);
		else if (p->kind == 'A')
			while (b.len % 32 != 0)
				buf_add(&b, "", 1);
		else
			for (uint64_t i = 0; i < p->value; i++)
				buf_add(&b, "", 1);
	return b;
}

START_TEST(what_is_no_gguf_is_refused_in_a_sentence)
{
	struct buf b = put_together(bads[_i].pieces);
	struct gguf *g;
	struct err e = { 0 };
	int rc = gguf_parse(b.data, b.len, "x", &g, &e);

	ck_assert_msg(rc == bads[_i].code && e.code == rc, "%d %s", rc, e.text);
	ck_assert_msg(strncmp(e.text, "x: ", 3) == 0, "%s", e.text);
	ck_assert_msg(strstr(e.text, bads[_i].text) != NULL, "'%s' lacks '%s'",
	    e.text, bads[_i].text);
	buf_free(&b);
}
END_TEST

START_TEST(what_is_no_file_is_refused)
{
	char dir[48], path[64];
	struct gguf *g;
	struct err e;
	FILE *fp;

	strcpy(dir, "/tmp/test_gguf-" "XX" "XX" "XX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(gguf_open(dir, &g, &e), ERR_BAD_FILE);
	ck_assert_ptr_nonnull(strstr(e.text, "not a regular file"));
	ck_assert_int_eq(gguf_open("/dev/null", &g, &e), ERR_BAD_FILE);
	snprintf(path, sizeof(path), "%s/x", dir);
	ck_assert_int_eq(gguf_open(path, &g, &e), ERR_NOT_FOUND);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(gguf_open(path, &g, &e), ERR_BAD_FILE);
	unlink(path);
	ck_assert_ptr_nonnull(fp = fopen(path, "wb"));
	fclose(fp);
	ck_assert_int_eq(gguf_open(path, &g, &e), ERR_BAD_FILE);
	ck_assert_ptr_nonnull(strstr(e.text, "empty"));
	unlink(path);
	rmdir(dir);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gguf");
	TCase *t = tcase_create("gguf");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, a_file_gives_back_what_was_written, 0,
	    (int)(sizeof(goods) / sizeof(goods[0])));
	tcase_add_test(t, a_value_of_another_kind_is_an_error_of_the_file);
	tcase_add_test(t, every_beginning_of_a_file_is_refused);
	tcase_add_loop_test(t, what_is_no_gguf_is_refused_in_a_sentence, 0,
	    (int)(sizeof(bads) / sizeof(bads[0])));
	tcase_add_test(t, what_is_no_file_is_refused);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
