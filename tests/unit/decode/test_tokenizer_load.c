/*
 * The two files a tokenizer comes from: what they must not say, and what of a
 * tokenizer.json a blob keeps.
 */
#include <endian.h>

#include "small_tokenizer.h"
#include "tokenizer/parts.h"

static const struct {
	struct small json;
	int code;
	const char *text;
} refused_json[] = {
	{ { .options = "\"byte_fallback\": true," }, ERR_UNSUPPORTED,
	    "tokenizer.json: option of BPE 'byte_fallback' is not supported" },
	{ { .options = "\"dropout\": 0.1," }, ERR_UNSUPPORTED,
	    "tokenizer.json: option of BPE 'dropout' is not supported" },
	{ { .options = "\"end_of_word_suffix\": \"</w>\"," }, ERR_UNSUPPORTED,
	    "tokenizer.json: option of BPE 'end_of_word_suffix' is not "
	    "supported" },
	{ { .normalizer = "{\"type\": \"NFKC\"}" }, ERR_UNSUPPORTED,
	    "tokenizer.json: normalizer 'NFKC' is not supported" },
	{ { .normalizer = "{\"type\": \"Sequence\", \"normalizers\": "
	    "[{\"type\": \"NFC\"}, {\"type\": \"Lowercase\"}]}" },
	    ERR_UNSUPPORTED,
	    "tokenizer.json: normalizer 'Lowercase' is not supported" },
	{ { .pre_tokenizer = "{\"type\": \"Metaspace\"}" }, ERR_UNSUPPORTED,
	    "tokenizer.json: pre-tokenizer Metaspace's replacement '?' is not "
	    "supported" },
	{ { .pre_tokenizer = "{\"type\": \"ByteLevel\", \"add_prefix_space\": "
	    "true}" }, ERR_UNSUPPORTED, "tokenizer.json: pre-tokenizer "
	    "ByteLevel's 'add_prefix_space' is not supported" },
	{ { .pre_tokenizer = "{\"type\": \"Sequence\", \"pretokenizers\": "
	    "[{\"type\": \"Whitespace\"}, " BYTE_LEVEL "]}" },
	    ERR_UNSUPPORTED, "tokenizer.json: before the last pre-tokenizer "
	    "'Whitespace' is not supported" },
	{ { .pre_tokenizer = "{\"type\": \"Sequence\", \"pretokenizers\": "
	    "[{\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, "
	    "\"behavior\": \"Removed\"}, " BYTE_LEVEL "]}" }, ERR_UNSUPPORTED,
	    "tokenizer.json: pre-tokenizer Split's behavior 'Removed' is not "
	    "supported" },
	{ { .pre_tokenizer = "{\"type\": \"Sequence\", \"pretokenizers\": []}" },
	    ERR_UNSUPPORTED, "tokenizer.json: pre-tokenizer 'Sequence of "
	    "nothing' is not supported" },
	{ { .pre_tokenizer = "{\"type\": \"ByteLevel\", \"add_prefix_space\": "
	    "false, \"use_regex\": false}" }, ERR_BAD_FILE,
	    "tokenizer: there is no split pattern" },
	{ { .vocab = "\"ab\": 255" }, ERR_BAD_FILE,
	    "tokenizer.json: two tokens have the id 255" },
	{ { .vocab = "\"ab\": -1" }, ERR_BAD_FILE,
	    "tokenizer.json: an id of the vocabulary is no id" },
	{ { .vocab = "\"ab\": 2097152" }, ERR_BAD_FILE,
	    "tokenizer.json: an id of the vocabulary is no id" },
	{ { .vocab = "\"a b\": 256" }, ERR_UNSUPPORTED, "tokenizer.json: token "
	    "'a b' is not spelled in GPT-2's bytes" },
	{ { .vocab = "\"\": 256" }, ERR_BAD_FILE,
	    "tokenizer.json: a token is empty" },
	{ { .vocab = "\"ab\": 256", .merges = "\"a c\"" }, ERR_BAD_FILE,
	    "tokenizer.json: merge 0 is not of two tokens to a third" },
	{ { .vocab = "\"ab\": 256", .merges = "\"a b\", \"ab\"" }, ERR_BAD_FILE,
	    "tokenizer.json: merge 1 is not of two tokens to a third" },
	{ { .merges = "[\"a\"]" }, ERR_BAD_FILE,
	    "tokenizer.json: merge 0 is not of two tokens to a third" },
	{ { .merges = "[1, 2]" }, ERR_BAD_FILE,
	    "tokenizer.json: merge 0 is not of two tokens to a third" },
	{ { .added = ADDED(97, "<x>", true, false) }, ERR_BAD_FILE,
	    "tokenizer.json: the id 97 of added token '<x>' is taken" },
	{ { .added = ADDED(300, "", true, false) }, ERR_BAD_FILE,
	    "tokenizer.json: an added token is empty" },
	{ { .added = ADDED(-3, "<x>", true, false) }, ERR_BAD_FILE,
	    "tokenizer.json: the id of an added token is no id" },
	{ { .added = ADDED(300, "<x>", true, false) ","
	    ADDED(301, "<x>", true, false) }, ERR_BAD_FILE,
	    "tokenizer: added tokens 300 and 301 are the same text" },
	/* A merge must not make a control token of what somebody wrote. */
	{ { .vocab = "\"ab\": 256", .merges = "\"a b\"",
	    .added = ADDED(256, "ab", true, false) }, ERR_BAD_FILE,
	    "tokenizer: merge 0, 97 + 98 = 256, does not join two tokens to a "
	    "third" },
};

