#ifndef DECODE_TEMPLATE_CANON_H
#define DECODE_TEMPLATE_CANON_H

#include <stddef.h>

#include "buf.h"
#include "err.h"

/*
 * The canonical form of a Jinja text [n bytes], appended to out: two texts with
 * one form render the same.  One line each for text ("…), an expression ({{ …)
 * and a statement ({% …):
 *
 *	- white space control, trim_blocks and lstrip_blocks are carried out, as
 *	  Hugging Face sets them, and comments left out;
 *	- tokens stand one blank apart, strings in double quotes, a.b as a["b"];
 *	- {{ 'x' + y }} is the text x and the expression y;
 *	- what is said of tools is left out: none are ever passed here.
 *
 * ERR_UNSUPPORTED for a text that is not understood that far.
 */
int template_canonical(const char *text, size_t n, struct buf *out,
    struct err *e);

enum { TEMPLATE_DIGEST = 32 };	/* hex digits: enough of a SHA-256 */

/* What template.c knows a canonical form by. */
void template_digest(const struct buf *canonical, char hex[TEMPLATE_DIGEST + 1]);

#endif
