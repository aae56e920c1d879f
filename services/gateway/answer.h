#ifndef GATEWAY_ANSWER_H
#define GATEWAY_ANSWER_H

#include "caller.h"
#include "gateway.h"
#include "openai_request.h"

/*
 * Answer a checked request: find the model, admit, submit, and give what comes
 * back whole or as a stream of events.  q is the caller's to free.  Always
 * answers.  Runs on the connection's thread until the answer is over.
 */
void answer(struct gateway *gw, struct web_request *rq,
    const struct openai_request *q, struct caller *caller);

#endif
