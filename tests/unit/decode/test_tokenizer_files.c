/*
 * The same vocabulary in every container: the same ids, Hugging Face's; and
 * what is refused, by name.
 */
#include <stdio.h>

#include "tokenizer_files.h"

#define SHARED "../shared/data/tokenizers/"

/* All of what command prints, or an empty buf. */
static struct buf
output_of(const char *command)
{
	struct buf out = { 0 };
	char piece[4096];
	size_t got;
	FILE *f = popen(command, "r");

	ck_assert_ptr_nonnull(f);
	while ((got = fread(piece, 1, sizeof(piece), f)) > 0)
		buf_add(&out, piece, got);
	ck_assert_int_eq(pclose(f), 0);
	return out;
}

static bool
is_here(void)
{
	FILE *f = fopen(SHARED "golden_gpt-2.jsonl", "r");

	if (f == NULL) {
		printf("skipped: " SHARED " is not here\n");
		return false;
	}
	fclose(f);
	return true;
}

/* The golden ids of name; t is destroyed. */
static void
check_golden(struct tokenizer *t, const char *name)
{
	char path[200], *line = NULL;
	size_t cap = 0, n_cases = 0;
	ssize_t len;
	struct err e;
	FILE *f;

	snprintf(path, sizeof(path), SHARED "golden_%s.jsonl", name);
	ck_assert_ptr_nonnull(f = fopen(path, "r"));
	for (; (len = getline(&line, &cap, f)) > 0; n_cases++) {
		json_t *v = json_loadb(line, (size_t)len, JSON_ALLOW_NUL, NULL);
		const json_t *text = json_object_get(v, "text");
		const json_t *want = json_object_get(v, "ids");
		struct ids ids = { 0 };

		ck_assert_int_eq(tokenizer_encode(t, json_string_value(text),
		    json_string_length(text), false, &ids, &e), 0);
		if (ids.n != json_array_size(want))
			ck_abort_msg("%zu ids, not %zu: %s", ids.n,
			    json_array_size(want), json_string_value(text));
		for (size_t i = 0; i < ids.n; i++)
			if (ids.v[i] != json_integer_value(json_array_get(want,
			    i)))
				ck_abort_msg("id %zu is %d: %s", i,
				    (int)ids.v[i], json_string_value(text));
		ids_free(&ids);
		json_decref(v);
	}
	ck_assert_uint_eq(n_cases, 1369);
	fclose(f);
	free(line);
	tokenizer_destroy(t);
}

static const struct {
	const char *name, *command, *pre, *pattern;
	int32_t bos, eos;
	const char *special;
	int32_t special_id;
} big[] = {
	{ "llama3", "xz -dc " SHARED "llama3.tokenizer.json.xz", "llama-bpe",
	    NULL, 128000, 128009, "<|eot_id|>", 128009 },
	{ "gpt-2", "cat " SHARED "gpt-2.tokenizer.json", "gpt-2", NULL, 50256,
	    50256, "<|endoftext|>", 50256 },
	{ "gpt-neox", "cat " SHARED "gpt-neox.tokenizer.json", "olmo",
	    "gpt-neox", 0, 0, "<|endoftext|>", 0 },
};

START_TEST(a_vocabulary_has_the_same_ids_in_every_container)
{
	struct tokenizer *t, *json;
	struct gguf_out g = { 0 };
	struct vocab v;
	struct buf text, file;
	struct err e = { 0 };

	if (!is_here())
		return;
	text = output_of(big[_i].command);
	vocab_read(&v, text.data, text.len);
	vocab_gguf(&v, big[_i].pre, "llama", &g);
	ck_assert_msg(load_gguf(&g, &t, &e) == 0, "%s", e.text);
	ck_assert_int_eq(tokenizer_special(t, big[_i].special),
	    big[_i].special_id);
	check_golden(t, big[_i].name);
	for (int version = 1; version <= 2; version++) {
		file = vocab_htok(&v, version, (uint32_t)big[_i].bos,
		    (uint32_t)big[_i].eos);
		ck_assert_msg(tokenizer_from_htok(file.data, file.len, "f.htok",
		    big[_i].pattern, &t, &e) == 0, "%s", e.text);
		ck_assert_int_eq(tokenizer_special(t, big[_i].special),
		    big[_i].special_id);
		check_golden(t, big[_i].name);
		buf_free(&file);
	}
	ck_assert_int_eq(tokenizer_from_json(text.data, text.len, &json, &e),
	    0);
	file = ranks_of(json);
	tokenizer_destroy(json);
	/* NeoX's are no ranks: runs of blanks are added tokens there. */
	if (big[_i].pattern == NULL) {
		ck_assert_msg(tokenizer_from_ranks(file.data, file.len,
		    "f.tiktoken", NULL, &t, &e) == 0, "%s", e.text);
		ck_assert_int_eq(tokenizer_special(t, big[_i].special),
		    big[_i].special_id);
		check_golden(t, big[_i].name);
	}
	buf_free(&file);
	vocab_free(&v);
	buf_free(&text);
}
END_TEST

