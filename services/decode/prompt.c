/*
 * What an assistant thought goes into its message in the form that the template
 * of a model that thinks takes apart again, which then decides what of it is
 * still said; other templates would repeat it as if it had been the answer, so
 * there it is left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prompt.h"
#include "transcript.h"

/* The ids of an array, for member; their range is the caller's business. */
int
prompt_ids(const json_t *array, const char *member, int32_t n_vocab,
    struct ids *out, struct err *e)
{
	const json_t *v;
	size_t i;

	if (!json_is_array(array))
		return err_set_param(e, ERR_BAD_MESSAGE, member,
		    "'%s' is not an array", member);
	json_array_foreach(array, i, v) {
		json_int_t id = json_integer_value(v);

		if (!json_is_integer(v) || id < 0 || id >= n_vocab)
			return err_set_param(e, ERR_RANGE, member,
			    "%s[%zu] is not a token id from 0 to %d", member, i,
			    (int)n_vocab - 1);
		if (ids_add(out, (int32_t)id) != 0)
			return err_set(e, ERR_NO_MEMORY, "no memory for ids");
	}
	return 0;
}

/* One of messages: a role and a content, and *thought if it has one. */
static int
take_message(const json_t *v, size_t i, struct message *m,
    const char **thought, struct err *e)
{
	const char *key;
	json_t *member;

	if (!json_is_object(v))
		return err_set_param(e, ERR_BAD_MESSAGE, "messages",
		    "messages[%zu] is not an object", i);
	*m = (struct message){ 0 };
	*thought = NULL;
	json_object_foreach((json_t *)v, key, member) {
		const char **to = strcmp(key, "role") == 0 ? &m->role :
		    strcmp(key, "content") == 0 ? &m->content :
		    strcmp(key, "reasoning") == 0 ? thought : NULL;

		if (to == NULL)
			return err_set_param(e, ERR_BAD_MESSAGE, "messages",
			    "messages[%zu].%.32s is not known here", i, key);
		*to = json_string_value(member);
		if (*to == NULL || strlen(*to) != json_string_length(member))
			return err_set_param(e, ERR_BAD_MESSAGE, "messages",
			    "messages[%zu].%s is not a string without NUL", i,
			    key);
	}
	if (m->role == NULL || m->content == NULL)
		return err_set_param(e, ERR_BAD_MESSAGE, "messages",
		    "messages[%zu] lacks its %s", i,
		    m->role == NULL ? "role" : "content");
	return 0;
}

/* The messages of a chat, and the texts that were made for them. */
struct chat {
	struct message *v;	/* [n] */
	struct buf *made;	/* [n] */
	size_t n;
	const struct template *template;
};

static void
chat_free(struct chat *c)
{
	for (size_t i = 0; i < c->n && c->made != NULL; i++)
		buf_free(&c->made[i]);
	free(c->made);
	free(c->v);
}

bool
prompt_thinks(const struct service *sv)
{
	struct ids ids = { 0 };
	bool yes = tokenizer_encode_more(sv->tokenizer, "<think></think>", 15,
	    true, &ids, NULL) == 0 && ids.n == 2;

	ids_free(&ids);
	return yes;
}

static bool
is_qwen3(const struct template *tp)
{
	return strncmp(template_name(tp), "qwen3", 5) == 0;
}

