#ifndef COMMON_FRAME_H
#define COMMON_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "err.h"

/*
 * What travels in one message of the bus:
 *
 *	u32 type	from the list of the interface, or one of those below
 *	u32 n		length of the JSON that follows, in bytes
 *	n bytes		one JSON object
 *	the rest	bulk bytes, if the message says so (PCM for STT and TTS)
 *
 * Integers are big-endian.  It lives in common/ and not in proto/ because the
 * bus itself sends two of them: the ping by which a listener checks itself,
 * and the error.
 */
enum {
	FRAME_ERROR = 0,	/* struct err as JSON */
	FRAME_PING = 0xffff,	/* answered by the bus: same type, {} */
};

struct frame {
	uint32_t type;
	json_t *obj;		/* owned; NULL: see frame_load */
	const char *json;	/* text [n_json] of an obj that is not made yet,
				 * borrowed as bulk is; or NULL */
	size_t n_json;
	const void *bulk;	/* borrowed from the bytes it was parsed from */
	size_t n_bulk;		/* bytes */
	void *bytes;		/* owned, from malloc: what bulk points into; or NULL */
};

struct buf;

/* Parse bytes [n]; f->obj is a new reference, f->bulk points into bytes. */
int frame_parse(const void *bytes, size_t n, struct frame *f, struct err *e);

/*
 * The two halves of that.  frame_open: all but obj, which is NULL, for a reader that
 * makes do with the text.  frame_load: obj out of json, which must be there; f is
 * unchanged on failure.
 */
int frame_open(const void *bytes, size_t n, struct frame *f, struct err *e);
int frame_load(struct frame *f, struct err *e);

/* Append f to b.  ERR_NO_MEMORY, or ERR_BAD_MESSAGE if obj is no object. */
int frame_write(const struct frame *f, struct buf *b, struct err *e);

/*
 * Make f, whatever it was before, the message that reports e; and read such a
 * message back: the code it reports, or ERR_BAD_MESSAGE if f is none.
 */
void frame_set_error(struct frame *f, const struct err *e);
int frame_get_error(const struct frame *f, struct err *e);

/* Release obj and bytes; back to { 0 }. */
void frame_free(struct frame *f);

#endif