START_TEST(a_gguf_of_llama_cpps_has_hugging_faces_ids)
{
	static const char *const names[] = { "gpt-2", "gpt-neox" };
	struct tokenizer *t;
	char path[200];
	struct gguf *g;
	struct err e = { 0 };

	if (!is_here())
		return;
	snprintf(path, sizeof(path), SHARED "ggml-vocab-%s.gguf", names[_i]);
	ck_assert_msg(gguf_open(path, &g, &e) == 0, "%s", e.text);
	ck_assert_msg(tokenizer_from_gguf(g, &t, &e) == 0, "%s", e.text);
	gguf_close(g);
	check_golden(t, names[_i]);
}
END_TEST

/* The bytes, "ab", and a control token, as read by vocab_read. */
static void
small_vocab(struct vocab *v)
{
	struct buf json = { 0 };

	small_json(&(struct small){ .vocab = "\"ab\": 256",
	    .merges = "\"a b\"", .added = ADDED(257, "<x>", true, false) },
	    &json);
	vocab_read(v, json.data, json.len);
	buf_free(&json);
}

static const struct {
	const char *pre, *arch;
	int code;
	const char *text;	/* the error, or ids of "ab 1234 <x>" */
} pres[] = {
	{ "llama3", NULL, 0, "256 32 49 50 51 52 32 60 120 62" },
	{ "llama-v3", NULL, 0, "256 32 49 50 51 52 32 60 120 62" },
	{ NULL, "bitnet-b1.58", 0, "256 32 49 50 51 52 32 60 120 62" },
	{ "default", "bitnet-25", 0, "256 32 49 50 51 52 32 60 120 62" },
	{ "falcon3", NULL, 0, "256 32 49 50 51 52 32 60 120 62" },
	{ "qwen2", "qwen3", 0, "256 32 49 50 51 52 32 60 120 62" },
	{ "mpt", NULL, 0, "256 32 49 50 51 52 32 60 120 62" },
	{ "tekken", NULL, ERR_UNSUPPORTED, "f.gguf: the pattern 'tekken' of "
	    "tokenizer.ggml.pre is not known; known are llama3, gpt-2, "
	    "gpt-neox, qwen2, falcon3" },
	{ NULL, "llama", ERR_UNSUPPORTED, "f.gguf: key 'tokenizer.ggml.pre' is "
	    "missing, and nothing else tells how to split text" },
	{ NULL, NULL, ERR_UNSUPPORTED, "f.gguf: key 'tokenizer.ggml.pre' is "
	    "missing, and nothing else tells how to split text" },
};

START_TEST(the_pattern_of_a_gguf_is_known_by_name)
{
	struct tokenizer *t = NULL;
	struct gguf_out g = { 0 };
	struct vocab v;
	struct err e = { 0 };

	small_vocab(&v);
	vocab_gguf(&v, pres[_i].pre, pres[_i].arch, &g);
	ck_assert_int_eq(load_gguf(&g, &t, &e), pres[_i].code);
	if (pres[_i].code == 0)
		check_ids(t, "ab 1234 <x>", false, pres[_i].text);
	else
		ck_assert_str_eq(e.text, pres[_i].text);
	tokenizer_destroy(t);
	vocab_free(&v);
}
END_TEST

