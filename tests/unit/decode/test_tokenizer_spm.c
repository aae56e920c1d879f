/*
 * SentencePiece's vocabularies: against its own ids, against a slow encoder
 * that follows the definition, and what a tokenizer.json says of blanks.
 */
#include <stdio.h>

#include "tokenizer_files.h"

enum { N_PIECES = 900 };

static struct {
	char text[64];
	float score;
} pieces[N_PIECES];
static struct tokenizer *spm;	/* of a GGUF */

static void
read_pieces(void)
{
	char line[128];
	size_t n = 0;
	FILE *f = fopen("tests/data/tokenizer/spm-900.vocab", "r");

	ck_assert_ptr_nonnull(f);
	for (; n < N_PIECES && fgets(line, sizeof(line), f) != NULL; n++) {
		char *tab = strrchr(line, '\t');

		ck_assert(tab != NULL && tab - line < 64);
		*tab = '\0';
		snprintf(pieces[n].text, 64, "%.63s", line);
		pieces[n].score = strtof(tab + 1, NULL);
	}
	ck_assert_uint_eq(n, N_PIECES);
	fclose(f);
}

static void
put_pieces(struct gguf_out *g)
{
	put_text(g, "tokenizer.ggml.model", "llama");
	put_array(g, "tokenizer.ggml.tokens", 8, N_PIECES);
	for (int i = 0; i < N_PIECES; i++)
		put_string(&g->pairs, pieces[i].text, strlen(pieces[i].text));
	put_array(g, "tokenizer.ggml.scores", 6, N_PIECES);
	for (int i = 0; i < N_PIECES; i++) {
		uint32_t bits;

		memcpy(&bits, &pieces[i].score, 4);
		put(&g->pairs, bits, 4);
	}
	put_array(g, "tokenizer.ggml.token_type", 5, N_PIECES);
	for (int i = 0; i < N_PIECES; i++)
		put(&g->pairs, i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1, 4);
}

static void
setup(void)
{
	struct gguf_out g = { 0 };
	struct err e = { 0 };

	read_pieces();
	put_pieces(&g);
	ck_assert_msg(load_gguf(&g, &spm, &e) == 0, "%s", e.text);
}

static void
teardown(void)
{
	tokenizer_destroy(spm);
}

static int
piece_id(const char *text, size_t n)
{
	for (int i = 259; i < N_PIECES; i++)
		if (strlen(pieces[i].text) == n &&
		    memcmp(pieces[i].text, text, n) == 0)
			return i;
	return -1;
}

/* The tokenizer.json that Hugging Face's converter would make of it. */
static struct tokenizer *
from_json(const char *normalizer, const char *pre_tokenizer, bool bytes)
{
	json_t *root = json_object(), *vocab = json_object();
	json_t *merges = json_array(), *added = json_array();
	struct tokenizer *t = NULL;
	struct err e = { 0 };
	char *text;

	for (int i = 0; i < N_PIECES; i++)
		json_object_set_new(vocab, pieces[i].text, json_integer(i));
	for (int i = 0; i < 3; i++)
		json_array_append_new(added, json_pack("{s:i, s:s, s:b}", "id",
		    i, "content", pieces[i].text, "special", 1));
	/* The file has the pieces by falling score. */
	for (int i = 259; i < N_PIECES; i++)
		for (size_t n = strlen(pieces[i].text), k = 1; k < n; k++)
			if (piece_id(pieces[i].text, k) >= 0 &&
			    piece_id(pieces[i].text + k, n - k) >= 0)
				json_array_append_new(merges,
				    json_sprintf("%.*s %s", (int)k,
				    pieces[i].text, pieces[i].text + k));
	json_object_set_new(root, "added_tokens", added);
	json_object_set_new(root, "normalizer", normalizer == NULL ?
	    json_null() : json_loads(normalizer, 0, NULL));
	json_object_set_new(root, "pre_tokenizer", pre_tokenizer == NULL ?
	    json_null() : json_loads(pre_tokenizer, 0, NULL));
	json_object_set_new(root, "model", json_pack("{s:s, s:b, s:b, s:s, "
	    "s:o, s:o}", "type", "BPE", "byte_fallback", bytes, "fuse_unk", 1,
	    "unk_token", "<unk>", "vocab", vocab, "merges", merges));
	text = json_dumps(root, 0);
	ck_assert_msg(tokenizer_from_json(text, strlen(text), &t, &e) == 0,
	    "%s", e.text);
	free(text);
	json_decref(root);
	return t;
}

#define BLANK "\xe2\x96\x81"
#define REPLACE "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, " \
	"\"content\": \"" BLANK "\"}"
