/*
 * Which ids of a conversation are kept when it comes back as text, in every
 * family of templates.  The tokenizer joins letters in a way that no answer here
 * is spelt in: an answer is bytes, so what is encoded again is not what was
 * generated, and shows.
 */
#include "small_tokenizer.h"
#include "tokenizer/template.h"
#include "transcript.h"

static const char *const families[] = {
	"bitnet", "llama3", "chatml", "qwen2", "qwen2.5", "qwen3", "falcon3",
	"zephyr", "plain",
};
enum { N_FAMILIES = sizeof(families) / sizeof(*families), EOT = 256 };

static struct tokenizer *t;
static const struct template *tp;
static struct transcript *said;

static void
setup(void)
{
	static const struct small s = {
		.added = ADDED(256, "<|eot_id|>", true, false) ","
		    ADDED(257, "<|begin_of_text|>", true, false) ","
		    ADDED(258, "<|start_header_id|>", true, false) ","
		    ADDED(259, "<|end_header_id|>", true, false) ","
		    ADDED(260, "<|im_start|>", true, false) ","
		    ADDED(261, "<|im_end|>", true, false) ","
		    ADDED(262, "<|endoftext|>", true, false) ","
		    ADDED(263, "</s>", true, false),
		.vocab = "\"he\": 264, \"el\": 265, \"no\": 266, \"Ġn\": 267",
		.merges = "\"h e\", \"e l\", \"n o\", \"Ġ n\"",
	};

	t = small_tokenizer(&s);
	said = NULL;
}

static void
teardown(void)
{
	transcript_free(said);
	tokenizer_destroy(t);
}

/* The control token that ends an answer in this family; -1: none is needed. */
static int32_t
end_token(void)
{
	const char *name = template_name(tp);

	if (strcmp(name, "bitnet") == 0 || strcmp(name, "llama3") == 0)
		return EOT;
	if (strcmp(name, "falcon3") == 0)
		return 262;
	if (strcmp(name, "zephyr") == 0)
		return 263;
	return strcmp(name, "plain") == 0 ? 262 : 261;
}

/* Say messages [n]; how many ids are kept of what was said before. */
static size_t
ask(const struct message *m, size_t n)
{
	struct transcript *tr;
	struct script s = { 0 };
	struct err e = { 0 };
	size_t n_kept = 0;

	ck_assert_msg(template_script(tp, t, m, n, true, &s, &e) == 0, "%s",
	    e.text);
	ck_assert_int_eq(transcript_make(&s, said, t, &tr, &n_kept, &e), 0);
	script_free(&s);
	transcript_free(said);
	said = tr;
	return n_kept;
}

/* The model says text, byte by byte, and then end, if that is a token. */
static void
answer(const char *text, int32_t end)
{
	int32_t ids[200];
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		ids[i] = (unsigned char)text[i];
	if (end >= 0)
		ids[n++] = end;
	ck_assert(transcript_answer(said, ids, n, t));
}

/* All that the ids say, control tokens too. */
static void
spell(const struct transcript *tr, struct buf *out)
{
	for (size_t i = 0; i < tr->ids.n; i++) {
		size_t n;
		const char *bytes = tokenizer_bytes(t, tr->ids.v[i], &n);

		buf_add(out, bytes, n);
	}
}

/* The ids say what the template renders, exactly. */
static void
check_text(const struct message *m, size_t n)
{
	struct buf want = { 0 }, got = { 0 };
	const char *start;

	ck_assert_int_eq(template_render(tp, m, n, true, &want, NULL), 0);
	spell(said, &got);
	/* A BOS that the template has in its ids alone. */
	start = got.data + (got.len - want.len);
	ck_assert_uint_ge(got.len, want.len);
	ck_assert_msg(strcmp(start, want.data) == 0, "%s:\n%s\n%s",
	    template_name(tp), got.data, want.data);
	buf_free(&want);
	buf_free(&got);
}

/* Nothing is spelt as it would not be, were there no session. */
static bool
is_plain(const struct message *m, size_t n)
{
	struct script s = { 0 };
	bool plain;

	ck_assert_int_eq(template_script(tp, t, m, n, true, &s, NULL), 0);
	ck_assert_int_eq(transcript_is_plain(said, &s, t, &plain, NULL), 0);
	script_free(&s);
	return plain;
}

