/*
 * Requests: submitted, waited for, closed.  What takes time (asking again,
 * sending again) is done here, by the thread that waits.
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "upstream_state.h"

static unsigned
bucket(const char *id)
{
	unsigned h = 5381;

	for (; *id != '\0'; id++)
		h = h * 33 + (unsigned char)*id;
	return h % UPSTREAM_BUCKETS;
}

struct upstream_request *
upstream_find(struct upstream *u, const char *id)
{
	struct upstream_request *q = u->table[bucket(id)];

	while (q != NULL && strcmp(q->id, id) != 0)
		q = q->next;
	return q;
}

void
upstream_wake(struct upstream_request *q)
{
	struct upstream_waiter *w = q->waiter;

	pthread_mutex_lock(&w->lock);
	w->woken = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

void
upstream_wake_all(struct upstream *u)
{
	for (int i = 0; i < UPSTREAM_BUCKETS; i++)
		for (struct upstream_request *q = u->table[i]; q != NULL;
		    q = q->next)
			upstream_wake(q);
}

static int
request_new(struct upstream *u, json_t *generate, struct upstream_request **q,
    struct err *e)
{
	struct upstream_request *new = calloc(1, sizeof(*new));
	pthread_condattr_t attr;

	if (new == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a request");
	pieces_init(&new->pieces);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&new->own.cond, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&new->own.lock, NULL);
	new->waiter = &new->own;
	random_hex(new->id, DECODE_ID_LEN / 2);
	new->u = u;
	new->generate = json_incref(generate);
	new->heard_ms = clock_ms();
	new->deadline_ms = new->heard_ms + u->config->request_ms;
	*q = new;
	return 0;
}

static void
request_free(struct upstream_request *q)
{
	pthread_cond_destroy(&q->own.cond);
	pthread_mutex_destroy(&q->own.lock);
	pieces_free(&q->pieces);
	json_decref(q->generate);
	json_decref(q->prompt_ids);
	free(q);
}

void
upstream_table_add(struct upstream_request *q)
{
	unsigned i = bucket(q->id);

	q->order = q->u->n_requests++;
	q->next = q->u->table[i];
	q->u->table[i] = q;
	q->u->n_open++;
}

void
upstream_table_remove(struct upstream_request *q)
{
	struct upstream_request **at = &q->u->table[bucket(q->id)];

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	q->u->n_open--;
}

static void
cancel(struct upstream_request *q)
{
	json_t *reply = NULL;
	struct err e;

	/* If this is lost, the lease ends it. */
	if (upstream_call(q->u, DECODE_TYPE_cancel,
	    json_pack("{s:s}", "id", q->id), DECODE_TYPE_cancelled, &reply,
	    UPSTREAM_CALL_MS, &e) == 0)
		json_decref(reply);
	q->u->counters.cancelled++;
}

/* Streams that were interrupted come before new ones, also one whose thread has not
 * looked yet, or that the worker had no room for: it would be taken by those. */
static bool
any_resumes(const struct upstream *u)
{
	for (int i = 0; i < UPSTREAM_BUCKETS; i++)
		for (const struct upstream_request *q = u->table[i]; q != NULL;
		    q = q->next)
			if (q->waiting && !q->pieces.finished && (q->away ||
			    (q->boot[0] != '\0' &&
			    strcmp(q->boot, u->boot) != 0)) &&
			    upstream_has_weights(u, q))
				return true;
	return false;
}

static int
admit(struct upstream *u, struct upstream_request *q, struct err *e)
{
	struct poison *p = u->config->poison;
	int r = upstream_ready(u, e);

	if (r != 0)
		return r;
	if (p != NULL && poison_has(p, q->generate, clock_ms()))
		return err_set(e, ERR_CRASHED, "this request ended the worker "
		    "each time it ran a short while ago, and is not run again");
	pthread_mutex_lock(&u->lock);
	if (any_resumes(u)) {
		r = err_set(e, ERR_LOADING,
		    "the worker has just been started and takes up "
		    "interrupted requests");
		e->retry_after_ms = 1000;
	} else {
		memcpy(q->fingerprint, u->model.fingerprint,
		    sizeof(q->fingerprint));
		upstream_table_add(q);
	}
	pthread_mutex_unlock(&u->lock);
	return r;
}

json_t *
upstream_again(const struct upstream_request *q)
{
	json_t *generate = json_copy(q->generate);

	if (q->prompt_ids == NULL)
		return generate;
	/* Those of a session, which may be gone by then. */
	json_object_del(generate, "messages");
	json_object_del(generate, "prompt");
	json_object_set(generate, "prompt_ids", q->prompt_ids);
	return generate;
}

void
upstream_keep_ids(struct upstream_request *q, const struct decode_accepted *a)
{
	if (json_array_size(a->prompt_ids) == 0)
		return;
	json_decref(q->prompt_ids);
	q->prompt_ids = json_incref(a->prompt_ids);
}

