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

/*
 * Take up a kept stream (parked.h; it is the answer's from here on) for a client
 * that has the first from bytes of its text: the rest, and what follows.  Always
 * answers, likewise.
 */
void answer_resume(struct gateway *gw, struct web_request *rq,
    struct caller *caller, struct parked_stream *s, size_t from);

#endif
