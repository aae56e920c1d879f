/*
 * Encoding against Hugging Face's ids, and the properties that hold for any
 * text.
 */
#include <jansson.h>

#include "small_tokenizer.h"
#include "tokenizer/parts.h"

static struct tokenizer *demo;

static void
setup(void)
{
	size_t n;
	char *json = slurp("tests/data/halo-demo/tokenizer.json", &n);
	struct err e = { 0 };

	ck_assert_ptr_nonnull(json);
	ck_assert_msg(tokenizer_from_json(json, n, &demo, &e) == 0, "%s",
	    e.text);
	free(json);
}

static void
teardown(void)
{
	tokenizer_destroy(demo);
}

static void
check_case(const struct tokenizer *t, const char *text, size_t n,
    const json_t *want)
{
	struct ids ids = { 0 };
	struct err e;

	ck_assert_int_eq(tokenizer_encode(t, text, n, true, &ids, &e), 0);
	ck_assert_msg(ids.n == json_array_size(want), "%zu ids, not %zu: %s",
	    ids.n, json_array_size(want), text);
	for (size_t i = 0; i < ids.n; i++)
		if (ids.v[i] != json_integer_value(json_array_get(want, i)))
			ck_abort_msg("id %zu is %d: %s", i, (int)ids.v[i],
			    text);
	ids_free(&ids);
}

START_TEST(the_demo_model_has_hugging_faces_ids)
{
	json_t *golden = json_load_file("tests/data/halo-demo/golden.json",
	    JSON_ALLOW_NUL, NULL);
	const json_t *cases = json_object_get(golden, "tokenizer_cases");
	json_t *v;
	size_t i;

	ck_assert_uint_ge(json_array_size(cases), 12);
	json_array_foreach(cases, i, v) {
		const json_t *text = json_object_get(v, "text");

		check_case(demo, json_string_value(text),
		    json_string_length(text), json_object_get(v, "ids"));
	}
	json_decref(golden);
}
END_TEST

/* The vocabularies are too large to copy; llama3's is packed. */
static const struct {
	const char *name, *command, *vectors;
} big[] = {
	{ "llama3", "xz -dc ../shared/data/tokenizers/llama3.tokenizer.json.xz",
	    "llama-bpe" },
	{ "gpt-2", "cat ../shared/data/tokenizers/gpt-2.tokenizer.json",
	    "gpt-2" },
	{ "gpt-neox", "cat ../shared/data/tokenizers/gpt-neox.tokenizer.json",
	    "mpt" },
};

/* Its tokenizer, having gone through a blob; NULL if it is not here. */
static struct tokenizer *
open_big(int i)
{
	struct tokenizer *t, *loaded;
	struct buf json = { 0 }, blob = { 0 };
	struct err e = { 0 };
	char piece[4096];
	size_t got;
	FILE *f;

	if ((f = fopen("../shared/data/tokenizers/README.md", "r")) == NULL &&
	    (f = fopen("../shared/data/README.md", "r")) == NULL) {
		printf("skipped: ../shared/data/tokenizers, with %s, is not "
		    "here\n", big[i].name);
		return NULL;
	}
	fclose(f);
	ck_assert_ptr_nonnull(f = popen(big[i].command, "r"));
	while ((got = fread(piece, 1, sizeof(piece), f)) > 0)
		buf_add(&json, piece, got);
	ck_assert_int_eq(pclose(f), 0);
	ck_assert_msg(tokenizer_from_json(json.data, json.len, &t, &e) == 0,
	    "%s", e.text);
	ck_assert_int_eq(tokenizer_save(t, &blob, &e), 0);
	ck_assert_int_eq(tokenizer_load(blob.data, blob.len, &loaded, &e), 0);
	tokenizer_destroy(t);
	buf_free(&json);
	buf_free(&blob);
	return loaded;
}

START_TEST(large_vocabularies_have_hugging_faces_ids)
{
	struct tokenizer *t = open_big(_i);
	char path[200], *line = NULL;
	size_t cap = 0, n_cases = 0;
	ssize_t len;
	FILE *f;

	if (t == NULL)
		return;
	snprintf(path, sizeof(path),
	    "../shared/data/tokenizers/golden_%s.jsonl", big[_i].name);
	ck_assert_ptr_nonnull(f = fopen(path, "r"));
	for (; (len = getline(&line, &cap, f)) > 0; n_cases++) {
		json_t *v = json_loadb(line, (size_t)len, JSON_ALLOW_NUL, NULL);
		const json_t *text = json_object_get(v, "text");

		check_case(t, json_string_value(text),
		    json_string_length(text), json_object_get(v, "ids"));
		json_decref(v);
	}
	ck_assert_uint_eq(n_cases, 1369);
	fclose(f);
	free(line);
	tokenizer_destroy(t);
}
END_TEST

