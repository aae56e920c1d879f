#ifndef DECODE_REQUEST_PARTS_H
#define DECODE_REQUEST_PARTS_H

#include "decode.h"
#include "frame.h"
#include "service.h"

/* What request.c and the files beside it share. */

/* Decode the object of f as tag into *m. */
#define REQUEST_DECODE(tag, f, m, e) \
	field_decode(tag##_fields(), sizeof(struct tag), (f)->obj, m, e)

/* Encode m as the reply. */
int request_reply(struct frame *reply, uint32_t type,
    const struct field *fields, const void *m, struct err *e);

typedef int request_handler(struct service *sv, const struct frame *f,
    struct frame *reply, struct err *e);

/* request_text.c: text and tokens, the model. */
request_handler request_tokenize;
request_handler request_detokenize;
request_handler request_render;
request_handler request_model_info;

/* request_session.c */
request_handler request_session;
request_handler request_sessions;

#endif
