/*
 * Script and transcript are walked side by side.  `now` is how far they say the
 * same, `safe` the last place from which the rest of the script can be encoded
 * as if nothing had been kept: where a stretch of text or an answer ends.
 */
#include <string.h>

#include "transcript_match.h"

struct walk {
	const struct script *s;
	const struct transcript *kept;
	const struct tokenizer *t;
	struct transcript_match now, safe;
	size_t n_text;		/* of kept, up to now */
};

static const struct script_item *
item_now(const struct walk *w)
{
	return w->now.item < w->s->n_items ? &w->s->items[w->now.item] : NULL;
}

/* n more bytes of the text item at hand are said; true at its end. */
static bool
advance(struct walk *w, size_t n)
{
	const struct script_item *it = item_now(w);

	w->now.at += n;
	if (w->now.at < it->at + it->len)
		return false;
	w->now.item++;
	return true;
}

static bool
match_token(struct walk *w)
{
	const struct script_item *it = item_now(w);

	if (it == NULL || it->kind != SCRIPT_TOKEN ||
	    it->id != w->kept->ids.v[w->now.n_ids])
		return false;
	w->now.item++;
	return true;
}

static bool
begins_with(const char *text, size_t n, const char *with, size_t n_with)
{
	return n_with <= n && memcmp(text, with, n_with) == 0;
}

static bool
same(const char *a, size_t n_a, const char *b, size_t n_b)
{
	return n_a == n_b && begins_with(a, n_a, b, n_b);
}

/* Text that was encoded; *ended: and its stretch is over. */
static bool
match_text(struct walk *w, const struct span *span, bool *ended)
{
	const struct script_item *it = item_now(w);
	bool first;

	*ended = false;
	if (it == NULL || it->kind == SCRIPT_TOKEN)
		return false;
	first = it->kind == SCRIPT_FIRST && w->now.at == it->at;
	if (first != (span->kind == SPAN_FIRST) ||
	    !begins_with(w->s->text.data + w->now.at,
	    it->at + it->len - w->now.at, w->kept->text.data + w->n_text,
	    span->n_text))
		return false;
	*ended = advance(w, span->n_text);
	return true;
}

/* What an assistant said that stands next, at most blanks before it. */
static const struct script_mark *
next_mark(const struct walk *w, const struct script_item *it)
{
	const char *text = w->s->text.data;

	for (size_t i = 0; i < w->s->n_marks; i++) {
		const struct script_mark *m = &w->s->marks[i];

		if (m->at < w->now.at)
			continue;
		if (m->at > it->at + it->len)
			return NULL;
		for (size_t k = w->now.at; k < m->at; k++)
			if (strchr(" \t\n", text[k]) == NULL)
				return NULL;
		return m;
	}
	return NULL;
}

/*
 * Text [n] is a beginning of what span's ids say: how many of them say no more
 * than that, and end where a character ends.  *n_said: their bytes.
 */
static uint32_t
ids_within(const struct walk *w, const struct span *span, const char *text,
    size_t n, size_t *n_said)
{
	const int32_t *ids = w->kept->ids.v + w->now.n_ids;
	uint32_t n_ids = 0;
	size_t at = 0, len;

	*n_said = 0;
	for (uint32_t i = 0; i < span->n_ids; i++) {
		const char *bytes = tokenizer_bytes(w->t, ids[i], &len);

		if (bytes == NULL || !begins_with(text + at, n - at, bytes, len))
			break;
		at += len;
		if (at == n || ((unsigned char)text[at] & 0xC0) != 0x80) {
			n_ids = i + 1;
			*n_said = at;
		}
	}
	return n_ids;
}

/*
 * Text [n], which is all that is left of an answer, is a beginning of span.
 * The first n_before bytes of it stand before the script's byte `at`.
 */
static void
keep_part(struct walk *w, const struct span *span, const char *text, size_t n,
    size_t n_before, size_t at)
{
	size_t n_said;
	uint32_t n_ids;

	if (n >= span->n_text ||
	    !begins_with(w->kept->text.data + w->n_text, span->n_text, text, n))
		return;
	n_ids = ids_within(w, span, text, n, &n_said);
	if (n_ids == 0 || n_said < n_before)
		return;
	w->safe = w->now;
	w->safe.n_ids += n_ids;
	w->safe.n_spans++;
	w->safe.is_part = true;
	w->safe.part = (struct span){ SPAN_ANSWER, n_ids, (uint32_t)n_said };
	w->safe.at = at + (n_said - n_before);
	if (w->safe.at == w->s->items[w->now.item].at +
	    w->s->items[w->now.item].len)
		w->safe.item++;
}

/* An answer that should be the message m. */
static bool
match_message(struct walk *w, const struct span *span,
    const struct script_mark *m)
{
	const char *said = w->kept->text.data + w->n_text;
	const char *shown = w->s->text.data + w->now.at, *trimmed;
	size_t n = span->n_text, n_shown = m->at + m->len - w->now.at;
	size_t n_gap = m->at - w->now.at;

	if (same(said, n, m->raw, m->n_raw) || same(said, n, shown, n_shown) ||
	    same(said, n, shown + n_gap, m->len)) {
		advance(w, n_shown);
		return true;
	}
	if (m->len == 0)
		return false;
	keep_part(w, span, shown, n_shown, n_gap, m->at);
	/* The template took blanks away that the model said before it. */
	trimmed = memmem(m->raw, m->n_raw, w->s->text.data + m->at, m->len);
	if (trimmed != NULL) {
		size_t lead = (size_t)(trimmed - m->raw);

		keep_part(w, span, m->raw, lead + m->len, lead, m->at);
	}
	return false;
}

static bool
match_answer(struct walk *w, const struct span *span)
{
	const struct script_item *it = item_now(w);
	const char *said = w->kept->text.data + w->n_text;
	const struct script_mark *m;
	size_t left;

	if (it == NULL || it->kind == SCRIPT_TOKEN)
		return false;
	if (w->s->chat && (m = next_mark(w, it)) != NULL)
		return match_message(w, span, m);
	left = it->at + it->len - w->now.at;
	if (begins_with(w->s->text.data + w->now.at, left, said,
	    span->n_text) && (!w->s->chat || left == span->n_text)) {
		advance(w, span->n_text);
		return true;
	}
	if (!w->s->chat && w->now.item + 1 == w->s->n_items)
		keep_part(w, span, w->s->text.data + w->now.at, left, 0,
		    w->now.at);
	return false;
}

void
transcript_match(const struct script *s, const struct transcript *kept,
    const struct tokenizer *t, struct transcript_match *m)
{
	struct walk w = { .s = s, .kept = kept, .t = t };
	bool matched = true;

	for (size_t i = 0; i < kept->n_spans && matched; i++) {
		const struct span *span = &kept->spans[i];
		bool ended = true;

		switch (span->kind) {
		case SPAN_TOKEN:
			matched = match_token(&w);
			break;
		case SPAN_FIRST:
		case SPAN_TEXT:
			matched = match_text(&w, span, &ended);
			break;
		case SPAN_ANSWER:
			matched = match_answer(&w, span);
			break;
		case SPAN_IDS:
			matched = false;
			break;
		}
		if (!matched)
			break;
		w.now.n_ids += span->n_ids;
		w.now.n_spans++;
		w.n_text += span->n_text;
		if (ended)
			w.safe = w.now;
	}
	*m = w.safe;
}
