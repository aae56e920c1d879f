/*
 * The same bytes at once and in pieces give the same text.  Input: the number
 * of stop strings, these, each ended by a NUL, and then the bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/chars.h"
#include "tokenizer/textstream.h"

enum { STOPS_MAX = 4 };

static void
stream(const char *const *stops, size_t n_stops, const char *bytes, size_t n,
    size_t piece, struct buf *out)
{
	struct textstream ts;

	textstream_init(&ts, stops, n_stops);
	for (size_t at = 0, len; at < n; at += len) {
		len = piece < n - at ? piece : n - at;
		textstream_push(&ts, bytes + at, len, out);
		if (chars_valid(out->data, out->len) != out->len)
			abort();
	}
	textstream_flush(&ts, out);
	textstream_finish(&ts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *bytes = (const char *)data, *stops[STOPS_MAX];
	struct buf whole = { 0 };
	size_t n_stops = 0;

	if (n == 0)
		return 0;
	size_t want = data[0] % (STOPS_MAX + 1);

	for (bytes++, n--; n_stops < want; n_stops++) {
		size_t len = strnlen(bytes, n);

		if (len == 0 || len == n || chars_valid(bytes, len) != len)
			return 0;	/* a request's strings are UTF-8 */
		stops[n_stops] = bytes;
		bytes += len + 1;
		n -= len + 1;
	}
	stream(stops, n_stops, bytes, n, n, &whole);
	for (size_t piece = 1; piece <= 7; piece += 2) {
		struct buf cut = { 0 };

		stream(stops, n_stops, bytes, n, piece, &cut);
		if (cut.len != whole.len || (cut.len > 0 &&
		    memcmp(cut.data, whole.data, cut.len) != 0))
			abort();
		buf_free(&cut);
	}
	if (chars_valid(whole.data, whole.len) != whole.len)
		abort();
	for (size_t k = 0; k < n_stops; k++)
		if (whole.len > 0 && memmem(whole.data, whole.len, stops[k],
		    strlen(stops[k])) != NULL)
			abort();
	buf_free(&whole);
	return 0;
}
