#ifndef DECODE_SERVICE_H
#define DECODE_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "bus.h"
#include "engine.h"
#include "model/model.h"
#include "options.h"
#include "selfcheck.h"
#include "session_store.h"
#include "step_record.h"
#include "tokenizer/template.h"
#include "tokenizer/tokenizer.h"
#include "web.h"

/*
 * What main puts together and the handlers of requests and HTTP read.  The part
 * below `loaded` is written before loaded becomes true and not afterwards, so
 * any thread may read it once it has seen that.
 */
struct service {
	struct decode_options options;
	const char *runtime_dir;
	char boot[DECODE_BOOT_LEN + 1];
	int64_t started_ms;
	atomic_bool draining;
	struct step_record record;	/* what runs, for the next life */

	atomic_bool loaded;	/* and the sockets are open */
	struct model model;
	struct backend backend;
	struct tokenizer *tokenizer;
	const struct template *template;
	bool own_template;	/* it is what the model's file describes */
	struct engine *engine;
	struct session_store *store;	/* NULL: no snapshots */
	struct selfcheck_result selfcheck;
	struct pace_start pace;
	const char *model_id;
	int32_t n_ctx;		/* of a request */
	struct bus_server *requests;
	struct bus_publisher *events;
};

/* Does it take requests?  *why: a sentence if not; static. */
static inline bool
service_is_ready(const struct service *sv, const char **why)
{
	*why = "";
	if (atomic_load(&sv->draining))
		*why = "the worker is about to stop";
	else if (!atomic_load(&sv->loaded))
		*why = "the model is being loaded";
	else if (sv->selfcheck.state == SELFCHECK_FAILED)
		*why = "the self-check failed: this machine computes other logits "
		    "than the file's probe has";
	else if (!bus_server_healthy(sv->requests))
		*why = "the request socket does not answer";
	return **why == '\0';
}

#endif
