/*
 * The stack over its sockets.  Each unit is asked by itself, so that one that
 * is down costs its own answer and nothing else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "clock.h"
#include "decode.h"
#include "stack.h"
#include "unit.h"

static const char *const units[] = { "decode", "gateway" };
enum { N_UNITS = sizeof(units) / sizeof(units[0]), DECODE = 0 };

struct stack_bus {
	struct bus_client *clients[N_UNITS];
	int timeout_ms;
};

/* An empty request of type; *reply must have reply_type. */
static int
ask(struct stack_bus *b, int unit, uint32_t type, uint32_t reply_type,
    struct frame *reply, struct err *e)
{
	struct frame request = { .type = type, .obj = json_object() };
	int r = bus_call(b->clients[unit], &request, reply, b->timeout_ms, e);

	frame_free(&request);
	if (r == 0 && reply->type != reply_type) {
		r = err_set(e, ERR_BAD_MESSAGE,
		    "%s answered with message %u, not %u", units[unit],
		    reply->type, reply_type);
		frame_free(reply);
	}
	return r;
}

static void
ask_health(struct stack_bus *b, int i, struct stack_unit *u)
{
	struct frame reply = { 0 };
	struct unit_health_is h;
	struct err e;

	*u = (struct stack_unit){ .uptime_ms = -1 };
	snprintf(u->unit, sizeof(u->unit), "%s", units[i]);
	if (ask(b, i, UNIT_TYPE_health, UNIT_TYPE_health_is, &reply, &e) != 0 ||
	    field_decode(unit_health_is_fields(), sizeof(h), reply.obj, &h,
	    &e) != 0) {
		snprintf(u->reason, sizeof(u->reason), "%s", e.text);
	} else {
		u->ready = h.ready;
		u->uptime_ms = h.uptime_ms;
		snprintf(u->reason, sizeof(u->reason), "%s", h.reason);
		snprintf(u->version, sizeof(u->version), "%s", h.version);
	}
	frame_free(&reply);
}

static int
bus_health(void *self, struct stack_unit *u)
{
	for (int i = 0; i < N_UNITS; i++)
		ask_health(self, i, &u[i]);
	return N_UNITS;
}

static int
bus_models(void *self, struct stack_model *m, int *n, struct err *e)
{
	struct frame reply = { 0 };
	struct decode_model_info_is i;
	int r;

	if ((r = ask(self, DECODE, DECODE_TYPE_model_info,
	    DECODE_TYPE_model_info_is, &reply, e)) != 0)
		return r;
	if ((r = field_decode(decode_model_info_is_fields(), sizeof(i),
	    reply.obj, &i, e)) == 0) {
		*m = (struct stack_model){
			.n_ctx = i.n_ctx, .n_ctx_train = i.n_ctx_train,
			.n_params = i.n_params, .size_bytes = i.size_bytes,
		};
		snprintf(m->id, sizeof(m->id), "%s", i.id);
		snprintf(m->architecture, sizeof(m->architecture), "%s",
		    i.architecture);
		snprintf(m->format, sizeof(m->format), "%s", i.format);
		snprintf(m->backend, sizeof(m->backend), "%s", i.backend);
		*n = 1;
	}
	frame_free(&reply);
	return r;
}

/* {name, calls, ns, bytes}; what is none of it stays 0 or "". */
static void
set_kernel(struct stack_kernel *k, const json_t *v)
{
	const char *name = json_string_value(json_object_get(v, "name"));

	snprintf(k->name, sizeof(k->name), "%s", name != NULL ? name : "");
	k->calls = json_integer_value(json_object_get(v, "calls"));
	k->ns = json_integer_value(json_object_get(v, "ns"));
	k->bytes = json_integer_value(json_object_get(v, "bytes"));
}

static int
bus_kernels(void *self, struct stack_kernel *k, int *n, struct err *e)
{
	struct frame reply = { 0 };
	struct unit_stats_are a;
	json_t *v;
	size_t i;
	int r;

	if ((r = ask(self, DECODE, UNIT_TYPE_stats, UNIT_TYPE_stats_are, &reply,
	    e)) != 0)
		return r;
	if ((r = field_decode(unit_stats_are_fields(), sizeof(a), reply.obj, &a,
	    e)) == 0) {
		*n = 0;
		json_array_foreach(a.kernels, i, v)
			if (*n < STACK_KERNELS_MAX)
				set_kernel(&k[(*n)++], v);
	}
	frame_free(&reply);
	return r;
}

int
stack_bus_open(struct stack *s, const char *dir, int timeout_ms, struct err *e)
{
	struct stack_bus *b = calloc(1, sizeof(*b));
	int r;

	if (b == NULL)
		return err_set(e, ERR_NO_MEMORY, "memory is short");
	b->timeout_ms = timeout_ms;
	for (int i = 0; i < N_UNITS; i++)
		if ((r = bus_client_open(&b->clients[i], dir, units[i],
		    e)) != 0) {
			free(b);	/* open clients live on: see bus.h */
			return r;
		}
	*s = (struct stack){
		.self = b, .start_ms = clock_ms(),
		.health = bus_health, .models = bus_models,
		.kernels = bus_kernels,
	};
	return 0;
}
