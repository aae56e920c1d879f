/*
 * Any text through the demo model's tokenizer: what comes back is the text, a
 * special token only when asked for; and through NFC, which is a projection.
 * The first byte chooses whether to ask.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/chars.h"
#include "tokenizer/parts.h"

static struct tokenizer *
load_demo(void)
{
	FILE *f = fopen("tests/data/halo-demo/tokenizer.json", "rb");
	struct tokenizer *t = NULL;
	struct buf json = { 0 };
	char piece[4096];
	size_t n;

	while (f != NULL && (n = fread(piece, 1, sizeof(piece), f)) > 0)
		buf_add(&json, piece, n);
	if (f == NULL || tokenizer_from_json(json.data, json.len, &t, NULL) != 0)
		abort();
	fclose(f);
	buf_free(&json);
	return t;
}

static void
check_nfc(const char *text, size_t n)
{
	struct buf once = { 0 }, twice = { 0 };

	n = chars_valid(text, n);
	if (nfc_append(text, n, &once, NULL) != 0 ||
	    nfc_append(once.data, once.len, &twice, NULL) != 0 ||
	    chars_valid(once.data, once.len) != once.len ||
	    once.len != twice.len ||
	    (once.len > 0 && memcmp(once.data, twice.data, once.len) != 0))
		abort();
	if (nfc_is_trivial(text, n) && (once.len != n ||
	    (n > 0 && memcmp(once.data, text, n) != 0)))
		abort();
	buf_free(&once);
	buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct tokenizer *t;
	const char *text = (const char *)data + 1;
	struct ids ids = { 0 };
	size_t at = 0, len;

	if (t == NULL)
		t = load_demo();
	if (n-- == 0)
		return 0;
	bool special = (data[0] & 1) != 0;

	if (tokenizer_encode(t, text, n, special, &ids, NULL) != 0)
		abort();
	for (size_t i = 0; i < ids.n; i++) {
		const char *bytes = tokenizer_bytes(t, ids.v[i], &len);

		if (bytes == NULL || at + len > n ||
		    memcmp(bytes, text + at, len) != 0 ||
		    (!special && tokenizer_is_special(t, ids.v[i])))
			abort();
		at += len;
	}
	if (at != n)
		abort();
	ids_free(&ids);
	check_nfc(text, n);
	return 0;
}
