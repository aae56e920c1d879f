/*
 * A cursor over the text: each reader moves it past what it has read, or leaves it
 * where it is.  The end of a piece that is not plain is found by counting brackets
 * outside of strings, in which more may pass than is JSON: who makes an object of it
 * sees that.
 */
#include "step_text.h"

#include <string.h>

#include "utf8.h"

#define INT53_MAX 9007199254740991

static bool
skip(const char **at, const char *end, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(end - *at) < n || memcmp(*at, word, n) != 0)
		return false;
	*at += n;
	return true;
}

/* A number without sign, fraction, exponent or superfluous zeros. */
static bool
read_int(const char **at, const char *end, int64_t max, int64_t *out)
{
	const char *p = *at;
	int64_t v = 0;

	while (p < end && *p >= '0' && *p <= '9' && v <= max)
		v = v * 10 + (*p++ - '0');
	if (p == *at || v > max || (**at == '0' && p - *at > 1) ||
	    p == end || (*p != ',' && *p != ']' && *p != '}'))
		return false;
	*at = p;
	*out = v;
	return true;
}

/* A string of exactly n hex digits or letters, into out [n + 1]. */
static bool
read_word(const char **at, const char *end, char *out, size_t n)
{
	const char *p = *at;

	if ((size_t)(end - p) < n + 2 || p[0] != '"' || p[n + 1] != '"')
		return false;
	for (size_t i = 1; i <= n; i++)
		if (p[i] < '0' || p[i] > 'z' || p[i] == '\\')
			return false;
	memcpy(out, p + 1, n);
	out[n] = '\0';
	*at = p + n + 2;
	return true;
}

/* What c stands for after a backslash, or 0. */
static char
unescape(char c)
{
	switch (c) {
	case 'b': return '\b';
	case 'f': return '\f';
	case 'n': return '\n';
	case 'r': return '\r';
	case 't': return '\t';
	case '"':
	case '\\':
	case '/': return c;
	default: return 0;	/* u too, which is rare */
	}
}

static bool
read_text(const char **at, const char *end, struct buf *out)
{
	const char *p = *at, *from;
	size_t n;
	char c;

	if (p == end || *p++ != '"')
		return false;
	buf_clear(out);
	for (from = p; p < end && *p != '"';) {
		n = *p >= ' ' ? 1 : utf8_char(p, (size_t)(end - p));
		if (n == 0 || (*p >= 0 && *p < ' '))
			return false;
		if (*p != '\\') {
			p += n;
			continue;
		}
		if (end - p < 2 || (c = unescape(p[1])) == 0)
			return false;
		buf_add(out, from, (size_t)(p - from));
		buf_add(out, &c, 1);
		from = p += 2;
	}
	if (p == end)
		return false;
	buf_add(out, from, (size_t)(p - from));
	*at = p + 1;
	return !out->failed;
}

static bool
read_tokens(const char **at, const char *end, struct step_piece *p)
{
	int64_t v;

	if (!skip(at, end, "["))
		return false;
	for (p->n_tokens = 0; p->n_tokens < STEP_TEXT_TOKENS; p->n_tokens++) {
		if (!read_int(at, end, INT32_MAX, &v))
			return false;
		p->tokens[p->n_tokens] = (int32_t)v;
		if (skip(at, end, "]")) {
			p->n_tokens++;
			return true;
		}
		if (!skip(at, end, ","))
			return false;
	}
	return false;
}

/* Members in the order of DECODE_PIECE; those that say nothing may be there. */
static bool
read_plain(struct step_text *t, struct step_piece *p)
{
	const char *at = t->at, *end = t->end;

	if (!skip(&at, end, "{\"id\":") ||
	    !read_word(&at, end, p->id, DECODE_ID_LEN) ||
	    !skip(&at, end, ",\"seq\":") ||
	    !read_int(&at, end, DECODE_CTX_MAX, &p->seq) ||
	    !skip(&at, end, ",\"tokens\":") || !read_tokens(&at, end, p) ||
	    !skip(&at, end, ",\"text\":") || !read_text(&at, end, &t->text))
		return false;
	skip(&at, end, ",\"logprobs\":[]");
	skip(&at, end, ",\"finish\":\"\"");
	skip(&at, end, ",\"stats\":{}");
	if (!skip(&at, end, "}"))
		return false;
	p->text = t->text.len > 0 ? t->text.data : "";
	p->n_text = t->text.len;
	p->json = t->at;
	p->n_json = (size_t)(at - t->at);
	return true;
}

/* The object at t->at as a whole, whatever is in it. */
static bool
read_object(const struct step_text *t, struct step_piece *p)
{
	bool in_string = false, escaped = false;
	int depth = 0;

	for (const char *at = t->at; at < t->end; at++) {
		if (in_string) {
			in_string = escaped || *at != '"';
			escaped = !escaped && *at == '\\';
		} else if (*at == '"') {
			in_string = true;
		} else if (*at == '{' || *at == '[') {
			depth++;
		} else if ((*at == '}' || *at == ']') && --depth <= 0) {
			p->json = t->at;
			p->n_json = (size_t)(at + 1 - t->at);
			return depth == 0;
		}
	}
	return false;
}

bool
step_text_begin(struct step_text *t, const char *json, size_t n)
{
	t->at = json;
	t->end = json + n;
	t->begun = false;
	return skip(&t->at, t->end, "{\"boot\":") &&
	    read_word(&t->at, t->end, t->boot, DECODE_BOOT_LEN) &&
	    skip(&t->at, t->end, ",\"step\":") &&
	    read_int(&t->at, t->end, INT53_MAX, &t->step) && t->step > 0 &&
	    skip(&t->at, t->end, ",\"time_us\":") &&
	    read_int(&t->at, t->end, INT53_MAX, &t->time_us) &&
	    skip(&t->at, t->end, ",\"events\":[");
}

enum step_text_next
step_text_next(struct step_text *t, struct step_piece *p)
{
	if (skip(&t->at, t->end, "]}"))
		return t->at == t->end ? STEP_TEXT_END : STEP_TEXT_BAD;
	if ((t->begun && !skip(&t->at, t->end, ",")) || t->at == t->end ||
	    *t->at != '{')
		return STEP_TEXT_BAD;
	p->plain = read_plain(t, p);
	if (t->text.failed || (!p->plain && !read_object(t, p)))
		return STEP_TEXT_BAD;
	t->begun = true;
	t->at += p->n_json;
	return STEP_TEXT_PIECE;
}

void
step_text_finish(struct step_text *t)
{
	buf_free(&t->text);
}
