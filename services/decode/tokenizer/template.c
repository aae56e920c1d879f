/*
 * Recognition compares the digest of a text's canonical form (template_canon.h)
 * with those of the templates that template_write.c is known to render as
 * Hugging Face does.  The texts themselves are in tests/data/templates, where
 * test_template_families.c compares both.
 */
#include <stdio.h>
#include <string.h>

#include "file.h"
#include "sha256.h"
#include "tokenizer/template_canon.h"
#include "tokenizer/template_parts.h"

enum { FILE_MAX = 1 << 20 };	/* bytes of a template that is read */

/* The first 16 bytes of the SHA-256 of a canonical form, in hex. */
static const struct {
	const char *digest;
	const char *name;
	unsigned flags;
} known[] = {
	{ "4380af8bc57990f50e3fcb0caebde4dc", "bitnet", 0 },
	{ "436fd3b7ef660c3b1998345c521d0dbb", "bitnet", 0 },
	{ "b2745203bdc0f8dc0b9897b62f99bd1a", "chatml", 0 },
	{ "51b7baec69556ad267658cfcc4b4b779", "falcon3", 0 },
	{ "e8502070223660e819058f07739e7304", "llama3", 0 },
	{ "32bb245c66b66fbfb20f88835a4733fb", "llama3", TEMPLATE_OPENS },
	{ "a468ef5862f758bf57c6359fb3875f20", "qwen2", 0 },
	{ "17e8c27837396fa369eb61a63b047486", "qwen2.5", 0 },
	{ "9c8608b71f5abf3ebbd36fcd452e7669", "qwen3", 0 },
	{ "ae643f8841fd03bda6b0ff5001bdffdd", "qwen3", 0 },
	{ "504221e0ee345311b7fd2d0fb28ed943", "zephyr", 0 },
	{ "94a1d6911b7f7e9592e52d9ef3a6a499", "zephyr", 0 },
};

const char template_2b4t[] =
    "{% for message in messages %}{% if loop.index0 == 0 %}{{ bos_token }}"
    "{% endif %}{{ message['role'] | capitalize + ': ' + message['content'] | "
    "trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ 'Assistant: ' }}{% endif %}";

const struct template *
template_find(const char *name)
{
	for (const struct template *tp = template_list; tp->name != NULL; tp++)
		if (strcmp(tp->name, name) == 0)
			return tp;
	return NULL;
}

const char *
template_names(void)
{
	return "bitnet, llama3, chatml, qwen2, qwen2.5, qwen3, qwen3-nothink, "
	    "falcon3, zephyr, plain";
}

static const struct template *
find_variant(const char *name, unsigned flags)
{
	for (const struct template *tp = template_list; tp->name != NULL; tp++)
		if (strcmp(tp->name, name) == 0 && tp->flags == flags)
			return tp;
	return NULL;
}

static bool
has(const char *text, size_t n, const char *word)
{
	return memmem(text, n, word, strlen(word)) != NULL;
}

/* The family whose marks a text has.  Its own rules may differ. */
static const char *
resembles(const char *text, size_t n)
{
	if (has(text, n, "BITNETAssistant"))
		return "bitnet";
	if (has(text, n, "<|im_start|>"))
		return has(text, n, "reasoning_content") ? "qwen3" : "chatml";
	if (has(text, n, "<|start_header_id|>") && has(text, n, "<|eot_id|>"))
		return "llama3";
	if (has(text, n, "<|user|>") && has(text, n, "<|assistant|>") &&
	    has(text, n, "eos_token"))
		return has(text, n, "Falcon") ? "falcon3" : "zephyr";
	return "plain";
}

void
template_digest(const struct buf *canonical, char hex[TEMPLATE_DIGEST + 1])
{
	uint8_t sum[SHA256_SIZE];

	sha256(canonical->data, canonical->len, sum);
	for (int i = 0; i < TEMPLATE_DIGEST / 2; i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned)sum[i]);
}

const struct template *
template_recognise(const char *text, size_t n, bool *recognised)
{
	char hex[TEMPLATE_DIGEST + 1] = "";
	const struct template *tp = NULL;
	struct buf form = { 0 };

	if (n > 0 && template_canonical(text, n, &form, NULL) == 0 &&
	    form.len > 0)
		template_digest(&form, hex);
	buf_free(&form);
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(known[i].digest, hex) == 0)
			tp = find_variant(known[i].name, known[i].flags);
	*recognised = tp != NULL;
	return tp != NULL ? tp : template_find(n > 0 ? resembles(text, n) :
	    "plain");
}

