/* JSON is copied from thread to thread: its counts of references are not locked. */
#include "fake_decode.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bus.h"
#include "clock.h"
#include "decode.h"
#include "process.h"

static struct {
	pthread_mutex_t lock;
	struct bus_publisher *publisher;
	char boot[17];
	bool ready, silent, failed, thinks;
	json_t *waiting, *prefill;	/* as status has them */
	int64_t step;
	json_t *pieces;		/* {id: [piece]} */
	json_t *attempts;	/* {id: attempt} */
	json_t *accepted;	/* [generate], oldest first */
	json_t *acks;		/* {id: next seq} */
	json_t *cancels;	/* {id: true} */
	int replays;
	bool takes_ids, stops;
	char before[17];
	struct err refuse;
	atomic_bool hangs;
	int n_refuse;
	bool other_model;
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void
publish(uint32_t type, json_t *obj)
{
	struct frame f = { .type = type, .obj = obj };
	struct err e;

	if (!fake.silent && !fake.hangs)
		bus_publish(fake.publisher, &f, &e);
	json_decref(obj);
}

static void
on_generate(json_t *obj, struct frame *reply)
{
	const char *id = json_string_value(json_object_get(obj, "id"));
	json_int_t attempt = json_integer_value(
	    json_object_get(obj, "attempt"));
	json_t *known = json_object_get(fake.attempts, id);

	if (fake.n_refuse > 0) {
		frame_set_error(reply, &fake.refuse);
		fake.n_refuse--;
		return;
	}
	if (known == NULL || json_integer_value(known) < attempt) {
		json_object_set_new(fake.attempts, id, json_integer(attempt));
		json_object_set_new(fake.pieces, id, json_array());
		json_array_append_new(fake.accepted, json_deep_copy(obj));
	}
	reply->type = DECODE_TYPE_accepted;
	reply->obj = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i}", "id", id,
	    "boot", fake.boot, "n_prompt", 5, "n_ctx", 100, "max_tokens", 50,
	    "queue", 0);
	if (fake.takes_ids)
		json_object_set_new(reply->obj, "prompt_ids",
		    json_pack("[i, i, i]", 7, 8, 9));
}

static void
on_replay(json_t *obj, struct frame *reply)
{
	const char *id = json_string_value(json_object_get(obj, "id"));
	const char *boot = json_string_value(json_object_get(obj, "boot"));
	json_int_t from = json_integer_value(json_object_get(obj, "from_seq"));
	json_t *all = json_object_get(fake.pieces, id), *piece, *events;
	struct err e;
	size_t i;

	fake.replays++;
	if (all == NULL || strcmp(boot, fake.boot) != 0) {
		err_set_param(&e, ERR_NOT_FOUND, strcmp(boot, fake.boot) != 0 ?
		    "boot" : "id", "not held here");
		frame_set_error(reply, &e);
		return;
	}
	events = json_array();
	json_array_foreach(all, i, piece)
		if (json_integer_value(json_object_get(piece, "seq")) >= from)
			json_array_append_new(events, json_deep_copy(piece));
	reply->type = DECODE_TYPE_replayed;
	reply->obj = json_pack("{s:s, s:o}", "id", id, "events", events);
}

static void
on_request(void *arg, const struct frame *request, struct frame *reply)
{
	struct err e;
	json_t *acks;

	(void)arg;
	while (fake.hangs)
		usleep(10000);
	pthread_mutex_lock(&fake.lock);
	switch (request->type) {
	case DECODE_TYPE_generate:
		on_generate(request->obj, reply);
		break;
	case DECODE_TYPE_replay:
		on_replay(request->obj, reply);
		break;
	case DECODE_TYPE_ack:
		acks = json_deep_copy(json_object_get(request->obj, "acks"));
		json_object_update(fake.acks, acks);
		json_decref(acks);
		reply->type = DECODE_TYPE_acked;
		reply->obj = json_object();
		break;
	case DECODE_TYPE_cancel:
		json_object_set_new(fake.cancels, json_string_value(
		    json_object_get(request->obj, "id")), json_true());
		reply->type = DECODE_TYPE_cancelled;
		reply->obj = json_copy(request->obj);
		break;
	case DECODE_TYPE_last_step:
		if (!fake.stops) {
			err_set(&e, ERR_BAD_MESSAGE, "no records");
			frame_set_error(reply, &e);
			break;
		}
		reply->type = DECODE_TYPE_last_step_is;
		reply->obj = json_pack("{s:s, s:b}", "boot", fake.before,
		    "clean", 1);
		break;
	case DECODE_TYPE_model_info:
		if (!fake.ready && !fake.failed) {
			err_set(&e, ERR_LOADING, "the model is loading");
			frame_set_error(reply, &e);
			break;
		}
		reply->type = DECODE_TYPE_model_info_is;
		reply->obj = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, "
		    "s:i, s:i, s:i, s:i, s:i, s:s, s:s}", "id", "fake",
		    "architecture", "none", "format", "none", "backend",
		    "none", "chat_template", "", "n_ctx", 100, "n_ctx_train",
		    100, "n_vocab", 2000, "n_params", 1, "size_bytes", 1,
		    "n_slots", 4, "created", 1, "fingerprint",
		    fake.other_model ? "ba9876543210" : "0123456789ab",
		    "selfcheck", fake.failed ? "failed" : "passed");
		if (fake.thinks)
			json_object_set_new(reply->obj, "thinks", json_true());
		break;
	case DECODE_TYPE_detokenize:
		reply->type = DECODE_TYPE_text;
		reply->obj = json_pack("{s:s}", "text", "[ids]");
		break;
	default:
		err_set(&e, ERR_BAD_MESSAGE, "type %u", request->type);
		frame_set_error(reply, &e);
	}
	pthread_mutex_unlock(&fake.lock);
}

