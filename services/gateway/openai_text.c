#include "openai_text.h"

#include <stdio.h>
#include <string.h>

/* A text that occurs nowhere else in an event, and how it looks there. */
static const char mark[] = "\x01", escaped_mark[] = "\\u0001";

int
openai_text_init(struct openai_text *t, const struct openai_answer *a,
    struct openai_choice *c, struct err *e)
{
	const struct openai_part part = { .said = mark, .n_said = 1 };
	const size_t n_mark = sizeof(escaped_mark) - 1;
	struct buf event = { 0 };
	char *at;

	*t = (struct openai_text){ .at = 0 };
	openai_event(&event, openai_chunk_text(a, c, &part, NULL));
	at = event.failed ? NULL : strstr(event.data, escaped_mark);
	if (at != NULL) {
		t->at = (size_t)(at - event.data);
		buf_add(&t->around, event.data, t->at);
		buf_add(&t->around, at + n_mark, event.len - t->at - n_mark);
	}
	buf_free(&event);
	if (at == NULL || t->around.failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for the answer");
	return 0;
}

void
openai_text_free(struct openai_text *t)
{
	buf_free(&t->around);
}

/* What stands for c in a JSON string, or NULL if c itself does. */
static const char *
escape(unsigned char c, char out[8])
{
	static const char *const of[] = { ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n",
		['\f'] = "\\f", ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\" };

	if (c < sizeof(of) / sizeof(of[0]) && of[c] != NULL)
		return of[c];
	if (c >= ' ')
		return NULL;
	snprintf(out, 8, "\\u%04X", c);
	return out;
}

void
openai_text_event(const struct openai_text *t, const char *text, size_t n,
    struct buf *out)
{
	const char *special;
	size_t plain = 0, i;
	char hex[8];

	buf_add(out, t->around.data, t->at);
	for (i = 0; i < n; i++) {
		if ((special = escape((unsigned char)text[i], hex)) == NULL)
			continue;
		buf_add(out, text + plain, i - plain);
		buf_adds(out, special);
		plain = i + 1;
	}
	buf_add(out, text + plain, n - plain);
	buf_add(out, t->around.data + t->at, t->around.len - t->at);
}