START_TEST(who_adds_a_bos_is_what_the_file_says)
{
	static const struct {
		const char *pre;
		int said;	/* -1: nothing */
		bool want;
	} cases[] = { { "llama3", -1, true }, { "llama3", 0, false },
	    { "gpt-2", -1, false }, { "gpt-2", 1, true },
	    { "qwen2", -1, false } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct tokenizer *t, *again;
		struct gguf_out g = { 0 };
		struct vocab v;
		struct buf blob = { 0 };
		struct err e = { 0 };

		small_vocab(&v);
		vocab_gguf(&v, cases[i].pre, NULL, &g);
		if (cases[i].said >= 0)
			put_bool(&g, "tokenizer.ggml.add_bos_token",
			    cases[i].said != 0);
		ck_assert_int_eq(load_gguf(&g, &t, &e), 0);
		ck_assert_int_eq(tokenizer_add_bos(t), cases[i].want);
		ck_assert_int_eq(tokenizer_save(t, &blob, &e), 0);
		ck_assert_int_eq(tokenizer_load(blob.data, blob.len, &again,
		    &e), 0);
		ck_assert_int_eq(tokenizer_add_bos(again), cases[i].want);
		tokenizer_set_add_bos(again, !cases[i].want);
		ck_assert_int_eq(tokenizer_add_bos(again), !cases[i].want);
		tokenizer_destroy(again);
		tokenizer_destroy(t);
		vocab_free(&v);
		buf_free(&blob);
	}
}
END_TEST

/* A small GGUF of which one thing is wrong. */
static const struct {
	const char *model;
	const char *token;	/* the one token after the 256 */
	uint32_t type;
	const char *merge;
	uint32_t bos;
	int n_types;		/* beside the 257 */
	int code;
	const char *text;
} wrong_gguf[] = {
	{ "t5", "ab", 1, "a b", 0, 0, ERR_UNSUPPORTED, "f.gguf: the tokenizer "
	    "'t5' is not supported; gpt2 and llama are" },
	{ NULL, "ab", 1, "a b", 0, 0, ERR_BAD_FILE,
	    "f.gguf: key 'tokenizer.ggml.model' is missing" },
	{ "gpt2", "ab", 1, "a c", 0, 0, ERR_BAD_FILE,
	    "f.gguf: merge 0 'a c' is not of two tokens to a third" },
	{ "gpt2", "ab", 1, "ab", 0, 0, ERR_BAD_FILE,
	    "f.gguf: merge 0 'ab' is not of two tokens to a third" },
	{ "gpt2", "ab", 3, "a b", 0, 0, ERR_BAD_FILE,
	    "f.gguf: merge 0 'a b' is not of two tokens to a third" },
	{ "gpt2", "ab", 6, "a b", 0, 0, ERR_BAD_FILE,
	    "f.gguf: token 256 has type 6" },
	{ "gpt2", "ab", 7, "a b", 0, 0, ERR_BAD_FILE,
	    "f.gguf: token 256 has type 7" },
	{ "gpt2", "", 1, "a b", 0, 0, ERR_BAD_FILE,
	    "f.gguf: token 256 is empty" },
	{ "gpt2", "b", 1, "a b", 0, 0, ERR_BAD_FILE,
	    "tokenizer: tokens 98 and 256 are the same bytes" },
	{ "gpt2", "ab", 1, "a b", 257, 0, ERR_BAD_FILE, "f.gguf: key "
	    "'tokenizer.ggml.bos_token_id' is 257, and there are 257 tokens" },
	{ "gpt2", "ab", 1, "a b", 0, 1, ERR_BAD_FILE, "f.gguf: key "
	    "'tokenizer.ggml.token_type' has 258 elements, expected 257, one "
	    "a token" },
	{ "gpt2", "ab", 1, NULL, 0, 0, ERR_BAD_FILE,
	    "f.gguf: key 'tokenizer.ggml.merges' is missing" },
	{ "llama", "ab", 1, NULL, 0, 0, ERR_BAD_FILE,
	    "f.gguf: key 'tokenizer.ggml.scores' is missing" },
};

START_TEST(a_wrong_gguf_is_refused_by_name)
{
	const char *merge = wrong_gguf[_i].merge;
	struct tokenizer *t = NULL;
	struct gguf_out g = { 0 };
	struct vocab v;
	struct err e = { 0 };

	small_vocab(&v);
	if (wrong_gguf[_i].model != NULL)
		put_text(&g, "tokenizer.ggml.model", wrong_gguf[_i].model);
	put_text(&g, "tokenizer.ggml.pre", "gpt-2");
	put_u32(&g, "tokenizer.ggml.bos_token_id", wrong_gguf[_i].bos);
	put_array(&g, "tokenizer.ggml.tokens", 8, 257);
	for (size_t i = 0; i < 256; i++)
		put_string(&g.pairs, v.text[i], strlen(v.text[i]));
	put_string(&g.pairs, wrong_gguf[_i].token,
	    strlen(wrong_gguf[_i].token));
	put_array(&g, "tokenizer.ggml.token_type", 5,
	    (uint64_t)(257 + wrong_gguf[_i].n_types));
	for (int i = 0; i < 257 + wrong_gguf[_i].n_types; i++)
		put(&g.pairs, i == 256 ? wrong_gguf[_i].type : 1, 4);
	if (merge != NULL) {
		put_array(&g, "tokenizer.ggml.merges", 8, 1);
		put_string(&g.pairs, merge, strlen(merge));
	}
	ck_assert_int_eq(load_gguf(&g, &t, &e), wrong_gguf[_i].code);
	ck_assert_str_eq(e.text, wrong_gguf[_i].text);
	ck_assert_ptr_null(t);
	vocab_free(&v);
}
END_TEST

