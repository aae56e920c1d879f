#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "unit.h"
#include "worker.h"

enum { SILENCE_MS = 500, ACK_MS = 100, ANSWER_MS = 2 * PROCESS_PATIENCE_MS };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

bool
worker_has_model(void)
{
	return access(WORKER_MODEL, R_OK) == 0;
}

static struct stream *
find(struct worker *w, const char *id)
{
	for (int i = 0; i < w->n_streams; i++)
		if (strcmp(w->streams[i]->id, id) == 0)
			return w->streams[i];
	return NULL;
}

/* On the subscriber's thread, where Check's assertions cannot be. */
static void
require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "worker: %s\n", what);
	abort();
}

/* One piece, from an event or a replay; with the lock held. */
static void
take(struct worker *w, json_t *v)
{
	struct decode_piece p;
	struct stream *s;
	struct err e;
	json_t *token;
	size_t i;

	require(field_decode(decode_piece_fields(), sizeof(p), v, &p, &e) == 0,
	    e.text);
	if ((s = find(w, p.id)) == NULL || p.seq < s->next)
		return;		/* of somebody else, or held already */
	if (p.seq > s->next) {
		s->gap = true;
		return;
	}
	s->next++;
	buf_adds(&s->text, p.text);
	json_array_foreach(p.tokens, i, token) {
		require(s->n_tokens < WORKER_TOKENS, "too many tokens");
		s->tokens[s->n_tokens++] = (int32_t)json_integer_value(token);
	}
	/* Copies: the bus frees its own on the subscriber's thread. */
	json_array_foreach(p.logprobs, i, token)
		json_array_append_new(s->logprobs, json_deep_copy(token));
	snprintf(s->finish, sizeof(s->finish), "%s", p.finish);
	if (p.finish[0] != '\0')
		s->stats = json_deep_copy(p.stats);
}

static void
on_event(void *arg, const struct frame *f)
{
	struct worker *w = arg;
	json_t *v;
	size_t i;

	pthread_mutex_lock(&lock);
	if (f != NULL && !w->deaf) {
		w->n_statuses += f->type == DECODE_TYPE_status;
		if (f->type == DECODE_TYPE_step)
			json_array_foreach(json_object_get(f->obj, "events"),
			    i, v)
				take(w, v);
		pthread_cond_broadcast(&changed);
	}
	pthread_mutex_unlock(&lock);
}

void
worker_launch(struct worker *w, const char *const extra[])
{
	char port[8];
	const char *args[PROCESS_ARGS_MAX] = { BUILD "/bin/bitnet_decode",
		"--model", WORKER_MODEL, "--runtime-dir", w->dir,
		"--port", port };
	int n = 7;

	if (w->dir[0] == '\0')
		process_make_dir(w->dir);
	if (w->port == 0)
		w->port = process_free_port();
	snprintf(port, sizeof(port), "%d", w->port);
	for (; extra != NULL && *extra != NULL; extra++)
		args[n++] = *extra;
	args[n] = NULL;
	process_start(&w->process, w->dir, "decode", args);
}

void
worker_start(struct worker *w, const char *const extra[])
{
	struct bus_subscriber *sub;
	json_t *health;
	struct err e;
	int r = -1;

	worker_launch(w, extra);
	process_ready(&w->process);
	if (w->client == NULL) {
		ck_assert_int_eq(bus_client_open(&w->client, w->dir, "decode",
		    &e), 0);
		ck_assert_int_eq(bus_subscribe(&sub, w->dir, "decode-events",
		    SILENCE_MS, on_event, w, &e), 0);
	}
	/* After a restart the client dials again, in its own time. */
	for (int i = 0; i < PROCESS_TRIES && r != 0; i++) {
		r = process_call(w->client, UNIT_TYPE_health, json_object(),
		    &health, &e);
		if (r != 0)
			usleep(50000);
	}
	ck_assert_msg(r == 0, "no answer from the worker: %s", e.text);
	snprintf(w->boot, sizeof(w->boot), "%s",
	    json_string_value(json_object_get(health, "boot")));
	json_decref(health);
}

int
worker_generate(struct worker *w, int n, json_t *body, int64_t first,
    struct err *e)
{
	struct stream *s = calloc(1, sizeof(*s));
	json_t *reply;
	int r;

