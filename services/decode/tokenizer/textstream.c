/*
 * What is held is text that has been decoded and may begin a stop string,
 * followed by at most three bytes of a character that is not yet whole.  New
 * bytes are decoded together with those three; then the first stop string is
 * looked for in the text, or the first place from which on the text is the
 * beginning of one: what lies before either is final.
 *
 * First is where a stop string begins, not where it ends, so that it does not
 * matter how the bytes were cut.
 */
#include <string.h>

#include "tokenizer/chars.h"
#include "tokenizer/textstream.h"

#define REPLACEMENT "\xef\xbf\xbd"

void
textstream_init(struct textstream *ts, const char *const *stops,
    size_t n_stops)
{
	*ts = (struct textstream){ .stops = stops, .n_stops = n_stops };
}

void
textstream_finish(struct textstream *ts)
{
	buf_free(&ts->held);
}

/* Length of the text in held, which is whole but for its last character. */
static size_t
whole(const struct buf *held)
{
	/* A lead byte among the last three may want more than there is. */
	for (size_t back = 1; back <= 3 && back <= held->len; back++) {
		unsigned char c = (unsigned char)held->data[held->len - back];
		int32_t cp;

		if ((c & 0xc0) == 0x80)
			continue;
		chars_next(held->data + held->len - back, back, &cp);
		return cp == CHARS_CUT ? held->len - back : held->len;
	}
	return held->len;
}

/* One more byte for held, whose first *n_text bytes are whole. */
static void
take_byte(struct buf *held, size_t *n_text, char c)
{
	size_t n, len;
	int32_t cp;

	buf_add(held, &c, 1);
	if (held->failed)
		return;
	n = held->len - *n_text;
	len = chars_next(held->data + *n_text, n, &cp);
	if (cp == CHARS_CUT)
		return;
	if (cp == CHARS_BAD) {
		held->len = *n_text;
		buf_adds(held, REPLACEMENT);
	}
	*n_text = held->len;
	/* What c ended without being part of it, c does not belong to. */
	if (len < n)
		take_byte(held, n_text, c);
}

/*
 * Where in text [n] the first stop string begins (*whole_stop = true), or
 * might, the text ending too early to tell; n if nowhere.
 */
static size_t
first_stop(const struct textstream *ts, const char *text, size_t n,
    bool last, bool *whole_stop)
{
	size_t first = n;

	*whole_stop = false;
	for (size_t k = 0; n > 0 && k < ts->n_stops; k++) {
		const char *stop = ts->stops[k];
		size_t len = strlen(stop);
		const char *found = memmem(text, n, stop, len);
		size_t at = found == NULL ? n : (size_t)(found - text);

		if (at < n && at <= first) {
			first = at;
			*whole_stop = true;
		}
		/* At its end only less than the whole can stand. */
		for (size_t i = n >= len ? n - len + 1 : 0; !last && i < first;
		    i++)
			if (memcmp(text + i, stop, n - i) == 0) {
				first = i;
				*whole_stop = false;
			}
	}
	return first;
}

/* Pass on to out what is final of the first n_text bytes held. */
static void
advance(struct textstream *ts, struct buf *out, size_t n_text, bool last)
{
	bool stop;
	size_t final = first_stop(ts, ts->held.data, n_text, last, &stop);

	if (final > 0)
		buf_add(out, ts->held.data, final);
	if (ts->held.failed)
		out->failed = true;
	if (stop) {
		ts->stopped = true;
		buf_clear(&ts->held);
	} else if (final > 0) {
		ts->held.len -= final;
		memmove(ts->held.data, ts->held.data + final,
		    ts->held.len + 1);
	}
}

void
textstream_push(struct textstream *ts, const char *bytes, size_t n,
    struct buf *out)
{
	size_t n_text = whole(&ts->held);

	if (ts->stopped)
		return;
	for (size_t i = 0; i < n; i++)
		take_byte(&ts->held, &n_text, bytes[i]);
	advance(ts, out, n_text, false);
}

void
textstream_flush(struct textstream *ts, struct buf *out)
{
	size_t n_text = whole(&ts->held);

	if (ts->stopped)
		return;
	if (n_text < ts->held.len) {
		ts->held.len = n_text;
		buf_adds(&ts->held, REPLACEMENT);
	}
	advance(ts, out, ts->held.len, true);
}