START_TEST(a_cut_htok_is_refused_and_a_damaged_one_harmless)
{
	struct tokenizer *t;
	struct vocab v;
	struct err e;

	small_vocab(&v);
	for (int version = 1; version <= 2; version++) {
		struct buf file = vocab_htok(&v, version, 0, 1);

		for (size_t n = 0; n < file.len; n++) {
			char *exact = malloc(n + 1);	/* for the sanitizers */

			memcpy(exact, file.data, n);
			if (tokenizer_from_htok(exact, n, "f.htok", NULL, &t,
			    &e) == 0)
				ck_abort_msg("%zu bytes are enough", n);
			free(exact);
		}
		for (size_t i = 0; i < 8 * file.len; i++) {
			file.data[i / 8] ^= (char)(1 << i % 8);
			if (tokenizer_from_htok(file.data, file.len, "f.htok",
			    NULL, &t, &e) == 0) {
				free(ids_of(t, "ab<x> \xff 12", 10, true));
				tokenizer_destroy(t);
			}
			file.data[i / 8] ^= (char)(1 << i % 8);
		}
		buf_free(&file);
	}
	vocab_free(&v);
}
END_TEST

static const struct {
	const char *bytes;
	size_t n;
	const char *pattern;
	int code;
	const char *text;
} wrong_htok[] = {
	{ "HTOL", 4, NULL, ERR_BAD_FILE,
	    "f.htok: no .htok: it does not begin with HTOK and a header" },
	{ "HTOK\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0\1\0a\0", 24, NULL,
	    ERR_BAD_FILE, "f.htok: the file ends in token 1" },
	{ "HTOK\1\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0\1\0a\0", 24, NULL,
	    ERR_BAD_FILE, "f.htok: too many merges: 4294967295" },
	{ "HTOK\1\0\0\0\xff\0\0\0\0\0\0\0\0\0\0\0\1\0a\0", 24, NULL,
	    ERR_BAD_FILE, "f.htok: the file ends in merge 0" },
	{ "HTOK\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0a\0", 24, NULL,
	    ERR_BAD_FILE,
	    "f.htok: something follows the last part, at byte 23" },
	{ "HTOK\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0ab", 24, "gpt-3", ERR_RANGE,
	    "the pattern 'gpt-3' is not known; known are llama3, gpt-2, "
	    "gpt-neox, qwen2, falcon3" },
	{ "HTOK\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0ab", 24, NULL, ERR_BAD_FILE,
	    "tokenizer: byte 0 has no token" },
	{ "HTOK\2\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0a\1\0\0\0\7\0\0\0",
	    35, NULL, ERR_BAD_FILE, "f.htok: there is no special token 7" },
	{ "HTOK\2\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0a\2\0\0\0\7\0\0\0",
	    35, NULL, ERR_BAD_FILE, "f.htok: the file ends in the special "
	    "tokens, at byte 35" },
};

START_TEST(a_wrong_htok_is_refused_by_name)
{
	struct tokenizer *t = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(tokenizer_from_htok(wrong_htok[_i].bytes,
	    wrong_htok[_i].n, "f.htok", wrong_htok[_i].pattern, &t, &e),
	    wrong_htok[_i].code);
	ck_assert_str_eq(e.text, wrong_htok[_i].text);
	ck_assert_ptr_null(t);
}
END_TEST

