/*
 * Text that may be shown, however the bytes were cut.  The oracle is written
 * from the other end: all bytes at once, by Python's rules, and then the first
 * stop string.
 */
#include "small_tokenizer.h"
#include "tokenizer/textstream.h"

/* Python's bytes.decode("utf-8", "replace"), from table 3-7 of Unicode. */
static void
python_decode(const unsigned char *s, size_t n, struct buf *out)
{
	for (size_t i = 0, len; i < n; i += len) {
		unsigned char lo = 0x80, hi = 0xbf;
		size_t want = s[i] < 0x80 ? 1 : s[i] < 0xc2 ? 0 :
		    s[i] < 0xe0 ? 2 : s[i] < 0xf0 ? 3 : s[i] < 0xf5 ? 4 : 0;

		if (s[i] == 0xe0)
			lo = 0xa0;
		if (s[i] == 0xed)
			hi = 0x9f;
		if (s[i] == 0xf0)
			lo = 0x90;
		if (s[i] == 0xf4)
			hi = 0x8f;
		for (len = 1; len < want && i + len < n; len++) {
			if (s[i + len] < lo || s[i + len] > hi)
				break;
			lo = 0x80;
			hi = 0xbf;
		}
		if (len == want)
			buf_add(out, s + i, len);
		else
			buf_adds(out, "\xef\xbf\xbd");
	}
}

static void
one_shot(const char *bytes, size_t n, const char *const *stops,
    size_t n_stops, struct buf *out)
{
	size_t cut;

	buf_adds(out, "");
	python_decode((const unsigned char *)bytes, n, out);
	cut = out->len;
	for (size_t k = 0; k < n_stops; k++) {
		const char *at = memmem(out->data, out->len, stops[k],
		    strlen(stops[k]));

		if (at != NULL && (size_t)(at - out->data) < cut)
			cut = (size_t)(at - out->data);
	}
	out->len = cut;
	out->data[cut] = '\0';
}

/* Is text [n] UTF-8? */
static bool
is_utf8(const char *text, size_t n)
{
	struct buf out = { 0 };
	bool same;

	buf_adds(&out, "");
	python_decode((const unsigned char *)text, n, &out);
	same = out.len == n && memcmp(out.data, text, n) == 0;
	buf_free(&out);
	return same;
}

static const char *const stops[] = { "ab", "abc", "\xc3\xa9", "b\xc3", "aab",
    "\xef\xbf\xbd\xef\xbf\xbd", "bbbb", "a\xe4\xb8\255b" };
enum { N_STOPS = sizeof(stops) / sizeof(*stops) };

START_TEST(the_cuts_do_not_matter)
{
	static const char *const pieces[] = { "a", "b", "c", "\xc3", "\xa9",
	    "\xe4", "\xb8", "\xad", "\xf0\x9f\x98", "\x80", "\xed\xa0", "\xff",
	    "\xf4\x90", "\xe0\x80", "\xef\xbf\xbd", "ab" };
	uint32_t state = 3;

	for (int round = 0; round < 20000; round++) {
		struct buf bytes = { 0 }, got = { 0 }, want = { 0 };
		size_t n_stops = draw(&state) % 4;
		const char *const *from = stops +
		    draw(&state) % (N_STOPS - n_stops + 1);
		struct textstream ts;

		buf_adds(&bytes, "");
		buf_adds(&got, "");
		for (uint32_t n = draw(&state) % 24; n > 0; n--)
			buf_adds(&bytes, pieces[draw(&state) % 16]);
		one_shot(bytes.data, bytes.len, from, n_stops, &want);
		textstream_init(&ts, from, n_stops);
		for (size_t at = 0, n; at < bytes.len; at += n) {
			n = draw(&state) % 5;
			if (n > bytes.len - at)
				n = bytes.len - at;
			textstream_push(&ts, bytes.data + at, n, &got);
			/* What was shown is whole and will not be taken back. */
			if (!is_utf8(got.data, got.len) || got.len > want.len ||
			    memcmp(got.data, want.data, got.len) != 0)
				ck_abort_msg("round %d: shown too early", round);
		}
		textstream_flush(&ts, &got);
		if (got.len != want.len ||
		    memcmp(got.data, want.data, got.len) != 0)
			ck_abort_msg("round %d: '%s', not '%s'", round,
			    got.data, want.data);
		textstream_finish(&ts);
		buf_free(&bytes);
		buf_free(&got);
		buf_free(&want);
	}
}
END_TEST

