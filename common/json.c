/*
 * One pass over the bytes that knows strings from the rest and nothing else of
 * the grammar: wrong text may pass here, and the parser then refuses it.  What
 * matters is that, up to the place where the parser would stop, depth and
 * values are never counted too low.
 */
#include <stdbool.h>
#include <string.h>

#include "json.h"

struct scan {
	int depth;
	size_t values;		/* all of them, without the keys of objects */
	size_t containers;	/* arrays and objects among them */
	bool in_string, escaped;
	bool in_word;		/* a number, true, false or null */
};

static void
scan_string(struct scan *s, char c)
{
	if (s->escaped)
		s->escaped = false;
	else if (c == '\\')
		s->escaped = true;
	else if (c == '"')
		s->in_string = false;
}

static void
scan_byte(struct scan *s, char c)
{
	bool word = false;

	switch (c) {
	case '"':
		s->in_string = true;
		s->values++;
		break;
	case '[':
	case '{':
		s->depth++;
		s->values++;
		s->containers++;
		break;
	case ']':
	case '}':
		s->depth--;
		break;
	case ':':		/* the string before was a key */
		if (s->values > 0)
			s->values--;
		break;
	case ',':
	case ' ':
	case '\t':
	case '\n':
	case '\r':
		break;
	default:
		word = true;
		if (!s->in_word)
			s->values++;
	}
	s->in_word = word;
}

int
json_scan(const char *text, size_t n, int depth_max, size_t values_max,
    struct err *e)
{
	struct scan s = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\0')
			return err_set(e, ERR_BAD_MESSAGE,
			    "JSON: a NUL at byte %zu", i);
		if (s.in_string) {
			scan_string(&s, text[i]);
			continue;
		}
		scan_byte(&s, text[i]);
		if (s.depth > depth_max)
			return err_set(e, ERR_BAD_MESSAGE,
			    "JSON: nested deeper than %d at byte %zu",
			    depth_max, i);
		if (s.values > values_max)
			return err_set(e, ERR_BAD_MESSAGE,
			    "JSON: more than %zu values at byte %zu",
			    values_max, i);
		if (s.containers > JSON_VALUES_MAX)
			return err_set(e, ERR_BAD_MESSAGE,
			    "JSON: more than %d arrays and objects at byte %zu",
			    JSON_VALUES_MAX, i);
	}
	return 0;
}

int
json_guarded(const char *text, size_t n, json_t **v, struct err *e)
{
	json_error_t at;
	json_t *parsed;
	int r = json_scan(text, n, JSON_DEPTH_MAX, JSON_VALUES_MAX, e);

	if (r != 0)
		return r;
	parsed = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
	    &at);
	/* Jansson's words for it name a flag of its own. */
	if (parsed == NULL && json_error_code(&at) == json_error_null_character)
		return err_set(e, ERR_BAD_MESSAGE,
		    "JSON: \\u0000 is not allowed, at byte %d", at.position);
	if (parsed == NULL)
		return err_set(e, json_error_code(&at) ==
		    json_error_out_of_memory ? ERR_NO_MEMORY : ERR_BAD_MESSAGE,
		    "JSON: %s at byte %d", at.text, at.position);
	*v = parsed;
	return 0;
}
