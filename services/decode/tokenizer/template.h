#ifndef DECODE_TEMPLATE_H
#define DECODE_TEMPLATE_H

#include "tokenizer/script.h"
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

/*
 * The Jinja text of BitNet b1.58 2B4T (tokenizer_config.json of
 * microsoft/bitnet-b1.58-2B-4T), for files of it that have none or another.
 */
extern const char template_2b4t[];

/* The template with this name (one of template_names), or NULL. */
const struct template *template_find(const char *name);

/* All names, for sentences: "bitnet, llama3, …". */
const char *template_names(void);

/*
 * The one that renders as Jinja text [n bytes] does, whatever its spelling:
 * docs/chat-templates.md lists what is known.  Of another text *recognised is
 * false and the result a guess: the family whose marks it has, else "plain".
 */
const struct template *template_recognise(const char *text, size_t n,
    bool *recognised);

/*
 * What a user asked for: a name, or the path (with a '/' or '.') of a file with
 * Jinja text.  ERR_RANGE for a word that is neither, ERR_UNSUPPORTED for a text
 * that is not recognised, ERR_NOT_FOUND or ERR_SYSTEM if it cannot be read.
 */
int template_choose(const char *name, const struct template **tp,
    struct err *e);

const char *template_name(const struct template *tp);

/*
 * Does a prompt begin with the model's BOS although the template says nothing
 * of it?  Only of "plain": the others have theirs, or are meant to have none.
 */
bool template_wants_bos(const struct template *tp);

/* ERR_UNSUPPORTED names a token that tp needs and t lacks. */
int template_check(const struct template *tp, const struct tokenizer *t,
    struct err *e);

/*
 * Append the ids of messages [n] to out, BOS included if the template has it,
 * and the opening of an assistant's turn if add_generation_prompt.  ERR_RANGE
 * names the message whose role the template does not know; ERR_UNSUPPORTED a
 * token that the model lacks.
 */
int template_encode(const struct template *tp, const struct tokenizer *t,
    const struct message *messages, size_t n, bool add_generation_prompt,
    struct ids *out, struct err *e);

/* The same before it is encoded.  The messages must outlive out's marks; out is
 * to be freed also after a failure. */
int template_script(const struct template *tp, const struct tokenizer *t,
    const struct message *messages, size_t n, bool add_generation_prompt,
    struct script *out, struct err *e);

/* The same as text, as Hugging Face renders it. */
int template_render(const struct template *tp, const struct message *messages,
    size_t n, bool add_generation_prompt, struct buf *out, struct err *e);

#endif
