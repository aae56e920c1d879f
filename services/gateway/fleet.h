#ifndef GATEWAY_FLEET_H
#define GATEWAY_FLEET_H

#include "upstream.h"

/*
 * All decode workers of a gateway: several models, or replicas of one.  A
 * request goes to a worker that has its model and is ready; of replicas, a
 * session to the one that has it, anything else to the one with the least to do.
 * Any thread.
 */
struct fleet;

enum { FLEET_MAX = 8, FLEET_SESSIONS_MAX = 4096 };

struct fleet_config {
	const char *dir;	/* of the sockets of the one worker, if none is
				 * named */
	const json_t *upstreams;/* its names: see fleet_is_directory */
	int64_t request_ms, resume_ms;	/* as of upstream_config */
};

/* c and what it points to must outlive *f, which lives until the process ends. */
int fleet_create(struct fleet **f, const struct fleet_config *c,
    struct err *e);

/* Is the name of a worker a directory (/…, ./…, unix:…)?  The path then, else
 * NULL: it is an http:// address. */
const char *fleet_is_directory(const char *name);

/* Its workers, at least one, in the order of the configuration. */
int fleet_size(const struct fleet *f);
struct upstream *fleet_at(const struct fleet *f, int i);

/* Of the best of them: ready before loading before down. */
void fleet_health(struct fleet *f, struct upstream_health *h);

/* All counters of all of them. */
void fleet_counters(const struct fleet *f, struct upstream_counts *sum);

/* The model of this name, also while its workers are away.  NULL: the first.
 * ERR_MODEL with the names that there are; or, as long as one of them has not
 * said yet what it is, the error of that one. */
int fleet_model(struct fleet *f, const char *id, struct upstream_model *m,
    struct err *e);

/*
 * A ready worker for a model (NULL: any) and a session ("": none).  The session
 * stays with it, as long as it is ready.  Errors: of fleet_model; of the best of
 * those that have the model, with retry_after_ms.
 */
struct upstream *fleet_pick(struct fleet *f, const char *model,
    const char *session, struct err *e);

/* The session is with this worker from now on, as after a fork. */
void fleet_seat(struct fleet *f, const char *session,
    const struct upstream *u);

/* fleet_pick and upstream_submit; a replica that has no room or goes away
 * meanwhile is passed over. */
int fleet_submit(struct fleet *f, const char *model, const char *session,
    json_t *generate, struct upstream_request **q, struct err *e);

/* The same for one that was begun: see upstream_go_on. */
int fleet_go_on(struct fleet *f, const char *model, const char *session,
    json_t *generate, const struct upstream_begun *begun,
    struct upstream_request **q, struct err *e);

#endif
