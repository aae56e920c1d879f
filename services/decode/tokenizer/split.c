/*
 * The pattern that cuts text into words, matched by PCRE2.
 *
 * The files have it in the dialect of Oniguruma (Ruby's), which differs from
 * PCRE2 in places, so it is translated, and what is not known to mean the same
 * in both is refused.  Taken are:
 *
 *	literal characters; \r \n \t \f \v; \ before punctuation
 *	\s \S (White_Space) and \d \D (Nd); \S and \D outside of a class only
 *	\p{X} \P{X} with X a general category: L, N, Lu, Mn, ...
 *	[...] and [^...] of these, without a class in the class and without &&
 *	(...), (?:...), (?i:...), (?=...), (?!...)
 *	| ? * + and {m} {m,} {m,n}, also lazy (*?), possessive (*+) but for {}
 *
 * \s is spelled out, since PCRE2's takes in U+180E, which is no white space
 * since Unicode 6.3.  A group may not be repeated without end, so no pattern
 * is exponential; one that may match nothing is refused too.
 *
 * Matching is interpreted, at some 25 MB/s of English on one core.  PCRE2's JIT
 * would double that, but wants memory that can be written and executed, which
 * the units do not allow; one way for all keeps the limits the same too.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/parts.h"

#define WHITE_SPACE "\\t-\\r\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}" \
	"\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

struct split {
	pcre2_code *code;
};

struct split_scratch {
	pcre2_match_data *match;
	pcre2_match_context *limits;
};

/* What is left to translate, and where it goes. */
struct source {
	const char *s, *end;
	struct buf *out;
};

static int
refuse(struct err *e, const char *what, size_t n)
{
	return err_set(e, ERR_UNSUPPORTED, "tokenizer: the split pattern has "
	    "'%.*s', whose meaning is not known here", (int)n, what);
}

/* \p{X} or \P{X}, s->s being at the p. */
static int
translate_property(struct source *s, struct err *e)
{
	const char *p = s->s;
	size_t left = (size_t)(s->end - p), n = 1;

	while (n < left && n < 24 && p[n - 1] != '}')
		n++;
	/* p{L} or p{Lu} */
	if (p[n - 1] != '}' || n < 4 || n > 5 || p[1] != '{' ||
	    strchr("LMNPSZC", p[2]) == NULL ||
	    (n == 5 && (p[3] < 'a' || p[3] > 'z')))
		return refuse(e, p - 1, n + 1);
	buf_add(s->out, p - 1, n + 1);
	s->s += n;
	return 0;
}

/* After a backslash, inside of a class or not. */
static int
translate_escape(struct source *s, bool in_class, struct err *e)
{
	const char *p = s->s;

	if (p == s->end)
		return refuse(e, "\\", 1);
	switch (*p) {
	case 's':
		buf_adds(s->out, in_class ? WHITE_SPACE : "[" WHITE_SPACE "]");
		break;
	case 'S':
		if (in_class)
			return refuse(e, p - 1, 2);
		buf_adds(s->out, "[^" WHITE_SPACE "]");
		break;
	case 'd':
		buf_adds(s->out, "\\p{Nd}");
		break;
	case 'D':
		buf_adds(s->out, "\\P{Nd}");
		break;
	case 'p':
	case 'P':
		return translate_property(s, e);
	case 'v':	/* a vertical tab; PCRE2's \v is a set */
		buf_adds(s->out, "\\x0b");
		break;
	default:
		if (strchr("rntf", *p) == NULL &&
		    strchr("\\/|()[]{}^$.*+?-'\"#&~!@%,:;<=>` ", *p) == NULL)
			return refuse(e, p - 1, 2);
		buf_add(s->out, p - 1, 2);
	}
	s->s++;
	return 0;
}

/* After a [. */
static int
translate_class(struct source *s, struct err *e)
{
	const char *start = s->s - 1;
	int rc;

	buf_adds(s->out, "[");
	if (s->s < s->end && *s->s == '^')
		buf_add(s->out, s->s++, 1);
	for (bool first = true; s->s < s->end; first = false) {
		char c = *s->s++;

		if (c == ']' && !first) {
			buf_adds(s->out, "]");
			return 0;
		}
		/* What Oniguruma nests or intersects, PCRE2 takes literally. */
		if (c == '[' || c == ']' ||
		    (c == '&' && s->s < s->end && *s->s == '&'))
			return refuse(e, start, (size_t)(s->s - start));
		if (c != '\\')
			buf_add(s->out, &c, 1);
		else if ((rc = translate_escape(s, true, e)) != 0)
			return rc;
	}
	return refuse(e, start, (size_t)(s->end - start));
}

/* After a (. */
static int
translate_group(struct source *s, struct err *e)
{
	static const char *const openings[] = { "?:", "?i:", "?=", "?!" };
	size_t left = (size_t)(s->end - s->s);

	if (left > 0 && *s->s == '*')	/* PCRE2's verbs */
		return refuse(e, s->s - 1, 2);
	if (left == 0 || *s->s != '?') {
		buf_adds(s->out, "(?:");
		return 0;
	}
	for (size_t i = 0; i < sizeof(openings) / sizeof(*openings); i++) {
		size_t n = strlen(openings[i]);

		if (n <= left && memcmp(s->s, openings[i], n) == 0) {
			buf_adds(s->out, "(");
			buf_add(s->out, openings[i], n);
			s->s += n;
			return 0;
		}
	}
	return refuse(e, s->s - 1, left < 3 ? left + 1 : 4);
}