START_TEST(an_answer_keeps_its_ids_over_several_turns)
{
	const struct message m[] = {
		{ "system", "be nice" }, { "user", "hello" },
		{ "assistant", "hello no" }, { "user", "no hello" },
		{ "assistant", "no, no" }, { "user", "hello hello" },
	};
	size_t n;

	tp = template_find(families[_i]);
	ck_assert_uint_eq(ask(m, 2), 0);
	check_text(m, 2);
	ck_assert(is_plain(m, 2));
	answer("hello no", end_token());
	n = said->ids.n;
	if (strcmp(template_name(tp), "plain") == 0)
		n--;		/* its end is no token of the dialogue */
	ck_assert_uint_eq(ask(m, 4), n);
	ck_assert(!is_plain(m, 4));
	if (strcmp(template_name(tp), "plain") != 0)
		check_text(m, 4);
	answer("no, no", end_token());
	n = said->ids.n - (strcmp(template_name(tp), "plain") == 0);
	ck_assert_uint_eq(ask(m, 6), n);
}
END_TEST

START_TEST(an_answer_that_ended_by_length_is_kept)
{
	const struct message m[] = {
		{ "user", "hello" }, { "assistant", "hello he" },
		{ "user", "no" },
	};
	size_t n;

	tp = template_find(families[_i]);
	ask(m, 1);
	answer("hello he", -1);
	n = said->ids.n;
	ck_assert_uint_eq(ask(m, 3), n);
}
END_TEST

START_TEST(blanks_that_a_template_trims_do_not_lose_the_answer)
{
	const struct message m[] = {
		{ "user", "hello" }, { "assistant", " hello no\n" },
		{ "user", "no" },
	};
	size_t n;

	tp = template_find(families[_i]);
	ask(m, 1);
	answer(" hello no\n", end_token());
	n = said->ids.n - (strcmp(template_name(tp), "plain") == 0);
	ck_assert_uint_eq(ask(m, 3), n);
}
END_TEST

START_TEST(of_an_answer_that_a_stop_string_cut_the_beginning_is_kept)
{
	const struct message m[] = {
		{ "user", "hello" }, { "assistant", "hello " }, { "user", "no" },
	};
	size_t n;

	tp = template_find(families[_i]);
	ask(m, 1);
	n = said->ids.n;
	answer("hello END", -1);
	/* The blank is the template's to trim or keep; both say "hello". */
	ck_assert_uint_ge(ask(m, 3), n + 5);
	if (strcmp(template_name(tp), "plain") != 0)
		check_text(m, 3);
}
END_TEST

START_TEST(an_answer_that_was_edited_is_encoded_again)
{
	const char *const edits[] = { "hello nO", "hello no no", "jello no", "" };

	tp = template_find(families[_i]);
	for (size_t i = 0; i < 4; i++) {
		const struct message m[] = {
			{ "user", "hello" }, { "assistant", edits[i] },
			{ "user", "no" },
		};

		transcript_free(said);
		said = NULL;
		ask(m, 1);
		answer("hello no", end_token());
		ask(m, 3);
		ck_assert(is_plain(m, 3));
	}
}
END_TEST

START_TEST(what_comes_before_an_edit_is_kept)
{
	struct message m[] = {
		{ "user", "hello" }, { "assistant", "hello" }, { "user", "no" },
		{ "assistant", "no" }, { "user", "hello" },
	};
	size_t n;

	tp = template_find(families[_i]);
	ask(m, 1);
	answer("hello", end_token());
	n = said->ids.n - (strcmp(template_name(tp), "plain") == 0);
	ask(m, 3);
	answer("no", end_token());
	m[2].content = "yes";
	ck_assert_uint_ge(ask(m, 5), n);
	m[0].content = "yes";
	ask(m, 5);
	ck_assert(is_plain(m, 5));
}
END_TEST

START_TEST(the_same_question_again_keeps_its_prompt)
{
	const struct message m[] = { { "user", "hello" } };
	size_t n;

	tp = template_find(families[_i]);
	ask(m, 1);
	n = said->ids.n;
	answer("no", end_token());
	ck_assert_uint_eq(ask(m, 1), n);
	ck_assert(is_plain(m, 1));
}
END_TEST

