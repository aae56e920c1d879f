#include "streams.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>

#include "bus.h"
#include "clock.h"
#include "decode.h"

/*
 * As fast as the bus allows, since what is measured is the gateway: requests stand
 * in one array, and a piece that has to be given again is made again.
 */
static const char boot[] = "00000000000000aa";

struct job {
	char id[DECODE_ID_LEN + 1];
	int64_t seq, n;
};

static struct {
	pthread_mutex_t lock;
	struct bus_publisher *publisher;
	struct job jobs[DECODE_REQUESTS_MAX];
	int n_jobs;
	int64_t step;
} worker = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct job *
find(const char *id)
{
	for (int i = 0; id != NULL && i < worker.n_jobs; i++)
		if (strcmp(worker.jobs[i].id, id) == 0)
			return &worker.jobs[i];
	return NULL;
}

static const char *
member(const json_t *obj, const char *name)
{
	const char *s = json_string_value(json_object_get(obj, name));

	return s != NULL ? s : "";
}

/* The token at seq. */
static json_t *
piece(const struct job *j, int64_t seq, int64_t time_us)
{
	bool last = seq + 1 >= j->n;
	char text[32];
	json_t *v;

	snprintf(text, sizeof(text), "@%lld", (long long)time_us);
	v = json_pack("{s:s, s:I, s:[i], s:s, s:s}", "id", j->id, "seq",
	    (json_int_t)seq, "tokens", 1000, "text", text, "finish",
	    last ? "length" : "");
	if (last)
		json_object_set_new(v, "stats", json_pack("{s:i, s:I}",
		    "n_prompt", 5, "n_generated", (json_int_t)j->n));
	return v;
}

static void
on_generate(const json_t *obj, struct frame *reply)
{
	const char *id = member(obj, "id");
	json_int_t n = json_integer_value(json_object_get(obj, "max_tokens"));
	struct job *j = find(id);
	struct err e;

	if (j == NULL && worker.n_jobs == DECODE_REQUESTS_MAX) {
		err_set(&e, ERR_BUSY, "%d requests are held", worker.n_jobs);
		frame_set_error(reply, &e);
		return;
	}
	if (j == NULL) {
		j = &worker.jobs[worker.n_jobs++];
		*j = (struct job){ .n = n > 0 ? n : 16 };
		snprintf(j->id, sizeof(j->id), "%s", id);
	}
	reply->type = DECODE_TYPE_accepted;
	reply->obj = json_pack("{s:s, s:s, s:i, s:i, s:I, s:i}", "id", id,
	    "boot", boot, "n_prompt", 5, "n_ctx", 1 << 16, "max_tokens",
	    (json_int_t)j->n, "queue", 0);
}

static void
on_replay(const json_t *obj, struct frame *reply)
{
	json_int_t seq = json_integer_value(json_object_get(obj, "from_seq"));
	const struct job *j = find(member(obj, "id"));
	json_t *events = json_array();

	for (; j != NULL && seq < j->seq &&
	    json_array_size(events) < DECODE_REPLAY_MAX; seq++)
		json_array_append_new(events, piece(j, seq, 0));
	reply->type = DECODE_TYPE_replayed;
	reply->obj = json_pack("{s:s, s:o}", "id", member(obj, "id"),
	    "events", events);
}

/* Those that are finished and acknowledged to the end are forgotten. */
static void
on_ack(const json_t *obj)
{
	json_t *acks = json_object_get(obj, "acks"), *next;
	const char *id;

	json_object_foreach(acks, id, next) {
		struct job *j = find(id);

		if (j != NULL && json_integer_value(next) >= j->n)
			*j = worker.jobs[--worker.n_jobs];
	}
}

static void
on_model(struct frame *reply)
{
	reply->type = DECODE_TYPE_model_info_is;
	reply->obj = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, "
	    "s:i, s:i, s:i, s:s, s:s}", "id", "fake", "architecture", "none",
	    "format", "none", "backend", "none", "chat_template", "",
	    "n_ctx", 1 << 16, "n_ctx_train", 1 << 16, "n_vocab", 2000,
	    "n_params", 1, "size_bytes", 1, "n_slots", DECODE_REQUESTS_MAX,
	    "created", 1, "fingerprint", "0123456789ab", "selfcheck", "passed");
}

