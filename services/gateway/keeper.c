/*
 * One thread per upstream: it finds the worker, acknowledges what clients have
 * taken (all requests in one message), asks which model it is, and notes when
 * its state changes.  And the calls on the bus, which all threads share.
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "discover.h"
#include "log.h"
#include "upstream_state.h"

int
upstream_call(struct upstream *u, uint32_t type, json_t *obj,
    uint32_t reply_type, json_t **reply, int timeout_ms, struct err *e)
{
	struct frame request = { .type = type, .obj = obj }, answer = { 0 };
	struct bus_client *client;
	int r;

	pthread_mutex_lock(&u->lock);
	client = u->client;
	pthread_mutex_unlock(&u->lock);
	if (obj == NULL)
		r = err_set(e, ERR_NO_MEMORY, "no memory for a message");
	else if (client == NULL)
		r = err_set(e, ERR_UNAVAILABLE, "the worker was not found yet");
	else
		r = bus_call(client, &request, &answer, timeout_ms, e);
	if (r == 0 && answer.type != reply_type)
		r = err_set(e, ERR_BAD_MESSAGE, "the worker answered a message "
		    "of type %u with one of type %u", type, answer.type);
	if (r == 0)
		*reply = json_incref(answer.obj);
	/* What a client may say was checked before: it cannot be its fault. */
	if (r == ERR_BAD_MESSAGE)
		r = err_set(e, ERR_SYSTEM, "gateway and worker do not understand "
		    "each other: %s", e->text);
	if (r == ERR_UNAVAILABLE && e->retry_after_ms == 0)
		e->retry_after_ms = 1000;
	frame_free(&answer);
	frame_free(&request);
	return r;
}

int
upstream_send(struct upstream_request *q, int64_t attempt, json_t *forced,
    struct decode_accepted *a, json_t **obj, struct err *e)
{
	int64_t left_ms = q->deadline_ms - clock_ms(), solo_end;
	json_t *generate = upstream_again(q), *reply = NULL;
	int r;

	json_object_set_new(generate, "id", json_string(q->id));
	json_object_set_new(generate, "attempt", json_integer(attempt));
	json_object_set_new(generate, "fingerprint", json_string(q->fingerprint));
	json_object_set_new(generate, "deadline_ms",
	    json_integer(left_ms > 1 ? left_ms : 1));
	pthread_mutex_lock(&q->u->lock);
	solo_end = q->suspect.solo_end;
	pthread_mutex_unlock(&q->u->lock);
	if (solo_end > 0)
		json_object_set_new(generate, "solo_seq",
		    json_integer(solo_end - 1));
	/* Those of the prompt came with the first token. */
	if (json_array_size(forced) > 0)
		json_object_del(generate, "prompt_logprobs");
	if (forced != NULL)
		json_object_set_new(generate, "forced", forced);
	if ((r = upstream_call(q->u, DECODE_TYPE_generate, generate,
	    DECODE_TYPE_accepted, &reply, UPSTREAM_SUBMIT_MS, e)) != 0)
		return r;
	if ((r = field_decode(decode_accepted_fields(), sizeof(*a), reply, a,
	    e)) != 0)
		json_decref(reply);
	else
		*obj = reply;	/* a's strings are in it */
	return r;
}

int
upstream_detokenize(struct upstream *u, json_t *ids, char **text,
    struct err *e)
{
	struct decode_text t;
	json_t *reply = NULL;
	int r;

	if ((r = upstream_call(u, DECODE_TYPE_detokenize,
	    json_pack("{s:O}", "ids", ids), DECODE_TYPE_text, &reply,
	    UPSTREAM_SUBMIT_MS, e)) != 0)
		return r;
	if ((r = field_decode(decode_text_fields(), sizeof(t), reply, &t,
	    e)) == 0 && (*text = strdup(t.text)) == NULL)
		r = err_set(e, ERR_NO_MEMORY, "no memory for a text");
	json_decref(reply);
	return r;
}

#define COPY(to, from) strncpy((to), (from), sizeof(to) - 1)

