/*
 * A token is bytes, not always whole characters: its text is shown with U+FFFD
 * for what is not, and `bytes` has it exactly.  Where a token stands in the text
 * is counted in the text's own characters, of which several tokens may be one.
 */
#include <string.h>

#include "base64.h"
#include "openai.h"
#include "utf8.h"

/* Append bytes [n] as UTF-8. */
static void
show(const char *bytes, size_t n, struct buf *out)
{
	for (size_t i = 0, len; i < n; i += len) {
		len = utf8_char(bytes + i, n - i);
		if (len > 0 && bytes[i] != '\0') {
			buf_add(out, bytes + i, len);
		} else {
			buf_adds(out, "\xef\xbf\xbd");
			len = 1;
		}
	}
}

/* What is not base64 gives what came before the fault. */
static void
token_bytes(const json_t *entry, struct buf *raw)
{
	const char *b64 = json_string_value(json_object_get(entry, "text_b64"));

	if (b64 != NULL)
		base64_decode(b64, strlen(b64), raw);
}

/* The text of entry [NUL-terminated] into out, its bytes into *bytes if asked. */
static void
token_text(const json_t *entry, struct buf *out, json_t **bytes)
{
	struct buf raw = { 0 };

	token_bytes(entry, &raw);
	buf_clear(out);
	buf_adds(out, "");
	if (bytes != NULL) {
		*bytes = json_array();
		for (size_t i = 0; i < raw.len; i++)
			json_array_append_new(*bytes,
			    json_integer((unsigned char)raw.data[i]));
	}
	show(raw.data, raw.len, out);
	buf_free(&raw);
}

/* May more bytes make a character of s [n < 4]?  The second byte of some has
 * narrower bounds, and one of its extremes is always within them. */
static bool
is_cut(const char *s, size_t n)
{
	char low[4] = { '\x80', '\x80', '\x80', '\x80' };
	char high[4] = { '\xbf', '\xbf', '\xbf', '\xbf' };

	memcpy(low, s, n);
	memcpy(high, s, n);
	return utf8_char(low, 4) > n || utf8_char(high, 4) > n;
}

static void
count_byte(struct openai_choice *c, char byte)
{
	size_t n = ++c->n_cut;

	c->cut[n - 1] = byte;
	if (utf8_char(c->cut, n) == 0 && is_cut(c->cut, n))
		return;
	c->text_offset++;
	c->n_cut = 0;
	/* It ended what it does not belong to. */
	if (n > 1 && utf8_char(c->cut, n) == 0)
		count_byte(c, byte);
}

/* Where the token begins in the text of c, which it is added to. */
static int64_t
count_token(struct openai_choice *c, const json_t *entry)
{
	int64_t offset = c->text_offset;
	struct buf raw = { 0 };

	/* A begin or an end token has a name, but stands in no text. */
	if (json_is_true(json_object_get(entry, "special")))
		return offset;
	token_bytes(entry, &raw);
	for (size_t i = 0; i < raw.len; i++) {
		count_byte(c, raw.data[i]);
		if (i == 0)
			offset = c->text_offset - (c->n_cut == 0);
	}
	buf_free(&raw);
	return offset;
}

static const char *
text_of(const struct buf *b)
{
	return b->data != NULL ? b->data : "";
}

/* {token, logprob, bytes} */
static json_t *
chat_entry(const json_t *entry, struct buf *text)
{
	json_t *bytes;

	token_text(entry, text, &bytes);
	return json_pack("{s:s, s:f, s:o}", "token", text_of(text), "logprob",
	    json_number_value(json_object_get(entry, "logprob")),
	    "bytes", bytes);
}

json_t *
openai_logprobs_chat(const json_t *logprobs)
{
	json_t *content = json_array();
	struct buf text = { 0 };

	for (size_t i = 0; i < json_array_size(logprobs); i++) {
		const json_t *entry = json_array_get(logprobs, i);
		const json_t *top = json_object_get(entry, "top");
		json_t *alternatives = json_array();
		json_t *v = chat_entry(entry, &text);

		for (size_t k = 0; k < json_array_size(top); k++)
			json_array_append_new(alternatives,
			    chat_entry(json_array_get(top, k), &text));
		json_object_set_new(v, "top_logprobs", alternatives);
		json_array_append_new(content, v);
	}
	buf_free(&text);
	return json_pack("{s:o, s:n}", "content", content, "refusal");
}

json_t *
openai_logprobs_completion(const json_t *logprobs, struct openai_choice *c)
{
	json_t *tokens = json_array(), *values = json_array();
	json_t *tops = json_array(), *offsets = json_array();
	struct buf text = { 0 };

	for (size_t i = 0; i < json_array_size(logprobs); i++) {
		const json_t *entry = json_array_get(logprobs, i);
		const json_t *top = json_object_get(entry, "top");
		const json_t *value = json_object_get(entry, "logprob");
		json_t *alternatives = json_object();

		json_array_append_new(offsets,
		    json_integer(count_token(c, entry)));
		token_text(entry, &text, NULL);
		json_array_append_new(tokens, json_string(text_of(&text)));
		json_array_append_new(values, value == NULL ? json_null() :
		    json_real(json_number_value(value)));
		for (size_t k = 0; k < json_array_size(top); k++) {
			const json_t *t = json_array_get(top, k);

			token_text(t, &text, NULL);
			/* Of those that look alike the most probable one. */
			if (json_object_get(alternatives, text_of(&text)) == NULL)
				json_object_set_new(alternatives, text_of(&text),
				    json_real(json_number_value(
				    json_object_get(t, "logprob"))));
		}
		/* The first token of a prompt has neither. */
		json_array_append(tops, value != NULL ? alternatives :
		    json_null());
		json_decref(alternatives);
	}
	buf_free(&text);
	return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens,
	    "token_logprobs", values, "top_logprobs", tops,
	    "text_offset", offsets);
}
