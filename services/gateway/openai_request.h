#ifndef GATEWAY_OPENAI_REQUEST_H
#define GATEWAY_OPENAI_REQUEST_H

#include <stdbool.h>

#include <jansson.h>

#include "err.h"

/*
 * What POST /v1/chat/completions and /v1/completions ask for, checked member by
 * member: honoured, accepted without effect, or refused with a sentence and the
 * member's name, never quietly dropped where it would change the answer.  A
 * null is as good as absent; unknown members are ignored.  docs/http-api.md has
 * the table.  No web, no bus: a test and a fuzzer call this.
 */
enum {
	OPENAI_STOPS_MAX = 4,
	OPENAI_STOP_BYTES_MAX = 256,
	OPENAI_COMPLETION_TOKENS = 16,	/* default of /v1/completions */
	OPENAI_BODY_MAX = 2 << 20,	/* bytes: a prompt of 1 MiB in which every
					 * second byte is escaped */
};

struct openai_request {
	bool chat;		/* else a completion */
	const char *model;	/* borrowed from the parsed body */
	bool stream, include_usage, echo;
	bool logprobs;		/* to be shown */
	const char *prompt;	/* of a completion, borrowed, if it was text */
	json_t *prompt_ids;	/* if it was ids, borrowed from generate */
	json_t *generate;	/* decode_generate's members; owned */
};

/*
 * body: parsed JSON, borrowed, must outlive *q.  A request without a seed gets
 * one drawn here, so that it can be resumed.  On failure *q is { 0 } and e has
 * the code, the sentence and the member.
 */
int openai_parse_chat(const json_t *body, struct openai_request *q,
    struct err *e);
int openai_parse_completion(const json_t *body, struct openai_request *q,
    struct err *e);
void openai_request_free(struct openai_request *q);

/*
 * openai_params.c: what the two have in common.  An empty request; its shared
 * members, into q->generate; the refusal of what is understood and not offered.
 */
int openai_begin(const json_t *body, bool chat, struct openai_request *q,
    struct err *e);
int openai_parse_params(const json_t *body, struct openai_request *q,
    struct err *e);

int openai_not_offered(struct err *e, const char *name);

/* The member of body, or NULL if it is absent or null. */
const json_t *openai_member(const json_t *body, const char *name);

#endif