static void
on_request(void *arg, const struct frame *request, struct frame *reply)
{
	struct job *j;
	struct err e;

	(void)arg;
	pthread_mutex_lock(&worker.lock);
	switch (request->type) {
	case DECODE_TYPE_generate:
		on_generate(request->obj, reply);
		break;
	case DECODE_TYPE_replay:
		on_replay(request->obj, reply);
		break;
	case DECODE_TYPE_ack:
		on_ack(request->obj);
		reply->type = DECODE_TYPE_acked;
		reply->obj = json_object();
		break;
	case DECODE_TYPE_cancel:
		if ((j = find(member(request->obj, "id"))) != NULL)
			*j = worker.jobs[--worker.n_jobs];
		reply->type = DECODE_TYPE_cancelled;
		reply->obj = json_copy(request->obj);
		break;
	case DECODE_TYPE_model_info:
		on_model(reply);
		break;
	default:
		err_set(&e, ERR_BAD_MESSAGE, "type %u", request->type);
		frame_set_error(reply, &e);
	}
	pthread_mutex_unlock(&worker.lock);
}

static void
publish(uint32_t type, json_t *obj)
{
	struct frame f = { .type = type, .obj = obj };
	struct err e;

	bus_publish(worker.publisher, &f, &e);
	json_decref(obj);
}

static void
publish_status(void)
{
	json_t *held = json_object();

	for (int i = 0; i < worker.n_jobs; i++)
		json_object_set_new(held, worker.jobs[i].id,
		    json_integer(worker.jobs[i].seq));
	publish(DECODE_TYPE_status, json_pack("{s:s, s:b, s:I, s:i, s:i, s:i, s:o}",
	    "boot", boot, "ready", 1, "step", (json_int_t)worker.step, "running",
	    worker.n_jobs, "queued", 0, "n_slots", DECODE_REQUESTS_MAX, "held", held));
}

static void
publish_step(json_t *events, int64_t now_us)
{
	publish(DECODE_TYPE_step, json_pack("{s:s, s:I, s:I, s:o}", "boot", boot,
	    "step", (json_int_t)++worker.step, "time_us", (json_int_t)now_us,
	    "events", events));
}

/* In parts, as a worker with a model does it. */
static void
make_step(void)
{
	size_t part = (size_t)worker.n_jobs / DECODE_STEP_PARTS + 1;
	int64_t now_us = clock_ns() / 1000;
	json_t *events = json_array();

	if (part < DECODE_STEP_PIECES)
		part = DECODE_STEP_PIECES;
	for (int i = 0; i < worker.n_jobs; i++) {
		struct job *j = &worker.jobs[i];

		if (j->seq >= j->n)
			continue;
		json_array_append_new(events, piece(j, j->seq++, now_us));
		if (json_array_size(events) == part) {
			publish_step(events, now_us);
			events = json_array();
		}
	}
	if (json_array_size(events) > 0)
		publish_step(events, now_us);
	else
		json_decref(events);
}

int
streams_worker(const char *dir, double rate)
{
	int64_t next_ns = clock_ns(), status_ns = 0;
	struct bus_server *server;
	struct timespec at;
	struct err e;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (bus_lock(dir, "decode", &e) != 0 ||
	    bus_serve(&server, dir, "decode", 4, on_request, NULL, &e) != 0 ||
	    bus_publisher_open(&worker.publisher, dir, "decode-events", &e) != 0) {
		fprintf(stderr, "streams: the worker: %s\n", e.text);
		return EXIT_FAILURE;
	}
	for (;;) {
		pthread_mutex_lock(&worker.lock);
		make_step();
		if (next_ns - status_ns >= DECODE_STATUS_MS * 1000000LL) {
			publish_status();
			status_ns = next_ns;
		}
		pthread_mutex_unlock(&worker.lock);
		next_ns += (int64_t)(1e9 / rate);
		at.tv_sec = (time_t)(next_ns / 1000000000);
		at.tv_nsec = (long)(next_ns % 1000000000);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	}
}