static void
check_vectors(const struct tokenizer *t, const char *name, int version)
{
	static const char separator[] = "\n__ggml_vocab_test__\n";
	char path[200];
	size_t n, n_out, n_cases = 0;

	snprintf(path, sizeof(path), "tests/data/tokenizer/%s.v%d.inp", name,
	    version);
	char *in = slurp(path, &n);

	snprintf(path, sizeof(path), "tests/data/tokenizer/%s.v%d.out", name,
	    version);
	char *out = slurp(path, &n_out), *line = out;

	ck_assert_ptr_nonnull(in);
	ck_assert_ptr_nonnull(out);
	for (char *at = in, *end; at != NULL; n_cases++) {
		size_t n_line = strcspn(line, "\n");
		bool more = line[n_line] != '\0';

		line[n_line] = '\0';
		if ((end = strstr(at, separator)) != NULL)
			*end = '\0';
		check_ids(t, at, false, line + strspn(line, " "));
		line += n_line + more;
		at = end == NULL ? NULL : end + strlen(separator);
	}
	ck_assert_uint_eq(n_cases, 47);
	free(in);
	free(out);
}

START_TEST(large_vocabularies_have_llama_cpps_ids)
{
	struct tokenizer *t = open_big(_i);

	if (t == NULL)
		return;
	check_vectors(t, big[_i].vectors, 1);
	check_vectors(t, big[_i].vectors, 2);
	tokenizer_destroy(t);
}
END_TEST

/* Is text what its ids spell? */
static void
check_round_trip(const struct tokenizer *t, const char *text, size_t n,
    bool special)
{
	struct ids ids = { 0 };
	struct err e;
	size_t at = 0, len;

	ck_assert_int_eq(tokenizer_encode(t, text, n, special, &ids, &e), 0);
	for (size_t i = 0; i < ids.n; i++) {
		const char *bytes = tokenizer_bytes(t, ids.v[i], &len);

		/* An assertion is a system call, so not for each id. */
		if (bytes == NULL || at + len > n ||
		    memcmp(bytes, text + at, len) != 0)
			ck_abort_msg("id %zu, at byte %zu", i, at);
		at += len;
	}
	ck_assert_uint_eq(at, n);
	ids_free(&ids);
}

START_TEST(any_bytes_come_back)
{
	/* Bytes alone are mostly bad UTF-8; pieces make words and specials. */
	static const char *const pieces[] = { "\xc3", "\xa9", "\xf0\x9f", "<|",
	    "eot_id|>", "<|eot_id|>", " the", "  ", "\n", "\xe4\xb8\xad", "'S",
	    "12345", "\xcc\x81", "\xef\xbf\xbd" };
	enum { N_PIECES = sizeof(pieces) / sizeof(*pieces) };
	uint32_t state = 1;

	for (int round = 0; round < 3000; round++) {
		struct buf text = { 0 };

		for (uint32_t n = draw(&state) % 40; n > 0; n--) {
			uint32_t k = draw(&state) % (2 * N_PIECES);
			char c = (char)draw(&state);

			if (k < N_PIECES)
				buf_adds(&text, pieces[k]);
			else
				buf_add(&text, &c, 1);
		}
		check_round_trip(demo, text.data, text.len, round % 2 == 0);
		buf_free(&text);
	}
}
END_TEST

/* What is quadratic in a careless tokenizer. Each must end within
 * the time a test has. */
static const char *const repeated[] = { " ", "a", "\n", "\xff", "ab", "<",
    "<|start_header_id", "'", " \n", "\xcc\x81\xcc\xa3", "\xe4\xb8\xad", "7",
    "!?", "\t", "the " };

START_TEST(a_mebibyte_of_one_thing_ends)
{
	enum { N = 1 << 20 };
	size_t len = strlen(repeated[_i]);
	char *text = malloc(N + 32);

	for (size_t i = 0; i < N; i += len)
		memcpy(text + i, repeated[_i], len);
	text[N - 1] = 'x';
	check_round_trip(demo, text, N, true);
	free(text);
}
END_TEST

