#ifndef DECODE_TEMPLATE_PARTS_H
#define DECODE_TEMPLATE_PARTS_H

#include "tokenizer/template.h"

/* What template.c and template_write.c share and nobody else sees. */

/* Where pieces go: to a script or to text. */
struct template_sink {
	const struct template *tp;
	const struct tokenizer *t;	/* NULL for text */
	struct script *script;
	struct buf *text;
	bool started;		/* what comes now is not the first of the text */
	struct buf pending;	/* text whose end has not come; to be freed */
	int rc;			/* the first failure; then nothing is done */
	struct err *e;
};

struct template_chat {
	const struct message *messages;	/* [n], their roles have been checked */
	size_t n;
	bool generation;	/* open an assistant's turn at the end */
};

/* Differences within a family. */
enum template_flag {
	TEMPLATE_OPENS = 1,	/* opens a turn even if not asked to */
	TEMPLATE_NO_THINKING = 2,	/* Qwen3 with enable_thinking=false */
	TEMPLATE_NO_BOS = 4,	/* the text has none, but a prompt begins with it */
};

struct template {
	const char *name;
	void (*write)(struct template_sink *s, const struct template_chat *c);
	const char *system;	/* what a chat without one begins with, or NULL */
	unsigned flags;
};

/* The last one has no name.  The first of a name is the one of that name. */
extern const struct template template_list[];

/* Hand over what is pending. */
void template_flush(struct template_sink *s);

#endif
