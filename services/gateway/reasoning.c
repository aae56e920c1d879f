/*
 * One byte after another, so that a cut changes nothing.  A tag begins with the
 * only '<' in it: after a mismatch only the byte at hand can begin another.
 */
#include "reasoning.h"

#include <string.h>

static const char open_tag[] = "<think>", close_tag[] = "</think>";

static const char *
tag_of(const struct reasoning *r)
{
	return r->state == REASONING_BEGINS ? open_tag : close_tag;
}

void
reasoning_init(struct reasoning *r, bool on)
{
	*r = (struct reasoning){
		.state = on ? REASONING_BEGINS : REASONING_OFF,
	};
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* What was held back was text after all. */
static void
let_go(struct reasoning *r, struct buf *out)
{
	buf_add(out, r->blanks, r->n_blanks);
	buf_add(out, tag_of(r), r->n_tag);
	r->n_blanks = r->n_tag = 0;
}

static void
hold_blank(struct reasoning *r, char c, struct buf *out)
{
	if (r->n_blanks == REASONING_BLANKS) {
		buf_add(out, r->blanks, 1);
		memmove(r->blanks, r->blanks + 1, --r->n_blanks);
	}
	r->blanks[r->n_blanks++] = c;
}

/* One byte of a text in which a tag may come; false: it is for the next state
 * to take. */
static bool
take(struct reasoning *r, char c, struct buf *out)
{
	bool begins = r->state == REASONING_BEGINS;

	if (c == tag_of(r)[r->n_tag]) {
		if (tag_of(r)[++r->n_tag] == '\0') {
			r->n_blanks = r->n_tag = 0;
			r->state = begins ? REASONING_THINKS :
			    REASONING_PAUSES;
		}
		return true;
	}
	if (r->n_tag > 0) {
		let_go(r, out);
		if (begins)
			r->state = REASONING_SAYS;
		else
			r->thought = true;
		return false;
	}
	if (is_blank(c)) {
		if (begins || r->thought)
			hold_blank(r, c, out);
		return true;
	}
	let_go(r, out);
	if (begins) {
		r->state = REASONING_SAYS;
		return false;
	}
	r->thought = true;
	buf_add(out, &c, 1);
	return true;
}

void
reasoning_push(struct reasoning *r, const char *text, size_t n,
    struct buf *thought, struct buf *said)
{
	size_t i = 0;

	while (i < n)
		switch (r->state) {
		case REASONING_BEGINS:
			i += take(r, text[i], said);
			break;
		case REASONING_THINKS:
			i += take(r, text[i], thought);
			break;
		case REASONING_PAUSES:
			if (is_blank(text[i]))
				i++;
			else
				r->state = REASONING_SAYS;
			break;
		case REASONING_SAYS:
		case REASONING_OFF:
			buf_add(said, text + i, n - i);
			i = n;
			break;
		}
}

void
reasoning_end(struct reasoning *r, struct buf *thought, struct buf *said)
{
	if (r->state == REASONING_BEGINS || r->state == REASONING_THINKS)
		let_go(r, r->state == REASONING_BEGINS ? said : thought);
}

bool
reasoning_thinks(const struct reasoning *r)
{
	return r->state == REASONING_THINKS;
}