#define LLAMA2 "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": " \
	"\"Prepend\", \"prepend\": \"" BLANK "\"}, " REPLACE "]}"
#define METASPACE(scheme, split) "{\"type\": \"Metaspace\", \"replacement\": " \
	"\"" BLANK "\", \"prepend_scheme\": \"" scheme "\", \"split\": " \
	split "}"

static void
check_vectors(const struct tokenizer *t)
{
	FILE *f = fopen("tests/data/tokenizer/spm-900.jsonl", "r");
	char *line = NULL;
	size_t cap = 0, n_cases = 0;
	ssize_t len;

	ck_assert_ptr_nonnull(f);
	for (; (len = getline(&line, &cap, f)) > 0; n_cases++) {
		json_t *v = json_loadb(line, (size_t)len, 0, NULL);
		const char *text =
		    json_string_value(json_object_get(v, "text"));
		const json_t *ids = json_object_get(v, "ids");
		struct buf want = { 0 };

		buf_adds(&want, "");
		for (size_t i = 0; i < json_array_size(ids); i++)
			buf_printf(&want, "%s%d", i == 0 ? "" : " ",
			    (int)json_integer_value(json_array_get(ids, i)));
		check_ids(t, text, false, want.data);
		buf_free(&want);
		json_decref(v);
	}
	ck_assert_uint_eq(n_cases, 300);
	fclose(f);
	free(line);
}

START_TEST(scores_and_merges_give_sentencepieces_ids)
{
	struct tokenizer *t = from_json(LLAMA2, NULL, true), *again;
	struct buf blob = { 0 };
	struct err e;

	check_vectors(spm);
	check_vectors(t);
	ck_assert_int_eq(tokenizer_save(spm, &blob, &e), 0);
	ck_assert_int_eq(tokenizer_load(blob.data, blob.len, &again, &e), 0);
	check_vectors(again);
	tokenizer_destroy(again);
	tokenizer_destroy(t);
	buf_free(&blob);
}
END_TEST

/* The definition: of all neighbours that are a piece, the best, leftmost. */
static size_t
encode_slowly(const char *text, size_t n, int *id)
{
	static struct {
		size_t at, n;
	} part[400];
	size_t k = 0, n_ids = 0;

	for (size_t i = 0, len; i < n; i += len) {
		len = (unsigned char)text[i] >= 0xe0 ? 3 :
		    (unsigned char)text[i] >= 0xc0 ? 2 : 1;
		part[k].at = i;
		part[k++].n = len;
	}
	for (;;) {
		size_t best = k;
		float score = 0;

		for (size_t i = 0; i + 1 < k; i++) {
			int found = piece_id(text + part[i].at,
			    part[i].n + part[i + 1].n);

			if (found >= 0 && (best == k ||
			    pieces[found].score > score)) {
				best = i;
				score = pieces[found].score;
			}
		}
		if (best == k)
			break;
		part[best].n += part[best + 1].n;
		k--;
		memmove(&part[best + 1], &part[best + 2],
		    (k - best - 1) * sizeof(*part));
	}
	for (size_t i = 0; i < k; i++) {
		int found = piece_id(text + part[i].at, part[i].n);

		if (found >= 0)
			id[n_ids++] = found;
		else
			for (size_t j = 0; j < part[i].n; j++)
				id[n_ids++] = 3 +
				    (unsigned char)text[part[i].at + j];
	}
	return n_ids;
}

START_TEST(any_text_has_the_ids_of_the_definition)
{
	static const char *const words[] = { "the", " ", "  ", "of", "e", "in",
	    " the", "er", "x", "1", "\xc3\xa9", "\xe6\x97\xa5", "\n", "-", "ing",
	    BLANK, "`", "model", " `", "\t" };
	uint32_t state = 11;

	for (int round = 0; round < 400; round++) {
		struct buf text = { 0 }, spelled = { 0 };
		struct ids got = { 0 };
		static int want[1200];
		struct err e;

		buf_adds(&spelled, BLANK);
		for (uint32_t n = 1 + draw(&state) % 40; n > 0; n--)
			buf_adds(&text, words[draw(&state) % 20]);
		for (size_t i = 0; i < text.len; i++)
			if (text.data[i] == ' ')
				buf_adds(&spelled, BLANK);
			else
				buf_add(&spelled, text.data + i, 1);
		size_t n = encode_slowly(spelled.data, spelled.len, want);

		ck_assert_int_eq(tokenizer_encode(spm, text.data, text.len,
		    false, &got, &e), 0);
		ck_assert_uint_eq(got.n, n);
		for (size_t i = 0; i < n; i++)
			ck_assert_int_eq(got.v[i], want[i]);
		ids_free(&got);
		buf_free(&text);
		buf_free(&spelled);
	}
}
END_TEST