/* After each push, what is new: '|' stands between pushes and their output. */
static const struct {
	const char *stop;	/* or NULL */
	const char *pushed[5];
	const char *shown;
	bool stopped;		/* before the flush */
} steps[] = {
	{ NULL, { "a", "b" }, "a|b|", false },
	{ NULL, { "\xe4\xb8", "\xad" }, "|\xe4\xb8\xad|", false },
	{ NULL, { "x\xf0\x9f", "\x98", "\x80y" }, "x||\xf0\x9f\x98\x80y|",
	    false },
	{ NULL, { "x\xf0\x9f" }, "x|\xef\xbf\xbd", false },
	{ NULL, { "\xf0\x9f", "a" }, "|\xef\xbf\xbd" "a|", false },
	{ NULL, { "\xff", "\xed\xa0" }, "\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd|",
	    false },
	{ "User:", { "Hi Us", "er", ": more" }, "Hi |||", true },
	{ "User:", { "Hi Us", "es" }, "Hi |Uses|", false },
	{ "User:", { "UsUser", ":", "x" }, "Us|||", true },
	{ "User:", { "Hi User" }, "Hi |User", false },
	{ "\xe4\xb8\xad", { "a\xe4", "\xb8", "\xad" "b" }, "a|||", true },
	{ "\xe4\xb8\xad", { "a\xe4\xb8", "\xae" }, "a|\xe4\xb8\xae|", false },
	{ "aab", { "aaa", "ab" }, "a|a|", true },
};

START_TEST(shows_what_is_final_and_no_more)
{
	struct textstream ts;
	struct buf got = { 0 };

	textstream_init(&ts, &steps[_i].stop, steps[_i].stop != NULL);
	for (int i = 0; i < 5 && steps[_i].pushed[i] != NULL; i++) {
		textstream_push(&ts, steps[_i].pushed[i],
		    strlen(steps[_i].pushed[i]), &got);
		buf_adds(&got, "|");
	}
	ck_assert_int_eq(ts.stopped, steps[_i].stopped);
	textstream_flush(&ts, &got);
	ck_assert_str_eq(got.data, steps[_i].shown);
	textstream_finish(&ts);
	buf_free(&got);
}
END_TEST

START_TEST(a_complete_stop_string_does_not_wait_for_a_longer_one)
{
	static const char *const both[][2] = { { "ab", "abc" }, { "abc", "ab" } };

	for (int i = 0; i < 2; i++) {
		struct textstream ts;
		struct buf got = { 0 };

		textstream_init(&ts, both[i], 2);
		textstream_push(&ts, "xab", 3, &got);
		ck_assert(ts.stopped);
		ck_assert_str_eq(got.data, "x");
		textstream_finish(&ts);
		buf_free(&got);
	}
}
END_TEST

START_TEST(a_long_stop_string_and_long_text_hold_little_back)
{
	static char stop[1001], text[100000];
	const char *only = stop;
	struct textstream ts;
	struct buf got = { 0 };

	memset(stop, 'a', 1000);
	memset(text, 'a', sizeof(text));
	for (size_t i = 999; i < sizeof(text); i += 1000)
		text[i] = 'b';
	textstream_init(&ts, &only, 1);
	for (size_t i = 0; i < sizeof(text); i += 10) {
		textstream_push(&ts, text + i, 10, &got);
		if (ts.held.len > 999)
			ck_abort_msg("%zu bytes held", ts.held.len);
	}
	textstream_flush(&ts, &got);
	ck_assert_uint_eq(got.len, sizeof(text));
	textstream_finish(&ts);
	buf_free(&got);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("textstream");
	TCase *t = tcase_create("textstream");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);	/* for the sanitizers */
	tcase_add_test(t, the_cuts_do_not_matter);
	tcase_add_loop_test(t, shows_what_is_final_and_no_more, 0,
	    (int)(sizeof(steps) / sizeof(*steps)));
	tcase_add_test(t,
	    a_complete_stop_string_does_not_wait_for_a_longer_one);
	tcase_add_test(t, a_long_stop_string_and_long_text_hold_little_back);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
