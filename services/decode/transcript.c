#include <stdlib.h>
#include <string.h>

#include "job.h"
#include "transcript.h"
#include "transcript_match.h"

void
transcript_add(struct transcript *tr, const struct span *span)
{
	size_t want = tr->cap > 0 ? 2 * tr->cap : 8;
	struct span *more;

	if (tr->n_spans == tr->cap) {
		more = reallocarray(tr->spans, want, sizeof(*more));
		if (more == NULL) {
			tr->failed = true;
			return;
		}
		tr->spans = more;
		tr->cap = want;
	}
	tr->spans[tr->n_spans++] = *span;
}

static void
add_ids(struct transcript *tr, const int32_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		tr->failed = ids_add(&tr->ids, ids[i]) != 0 || tr->failed;
}

static void
add_token(struct transcript *tr, int32_t id)
{
	add_ids(tr, &id, 1);
	transcript_add(tr, &(struct span){ SPAN_TOKEN, 1, 0 });
}

void
transcript_free(struct transcript *tr)
{
	if (tr == NULL)
		return;
	ids_free(&tr->ids);
	buf_free(&tr->text);
	free(tr->spans);
	free(tr);
}

size_t
transcript_bytes(const struct transcript *tr)
{
	return sizeof(*tr) + tr->ids.cap * sizeof(*tr->ids.v) + tr->text.cap +
	    tr->cap * sizeof(*tr->spans);
}

/* Take over what m says is kept. */
static void
keep(struct transcript *tr, const struct transcript *kept,
    const struct transcript_match *m)
{
	size_t n_text = 0;

	add_ids(tr, kept->ids.v, m->n_ids);
	for (size_t i = 0; i < m->n_spans; i++) {
		struct span span = kept->spans[i];

		if (i == m->n_spans - 1 && m->is_part)
			span = m->part;
		n_text += span.n_text;
		transcript_add(tr, &span);
	}
	buf_add(&tr->text, kept->text.data, n_text);
}

/* The text item i of s from byte `from` on. */
static int
add_text(struct transcript *tr, const struct script *s, size_t i, size_t from,
    const struct tokenizer *t, struct err *e)
{
	const struct script_item *it = &s->items[i];
	size_t n_before = tr->ids.n, n = it->at + it->len - from;
	int r = script_encode_item(s, i, from, t, &tr->ids, e);

	if (r != 0)
		return r;
	buf_add(&tr->text, s->text.data + from, n);
	transcript_add(tr, &(struct span){
	    it->kind == SCRIPT_FIRST && from == it->at ? SPAN_FIRST : SPAN_TEXT,
	    (uint32_t)(tr->ids.n - n_before), (uint32_t)n });
	return 0;
}

static int
no_memory(struct err *e)
{
	return err_set(e, ERR_NO_MEMORY, "no memory for the prompt");
}

static bool
failed(const struct transcript *tr)
{
	return tr->failed || tr->text.failed;
}

int
transcript_make(const struct script *s, const struct transcript *kept,
    const struct tokenizer *t, struct transcript **out, size_t *n_kept,
    struct err *e)
{
	struct transcript *tr = calloc(1, sizeof(*tr));
	struct transcript_match m = { 0 };
	int r = 0;

	if (tr == NULL || s->failed) {
		free(tr);
		return no_memory(e);
	}
	if (kept != NULL) {
		transcript_match(s, kept, t, &m);
		keep(tr, kept, &m);
	}
	for (size_t i = m.item; i < s->n_items && r == 0; i++) {
		const struct script_item *it = &s->items[i];

		if (it->kind == SCRIPT_TOKEN)
			add_token(tr, it->id);
		else
			r = add_text(tr, s, i, i == m.item && m.at > it->at ?
			    m.at : it->at, t, e);
	}
	if (r == 0 && failed(tr))
		r = no_memory(e);
	if (r != 0) {
		transcript_free(tr);
		return r;
	}
	*n_kept = m.n_ids;
	*out = tr;
	return 0;
}

int
transcript_of_ids(const int32_t *ids, size_t n, struct transcript **out,
    struct err *e)
{
	struct transcript *tr = calloc(1, sizeof(*tr));

	if (tr != NULL) {
		add_ids(tr, ids, n);
		transcript_add(tr, &(struct span){ SPAN_IDS, (uint32_t)n, 0 });
	}
	if (tr == NULL || failed(tr)) {
		transcript_free(tr);
		return no_memory(e);
	}
	*out = tr;
	return 0;
}

int
transcript_is_plain(const struct transcript *tr, const struct script *s,
    const struct tokenizer *t, bool *plain, struct err *e)
{
	struct ids ids = { 0 };
	int r = script_encode(s, t, &ids, e);

	if (r == 0)
		*plain = ids.n == tr->ids.n && memcmp(ids.v, tr->ids.v,
		    ids.n * sizeof(*ids.v)) == 0;
	ids_free(&ids);
	return r;
}

bool
transcript_answer(struct transcript *tr, const int32_t *ids, size_t n,
    const struct tokenizer *t)
{
	struct textstream ts;
	size_t end;

	for (size_t i = 0; i < n; i = end) {
		size_t n_text = tr->text.len;

		end = i;
		textstream_init(&ts, NULL, 0);
		while (end < n && !tokenizer_is_special(t, ids[end]))
			job_push_text(&ts, t, ids[end++], &tr->text);
		textstream_flush(&ts, &tr->text);
		tr->failed = tr->failed || ts.held.failed;
		textstream_finish(&ts);
		if (end == i) {
			add_token(tr, ids[end++]);
			continue;
		}
		add_ids(tr, ids + i, end - i);
		transcript_add(tr, &(struct span){ SPAN_ANSWER,
		    (uint32_t)(end - i), (uint32_t)(tr->text.len - n_text) });
	}
	return !failed(tr);
}
