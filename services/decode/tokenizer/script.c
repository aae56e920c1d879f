#include <stdlib.h>

#include "tokenizer/script.h"

/* Room for one more of n elements of size bytes at *v. */
static bool
room(struct script *s, void **v, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap > 0 ? 2 * *cap : 16;
	void *more;

	if (n < *cap)
		return true;
	if ((more = reallocarray(*v, want, size)) == NULL) {
		s->failed = true;
		return false;
	}
	*v = more;
	*cap = want;
	return true;
}

static void
add_item(struct script *s, const struct script_item *item)
{
	void *v = s->items;

	if (room(s, &v, s->n_items, &s->items_cap, sizeof(*item))) {
		s->items = v;
		s->items[s->n_items++] = *item;
	}
}

void
script_token(struct script *s, int32_t id)
{
	add_item(s, &(struct script_item){ .kind = SCRIPT_TOKEN, .id = id,
	    .at = s->text.len });
}

void
script_text(struct script *s, const char *text, size_t n, bool first)
{
	if (n == 0)
		return;
	add_item(s, &(struct script_item){
	    .kind = first ? SCRIPT_FIRST : SCRIPT_TEXT, .at = s->text.len,
	    .len = n });
	buf_add(&s->text, text, n);
	s->failed = s->failed || s->text.failed;
}

void
script_mark(struct script *s, const struct script_mark *m)
{
	void *v = s->marks;

	if (room(s, &v, s->n_marks, &s->marks_cap, sizeof(*m))) {
		s->marks = v;
		s->marks[s->n_marks++] = *m;
	}
}

void
script_free(struct script *s)
{
	free(s->items);
	free(s->marks);
	buf_free(&s->text);
	*s = (struct script){ 0 };
}

int
script_encode_item(const struct script *s, size_t i, size_t from,
    const struct tokenizer *t, struct ids *out, struct err *e)
{
	const struct script_item *it = &s->items[i];
	bool first = it->kind == SCRIPT_FIRST && from == it->at;

	if (from == it->at + it->len)
		return 0;
	return (first ? tokenizer_encode : tokenizer_encode_more)(t,
	    s->text.data + from, it->at + it->len - from, false, out, e);
}

int
script_encode(const struct script *s, const struct tokenizer *t,
    struct ids *out, struct err *e)
{
	int r = 0;

	if (s->failed)
		return err_set(e, ERR_NO_MEMORY, "memory is short");
	for (size_t i = 0; i < s->n_items && r == 0; i++) {
		if (s->items[i].kind != SCRIPT_TOKEN)
			r = script_encode_item(s, i, s->items[i].at, t, out, e);
		else if (ids_add(out, s->items[i].id) != 0)
			r = err_set(e, ERR_NO_MEMORY, "memory is short");
	}
	return r;
}
