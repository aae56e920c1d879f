/*
 * Each template is a function that writes pieces: text, and special tokens by
 * their name.  Text between two special tokens is one piece, since a blank
 * before a word belongs to it: "User: " and what the user said are encoded
 * together, which is what makes the ids equal to those of the whole rendering,
 * and without parsing specials, which is what keeps them out of the content.
 */
#include <string.h>

#include "tokenizer/chars.h"
#include "tokenizer/template.h"

/* Where pieces go: to ids or to text. */
struct sink {
	const struct tokenizer *t;
	struct ids *ids;	/* or NULL: */
	struct buf *text;
	struct err *e;
};

struct template {
	const char *name;
	const char *jinja;	/* as in tokenizer_config.json, or NULL */
	/* Write messages [n]; their roles have been checked. */
	int (*write)(const struct template *tp, const struct sink *s,
	    const struct message *messages, size_t n, bool generation);
};

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
add_trimmed(struct buf *out, const char *text)
{
	size_t n = strlen(text), start = n, end = 0;

	for (size_t i = 0; i < n;) {
		int32_t cp;
		size_t len = chars_next(text + i, n - i, &cp);

		if (!is_space(cp)) {
			if (start == n)
				start = i;
			end = i + len;
		}
		i += len;
	}
	if (end > start)
		buf_add(out, text + start, end - start);
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

/* Text of this program and of users. */
static int
write_text(const struct sink *s, const struct buf *text)
{
	if (text->failed)
		return err_set(s->e, ERR_NO_MEMORY, "memory is short");
	if (s->ids != NULL)
		return tokenizer_encode(s->t, text->data, text->len, false,
		    s->ids, s->e);
	buf_add(s->text, text->data, text->len);
	return 0;
}

static int
write_special(const struct template *tp, const struct sink *s,
    const char *name)
{
	int32_t id;

	if (s->ids == NULL) {
		buf_adds(s->text, name);
		return 0;
	}
	if ((id = tokenizer_special(s->t, name)) < 0)
		return err_set(s->e, ERR_UNSUPPORTED, "the template '%s' needs "
		    "the token '%s', which the model does not have", tp->name,
		    name);
	if (ids_add(s->ids, id) != 0)
		return err_set(s->e, ERR_NO_MEMORY, "memory is short");
	return 0;
}

/* Microsoft's bitnet-b1.58-2B-4T and the demo model. */
static int
write_bitnet(const struct template *tp, const struct sink *s,
    const struct message *messages, size_t n, bool generation)
{
	struct buf text = { 0 };
	int rc = n == 0 ? 0 : write_special(tp, s, "<|begin_of_text|>");

	for (size_t i = 0; rc == 0 && i < n; i++) {
		buf_clear(&text);
		buf_printf(&text, "%s: ", capitalized(messages[i].role));
		add_trimmed(&text, messages[i].content);
		if ((rc = write_text(s, &text)) == 0)
			rc = write_special(tp, s, "<|eot_id|>");
	}
	if (rc == 0 && generation) {
		buf_clear(&text);
		buf_adds(&text, "Assistant: ");
		rc = write_text(s, &text);
	}
	buf_free(&text);
	return rc;
}

/* For a model that was never taught a chat: a dialogue, as prose has it. */
static int
write_plain(const struct template *tp, const struct sink *s,
    const struct message *messages, size_t n, bool generation)
{
	struct buf text = { 0 };
	int rc;

	(void)tp;
	for (size_t i = 0; i < n; i++) {
		buf_printf(&text, "%s: ", capitalized(messages[i].role));
		add_trimmed(&text, messages[i].content);
		buf_adds(&text, "\n");
	}
	buf_adds(&text, generation ? "Assistant:" : "");
	rc = write_text(s, &text);
	buf_free(&text);
	return rc;
}

static const struct template templates[] = {
	{ "bitnet",
	    "{% for message in messages %}{% if loop.index0 == 0 %}"
	    "{{ bos_token }}{% endif %}{{ message['role'] | capitalize + ': ' "
	    "+ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
	    "{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}",
	    write_bitnet },
	{ "plain", NULL, write_plain },
};
enum { N_TEMPLATES = sizeof(templates) / sizeof(*templates) };

const struct template *
template_find(const char *name)
{
	for (int i = 0; i < N_TEMPLATES; i++)
		if (strcmp(templates[i].name, name) == 0)
			return &templates[i];
	return NULL;
}

const struct template *
template_recognise(const char *text, size_t n, bool *recognised)
{
	*recognised = true;
	for (int i = 0; i < N_TEMPLATES; i++)
		if (templates[i].jinja != NULL &&
		    strlen(templates[i].jinja) == n &&
		    memcmp(templates[i].jinja, text, n) == 0)
			return &templates[i];
	*recognised = false;
	return template_find("plain");
}

const char *
template_name(const struct template *tp)
{
	return tp->name;
}

static int
check_roles(const struct template *tp, const struct message *messages,
    size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (capitalized(messages[i].role) == NULL)
			return err_set(e, ERR_RANGE, "messages[%zu] has the "
			    "role '%.40s', which the template '%s' does not "
			    "know", i, messages[i].role, tp->name);
	return 0;
}

int
template_encode(const struct template *tp, const struct tokenizer *t,
    const struct message *messages, size_t n, bool add_generation_prompt,
    struct ids *out, struct err *e)
{
	const struct sink s = { .t = t, .ids = out, .e = e };
	size_t n_before = out->n;
	int rc = check_roles(tp, messages, n, e);

	if (rc == 0)
		rc = tp->write(tp, &s, messages, n, add_generation_prompt);
	if (rc != 0)
		out->n = n_before;
	return rc;
}

int
template_render(const struct template *tp, const struct message *messages,
    size_t n, bool add_generation_prompt, struct buf *out, struct err *e)
{
	const struct sink s = { .text = out, .e = e };
	size_t n_before = out->len;
	int rc = check_roles(tp, messages, n, e);

	if (rc == 0)
		rc = tp->write(tp, &s, messages, n, add_generation_prompt);
	if (rc == 0 && out->failed)
		rc = err_set(e, ERR_NO_MEMORY, "memory is short");
	if (rc != 0 && out->data != NULL) {
		out->len = n_before;
		out->data[n_before] = '\0';
	}
	return rc;
}