int
template_choose(const char *name, const struct template **tp, struct err *e)
{
	const struct template *found = template_find(name);
	struct buf text = { 0 };
	bool recognised;
	int rc;

	if (found == NULL && strchr(name, '/') == NULL &&
	    strchr(name, '.') == NULL)
		return err_set(e, ERR_RANGE, "'%.60s' is no chat template: one of "
		    "%s, or a file", name, template_names());
	if (found == NULL) {
		if ((rc = file_read(name, FILE_MAX, &text, e)) == 0) {
			found = template_recognise(text.data, text.len,
			    &recognised);
			if (!recognised)
				rc = err_set(e, ERR_UNSUPPORTED, "%s is a chat "
				    "template that is not known here; known: %s",
				    name, template_names());
		}
		buf_free(&text);
		if (rc != 0)
			return rc;
	}
	*tp = found;
	return 0;
}

const char *
template_name(const struct template *tp)
{
	return tp->name;
}

bool
template_wants_bos(const struct template *tp)
{
	return (tp->flags & TEMPLATE_NO_BOS) != 0;
}

static int
check_roles(const struct template *tp, const struct message *messages,
    size_t n, struct err *e)
{
	static const char *const roles[] = { "system", "user", "assistant" };

	for (size_t i = 0; i < n; i++) {
		bool known_role = false;

		for (size_t k = 0; k < sizeof(roles) / sizeof(*roles); k++)
			known_role = known_role ||
			    strcmp(messages[i].role, roles[k]) == 0;
		if (!known_role)
			return err_set(e, ERR_RANGE, "messages[%zu] has the "
			    "role '%.40s', which the template '%s' does not "
			    "know", i, messages[i].role, tp->name);
	}
	return 0;
}

static int
write_chat(struct template_sink *s, const struct message *messages, size_t n,
    bool add_generation_prompt)
{
	const struct template_chat c = { messages, n, add_generation_prompt ||
		(s->tp->flags & TEMPLATE_OPENS) != 0 };

	if ((s->rc = check_roles(s->tp, messages, n, s->e)) == 0) {
		s->tp->write(s, &c);
		template_flush(s);
	}
	buf_free(&s->pending);
	return s->rc;
}

int
template_script(const struct template *tp, const struct tokenizer *t,
    const struct message *messages, size_t n, bool add_generation_prompt,
    struct script *out, struct err *e)
{
	struct template_sink s = { .tp = tp, .t = t, .script = out, .e = e };
	int rc = write_chat(&s, messages, n, add_generation_prompt);

	out->chat = true;
	if (rc == 0 && out->failed)
		rc = err_set(e, ERR_NO_MEMORY, "memory is short");
	return rc;
}

int
template_encode(const struct template *tp, const struct tokenizer *t,
    const struct message *messages, size_t n, bool add_generation_prompt,
    struct ids *out, struct err *e)
{
	struct script s = { 0 };
	size_t n_before = out->n;
	int rc = template_script(tp, t, messages, n, add_generation_prompt, &s,
	    e);

	if (rc == 0)
		rc = script_encode(&s, t, out, e);
	if (rc != 0)
		out->n = n_before;
	script_free(&s);
	return rc;
}

int
template_check(const struct template *tp, const struct tokenizer *t,
    struct err *e)
{
	static const struct message chat[] = {
		{ "system", "" }, { "user", "" }, { "assistant", "" },
	};
	struct ids ids = { 0 };
	int rc = template_encode(tp, t, chat, 3, true, &ids, e);

	ids_free(&ids);
	return rc;
}

int
template_render(const struct template *tp, const struct message *messages,
    size_t n, bool add_generation_prompt, struct buf *out, struct err *e)
{
	struct template_sink s = { .tp = tp, .text = out, .e = e };
	size_t n_before = out->len;
	int rc = write_chat(&s, messages, n, add_generation_prompt);

	if (rc == 0 && out->failed)
		rc = err_set(e, ERR_NO_MEMORY, "memory is short");
	if (rc != 0 && out->data != NULL) {
		out->len = n_before;
		out->data[n_before] = '\0';
	}
	return rc;
}
