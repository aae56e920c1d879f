#ifndef PROTO_STEP_TEXT_H
#define PROTO_STEP_TEXT_H

#include "buf.h"
#include "decode.h"

/*
 * The event of a step, read from its text piece by piece: objects of all pieces, made
 * first, would cost a gateway more than all else that it does with a token.
 *
 * What is read here is the plain form: the head as a worker writes it, and pieces
 * that say no more than id, seq, a few tokens and text.  Everything else is left to
 * whoever makes objects (frame_load) and knows the limits of decode.h: nothing is
 * understood here that would be refused there, or otherwise.
 */
enum { STEP_TEXT_TOKENS = 16 };

struct step_text {
	char boot[DECODE_BOOT_LEN + 1];
	int64_t step, time_us;
	const char *at, *end;	/* what is left; the event's */
	bool begun;		/* a piece was read */
	struct buf text;	/* that of the last piece; owned */
};

struct step_piece {
	const char *json;	/* all of it [n_json], the event's */
	size_t n_json;
	bool plain;		/* what follows is set */
	char id[DECODE_ID_LEN + 1];
	int64_t seq;
	int32_t tokens[STEP_TEXT_TOKENS];
	int n_tokens;		/* > 0 */
	const char *text;	/* [n_text] UTF-8, no NUL in it; until the next is read */
	size_t n_text;
};

/* Begin with an event [n] of JSON, which must stay.  t is { 0 } or has been used
 * before.  False: not in the plain form. */
bool step_text_begin(struct step_text *t, const char *json, size_t n);

enum step_text_next {
	STEP_TEXT_PIECE,	/* *p is the next */
	STEP_TEXT_END,		/* there is no other */
	STEP_TEXT_BAD,		/* what follows is no piece, or memory is short */
};
enum step_text_next step_text_next(struct step_text *t, struct step_piece *p);

void step_text_finish(struct step_text *t);

#endif