START_TEST(control_tokens_that_were_generated_are_not_smuggled_in)
{
	const struct message m[] = {
		{ "user", "hello" }, { "assistant", "hellono" }, { "user", "no" },
	};
	int32_t ids[] = { 'h', 'e', 'l', 'l', 'o', 262, 'n', 'o', 262 };
	size_t n;

	tp = template_find(families[_i]);
	ask(m, 1);
	n = said->ids.n;
	ck_assert(transcript_answer(said, ids, 9, t));
	/* "hello" is a beginning of what was sent back, and no more. */
	ck_assert_uint_le(ask(m, 3), n + 5);
	for (size_t i = n; i + 1 < said->ids.n; i++)
		ck_assert(said->ids.v[i] != 262 || end_token() == 262);
}
END_TEST

START_TEST(thoughts_that_a_template_drops_are_not_asked_again)
{
	const struct message m[] = {
		{ "user", "hello" },
		{ "assistant", "<think>\nno\n</think>\n\nhello" },
		{ "user", "no" },
	};

	tp = template_find("qwen3");
	ask(m, 1);
	answer(m[1].content, 261);
	ask(m, 3);
	check_text(m, 3);
	ck_assert(is_plain(m, 3));
}
END_TEST

static size_t
complete(const char *text)
{
	struct transcript *tr;
	struct script s = { 0 };
	size_t n_kept;

	script_text(&s, text, strlen(text), true);
	ck_assert_int_eq(transcript_make(&s, said, t, &tr, &n_kept, NULL), 0);
	script_free(&s);
	transcript_free(said);
	said = tr;
	return n_kept;
}

START_TEST(a_plain_text_that_goes_on_keeps_its_ids)
{
	struct buf got = { 0 };
	size_t n;

	complete("hello");
	answer(" no hel", 262);
	n = said->ids.n - 1;
	ck_assert_uint_eq(complete("hello no hello no"), n);
	spell(said, &got);
	ck_assert_str_eq(got.data, "hello no hello no");
	buf_free(&got);
	n = said->ids.n;
	answer(" no", 262);
	ck_assert_uint_eq(complete("hello no hello no n"), n + 2);
}
END_TEST

START_TEST(a_character_is_not_cut_in_two)
{
	const struct message m[] = {
		{ "user", "hello" }, { "assistant", "h\xc3\xa9" }, { "user", "no" },
	};
	size_t n;

	tp = template_find("bitnet");
	ask(m, 1);
	n = said->ids.n;
	answer("h\xc3\xa8 no", -1);	/* another letter, the same first byte */
	ask(m, 3);
	check_text(m, 3);
	ck_assert(is_plain(m, 3));
	ck_assert_uint_gt(n, 0);
}
END_TEST

START_TEST(ids_without_text_are_not_mistaken_for_it)
{
	const int32_t ids[] = { 'h', 'i' };
	struct transcript *tr;

	ck_assert_int_eq(transcript_of_ids(ids, 2, &tr, NULL), 0);
	said = tr;
	answer("no", -1);
	ck_assert_uint_eq(complete("hino"), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("transcript");
	TCase *tc = tcase_create("transcript");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
#define EACH(test) tcase_add_loop_test(tc, test, 0, N_FAMILIES)
	EACH(an_answer_keeps_its_ids_over_several_turns);
	EACH(an_answer_that_ended_by_length_is_kept);
	EACH(blanks_that_a_template_trims_do_not_lose_the_answer);
	EACH(of_an_answer_that_a_stop_string_cut_the_beginning_is_kept);
	EACH(an_answer_that_was_edited_is_encoded_again);
	EACH(what_comes_before_an_edit_is_kept);
	EACH(the_same_question_again_keeps_its_prompt);
	EACH(control_tokens_that_were_generated_are_not_smuggled_in);
	tcase_add_test(tc, thoughts_that_a_template_drops_are_not_asked_again);
	tcase_add_test(tc, a_plain_text_that_goes_on_keeps_its_ids);
	tcase_add_test(tc, a_character_is_not_cut_in_two);
	tcase_add_test(tc, ids_without_text_are_not_mistaken_for_it);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
