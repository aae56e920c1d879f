#ifndef DECODE_TRANSCRIPT_H
#define DECODE_TRANSCRIPT_H

#include "tokenizer/script.h"
#include "tokenizer/tokenizer.h"

/*
 * What was said in a conversation, as tokens and as the text they stand for: the
 * prompt of a request, and after it what was generated.  The next request says
 * most of it again, as text; transcript_make gives that text the ids it had.
 *
 * When do kept ids stand for text?  Span by span, from the beginning on:
 *
 *	- a control token stands for the same control token;
 *	- a stretch of text that was encoded stands for the same bytes of the same
 *	  stretch, whole: these ids are what encoding gives again;
 *	- generated ids stand for the bytes that they were shown as.  In a chat,
 *	  these must be all of an assistant's message: as it was sent back, or as
 *	  the template shows it (trimmed).  If the message is a beginning of them
 *	  (a stop string was cut off, the client stopped reading), whole tokens of
 *	  that beginning are kept, up to the end of a character.  In a plain
 *	  prompt, and where a template writes a message in a form of its own, the
 *	  prompt must go on with them.
 *
 * From the first difference on, back to the last place where a stretch or what
 * was generated began or ended, the text is encoded as ever.  So the ids of a
 * prompt always detokenize to its text; only that of blanks next to an
 * assistant's message, which a template trims, may differ by these blanks: they
 * are what the model said itself.  Where generated ids are not those that
 * encoding gives, the model goes on from what it said rather than from another
 * spelling of it, which is allowed: the text is the same.
 */
enum span_kind {
	SPAN_TOKEN,		/* one control token */
	SPAN_FIRST,		/* text, as SCRIPT_FIRST */
	SPAN_TEXT,		/* text that goes on */
	SPAN_ANSWER,		/* text that was generated */
	SPAN_IDS,		/* ids that were given as ids */
};

struct span {
	enum span_kind kind;
	uint32_t n_ids, n_text;
};

/* Not written to once it is shared. */
struct transcript {
	struct ids ids;
	struct buf text;	/* of all spans, one after the other */
	struct span *spans;	/* [n_spans] owned */
	size_t n_spans, cap;
	bool failed;		/* memory was short */
	int refs;		/* owners but one; under the lock of the engine */
};

/*
 * The prompt s says, with ids of kept (NULL: none) where they stand for it.
 * *out is new; *n_kept: how many of its ids are from kept.
 */
int transcript_make(const struct script *s, const struct transcript *kept,
    const struct tokenizer *t, struct transcript **out, size_t *n_kept,
    struct err *e);

/* The prompt is ids [n], and nobody knows what they say. */
int transcript_of_ids(const int32_t *ids, size_t n, struct transcript **out,
    struct err *e);

/* Is it what s alone would be encoded to?  ERR_NO_MEMORY. */
int transcript_is_plain(const struct transcript *tr, const struct script *s,
    const struct tokenizer *t, bool *plain, struct err *e);

/* Append what was generated.  False if memory was short: then it is useless. */
bool transcript_answer(struct transcript *tr, const int32_t *ids, size_t n,
    const struct tokenizer *t);

void transcript_free(struct transcript *tr);	/* NULL is fine */

/* Memory it takes. */
size_t transcript_bytes(const struct transcript *tr);

/* One more span: for transcript.c and the reader of snapshots. */
void transcript_add(struct transcript *tr, const struct span *span);

#endif
