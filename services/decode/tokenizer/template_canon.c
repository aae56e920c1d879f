/*
 * Two passes: the text becomes a list of items (text, expression, statement),
 * their tokens in one spelling; then the list is written out without the
 * branches that are never taken.  Nothing is evaluated but whether a condition
 * is one of a few that are known to be false or true here.
 */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/template_canon.h"

enum {
	ITEMS_MAX = 4096,
	DEPTH_MAX = 32,		/* of statements in statements */
};

enum kind { TEXT, EXPR, STMT };

struct item {
	enum kind kind;
	size_t at, len;		/* in spelled */
};

struct canon {
	const char *src;
	size_t n, pos;
	struct buf spelled;
	struct item *items;
	size_t n_items;
	struct buf *out;
	struct buf text;	/* not written yet: more may follow */
	bool bad;
};

/* Never so, or always, for us: no tools, contents are strings, and nothing else. */
static const char *const never[] = {
	"tools", "message [ \"tool_calls\" ]", "message [ \"role\" ] == \"tool\"",
	"not add_generation_prompt is defined", "tools is not none",
	"tools is defined and tools", "( message [ \"role\" ] == \"tool\" )",
	"message [ \"reasoning_content\" ] is string",
	"message [ \"reasoning_content\" ] is defined",
	("message [ \"reasoning_content\" ] is defined and "
	    "message [ \"reasoning_content\" ] is not none"),
};
static const char *const always[] = {
	"message [ \"content\" ] is string",
};

static bool
is_blank(char ch)
{
	return ch == ' ' || (ch >= '\t' && ch <= '\r');
}

static bool
is_name(char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
	    (ch >= '0' && ch <= '9') || ch == '_';
}

static void
add_item(struct canon *c, enum kind kind, const char *text, size_t len)
{
	if (c->n_items == ITEMS_MAX) {
		c->bad = true;
		return;
	}
	c->items[c->n_items++] = (struct item){ kind, c->spelled.len, len };
	buf_add(&c->spelled, text, len);
}

/* The text from start to the tag at end, as it is printed. */
static void
take_text(struct canon *c, size_t start, size_t end, char before, char after,
    bool block_before, bool block_after)
{
	const char *s = c->src;
	size_t line = end;

	if (before == '-') {
		while (start < end && is_blank(s[start]))
			start++;
	} else if (block_before && start < end && s[start] == '\n') {
		start++;	/* trim_blocks */
	}
	if (after == '-') {
		while (end > start && is_blank(s[end - 1]))
			end--;
	} else if (block_after && after != '+') {
		/* lstrip_blocks: only what stands alone before the tag */
		while (line > start && (s[line - 1] == ' ' || s[line - 1] == '\t'))
			line--;
		if (line == 0 || s[line - 1] == '\n')
			end = line;
	}
	if (end > start)
		add_item(c, TEXT, s + start, end - start);
}

/* A string in the spelling of the form, without its quotes. */
static void
spell(struct buf *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\n')
			buf_adds(out, "\\n");
		else if (text[i] == '"' || text[i] == '\\')
			buf_printf(out, "\\%c", text[i]);
		else
			buf_add(out, text + i, 1);
}

/* Decode the literal at pos, behind it afterwards; false if there is none. */
static bool
take_string(struct canon *c, size_t end, struct buf *out)
{
	const char *s = c->src;
	char quote = s[c->pos];

	for (c->pos++; c->pos < end && s[c->pos] != quote; c->pos++) {
		static const char from[] = "ntr\\'\"", to[] = "\n\t\r\\'\"";
		const char *p;

		if (s[c->pos] != '\\') {
			buf_add(out, s + c->pos, 1);
			continue;
		}
		if (++c->pos == end || s[c->pos] == '\0' ||
		    (p = strchr(from, s[c->pos])) == NULL)
			return false;
		buf_add(out, &to[p - from], 1);
	}
	return c->pos++ < end;
}

/* Where the tag that opened before pos closes: at the first byte of that. */
static size_t
find_close(const struct canon *c, size_t at, const char *close)
{
	char quote = '\0';

	for (; at + 1 < c->n; at++) {
		char ch = c->src[at];

		if (quote != '\0') {
			if (ch == '\\')
				at++;
			else if (ch == quote)
				quote = '\0';
		} else if (ch == '\'' || ch == '"') {
			quote = ch;
		} else if (ch == close[0] && c->src[at + 1] == close[1]) {
			return at;
		}
	}
	return c->n;
}

/* One part of an expression: text if it is a literal and nothing else. */
static void
end_part(struct canon *c, struct buf *part, struct buf *literal, int n_tokens)
{
	bool is_text = n_tokens == 1 && part->len > 0 && part->data[0] == '"';

	if (n_tokens == 0)
		c->bad = true;
	else if (is_text && literal->len > 0)
		add_item(c, TEXT, literal->data, literal->len);
	else if (!is_text)
		add_item(c, EXPR, part->data, part->len);
	buf_clear(part);
}

