#ifndef DECODE_SCRIPT_H
#define DECODE_SCRIPT_H

#include "tokenizer/tokenizer.h"

/*
 * What a prompt says, before it is tokens: control tokens, and between them
 * stretches of text, each of which is encoded at once.  Where an assistant's
 * message stands in it is marked, so that the ids it was generated with can be
 * told from the text (transcript.h).
 */
enum script_kind {
	SCRIPT_TOKEN,		/* one id */
	SCRIPT_FIRST,		/* text at the beginning of all text */
	SCRIPT_TEXT,		/* text that goes on */
};

struct script_item {
	enum script_kind kind;
	int32_t id;		/* of a token */
	size_t at, len;		/* of text, in the text of the script */
};

/* An assistant's message: what the template made of it, maybe trimmed, is len
 * bytes at `at` of the script's text; raw is what was sent; borrowed. */
struct script_mark {
	size_t at, len;
	const char *raw;
	size_t n_raw;
};

struct script {
	struct script_item *items;	/* [n_items] owned */
	size_t n_items, items_cap;
	struct script_mark *marks;	/* [n_marks] in the order of at; owned */
	size_t n_marks, marks_cap;
	struct buf text;
	bool chat;		/* it is made of messages */
	bool failed;		/* memory was short; looked at once, at the end */
};

/* { 0 } is an empty one. */
void script_token(struct script *s, int32_t id);
/* first: as SCRIPT_FIRST.  Nothing for n = 0. */
void script_text(struct script *s, const char *text, size_t n, bool first);
void script_mark(struct script *s, const struct script_mark *m);
void script_free(struct script *s);

/* Append the ids of the bytes from..at + len of text item i. */
int script_encode_item(const struct script *s, size_t i, size_t from,
    const struct tokenizer *t, struct ids *out, struct err *e);

/* Append the ids of all of it. */
int script_encode(const struct script *s, const struct tokenizer *t,
    struct ids *out, struct err *e);

#endif
