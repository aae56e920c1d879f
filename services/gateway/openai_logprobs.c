/*
 * A token is bytes, not always whole characters: its text is shown with U+FFFD
 * for what is not, and `bytes` has it exactly.
 */
#include <string.h>

#include "base64.h"
#include "openai.h"
#include "utf8.h"

/* Append bytes [n] as UTF-8; returns its length in characters. */
static int64_t
show(const char *bytes, size_t n, struct buf *out)
{
	int64_t n_chars = 0;

	for (size_t i = 0, len; i < n; i += len, n_chars++) {
		len = utf8_char(bytes + i, n - i);
		if (len > 0 && bytes[i] != '\0') {
			buf_add(out, bytes + i, len);
		} else {
			buf_adds(out, "\xef\xbf\xbd");
			len = 1;
		}
	}
	return n_chars;
}

/* The text of entry [NUL-terminated] into out, its bytes into *bytes if asked. */
static int64_t
token_text(const json_t *entry, struct buf *out, json_t **bytes)
{
	const char *b64 = json_string_value(json_object_get(entry, "text_b64"));
	struct buf raw = { 0 };
	int64_t n_chars;

	/* What is not base64 shows what came before the fault. */
	if (b64 != NULL)
		base64_decode(b64, strlen(b64), &raw);
	buf_clear(out);
	buf_adds(out, "");
	if (bytes != NULL) {
		*bytes = json_array();
		for (size_t i = 0; i < raw.len; i++)
			json_array_append_new(*bytes,
			    json_integer((unsigned char)raw.data[i]));
	}
	n_chars = show(raw.data, raw.len, out);
	buf_free(&raw);
	return n_chars;
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
openai_logprobs_completion(const json_t *logprobs, int64_t *text_offset)
{
	json_t *tokens = json_array(), *values = json_array();
	json_t *tops = json_array(), *offsets = json_array();
	struct buf text = { 0 };

	for (size_t i = 0; i < json_array_size(logprobs); i++) {
		const json_t *entry = json_array_get(logprobs, i);
		const json_t *top = json_object_get(entry, "top");
		const json_t *value = json_object_get(entry, "logprob");
		json_t *alternatives = json_object();
		int64_t n = token_text(entry, &text, NULL);

		json_array_append_new(offsets, json_integer(*text_offset));
		/* A begin token has a name, but stands in no text. */
		if (!json_is_true(json_object_get(entry, "special")))
			*text_offset += n;
		json_array_append_new(tokens, json_string(text_of(&text)));
		json_array_append_new(values, value == NULL ? json_null() :
		    json_real(json_number_value(value)));
		for (size_t k = 0; k < json_array_size(top); k++) {
			const json_t *t = json_array_get(top, k);

			token_text(t, &text, NULL);
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
