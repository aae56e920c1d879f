#ifndef GATEWAY_EMBED_H
#define GATEWAY_EMBED_H

#include "caller.h"
#include "gateway.h"
#include "openai_request.h"

/*
 * Answer a checked request for embeddings.  Always answers, on the connection's
 * thread; q and caller are the caller's.
 */
void embed(struct gateway *gw, struct web_request *rq,
    const struct openai_embedding *q, struct caller *caller);

#endif