/* What the worker said of a request that it takes. */
static void
accepted(struct upstream_request *q, const struct decode_accepted *a)
{
	q->accepted = true;
	upstream_keep_ids(q, a);
	q->n_prompt = a->n_prompt;
	q->n_cached = a->n_cached;
	strncpy(q->session_state, a->session_state,
	    sizeof(q->session_state) - 1);
	strncpy(q->boot, a->boot, sizeof(q->boot) - 1);
	q->heard_ms = clock_ms();
	upstream_adopt_boot(q->u, a->boot);
}

static int
send_first(struct upstream_request *q, struct err *e)
{
	struct decode_accepted a;
	json_t *obj = NULL, *forced;
	int r = ERR_UNAVAILABLE;

	pthread_mutex_lock(&q->u->lock);
	forced = q->pieces.next == 0 ? NULL : pieces_tokens(&q->pieces);
	pthread_mutex_unlock(&q->u->lock);
	/* Twice, with the same id: it runs once.  And with the same tokens: by the
	 * second time there may be pieces of the first. */
	for (int i = 0; i < 2 && r == ERR_UNAVAILABLE; i++)
		r = upstream_send(q, 0, json_incref(forced), &a, &obj, e);
	json_decref(forced);
	if (r == ERR_TIMEOUT)
		cancel(q);
	pthread_mutex_lock(&q->u->lock);
	if (r == 0) {
		accepted(q, &a);
		json_decref(obj);
	} else {
		upstream_table_remove(q);
	}
	pthread_mutex_unlock(&q->u->lock);
	return r;
}

int
upstream_go_on(struct upstream *u, json_t *generate,
    const struct upstream_begun *begun, struct upstream_request **out,
    struct err *e)
{
	struct upstream_request *q = NULL;
	int r;

	if ((r = request_new(u, generate, &q, e)) != 0)
		return r;
	if (begun != NULL) {
		r = pieces_preset(&q->pieces, begun->tokens, begun->text,
		    begun->n_text, e);
		q->taken = q->pieces.next;
	}
	if (r != 0 || (r = admit(u, q, e)) != 0 ||
	    (r = send_first(q, e)) != 0)
		request_free(q);
	else
		*out = q;
	return r;
}

int
upstream_submit(struct upstream *u, json_t *generate,
    struct upstream_request **out, struct err *e)
{
	return upstream_go_on(u, generate, NULL, out, e);
}

int
upstream_park(struct upstream_request *q, bool ended,
    struct upstream_parts *parts, struct err *e)
{
	json_t *generate = ended ? NULL : upstream_again(q), *tokens = NULL;
	struct buf text = { 0 };

	/* Both of one moment: the text is that of the tokens. */
	pthread_mutex_lock(&q->u->lock);
	if (!ended)
		tokens = pieces_tokens(&q->pieces);
	buf_add(&text, q->pieces.text.data, q->pieces.text.len);
	pthread_mutex_unlock(&q->u->lock);
	*parts = (struct upstream_parts){ .text = text.data,
		.n_text = text.len };
	if (!ended) {
		parts->tokens = json_dumps(tokens, JSON_COMPACT);
		parts->generate = json_dumps(generate, JSON_COMPACT);
	}
	json_decref(tokens);
	json_decref(generate);
	if (!text.failed && (ended || (parts->tokens != NULL &&
	    parts->generate != NULL)))
		return 0;
	free(parts->tokens);
	free(parts->generate);
	buf_free(&text);
	return err_set(e, ERR_NO_MEMORY, "no memory to keep a stream");
}

const char *
upstream_id(const struct upstream_request *q)
{
	return q->id;
}

int64_t
upstream_n_prompt(const struct upstream_request *q)
{
	return q->n_prompt;
}

int64_t
upstream_n_cached(const struct upstream_request *q)
{
	return q->n_cached;
}

const char *
upstream_session_state(const struct upstream_request *q)
{
	return q->session_state;
}

void
upstream_set_sink(struct upstream_request *q, upstream_sink *fn, void *arg)
{
	pthread_mutex_lock(&q->u->lock);
	q->sink = fn;
	q->sink_arg = arg;
	pthread_mutex_unlock(&q->u->lock);
}

void
upstream_taken(struct upstream_request *q, int64_t next_seq)
{
	pthread_mutex_lock(&q->u->lock);
	q->taken = next_seq;
	if (q->taken - q->acked >= UPSTREAM_ACK_TOKENS)
		pthread_cond_signal(&q->u->keep);
	pthread_mutex_unlock(&q->u->lock);
}

void
upstream_close(struct upstream_request *q)
{
	bool finished;

	if (q == NULL)
		return;
	pthread_mutex_lock(&q->u->lock);
	finished = q->pieces.finished;
	if (finished)
		json_object_set_new(q->u->farewell, q->id,
		    json_integer(q->pieces.next));
	upstream_table_remove(q);
	pthread_mutex_unlock(&q->u->lock);
	if (!finished)
		cancel(q);
	request_free(q);
}
