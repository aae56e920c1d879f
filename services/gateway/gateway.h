#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "auth.h"
#include "fleet.h"
#include "rates.h"
#include "options.h"
#include "parked.h"
#include "places.h"
#include "queue.h"
#include "stats.h"
#include "web.h"

/* What the handlers share.  Constant after the start, but for the atomics and
 * what has a lock of its own. */
struct gateway {
	struct gateway_options options;
	struct auth auth;
	struct rates *rates;
	struct places places;	/* options.max_streams of them */
	struct queue queue;
	struct stats stats;
	struct fleet *fleet;
	struct parked parked;
	struct web *web;	/* main's own: web_stop frees it under the others */
	atomic_bool draining;	/* SIGTERM came */
	atomic_int_least64_t ends_ms;	/* what runs then is cut; 0: no end yet */
	atomic_int n_cut;
	char boot[17];
	int64_t start_ms;	/* clock_ms() */
};

/* The table of routes (route.c) and its handlers, one noun a file. */
extern const struct web_route gateway_routes[];
bool gateway_authorize(void *gw, struct web_request *rq, const char *bearer);
void gateway_on_done(void *gw, const struct web_done *d);

/* Is the time over that answers have after SIGTERM?  Then ERR_DRAINING, which is to be
 * said to the client; else 0. */
bool gateway_is_over(const struct gateway *gw);
int gateway_cut(struct gateway *gw, struct err *e);

web_handler route_chat;
web_handler route_completions;
web_handler route_embeddings;
web_handler route_tokenize;
web_handler route_detokenize;
web_handler route_apply_template;
web_handler route_props;
web_handler route_slots;
web_handler route_later;
web_handler route_stream;
web_handler route_stream_delete;
web_handler route_models;
web_handler route_model;
web_handler route_sessions;
web_handler route_session;
web_handler route_session_delete;
web_handler route_session_op;
web_handler route_root;
web_handler route_health;
web_handler route_livez;
web_handler route_readyz;
web_handler route_metrics;

#endif
