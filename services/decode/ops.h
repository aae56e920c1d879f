#ifndef DECODE_OPS_H
#define DECODE_OPS_H

#include "service.h"

/*
 * What an operator and his scripts ask over HTTP, on loopback only:
 *
 *	GET /health		llama-server's bytes: 200 ok, or 503 while loading
 *	GET /livez		200 while the process answers
 *	GET /readyz		200 when it takes requests; ?verbose says why not
 *	GET /metrics		Prometheus
 *	GET /v1/endpoints	where the sockets are; for `--upstream http://…`
 *
 * Starts before the model is loaded.  ERR_EXISTS if the port is taken.
 */
int ops_start(struct service *sv, struct web **w, struct err *e);

#endif
