#include "pieces.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void
pieces_init(struct pieces *p)
{
	*p = (struct pieces){ 0 };
	p->last = &p->first;
}

void
piece_list_free(struct piece *p)
{
	while (p != NULL) {
		struct piece *next = p->next;

		free(p->ids);
		json_decref(p->logprobs);
		json_decref(p->prompt_logprobs);
		json_decref(p->stats);
		free(p->vector);
		free(p);
		p = next;
	}
}

void
pieces_free(struct pieces *p)
{
	piece_list_free(p->first);
	piece_list_free(p->aside);
	buf_free(&p->ids);
	buf_free(&p->text);
	*p = (struct pieces){ 0 };
}

static bool
are_ids(const json_t *tokens)
{
	size_t i;
	json_t *id;

	if (!json_is_array(tokens))
		return false;
	json_array_foreach(tokens, i, id)
		if (!json_is_integer(id) || json_integer_value(id) < 0 ||
		    json_integer_value(id) > INT32_MAX)
			return false;
	return true;
}

/* NULL if there are none, or if memory is short. */
static int32_t *
copy_ids(const json_t *tokens)
{
	size_t i, n = json_array_size(tokens);
	int32_t *ids = n == 0 ? NULL : malloc(n * sizeof(*ids));
	json_t *id;

	if (ids != NULL)
		json_array_foreach(tokens, i, id)
			ids[i] = (int32_t)json_integer_value(id);
	return ids;
}

int
pieces_preset(struct pieces *p, const json_t *tokens, const char *text,
    size_t n_text, struct err *e)
{
	size_t n = json_array_size(tokens);
	int32_t *ids = copy_ids(tokens);

	buf_add(&p->text, text, n_text);
	buf_add(&p->ids, ids, ids == NULL ? 0 : n * sizeof(*ids));
	free(ids);
	if (p->text.failed || p->ids.failed || (ids == NULL && n > 0))
		return err_set(e, ERR_NO_MEMORY, "no memory for a request");
	p->next = p->known = (int64_t)n;
	return 0;
}

static int32_t
id_at(const struct pieces *p, size_t i)
{
	int32_t id = -1;

	if ((i + 1) * sizeof(id) <= p->ids.len)
		memcpy(&id, p->ids.data + i * sizeof(id), sizeof(id));
	return id;
}

