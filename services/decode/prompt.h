#ifndef DECODE_PROMPT_H
#define DECODE_PROMPT_H

#include "decode.h"
#include "engine.h"
#include "service.h"

/*
 * What messages of decode.sock say in text, as tokens.  Any thread.  Errors name
 * the member at fault.
 */

/* The ids of an array, for member: each below n_vocab. */
int prompt_ids(const json_t *array, const char *member, int32_t n_vocab,
    struct ids *out, struct err *e);

/* Plain text; bos: with the begin token, if the model puts one there. */
int prompt_text(const struct service *sv, const char *text, bool bos,
    bool parse_special, struct ids *out, struct err *e);

/*
 * A chat through the model's template, with the assistant's turn opened.  think
 * false: with the template's words against thinking; ERR_UNSUPPORTED if the
 * model thinks and its template has none.
 */
int prompt_chat(const struct service *sv, const json_t *messages, bool think,
    struct ids *out, struct err *e);
/* The same as text. */
int prompt_render(const struct service *sv, const json_t *messages,
    bool think, struct buf *out, struct err *e);

/*
 * The one of messages, prompt and prompt_ids that g has, with the ids of kept
 * (what its session said, or NULL) where they stand for it.  out->refused is
 * left as it is.
 */
int prompt_make(const struct service *sv, const struct decode_generate *g,
    const struct transcript *kept, struct engine_prompt *out, struct err *e);

/* Does the vocabulary have <think> and </think>? */
bool prompt_thinks(const struct service *sv);

#endif
