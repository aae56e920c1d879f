#ifndef GATEWAY_OPENAI_REQUEST_H
#define GATEWAY_OPENAI_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "err.h"

/*
 * What POST /v1/chat/completions, /v1/completions and /v1/embeddings ask for,
 * checked member by member: honoured, accepted without effect, or refused with
 * a sentence and the member's name, never quietly dropped where it would change
 * the answer.  A null is as good as absent; unknown members are ignored.
 * docs/http-api.md has the table.  No web, no bus: a test and a fuzzer call this.
 */
enum {
	OPENAI_STOPS_MAX = 4,
	OPENAI_STOP_BYTES_MAX = 256,
	OPENAI_COMPLETION_TOKENS = 16,	/* default of /v1/completions */
	OPENAI_N_MAX = 8,		/* n and best_of */
	OPENAI_CHOICES_MAX = 32,	/* prompts times n or best_of */
	OPENAI_INPUTS_MAX = 1024,	/* texts of one request for embeddings */
	OPENAI_BODY_MAX = 2 << 20,	/* bytes: a prompt of 1 MiB in which every
					 * second byte is escaped */
};

struct openai_request {
	bool chat;		/* else a completion */
	const char *model;	/* borrowed from the parsed body */
	bool stream, include_usage, echo;
	bool logprobs;		/* to be shown */
	bool timings, progress;	/* in the chunks of a stream */
	bool raw_reasoning;	/* thoughts stay in the text */
	int n, best_of;		/* answers shown and made of each prompt; <= n */
	json_t *prompts;	/* [{messages, prompt or prompt_ids}]; owned */
	json_t *generate;	/* decode_generate's members but those; owned */
	uint64_t seed;		/* of the first answer of each prompt */
};

/* What POST /v1/embeddings asks for. */
struct openai_embedding {
	const char *model;	/* borrowed from the parsed body */
	bool base64;
	int64_t dimensions;	/* 0: not said */
	json_t *inputs;		/* [{prompt or prompt_ids}]; owned */
	json_t *generate;	/* as above; owned */
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

/* The same for embeddings. */
int openai_parse_embedding(const json_t *body, struct openai_embedding *q,
    struct err *e);
void openai_embedding_free(struct openai_embedding *q);

/*
 * decode_generate for answer k (0 to best_of - 1) of prompt p, a new reference;
 * NULL if memory is short.  Its seed depends on the request's and on k, so a
 * prompt has the same answers alone and among others.
 */
json_t *openai_generate(const struct openai_request *q, size_t p, int k);

/*
 * openai_params.c: what the two have in common.  An empty request; its shared
 * members, into q->generate; the refusal of what is understood and not offered;
 * a member that is true or false.
 */
int openai_begin(const json_t *body, bool chat, struct openai_request *q,
    struct err *e);
int openai_parse_params(const json_t *body, struct openai_request *q,
    struct err *e);
int openai_parse_bool(const json_t *body, const char *name, bool *out,
    struct err *e);
int openai_not_offered(struct err *e, const char *name);
int openai_parse_model(const json_t *body, const char **model, struct err *e);

/* The member of body, or NULL if it is absent or null. */
const json_t *openai_member(const json_t *body, const char *name);

/* openai_output.c: stop, logit_bias, logprobs, stream and its options. */
int openai_parse_output(const json_t *body, struct openai_request *q,
    struct err *e);

/* openai_prompt.c: the member name of body, a text, ids, or a list of either,
 * as [{prompt or prompt_ids}], at most max of them, into list. */
int openai_parse_prompts(const json_t *body, const char *name, size_t max,
    json_t *list, struct err *e);

/* openai_messages.c: the messages of body, as the worker has them; a new
 * reference in *out. */
int openai_parse_messages(const json_t *body, json_t **out, struct err *e);

/* openai_refuse.c: members that other servers know, would change the answer,
 * and are not what an answer of ours is anyway. */
int openai_refuse(const json_t *body, bool chat, struct err *e);

/* llama-server's names of what a token goes through, in their order: a new
 * reference, or NULL if memory is short. */
json_t *openai_samplers(void);

/* openai_reasoning.c: what a chat says about thinking, into q. */
int openai_parse_reasoning(const json_t *body, struct openai_request *q,
    struct err *e);

#endif