START_TEST(of_equal_scores_the_leftmost_is_merged)
{
	struct tokenizer *t = NULL, *again = NULL;
	struct gguf_out g = { 0 };
	struct buf blob = { 0 };
	struct err e = { 0 };
	char want[64];

	read_pieces();
	snprintf(pieces[890].text, 64, "zj");
	snprintf(pieces[891].text, 64, "qz");
	pieces[890].score = pieces[891].score = 5;
	put_pieces(&g);
	put_bool(&g, "tokenizer.ggml.add_space_prefix", false);
	ck_assert_int_eq(load_gguf(&g, &t, &e), 0);
	ck_assert_int_eq(tokenizer_save(t, &blob, &e), 0);
	ck_assert_int_eq(tokenizer_load(blob.data, blob.len, &again, &e), 0);
	snprintf(want, sizeof(want), "891 %d", piece_id("j", 1));
	check_ids(t, "qzj", false, want);
	check_ids(again, "qzj", false, want);
	tokenizer_destroy(again);
	tokenizer_destroy(t);
	buf_free(&blob);
}
END_TEST

/* Is text what its ids spell, but for the blank before it? */
static void
check_round_trip(const char *text, size_t n)
{
	struct ids ids = { 0 };
	struct buf back = { 0 };
	struct err e;

	ck_assert_int_eq(tokenizer_encode(spm, text, n, false, &ids, &e), 0);
	buf_adds(&back, "");
	for (size_t i = 0; i < ids.n; i++) {
		size_t len;
		const char *bytes = tokenizer_bytes(spm, ids.v[i], &len);

		if (bytes == NULL)
			ck_abort_msg("id %zu", i);
		buf_add(&back, bytes, len);
	}
	ck_assert(tokenizer_adds_blank(spm));
	ck_assert_uint_eq(back.len, n == 0 ? 0 : n + 1);
	ck_assert(n == 0 || memcmp(back.data + 1, text, n) == 0);
	buf_free(&back);
	ids_free(&ids);
}

START_TEST(any_bytes_come_back)
{
	uint32_t state = 5;

	for (int round = 0; round < 2000; round++) {
		char text[64];
		size_t n = draw(&state) % sizeof(text);

		for (size_t i = 0; i < n; i++)
			text[i] = draw(&state) % 3 != 0 ? (char)draw(&state) :
			    " e\xe6\x97\xa5\xc3\xa9\xff"[draw(&state) % 8];
		/* A written U+2581 comes back as a blank. */
		if (memmem(text, n, BLANK, 3) == NULL)
			check_round_trip(text, n);
	}
}
END_TEST

static const char *const repeated[] = { " ", "e", "\n", "\xff", "the ", "ab",
    "\xe6\x97\xa5", "\t", "==", " -", "random" };

START_TEST(a_mebibyte_of_one_thing_ends)
{
	enum { N = 1 << 20 };
	bool random = strcmp(repeated[_i], "random") == 0;
	size_t len = random ? 1 : strlen(repeated[_i]);
	char *text = malloc(N + 32);
	uint32_t state = 3;

	for (size_t i = 0; i < N; i += len)
		if (random)	/* and no U+2581 */
			text[i] = (char)(draw(&state) % 0xe2);
		else
			memcpy(text + i, repeated[_i], len);
	check_round_trip(text, N / len * len);
	free(text);
}
END_TEST

/* Ids of "e e", " e" and "<s>e", that parsed, as Hugging Face has them. */
static const struct {
	const char *normalizer, *pre_tokenizer;
	const char *plain, *blank, *after_special;
} schemes[] = {
	{ LLAMA2, NULL, "%2 %2", "%1 %0", "1 %2" },
	{ REPLACE, NULL, "%0 %2", "%2", "1 %0" },
	{ NULL, METASPACE("always", "false"), "%2 %2", "%2", "1 %2" },
	{ NULL, METASPACE("first", "false"), "%2 %2", "%2", "1 %0" },
	{ NULL, METASPACE("never", "true"), "%0 %2", "%2", "1 %0" },
};

/* %0 is "e", %1 two blanks, %2 a blank and "e". */
static void
check_scheme(const struct tokenizer *t, const char *text, const char *want)
{
	struct buf ids = { 0 };

	buf_adds(&ids, "");
	for (const char *p = want; *p != '\0'; p++)
		if (*p == '%') {
			static const char *const names[] = { "e",
			    BLANK BLANK, BLANK "e" };
			const char *name = names[*++p - '0'];

			buf_printf(&ids, "%d", piece_id(name, strlen(name)));
		} else {
			buf_add(&ids, p, 1);
		}
	check_ids(t, text, true, ids.data);
	buf_free(&ids);
}