START_TEST(a_special_token_is_parsed_only_when_asked_for)
{
	check_ids(demo, "<|begin_of_text|><|eot_id|>", true, "8187 8191");
	char *got = ids_of(demo, "x<|eot_id|>", 11, false);

	ck_assert_ptr_null(strstr(got, "8191"));
	free(got);
	ck_assert_int_eq(tokenizer_special(demo, "<|eot_id|>"), 8191);
	ck_assert_int_eq(tokenizer_special(demo, "<|eot_id|"), -1);
	ck_assert_int_eq(tokenizer_special(demo, "the"), -1);
	ck_assert(tokenizer_is_special(demo, 8191));
	ck_assert(!tokenizer_is_special(demo, 8186));
	ck_assert(!tokenizer_is_special(demo, -1));
	ck_assert(!tokenizer_is_special(demo, 8192));
	ck_assert_int_eq(tokenizer_n_vocab(demo), 8192);
}
END_TEST

START_TEST(of_added_tokens_the_leftmost_and_longest_is_found)
{
	struct tokenizer *t = small_tokenizer(&(struct small){
	    .added = ADDED(300, "<x>", true, false) ","
	    ADDED(301, "<x><y>", true, false) "," ADDED(302, "<x", false, false)
	    "," ADDED(303, "y><x>z", true, false) });
	size_t n;

	check_ids(t, "<x><y>", true, "301");
	check_ids(t, "<x><y", true, "300 60 121");
	check_ids(t, "<x<x>", true, "302 300");
	/* It begins left of the longer one. */
	check_ids(t, "<x><y><x>z", true, "301 300 122");
	/* One that is not special is always found, but not inside of one. */
	check_ids(t, "<x!", false, "302 33");
	check_ids(t, "<x>", false, "60 120 62");
	ck_assert_ptr_null(tokenizer_bytes(t, 299, &n));
	ck_assert_ptr_null(tokenizer_bytes(t, 304, &n));
	ck_assert_ptr_null(tokenizer_bytes(t, -1, &n));
	ck_assert_ptr_nonnull(tokenizer_bytes(t, 303, &n));
	ck_assert_uint_eq(n, 6);
	tokenizer_destroy(t);
}
END_TEST

START_TEST(a_whole_word_wins_only_with_ignore_merges)
{
	struct small s = { .vocab = "\"ab\": 256, \"abc\": 257, \"bc\": 258",
	    .merges = "\"b c\", [\"a\", \"b\"]" };
	struct tokenizer *t = small_tokenizer(&s);

	check_ids(t, "abc", false, "97 258");	/* nothing merges a + bc */
	tokenizer_destroy(t);
	s.options = "\"ignore_merges\": true,";
	t = small_tokenizer(&s);
	check_ids(t, "abc", false, "257");
	check_ids(t, "abcb", false, "97 258 98");
	tokenizer_destroy(t);
}
END_TEST

/* The definition, without any cleverness. */
static void
merge_naively(const struct tokenizer *t, int32_t *id, size_t *n)
{
	for (size_t k = 0; k < t->n_merges;) {
		const struct merge *m = &t->merges[k];
		size_t i = 0;

		while (i + 1 < *n && (id[i] != m->left || id[i + 1] != m->right))
			i++;
		if (i + 1 >= *n) {
			k++;
			continue;
		}
		id[i] = m->id;
		memmove(id + i + 1, id + i + 2, (*n - i - 2) * sizeof(*id));
		(*n)--;
		k = 0;
	}
}

START_TEST(short_and_long_words_follow_the_definition)
{
	struct tokenizer *t = small_tokenizer(&(struct small){
	    .vocab = "\"ab\": 256, \"aa\": 257, \"ba\": 258, \"aab\": 259, "
	    "\"abab\": 260, \"bb\": 261, \"baab\": 262, \"aaaa\": 263",
	    .merges = "\"a ab\", \"b a\", \"a a\", \"a b\", \"ab ab\", "
	    "\"b b\", \"b aab\", \"ba ab\", \"aa aa\", \"aa b\"" });
	uint32_t state = 7;

	for (int round = 0; round < 2000; round++) {
		size_t n = 1 + draw(&state) % 150, want_n = n;
		struct ids got = { 0 };
		char word[150];
		int32_t want[150];
		struct err e;

		for (size_t i = 0; i < n; i++)
			want[i] = word[i] = "aab"[draw(&state) % 3];
		merge_naively(t, want, &want_n);
		ck_assert_int_eq(tokenizer_encode(t, word, n, false, &got, &e),
		    0);
		ck_assert_uint_eq(got.n, want_n);
		ck_assert_mem_eq(got.v, want, want_n * sizeof(*want));
		ids_free(&got);
	}
	tokenizer_destroy(t);
}
END_TEST

static const char *const blanks[] = { SPLIT_BY("\\\\s+"),
    SPLIT_BY("[\\\\s]+"), SPLIT_BY("[^\\\\s]+"), SPLIT_BY("\\\\S+") };

