#ifndef DECODE_TEMPLATE_H
#define DECODE_TEMPLATE_H

#include "tokenizer/tokenizer.h"

/*
 * From chat messages to token ids, without a Jinja interpreter: a model's own
 * template is recognised and done by hand.  What a user wrote is encoded apart
 * from the template's own text, specials not parsed, so a control token cannot
 * be smuggled in; and yet the ids are those of Hugging Face's rendering
 * tokenized at once when no special text is in the content.
 */
struct template;	/* static; never freed */

struct message {
	const char *role;	/* "system", "user", "assistant"; borrowed */
	const char *content;	/* UTF-8, NUL-terminated; borrowed */
};

/* The template with this name ("bitnet", "plain"), or NULL. */
const struct template *template_find(const char *name);

/*
 * The one that equals Jinja text [n bytes]; "plain" and *recognised = false if
 * none does.
 */
const struct template *template_recognise(const char *text, size_t n,
    bool *recognised);

const char *template_name(const struct template *tp);

/*
 * Append the ids of messages [n] to out, BOS included if the template has it,
 * and the opening of an assistant's turn if add_generation_prompt.  ERR_RANGE
 * names the message whose role the template does not know.
 */
int template_encode(const struct template *tp, const struct tokenizer *t,
    const struct message *messages, size_t n, bool add_generation_prompt,
    struct ids *out, struct err *e);

/* The same as text, as Hugging Face renders it. */
int template_render(const struct template *tp, const struct message *messages,
    size_t n, bool add_generation_prompt, struct buf *out, struct err *e);

#endif
