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

static struct piece *
piece_new(const struct decode_piece *d, int64_t time_us)
{
	size_t n_text = strlen(d->text);
	struct piece *p = malloc(sizeof(*p) + n_text + 1);

	if (p == NULL)
		return NULL;
	*p = (struct piece){
		.seq = d->seq, .time_us = time_us, .n_text = n_text,
		.n_tokens = (int64_t)json_array_size(d->tokens),
		.ids = copy_ids(d->tokens),
	};
	if (json_array_size(d->logprobs) > 0)
		p->logprobs = json_deep_copy(d->logprobs);
	if (json_array_size(d->prompt_logprobs) > 0)
		p->prompt_logprobs = json_deep_copy(d->prompt_logprobs);
	if (json_object_size(d->stats) > 0)
		p->stats = json_deep_copy(d->stats);
	if (d->vector[0] != '\0')
		p->vector = strdup(d->vector);
	strncpy(p->finish, d->finish, sizeof(p->finish) - 1);
	memcpy(p->text, d->text, n_text + 1);
	return p;
}

static int
append(struct pieces *p, struct piece *new, struct err *e)
{
	size_t n = new->ids == NULL ? 0 : (size_t)new->n_tokens;

	buf_add(&p->text, new->text, new->n_text);
	buf_add(&p->ids, new->ids, n * sizeof(*new->ids));
	if (p->text.failed || p->ids.failed || (int64_t)n != new->n_tokens) {
		piece_list_free(new);
		return err_set(e, ERR_NO_MEMORY, "no memory for the tokens");
	}
	free(new->ids);
	new->ids = NULL;
	/* A finish alone takes a number of its own, so that it can be missed. */
	p->next += new->n_tokens > 0 ? new->n_tokens : 1;
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
compare(struct pieces *p, const struct decode_piece *d)
{
	size_t i;
	json_t *id;

	json_array_foreach(d->tokens, i, id)
		if (json_integer_value(id) != id_at(p, (size_t)d->seq + i)) {
			p->n_diverged++;
			return;
		}
}

int
pieces_add(struct pieces *p, const struct decode_piece *d, int64_t time_us,
    enum pieces_added *added, struct err *e)
{
	int64_t n = (int64_t)json_array_size(d->tokens), end = d->seq + n;
	struct piece *new;
	int r;

	if (!are_ids(d->tokens) || (n == 0 && d->finish[0] == '\0'))
		return err_set(e, ERR_BAD_MESSAGE,
		    "a piece without tokens or finish");
	if (end < p->next || (end == p->next && n > 0) || p->finished) {
		if (end <= p->next)
			compare(p, d);
		*added = PIECES_OLD;
		return 0;
	}
	if (d->seq < p->next)
		return err_set(e, ERR_BAD_MESSAGE, "a piece of tokens %lld to "
		    "%lld, but %lld are here", (long long)d->seq,
		    (long long)end - 1, (long long)p->next);
	if ((new = piece_new(d, time_us)) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a piece");
	pieces_know(p, end);
	if (d->seq > p->next) {
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
