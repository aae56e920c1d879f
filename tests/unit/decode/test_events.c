/*
 * What pieces say of tokens: whether they are in the text, and what of them.
 */
#include <check.h>

#include "base64.h"
#include "events.h"
#include "tokenizer_files.h"

#define BLANK "\xe2\x96\x81"

enum { N_BYTES = 256, FIRST = 3 + N_BYTES };

/* The vocabulary: unknown, begin, end, 256 bytes, and these with their scores. */
static const struct { const char *text; float score; } pieces[] = {
	{ BLANK, -9 }, { "t", -9 }, { "h", -9 }, { "e", -9 }, { "n", -9 }, { "d", -9 },
	{ BLANK "t", -3 }, { BLANK "e", -3 }, { "he", -4 }, { "nd", -4 },
	{ BLANK "the", -1 }, { BLANK "end", -1 },
};

enum { N_PIECES = sizeof(pieces) / sizeof(pieces[0]), VOCAB = FIRST + N_PIECES };

static struct tokenizer *spm;

static void
put_texts(struct gguf_out *g)
{
	static const char *const special[] = { "<unk>", "<s>", "</s>" };
	char byte[8];

	put_array(g, "tokenizer.ggml.tokens", 8, VOCAB);
	for (int i = 0; i < 3; i++)
		put_string(&g->pairs, special[i], strlen(special[i]));
	for (int i = 0; i < N_BYTES; i++) {
		snprintf(byte, sizeof(byte), "<0x%02X>", i);
		put_string(&g->pairs, byte, strlen(byte));
	}
	for (int i = 0; i < N_PIECES; i++)
		put_string(&g->pairs, pieces[i].text, strlen(pieces[i].text));
}

static void
setup(void)
{
	struct gguf_out g = { 0 };
	struct err e = { 0 };

	put_text(&g, "tokenizer.ggml.model", "llama");
	put_texts(&g);
	put_array(&g, "tokenizer.ggml.scores", 6, VOCAB);
	for (int i = 0; i < VOCAB; i++) {
		float score = i < FIRST ? 0 : pieces[i - FIRST].score;
		uint32_t bits;

		memcpy(&bits, &score, 4);
		put(&g.pairs, bits, 4);
	}
	put_array(&g, "tokenizer.ggml.token_type", 5, VOCAB);
	for (int i = 0; i < VOCAB; i++)
		put(&g.pairs, i == 0 ? 2 : i < 3 ? 3 : i < FIRST ? 6 : 1, 4);
	ck_assert_msg(load_gguf(&g, &spm, &e) == 0, "%s", e.text);
}

static void
teardown(void)
{
	tokenizer_destroy(spm);
}

/* The bytes of all elements of list that are in the text. */
static void
spell(json_t *list, struct buf *out)
{
	json_t *v, *text;
	size_t i;

	json_array_foreach(list, i, v) {
		text = json_object_get(v, "text_b64");
		if (json_object_get(v, "special") == NULL)
			ck_assert(base64_decode(json_string_value(text),
			    json_string_length(text), out));
	}
	buf_add(out, "", 1);
}

/* The piece of made, the first after the prompt of scores [n]. */
static json_t *
encode(const struct sampler_logprob *scores, size_t n, int32_t made)
{
	struct events_outcome out = { .scores = scores, .n_prompt = (int64_t)n };
	json_t *array = json_array(), *v;
	struct events ev;
	int64_t next;
	struct err e;

	ck_assert_int_eq(events_init(&ev, 0, 1, &e), 0);
	events_begin(&ev, made)->id = made;
	events_end(&ev);
	ck_assert_int_eq(events_encode(&ev, "aa", 0, 1, &out, spm, array, &next,
	    &e), 0);
	events_finish(&ev);
	v = json_incref(json_array_get(array, 0));
	json_decref(array);
	return v;
}

/* The blank that is put before a text is in no token that is shown of it. */
START_TEST(the_logprobs_of_a_prompt_spell_it)
{
	static const char *const texts[] = { "the end", " the", "end", "\xc3\xa9" };
	struct sampler_logprob scores[16] = { { .id = 1 } };	/* <s> */
	struct buf prompt = { 0 }, made = { 0 };
	struct ids ids = { 0 };
	struct err e;
	json_t *v;

	ck_assert_int_eq(tokenizer_encode(spm, texts[_i], strlen(texts[_i]), false,
	    &ids, &e), 0);
	for (size_t i = 0; i < ids.n; i++)
		scores[i + 1].id = ids.v[i];
	v = encode(scores, ids.n + 1, VOCAB - 2);
	spell(json_object_get(v, "prompt_logprobs"), &prompt);
	ck_assert_str_eq(prompt.data, texts[_i]);
	/* What was made goes on. */
	spell(json_object_get(v, "logprobs"), &made);
	ck_assert_str_eq(made.data, " the");
	json_decref(v);
	buf_free(&prompt);
	buf_free(&made);
	ids_free(&ids);
}
END_TEST

START_TEST(an_end_token_is_in_no_text)
{
	const struct sampler_logprob scores[] = { { .id = 1 } };
	json_t *v = encode(scores, 1, 2);

	ck_assert(json_is_true(json_object_get(json_array_get(json_object_get(v,
	    "logprobs"), 0), "special")));
	ck_assert(!events_shows(spm, 2));
	ck_assert(events_shows(spm, FIRST));
	json_decref(v);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("events");
	TCase *t = tcase_create("events");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_unchecked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, the_logprobs_of_a_prompt_spell_it, 0, 4);
	tcase_add_test(t, an_end_token_is_in_no_text);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