static void
ask_model(struct upstream *u, const char *boot)
{
	struct upstream_model m = { 0 };
	struct decode_model_info_is i;
	json_t *reply = NULL;
	struct err e;
	int r;

	if ((r = upstream_call(u, DECODE_TYPE_model_info, json_object(),
	    DECODE_TYPE_model_info_is, &reply, UPSTREAM_CALL_MS, &e)) == 0)
		r = field_decode(decode_model_info_is_fields(), sizeof(i),
		    reply, &i, &e);
	if (r == 0) {
		COPY(m.id, i.id);
		COPY(m.architecture, i.architecture);
		COPY(m.format, i.format);
		COPY(m.backend, i.backend);
		COPY(m.fingerprint, i.fingerprint);
		COPY(m.selfcheck, i.selfcheck);
		COPY(m.file, i.file);
		COPY(m.chat_template, i.chat_template);
		COPY(m.bos_token, i.bos_token);
		COPY(m.eos_token, i.eos_token);
		m.thinks = i.thinks;
		m.n_embd = i.n_embd;
		m.n_slots = i.n_slots;
		m.n_ctx = i.n_ctx;
		m.n_ctx_train = i.n_ctx_train;
		m.n_vocab = i.n_vocab;
		m.n_params = i.n_params;
		m.size_bytes = i.size_bytes;
		m.created = i.created;
		pthread_mutex_lock(&u->lock);
		u->model = m;
		memcpy(u->model_boot, boot, sizeof(u->model_boot));
		pthread_mutex_unlock(&u->lock);
		log_info("upstream %s: model=%s format=%s backend='%s' "
		    "boot=%s", u->config->name, m.id, m.format, m.backend,
		    boot);
	} else {
		log_warn("upstream %s: which model it is: %s, asking again",
		    u->config->name, e.text);
	}
	json_decref(reply);
}

/* Those whose sink has taken nothing for a while: two sleeps a second less for each
 * stream that is well.  With the lock held. */
static void
wake_dozing(struct upstream *u, int64_t now)
{
	for (int i = 0; i < UPSTREAM_BUCKETS; i++)
		for (struct upstream_request *q = u->table[i]; q != NULL;
		    q = q->next)
			if (q->dozes && now - q->sunk_ms >= q->patience_ms) {
				q->dozes = false;
				upstream_wake(q);
			}
}

/* A call wakes this thread again and several of the worker's: as seldom as leases and
 * its window allow. */
static bool
acks_are_due(const struct upstream *u, int64_t now)
{
	if (now - u->acked_ms >= UPSTREAM_ACK_MS - UPSTREAM_KEEP_MS / 2)
		return true;
	for (int i = 0; i < UPSTREAM_BUCKETS; i++)
		for (const struct upstream_request *q = u->table[i]; q != NULL;
		    q = q->next)
			if (q->taken - q->acked >= UPSTREAM_ACK_TOKENS)
				return true;
	return false;
}

/* What clients have taken, by id; NULL if there is nothing to say. */
static json_t *
collect_acks(struct upstream *u, int64_t now)
{
	json_t *acks;

	if (!acks_are_due(u, now))
		return NULL;
	acks = json_object();
	u->acked_ms = now;
	for (int i = 0; i < UPSTREAM_BUCKETS; i++)
		for (struct upstream_request *q = u->table[i]; q != NULL;
		    q = q->next) {
			if (q->away || strcmp(q->boot, u->boot) != 0)
				continue;
			q->acked = q->taken;
			json_object_set_new(acks, q->id,
			    json_integer(q->acked));
		}
	json_object_update(acks, u->farewell);
	json_object_clear(u->farewell);
	if (u->boot[0] == '\0' || json_object_size(acks) == 0) {
		json_decref(acks);
		return NULL;
	}
	return json_pack("{s:s, s:o}", "boot", u->boot, "acks", acks);
}

static void
send_acks(struct upstream *u, json_t *ack)
{
	json_t *reply = NULL, *id;
	struct decode_acked a;
	struct err e;
	size_t i;

	if (upstream_call(u, DECODE_TYPE_ack, ack, DECODE_TYPE_acked, &reply,
	    UPSTREAM_CALL_MS, &e) != 0)
		return;		/* the next one says it again */
	if (field_decode(decode_acked_fields(), sizeof(a), reply, &a,
	    &e) == 0) {
		pthread_mutex_lock(&u->lock);
		json_array_foreach(a.unknown, i, id) {
			struct upstream_request *q = json_is_string(id) ?
			    upstream_find(u, json_string_value(id)) : NULL;

			/* It asks for itself, to be sure. */
			if (q != NULL && !q->pieces.finished) {
				q->heard_ms = 0;
				upstream_wake(q);
			}
		}
		pthread_mutex_unlock(&u->lock);
	}
	json_decref(reply);
}