START_TEST(a_tokenizer_json_is_refused_by_name)
{
	struct tokenizer *t = NULL;
	struct buf json = { 0 };
	struct err e = { 0 };

	small_json(&refused_json[_i].json, &json);
	ck_assert_int_eq(tokenizer_from_json(json.data, json.len, &t, &e),
	    refused_json[_i].code);
	ck_assert_str_eq(e.text, refused_json[_i].text);
	ck_assert_ptr_null(t);
	buf_free(&json);
}
END_TEST

static const struct {
	const char *json;
	int code;
	const char *text;
} refused_text[] = {
	{ "", ERR_BAD_FILE, "tokenizer.json: '[' or '{' expected near end of "
	    "file at byte 0" },
	{ "[]", ERR_BAD_FILE,
	    "tokenizer.json: there is no model with a vocabulary" },
	{ "{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}", ERR_BAD_FILE,
	    "tokenizer.json: there is no model with a vocabulary" },
	{ "{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}}}",
	    ERR_UNSUPPORTED, "tokenizer.json: model 'WordPiece' is not "
	    "supported" },
	{ "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}",
	    ERR_UNSUPPORTED, "tokenizer.json: pre-tokenizer '' is not "
	    "supported" },
	{ "{\"pre_tokenizer\": " BYTE_LEVEL ", \"model\": {\"vocab\": {}, "
	    "\"merges\": []}}", ERR_BAD_FILE,
	    "tokenizer.json: there are no tokens" },
	{ "{\"pre_tokenizer\": " BYTE_LEVEL ", \"model\": {\"vocab\": "
	    "{\"a\": 0}}}", ERR_BAD_FILE,
	    "tokenizer.json: there is no list of merges" },
	{ "{\"pre_tokenizer\": " BYTE_LEVEL ", \"model\": {\"vocab\": "
	    "{\"a\": 0}, \"merges\": []}}", ERR_BAD_FILE,
	    "tokenizer: byte 0 has no token" },
};

START_TEST(what_is_no_tokenizer_json_is_refused)
{
	struct tokenizer *t = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(tokenizer_from_json(refused_text[_i].json,
	    strlen(refused_text[_i].json), &t, &e), refused_text[_i].code);
	ck_assert_str_eq(e.text, refused_text[_i].text);
}
END_TEST

#define MEANING(what) "tokenizer: the split pattern has '" what "', whose " \
	"meaning is not known here"

static const struct {
	const char *pattern;
	const char *text;
} refused_pattern[] = {
	{ "\\h+", MEANING("\\h") },
	{ "\\w+", MEANING("\\w") },
	{ "[\\S]", MEANING("\\S") },
	{ "\\p{Alpha}", MEANING("\\p{Alpha}") },
	{ "\\p{^L}", MEANING("\\p{^L}") },
	{ "\\pL", MEANING("\\pL") },
	{ "a\\", MEANING("\\") },
	{ "a.b", MEANING(".") },
	{ "^a", MEANING("^") },
	{ "[a[b]]", MEANING("[a[") },
	{ "[a-z&&b]", MEANING("[a-z&") },
	{ "[ab", MEANING("[ab") },
	{ "(?<x>a)", MEANING("(?<x") },
	{ "(?>a)", MEANING("(?>a") },
	{ "(*LIMIT_MATCH=1)a", MEANING("(*") },
	{ "a{2}+", MEANING("{2}+") },
	{ "a{x}", MEANING("{x") },
	{ "a{,2}", MEANING("{,") },
	{ "(?:a+)+b", MEANING(")+") },
	{ "(?:a+){2,}b", MEANING("){2,}") },
	{ "a*", "tokenizer: the split pattern may match nothing" },
	{ "a|", "tokenizer: the split pattern may match nothing" },
	{ "(a", "tokenizer: the split pattern: missing closing parenthesis" },
	{ "a)", "tokenizer: the split pattern: unmatched closing parenthesis" },
	{ "\\p{Lz}", "tokenizer: the split pattern: unknown property after \\P "
	    "or \\p" },
};