static json_t *
held(void)
{
	json_t *all = json_object(), *pieces;
	const char *id;

	json_object_foreach(fake.pieces, id, pieces) {
		const json_t *last = json_array_get(pieces,
		    json_array_size(pieces) - 1);
		json_int_t n = (json_int_t)json_array_size(
		    json_object_get(last, "tokens"));

		json_object_set_new(all, id, json_integer(last == NULL ? 0 :
		    json_integer_value(json_object_get(last, "seq")) +
		    (n > 0 ? n : 1)));
	}
	return all;
}

static void *
heartbeat(void *arg)
{
	for (;;) {
		pthread_mutex_lock(&fake.lock);
		publish(DECODE_TYPE_status, json_pack("{s:s, s:b, s:I, s:i, "
		    "s:i, s:i, s:o, s:o, s:o}", "boot", fake.boot, "ready",
		    fake.ready, "step", (json_int_t)fake.step, "running", 0,
		    "queued", 0, "n_slots", 4, "held", held(), "waiting",
		    json_deep_copy(fake.waiting), "prefill",
		    json_deep_copy(fake.prefill)));
		pthread_mutex_unlock(&fake.lock);
		usleep(100000);
	}
	return arg;
}

void
fake_open(const char *dir)
{
	struct bus_server *server;
	pthread_t thread;
	struct err e;

	fake.acks = json_object();
	fake.waiting = json_object();
	fake.prefill = json_object();
	fake.cancels = json_object();
	fake_restart("0000000000000001", false);
	ck_assert_msg(bus_lock(dir, "decode", &e) == 0 &&
	    bus_serve(&server, dir, "decode", 4, on_request, NULL, &e) == 0 &&
	    bus_publisher_open(&fake.publisher, dir, "decode-events",
	    &e) == 0, "%s", e.text);
	ck_assert_int_eq(pthread_create(&thread, NULL, heartbeat, NULL), 0);
}

void
fake_restart(const char *boot, bool ready)
{
	pthread_mutex_lock(&fake.lock);
	json_decref(fake.pieces);
	json_decref(fake.attempts);
	json_decref(fake.accepted);
	fake.pieces = json_object();
	fake.attempts = json_object();
	fake.accepted = json_array();
	strcpy(fake.before, fake.boot);
	strcpy(fake.boot, boot);
	fake.ready = ready;
	fake.failed = false;
	pthread_mutex_unlock(&fake.lock);
}

void
fake_fails_selfcheck(void)
{
	pthread_mutex_lock(&fake.lock);
	fake.ready = false;
	fake.failed = true;
	pthread_mutex_unlock(&fake.lock);
}

void
fake_thinks(void)
{
	pthread_mutex_lock(&fake.lock);
	fake.thinks = true;
	pthread_mutex_unlock(&fake.lock);
}

void
fake_stands(const char *id, int place, int n_done)
{
	pthread_mutex_lock(&fake.lock);
	json_object_del(fake.waiting, id);
	json_object_del(fake.prefill, id);
	if (place > 0)
		json_object_set_new(fake.waiting, id, json_integer(place));
	if (n_done >= 0)
		json_object_set_new(fake.prefill, id,
		    json_pack("[i, i, i, f]", 5, 1, n_done, 2.5));
	pthread_mutex_unlock(&fake.lock);
}

void
fake_publishes(bool yes)
{
	pthread_mutex_lock(&fake.lock);
	fake.silent = !yes;
	pthread_mutex_unlock(&fake.lock);
}