static bool
is_word(const char *s, size_t len, const char *const words[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(words[i]) == len && memcmp(words[i], s, len) == 0)
			return true;
	return false;
}

/* Does src[pos..end) hold, outside brackets, what binds less than a plus? */
static bool
binds_less(const struct canon *c, size_t end)
{
	static const char *const words[] = {
		"if", "else", "or", "and", "not", "in", "is",
	};
	int depth = 0;

	for (size_t i = c->pos; i < end; i++) {
		char ch = c->src[i];
		size_t from = i;

		if (ch == '\'' || ch == '"') {
			for (i++; i < end && c->src[i] != ch; i++)
				i += c->src[i] == '\\';
		} else if (ch == '(' || ch == '[' || ch == '{') {
			depth++;
		} else if (ch == ')' || ch == ']' || ch == '}') {
			depth--;
		} else if (is_name(ch)) {
			while (i + 1 < end && is_name(c->src[i + 1]))
				i++;
			if (depth == 0 && is_word(c->src + from, i + 1 - from,
			    words, sizeof(words) / sizeof(*words)))
				return true;
		} else if (depth == 0 && strchr("=!<>~-*/%", ch) != NULL) {
			return true;
		}
	}
	return false;
}

/* Is there a call behind the name that ends at i? */
static bool
is_call(const struct canon *c, size_t i, size_t end)
{
	while (i < end && is_blank(c->src[i]))
		i++;
	return i < end && c->src[i] == '(';
}

/* A token that is no string, at pos, to out. */
static void
take_token(struct canon *c, size_t end, struct buf *out)
{
	const char *s = c->src;
	size_t from = c->pos, i = from;
	bool attribute = false;

	if (s[i] == '.') {
		size_t name = i + 1;

		for (i = name; i < end && is_name(s[i]);)
			i++;
		attribute = i > name && !is_call(c, i, end);
		if (attribute)
			buf_printf(out, "[ \"%.*s\" ]", (int)(i - name), s + name);
		else
			i = name;
	} else if (is_name(s[i])) {
		while (i < end && is_name(s[i]))
			i++;
	} else {
		i++;
		if (i < end && s[i] == '=' && strchr("=!<>", s[from]) != NULL)
			i++;
	}
	if (!attribute)
		buf_add(out, s + from, i - from);
	c->pos = i;
}

/* The inside of a tag, src[pos..end), to items. */
static void
take_tag(struct canon *c, enum kind kind, size_t end)
{
	bool split = kind == EXPR && !binds_less(c, end);
	struct buf part = { 0 }, literal = { 0 };
	int n_tokens = 0, depth = 0;

	while (!c->bad) {
		char ch;

		while (c->pos < end && is_blank(c->src[c->pos]))
			c->pos++;
		if (c->pos >= end)
			break;
		ch = c->src[c->pos];
		if (split && depth == 0 && ch == '+') {
			end_part(c, &part, &literal, n_tokens);
			n_tokens = 0;
			c->pos++;
			continue;
		}
		depth += (ch == '(' || ch == '[') - (ch == ')' || ch == ']');
		buf_adds(&part, n_tokens++ > 0 ? " " : "");
		if (ch == '\'' || ch == '"') {
			buf_clear(&literal);
			c->bad = !take_string(c, end, &literal);
			buf_adds(&part, "\"");
			spell(&part, literal.data, literal.len);
			buf_adds(&part, "\"");
		} else {
			take_token(c, end, &part);
		}
	}
	if (kind == STMT && n_tokens > 0)
		add_item(c, STMT, part.data, part.len);
	else
		end_part(c, &part, &literal, n_tokens);
	c->bad = c->bad || part.failed || literal.failed;
	buf_free(&part);
	buf_free(&literal);
}

static void
take_items(struct canon *c)
{
	bool block = false;
	char before = '\0';
	size_t start = 0;

	while (!c->bad) {
		static const char closes[][3] = { "}}", "%}", "#}" };
		size_t open = start, end;
		const char *close;
		char ch, after;

		while (open + 1 < c->n && (c->src[open] != '{' ||
		    c->src[open + 1] == '\0' ||
		    strchr("{%#", c->src[open + 1]) == NULL))
			open++;
		if (open + 1 >= c->n)
			break;
		ch = c->src[open + 1];
		close = closes[ch == '{' ? 0 : ch == '%' ? 1 : 2];
		c->pos = open + 2;
		after = c->pos < c->n ? c->src[c->pos] : '\0';
		if (after == '-' || after == '+')
			c->pos++;
		take_text(c, start, open, before, after, block, ch != '{');
		for (end = c->pos; ch == '#' && end + 1 < c->n &&
		    (c->src[end] != '#' || c->src[end + 1] != '}');)
			end++;
		if (ch != '#')
			end = find_close(c, c->pos, close);
		if (end + 1 >= c->n) {
			c->bad = true;
			return;
		}
		start = end + 2;
		before = end > c->pos ? c->src[end - 1] : '\0';
		if (ch != '#')
			take_tag(c, ch == '{' ? EXPR : STMT,
			    end - (before == '-' || before == '+'));
		block = ch != '{' && before != '+';
	}
	take_text(c, start, c->n, before, '\0', block, false);
}