static const struct {
	const char *text, *pattern;
	int code;
	const char *error;
} wrong_ranks[] = {
	{ "YQ== 0\nYg== 1\n", NULL, ERR_UNSUPPORTED, "f: 2 ranks are no "
	    "vocabulary whose pattern is known; say which of llama3, gpt-2, "
	    "gpt-neox, qwen2, falcon3" },
	{ "", "gpt-2", ERR_BAD_FILE,
	    "f: a vocabulary of 0 tokens is not 1 to 2097152" },
	{ "YQ== 0\nYg==\n", "gpt-2", ERR_BAD_FILE,
	    "f: line 2 is not a token in base64 and its rank" },
	{ "YQ== 0\nYg== -1\n", "gpt-2", ERR_BAD_FILE,
	    "f: line 2 is not a token in base64 and its rank" },
	{ "YQ== 99999999999999999999\n", "gpt-2", ERR_BAD_FILE,
	    "f: line 1 is not a token in base64 and its rank" },
	{ "YQ== 0\nYg== 0\n", "gpt-2", ERR_BAD_FILE,
	    "f: two tokens have the rank 0" },
	{ "YQ= 3\n", "gpt-2", ERR_BAD_FILE,
	    "f: the token of rank 3 is not in base64" },
	{ "Y-== 0\n", "gpt-2", ERR_BAD_FILE,
	    "f: the token of rank 0 is not in base64" },
	{ "==== 0\n", "gpt-2", ERR_BAD_FILE,
	    "f: the token of rank 0 is not in base64" },
	{ "YQ== 0\r\nYQ== 1\r\n", "gpt-2", ERR_BAD_FILE,
	    "tokenizer: tokens 0 and 1 are the same bytes" },
	{ "YQ== 0\n", "gpt-2", ERR_BAD_FILE,
	    "tokenizer: byte 0 has no token" },
	{ "YQ== 0\n", "none", ERR_RANGE, "the pattern 'none' is not known; "
	    "known are llama3, gpt-2, gpt-neox, qwen2, falcon3" },
};

START_TEST(wrong_ranks_are_refused_by_line)
{
	struct tokenizer *t = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(tokenizer_from_ranks(wrong_ranks[_i].text,
	    strlen(wrong_ranks[_i].text), "f", wrong_ranks[_i].pattern, &t,
	    &e), wrong_ranks[_i].code);
	ck_assert_str_eq(e.text, wrong_ranks[_i].error);
	ck_assert_ptr_null(t);
}
END_TEST

START_TEST(ranks_are_merged_by_the_rank_of_what_they_make)
{
	struct tokenizer *bytes = small_tokenizer(&(struct small){ 0 }), *t;
	struct buf text = ranks_of(bytes);
	struct err e = { 0 };

	/* "bc" before "ab"; 258 is a hole; "abcd" is made whole alone. */
	buf_adds(&text, "YmM= 256\nYWI= 257\n\nYWJjZA== 259\n");
	ck_assert_msg(tokenizer_from_ranks(text.data, text.len, "f", "gpt-2",
	    &t, &e) == 0, "%s", e.text);
	check_ids(t, "abc", false, "97 256");
	check_ids(t, "abd", false, "257 100");
	check_ids(t, "abcd", false, "259");
	check_ids(t, "abcde", false, "97 256 100 101");
	tokenizer_destroy(t);
	tokenizer_destroy(bytes);
	buf_free(&text);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tokenizer_files");
	TCase *t = tcase_create("tokenizer_files");
	SRunner *r = srunner_create(s);
	int failed;

#define COUNT(table) ((int)(sizeof(table) / sizeof(*(table))))
	tcase_set_timeout(t, 120);	/* for the sanitizers */
	tcase_add_loop_test(t, a_vocabulary_has_the_same_ids_in_every_container,
	    0, COUNT(big));
	tcase_add_loop_test(t, a_gguf_of_llama_cpps_has_hugging_faces_ids, 0,
	    2);
	tcase_add_loop_test(t, the_pattern_of_a_gguf_is_known_by_name, 0,
	    COUNT(pres));
	tcase_add_test(t, who_adds_a_bos_is_what_the_file_says);
	tcase_add_loop_test(t, a_wrong_gguf_is_refused_by_name, 0,
	    COUNT(wrong_gguf));
	tcase_add_test(t, a_cut_htok_is_refused_and_a_damaged_one_harmless);
	tcase_add_loop_test(t, a_wrong_htok_is_refused_by_name, 0,
	    COUNT(wrong_htok));
	tcase_add_loop_test(t, wrong_ranks_are_refused_by_line, 0,
	    COUNT(wrong_ranks));
	tcase_add_test(t, ranks_are_merged_by_the_rank_of_what_they_make);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