void
fake_refuse(enum err_code code, const char *text, int64_t retry_after_ms)
{
	pthread_mutex_lock(&fake.lock);
	err_set(&fake.refuse, code, "%s", text);
	fake.refuse.retry_after_ms = retry_after_ms;
	fake.n_refuse = 1;
	if (code == ERR_CONTEXT) {
		fake.refuse.n_prompt_tokens = 101;
		fake.refuse.n_ctx = 100;
	}
	pthread_mutex_unlock(&fake.lock);
}

void
fake_hangs(bool yes)
{
	fake.hangs = yes;
}

void
fake_refuse_times(int n)
{
	pthread_mutex_lock(&fake.lock);
	fake.n_refuse = n;
	pthread_mutex_unlock(&fake.lock);
}

int
fake_refusals_left(void)
{
	int n;

	pthread_mutex_lock(&fake.lock);
	n = fake.n_refuse;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

void
fake_changes_model(bool yes)
{
	pthread_mutex_lock(&fake.lock);
	fake.other_model = yes;
	pthread_mutex_unlock(&fake.lock);
}

json_t *
fake_generate(void)
{
	int64_t until = clock_ms() + PROCESS_PATIENCE_MS;
	json_t *obj = NULL;

	while (obj == NULL && clock_ms() < until) {
		pthread_mutex_lock(&fake.lock);
		obj = json_incref(json_array_get(fake.accepted, 0));
		json_array_remove(fake.accepted, 0);
		pthread_mutex_unlock(&fake.lock);
		if (obj == NULL)
			usleep(2000);
	}
	ck_assert_msg(obj != NULL, "no request came to the worker");
	return obj;
}

/* A step event with what is kept of id from seq on. */
static void
publish_step(const char *id, int64_t seq)
{
	json_t *all = json_object_get(fake.pieces, id), *piece;
	size_t i;

	json_array_foreach(all, i, piece)
		if (json_integer_value(json_object_get(piece, "seq")) >= seq)
			publish(DECODE_TYPE_step, json_pack(
			    "{s:s, s:I, s:I, s:[O]}", "boot", fake.boot,
			    "step", (json_int_t)++fake.step, "time_us",
			    (json_int_t)(clock_ns() / 1000), "events", piece));
}

void
fake_piece(const char *id, int64_t seq, int n, const char *text,
    const char *finish, bool lost)
{
	json_t *tokens = json_array(), *piece;

	for (int i = 0; i < n; i++)
		json_array_append_new(tokens, json_integer(1000 + seq + i));
	piece = json_pack("{s:s, s:I, s:o, s:s, s:s}", "id", id, "seq",
	    (json_int_t)seq, "tokens", tokens, "text", text, "finish", finish);
	if (finish[0] != '\0')
		json_object_set_new(piece, "stats", json_pack("{s:i, s:I}",
		    "n_prompt", 5, "n_generated", (json_int_t)(seq + n)));
	pthread_mutex_lock(&fake.lock);
	json_array_append_new(json_object_get(fake.pieces, id), piece);
	if (!lost)
		publish_step(id, seq);
	pthread_mutex_unlock(&fake.lock);
}

void
fake_again(const char *id, int64_t seq)
{
	pthread_mutex_lock(&fake.lock);
	publish_step(id, seq);
	pthread_mutex_unlock(&fake.lock);
}

void
fake_forget(const char *id)
{
	pthread_mutex_lock(&fake.lock);
	json_object_del(fake.pieces, id);
	pthread_mutex_unlock(&fake.lock);
}

int64_t
fake_acked(const char *id, int64_t at_least)
{
	int64_t until = clock_ms() + PROCESS_PATIENCE_MS, n = -1;

	while (n < at_least && clock_ms() < until) {
		const json_t *v;

		pthread_mutex_lock(&fake.lock);
		if ((v = json_object_get(fake.acks, id)) != NULL)
			n = json_integer_value(v);
		pthread_mutex_unlock(&fake.lock);
		if (n < at_least)
			usleep(10000);
	}
	return n;
}

bool
fake_cancelled(const char *id)
{
	int64_t until = clock_ms() + PROCESS_PATIENCE_MS;
	bool is = false;

	while (!is && clock_ms() < until) {
		pthread_mutex_lock(&fake.lock);
		is = json_object_get(fake.cancels, id) != NULL;
		pthread_mutex_unlock(&fake.lock);
		if (!is)
			usleep(10000);
	}
	return is;
}

int
fake_replays(void)
{
	int n;

	pthread_mutex_lock(&fake.lock);
	n = fake.replays;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

void
fake_takes_ids(bool yes)
{
	pthread_mutex_lock(&fake.lock);
	fake.takes_ids = yes;
	pthread_mutex_unlock(&fake.lock);
}

void
fake_stops(bool yes)
{
	pthread_mutex_lock(&fake.lock);
	fake.stops = yes;
	pthread_mutex_unlock(&fake.lock);
}
