/*
 * Each template is a function that writes text and special tokens.  Text
 * between two special tokens is encoded as one piece, since a blank before a
 * word belongs to it: "User: " and what the user said go together, which is
 * what makes the ids equal to those of the whole rendering, and without parsing
 * specials, which is what keeps them out of the content.
 */
#include <string.h>

#include "tokenizer/chars.h"
#include "tokenizer/template_parts.h"

/* str.isspace of Python, which is what Jinja's trim goes by. */
static bool
is_space(int32_t cp)
{
	return (cp >= 0x09 && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x20) ||
	    cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
	    (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
	    cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static void
put(struct template_sink *s, const char *text)
{
	buf_adds(&s->pending, text);
}

/* The part of text that Jinja's trim leaves; *n: its length. */
static const char *
trimmed(const char *text, size_t *n)
{
	size_t len = strlen(text), start = len, end = 0;

	for (size_t i = 0; i < len;) {
		int32_t cp;
		size_t k = chars_next(text + i, len - i, &cp);

		if (!is_space(cp)) {
			if (start == len)
				start = i;
			end = i + k;
		}
		i += k;
	}
	*n = end > start ? end - start : 0;
	return text + start;
}

/* text [n bytes], which is what m says, or what trim leaves of it. */
static void
put_said(struct template_sink *s, const struct message *m, const char *text,
    size_t n)
{
	if (s->script != NULL && strcmp(m->role, "assistant") == 0)
		script_mark(s->script, &(struct script_mark){
		    .at = s->script->text.len + s->pending.len, .len = n,
		    .raw = m->content, .n_raw = strlen(m->content) });
	buf_add(&s->pending, text, n);
}

static void
put_trimmed(struct template_sink *s, const struct message *m)
{
	size_t n;
	const char *text = trimmed(m->content, &n);

	put_said(s, m, text, n);
}

static void
put_content(struct template_sink *s, const struct message *m)
{
	put_said(s, m, m->content, strlen(m->content));
}

/* The end of a stretch of text, of this program and of users. */
void
template_flush(struct template_sink *s)
{
	struct buf *p = &s->pending;

	if (s->rc == 0 && p->failed)
		s->rc = err_set(s->e, ERR_NO_MEMORY, "memory is short");
	if (s->rc == 0 && s->script != NULL)
		script_text(s->script, p->data, p->len, !s->started);
	else if (s->rc == 0 && p->len > 0)
		buf_add(s->text, p->data, p->len);
	s->started = s->started || p->len > 0;
	buf_clear(p);
}

/* A token without which the template means nothing. */
static void
put_special(struct template_sink *s, const char *name)
{
	int32_t id;

	if (s->t == NULL) {
		put(s, name);
		return;
	}
	template_flush(s);
	if (s->rc != 0)
		return;
	if ((id = tokenizer_special(s->t, name)) < 0)
		s->rc = err_set(s->e, ERR_UNSUPPORTED, "the template '%s' "
		    "needs the token '%s', which the model does not have",
		    s->tp->name, name);
	else
		script_token(s->script, id);
	s->started = true;
}

/* A mark that is a token of some models and text to the others. */
static void
put_mark(struct template_sink *s, const char *name)
{
	if (s->t != NULL && tokenizer_special(s->t, name) >= 0)
		put_special(s, name);
	else
		put(s, name);
}

/* eos_token: the first of a and b that the model has, or a. */
static void
put_eos(struct template_sink *s, const char *a, const char *b)
{
	bool second = s->t != NULL && tokenizer_special(s->t, a) < 0 &&
	    tokenizer_special(s->t, b) >= 0;

	put_special(s, second ? b : a);
}

static const char *
capitalized(const char *role)
{
	static const char *const roles[][2] = {
		{ "system", "System" },
		{ "user", "User" },
		{ "assistant", "Assistant" },
	};

	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++)
		if (strcmp(role, roles[i][0]) == 0)
			return roles[i][1];
	return NULL;
}

/* Microsoft's bitnet-b1.58-2B-4T and the demo model. */
static void
write_bitnet(struct template_sink *s, const struct template_chat *c)
{
	if (c->n > 0)
		put_special(s, "<|begin_of_text|>");
	for (size_t i = 0; i < c->n; i++) {
		put(s, capitalized(c->messages[i].role));
		put(s, ": ");
		put_trimmed(s, &c->messages[i]);
		put_special(s, "<|eot_id|>");
	}
	if (c->generation)
		put(s, "Assistant: ");
}

/* Meta-Llama-3-8B-Instruct and what was trained from it. */
static void
write_llama3(struct template_sink *s, const struct template_chat *c)
{
	if (c->n > 0)
		put_special(s, "<|begin_of_text|>");
	for (size_t i = 0; i < c->n + (c->generation ? 1 : 0); i++) {
		put_special(s, "<|start_header_id|>");
		put(s, i < c->n ? c->messages[i].role : "assistant");
		put_special(s, "<|end_header_id|>");
		put(s, "\n\n");
		if (i == c->n)
			break;
		put_trimmed(s, &c->messages[i]);
		put_special(s, "<|eot_id|>");
	}
}

static void
open_turn(struct template_sink *s, const char *role)
{
	put_special(s, "<|im_start|>");
	put(s, role);
	put(s, "\n");
}

static void
close_turn(struct template_sink *s)
{
	put_special(s, "<|im_end|>");
	put(s, "\n");
}

static void
put_default_system(struct template_sink *s, const struct template_chat *c)
{
	if (s->tp->system == NULL || c->n == 0 ||
	    strcmp(c->messages[0].role, "system") == 0)
		return;
	open_turn(s, "system");
	put(s, s->tp->system);
	close_turn(s);
}

/* ChatML, and Qwen before the third with their default system prompts. */
static void
write_chatml(struct template_sink *s, const struct template_chat *c)
{
	put_default_system(s, c);
	for (size_t i = 0; i < c->n; i++) {
		open_turn(s, c->messages[i].role);
		put_content(s, &c->messages[i]);
		close_turn(s);
	}
	if (c->generation)
		open_turn(s, "assistant");
}

static const char *
skip_newlines(const char *text)
{
	while (*text == '\n')
		text++;
	return text;
}

/* The last occurrence of word in text, or NULL. */
static const char *
last_of(const char *text, const char *word)
{
	const char *last = NULL;

	while ((text = strstr(text, word)) != NULL)
		last = text++;
	return last;
}

/*
 * What an assistant said, as Qwen3's template has it: its thoughts are dropped
 * from turns before the last question, and put in their form behind it.
 */
static void
put_qwen3_answer(struct template_sink *s, const struct message *m, bool past,
    bool last)
{
	const char *content = m->content;
	const char *first = strstr(content, "</think>"), *answer = content;
	const char *thought = content;
	size_t n_thought = 0;

	if (first != NULL) {
		const char *open = NULL, *p = content;

		/* split('<think>')[-1] of what is before the first </think> */
		while ((p = strstr(p, "<think>")) != NULL && p + 7 <= first)
			open = p++;
		thought = open != NULL ? open + 7 : content;
		n_thought = (size_t)(first - thought);
		answer = skip_newlines(last_of(content, "</think>") + 8);
		while (n_thought > 0 && *thought == '\n') {
			thought++;
			n_thought--;
		}
		while (n_thought > 0 && thought[n_thought - 1] == '\n')
			n_thought--;
	}
	if (past || (!last && n_thought == 0)) {
		if (answer == content)
			put_content(s, m);
		else
			put(s, answer);
		return;
	}
	put_mark(s, "<think>");
	put(s, "\n");
	buf_add(&s->pending, thought, n_thought);
	put(s, "\n");
	put_mark(s, "</think>");
	put(s, "\n\n");
	put(s, skip_newlines(answer));
}

/* Is this what a tool said, in Qwen's form? */
static bool
is_tool_response(const char *content)
{
	static const char open[] = "<tool_response>", close[] = "</tool_response>";
	size_t n = strlen(content), k = sizeof(close) - 1;

	return strncmp(content, open, sizeof(open) - 1) == 0 && n >= k &&
	    strcmp(content + n - k, close) == 0;
}

static void
write_qwen3(struct template_sink *s, const struct template_chat *c)
{
	size_t query = c->n - 1;	/* index of the last question */

	for (size_t i = c->n; i-- > 0;)
		if (strcmp(c->messages[i].role, "user") == 0 &&
		    !is_tool_response(c->messages[i].content)) {
			query = i;
			break;
		}
	for (size_t i = 0; i < c->n; i++) {
		const struct message *m = &c->messages[i];

		open_turn(s, m->role);
		if (strcmp(m->role, "assistant") == 0)
			put_qwen3_answer(s, m, i <= query,
			    i == c->n - 1);
		else
			put_content(s, m);
		close_turn(s);
	}
	if (!c->generation)
		return;
	open_turn(s, "assistant");
	if (s->tp->flags & TEMPLATE_NO_THINKING) {
		put_mark(s, "<think>");
		put(s, "\n\n");
		put_mark(s, "</think>");
		put(s, "\n\n");
	}
}

static void
put_role(struct template_sink *s, const char *role)
{
	put_mark(s, strcmp(role, "system") == 0 ? "<|system|>" :
	    strcmp(role, "user") == 0 ? "<|user|>" : "<|assistant|>");
	put(s, "\n");
}

/* Falcon3-Instruct; its marks are ordinary text, but for the end. */
static void
write_falcon3(struct template_sink *s, const struct template_chat *c)
{
	for (size_t i = 0; i < c->n; i++) {
		bool answer = strcmp(c->messages[i].role, "assistant") == 0;

		put_role(s, c->messages[i].role);
		put_content(s, &c->messages[i]);
		if (answer)
			put_eos(s, "<|endoftext|>", "<|end_of_text|>");
		if (!answer || i < c->n - 1)
			put(s, "\n");
	}
	if (c->generation && c->n > 0) {
		put_role(s, "assistant");
	}
}

/* zephyr-7b-beta, TinyLlama-1.1B-Chat. */
static void
write_zephyr(struct template_sink *s, const struct template_chat *c)
{
	for (size_t i = 0; i < c->n; i++) {
		put_role(s, c->messages[i].role);
		put_content(s, &c->messages[i]);
		put_eos(s, "</s>", "<|endoftext|>");
		put(s, "\n");
	}
	if (c->generation && c->n > 0) {
		put_role(s, "assistant");
	}
}

/* For a model that was never taught a chat: a dialogue, as prose has it. */
static void
write_plain(struct template_sink *s, const struct template_chat *c)
{
	for (size_t i = 0; i < c->n; i++) {
		put(s, capitalized(c->messages[i].role));
		put(s, ": ");
		put_trimmed(s, &c->messages[i]);
		put(s, "\n");
	}
	if (c->generation)
		put(s, "Assistant:");
}

const struct template template_list[] = {
	{ "bitnet", write_bitnet, NULL, 0 },
	{ "llama3", write_llama3, NULL, 0 },
	{ "chatml", write_chatml, NULL, 0 },
	{ "qwen2", write_chatml, "You are a helpful assistant.", 0 },
	{ "qwen2.5", write_chatml, "You are Qwen, created by Alibaba Cloud. "
	    "You are a helpful assistant.", 0 },
	{ "qwen3", write_qwen3, NULL, 0 },
	{ "qwen3-nothink", write_qwen3, NULL, TEMPLATE_NO_THINKING },
	{ "falcon3", write_falcon3, NULL, 0 },
	{ "zephyr", write_zephyr, NULL, 0 },
	{ "plain", write_plain, NULL, TEMPLATE_NO_BOS },
	/* the first release of Meta-Llama-3-8B-Instruct */
	{ "llama3", write_llama3, NULL, TEMPLATE_OPENS },
	{ 0 },
};