START_TEST(white_space_is_hugging_faces)
{
	/* PCRE2 takes U+180E for a blank; U+FEFF is none, U+0085 is one. */
	struct tokenizer *t = small_tokenizer(&(struct small){
	    .pre_tokenizer = blanks[_i],
	    .options = "\"ignore_merges\": true,",
	    .vocab = "\"a\xc3\xa1\xc5\x82\xc4\xb0\": 256, "
	    "\"\xc3\x82\xc4\xa7\": 257, \"a\xc3\xaf\xc2\xbb\xc2\xbf\": 258" });

	check_ids(t, "a\xe1\xa0\x8e", false, "256");
	check_ids(t, "a\xef\xbb\xbf", false, "258");
	check_ids(t, "a\xc2\x85", false, "97 257");
	tokenizer_destroy(t);
}
END_TEST

START_TEST(text_is_normalized_between_added_tokens)
{
	struct tokenizer *t = small_tokenizer(&(struct small){
	    .normalizer = "{\"type\": \"NFC\"}",
	    .added = ADDED(300, "e\xcc\x81", true, false) ","
	    ADDED(301, "\xc3\xa0!", false, true) });

	check_ids(t, "e\xcc\x81", false, "195 169");	/* becomes U+00E9 */
	check_ids(t, "e\xcc\x81", true, "300");		/* found before */
	check_ids(t, "a\xcc\x80!", true, "301");		/* found after */
	/* Marks are ordered: dot below (220) before acute (230). */
	check_ids(t, "q\xcc\x81\xcc\xa3", false, "113 204 163 204 129");
	/* Hangul; a singleton; one that must not be composed (U+0958). */
	check_ids(t, "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", false,
	    "234 176 129");
	check_ids(t, "\xe2\x84\xab", false, "195 133");
	check_ids(t, "\xe0\xa5\x98", false, "224 164 149 224 164 188");
	/* U+1AC3 is a mark since Unicode 14, which Hugging Face's is not. */
	check_ids(t, "e\xe1\xab\x83\xcc\x81", false,
	    "101 225 171 131 204 129");
	/* U+11935 U+11930 compose since Unicode 13. */
	check_ids(t, "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0", false,
	    "240 145 164 181 240 145 164 176");
	tokenizer_destroy(t);
}
END_TEST

START_TEST(a_failure_leaves_the_ids_as_they_were)
{
	struct tokenizer *t = small_tokenizer(&(struct small){
	    .pre_tokenizer = SPLIT_BY("a|(?:b?){30}b{30}c") });
	struct ids ids = { 0 };
	struct err e;

	ck_assert_int_eq(ids_add(&ids, 5), 0);
	ck_assert_int_eq(tokenizer_encode(t, "aaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	    "bbbbbbbbbbbbbbbbbbbbbbbbbbbb", 61, false, &ids, &e),
	    ERR_BAD_FILE);
	ck_assert_str_eq(e.text, "tokenizer: the split pattern cannot be "
	    "matched within limits (PCRE2 error -47)");
	ck_assert_uint_eq(ids.n, 1);
	ids_free(&ids);
	tokenizer_destroy(t);
}
END_TEST

int
main(void)
{
	enum { N_BIG = sizeof(big) / sizeof(*big),
	    N_REPEATED = sizeof(repeated) / sizeof(*repeated) };
	Suite *s = suite_create("tokenizer");
	TCase *t = tcase_create("tokenizer");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_unchecked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);	/* for the sanitizers */
	tcase_add_test(t, the_demo_model_has_hugging_faces_ids);
	tcase_add_loop_test(t, large_vocabularies_have_hugging_faces_ids, 0,
	    N_BIG);
	tcase_add_loop_test(t, large_vocabularies_have_llama_cpps_ids, 0,
	    N_BIG);
	tcase_add_test(t, any_bytes_come_back);
	tcase_add_loop_test(t, a_mebibyte_of_one_thing_ends, 0, N_REPEATED);
	tcase_add_test(t, a_special_token_is_parsed_only_when_asked_for);
	tcase_add_test(t, of_added_tokens_the_leftmost_and_longest_is_found);
	tcase_add_test(t, a_whole_word_wins_only_with_ignore_merges);
	tcase_add_test(t, short_and_long_words_follow_the_definition);
	tcase_add_loop_test(t, white_space_is_hugging_faces, 0,
	    (int)(sizeof(blanks) / sizeof(*blanks)));
	tcase_add_test(t, text_is_normalized_between_added_tokens);
	tcase_add_test(t, a_failure_leaves_the_ids_as_they_were);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