/* With the lock held. */
static void
note_change(struct upstream *u, enum upstream_state state, int64_t now)
{
	u->since_ms = now;
	if (state == UPSTREAM_READY) {
		u->outage_ms = now - u->away_ms;
		u->away_ms = 0;
	} else if (u->away_ms == 0) {
		u->away_ms = now;
	}
}

/* Takes the lock, but not to log: the reader of stderr may be slow. */
static void
note_state(struct upstream *u)
{
	static const char *const words[] = { "down", "loading", "ready" };
	char boot[DECODE_BOOT_LEN + 1];
	enum upstream_state state;
	bool changed;

	pthread_mutex_lock(&u->lock);
	state = upstream_state_now(u, clock_ms());
	if ((changed = state != u->state))
		note_change(u, state, clock_ms());
	u->state = state;
	memcpy(boot, u->boot, sizeof(boot));
	pthread_mutex_unlock(&u->lock);
	if (changed)
		log_info("upstream %s: worker %s boot=%s", u->config->name,
		    words[state], boot);
}

int
upstream_open_sockets(struct upstream *u, const char *dir, struct err *e)
{
	struct bus_client *client;
	int r;

	if ((r = bus_client_open(&client, dir, "decode", e)) != 0)
		return r;
	if ((r = bus_subscribe_text(&u->sub, dir, "decode-events",
	    UPSTREAM_SILENT_MS, upstream_events, u, e)) != 0)
		return r;
	pthread_mutex_lock(&u->lock);
	u->client = client;
	pthread_mutex_unlock(&u->lock);
	return 0;
}

/* Until it answers: the worker may be started after the gateway. */
static void
find_worker(struct upstream *u)
{
	char dir[128];
	struct err e;
	bool changed;

	if (discover(u->config->url, dir, sizeof(dir), &e) == 0 &&
	    upstream_open_sockets(u, dir, &e) == 0) {
		log_info("upstream %s: sockets in %s", u->config->url, dir);
		return;
	}
	pthread_mutex_lock(&u->lock);
	changed = strcmp(u->why, e.text) != 0;
	memcpy(u->why, e.text, sizeof(u->why));
	pthread_mutex_unlock(&u->lock);
	if (changed)
		log_warn("upstream %s: %s, asking again", u->config->name,
		    e.text);
}

/* How long the keeper sleeps unless it is signalled: each time costs as much as a
 * token, so with all in order no oftener than acks are due.  With the lock held. */
static int
nap_ms(const struct upstream *u)
{
	bool known = u->client != NULL && u->boot[0] != '\0' &&
	    strcmp(u->model_boot, u->boot) == 0 && strcmp(u->last_of, u->boot) == 0;

	return known ? UPSTREAM_ACK_MS : UPSTREAM_KEEP_MS;
}

void *
keeper_main(void *arg)
{
	struct upstream *u = arg;

	for (;;) {
		char ask_boot[DECODE_BOOT_LEN + 1] = "";
		char last_boot[DECODE_BOOT_LEN + 1] = "";
		json_t *ack = NULL;
		struct timespec t;
		int64_t at_ms;
		bool found;

		note_state(u);
		pthread_mutex_lock(&u->lock);
		at_ms = clock_ms() + nap_ms(u);
		t.tv_sec = at_ms / 1000;
		t.tv_nsec = at_ms % 1000 * 1000000;
		pthread_cond_timedwait(&u->keep, &u->lock, &t);
		wake_dozing(u, clock_ms());
		if ((found = u->client != NULL))
			ack = collect_acks(u, clock_ms());
		/* Also one that is not ready: it may say why. */
		if (upstream_state_now(u, clock_ms()) != UPSTREAM_DOWN &&
		    u->boot[0] != '\0') {
			if (strcmp(u->model_boot, u->boot) != 0)
				memcpy(ask_boot, u->boot, sizeof(ask_boot));
			if (strcmp(u->last_of, u->boot) != 0)
				memcpy(last_boot, u->boot, sizeof(last_boot));
		}
		pthread_mutex_unlock(&u->lock);
		if (!found)
			find_worker(u);
		if (ack != NULL)
			send_acks(u, ack);
		if (last_boot[0] != '\0')
			upstream_ask_last_step(u, last_boot);
		if (ask_boot[0] != '\0')
			ask_model(u, ask_boot);
	}
	return NULL;
}