START_TEST(a_pattern_that_may_mean_another_thing_is_refused)
{
	struct split *s = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(split_compile(refused_pattern[_i].pattern,
	    strlen(refused_pattern[_i].pattern), &s, &e), ERR_UNSUPPORTED);
	ck_assert_str_eq(e.text, refused_pattern[_i].text);
	ck_assert_ptr_null(s);
}
END_TEST

/* One of everything, as a blob. */
static void
make_blob(struct buf *out)
{
	struct tokenizer *t = small_tokenizer(&(struct small){
	    .options = "\"ignore_merges\": true,",
	    .normalizer = "{\"type\": \"NFC\"}",
	    .vocab = "\"ab\": 256, \"abb\": 257",
	    .merges = "\"a b\", \"ab b\"",
	    .added = ADDED(300, "<x>", true, false) ","
	    ADDED(301, "  ", false, true),
	    .pre_tokenizer = SPLIT_BY("[ab]+|\\\\s+|[^ab\\\\s]+") });
	struct err e;

	ck_assert_int_eq(tokenizer_save(t, out, &e), 0);
	tokenizer_destroy(t);
}

START_TEST(a_blob_keeps_everything)
{
	struct buf first = { 0 }, second = { 0 };
	struct tokenizer *t;
	struct err e;

	make_blob(&first);
	ck_assert_int_eq(tokenizer_load(first.data, first.len, &t, &e), 0);
	ck_assert_int_eq(tokenizer_save(t, &second, &e), 0);
	ck_assert_uint_eq(first.len, second.len);
	ck_assert_mem_eq(first.data, second.data, first.len);
	buf_free(&first);	/* it borrows nothing */
	ck_assert_int_eq(tokenizer_n_vocab(t), 302);
	check_ids(t, "abb<x>  e\xcc\x81", true, "257 300 301 195 169");
	check_ids(t, "abbb", false, "257 98");
	buf_free(&second);
	tokenizer_destroy(t);
}
END_TEST

START_TEST(a_blob_of_version_1_is_read_and_means_a_bos)
{
	struct tokenizer *t = NULL;
	struct buf blob = { 0 };
	struct err e = { 0 };

	make_blob(&blob);
	blob.data[0] = 1;
	ck_assert_msg(tokenizer_load(blob.data, blob.len, &t, &e) == 0, "%s",
	    e.text);
	ck_assert(tokenizer_add_bos(t));
	check_ids(t, "abb<x>", true, "257 300");
	tokenizer_destroy(t);
	blob.data[4] = 3 + 16;	/* what only version 2 has */
	ck_assert_int_eq(tokenizer_load(blob.data, blob.len, &t, &e),
	    ERR_UNSUPPORTED);
	ck_assert_str_eq(e.text, "tokenizer: unknown flags 19, 0");
	buf_free(&blob);
}
END_TEST

#define FLAGGED(id, text, flags) "{\"id\": " #id ", \"content\": \"" text \
	"\", \"special\": false, " flags "}"

START_TEST(added_tokens_take_in_what_their_flags_say)
{
	/* As AddedVocabulary.find_matches of Hugging Face does. */
	struct tokenizer *t = small_tokenizer(&(struct small){
	    .normalizer = "{\"type\": \"NFC\"}",
	    .added = FLAGGED(300, "<l>", "\"lstrip\": true") ","
	    FLAGGED(301, "<r>", "\"rstrip\": true") ","
	    FLAGGED(302, "word", "\"single_word\": true") ","
	    FLAGGED(303, "e\xcc\x81!", "\"normalized\": true") });

	check_ids(t, "a \t\xe3\x80\x80<l> b", false, "97 300 32 98");
	check_ids(t, "a <r> \n b", false, "97 32 301 98");
	check_ids(t, "<r>  <l>", false, "301 300");
	check_ids(t, "word", false, "302");
	check_ids(t, "(word).", false, "40 302 41 46");
	check_ids(t, "words", false, "119 111 114 100 115");
	check_ids(t, "_word", false, "95 119 111 114 100");
	check_ids(t, "\xc3\xa9" "word", false, "195 169 119 111 114 100");
	check_ids(t, "word\xe2\x80\x8d", false,
	    "119 111 114 100 226 128 141");
	/* It is normalized itself, so either spelling is found. */
	check_ids(t, "\xc3\xa9!", false, "303");
	check_ids(t, "e\xcc\x81!", false, "303");
	tokenizer_destroy(t);
}
END_TEST

