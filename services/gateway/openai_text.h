#ifndef GATEWAY_OPENAI_TEXT_H
#define GATEWAY_OPENAI_TEXT_H

#include "openai.h"

/*
 * The event of a piece of text, by far the most frequent: all of it but the text is
 * made once, by openai_chunk_text, so the bytes are those that openai_event would
 * write, without the tree.
 */
struct openai_text {
	struct buf around;	/* the event, with nothing where the text belongs */
	size_t at;		/* where that is */
};

/* a: without logprobs; c: which of its answers.  Returns 0 or ERR_NO_MEMORY;
 * openai_text_free either way. */
int openai_text_init(struct openai_text *t, const struct openai_answer *a,
    struct openai_choice *c, struct err *e);
void openai_text_free(struct openai_text *t);

/* Append the event of text [n], UTF-8. */
void openai_text_event(const struct openai_text *t, const char *text, size_t n,
    struct buf *out);

#endif