static int
add_thought(struct chat *c, size_t i, const char *thought, struct err *e)
{
	struct buf *b = &c->made[i];

	if (thought == NULL || !is_qwen3(c->template))
		return 0;
	buf_printf(b, "<think>\n%s\n</think>\n\n%s", thought,
	    c->v[i].content);
	if (b->failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for the messages");
	c->v[i].content = b->data;
	return 0;
}

static int
choose_template(const struct service *sv, bool think, struct chat *c,
    struct err *e)
{
	c->template = sv->template;
	if (think || !prompt_thinks(sv))
		return 0;
	if (!is_qwen3(sv->template))
		return err_set_param(e, ERR_UNSUPPORTED,
		    "chat_template_kwargs", "the chat template '%s' has no "
		    "words to keep the model from thinking",
		    template_name(sv->template));
	c->template = template_find("qwen3-nothink");
	return 0;
}

static int
chat_take(const struct service *sv, const json_t *messages, bool think,
    struct chat *c, struct err *e)
{
	const char *thought;
	int r;

	*c = (struct chat){ .n = json_array_size(messages) };
	if (!json_is_array(messages))
		return err_set_param(e, ERR_BAD_MESSAGE, "messages",
		    "'messages' is not an array");
	if ((r = choose_template(sv, think, c, e)) != 0)
		return r;
	c->v = calloc(c->n, sizeof(*c->v));
	c->made = calloc(c->n, sizeof(*c->made));
	if (c->v == NULL || c->made == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for %zu messages",
		    c->n);
	for (size_t i = 0; i < c->n && r == 0; i++)
		if ((r = take_message(json_array_get(messages, i), i,
		    &c->v[i], &thought, e)) == 0)
			r = add_thought(c, i, thought, e);
	return r;
}

/* An error of the template is one of the messages. */
static int
blame_messages(int r, struct err *e)
{
	if (r == ERR_RANGE && e != NULL && e->param[0] == '\0')
		snprintf(e->param, sizeof(e->param), "messages");
	return r;
}

/* The BOS of a text, if the model's texts begin with it. */
static void
put_bos(const struct service *sv, struct script *s)
{
	if (sv->model.config.bos >= 0 && tokenizer_add_bos(sv->tokenizer))
		script_token(s, sv->model.config.bos);
}

/* s borrows from c. */
static int
chat_script(const struct service *sv, const struct chat *c, struct script *s,
    struct err *e)
{
	if (template_wants_bos(c->template))
		put_bos(sv, s);
	return blame_messages(template_script(c->template, sv->tokenizer, c->v,
	    c->n, true, s, e), e);
}

int
prompt_chat(const struct service *sv, const json_t *messages, bool think,
    struct ids *out, struct err *e)
{
	struct script s = { 0 };
	struct chat c;
	int r = chat_take(sv, messages, think, &c, e);

	if (r == 0 && (r = chat_script(sv, &c, &s, e)) == 0)
		r = script_encode(&s, sv->tokenizer, out, e);
	script_free(&s);
	chat_free(&c);
	return r;
}

int
prompt_render(const struct service *sv, const json_t *messages, bool think,
    struct buf *out, struct err *e)
{
	struct chat c;
	int r = chat_take(sv, messages, think, &c, e);

	if (r == 0)
		r = blame_messages(template_render(c.template, c.v, c.n, true,
		    out, e), e);
	chat_free(&c);
	return r;
}

int
prompt_text(const struct service *sv, const char *text, bool bos,
    bool parse_special, struct ids *out, struct err *e)
{
	if (bos && sv->model.config.bos >= 0 &&
	    tokenizer_add_bos(sv->tokenizer) &&
	    ids_add(out, sv->model.config.bos) != 0)
		return err_set(e, ERR_NO_MEMORY, "no memory for ids");
	return tokenizer_encode(sv->tokenizer, text, strlen(text),
	    parse_special, out, e);
}

static int
make_of_ids(const struct service *sv, const struct decode_generate *g,
    struct engine_prompt *out, struct err *e)
{
	struct ids ids = { 0 };
	int r = prompt_ids(g->prompt_ids, "prompt_ids",
	    sv->model.config.vocab, &ids, e);

	if (r == 0)
		r = transcript_of_ids(ids.v, ids.n, &out->says, e);
	ids_free(&ids);
	return r;
}

static int
make_of_script(const struct service *sv, const struct script *s,
    const struct transcript *kept, struct engine_prompt *out, struct err *e)
{
	bool plain = true;
	int r = transcript_make(s, kept, sv->tokenizer, &out->says,
	    &out->n_kept, e);

	if (r == 0 && out->n_kept > 0 && (r = transcript_is_plain(out->says, s,
	    sv->tokenizer, &plain, e)) != 0) {
		transcript_free(out->says);
		out->says = NULL;
	}
	out->respelt = !plain;
	return r;
}

static int
make_of_chat(const struct service *sv, const struct decode_generate *g,
    const struct transcript *kept, struct engine_prompt *out, struct err *e)
{
	struct script s = { 0 };
	struct chat c;
	int r = chat_take(sv, g->messages, g->think, &c, e);

	if (r == 0 && (r = chat_script(sv, &c, &s, e)) == 0)
		r = make_of_script(sv, &s, kept, out, e);
	script_free(&s);
	chat_free(&c);
	return r;
}

int
prompt_make(const struct service *sv, const struct decode_generate *g,
    const struct transcript *kept, struct engine_prompt *out, struct err *e)
{
	bool chat = json_array_size(g->messages) > 0 ||
	    json_object_size(g->messages) > 0;
	bool ids = json_array_size(g->prompt_ids) > 0 ||
	    json_object_size(g->prompt_ids) > 0;
	struct script s = { 0 };
	int r;

	if (chat + ids + (g->prompt[0] != '\0') != 1)
		return err_set_param(e, ERR_RANGE, "prompt", "exactly one of "
		    "messages, prompt and prompt_ids must not be empty");
	if (chat)
		return make_of_chat(sv, g, kept, out, e);
	if (ids)
		return make_of_ids(sv, g, out, e);
	put_bos(sv, &s);
	script_text(&s, g->prompt, strlen(g->prompt), true);
	r = make_of_script(sv, &s, kept, out, e);
	script_free(&s);
	return r;
}