/* A word's blank becomes U+2581 after the cut at added tokens, or before it. */
START_TEST(blanks_before_an_added_token_are_blanks_unless_replaced_before)
{
	static const char *const replaced[] = { "null", "{\"type\": \"Replace\", "
	    "\"pattern\": {\"String\": \" \"}, \"content\": \"\\u2581\"}" };
	static const char *const ids[] = { "1 4 3 2 1", "1 2 2 4 3 2 1" };

	for (int i = 0; i < 2; i++) {
		struct tokenizer *t = NULL;
		struct buf json = { 0 };
		struct err e = { 0 };

		buf_printf(&json, "{\"added_tokens\": [{\"id\": 4, \"content\": "
		    "\"<m>\", \"lstrip\": true, \"normalized\": true}], "
		    "\"normalizer\": %s, \"pre_tokenizer\": {\"type\": \"Metaspace\","
		    "\"replacement\": \"\\u2581\", \"prepend_scheme\": \"never\"}, "
		    "\"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", "
		    "\"vocab\": {\"<unk>\": 0, \"a\": 1, \"\\u2581\": 2, \"b\": 3}, "
		    "\"merges\": []}}", replaced[i]);
		ck_assert_msg(tokenizer_from_json(json.data, json.len, &t, &e) ==
		    0, "%s", e.text);
		check_ids(t, "a  <m>b a", false, ids[i]);
		check_ids(t, " a", false, "2 1");
		buf_free(&json);
		tokenizer_destroy(t);
	}
}
END_TEST

/* Where the parts of make_blob's blob are. */
enum {
	N_VOCAB = 302,
	AT_MERGES = 32,
	AT_PATTERN_LENGTHS = AT_MERGES + 2 * 12,
	AT_LENGTHS = AT_PATTERN_LENGTHS + 4,
	AT_KINDS = AT_LENGTHS + 2 * N_VOCAB,
	AT_BYTES = AT_KINDS + N_VOCAB,
};

static const struct {
	size_t at;
	uint32_t value;		/* n_bytes of it, little-endian */
	size_t n_bytes;
	int code;
	const char *text;
} refused_blob[] = {
	{ 0, 3, 4, ERR_UNSUPPORTED, "tokenizer: version 3 is not 1 or 2" },
	{ 4, 512, 4, ERR_UNSUPPORTED, "tokenizer: unknown flags 512, 0" },
	{ 4, 4, 4, ERR_BAD_FILE, "tokenizer: byte 0 has no token" },
	{ 4, 6, 4, ERR_UNSUPPORTED,
	    "tokenizer: NFC with SentencePiece is not supported" },
	{ 28, 1, 4, ERR_BAD_FILE,
	    "tokenizer: token 0 cannot be the unknown one" },
	{ 28, 400, 4, ERR_BAD_FILE, "tokenizer: a count is out of its limits" },
	{ 8, 0, 4, ERR_BAD_FILE, "tokenizer: a count is out of its limits" },
	{ 8, 0xffffffff, 4, ERR_BAD_FILE,
	    "tokenizer: a count is out of its limits" },
	{ 20, 9, 4, ERR_BAD_FILE, "tokenizer: a count is out of its limits" },
	{ 8, 301, 4, ERR_BAD_FILE,
	    "tokenizer: 1250 bytes where its header says 1247" },
	{ AT_MERGES, 5000, 4, ERR_BAD_FILE, "tokenizer: merge 0, 5000 + 98 = "
	    "256, does not join two tokens to a third" },
	{ AT_MERGES + 4, 0xffffffff, 4, ERR_BAD_FILE, "tokenizer: merge 0, 97 "
	    "+ -1 = 256, does not join two tokens to a third" },
	{ AT_MERGES + 8, 257, 4, ERR_BAD_FILE, "tokenizer: merge 0, 97 + 98 = "
	    "257, does not join two tokens to a third" },
	{ AT_MERGES + 12, 300, 4, ERR_BAD_FILE, "tokenizer: merge 1, 300 + 98 "
	    "= 257, does not join two tokens to a third" },
	{ AT_PATTERN_LENGTHS, 10, 4, ERR_UNSUPPORTED,
	    "tokenizer: the split pattern may match nothing" },
	{ AT_PATTERN_LENGTHS, 100, 4, ERR_BAD_FILE,
	    "tokenizer: pattern 0 is cut short" },
	{ AT_PATTERN_LENGTHS, 0, 4, ERR_UNSUPPORTED, "tokenizer: a split "
	    "pattern is not 1 to 4096 bytes of UTF-8" },
	{ AT_LENGTHS, 2, 2, ERR_BAD_FILE, "tokenizer: the lengths of the "
	    "tokens do not add up to 266" },
	{ AT_LENGTHS, 0, 2, ERR_BAD_FILE, "tokenizer: the lengths of the "
	    "tokens do not add up to 266" },
	{ AT_KINDS, 0, 1, ERR_BAD_FILE,
	    "tokenizer: token 0 has 1 bytes and kind 0" },
	{ AT_KINDS, 16, 1, ERR_BAD_FILE,
	    "tokenizer: token 0 has 1 bytes and kind 16" },
	{ AT_KINDS, 5, 1, ERR_BAD_FILE,
	    "tokenizer: token 0 has 1 bytes and kind 5" },
	{ AT_KINDS + 260, 1, 1, ERR_BAD_FILE,
	    "tokenizer: token 260 has 0 bytes and kind 1" },
	{ AT_BYTES, 'a', 1, ERR_BAD_FILE,
	    "tokenizer: tokens 0 and 97 are the same bytes" },
};

