/*
 * Text to tokens and back, and what there is to know about the model.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "prompt.h"
#include "request_parts.h"
#include "utf8.h"

/* What one token says; its bytes may be a part of a character. */
static json_t *
piece_json(const struct tokenizer *t, int32_t id)
{
	size_t n = 0;
	const char *bytes = tokenizer_bytes(t, id, &n);
	struct buf b = { 0 };
	json_t *v;

	base64_encode(bytes, bytes != NULL ? n : 0, &b);
	v = b.failed ? NULL : json_stringn(b.len > 0 ? b.data : "", b.len);
	buf_free(&b);
	return v;
}

static int
reply_tokens(const struct service *sv, const struct ids *ids, bool with_pieces,
    struct frame *reply, struct err *e)
{
	struct decode_tokens a = { json_array(), with_pieces ? json_array() : NULL };
	int r;

	for (size_t i = 0; i < ids->n; i++) {
		json_array_append_new(a.ids, json_integer(ids->v[i]));
		if (with_pieces)
			json_array_append_new(a.pieces,
			    piece_json(sv->tokenizer, ids->v[i]));
	}
	r = request_reply(reply, DECODE_TYPE_tokens, decode_tokens_fields(),
	    &a, e);
	json_decref(a.ids);
	json_decref(a.pieces);
	return r;
}

int
request_tokenize(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_tokenize t;
	struct ids ids = { 0 };
	int r;

	if ((r = REQUEST_DECODE(decode_tokenize, f, &t, e)) != 0)
		return r;
	if (json_array_size(t.messages) + json_object_size(t.messages) > 0) {
		if (t.text[0] != '\0')
			return err_set_param(e, ERR_RANGE, "text",
			    "one of text and messages, not both");
		r = prompt_chat(sv, t.messages, true, &ids, e);
	} else {
		r = prompt_text(sv, t.text, t.add_special, t.parse_special,
		    &ids, e);
	}
	if (r == 0)
		r = reply_tokens(sv, &ids, t.with_pieces, reply, e);
	ids_free(&ids);
	return r;
}

int
request_detokenize(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_detokenize d;
	struct textstream ts;
	struct buf text = { 0 };
	struct ids ids = { 0 };
	int r;

	if ((r = REQUEST_DECODE(decode_detokenize, f, &d, e)) != 0)
		return r;
	textstream_init(&ts, NULL, 0);
	r = prompt_ids(d.ids, "ids", sv->model.config.vocab, &ids, e);
	for (size_t i = 0; i < ids.n && r == 0; i++)
		job_push_text(&ts, sv->tokenizer, ids.v[i], &text);
	textstream_flush(&ts, &text);
	if (r == 0 && text.failed)
		r = err_set(e, ERR_NO_MEMORY, "no memory for the text");
	if (r == 0)
		r = request_reply(reply, DECODE_TYPE_text, decode_text_fields(),
		    &(struct decode_text){ text.len == 0 ? "" : text.data +
		    (tokenizer_adds_blank(sv->tokenizer) &&
		    text.data[0] == ' ') }, e);
	textstream_finish(&ts);
	buf_free(&text);
	ids_free(&ids);
	return r;
}

int
request_render(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	struct decode_render q;
	struct buf text = { 0 };
	int r;

	if ((r = REQUEST_DECODE(decode_render, f, &q, e)) == 0 &&
	    (r = prompt_render(sv, q.messages, q.think, &text, e)) == 0)
		r = request_reply(reply, DECODE_TYPE_text, decode_text_fields(),
		    &(struct decode_text){ text.len > 0 ? text.data : "" }, e);
	buf_free(&text);
	return r;
}

/* The name without its directories. */
static void
file_of(const char *path, char out[257])
{
	const char *slash = strrchr(path, '/');

	snprintf(out, 257, "%s", slash != NULL ? slash + 1 : path);
	utf8_clean(out);
}

/* The text of a token, cut to what out [257] holds; "" for -1. */
static void
token_text(const struct tokenizer *t, int32_t id, char out[257])
{
	size_t n = 0;
	const char *bytes = id >= 0 ? tokenizer_bytes(t, id, &n) : NULL;

	if (bytes == NULL || n > 256)
		n = 0;
	snprintf(out, 257, "%.*s", (int)n, n > 0 ? bytes : "");
	utf8_clean(out);
}

/* Can it be sent?  What a file has may be anything. */
static bool
is_text(const char *s, size_t n)
{
	size_t len;

	for (; n > 0; s += len, n -= len)
		if (*s == '\0' || (len = utf8_char(s, n)) == 0)
			return false;
	return true;
}

int
request_model_info(struct service *sv, const struct frame *f, struct frame *reply,
    struct err *e)
{
	const struct model *m = &sv->model;
	struct decode_model_info_is a = {
		.id = sv->model_id, .architecture = m->architecture,
		.format = "h1b", .backend = sv->backend.name,
		.chat_template = template_name(sv->template),
		.n_ctx = sv->n_ctx, .n_ctx_train = m->config.n_ctx,
		.n_vocab = m->config.vocab, .n_params = m->n_params,
		.size_bytes = (int64_t)m->map_size,
		.n_slots = sv->options.slots, .created = m->file_time,
		.fingerprint = m->fingerprint,
		.selfcheck = selfcheck_name(sv->selfcheck.state),
		.n_embd = m->config.hidden, .thinks = prompt_thinks(sv),
	};
	char bos[257], eos[257], file[257], *text = NULL;
	struct decode_model_info q;
	int r;

	if ((r = REQUEST_DECODE(decode_model_info, f, &q, e)) != 0)
		return r;
	if (q.with_template && sv->own_template &&
	    is_text(m->chat_template, m->n_chat_template) &&
	    (text = strndup(m->chat_template, m->n_chat_template)) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a template");
	token_text(sv->tokenizer, m->config.bos, bos);
	token_text(sv->tokenizer, m->config.n_eos > 0 ? m->config.eos[0] : -1,
	    eos);
	a.bos_token = bos;
	a.eos_token = eos;
	file_of(sv->options.model, file);
	a.file = file;
	a.template_text = text;
	r = request_reply(reply, DECODE_TYPE_model_info_is,
	    decode_model_info_is_fields(), &a, e);
	free(text);
	return r;
}
