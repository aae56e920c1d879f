#ifndef DECODE_REQUEST_H
#define DECODE_REQUEST_H

#include "frame.h"
#include "service.h"

/*
 * Answer one message of decode.sock: decode, domain, encode.  A bus_handler,
 * arg is the struct service.  Any thread; a prompt is tokenized here, so that
 * the engine's lock is not held meanwhile.
 */
void request_answer(void *arg, const struct frame *request,
    struct frame *reply);

#endif