START_TEST(a_wrong_blob_is_refused)
{
	struct tokenizer *t = NULL;
	struct buf blob = { 0 };
	uint32_t value = htole32(refused_blob[_i].value);
	struct err e = { 0 };

	make_blob(&blob);
	ck_assert_uint_eq(blob.len, 1250);
	memcpy(blob.data + refused_blob[_i].at, &value,
	    refused_blob[_i].n_bytes);
	ck_assert_int_eq(tokenizer_load(blob.data, blob.len, &t, &e),
	    refused_blob[_i].code);
	ck_assert_str_eq(e.text, refused_blob[_i].text);
	ck_assert_ptr_null(t);
	buf_free(&blob);
}
END_TEST

START_TEST(a_cut_blob_is_refused_and_a_damaged_one_harmless)
{
	struct tokenizer *t;
	struct buf blob = { 0 };
	struct err e;

	make_blob(&blob);
	for (size_t n = 0; n < blob.len; n++) {
		char *exact = malloc(n + 1);	/* for the sanitizers */

		memcpy(exact, blob.data, n);
		if (tokenizer_load(exact, n, &t, &e) == 0)
			ck_abort_msg("%zu bytes are enough", n);
		free(exact);
	}
	for (size_t i = 0; i < 8 * blob.len; i++) {
		blob.data[i / 8] ^= (char)(1 << i % 8);
		if (tokenizer_load(blob.data, blob.len, &t, &e) == 0) {
			char *ids = ids_of(t, "abb<x>  \xff 12", 13, true);

			free(ids);
			tokenizer_destroy(t);
		}
		blob.data[i / 8] ^= (char)(1 << i % 8);
	}
	buf_free(&blob);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tokenizer_load");
	TCase *t = tcase_create("tokenizer_load");
	SRunner *r = srunner_create(s);
	int failed;

#define COUNT(table) ((int)(sizeof(table) / sizeof(*(table))))
	tcase_set_timeout(t, 60);	/* for the sanitizers */
	tcase_add_loop_test(t, a_tokenizer_json_is_refused_by_name, 0,
	    COUNT(refused_json));
	tcase_add_loop_test(t, what_is_no_tokenizer_json_is_refused, 0,
	    COUNT(refused_text));
	tcase_add_loop_test(t, a_pattern_that_may_mean_another_thing_is_refused,
	    0, COUNT(refused_pattern));
	tcase_add_test(t, a_blob_keeps_everything);
	tcase_add_test(t, added_tokens_take_in_what_their_flags_say);
	tcase_add_test(t,
	    blanks_before_an_added_token_are_blanks_unless_replaced_before);
	tcase_add_test(t, a_blob_of_version_1_is_read_and_means_a_bos);
	tcase_add_loop_test(t, a_wrong_blob_is_refused, 0,
	    COUNT(refused_blob));
	tcase_add_test(t, a_cut_blob_is_refused_and_a_damaged_one_harmless);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