json_t *
pieces_tokens(const struct pieces *p)
{
	json_t *list = json_array();
	size_t n = p->ids.len / sizeof(int32_t);

	for (size_t i = 0; list != NULL && i < n; i++)
		if (json_array_append_new(list, json_integer(id_at(p, i))) != 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

/* With room for n_text bytes of text, which are copied, and ids, which are taken. */
static struct piece *
piece_new(int64_t seq, int32_t *ids, int64_t n_tokens, const char *text, size_t n_text)
{
	struct piece *p = malloc(sizeof(*p) + n_text + 1);
	char *own = (char *)(p + 1);

	if (p == NULL || (ids == NULL && n_tokens > 0)) {
		free(p);
		free(ids);
		return NULL;
	}
	*p = (struct piece){
		.seq = seq, .n_tokens = n_tokens, .ids = ids, .n_text = n_text, .text = own,
	};
	memcpy(own, text, n_text);
	own[n_text] = '\0';
	return p;
}

/* The same of all that d says. */
static struct piece *
piece_of(const struct decode_piece *d)
{
	struct piece *p = piece_new(d->seq, copy_ids(d->tokens),
	    (int64_t)json_array_size(d->tokens), d->text, strlen(d->text));

	if (p == NULL)
		return NULL;
	if (json_array_size(d->logprobs) > 0)
		p->logprobs = json_deep_copy(d->logprobs);
	if (json_array_size(d->prompt_logprobs) > 0)
		p->prompt_logprobs = json_deep_copy(d->prompt_logprobs);
	if (json_object_size(d->stats) > 0)
		p->stats = json_deep_copy(d->stats);
	if (d->vector[0] != '\0')
		p->vector = strdup(d->vector);
	strncpy(p->finish, d->finish, sizeof(p->finish) - 1);
	return p;
}

static int
append_plain(struct pieces *p, const int32_t *ids, int64_t n, const char *text, size_t n_text,
    struct err *e)
{
	buf_add(&p->text, text, n_text);
	buf_add(&p->ids, ids, (size_t)n * sizeof(*ids));
	if (p->text.failed || p->ids.failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for the tokens");
	/* A finish alone takes a number of its own, so that it can be missed. */
	p->next += n > 0 ? n : 1;
	return 0;
}

static int
append(struct pieces *p, struct piece *new, struct err *e)
{
	int r = append_plain(p, new->ids, new->n_tokens, new->text, new->n_text, e);

	if (r != 0) {
		piece_list_free(new);
		return r;
	}
	free(new->ids);
	new->ids = NULL;
	p->finished = new->finish[0] != '\0';
	*p->last = new;
	p->last = &new->next;
	return 0;
}

/* A piece of the same seq is there already or none: by seq, each once. */
static void
put_aside(struct pieces *p, struct piece *new)
{
	struct piece **at = &p->aside;

	while (*at != NULL && (*at)->seq < new->seq)
		at = &(*at)->next;
	if ((*at != NULL && (*at)->seq == new->seq) ||
	    p->n_aside == PIECES_ASIDE_MAX) {
		piece_list_free(new);
		return;
	}
	new->next = *at;
	*at = new;
	p->n_aside++;
}

/* What was aside and now follows what is here. */
static int
take_in(struct pieces *p, struct err *e)
{
	int r = 0;

	while (r == 0 && p->aside != NULL && p->aside->seq <= p->next) {
		struct piece *piece = p->aside;

		p->aside = piece->next;
		p->n_aside--;
		piece->next = NULL;
		if (piece->seq == p->next && !p->finished)
			r = append(p, piece, e);
		else
			piece_list_free(piece);
	}
	return r;
}

/* Tokens that came again must be those that came first. */
static void
compare(struct pieces *p, const struct piece *again)
{
	for (int64_t i = 0; i < again->n_tokens; i++)
		if (again->ids[i] != id_at(p, (size_t)(again->seq + i))) {
			p->n_diverged++;
			return;
		}
}

/* new is p's from now on. */
static int
put(struct pieces *p, struct piece *new, enum pieces_added *added, struct err *e)
{
	int64_t n = new->n_tokens, seq = new->seq, end = seq + n;
	int r;

	if (end < p->next || (end == p->next && n > 0) || p->finished) {
		if (end <= p->next)
			compare(p, new);
		piece_list_free(new);
		*added = PIECES_OLD;
		return 0;
	}
	if (seq < p->next) {
		piece_list_free(new);
		return err_set(e, ERR_BAD_MESSAGE, "a piece of tokens %lld to "
		    "%lld, but %lld are here", (long long)seq,
		    (long long)end - 1, (long long)p->next);
	}
	pieces_know(p, end);
	if (seq > p->next) {
		if (p->aside == NULL)
			p->n_gaps++;
		put_aside(p, new);
		*added = PIECES_GAP;
		return 0;
	}
	if ((r = append(p, new, e)) != 0 || (r = take_in(p, e)) != 0)
		return r;
	*added = PIECES_NEW;
	return 0;
}

int
pieces_add(struct pieces *p, const struct decode_piece *d, int64_t time_us,
    enum pieces_added *added, struct err *e)
{
	struct piece *new;

	if (!are_ids(d->tokens) ||
	    (json_array_size(d->tokens) == 0 && d->finish[0] == '\0'))
		return err_set(e, ERR_BAD_MESSAGE,
		    "a piece without tokens or finish");
	if ((new = piece_of(d)) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a piece");
	new->time_us = time_us;
	return put(p, new, added, e);
}

int
pieces_add_plain(struct pieces *p, const struct piece *plain, enum pieces_added *added,
    struct err *e)
{
	size_t n = (size_t)plain->n_tokens * sizeof(*plain->ids);
	int32_t *ids = malloc(n);
	struct piece *new;

	if (ids != NULL)
		memcpy(ids, plain->ids, n);
	new = piece_new(plain->seq, ids, plain->n_tokens, plain->text, plain->n_text);
	if (new == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a piece");
	new->time_us = plain->time_us;
	return put(p, new, added, e);
}

bool
pieces_at(const struct pieces *p, int64_t seq)
{
	return !p->finished && p->first == NULL && p->aside == NULL && seq == p->next;
}

int
pieces_pass(struct pieces *p, const struct piece *plain, struct err *e)
{
	pieces_know(p, plain->seq + plain->n_tokens);
	return append_plain(p, plain->ids, plain->n_tokens, plain->text, plain->n_text, e);
}

void
pieces_know(struct pieces *p, int64_t next_seq)
{
	if (next_seq > p->known)
		p->known = next_seq;
}

bool
pieces_gap(const struct pieces *p)
{
	return !p->finished && (p->known > p->next || p->aside != NULL);
}

void
pieces_restart(struct pieces *p)
{
	piece_list_free(p->aside);
	p->aside = NULL;
	p->n_aside = 0;
	p->known = p->next;
}

struct piece *
pieces_take(struct pieces *p)
{
	struct piece *list = p->first;

	p->first = NULL;
	p->last = &p->first;
	return list;
}