/* A quantifier that begins with c; after_group: of a group. */
static int
translate_quantifier(struct source *s, char c, bool after_group,
    struct err *e)
{
	const char *start = s->s - 1;
	bool endless = c == '*' || c == '+';

	buf_add(s->out, &c, 1);
	if (c == '{') {
		bool digit = false, comma = false;

		while (s->s < s->end && *s->s != '}') {
			if (*s->s == ',' && digit && !comma)
				comma = true;
			else if (*s->s < '0' || *s->s > '9')
				return refuse(e, start,
				    (size_t)(s->s - start) + 1);
			digit = true;
			buf_add(s->out, s->s++, 1);
		}
		if (s->s == s->end || !digit)
			return refuse(e, start, (size_t)(s->s - start));
		endless = s->s[-1] == ',';
		buf_add(s->out, s->s++, 1);
	}
	if (endless && after_group)
		return refuse(e, start - 1, (size_t)(s->s - start) + 1);
	/* {2}+ is possessive in PCRE2 and a repeated repetition in Ruby; so,
	 * nearly, is {2}?. */
	if (s->s < s->end && (*s->s == '+' || *s->s == '?')) {
		if (c == '{')
			return refuse(e, start, (size_t)(s->s - start) + 1);
		buf_add(s->out, s->s++, 1);
	}
	return 0;
}

static int
translate(struct source *s, struct err *e)
{
	int depth = 0, rc = 0;

	for (char before = '\0'; rc == 0 && s->s < s->end;) {
		char c = *s->s++;

		switch (c) {
		case '\\':
			rc = translate_escape(s, false, e);
			break;
		case '[':
			rc = translate_class(s, e);
			break;
		case '(':
			if (++depth > 16)
				return refuse(e, "((((", 4);
			rc = translate_group(s, e);
			break;
		case ')':
			depth--;
			buf_adds(s->out, ")");
			break;
		case '?':
		case '*':
		case '+':
		case '{':
			rc = translate_quantifier(s, c, before == ')', e);
			break;
		case '^':	/* of a line in Ruby, of the text in PCRE2 */
		case '$':
		case '.':
		case ']':
		case '}':
			return refuse(e, s->s - 1, 1);
		default:
			buf_add(s->out, &c, 1);
		}
		before = c;
	}
	return rc;
}

int
split_compile(const char *pattern, size_t n, struct split **s, struct err *e)
{
	struct buf out = { 0 };
	struct source source = { pattern, pattern + n, &out };
	struct split *made = NULL;
	pcre2_code *code = NULL;
	PCRE2_UCHAR text[120];
	PCRE2_SIZE at;
	uint32_t may_match_nothing = 0;
	int number = 0, rc = translate(&source, e);

	if (rc != 0)
		goto out;
	if (out.failed || (made = malloc(sizeof(*made))) == NULL) {
		rc = err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
		goto out;
	}
	code = pcre2_compile((PCRE2_SPTR)(out.data == NULL ? "" : out.data),
	    out.len, PCRE2_UTF | PCRE2_UCP, &number, &at, NULL);
	if (code == NULL) {
		pcre2_get_error_message(number, text, sizeof(text));
		rc = err_set(e, ERR_UNSUPPORTED,
		    "tokenizer: the split pattern: %s", (const char *)text);
		goto out;
	}
	pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &may_match_nothing);
	if (may_match_nothing != 0) {
		rc = err_set(e, ERR_UNSUPPORTED,
		    "tokenizer: the split pattern may match nothing");
		goto out;
	}
	made->code = code;
	*s = made;
	code = NULL;
	made = NULL;
out:
	pcre2_code_free(code);
	free(made);
	buf_free(&out);
	return rc;
}

void
split_destroy(struct split *s)
{
	if (s == NULL)
		return;
	pcre2_code_free(s->code);
	free(s);
}

struct split_scratch *
split_scratch_create(void)
{
	struct split_scratch *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return NULL;
	x->match = pcre2_match_data_create(1, NULL);
	x->limits = pcre2_match_context_create(NULL);
	if (x->match == NULL || x->limits == NULL) {
		split_scratch_destroy(x);
		return NULL;
	}
	return x;
}

void
split_scratch_destroy(struct split_scratch *x)
{
	if (x == NULL)
		return;
	pcre2_match_data_free(x->match);
	pcre2_match_context_free(x->limits);
	free(x);
}

int
split_next(const struct split *s, struct split_scratch *x,
    const char *text, size_t n, size_t *from, size_t *to, struct err *e)
{
	const PCRE2_SIZE *found = pcre2_get_ovector_pointer(x->match);
	uint64_t limit = 1000000 + 16 * (uint64_t)(n - *from);
	int rc;

	/*
	 * A run of a million blanks is walked back once for each alternative
	 * that wants something after it, and each step counts, so the limit
	 * grows with the text.
	 */
	pcre2_set_match_limit(x->limits,
	    limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX);
	rc = pcre2_match(s->code, (PCRE2_SPTR)text, n, *from,
	    PCRE2_NO_UTF_CHECK, x->match, x->limits);
	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	if (rc == PCRE2_ERROR_NOMEMORY)
		return err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
	if (rc < 0 || found[1] <= found[0])
		return err_set(e, ERR_BAD_FILE, "tokenizer: the split pattern "
		    "cannot be matched within limits (PCRE2 error %d)", rc);
	*from = found[0];
	*to = found[1];
	return 1;
}