	ck_assert_ptr_nonnull(s);
	snprintf(s->id, sizeof(s->id), "%032x", w->base + (unsigned)n);
	json_object_set_new(body, "id", json_string(s->id));
	s->next = first;
	s->logprobs = json_array();
	pthread_mutex_lock(&lock);
	ck_assert_int_lt(w->n_streams, WORKER_STREAMS);
	ck_assert_ptr_null(find(w, s->id));
	w->streams[w->n_streams++] = s;
	pthread_mutex_unlock(&lock);
	r = process_call(w->client, DECODE_TYPE_generate, body, &reply, e);
	if (r == 0)
		s->accepted = reply;
	return r;
}

static void
ack(struct worker *w)
{
	json_t *acks = json_object();
	struct err e;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < w->n_streams; i++)
		if (w->streams[i]->finish[0] == '\0')
			json_object_set_new(acks, w->streams[i]->id,
			    json_integer(w->streams[i]->next));
	pthread_mutex_unlock(&lock);
	process_call(w->client, DECODE_TYPE_ack, json_pack("{s:s, s:o}",
	    "boot", w->boot, "acks", acks), NULL, &e);
}

static void
replay(struct worker *w, struct stream *s)
{
	json_t *reply, *v;
	struct err e;
	int64_t from;
	size_t i;
	int r;

	pthread_mutex_lock(&lock);
	from = s->next;
	s->gap = false;
	w->n_replays++;
	pthread_mutex_unlock(&lock);
	r = process_call(w->client, DECODE_TYPE_replay, json_pack(
	    "{s:s, s:s, s:I}", "id", s->id, "boot", w->boot, "from_seq",
	    (json_int_t)from), &reply, &e);
	ck_assert_msg(r == 0, "replay: %s", e.text);
	pthread_mutex_lock(&lock);
	json_array_foreach(json_object_get(reply, "events"), i, v)
		take(w, v);
	pthread_mutex_unlock(&lock);
	json_decref(reply);
}

static bool
is_over(const struct stream *s, int n_tokens)
{
	return s->finish[0] != '\0' || (n_tokens > 0 && s->n_tokens >= n_tokens);
}

struct stream *
worker_read_some(struct worker *w, int n, int n_tokens)
{
	int64_t end = clock_ms() + ANSWER_MS, acked = 0, heard = clock_ms();
	char id[DECODE_ID_LEN + 1];
	struct stream *s;
	bool over, gap;

	snprintf(id, sizeof(id), "%032x", w->base + (unsigned)n);
	do {
		struct timespec until;
		int64_t next;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 20000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_mutex_lock(&lock);
		ck_assert_ptr_nonnull(s = find(w, id));
		next = s->next;
		if (!is_over(s, n_tokens) && !s->gap)
			pthread_cond_timedwait(&changed, &lock, &until);
		if (s->next != next)
			heard = clock_ms();
		over = is_over(s, n_tokens);
		gap = s->gap || clock_ms() - heard > SILENCE_MS;
		pthread_mutex_unlock(&lock);
		if (!over && clock_ms() - acked >= ACK_MS) {
			ack(w);
			acked = clock_ms();
		}
		if (!over && gap) {
			replay(w, s);
			heard = clock_ms();
		}
		ck_assert_msg(clock_ms() < end, "request %d has no end", n);
	} while (!over);
	return s;
}

struct stream *
worker_read(struct worker *w, int n)
{
	return worker_read_some(w, n, 0);
}

struct stream *
worker_ask(struct worker *w, int n, const char *message, json_t *parameters)
{
	json_t *body = json_pack("{s:[{s:s, s:s}], s:f}", "messages",
	    "role", "user", "content", message, "temperature", 0.0);
	struct err e;

	if (parameters != NULL)
		json_object_update(body, parameters);
	json_decref(parameters);
	ck_assert_msg(worker_generate(w, n, body, 0, &e) == 0, "%s", e.text);
	return worker_read(w, n);
}

void
worker_forget(struct worker *w)
{
	pthread_mutex_lock(&lock);
	while (w->n_streams > 0) {
		struct stream *s = w->streams[--w->n_streams];

		buf_free(&s->text);
		json_decref(s->stats);
		json_decref(s->logprobs);
		json_decref(s->accepted);
		free(s);
	}
	w->deaf = false;
	w->n_replays = 0;
	w->base += 0x10000;
	pthread_mutex_unlock(&lock);
}
