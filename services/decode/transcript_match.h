#ifndef DECODE_TRANSCRIPT_MATCH_H
#define DECODE_TRANSCRIPT_MATCH_H

#include "transcript.h"

/* How much of a script the beginning of a transcript says. */
struct transcript_match {
	size_t n_ids, n_spans;	/* of the transcript */
	size_t item, at;	/* of the script, what comes next: in a text item
				 * at byte `at`, if that is in it */
	bool is_part;		/* of the last span this alone is kept: */
	struct span part;
};

/* The rules of transcript.h. */
void transcript_match(const struct script *s, const struct transcript *kept,
    const struct tokenizer *t, struct transcript_match *m);

#endif