static void
flush_text(struct canon *c)
{
	if (c->text.len == 0)
		return;
	buf_adds(c->out, "\"");
	spell(c->out, c->text.data, c->text.len);
	buf_adds(c->out, "\n");
	buf_clear(&c->text);
}

static void
write_item(struct canon *c, const char *what, const char *text, size_t len)
{
	flush_text(c);
	buf_printf(c->out, "%s%.*s\n", what, (int)len, text);
}

/* What follows word in statement it, or NULL if it begins otherwise. */
static const char *
after_word(const struct canon *c, const struct item *it, const char *word,
    size_t *len)
{
	const char *s = c->spelled.data + it->at;
	size_t n = strlen(word);

	if (it->kind != STMT || it->len < n || memcmp(s, word, n) != 0 ||
	    (it->len > n && s[n] != ' '))
		return NULL;
	*len = it->len > n ? it->len - n - 1 : 0;
	return it->len > n ? s + n + 1 : s + n;
}

static size_t write_body(struct canon *c, size_t i, bool live, int depth);

/* The statement at i, an if, and all its branches; the index behind it. */
static size_t
write_if(struct canon *c, size_t i, bool live, int depth)
{
	size_t len, n_never = sizeof(never) / sizeof(*never);
	const char *cond = after_word(c, &c->items[i], "if", &len);
	bool written = false, settled = false;

	for (;;) {
		bool is_else = cond == NULL;
		bool is_true = is_else || is_word(cond, len, always, 1);
		bool dead = settled || (!is_true && is_word(cond, len, never,
		    n_never));

		if (live && !dead && is_true && written)
			write_item(c, "{% ", "else", 4);
		else if (live && !dead && !is_true) {
			write_item(c, written ? "{% elif " : "{% if ", cond, len);
			written = true;
		}
		settled = settled || is_true;
		i = write_body(c, i + 1, live && !dead, depth + 1);
		if (c->bad || i == c->n_items) {
			c->bad = true;
			return i;
		}
		if (after_word(c, &c->items[i], "endif", &len) != NULL)
			break;
		cond = after_word(c, &c->items[i], "elif", &len);
		if (is_else || (cond == NULL &&
		    after_word(c, &c->items[i], "else", &len) == NULL)) {
			c->bad = true;
			return i;
		}
	}
	if (live && written)
		write_item(c, "{% ", "endif", 5);
	return i + 1;
}

/* Items from i to the end of what they are in; its index. */
static size_t
write_body(struct canon *c, size_t i, bool live, int depth)
{
	static const char *const ends[] = { "endif", "else", "elif", "endfor" };
	size_t len;

	c->bad = c->bad || depth > DEPTH_MAX;
	while (!c->bad && i < c->n_items) {
		const struct item *it = &c->items[i];
		const char *s = c->spelled.data + it->at;

		for (size_t k = 0; k < sizeof(ends) / sizeof(*ends); k++)
			if (after_word(c, it, ends[k], &len) != NULL)
				return i;
		if (after_word(c, it, "if", &len) != NULL) {
			i = write_if(c, i, live, depth);
			continue;
		}
		if (live && it->kind == TEXT)
			buf_add(&c->text, s, it->len);
		else if (live && after_word(c, it, "generation", &len) == NULL &&
		    after_word(c, it, "endgeneration", &len) == NULL)
			write_item(c, it->kind == EXPR ? "{{ " : "{% ", s, it->len);
		i++;
		if (after_word(c, it, "for", &len) == NULL)
			continue;
		i = write_body(c, i, live, depth + 1);
		if (i == c->n_items ||
		    after_word(c, &c->items[i], "endfor", &len) == NULL)
			c->bad = true;
		else if (live)
			write_item(c, "{% ", "endfor", 6);
		i++;
	}
	return i;
}

int
template_canonical(const char *text, size_t n, struct buf *out, struct err *e)
{
	struct canon c = { .src = text, .n = n, .out = out };
	size_t before = out->len;
	bool failed;

	if (n > 0 && text[n - 1] == '\n')
		c.n--;		/* keep_trailing_newline is false */
	if ((c.items = calloc(ITEMS_MAX, sizeof(*c.items))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a template");
	take_items(&c);
	if (!c.bad && write_body(&c, 0, true, 0) != c.n_items)
		c.bad = true;
	flush_text(&c);
	failed = c.spelled.failed || c.text.failed || out->failed;
	buf_free(&c.spelled);
	buf_free(&c.text);
	free(c.items);
	if (failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for a template");
	if (c.bad) {
		out->len = before;
		if (out->data != NULL)
			out->data[before] = '\0';
		return err_set(e, ERR_UNSUPPORTED, "a chat template that is not "
		    "understood");
	}
	return 0;
}