START_TEST(a_blank_is_put_where_the_file_says)
{
	struct tokenizer *t = from_json(schemes[_i].normalizer,
	    schemes[_i].pre_tokenizer, true);

	ck_assert_int_ge(piece_id(BLANK "e", 4), 0);
	check_scheme(t, "e e", schemes[_i].plain);
	check_scheme(t, " e", schemes[_i].blank);
	check_scheme(t, "<s>e", schemes[_i].after_special);
	check_scheme(t, "", "");
	tokenizer_destroy(t);
}
END_TEST

START_TEST(text_that_goes_on_does_not_begin)
{
	struct tokenizer *t = from_json(NULL, METASPACE("first", "false"),
	    true);
	struct ids ids = { 0 };
	struct err e;

	ck_assert_int_eq(tokenizer_encode_more(t, "e", 1, false, &ids, &e), 0);
	ck_assert(ids.n == 1 && ids.v[0] == piece_id("e", 1));
	ids_free(&ids);
	tokenizer_destroy(t);
}
END_TEST

START_TEST(without_bytes_a_strange_character_is_unknown)
{
	struct tokenizer *t = from_json(REPLACE, NULL, false);

	check_ids(t, "\xf0\x9f\xa6\x99\xe6\x97\xa5\xff", false, "0");
	tokenizer_destroy(t);
}
END_TEST

static const struct {
	int at;			/* a piece, or -1 */
	const char *text;
	const char *key;	/* and a bool that is true */
	const char *error;
} wrong[] = {
	{ 10, "<0xZZ>", NULL, "f.gguf: token 10 '<0xZZ>' is none of <0x00> .. "
	    "<0xFF>, as its type says" },
	{ 10, "<0x-1>", NULL, "f.gguf: token 10 '<0x-1>' is none of <0x00> .. "
	    "<0xFF>, as its type says" },
	{ 300, "e", NULL, "tokenizer: tokens 300 and" },
	{ -1, NULL, "tokenizer.ggml.remove_extra_whitespaces", "f.gguf: key "
	    "'tokenizer.ggml.remove_extra_whitespaces' is true, which is not "
	    "supported" },
};

START_TEST(a_wrong_gguf_is_refused_by_name)
{
	struct tokenizer *t = NULL;
	struct gguf_out g = { 0 };
	struct err e = { 0 };

	read_pieces();
	if (wrong[_i].at >= 0)
		snprintf(pieces[wrong[_i].at].text, 64, "%s", wrong[_i].text);
	put_pieces(&g);
	if (wrong[_i].key != NULL)
		put_bool(&g, wrong[_i].key, true);
	ck_assert_int_ne(load_gguf(&g, &t, &e), 0);
	ck_assert_msg(strncmp(e.text, wrong[_i].error,
	    strlen(wrong[_i].error)) == 0, "%s", e.text);
	ck_assert_ptr_null(t);
}
END_TEST

START_TEST(a_score_that_is_no_number_is_refused)
{
	struct tokenizer *t = NULL;
	struct gguf_out g = { 0 };
	struct err e = { 0 };

	read_pieces();
	pieces[400].score = strtof("nan", NULL);
	put_pieces(&g);
	ck_assert_int_eq(load_gguf(&g, &t, &e), ERR_BAD_FILE);
	ck_assert_str_eq(e.text,
	    "f.gguf: the score of token 400 is not a number");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tokenizer_spm");
	TCase *t = tcase_create("tokenizer_spm");
	SRunner *r = srunner_create(s);
	int failed;

#define COUNT(table) ((int)(sizeof(table) / sizeof(*(table))))
	tcase_add_unchecked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);	/* for the sanitizers */
	tcase_add_test(t, scores_and_merges_give_sentencepieces_ids);
	tcase_add_test(t, any_text_has_the_ids_of_the_definition);
	tcase_add_test(t, of_equal_scores_the_leftmost_is_merged);
	tcase_add_test(t, any_bytes_come_back);
	tcase_add_loop_test(t, a_mebibyte_of_one_thing_ends, 0,
	    COUNT(repeated));
	tcase_add_loop_test(t, a_blank_is_put_where_the_file_says, 0,
	    COUNT(schemes));
	tcase_add_test(t, text_that_goes_on_does_not_begin);
	tcase_add_test(t, without_bytes_a_strange_character_is_unknown);
	tcase_add_loop_test(t, a_wrong_gguf_is_refused_by_name, 0,
	    COUNT(wrong));
	tcase_add_test(t, a_score_that_is_no_number_is_refused);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
